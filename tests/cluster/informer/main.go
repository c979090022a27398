// Command tidegate-informer is the benchmarks' client-go peer: dynamic shared informers on some resources, measured. It is a
// program of its own, and not a part of tidegate-cluster, so that its memory is that of a client alone.
//
// It prints one line of JSON when all informers have synced, and, with --updates, another when so many updates have arrived.
// An update is measured if it carries the annotation that --stamp names, with the nanoseconds since 1970 at which it was sent.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

// usage is what the process has used so far.
type usage struct {
	// Since the program started.
	Seconds    float64 `json:"seconds"`
	CPUSeconds float64 `json:"cpuSeconds"`
	// The most that was ever resident, and what is now; `steady` is after a collection that gave back all it could.
	PeakBytes   uint64 `json:"peakBytes"`
	Bytes       uint64 `json:"bytes"`
	SteadyBytes uint64 `json:"steadyBytes"`
}

type synced struct {
	Event   string `json:"event"`
	Objects int    `json:"objects"`
	usage
}

type updated struct {
	Event   string  `json:"event"`
	Updates int     `json:"updates"`
	Stamped int     `json:"stamped"`
	P50     float64 `json:"p50Seconds"`
	P99     float64 `json:"p99Seconds"`
	usage
}

// delays gathers what the event handlers see.
type delays struct {
	lock    sync.Mutex
	stamp   string
	wanted  int
	updates int
	seen    []time.Duration
	done    chan struct{}
}

func (d *delays) observe(object any) {
	now := time.Now()
	d.lock.Lock()
	defer d.lock.Unlock()
	if d.updates == d.wanted {
		return
	}
	d.updates++
	if object, is := object.(*unstructured.Unstructured); is {
		if sent, err := strconv.ParseInt(object.GetAnnotations()[d.stamp], 10, 64); err == nil {
			d.seen = append(d.seen, now.Sub(time.Unix(0, sent)))
		}
	}
	if d.updates == d.wanted {
		close(d.done)
	}
}

func main() {
	if err := run(&meter{begun: time.Now()}); err != nil {
		fmt.Fprintln(os.Stderr, "error: tidegate-informer:", err)
		os.Exit(1)
	}
}

func run(meter *meter) error {
	kubeconfig := flag.String("kubeconfig", "", "how to reach the API server")
	server := flag.String("server", "", "an API server without authentication, instead of --kubeconfig")
	stamp := flag.String("stamp", "tidegate.dev/sent", "the annotation that says when an update was sent")
	updates := flag.Int("updates", 0, "how many updates to wait for after the sync")
	patience := flag.Duration("patience", 5*time.Minute, "how long everything may take")
	var resources []schema.GroupVersionResource
	flag.Func("resource", "GROUP/VERSION/RESOURCE, or VERSION/RESOURCE; may be repeated", func(text string) error {
		parts := strings.Split(text, "/")
		if len(parts) == 2 {
			parts = append([]string{""}, parts...)
		}
		if len(parts) != 3 {
			return errors.New("say GROUP/VERSION/RESOURCE")
		}
		resources = append(resources, schema.GroupVersionResource{Group: parts[0], Version: parts[1], Resource: parts[2]})
		return nil
	})
	flag.Parse()
	if len(resources) == 0 || flag.NArg() > 0 {
		return errors.New("say --resource GROUP/VERSION/RESOURCE, and no other words")
	}

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, *patience, fmt.Errorf("not done within %s", *patience))
	defer cancel()
	config, err := clientcmd.BuildConfigFromFlags(*server, *kubeconfig)
	if err != nil {
		return err
	}
	// The server is asked as fast as it answers.
	config.QPS = -1
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	factory := dynamicinformer.NewDynamicSharedInformerFactory(client, 0)
	observed := &delays{stamp: *stamp, wanted: *updates, done: make(chan struct{})}
	if *updates == 0 {
		close(observed.done)
	}
	var informers []cache.SharedIndexInformer
	for _, resource := range resources {
		informer := factory.ForResource(resource).Informer()
		handler := cache.ResourceEventHandlerFuncs{UpdateFunc: func(_, object any) { observed.observe(object) }}
		if _, err := informer.AddEventHandler(handler); err != nil {
			return err
		}
		informers = append(informers, informer)
	}
	factory.Start(ctx.Done())
	for _, informer := range informers {
		if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
			return fmt.Errorf("not synced: %w", context.Cause(ctx))
		}
	}
	if err := printSynced(meter, informers); err != nil {
		return err
	}
	if *updates == 0 {
		return nil
	}
	select {
	case <-observed.done:
	case <-ctx.Done():
		observed.lock.Lock()
		defer observed.lock.Unlock()
		return fmt.Errorf("%d of %d updates: %w", observed.updates, observed.wanted, context.Cause(ctx))
	}
	return printUpdated(meter, observed)
}

func printSynced(meter *meter, informers []cache.SharedIndexInformer) error {
	said := synced{Event: "synced"}
	for _, informer := range informers {
		said.Objects += len(informer.GetStore().ListKeys())
	}
	var err error
	if said.usage, err = meter.read(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(said)
}

func printUpdated(meter *meter, observed *delays) error {
	observed.lock.Lock()
	defer observed.lock.Unlock()
	said := updated{Event: "updated", Updates: observed.updates, Stamped: len(observed.seen)}
	var err error
	if said.usage, err = meter.read(); err != nil {
		return err
	}
	slices.Sort(observed.seen)
	said.P50, said.P99 = quantile(observed.seen, 0.50), quantile(observed.seen, 0.99)
	return json.NewEncoder(os.Stdout).Encode(said)
}

// quantile is in seconds; 0 when nothing was seen.
func quantile(sorted []time.Duration, share float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(float64(len(sorted))*share), len(sorted)-1)].Seconds()
}

// meter measures the process. What its own collections cost is in no figure.
type meter struct {
	begun      time.Time
	collecting time.Duration
}

func (m *meter) read() (usage, error) {
	seconds := time.Since(m.begun).Seconds()
	cpu, err := cpuTime()
	if err != nil {
		return usage{}, err
	}
	peak, now, err := resident()
	if err != nil {
		return usage{}, err
	}
	spent := cpu - m.collecting
	debug.FreeOSMemory()
	_, steady, err := resident()
	if err != nil {
		return usage{}, err
	}
	after, err := cpuTime()
	m.collecting += after - cpu
	return usage{
		Seconds: seconds, CPUSeconds: spent.Seconds(), PeakBytes: peak, Bytes: now, SteadyBytes: steady,
	}, err
}

func cpuTime() (time.Duration, error) {
	var used syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return time.Duration(used.Utime.Nano() + used.Stime.Nano()), err
}

// resident is the most, and the present, of what is in memory. The kernel says it in a text file.
func resident() (peak, now uint64, err error) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		kilobytes, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			continue
		}
		switch name {
		case "VmHWM":
			peak = kilobytes << 10
		case "VmRSS":
			now = kilobytes << 10
		}
	}
	return peak, now, nil
}
