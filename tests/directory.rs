//! The directory source on a real directory with the file system's own events: what editors, tools and mounted
//! volumes do to files. Each wait is for the event itself, with a deadline.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use tempfile::TempDir;
use tidegate::source::directory::{DirectorySource, Options, load};
use tidegate::source::schema::{Catalogue, FieldError};
use tidegate_actors::env::Env;
use tidegate_actors::id::{ResourceType, Scope};
use tidegate_actors::problem::Problems;
use tidegate_actors::source::{Source as _, SourceEvent, SourceStream};
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(20);

struct Rig {
    /// Holds the watched directory, so that that one can go away.
    parent: TempDir,
    stream: SourceStream,
    problems: Problems,
    _source: Arc<DirectorySource>,
}

fn mk_type() -> ResourceType {
    ResourceType::new("test.io", "v1", "Route", "routes", Scope::Namespaced)
}

fn mk_catalogue() -> Catalogue {
    Catalogue::new().with(mk_type(), |raw: &[u8]| {
        let bad = raw.windows(5).any(|window| window == b"\"bad\"");
        if bad { vec![FieldError::new("spec.bad", "must not be there")] } else { Vec::new() }
    })
}

fn route(name: &str, value: u32) -> String {
    format!("---\napiVersion: test.io/v1\nkind: Route\nmetadata: {{name: {name}}}\nspec: {{v: {value}}}\n")
}

