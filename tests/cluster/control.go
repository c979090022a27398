// What `up` can be told while it runs: one command a line on stdin, one line of JSON on stdout when it is done.
package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"
)

// obey carries out one command:
//
//	status
//	start PART [FLAG...]   until it serves; flags replace those of its last start, `-` alone means none
//	stop PART              SIGTERM, and wait until it is gone
//	kill PART              SIGKILL, and wait until it is gone
//	pause PART, resume PART
//	compact                etcd forgets every revision but the last
//	snapshot FILE          of etcd
//	restore FILE           etcd goes back to a snapshot, and whatever ran serves again
//	restore-etcd FILE      the same under the feet of running API servers
//	rotate STEP            another authority: begin, serve, finish (rotate.go)
//
// PART is etcd, apiserver, apiserver-NAME (another one on the same etcd) or controllers.
func (c *cluster) obey(ctx context.Context, line string) error {
	words := strings.Fields(line)
	if len(words) == 0 {
		return errors.New("an empty command")
	}
	command, rest := words[0], words[1:]
	switch command {
	case "status":
		return nil
	case "compact":
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		_, err := compact(ctx, c.ports)
		return err
	}
	if len(rest) == 0 {
		return fmt.Errorf("%q: unknown, or what it is about is missing", command)
	}
	switch command {
	case "start":
		return c.startNamed(ctx, rest[0], rest[1:])
	case "snapshot":
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		return saveSnapshot(ctx, c.ports, rest[0])
	case "restore":
		return c.restore(ctx, rest[0], c.downstreamFirst())
	case "restore-etcd":
		return c.restore(ctx, rest[0], []string{partEtcd})
	case "rotate":
		return c.rotate(rest[0])
	}
	part := c.parts[rest[0]]
	if part == nil || !part.running() {
		return fmt.Errorf("%s does not run", rest[0])
	}
	switch command {
	case "stop":
		part.stop()
		return nil
	case "kill":
		part.kill()
		return nil
	case "pause":
		return part.process.Signal(syscall.SIGSTOP)
	case "resume":
		return part.process.Signal(syscall.SIGCONT)
	}
	return fmt.Errorf("%q is no command", command)
}

func (c *cluster) startNamed(ctx context.Context, name string, flags []string) error {
	if name != partEtcd && name != partControllers && !isAPIServer(name) {
		return fmt.Errorf("%q is no part of a cluster", name)
	}
	switch {
	case slices.Equal(flags, []string{"-"}):
		delete(c.flags, name)
	case len(flags) > 0:
		c.flags[name] = flags
	case c.flags[name] == nil && isAPIServer(name):
		c.flags[name] = c.flags[partAPIServer]
	}
	return c.start(ctx, name)
}

// restore takes the named parts down, replaces etcd's data, and starts those that ran, etcd first.
func (c *cluster) restore(ctx context.Context, file string, names []string) error {
	var ran []string
	for _, name := range names {
		if part := c.parts[name]; part != nil && part.running() {
			part.kill()
			ran = append(ran, name)
		}
	}
	if err := restoreSnapshot(c.layout, c.ports, file); err != nil {
		return err
	}
	// etcd first; the others find it when it is there.
	for _, name := range slices.Backward(ran) {
		if err := c.launch(name); err != nil {
			return err
		}
	}
	for _, name := range slices.Backward(ran) {
		if err := c.parts[name].waitReady(ctx, c.layout, c.ports); err != nil {
			return err
		}
	}
	return nil
}
