// Kubernetes' own programs, called as their own mains do, with the arguments that a cluster's directory asks for.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"

	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	"k8s.io/component-base/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	"sigs.k8s.io/gateway-api/pkg/consts"
)

// runAPIServer is the command `apiserver --dir DIR [--name NAME] [-- FLAG...]`; the flags are kube-apiserver's own.
func runAPIServer(arguments []string) error {
	flags := flag.NewFlagSet("apiserver", flag.ContinueOnError)
	dir := flags.String("dir", "", "the cluster's directory")
	name := flags.String("name", partAPIServer, "which API server this is, if there are several")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	l, err := openLayout(*dir)
	if err != nil {
		return err
	}
	if !isAPIServer(*name) {
		return fmt.Errorf("%q: an API server's name is %s or begins with %s-", *name, partAPIServer, partAPIServer)
	}
	known, err := l.ensurePorts(nil, partEtcd, *name)
	if err != nil {
		return err
	}
	if err := ensurePKI(l); err != nil {
		return err
	}
	os.Args = []string{"kube-apiserver",
		"--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", known[*name]),
		"--tls-cert-file=" + l.pki("server.crt"),
		"--tls-private-key-file=" + l.pki("server.key"),
		"--client-ca-file=" + l.pki("ca.crt"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + l.pki("sa.pub"),
		"--service-account-signing-key-file=" + l.pki("sa.key"),
		"--service-cluster-ip-range=" + serviceRange,
		"--authorization-mode=RBAC",
		// Endpoints may not hold loopback addresses, and nothing here asks where the API server is.
		"--endpoint-reconciler-type=none",
		// Tests say when etcd forgets.
		"--etcd-compaction-interval=0",
		"--profiling=false",
	}
	// Given twice, it would name two etcds.
	if !slices.ContainsFunc(flags.Args(), func(flag string) bool { return strings.HasPrefix(flag, "--etcd-servers=") }) {
		os.Args = append(os.Args, "--etcd-servers="+known.url(partEtcd))
	}
	os.Args = append(os.Args, flags.Args()...)
	os.Exit(cli.Run(apiserver.NewAPIServerCommand()))
	return nil
}

// runControllers is the command `controllers --dir DIR [-- FLAG...]`; the flags are kube-controller-manager's own.
func runControllers(arguments []string) error {
	l, known, rest, err := partFlags("controllers", arguments, partAPIServer)
	if err != nil {
		return err
	}
	config := l.kubeconfig(partControllers)
	if err := writeKubeconfig(l, known.url(partAPIServer), l.pki("admin"), config); err != nil {
		return err
	}
	os.Args = append([]string{"kube-controller-manager",
		"--kubeconfig=" + config,
		"--service-account-private-key-file=" + l.pki("sa.key"),
		"--root-ca-file=" + l.pki("ca.crt"),
		"--leader-elect=false",
		// It is asked nothing: no port.
		"--secure-port=0",
		// There are no nodes and no disks.
		"--controllers=*,-node-ipam-controller,-node-lifecycle-controller,-taint-eviction-controller," +
			"-persistentvolume-attach-detach-controller,-persistentvolume-binder-controller," +
			"-persistentvolume-expander-controller,-certificatesigningrequest-signing-controller",
	}, rest...)
	os.Exit(cli.Run(controllers.NewControllerManagerCommand()))
	return nil
}

// runKubectl is the command `kubectl`.
func runKubectl(arguments []string) error {
	os.Args = append([]string{"kubectl"}, arguments...)
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		// Says what is wrong in kubectl's way and exits with its code.
		kubectlutil.CheckErr(err)
	}
	return nil
}

// runVersion is the command `version`.
func runVersion(arguments []string) error {
	flags := flag.NewFlagSet("version", flag.ContinueOnError)
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	fmt.Printf("{\"kubernetes\":%q,\"etcd\":%q,\"gatewayApi\":%q}\n",
		version.Get().GitVersion, moduleVersion("go.etcd.io/etcd/server/v3"), consts.BundleVersion)
	return nil
}

// moduleVersion is what go.mod says of a module that is linked in.
func moduleVersion(path string) string {
	if build, known := debug.ReadBuildInfo(); known {
		for _, module := range build.Deps {
			if module.Path == path {
				return module.Version
			}
		}
	}
	return "unknown"
}
