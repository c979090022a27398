// Command tidegate-cluster is a Kubernetes of the tests' own: etcd, kube-apiserver and kube-controller-manager on loopback
// with everything in one directory, and the kubectl that fits. The parts are processes of this same program, so that a test
// can kill, stop and restart each alone.
//
// Laws: it never touches anything outside its directory and loopback; when its parent is gone, so is all that it started.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
)

// A command gets the arguments after its name.
var commands = map[string]struct {
	does string
	run  func(arguments []string) error
}{
	"up":          {"run a cluster until stdin closes or SIGTERM; commands on stdin, answers on stdout", up},
	"etcd":        {"run the etcd of a cluster's directory", runEtcd},
	"apiserver":   {"run a kube-apiserver of a cluster's directory", runAPIServer},
	"controllers": {"run the kube-controller-manager of a cluster's directory", runControllers},
	"kubectl":     {"the real kubectl, with its own arguments", runKubectl},
	"kubeconfig":  {"write a kubeconfig for a user with a new client certificate", writeUserKubeconfig},
	"compact":     {"compact a cluster's etcd up to now", runCompact},
	"snapshot":    {"snapshot save|restore --dir DIR FILE: a cluster's etcd to a file, or back while it is down", runSnapshot},
	"crds":        {"write the Gateway API's CustomResourceDefinitions to a directory", runCRDs},
	"version":     {"print the versions of what is inside", runVersion},
}

func init() {
	// A child is killed when the *thread* that started it ends: all children are started by the main one, which never does.
	runtime.LockOSThread()
}

func main() {
	if len(os.Args) < 2 {
		usage()
	}
	command, known := commands[os.Args[1]]
	if !known {
		usage()
	}
	err := command.run(os.Args[2:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintf(os.Stderr, "error: %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: tidegate-cluster COMMAND [FLAG...], where COMMAND is one of")
	for _, name := range sortedNames(commands) {
		fmt.Fprintf(os.Stderr, "  %-12s %s\n", name, commands[name].does)
	}
	os.Exit(2)
}

// noArguments refuses what a command does not read, such as a flag after a word.
func noArguments(flags *flag.FlagSet) error {
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return nil
}
