//! An engine that is ended and started again from its disk: what it serves at once, how it goes on, and what a disk can
//! do to it.

#![allow(clippy::unwrap_used)]

#[path = "warm_start/disks.rs"]
mod disks;

#[path = "warm_start/lives.rs"]
mod lives;

#[path = "warm_start/poison.rs"]
mod poison;

#[path = "warm_start/rig.rs"]
mod rig;

use std::time::Duration;

use rig::*;
use tidegate_actors::queue::Phase;
use tidegate_actors::testing::{self, MemoryDisk, MemorySource, Rig};

#[test]
fn a_restart_serves_what_was_held_and_goes_on_without_a_list() {
    testing::run(async {
        let (disk, source) = (MemoryDisk::default(), MemorySource::new("demo"));
        put(&source, "a", 1);
        put(&source, "b", 1);
        let life = Life::start(1, &disk, &source).await;
        life.rig.advance(Duration::from_secs(1)).await;
        put(&source, "a", 2);
        delete(&source, "b");
        put(&source, "c", 1);
        life.rig.advance(Duration::from_secs(1)).await;
        assert_eq!(life.lists(), 1);
        let disk = disk.copy();
        drop(life);

        put(&source, "d", 1);
        let life = Life::start_away(2, &disk, &source).await;
        life.rig.advance(Duration::from_millis(10)).await;
        assert_eq!(life.held(), ["a 2", "c 1"], "nobody was asked");
        let sync = life.things.status().sync;
        assert!(sync.is_settled() && matches!(sync.phase, Phase::Degraded(_)), "{sync:?}");
        assert!(life.things.lister().age().is_some());
        life.come_back();
        life.rig.settle().await;
        assert_eq!(life.held(), ["a 2", "c 1", "d 1"]);
        assert_eq!((life.lists(), life.things.status().sync.phase), (0, Phase::Synced));
    });
}

#[test]
fn a_cursor_that_has_expired_meanwhile_leads_to_a_list_and_what_is_gone_goes() {
    testing::run(async {
        let (disk, source) = (MemoryDisk::default(), MemorySource::new("demo"));
        put(&source, "a", 1);
        put(&source, "b", 1);
        let life = Life::start(1, &disk, &source).await;
        life.rig.advance(Duration::from_secs(1)).await;
        drop(life);
        delete(&source, "a");
        put(&source, "b", 2);
        source.compact();
        let life = Life::start(2, &disk.copy(), &source).await;
        life.rig.settle().await;
        assert_eq!((life.held(), life.lists()), (vec!["b 2".to_owned()], 1));
        assert!(life.things.lister().list().iter().all(|object| object.resource_version() != Some("1")));
    });
}

#[test]
fn a_type_that_was_known_to_be_absent_is_so_at_once_and_another_definition_of_a_source_begins_with_a_list() {
    testing::run(async {
        let (disk, source) = (MemoryDisk::default(), MemorySource::new("demo"));
        let life = Life::start(1, &disk, &source).await;
        source.remove_type(&things());
        life.rig.advance(Duration::from_secs(30)).await;
        assert!(matches!(life.things.status().sync.phase, Phase::Absent(_)));
        drop(life);
        let life = Life::start_away(2, &disk.copy(), &source).await;
        life.rig.advance(Duration::from_millis(10)).await;
        let sync = life.things.status().sync;
        assert!(sync.is_settled() && matches!(sync.phase, Phase::Absent(_)), "{sync:?}");
        put(&source, "a", 1);
        life.come_back();
        life.rig.settle().await;
        assert_eq!(life.held(), ["a 1"], "it has come");
        let disk = disk.copy();
        drop(life);

        let life = Life::with(3, &disk, &source, "elsewhere", options()).await;
        life.rig.advance(Duration::from_secs(1)).await;
        assert!(!life.things.status().sync.is_settled() && life.held().is_empty(), "{:?}", life.things.status());
        life.come_back();
        life.rig.settle().await;
        assert_eq!((life.held(), life.lists()), (vec!["a 1".to_owned()], 1));
        assert_eq!(life.status().failing, Vec::<String>::new(), "it has been written anew");
    });
}

#[test]
fn a_type_that_is_unregistered_leaves_nothing_on_disk_and_an_unclaimed_file_goes_in_time() {
    testing::run(async {
        let (disk, source) = (MemoryDisk::default(), MemorySource::new("demo"));
        put(&source, "a", 1);
        let life = Life::start(1, &disk, &source).await;
        life.rig.advance(Duration::from_secs(1)).await;
        assert_eq!(files(&disk).len(), 1);
        let kept = disk.copy();
        life.rig.factory.unregister("demo", &things()).await.unwrap();
        assert_eq!(files(&disk), Vec::<String>::new());
        drop(life);

        let rig = Rig::start_on(2, &kept, options()).await.unwrap();
        rig.advance(Duration::from_secs(3000)).await;
        assert_eq!(files(&kept).len(), 1, "whoever wants it may still come");
        rig.advance(Duration::from_secs(1000)).await;
        assert_eq!(files(&kept), Vec::<String>::new());
    });
}
