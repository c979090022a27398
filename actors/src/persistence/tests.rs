//! Files against a disk that fails, and files that were harmed: what is read is what once was held, or nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::error::Unusable;
use super::open::set_aside;
use super::read::{Content, read};
use super::record::{Header, Position};
use super::seal::{Sealer, Treatment};
use super::slot::{Files, fresh};
use crate::changes::Change;
use crate::env::{Disk as _, Rng as _, SeededRng};
use crate::id::{ObjectKey, ResourceType, Scope};
use crate::object::{Decoder, Keyed, Object};
use crate::source::Cursor;
use crate::store::ObjectChanges;
use crate::testing::{MemoryDisk, Trouble};

const FILE: &str = "snapshot/things.snap";

/// Objects by name, and the cursor: the number of the step that led there.
type State = (BTreeMap<String, u64>, Option<u64>);

fn mk_header() -> Header {
    let resource_type = ResourceType::new("example.test", "v1", "Thing", "things", Scope::Namespaced);
    Header { source: "demo".into(), resource_type, fingerprint: "here".to_owned(), key: None }
}

fn mk_object(name: &str, n: u64) -> Arc<Object> {
    let header = mk_header();
    // Of different sizes, so that frames are full now and then.
    let filler = "x".repeat((n * 37 % 90) as usize);
    let raw =
        format!(r#"{{"metadata":{{"name":"{name}","resourceVersion":"{n}"}},"spec":{{"n":{n},"f":"{filler}"}}}}"#);
    let decoder = Decoder::new(header.source, header.resource_type).with_default_namespace("n".into());
    Arc::new(decoder.decode(raw).unwrap())
}

fn mk_files(treatment: Treatment) -> Files {
    Files::new(FILE.into(), mk_header(), treatment)
}

fn state_of(content: &Content) -> State {
    let number = |object: &Arc<Object>| object.resource_version().unwrap().parse().unwrap();
    let objects = content.objects.iter().map(|object| (object.key().name.to_string(), number(object)));
    (objects.collect(), content.position.cursor.as_ref().map(|Cursor(at)| at.parse().unwrap()))
}

/// A slot that changes by chance, and all that it ever was.
struct Slot {
    files: Files,
    rng: SeededRng,
    history: Vec<State>,
    /// The last state that was said to be safe.
    safe: usize,
}

impl Slot {
    fn new(seed: u64) -> Self {
        Self::on(mk_files(Treatment::Plain), seed, vec![State::default()])
    }

    fn on(files: Files, seed: u64, history: Vec<State>) -> Self {
        let safe = history.len() - 1;
        Self { files, rng: SeededRng::new(seed), history, safe }
    }

    fn step(&mut self, disk: &MemoryDisk, sealer: Option<&dyn Sealer>) {
        let step = self.history.len() as u64;
        let (mut objects, _) = self.history.last().unwrap().clone();
        let mut changes = ObjectChanges::default();
        for _ in 0..=self.rng.below(3) {
            let name = format!("o{}", self.rng.below(6));
            let old = objects.get(&name).map(|n| mk_object(&name, *n));
            let new = (self.rng.below(4) > 0).then(|| mk_object(&name, step));
            match &new {
                Some(_) => drop(objects.insert(name.clone(), step)),
                None => drop(objects.remove(&name)),
            }
            changes.record(ObjectKey::namespaced("demo", "n", &name), Change::live(old, new));
        }
        self.history.push((objects, Some(step)));
        self.files.absorb(&mut changes, &|_| true);
        let cursor = Some(Cursor(step.to_string().into()));
        let at = Some(Duration::from_secs(step));
        self.files.reached(Position { cursor, complete: true, absent: None, at });
        let salt = self.rng.next_u64();
        if self.files.write(disk, sealer, salt, u64::MAX).is_ok() {
            self.safe = self.history.len() - 1;
        }
    }

    /// What a disk holds must be a state that was safe, or one that was on its way when something happened.
    fn check(&self, disk: &MemoryDisk, sealer: Option<&dyn Sealer>, when: &str) -> Option<Content> {
        match disk.read(Path::new(FILE)) {
            Err(_) => {
                assert_eq!(self.safe, 0, "{when}: the file is gone");
                None
            }
            Ok(bytes) => {
                let content = read(&bytes, sealer).unwrap_or_else(|error| panic!("{when}: {error}"));
                let state = state_of(&content);
                let found = self.history.iter().rposition(|past| *past == state);
                assert!(found.is_some_and(|at| at >= self.safe), "{when}: {state:?}, safe: {}", self.safe);
                Some(content)
            }
        }
    }
}

const STEPS: usize = 14;

/// With the power cut after each change of the disk, and then one of the disks that may be found.
#[test]
fn power_lost_at_any_moment_leaves_what_was_safe_or_what_was_on_its_way() {
    let mut torn = 0;
    for seed in 0..8 {
        let whole = MemoryDisk::default();
        let mut slot = Slot::new(seed);
        (0..STEPS).for_each(|_| slot.step(&whole, None));
        assert_eq!(slot.safe, STEPS);
        for cut in 0..=whole.changes() {
            let disk = MemoryDisk::default();
            disk.cut_power_after(cut);
            let mut slot = Slot::new(seed);
            (0..STEPS).for_each(|_| slot.step(&disk, None));
            for loss in 0..6 {
                let found = disk.after_power_loss(loss);
                let when = format!("seed {seed}, cut {cut}, loss {loss}");
                let Some(content) = slot.check(&found, None, &when) else { continue };
                torn += usize::from(content.tail.closed);
                // The next life goes on from there, on the same file.
                let mut files = mk_files(Treatment::Plain);
                let state = state_of(&content);
                files.found(content.objects.iter().cloned().map(Keyed), content.position, content.tail);
                let mut next = Slot::on(files, seed + 100, vec![State::default(), state]);
                (0..3).for_each(|_| next.step(&found, None));
                assert_eq!(next.safe, 4, "{when}");
                next.check(&found, None, &format!("{when}, a life later"));
            }
        }
    }
    assert!(torn > 20, "only {torn} torn files: nothing was tried");
}

#[test]
fn a_disk_in_trouble_costs_nothing_that_was_safe_and_is_caught_up_with_when_it_is_well() {
    let troubles = [
        Trouble { full: true, ..Trouble::default() },
        Trouble { broken: true, ..Trouble::default() },
        Trouble { read_only: true, ..Trouble::default() },
        Trouble { unsynced: true, ..Trouble::default() },
        Trouble::default(),
    ];
    for seed in 0..60 {
        let (disk, dice) = (MemoryDisk::default(), SeededRng::new(seed ^ 0xd15c));
        let mut slot = Slot::new(seed);
        for step in 0..40 {
            disk.set_trouble(troubles[dice.below(troubles.len() as u64) as usize]);
            slot.step(&disk, None);
            let when = format!("seed {seed}, step {step}");
            slot.check(&disk.copy(), None, &when);
            slot.check(&disk.after_power_loss(step), None, &format!("{when}, power lost"));
        }
        disk.set_trouble(Trouble::default());
        slot.step(&disk, None);
        assert_eq!(slot.safe, 41, "seed {seed}");
        assert!(disk.read(&fresh(Path::new(FILE))).is_err(), "nothing half done is left behind");
    }
}

fn mk_file(seed: u64, steps: usize) -> (Vec<u8>, Slot) {
    let disk = MemoryDisk::default();
    let mut slot = Slot::new(seed);
    (0..steps).for_each(|_| slot.step(&disk, None));
    (disk.read(Path::new(FILE)).unwrap(), slot)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// What is harmed is refused, or is an earlier state as a whole: one whose end is missing.
    #[test]
    fn harm_is_noticed(seed in 0_u64..1000, at in 0.0_f64..1.0, length in 1_usize..200, mask in 1_u8..=255, cut: bool) {
        let (mut bytes, slot) = mk_file(seed, 9);
        let at = (at * bytes.len() as f64) as usize;
        let end = (at + length).min(bytes.len());
        if cut {
            bytes.truncate(at);
        } else {
            bytes[at..end].iter_mut().for_each(|byte| *byte ^= mask);
        }
        match read(&bytes, None) {
            Err(error) => prop_assert!(error.is_corrupt() || matches!(error, Unusable::Version { .. }), "{error}"),
            Ok(content) => prop_assert!(slot.history.contains(&state_of(&content))),
        }
    }

    #[test]
    fn nothing_that_a_file_may_hold_is_too_much(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(read(&bytes, None).is_err());
    }
}

#[test]
fn harm_before_the_last_batch_is_corruption_and_not_an_earlier_state() {
    let (bytes, slot) = mk_file(7, 9);
    let content = read(&bytes, None).unwrap();
    assert!(content.tail.batch > 2, "it was not written anew at the end");
    // In the first batch, which ends long before the last one.
    let mut harmed = bytes.clone();
    harmed[bytes.len() / 4] ^= 1;
    assert!(read(&harmed, None).is_err_and(|error| error.is_corrupt()));
    let mut harmed = bytes.clone();
    *harmed.last_mut().unwrap() ^= 1;
    let content = read(&harmed, None).unwrap();
    assert!(content.tail.closed, "nothing is added to a torn end");
    assert_eq!(state_of(&content), slot.history[slot.history.len() - 2]);
}

/// Hides nothing, but says whether somebody tried.
struct Rot13(&'static str);

impl Sealer for Rot13 {
    fn key_id(&self) -> &str {
        self.0
    }

    fn seal(&self, context: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
        Some(context.iter().chain(plain).map(|byte| byte ^ 0x5a).collect())
    }

    fn open(&self, context: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let plain: Vec<u8> = sealed.iter().map(|byte| byte ^ 0x5a).collect();
        Some(plain.strip_prefix(context)?.to_vec())
    }
}

#[test]
fn what_is_sealed_is_read_with_its_key_alone_and_what_is_left_out_leaves_no_file() {
    let disk = MemoryDisk::default();
    let mut slot = Slot::on(mk_files(Treatment::Sealed), 3, vec![State::default()]);
    let key = Rot13("one");
    (0..STEPS).for_each(|_| slot.step(&disk, Some(&key)));
    slot.check(&disk, Some(&key), "with the key");
    let bytes = disk.read(Path::new(FILE)).unwrap();
    assert!(!bytes.windows(8).any(|window| window == b"metadata"));
    for other in [None, Some(&Rot13("two") as &dyn Sealer)] {
        assert!(matches!(read(&bytes, other), Err(Unusable::Key)));
    }

    let mut slot = Slot::on(mk_files(Treatment::Sealed), 3, vec![State::default()]);
    slot.step(&disk, None);
    assert_eq!(slot.safe, 1, "that is not a failure");
    assert!(disk.read(Path::new(FILE)).is_err(), "and takes away what an earlier life had left");
}

/// A file that says that there are no Secrets would open the gate before those that there are were listed.
#[test]
fn what_said_that_there_is_nothing_does_not_come_back_with_the_power_once_there_is_something_to_leave_out() {
    let disk = MemoryDisk::default();
    let mut files = mk_files(Treatment::Omitted);
    let mut write = |old: Option<u64>, new: Option<u64>, cursor: &str| {
        let mut changes = ObjectChanges::default();
        let [old, new] = [old, new].map(|n| n.map(|n| mk_object("a", n)));
        changes.record(ObjectKey::namespaced("demo", "n", "a"), Change::live(old, new));
        files.absorb(&mut changes, &|_| true);
        let cursor = Some(Cursor(cursor.into()));
        files.reached(Position { cursor, complete: true, absent: None, at: None });
        files.write(&disk, None, 7, u64::MAX).unwrap();
        (0..20).map(|seed| disk.after_power_loss(seed)).all(|disk| disk.read(Path::new(FILE)).is_ok())
    };
    assert!(write(None, None, "1"), "nothing to leave out");
    write(None, Some(1), "2");
    for seed in 0..20 {
        assert!(disk.after_power_loss(seed).read(Path::new(FILE)).is_err(), "seed {seed}");
    }
}

#[test]
fn an_object_that_nobody_can_use_leaves_the_one_before_it_and_has_to_be_listed_again() {
    let disk = MemoryDisk::default();
    let mut files = mk_files(Treatment::Plain);
    let good = |object: &Object| object.resource_version() != Some("13");
    let mut write = |name: &str, old: Option<u64>, new: Option<u64>, cursor: &str| {
        let mut changes = ObjectChanges::default();
        let [old, new] = [old, new].map(|n| n.map(|n| mk_object(name, n)));
        changes.record(ObjectKey::namespaced("demo", "n", name), Change::live(old, new));
        files.absorb(&mut changes, &good);
        let cursor = Some(Cursor(cursor.into()));
        files.reached(Position { cursor, complete: true, absent: None, at: None });
        files.write(&disk, None, 7, u64::MAX).unwrap();
        state_of(&read(&disk.read(Path::new(FILE)).unwrap(), None).unwrap())
    };
    let state = |n: &[(&str, u64)], cursor| (n.iter().map(|(name, n)| (name.to_string(), *n)).collect(), cursor);
    assert_eq!(write("a", None, Some(1), "1"), state(&[("a", 1)], Some(1)));
    assert_eq!(write("a", Some(1), Some(13), "2"), state(&[("a", 1)], None));
    assert_eq!(write("b", None, Some(13), "3"), state(&[("a", 1), ("b", 13)], None), "it never was any better");
    assert_eq!(write("a", Some(13), Some(2), "4"), state(&[("a", 2), ("b", 13)], Some(4)), "mended");
    assert_eq!(write("a", Some(2), Some(13), "5"), state(&[("a", 2), ("b", 13)], None));
    assert_eq!(write("a", Some(13), None, "6"), state(&[("b", 13)], Some(6)), "what is gone is gone");
}

/// Written by version 1, which did not say when the source was last heard.
#[test]
fn a_file_of_the_version_before_is_read_and_written_anew_in_this_one() {
    let bytes = include_bytes!("../../tests/fixtures/snapshot-v1.snap");
    assert_eq!(bytes[8..12], [1, 0, 0, 0]);
    let content = read(bytes, None).unwrap();
    let objects: BTreeMap<String, u64> = [("o0".to_owned(), 2), ("o3".to_owned(), 2), ("o5".to_owned(), 3)].into();
    assert_eq!(state_of(&content), (objects, Some(3)));
    assert_eq!((content.position.at, content.tail.closed), (None, true));
    assert_eq!(content.header, mk_header());

    let disk = MemoryDisk::default();
    disk.put(FILE, *bytes);
    let mut files = mk_files(Treatment::Plain);
    let state = state_of(&content);
    files.found(content.objects.iter().cloned().map(Keyed), content.position, content.tail);
    let mut slot = Slot::on(files, 1, vec![State::default(), state]);
    slot.step(&disk, None);
    slot.check(&disk, None, "written anew");
    assert_eq!(disk.read(Path::new(FILE)).unwrap()[8..12], super::frame::VERSION.to_le_bytes());
}

#[test]
fn a_file_of_a_version_to_come_is_refused_and_not_called_corrupt() {
    let mut bytes = Vec::new();
    super::frame::Prelude { version: super::frame::VERSION + 1, salt: 1 }.write(&mut bytes);
    let error = read(&bytes, None).err().unwrap();
    assert!(matches!(error, Unusable::Version { .. }) && !error.is_corrupt(), "{error}");
}

#[test]
fn of_the_files_that_were_set_aside_the_last_five_are_kept() {
    let disk = MemoryDisk::default();
    let path = Path::new(FILE);
    for n in 0..8_u8 {
        disk.put(path, [n]);
        let aside = set_aside(&disk, path).unwrap();
        assert_eq!(disk.read(&aside).unwrap(), [n]);
        assert!(disk.read(path).is_err());
    }
    let left: Vec<String> =
        disk.list(Path::new("snapshot")).unwrap().iter().map(|e| e.path.display().to_string()).collect();
    assert_eq!(left, (4..=8).map(|n| format!("{FILE}.corrupt-{n}")).collect::<Vec<_>>());
}