impl Rig {
    /// Starts on the directory `m` in a fresh parent, and waits for the first list.
    async fn start(prepare: impl FnOnce(&Path)) -> (Self, String) {
        let parent = tempfile::tempdir().unwrap();
        fs::create_dir(parent.path().join("m")).unwrap();
        prepare(parent.path());
        let problems = Problems::default();
        let mut options = Options::new("dir", parent.path().join("m"));
        // What is tested is that events arrive, not that looking would find out as well.
        options.rescan_interval = Duration::from_secs(3600);
        // Nor how it fares on a machine so busy that a writer stands still in between.
        options.settle = Duration::from_millis(150);
        let made = DirectorySource::new(options, Env::system(), problems.clone(), mk_catalogue());
        let (source, scanner) = made.unwrap();
        tokio::spawn(async move { scanner.run(std::future::pending()).await });
        let stream = source.open(&mk_type(), None);
        let mut rig = Self { parent, stream, problems, _source: source };
        let first = rig.next().await;
        (rig, first)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.parent.path().join("m").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// The changes up to the next cursor: `+a=1 -b`.
    async fn next(&mut self) -> String {
        let mut told = Vec::new();
        loop {
            let next = timeout(DEADLINE, self.stream.next()).await.expect("an event before the deadline");
            match next.unwrap().unwrap() {
                SourceEvent::Init => {}
                SourceEvent::InitApply(object) | SourceEvent::Apply(object) => {
                    let value: serde_json::Value = serde_json::from_slice(object.raw()).unwrap();
                    told.push(format!("+{}={}", object.key().name, value["spec"]["v"]));
                }
                SourceEvent::Delete(key) => told.push(format!("-{}", key.name)),
                SourceEvent::InitKeep(key) => panic!("a directory knows its last good versions itself: {key}"),
                SourceEvent::InitDone(_) | SourceEvent::Bookmark(_) => return told.join(" "),
            }
        }
    }

    /// All changes until one that was expected last.
    async fn until(&mut self, last: &str) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            all.extend(self.next().await.split(' ').map(str::to_owned));
            if all.iter().any(|change| change == last) {
                return all;
            }
        }
    }

    fn problems(&self) -> Vec<String> {
        self.problems.list().into_iter().map(|(_, problem)| problem.to_string()).collect()
    }

    /// Waits for the problems to be some that pass.
    async fn wait_for_problems(&self, pass: impl Fn(&[String]) -> bool) {
        let check = async {
            while !pass(&self.problems()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(timeout(DEADLINE, check).await.is_ok(), "{:?}", self.problems());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_in_every_style_are_seen_once_and_whole() {
    let (mut rig, first) = Rig::start(|parent| fs::write(parent.join("m/a.yaml"), route("a", 1)).unwrap()).await;
    assert_eq!(first, "+a=1");
    rig.write("a.yaml", &route("a", 2));
    assert_eq!(rig.next().await, "+a=2", "truncated and written");
    rig.write(".a.yaml.tmp", &route("a", 3));
    fs::rename(rig.path(".a.yaml.tmp"), rig.path("a.yaml")).unwrap();
    assert_eq!(rig.next().await, "+a=3", "written beside and renamed");
    fs::rename(rig.path("a.yaml"), rig.path("a.yaml~")).unwrap();
    rig.write("a.yaml", &route("a", 4));
    assert_eq!(rig.next().await, "+a=4", "moved to a backup and written anew");
    fs::rename(rig.path("a.yaml"), rig.path("b.yaml")).unwrap();
    rig.write("c.json", r#"{"apiVersion":"test.io/v1","kind":"Route","metadata":{"name":"c"},"spec":{"v":1}}"#);
    assert_eq!(rig.next().await, "+c=1", "a rename changes no object");
    rig.write("b.yaml", &route("a", 5));
    assert_eq!(rig.next().await, "+a=5");
    fs::remove_file(rig.path("b.yaml")).unwrap();
    assert_eq!(rig.next().await, "-a");
    assert_eq!(rig.problems(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_writer_is_waited_for() {
    use std::io::Write as _;
    let (mut rig, _) = Rig::start(|parent| fs::write(parent.join("m/a.yaml"), route("a", 1)).unwrap()).await;
    let mut file = fs::File::create(rig.path("a.yaml")).unwrap();
    for name in ["a", "b", "c"] {
        file.write_all(route(name, 2).as_bytes()).unwrap();
        file.flush().unwrap();
        std::thread::sleep(Duration::from_millis(8));
    }
    drop(file);
    assert_eq!(rig.next().await, "+a=2 +b=2 +c=2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_document_is_reported_by_line_and_mended() {
    let (mut rig, first) = Rig::start(|parent| {
        let text = route("a", 1) + &route("b", 1) + &route("c", 1);
        fs::write(parent.join("m/routes.yaml"), text).unwrap();
    })
    .await;
    assert_eq!(first, "+a=1 +b=1 +c=1");
    let broken = route("a", 1) + "---\nkind: [\n" + &route("c", 2).replace("v: 2", "v: 2, bad: 1") + &route("d", 1);
    rig.write("routes.yaml", &broken);
    assert_eq!(rig.next().await, "+d=1");
    let problems = rig.problems();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].starts_with("routes.yaml:7: Route dir:default/b: not valid YAML"), "{problems:?}");
    assert_eq!(problems[1], "routes.yaml:12: Route dir:default/c: spec.bad: must not be there");
    rig.write("routes.yaml", &(route("a", 1) + &route("b", 2) + &route("c", 2)));
    assert_eq!(rig.next().await, "+b=2 +c=2 -d");
    rig.wait_for_problems(<[String]>::is_empty).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_come_and_go() {
    let (mut rig, _) = Rig::start(|_| {}).await;
    fs::create_dir_all(rig.path("x/y")).unwrap();
    rig.write("x/y/a.yaml", &route("a", 1));
    assert_eq!(rig.next().await, "+a=1");
    rig.write("x/y/a.yaml", &route("a", 2));
    assert_eq!(rig.next().await, "+a=2");
    let outside = rig.parent.path().join("ready");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("b.yaml"), route("b", 1)).unwrap();
    fs::rename(&outside, rig.path("z")).unwrap();
    assert_eq!(rig.next().await, "+b=1", "moved in as a whole");
    rig.write("z/b.yaml", &route("b", 2));
    assert_eq!(rig.next().await, "+b=2", "and watched");
    fs::rename(rig.path("z"), &outside).unwrap();
    assert_eq!(rig.next().await, "-b", "moved out as a whole");
    fs::remove_dir_all(rig.path("x")).unwrap();
    assert_eq!(rig.next().await, "-a");
    fs::create_dir_all(rig.path("x/y")).unwrap();
    rig.write("x/y/a.yaml", &route("a", 3));
    assert_eq!(rig.next().await, "+a=3", "the same directory once more");
    rig.write("x/y/a.yaml", &route("a", 4));
    assert_eq!(rig.next().await, "+a=4");
    assert_eq!(rig.problems(), Vec::<String>::new());
}

/// As the kubelet does it: a directory a version, `..data` leads to the current one, and the names that people
/// see are links through it.
fn mount(volume: &Path, version: u32, files: &[(&str, String)]) {
    let target = volume.join(format!("..v{version}"));
    fs::create_dir(&target).unwrap();
    for (name, text) in files {
        fs::write(target.join(name), text).unwrap();
    }
    symlink(format!("..v{version}"), volume.join("..data_tmp")).unwrap();
    fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
    for (name, _) in files.iter().filter(|(name, _)| volume.join(name).symlink_metadata().is_err()) {
        symlink(Path::new("..data").join(name), volume.join(name)).unwrap();
    }
    if version > 1 {
        fs::remove_dir_all(volume.join(format!("..v{}", version - 1))).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mounted_volume_is_swapped_as_one() {
    let (mut rig, first) = Rig::start(|parent| {
        mount(&parent.join("m"), 1, &[("a.yaml", route("a", 1)), ("b.yaml", route("b", 1))]);
    })
    .await;
    assert_eq!(first, "+a=1 +b=1");
    for version in 2..5 {
        let files = [("a.yaml", route("a", version)), ("b.yaml", route("b", version))];
        mount(&rig.parent.path().join("m"), version, &files);
        assert_eq!(rig.next().await, format!("+a={version} +b={version}"));
    }
    mount(&rig.parent.path().join("m"), 5, &[("a.yaml", route("a", 5)), ("c.yaml", route("c", 5))]);
    let changes = rig.until("-b").await;
    assert!(changes.contains(&"+a=5".to_owned()), "{changes:?}");
    if !changes.contains(&"+c=5".to_owned()) {
        rig.until("+c=5").await;
    }
    assert_eq!(rig.problems(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_directory_itself_may_be_a_link_that_is_swapped() {
    let (mut rig, first) = Rig::start(|parent| {
        for version in 1..3 {
            fs::create_dir(parent.join(format!("v{version}"))).unwrap();
            fs::write(parent.join(format!("v{version}/a.yaml")), route("a", version)).unwrap();
        }
        fs::remove_dir(parent.join("m")).unwrap();
        symlink("v1", parent.join("m")).unwrap();
    })
    .await;
    assert_eq!(first, "+a=1");
    let parent = rig.parent.path().to_owned();
    symlink("v2", parent.join("next")).unwrap();
    fs::rename(parent.join("next"), parent.join("m")).unwrap();
    assert_eq!(rig.next().await, "+a=2");
    rig.write("a.yaml", &route("a", 3));
    assert_eq!(rig.next().await, "+a=3", "the new one is watched");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_vanishes_keeps_what_it_held_and_is_picked_up_when_it_returns() {
    let (mut rig, first) = Rig::start(|parent| fs::write(parent.join("m/a.yaml"), route("a", 1)).unwrap()).await;
    assert_eq!(first, "+a=1");
    let (here, away) = (rig.parent.path().join("m"), rig.parent.path().join("away"));
    fs::rename(&here, &away).unwrap();
    rig.wait_for_problems(|problems| problems.len() == 1 && problems[0].contains("does not exist")).await;
    fs::write(away.join("b.yaml"), route("b", 1)).unwrap();
    fs::rename(&away, &here).unwrap();
    assert_eq!(rig.next().await, "+b=1", "and a was never gone");
    rig.wait_for_problems(<[String]>::is_empty).await;

    fs::remove_dir_all(&here).unwrap();
    rig.wait_for_problems(|problems| problems.len() == 1 && problems[0].contains("does not exist")).await;
    fs::create_dir(&here).unwrap();
    rig.write("b.yaml", &route("b", 2));
    let changes = rig.until("+b=2").await;
    assert!(!changes.contains(&"-b".to_owned()), "{changes:?}");
    rig.write("b.yaml", &route("b", 3));
    rig.until("+b=3").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_back_to_an_outer_directory_is_refused() {
    let (rig, first) = Rig::start(|parent| {
        fs::write(parent.join("m/a.yaml"), route("a", 1)).unwrap();
        symlink(".", parent.join("m/loop")).unwrap();
    })
    .await;
    assert_eq!(first, "+a=1");
    assert_eq!(rig.problems().len(), 1);
    assert!(rig.problems()[0].starts_with("loop: links back"), "{:?}", rig.problems());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_leads_out_is_named_and_nothing_behind_it_is_read_or_watched() {
    let (mut rig, first) = Rig::start(|parent| {
        for outside in ["else", "else/deep", "m-beside", "m/inside"] {
            fs::create_dir(parent.join(outside)).unwrap();
        }
        fs::write(parent.join("else/x.yaml"), route("outside", 1)).unwrap();
        fs::write(parent.join("m-beside/x.yaml"), route("outside", 1)).unwrap();
        fs::write(parent.join("m/inside/a.yaml"), route("a", 1)).unwrap();
        fs::write(parent.join("m/c.yaml"), route("c", 1)).unwrap();
        symlink("inside/a.yaml", parent.join("m/b.yaml")).unwrap();
        symlink("../else/x.yaml", parent.join("m/file.yaml")).unwrap();
        symlink(parent.join("else"), parent.join("m/folder")).unwrap();
        // What begins with the same letters is not below it.
        symlink("../m-beside", parent.join("m/beside")).unwrap();
        symlink("folder/x.yaml", parent.join("m/over.yaml")).unwrap();
        symlink("/etc/passwd", parent.join("m/passwd.yaml")).unwrap();
    })
    .await;
    assert!(first == "+a=1 +c=1" || first == "+c=1 +a=1", "{first}: links within it are read, those out of it are not");
    let out = |name: &'static str| {
        move |all: &[String]| {
            all.iter()
                .any(|problem| problem.starts_with(name) && problem.contains("a link leads out of the directory, to /"))
        }
    };
    for name in ["beside: ", "file.yaml: ", "folder: ", "over.yaml: ", "passwd.yaml: "] {
        rig.wait_for_problems(out(name)).await;
    }
    assert!(!format!("{:?}", rig.problems()).contains("root:"), "{:?}", rig.problems());

    // What is outside may change; what is inside goes on.
    fs::write(rig.parent.path().join("else/deep/y.yaml"), route("outside", 2)).unwrap();
    rig.write("d.yaml", &route("d", 1));
    assert_eq!(rig.next().await, "+d=1");
    // In a file's place it keeps what the file held, until there is a file again.
    symlink("../else/x.yaml", rig.path("fresh")).unwrap();
    fs::rename(rig.path("fresh"), rig.path("c.yaml")).unwrap();
    rig.wait_for_problems(out("c.yaml: ")).await;
    fs::write(rig.path("fresh"), route("c", 2)).unwrap();
    fs::rename(rig.path("fresh"), rig.path("c.yaml")).unwrap();
    assert_eq!(rig.next().await, "+c=2");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_file_is_named_and_holds_nobody_up() {
    let mk_fifo = |path: &Path| assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    let (mut rig, first) = Rig::start(|parent| {
        mk_fifo(&parent.join("m/fifo.yaml"));
        drop(std::os::unix::net::UnixListener::bind(parent.join("m/socket.json")).unwrap());
        symlink("/dev/zero", parent.join("m/zero.yaml")).unwrap();
        fs::write(parent.join("m/a.yaml"), route("a", 1)).unwrap();
    })
    .await;
    assert_eq!(first, "+a=1");
    let expected = ["fifo.yaml: is a FIFO", "socket.json: is a socket", "zero.yaml: is a device"];
    rig.wait_for_problems(|all| all.len() == 3 && all.iter().zip(expected).all(|(one, start)| one.starts_with(start)))
        .await;
    rig.write("b.yaml", &route("b", 1));
    assert_eq!(rig.next().await, "+b=1", "the scanner goes on");

    // One that takes a file's place keeps what the file held; when it goes, or becomes a file, nothing is wrong.
    fs::remove_file(rig.path("a.yaml")).unwrap();
    mk_fifo(&rig.path("a.yaml"));
    rig.wait_for_problems(|all| all.len() == 4 && all[0].starts_with("a.yaml: is a FIFO")).await;
    for name in ["fifo.yaml", "socket.json", "a.yaml"] {
        fs::remove_file(rig.path(name)).unwrap();
    }
    fs::write(rig.path("zero.fresh"), route("z", 1)).unwrap();
    fs::rename(rig.path("zero.fresh"), rig.path("zero.yaml")).unwrap();
    rig.write("a.yaml", &route("a", 2));
    let mut changes = Vec::new();
    while !["+z=1", "+a=2"].iter().all(|change| changes.iter().any(|seen| seen == change)) {
        changes.extend(rig.next().await.split(' ').map(str::to_owned));
    }
    assert!(!changes.contains(&"-a".to_owned()), "{changes:?}");
    rig.wait_for_problems(<[String]>::is_empty).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_file_is_watched_too() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("all.yaml");
    fs::write(&file, route("a", 1)).unwrap();
    let options = Options { rescan_interval: Duration::from_secs(3600), ..Options::new("dir", &file) };
    let problems = Problems::default();
    let (source, scanner) = DirectorySource::new(options, Env::system(), problems.clone(), mk_catalogue()).unwrap();
    tokio::spawn(async move { scanner.run(std::future::pending()).await });
    let mut rig = Rig { parent, stream: source.open(&mk_type(), None), problems, _source: source };
    assert_eq!(rig.next().await, "+a=1");
    fs::write(&file, route("a", 2)).unwrap();
    assert_eq!(rig.next().await, "+a=2");
    let beside = rig.parent.path().join("beside.yaml");
    fs::write(&beside, route("a", 3)).unwrap();
    fs::rename(&beside, &file).unwrap();
    assert_eq!(rig.next().await, "+a=3");
}

#[test]
fn a_load_gives_objects_by_type_and_problems_by_place() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("sub")).unwrap();
    fs::write(directory.path().join("a.yaml"), route("b", 1) + &route("a", 1) + "---\nkind: x\n").unwrap();
    fs::write(directory.path().join("sub/b.yml"), route("c", 1).replace("v: 1", "bad: 1")).unwrap();
    fs::write(directory.path().join("sub/c.json"), "[\n{\"apiVersion\": \"x.io/v1\", \"kind\": \"Other\"},\n7]")
        .unwrap();
    let loaded = load(Options::new("cli", directory.path()), &Env::system(), mk_catalogue()).unwrap();
    let names: Vec<_> = loaded.objects[&mk_type()].iter().map(|object| object.key().to_string()).collect();
    assert_eq!(names, ["cli:default/a", "cli:default/b"]);
    let problems: Vec<_> = loaded.problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "a.yaml:12: apiVersion: is missing; every manifest says its API version",
            "sub/b.yml:5: Route cli:default/c: spec.bad: must not be there",
            "sub/c.json:3: not a manifest: a mapping with apiVersion, kind and metadata is expected",
        ]
    );
    assert_eq!(loaded.files, 3);
    assert_eq!(loaded.unknown.get(&("x.io".to_owned(), "Other".to_owned())), Some(&1));

    let loaded = load(Options::new("cli", directory.path().join("a.yaml")), &Env::system(), mk_catalogue()).unwrap();
    assert_eq!((loaded.files, loaded.problems[0].place.as_str()), (1, "a.yaml:12"));
    let nowhere = load(Options::new("cli", directory.path().join("none")), &Env::system(), mk_catalogue());
    assert!(nowhere.unwrap_err().to_string().contains("none"));
}
