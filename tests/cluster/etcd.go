// etcd, embedded: running it, compacting it, and its snapshots. It has no transport security: only loopback reaches it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/snapshot"
	restore "go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// memberName is the name of the only member.
const memberName = "tidegate"

// runEtcd is the command `etcd`.
func runEtcd(arguments []string) error {
	l, known, _, err := partFlags("etcd", arguments, partEtcd, partEtcdPeer)
	if err != nil {
		return err
	}
	client, err := url.Parse(known.url(partEtcd))
	if err != nil {
		return err
	}
	peer, err := url.Parse(known.url(partEtcdPeer))
	if err != nil {
		return err
	}
	config := embed.NewConfig()
	config.Name, config.Dir = memberName, l.etcdData()
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{*peer}, []url.URL{*peer}
	config.InitialCluster = config.InitialClusterFromName(memberName)
	config.LogLevel = "warn"
	// What a killed process has written stays in the system's cache; a crash of the machine ends the test as well.
	config.UnsafeNoFsync = true
	// Nobody else stands for election, so there is no reason to wait long before it.
	config.TickMs, config.ElectionMs = 20, 100
	server, err := embed.StartEtcd(config)
	if err != nil {
		return err
	}
	defer server.Close()

	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGINT, syscall.SIGTERM)
	select {
	case <-ended:
		return nil
	case <-server.Server.StopNotify():
		return errors.New("etcd stopped by itself")
	case err := <-server.Err():
		return err
	}
}

func etcdConfig(known ports) clientv3.Config {
	return clientv3.Config{Endpoints: []string{known.url(partEtcd)}, DialTimeout: 10 * time.Second, Logger: zap.NewNop()}
}

// compact forgets every revision before the current one, which it returns.
func compact(ctx context.Context, known ports) (int64, error) {
	client, err := clientv3.New(etcdConfig(known))
	if err != nil {
		return 0, err
	}
	defer client.Close()
	status, err := client.Get(ctx, "current revision")
	if err != nil {
		return 0, fmt.Errorf("could not read the current revision: %w", err)
	}
	revision := status.Header.Revision
	// Physical: when this returns, the old revisions are gone from the disk too.
	_, err = client.Compact(ctx, revision, clientv3.WithCompactPhysical())
	return revision, err
}

// runCompact is the command `compact`.
func runCompact(arguments []string) error {
	_, known, _, err := partFlags("compact", arguments, partEtcd)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	revision, err := compact(ctx, known)
	if err == nil {
		fmt.Printf("{\"revision\":%d}\n", revision)
	}
	return err
}

func saveSnapshot(ctx context.Context, known ports, file string) error {
	_, err := snapshot.SaveWithVersion(ctx, zap.NewNop(), etcdConfig(known), file)
	return err
}

// restoreSnapshot replaces the data of an etcd that is not running. Revisions go back in time with it: that is what it is for.
func restoreSnapshot(l layout, known ports, file string) error {
	beside := l.etcdData() + ".restored"
	if err := os.RemoveAll(beside); err != nil {
		return err
	}
	peer := known.url(partEtcdPeer)
	err := restore.NewV3(zap.NewNop()).Restore(restore.RestoreConfig{
		SnapshotPath:        file,
		Name:                memberName,
		OutputDataDir:       beside,
		PeerURLs:            []string{peer},
		InitialCluster:      memberName + "=" + peer,
		InitialClusterToken: "etcd-cluster",
	})
	if err != nil {
		return fmt.Errorf("could not restore %s: %w", file, err)
	}
	if err := os.RemoveAll(l.etcdData()); err != nil {
		return err
	}
	return os.Rename(beside, l.etcdData())
}

// runSnapshot is the command `snapshot`.
func runSnapshot(arguments []string) error {
	if len(arguments) == 0 || (arguments[0] != "save" && arguments[0] != "restore") {
		return errors.New("say `snapshot save` or `snapshot restore`")
	}
	l, known, files, err := partFlags("snapshot", arguments[1:], partEtcd, partEtcdPeer)
	if err != nil {
		return err
	}
	if len(files) != 1 {
		return errors.New("name one file")
	}
	if arguments[0] == "restore" {
		return restoreSnapshot(l, known, files[0])
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return saveSnapshot(ctx, known, files[0])
}

// partFlags reads what the commands have in common: the directory, and after it what is theirs. The parts have ports then.
func partFlags(command string, arguments []string, parts ...string) (layout, ports, []string, error) {
	flags := flag.NewFlagSet(command, flag.ContinueOnError)
	dir := flags.String("dir", "", "the cluster's directory")
	if err := flags.Parse(arguments); err != nil {
		return layout{}, nil, nil, err
	}
	l, err := openLayout(*dir)
	if err != nil {
		return layout{}, nil, nil, err
	}
	known, err := l.ensurePorts(nil, parts...)
	return l, known, flags.Args(), err
}
