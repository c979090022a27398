// A part of a cluster as a process: starting it, ending it in several ways, and knowing when it serves.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	// How long a part may take until it serves. It is much more than it needs on an idle machine.
	startPatience = 2 * time.Minute
	// How long a part may take to end when asked to, before it is killed.
	stopPatience = 10 * time.Second
)

// part is a running process; when it has ended, `ended` is closed and `outcome` says how.
type part struct {
	name    string
	process *os.Process
	ended   chan struct{}
	outcome error
}

// startPart starts this program as one of a cluster's parts. Flags are handed to what is inside.
func startPart(l layout, name string, flags []string) (*part, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	arguments := []string{name, "--dir", l.dir}
	if isAPIServer(name) {
		arguments = []string{"apiserver", "--dir", l.dir, "--name", name}
	}
	if len(flags) > 0 {
		arguments = append(append(arguments, "--"), flags...)
	}
	if err := os.MkdirAll(filepath.Dir(l.log(name)), 0o755); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(l.log(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	command := exec.Command(self, arguments...)
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = childAttributes()
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("could not start %s: %w", name, err)
	}
	started := &part{name: name, process: command.Process, ended: make(chan struct{})}
	go func() {
		started.outcome = command.Wait()
		close(started.ended)
	}()
	return started, nil
}

func (p *part) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// kill ends it at once, even if it is paused.
func (p *part) kill() {
	if p.running() {
		_ = p.process.Kill()
	}
	<-p.ended
}

// stop asks it to end, and kills it if it does not.
func (p *part) stop() {
	if p.running() {
		_ = p.process.Signal(syscall.SIGTERM)
		// One that is paused hears nothing else.
		_ = p.process.Signal(syscall.SIGCONT)
	}
	select {
	case <-p.ended:
	case <-time.After(stopPatience):
		p.kill()
	}
}

// waitReady waits until the part serves. That it ends, or is not there in time, is an error with what it logged last.
func (p *part) waitReady(ctx context.Context, l layout, known ports) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startPatience, fmt.Errorf("not ready within %s", startPatience))
	defer cancel()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() {
		select {
		case <-p.ended:
			stop(fmt.Errorf("it ended: %v", p.outcome))
		case <-ctx.Done():
		}
	}()
	ask, err := p.readiness(l, known)
	if err != nil {
		return err
	}
	err = poll(ctx, 20*time.Millisecond, func() error {
		attempt, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		return ask(attempt)
	})
	if err != nil {
		return fmt.Errorf("%s does not serve: %w; it logged last:\n%s", p.name, err, lastLines(l.log(p.name), 15))
	}
	return nil
}

// readiness is the question whose answer says that a part serves.
func (p *part) readiness(l layout, known ports) (func(context.Context) error, error) {
	if p.name == partEtcd {
		return func(ctx context.Context) error { return get(ctx, http.DefaultClient, known.url(partEtcd)+"/health") }, nil
	}
	server, path := partAPIServer, "/api/v1/namespaces/default/serviceaccounts/default"
	if isAPIServer(p.name) {
		server, path = p.name, "/readyz"
	}
	config, err := adminConfig(l, server)
	if err != nil {
		return nil, err
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		if err := get(ctx, client, known.url(server)+path); err != nil {
			return err
		}
		// It is made shortly after the server calls itself ready, and everybody expects it.
		return get(ctx, client, known.url(server)+"/api/v1/namespaces/default")
	}, nil
}

func adminConfig(l layout, server string) (*rest.Config, error) {
	return clientcmd.BuildConfigFromFlags("", l.kubeconfig(server))
}

// get is an error unless the answer is 200.
func get(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status + ": " + strings.TrimSpace(string(text)))
	}
	return nil
}

func lastLines(path string, count int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-count):], "\n")
}
