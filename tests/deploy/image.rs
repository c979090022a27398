//! The Dockerfile. No image is built here: what it copies exists and suffices, who runs is nobody, and what is run is
//! accepted by the binary.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::files::{documents, in_repository, text, tidegate};

const DOCKERFILE: &str = "config/deploy/Dockerfile";

/// The instructions, each with its arguments; lines that go on are one.
fn instructions() -> Vec<(String, String)> {
    let text = text(DOCKERFILE).replace("\\\n", " ");
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (instruction, arguments) = line.split_once(' ').unwrap();
            (instruction.to_owned(), arguments.split_whitespace().collect::<Vec<_>>().join(" "))
        })
        .collect()
}

/// The arguments of an instruction of the last stage.
fn last(instruction: &str) -> String {
    let all = instructions();
    let stage = all.iter().rposition(|(name, _)| name == "FROM").unwrap();
    let mut found = all[stage..].iter().filter(|(name, _)| name == instruction);
    found.next_back().unwrap_or_else(|| panic!("no {instruction} in the last stage")).1.clone()
}

/// Copies a file or a folder, as COPY does: what a folder holds goes into the destination.
fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(from, to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    }
}

/// Does what the build stage does up to its n-th build of the binary, in a folder, but for installing and compiling.
fn build_stage_until(builds: usize, folder: &Path) {
    let mut seen = 0;
    for (instruction, arguments) in instructions().into_iter().skip_while(|(name, _)| name != "FROM").skip(1) {
        match &*instruction {
            "COPY" => {
                let words: Vec<&str> = arguments.split(' ').collect();
                let (to, from) = words.split_last().unwrap();
                for from in from {
                    let into_folder = to.ends_with('/');
                    let file = Path::new(from).file_name().unwrap();
                    let to = if into_folder { folder.join(to).join(file) } else { folder.join(to) };
                    copy(&in_repository(from), &to);
                }
            }
            "RUN" if arguments.starts_with("cargo build") => {
                seen += 1;
                if seen == builds {
                    return;
                }
            }
            "RUN" if arguments.starts_with("apk ") => {}
            "RUN" => {
                let done = Command::new("sh").args(["-ec", &arguments]).current_dir(folder).status().unwrap();
                assert!(done.success(), "{arguments}");
            }
            _ => {}
        }
    }
    panic!("the binary is not built {builds} times");
}

/// What Cargo makes of a workspace in a folder. For this machine alone: crates for others need not be here, and nothing
/// may be fetched for a test.
fn metadata(folder: &Path) -> serde_json::Value {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--format-version", "1", "--offline", "--locked", "--filter-platform", "host-tuple"]);
    cargo.current_dir(folder);
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut all = Vec::new();
    for path in entries {
        if path.is_dir() {
            all.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push(path);
        }
    }
    all
}

#[test]
fn the_layer_of_dependencies_has_the_workspace_and_none_of_its_code() {
    let folder = tempfile::tempdir().unwrap();
    build_stage_until(1, folder.path());
    let found = metadata(folder.path());
    let binaries = found["packages"].as_array().unwrap().iter().filter(|package| package["name"] == "tidegate");
    let mut targets = binaries.flat_map(|package| package["targets"].as_array().unwrap());
    assert!(targets.any(|target| target["name"] == "tidegate" && target["kind"][0] == "bin"));
    let empty = |path: &Path| std::fs::metadata(path).unwrap().len() < 20;
    for code in ["src", "actors/src"] {
        let files = rust_files(&folder.path().join(code));
        assert!(!files.is_empty() && files.iter().all(|file| empty(file)), "{files:?}");
    }
}

