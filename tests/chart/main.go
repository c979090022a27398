// Command tidegate-chart renders a chart as `helm template` does, with Helm's own engine and the values' schema enforced:
// the part of Helm that the tests need, without the rest, whose build takes longer than all else here.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		os.Exit(1)
	}
}

func run() error {
	release := flag.String("release", "tidegate", "the release's name")
	namespace := flag.String("namespace", "tidegate", "the namespace that it is installed in")
	values := flag.String("values", "", "a file with values")
	kubernetes := flag.String("kube-version", "", "the cluster's version, such as v1.37.2")
	flag.Parse()
	if flag.NArg() != 1 {
		return fmt.Errorf("usage: tidegate-chart [FLAG...] CHART")
	}
	loaded, err := loader.LoadDir(flag.Arg(0))
	if err != nil {
		return err
	}
	if err := loaded.Validate(); err != nil {
		return err
	}
	given := common.Values{}
	if *values != "" {
		if given, err = common.ReadValuesFile(*values); err != nil {
			return err
		}
	}
	capabilities := common.DefaultCapabilities.Copy()
	if *kubernetes != "" {
		version, err := common.ParseKubeVersion(*kubernetes)
		if err != nil {
			return err
		}
		capabilities.KubeVersion = *version
	}
	return render(loaded, given, *release, *namespace, capabilities)
}

func render(loaded *chart.Chart, given common.Values, release, namespace string, capabilities *common.Capabilities) error {
	options := common.ReleaseOptions{Name: release, Namespace: namespace, Revision: 1, IsInstall: true}
	all, err := util.ToRenderValues(loaded, given, options, capabilities)
	if err != nil {
		return err
	}
	// A value that a template spells wrong is an error, not an empty text.
	files, err := engine.Engine{Strict: true}.Render(loaded, all)
	if err != nil {
		return err
	}
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		text := strings.TrimSpace(files[name])
		switch {
		case strings.HasSuffix(name, "NOTES.txt"):
			fmt.Fprintln(os.Stderr, text)
		case text != "" && !strings.HasPrefix(name[strings.LastIndex(name, "/")+1:], "_"):
			fmt.Printf("---\n# Source: %s\n%s\n", name, strings.TrimPrefix(text, "---\n"))
		}
	}
	return nil
}
