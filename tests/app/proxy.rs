//! What a run does with an Envoy that is not its own.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate::app::{App, Hooks};
use tidegate::builder::Tidegate;
use tidegate::proxy::child;
use tidegate_actors::env::Env;

use crate::rig::*;

/// A process as the note about an Envoy names it: when it started is the 22nd field of its `stat`, see proc(5).
fn mk_identity(pid: u32) -> Value {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after_name = stat.rsplit_once(") ").unwrap().1;
    let start_time: u64 = after_name.split(' ').nth(19).unwrap().parse().unwrap();
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    json!({"pid": pid, "startTime": start_time, "bootId": boot_id.trim()})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_manages_no_envoy_does_not_kill_one_that_an_earlier_run_has_left() {
    let folder = tempfile::tempdir().unwrap();
    let config = mk_config(folder.path());
    let mut left = Command::new("sleep").arg("60").spawn().unwrap();
    let note = json!({"process": mk_identity(left.id()), "launch": "an earlier run's"});
    std::fs::create_dir_all(config.data_dir.join("envoy")).unwrap();
    std::fs::write(config.data_dir.join("envoy/envoy-state.json"), note.to_string()).unwrap();

    let app = App::start(&Tidegate::builder(), &config, &Hooks::default(), Env::system()).await.unwrap();
    assert_eq!(app.kill_proxy().unwrap(), None);
    assert!(left.try_wait().unwrap().is_none(), "the process still runs");

    app.supervisor.shutdown(Duration::from_secs(5)).await;
    assert_eq!(child::kill_noted(&config.data_dir.join("envoy")).unwrap(), Some(left.id()), "the note was a good one");
    left.wait().unwrap();
}
