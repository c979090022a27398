//! What a disk can do to a running engine and to the next one: nothing that anybody but the snapshot notices.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tidegate_actors::env::{Disk as _, Fault};
use tidegate_actors::supervisor::State;
use tidegate_actors::testing::{self, FaultRule, MemoryDisk, MemorySource, Trouble};

use crate::rig::*;

fn path(disk: &MemoryDisk) -> PathBuf {
    Path::new("snapshot").join(&files(disk)[0])
}

/// What is said of a snapshot: by its actor, and by problems.
fn said(life: &Life) -> (State, Vec<String>) {
    let writer = life.rig.supervisor.tree().children.into_iter().find(|child| &*child.name == "snapshot").unwrap();
    let problems = life.rig.problems.list();
    let problems = problems.iter().filter(|(scope, _)| scope == "snapshot");
    (writer.state, problems.map(|(_, problem)| problem.to_string()).collect())
}

#[test]
fn a_full_broken_or_read_only_disk_is_named_costs_nobody_else_anything_and_is_caught_up_with() {
    let troubles = [
        (Trouble { full: true, ..Trouble::default() }, "no space left"),
        (Trouble { broken: true, ..Trouble::default() }, "input/output error"),
        (Trouble { read_only: true, ..Trouble::default() }, "read-only"),
    ];
    for (trouble, named) in troubles {
        testing::run(async {
            let (disk, source) = (MemoryDisk::default(), MemorySource::new("demo"));
            put(&source, "a", 1);
            let life = Life::start(1, &disk, &source).await;
            life.rig.advance(Duration::from_secs(1)).await;
            disk.set_trouble(trouble);
            put(&source, "a", 2);
            life.rig.advance(Duration::from_millis(50)).await;
            assert_eq!(life.held(), ["a 2"], "at once");
            life.rig.advance(Duration::from_secs(1)).await;
            let (state, problems) = said(&life);
            assert_eq!((state, problems.len()), (State::Degraded, 1));
            assert!(problems[0].contains(named) && problems[0].contains("things.example.test"), "{problems:?}");
            assert!(life.status().behind.is_some());
            // The next life begins with what was safe.
            let next = Life::start_away(2, &disk.copy(), &source).await;
            next.rig.advance(Duration::from_millis(10)).await;
            assert_eq!(next.held(), ["a 1"]);
            drop(next);

            disk.set_trouble(Trouble::default());
            life.rig.advance(Duration::from_secs(60)).await;
            assert_eq!(said(&life), (State::Running, Vec::new()));
            assert_eq!((life.status().behind, life.status().failing), (None, Vec::new()));
            let next = Life::start_away(3, &disk.copy(), &source).await;
            next.rig.advance(Duration::from_millis(10)).await;
            assert_eq!(next.held(), ["a 2"]);
        });
    }
}

#[test]
fn a_disk_that_stalls_for_ever_keeps_one_entry_a_key_waiting_and_nobody_else() {
    testing::run(async {
        let (disk, source) = (MemoryDisk::default(), MemorySource::new("demo"));
        let life = Life::start(1, &disk, &source).await;
        life.rig.faults.add(FaultRule::always("disk/write", Fault::Stall));
        for n in 0..500 {
            put(&source, ["a", "b"][n % 2], n as u64);
            life.rig.advance(Duration::from_millis(10)).await;
        }
        assert_eq!(life.held(), ["a 498", "b 499"]);
        assert!(files(&disk).is_empty());
        life.rig.advance(Duration::from_secs(1)).await;
        assert_eq!(said(&life).0, State::Degraded, "whoever looks is told");
        life.rig.faults.heal();
        // Somebody restarts it by hand.
        life.rig.supervisor.restart("snapshot").await.unwrap();
        life.rig.advance(Duration::from_secs(30)).await;
        let next = Life::start_away(2, &disk.copy(), &source).await;
        next.rig.advance(Duration::from_millis(10)).await;
        assert_eq!(next.held(), ["a 498", "b 499"]);
    });
}