#[test]
fn the_binary_is_built_of_all_that_its_sources_name() {
    let folder = tempfile::tempdir().unwrap();
    build_stage_until(2, folder.path());
    metadata(folder.path());
    for code in ["src", "actors/src"] {
        assert_eq!(rust_files(&folder.path().join(code)).len(), rust_files(&in_repository(code)).len());
    }
    let mut included = 0;
    for file in rust_files(&folder.path().join("src")) {
        let text = std::fs::read_to_string(&file).unwrap();
        for macro_name in ["include_str!(\"", "include_bytes!(\""] {
            for path in text.split(macro_name).skip(1).map(|rest| rest.split('"').next().unwrap()) {
                let path = file.parent().unwrap().join(path);
                assert!(path.is_file(), "{} includes {}", file.display(), path.display());
                included += 1;
            }
        }
    }
    assert!(included > 0, "the demo's files are compiled in");
}

#[test]
fn nothing_that_is_copied_is_kept_from_docker() {
    let ignore = text(&format!("{DOCKERFILE}.dockerignore"));
    let allowed: Vec<&str> = ignore.lines().filter_map(|line| line.strip_prefix('!')).collect();
    assert!(ignore.lines().any(|line| line == "*"));
    let copies = instructions().into_iter().filter(|(name, arguments)| name == "COPY" && !arguments.contains("--from"));
    for (_, arguments) in copies {
        let (_, from) = arguments.rsplit_once(' ').map(|(from, to)| (to, from)).unwrap();
        for path in from.split(' ') {
            let reached = |allowed: &&str| path == *allowed || path.starts_with(&format!("{allowed}/"));
            assert!(allowed.iter().any(reached), "{path} is ignored");
        }
    }
    for path in allowed {
        assert!(in_repository(path).exists(), "{path} is not there");
    }
}

#[test]
fn the_image_holds_one_file_that_runs_without_rights_and_what_it_runs_is_accepted() {
    assert_eq!(last("FROM"), "scratch");
    let user = last("USER");
    let id: u32 = user.split(':').next().unwrap().parse().expect("a number, or runAsNonRoot cannot be checked");
    assert!(id > 0);
    let list = |text: &str| -> Vec<String> { serde_json::from_str(text).unwrap() };
    assert_eq!(list(&last("ENTRYPOINT")), ["/tidegate"]);
    let arguments = list(&last("CMD"));
    let of_pods: Vec<String> = documents(&text("config/deploy/tidegate.yaml"))
        .iter()
        .filter(|object| object["kind"] == "Deployment")
        .flat_map(|object| crate::files::strings(&object["spec"]["template"]["spec"]["containers"][0]["args"]))
        .collect();
    assert_eq!(arguments, of_pods);
    // It takes them all, and says what is missing: the file.
    let missing = "/etc/tidegate/there-is-no-such-file.yaml";
    let arguments: Vec<&str> =
        arguments.iter().map(|word| if word.ends_with(".yaml") { missing } else { word }).collect();
    let (good, said) = tidegate(&arguments);
    assert!(!good && said.contains(missing) && said.contains("cannot read the config file"), "{said}");
}

#[test]
fn versions_stand_in_one_place_and_are_the_same_everywhere() {
    let version = env!("CARGO_PKG_VERSION");
    let image = format!("tidegate:{version}");
    assert!(text(DOCKERFILE).contains(&format!("-t {image} .")));
    assert!(text("config/deploy/tidegate.yaml").contains(&format!("image: {image}\n")));
    let chart = &documents(&text("config/deploy/chart/Chart.yaml"))[0];
    assert_eq!((&chart["version"], &chart["appVersion"]), (&version.into(), &version.into()));
    let manifest = text("Cargo.toml");
    let rust = manifest.lines().find_map(|line| line.strip_prefix("rust-version = \"")?.strip_suffix('"')).unwrap();
    assert!(text(DOCKERFILE).contains(&format!("ARG RUST=rust:{rust}.")), "the image's Rust is {rust}");
    let pin = tidegate::proxy::locate::Pin::for_machine("linux", "x86_64").unwrap();
    assert!(text("config/deploy/envoy.yaml").contains(&format!("distroless-v{}\n", pin.version)));
}
