//! Every file of every corpus through its target, and each target with all that belongs to it.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tidegate_fuzz::{TARGETS, Target};

/// The largest corpus of a target, in files and in bytes.
const MAX_FILES: usize = 80;
const MAX_BYTES: usize = 96 << 10;

fn here(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)
}

/// The names of what stands in a folder, without their extensions.
fn names(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(here(folder)).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

fn corpus(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(here("corpus").join(target.name)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    files.sort();
    files
}

#[test]
fn every_target_has_a_program_and_a_corpus_and_the_other_way_round() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert!(targets.len() == TARGETS.len() && targets.len() >= 12);
    assert_eq!(names("fuzz_targets"), targets);
    assert_eq!(names("corpus"), targets);
    let manifest = fs::read_to_string(here("Cargo.toml")).unwrap();
    let programs = manifest.split("[[bin]]").skip(1).map(|bin| bin.split('"').nth(1).unwrap().to_owned());
    assert_eq!(programs.collect::<BTreeSet<_>>(), targets);
    for target in TARGETS {
        let program = fs::read_to_string(here("fuzz_targets").join(format!("{}.rs", target.name))).unwrap();
        assert!(program.contains(&format!("tidegate_fuzz::{}::run", target.name)), "{}", target.name);
    }
}

#[test]
fn every_corpus_is_small_and_its_files_are_different() {
    for target in TARGETS {
        let files = corpus(target);
        let bytes: usize = files.iter().map(|(_, content)| content.len()).sum();
        let different: BTreeSet<&Vec<u8>> = files.iter().map(|(_, content)| content).collect();
        assert!((3..=MAX_FILES).contains(&files.len()), "{} has {} files", target.name, files.len());
        assert!(bytes <= MAX_BYTES, "{} has {bytes} bytes", target.name);
        assert_eq!(different.len(), files.len(), "{} has a file twice", target.name);
    }
}

/// One thread a target, so that all cores are used, and a failure names its file.
#[test]
fn every_file_of_a_corpus_passes_its_target() {
    let failed: Vec<String> = std::thread::scope(|scope| {
        let run = |target: &'static Target| {
            let files = corpus(target);
            let bad =
                files.into_iter().filter(|(_, content)| std::panic::catch_unwind(|| (target.run)(content)).is_err());
            bad.map(|(path, _)| path.display().to_string()).collect::<Vec<_>>()
        };
        let threads: Vec<_> = TARGETS.iter().map(|target| scope.spawn(move || run(target))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(failed.is_empty(), "{failed:#?}");
}

/// What a fuzzer tries first, and what corpora need not hold.
#[test]
fn every_target_takes_nothing_and_anything() {
    let inputs: [&[u8]; 6] = [&[], &[0], &[255], &[0; 300], &[255; 300], "{\"metadata\":{}}\n---\n\u{e4}".as_bytes()];
    for target in TARGETS {
        inputs.iter().for_each(|input| (target.run)(input));
    }
}