#[test]
fn a_writer_that_panics_or_is_killed_loses_nothing() {
    testing::run(async {
        let (disk, source) = (MemoryDisk::default(), MemorySource::new("demo"));
        put(&source, "a", 1);
        let life = Life::start(1, &disk, &source).await;
        life.rig.faults.add(FaultRule {
            times: Some(3),
            ..FaultRule::always("port/snapshot/*/receive", Fault::Panic("injected".into()))
        });
        life.rig.advance(Duration::from_secs(30)).await;
        put(&source, "b", 1);
        assert!(life.rig.kill("snapshot"));
        put(&source, "c", 1);
        life.rig.advance(Duration::from_secs(30)).await;
        let next = Life::start_away(2, &disk.copy(), &source).await;
        next.rig.advance(Duration::from_millis(10)).await;
        assert_eq!(next.held(), ["a 1", "b 1", "c 1"]);
    });
}

#[test]
fn an_orderly_end_writes_what_came_last() {
    testing::run(async {
        let (disk, source) = (MemoryDisk::default(), MemorySource::new("demo"));
        let life = Life::start(1, &disk, &source).await;
        life.rig.advance(Duration::from_secs(1)).await;
        put(&source, "a", 1);
        life.rig.advance(Duration::from_millis(5)).await;
        life.rig.factory.shutdown().await;
        life.rig.supervisor.shutdown(Duration::from_secs(10)).await;
        let next = Life::start_away(2, &disk.copy(), &source).await;
        next.rig.advance(Duration::from_millis(10)).await;
        assert_eq!(next.held(), ["a 1"]);
    });
}

#[test]
fn a_corrupt_file_is_named_set_aside_never_served_and_replaced() {
    testing::run(async {
        let (disk, source) = (MemoryDisk::default(), MemorySource::new("demo"));
        put(&source, "a", 1);
        let life = Life::start(1, &disk, &source).await;
        life.rig.advance(Duration::from_secs(1)).await;
        drop(life);
        let disk = disk.copy();
        let path = path(&disk);
        let mut bytes = disk.read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        disk.put(&path, bytes.clone());

        let life = Life::start_away(2, &disk, &source).await;
        life.rig.advance(Duration::from_secs(1)).await;
        assert!(life.held().is_empty() && !life.things.status().sync.is_settled());
        let aside = format!("{}.corrupt-1", path.display());
        assert_eq!(disk.read(Path::new(&aside)).unwrap(), bytes, "for whoever wants to look at it");
        let (_, problems) = said(&life);
        assert!(
            problems.len() == 1 && problems[0].contains("corrupt at byte") && problems[0].contains(&aside),
            "{problems:?}"
        );
        life.come_back();
        life.rig.settle().await;
        assert_eq!((life.held(), life.lists(), said(&life).1), (vec!["a 1".to_owned()], 1, Vec::new()));
        drop(life);
        let next = Life::start_away(3, &disk.copy(), &source).await;
        next.rig.advance(Duration::from_millis(10)).await;
        assert_eq!(next.held(), ["a 1"], "there is a good one again");
    });
}

#[test]
fn a_disk_that_cannot_be_read_at_the_start_costs_a_list() {
    testing::run(async {
        let (disk, source) = (MemoryDisk::default(), MemorySource::new("demo"));
        put(&source, "a", 1);
        let life = Life::start(1, &disk, &source).await;
        life.rig.advance(Duration::from_secs(1)).await;
        drop(life);
        let disk = disk.copy();
        disk.set_trouble(Trouble { unreadable: true, ..Trouble::default() });
        let life = Life::start(2, &disk, &source).await;
        life.rig.settle().await;
        assert_eq!((life.held(), life.lists()), (vec!["a 1".to_owned()], 1));
    });
}

#[test]
fn what_does_not_fit_into_the_limit_is_left_out_by_name() {
    testing::run(async {
        let (disk, source) = (MemoryDisk::default(), MemorySource::new("demo"));
        for n in 0..50 {
            put(&source, &format!("o{n}"), n);
        }
        let mut small = options();
        small.max_bytes = 2000;
        let life = Life::with(1, &disk, &source, "", small).await;
        life.come_back();
        life.rig.advance(Duration::from_secs(2)).await;
        let (state, problems) = said(&life);
        assert_eq!((state, files(&disk)), (State::Degraded, Vec::new()));
        assert!(problems[0].contains("raise its limit"), "{problems:?}");
        (1..50).for_each(|n| delete(&source, &format!("o{n}")));
        life.rig.advance(Duration::from_secs(60)).await;
        assert_eq!((said(&life).1, files(&disk).len()), (Vec::new(), 1), "it fits now");
    });
}
