// Where things lie in a cluster's directory, and which ports it has: all that the commands tell each other is here.
package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	partEtcd        = "etcd"
	partEtcdPeer    = "etcd-peer"
	partAPIServer   = "apiserver"
	partControllers = "controllers"
)

// layout is a cluster's directory.
type layout struct{ dir string }

func openLayout(dir string) (layout, error) {
	if dir == "" {
		return layout{}, errors.New("--dir is missing: name the cluster's directory")
	}
	absolute, err := filepath.Abs(dir)
	return layout{absolute}, err
}

func (l layout) pki(file string) string     { return filepath.Join(l.dir, "pki", file) }
func (l layout) log(part string) string     { return filepath.Join(l.dir, "log", part+".log") }
func (l layout) etcdData() string           { return filepath.Join(l.dir, "etcd") }
func (l layout) portsFile() string          { return filepath.Join(l.dir, "ports.json") }
func (l layout) kubeconfig(s string) string { return filepath.Join(l.dir, s+".kubeconfig") }

// isAPIServer tells API servers, of which there may be several with names that begin alike, from other parts.
func isAPIServer(part string) bool {
	return part == partAPIServer || strings.HasPrefix(part, partAPIServer+"-")
}

// ports has the port of each part that listens. It is kept, so that whatever starts again is where it was.
type ports map[string]int

func (p ports) url(part string) string {
	scheme := "http"
	if isAPIServer(part) {
		scheme = "https"
	}
	return fmt.Sprintf("%s://127.0.0.1:%d", scheme, p[part])
}

// Set reads a flag: `6443` for the API server, `etcd=2379` for any other part.
func (p ports) Set(text string) error {
	part, number, named := strings.Cut(text, "=")
	if !named {
		part, number = partAPIServer, text
	}
	port, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		return fmt.Errorf("%q is no port: say NUMBER or PART=NUMBER", text)
	}
	p[part] = int(port)
	return nil
}

func (p ports) String() string { return fmt.Sprint(map[string]int(p)) }

func (l layout) loadPorts() (ports, error) {
	known := ports{}
	text, err := os.ReadFile(l.portsFile())
	if errors.Is(err, fs.ErrNotExist) {
		return known, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &known); err != nil {
		return nil, fmt.Errorf("%s: %w", l.portsFile(), err)
	}
	return known, nil
}

// ensurePorts gives each of the parts a port, if it has none yet, and keeps what is asked for.
func (l layout) ensurePorts(asked ports, parts ...string) (ports, error) {
	known, err := l.loadPorts()
	if err != nil {
		return nil, err
	}
	before := maps.Clone(known)
	maps.Copy(known, asked)
	for _, part := range parts {
		if known[part] == 0 {
			if known[part], err = freePort(); err != nil {
				return nil, err
			}
		}
	}
	if maps.Equal(before, known) {
		return known, nil
	}
	text, err := json.Marshal(known)
	if err != nil {
		return nil, err
	}
	return known, replaceFile(l.portsFile(), text, 0o644)
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

// replaceFile never leaves half a file where another process may read it.
func replaceFile(path string, text []byte, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	beside := path + ".new"
	if err := os.WriteFile(beside, text, mode); err != nil {
		return err
	}
	return os.Rename(beside, path)
}

func sortedNames[K cmp.Ordered, V any](of map[K]V) []K { return slices.Sorted(maps.Keys(of)) }
