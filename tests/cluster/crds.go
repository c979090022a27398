// The Gateway API's CustomResourceDefinitions, experimental channel. They are files of the module that go.mod names;
// `cargo xtask cluster` lays them beside the program when it builds it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

var crdResource = schema.GroupVersionResource{
	Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions",
}

// crd is one definition: as it is written, and as it is sent.
type crd struct {
	file   string
	text   []byte
	object *unstructured.Unstructured
}

// readCRDs reads the definitions in a directory, or those beside this program. What is no definition, such as the policy
// that guards upgrades, is left out: tests exchange versions at will.
func readCRDs(dir string) ([]crd, error) {
	if dir == "" {
		program, err := os.Executable()
		if err != nil {
			return nil, err
		}
		dir = filepath.Join(filepath.Dir(program), "crds")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return nil, err
	}
	var found []crd
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(text, &object.Object); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if object.GetKind() == "CustomResourceDefinition" {
			found = append(found, crd{filepath.Base(file), text, object})
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no CustomResourceDefinition in %s: build with `cargo xtask cluster`, or say --crds DIR", dir)
	}
	return found, nil
}

// runCRDs is the command `crds`.
func runCRDs(arguments []string) error {
	flags := flag.NewFlagSet("crds", flag.ContinueOnError)
	from := flags.String("crds", "", "where they are, if not beside this program")
	to := flags.String("to", "", "the directory to write")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if *to == "" {
		return errors.New("--to is missing: name the directory to write")
	}
	found, err := readCRDs(*from)
	if err != nil {
		return err
	}
	for _, crd := range found {
		if err := replaceFile(filepath.Join(*to, crd.file), crd.text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// applyCRDs applies the definitions and waits until the API server serves all of them and describes them to kubectl.
func applyCRDs(ctx context.Context, config *rest.Config, found []crd) error {
	// Nobody else is served yet: there is no reason to go slowly.
	config = rest.CopyConfig(config)
	config.QPS = -1
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	results := make(chan error)
	for _, crd := range found {
		go func() {
			options := metav1.ApplyOptions{FieldManager: "tidegate-cluster", Force: true}
			_, err := client.Resource(crdResource).Apply(ctx, crd.object.GetName(), crd.object, options)
			if err != nil {
				err = fmt.Errorf("could not apply %s: %w", crd.file, err)
			}
			results <- err
		}()
	}
	for range found {
		err = errors.Join(err, <-results)
	}
	if err != nil {
		return err
	}
	plain, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	return poll(ctx, 50*time.Millisecond, func() error {
		described, err := plain.RESTClient().Get().AbsPath("/openapi/v3").DoRaw(ctx)
		if err != nil {
			return err
		}
		served, err := plain.RESTClient().Get().AbsPath("/apis").
			SetHeader("Accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList").DoRaw(ctx)
		if err != nil {
			return err
		}
		for _, crd := range found {
			if missing := notServed(crd.object, string(described), string(served)); missing != "" {
				return fmt.Errorf("%s: %s is not served yet", crd.file, missing)
			}
		}
		return nil
	})
}

// notServed names the first thing of a definition that the API server's two descriptions of itself lack.
func notServed(object *unstructured.Unstructured, described, served string) string {
	group, _, _ := unstructured.NestedString(object.Object, "spec", "group")
	kind, _, _ := unstructured.NestedString(object.Object, "spec", "names", "kind")
	versions, _, _ := unstructured.NestedSlice(object.Object, "spec", "versions")
	for _, version := range versions {
		version, _ := version.(map[string]any)
		path := fmt.Sprintf("apis/%s/%v", group, version["name"])
		if version["served"] == true && !strings.Contains(described, `"`+path+`"`) {
			return path
		}
	}
	if !strings.Contains(served, `"kind":"`+kind+`"`) {
		return kind
	}
	return ""
}

// poll tries until it works; the last error is the one that counts when the time is over.
func poll(ctx context.Context, pause time.Duration, attempt func() error) error {
	for {
		err := attempt()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-time.After(pause):
		}
	}
}
