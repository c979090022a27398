//! What of the run loop needs no real Envoy: the laws with one are in `tests/proxy.rs`.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use super::*;
use crate::proxy::locate::tests::mk_script;

/// A program in place of Envoy.
fn mk_options(root: &Path, script: &str) -> ChildOptions {
    let envoy = root.join("fake-envoy");
    mk_script(&envoy, script);
    let admin = AdminAddress::Socket(root.join("admin.sock"));
    ChildOptions::new(envoy, root.join("run"), "{}".to_owned(), admin)
}

async fn run_to_end(options: &ChildOptions) -> (ProxyError, Vec<ProxyEvent>) {
    let mut events = Vec::new();
    let error = run(options, std::future::pending(), |event| events.push(event)).await.unwrap_err();
    (error, events)
}

#[tokio::test]
async fn an_envoy_that_ends_is_an_error_with_its_status_and_last_words() {
    let root = tempfile::tempdir().unwrap();
    let options = mk_options(root.path(), "sleep 0.1; echo '[critical][main] port taken' >&2; exit 3");

    let (error, events) = run_to_end(&options).await;

    let message = error.to_string();
    assert!(message.contains("exit status: 3") && message.ends_with(": port taken"), "{message}");
    assert!(matches!(events[..], [ProxyEvent::Started { .. }]), "{events:?}");
    assert!(!root.path().join("run/envoy-state.json").exists(), "nothing is left to be adopted");
}

#[tokio::test]
async fn an_envoy_that_never_answers_is_killed() {
    let root = tempfile::tempdir().unwrap();
    let mut options = mk_options(root.path(), "exec sleep 600");
    options.start_timeout = Duration::from_millis(50);

    let (error, events) = run_to_end(&options).await;

    assert!(matches!(&error, ProxyError::NotStarted { reason, .. } if reason.contains("connect")), "{error}");
    let [ProxyEvent::Started { pid }] = events[..] else { panic!("{events:?}") };
    assert_eq!(ProcessIdentity::of(pid).unwrap(), None, "it is gone");
}

#[tokio::test]
async fn an_envoy_that_ignores_a_stop_is_killed_after_its_time() {
    let root = tempfile::tempdir().unwrap();
    let mut options = mk_options(root.path(), "trap '' TERM; while :; do sleep 0.05; done");
    options.stop_timeout = Duration::from_millis(300);
    let (started, is_started) = tokio::sync::oneshot::channel();
    let mut started = Some(started);
    let mut pid = 0;

    let stop = async { drop(is_started.await) };
    let result = run(&options, stop, |event| {
        if let ProxyEvent::Started { pid: number } = event {
            pid = number;
            started.take().unwrap().send(()).unwrap();
        }
    });
    result.await.unwrap();

    assert_eq!(ProcessIdentity::of(pid).unwrap(), None);
}

#[tokio::test]
async fn a_program_that_is_missing_is_named() {
    let root = tempfile::tempdir().unwrap();
    let options = ChildOptions { envoy: root.path().join("nowhere"), ..mk_options(root.path(), "") };
    let (error, events) = run_to_end(&options).await;
    assert!(error.to_string().contains("nowhere"), "{error}");
    assert_eq!(events, []);
}

#[tokio::test]
async fn a_process_that_no_note_names_is_found_by_its_arguments_and_ended() {
    let root = tempfile::tempdir().unwrap();
    let options = mk_options(root.path(), "while :; do sleep 0.05; done");
    let first = {
        let mut pid = None;
        let run = run(&options, std::future::pending(), |event| {
            if let ProxyEvent::Started { pid: number } = event {
                pid = Some(number);
            }
        });
        // Dropped while it waits for the first answer, as by a crash.
        let _ = tokio::time::timeout(Duration::from_millis(200), run).await;
        pid.unwrap()
    };
    assert!(ProcessIdentity::of(first).unwrap().is_some(), "a dropped run leaves it running");
    fs::remove_file(root.path().join("run/envoy-state.json")).unwrap();
    let options = ChildOptions { start_timeout: Duration::from_millis(50), ..options };

    let (_, events) = run_to_end(&options).await;

    assert!(matches!(events[0], ProxyEvent::Replaced { pid, .. } if pid == first), "{events:?}");
    assert!(matches!(events.last(), Some(ProxyEvent::Started { pid }) if *pid != first), "{events:?}");
    assert_eq!(ProcessIdentity::of(first).unwrap(), None);
}

#[test]
fn the_launch_hash_tells_apart_whatever_makes_another_envoy() {
    let root = Path::new("/run");
    let options = ChildOptions::new(
        "/bin/envoy".into(),
        root.to_owned(),
        "{}".to_owned(),
        AdminAddress::Socket("/run/admin.sock".into()),
    );
    let hash = |options: &ChildOptions| options.launch_hash(&options.arguments(&root.join("bootstrap.json")));
    let before = hash(&options);
    let others = [
        ChildOptions { envoy: "/usr/bin/envoy".into(), ..options.clone() },
        ChildOptions { bootstrap: "{ }".to_owned(), ..options.clone() },
        ChildOptions { concurrency: Some(1), ..options.clone() },
        ChildOptions { log_level: "debug".to_owned(), ..options.clone() },
    ];
    assert_eq!(hash(&options.clone()), before);
    assert!(others.iter().all(|other| hash(other) != before));
    // How we watch it makes no difference to it.
    assert_eq!(hash(&ChildOptions { drain_timeout: Duration::ZERO, ..options.clone() }), before);
    let arguments = options.arguments(&root.join("bootstrap.json"));
    assert!(arguments.iter().any(|argument| argument.as_os_str() == OsStr::new("--disable-hot-restart")));
}
