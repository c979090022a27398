// The command `up`: a whole cluster, supervised. It prints one line of JSON when everything serves, then obeys commands on
// stdin (control.go). A part that dies stays dead: tests want to see what a client does meanwhile.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"

	"k8s.io/component-base/version"
	"sigs.k8s.io/gateway-api/pkg/consts"
)

// cluster is what runs. Only the main goroutine, which is tied to the main thread, uses it.
type cluster struct {
	layout layout
	ports  ports
	parts  map[string]*part
	// What each part was started with last, so that it starts again the same way.
	flags map[string][]string
}

// state is what a test is told, in one line.
type state struct {
	Kubeconfig string               `json:"kubeconfig"`
	Server     string               `json:"server"`
	Etcd       string               `json:"etcd"`
	Version    string               `json:"version"`
	GatewayAPI string               `json:"gatewayApi"`
	Dir        string               `json:"dir"`
	Parts      map[string]partState `json:"parts"`
}

type partState struct {
	// 0 when it is not running.
	Pid        int    `json:"pid"`
	URL        string `json:"url,omitempty"`
	Kubeconfig string `json:"kubeconfig,omitempty"`
	Log        string `json:"log"`
}

func up(arguments []string) error {
	flags := flag.NewFlagSet("up", flag.ContinueOnError)
	dir := flags.String("dir", "", "the cluster's directory; one that was used before continues where it was; without it, a scratch directory")
	controllers := flags.Bool("controllers", false, "run kube-controller-manager too")
	withoutCRDs := flags.Bool("without-crds", false, "do not apply the Gateway API's CustomResourceDefinitions")
	crds := flags.String("crds", "", "where the definitions are, if not beside this program")
	var apiserverFlags words
	flags.Var(&apiserverFlags, "apiserver-flag", "a flag for kube-apiserver, such as --watch-cache=false; may be repeated")
	asked := ports{}
	flags.Var(asked, "port", "NUMBER for the API server, PART=NUMBER for another part; free ones are found for the rest")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if err := noArguments(flags); err != nil {
		return err
	}
	if *dir == "" {
		scratch, err := os.MkdirTemp("", "tidegate-cluster")
		if err != nil {
			return err
		}
		defer os.RemoveAll(scratch)
		*dir = scratch
	}
	l, err := openLayout(*dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(l.dir, 0o755); err != nil {
		return err
	}
	lock, err := lockDirectory(l)
	if err != nil {
		return err
	}
	defer lock.Close()
	c := &cluster{layout: l, parts: map[string]*part{}, flags: map[string][]string{partAPIServer: apiserverFlags}}
	if c.ports, err = l.ensurePorts(asked, partEtcd, partEtcdPeer, partAPIServer); err != nil {
		return err
	}

	ctx, cancel := context.WithCancelCause(context.Background())
	lines := make(chan string)
	go readCommands(lines, cancel)
	go func() {
		ended := make(chan os.Signal, 1)
		signal.Notify(ended, syscall.SIGINT, syscall.SIGTERM)
		<-ended
		cancel(errStopped)
	}()
	err = c.run(ctx, lines, *controllers, func() ([]crd, error) {
		if *withoutCRDs {
			return nil, nil
		}
		return readCRDs(*crds)
	})
	switch reason := context.Cause(ctx); {
	case errors.Is(reason, errStopped):
		c.stopAll()
		return nil
	case errors.Is(reason, errAlone):
		c.killAll()
		return nil
	default:
		c.killAll()
		return err
	}
}

var (
	errStopped = errors.New("asked to stop")
	errAlone   = errors.New("stdin was closed")
)

func (c *cluster) run(ctx context.Context, lines <-chan string, controllers bool, crds func() ([]crd, error)) error {
	if err := ensurePKI(c.layout); err != nil {
		return err
	}
	definitions, err := crds()
	if err != nil {
		return err
	}
	for _, name := range []string{partEtcd, partAPIServer} {
		if err := c.start(ctx, name); err != nil {
			return err
		}
	}
	if len(definitions) > 0 {
		config, err := adminConfig(c.layout, partAPIServer)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeoutCause(ctx, startPatience, fmt.Errorf("not within %s", startPatience))
		defer cancel()
		if err := applyCRDs(ctx, config, definitions); err != nil {
			return err
		}
	}
	if controllers {
		if err := c.start(ctx, partControllers); err != nil {
			return err
		}
	}
	c.answer(nil)
	for {
		select {
		case <-ctx.Done():
			return nil
		case line := <-lines:
			c.answer(c.obey(ctx, line))
		}
	}
}

// start starts a part and waits until it serves.
func (c *cluster) start(ctx context.Context, name string) error {
	if err := c.launch(name); err != nil {
		return err
	}
	return c.parts[name].waitReady(ctx, c.layout, c.ports)
}

// launch starts a part.
func (c *cluster) launch(name string) error {
	if part := c.parts[name]; part != nil && part.running() {
		return fmt.Errorf("%s runs already", name)
	}
	if isAPIServer(name) {
		known, err := c.layout.ensurePorts(nil, name)
		if err != nil {
			return err
		}
		c.ports = known
		config := c.layout.kubeconfig(name)
		if err := writeKubeconfig(c.layout, known.url(name), c.layout.pki("admin"), config); err != nil {
			return err
		}
	}
	started, err := startPart(c.layout, name, c.flags[name])
	if err != nil {
		return err
	}
	c.parts[name] = started
	return nil
}

// downstreamFirst is the order in which parts end: whoever uses another goes before it.
func (c *cluster) downstreamFirst() []string {
	rank := func(name string) int {
		switch {
		case name == partEtcd:
			return 2
		case isAPIServer(name):
			return 1
		default:
			return 0
		}
	}
	names := slices.Collect(maps.Keys(c.parts))
	slices.SortFunc(names, func(a, b string) int { return rank(a) - rank(b) })
	return names
}

func (c *cluster) stopAll() {
	for _, name := range c.downstreamFirst() {
		c.parts[name].stop()
	}
}

func (c *cluster) killAll() {
	for _, name := range c.downstreamFirst() {
		c.parts[name].kill()
	}
}

// answer prints the state, or why there is none, in one line.
func (c *cluster) answer(failed error) {
	var said any
	if failed != nil {
		said = map[string]string{"error": failed.Error()}
	} else {
		said = c.state()
	}
	// A state is text and numbers; and if nobody reads it any more, stdin will close too.
	_ = json.NewEncoder(os.Stdout).Encode(said)
}

func (c *cluster) state() state {
	parts := map[string]partState{}
	for name, part := range c.parts {
		said := partState{Log: c.layout.log(name)}
		if part.running() {
			said.Pid = part.process.Pid
		}
		if c.ports[name] != 0 {
			said.URL = c.ports.url(name)
		}
		if isAPIServer(name) {
			said.Kubeconfig = c.layout.kubeconfig(name)
		}
		parts[name] = said
	}
	return state{
		Kubeconfig: c.layout.kubeconfig(partAPIServer),
		Server:     c.ports.url(partAPIServer),
		Etcd:       c.ports.url(partEtcd),
		Version:    version.Get().GitVersion,
		GatewayAPI: consts.BundleVersion,
		Dir:        c.layout.dir,
		Parts:      parts,
	}
}

// readCommands hands on the lines of stdin. Its end means that whoever started us is gone, unless it never was anybody.
func readCommands(lines chan<- string, cancel context.CancelCauseFunc) {
	reader := bufio.NewReader(os.Stdin)
	for {
		line, err := reader.ReadString('\n')
		if line != "" {
			lines <- line
		}
		if err != nil {
			if !errors.Is(err, io.EOF) || !isNull(os.Stdin) {
				cancel(errAlone)
			}
			return
		}
	}
}

func isNull(file *os.File) bool {
	null, err := os.Stat(os.DevNull)
	if err != nil {
		return false
	}
	info, err := file.Stat()
	return err == nil && os.SameFile(null, info)
}

// lockDirectory keeps two clusters out of one directory.
func lockDirectory(l layout) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(l.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		file.Close()
		return nil, fmt.Errorf("%s is in use by another cluster: %w", l.dir, err)
	}
	return file, nil
}
