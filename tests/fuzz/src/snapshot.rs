//! The file in which a slot's objects outlive the process.
//!
//! Oracle: what is written is read back as it was; a file that was harmed anywhere is refused, or says in full what it
//! said after an earlier batch, and one that was harmed before its last batch is refused; frames whose checks are right and
//! whose content is anything at all are read as whole batches or not at all.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tidegate_actors::changes::Change;
use tidegate_actors::id::{Name, ObjectKey, ResourceType, Scope};
use tidegate_actors::object::{Decoder, Object};
use tidegate_actors::persistence::Unusable;
use tidegate_actors::persistence::fuzzing::{Log, Said, file_of, said};
use tidegate_actors::source::Cursor;
use tidegate_actors::store::ObjectChanges;
use tidegate_actors::testing::MemoryDisk;

use crate::input::Input;

/// What a file says: objects by key, and the cursor.
type State = (BTreeMap<String, Vec<u8>>, Option<String>);

/// The first byte chooses: a file as it is, frames with anything in them, or a history of changes and some harm.
pub fn run(data: &[u8]) {
    let mut input = Input::new(&data[..data.len().min(4096)]);
    match input.below(3) {
        0 => drop(read(input.rest())),
        1 => frames(&mut input),
        _ => history(&mut input),
    }
}

fn things() -> ResourceType {
    ResourceType::new("example.com", "v1", "Thing", "things", Scope::Namespaced)
}

fn read(file: &[u8]) -> Result<State, Unusable> {
    let Said { objects, cursor, length } = said(file)?;
    assert!(length <= file.len() as u64, "it says more than there is");
    assert!(objects.windows(2).all(|two| two[0].key() < two[1].key()), "in order, each once");
    let objects = objects.iter().map(|object| (object.key().to_string(), object.raw().to_vec())).collect();
    Ok((objects, cursor.map(|cursor| cursor.0.to_string())))
}

fn frames(input: &mut Input<'_>) {
    let version = u32::from(input.byte());
    let mut frames: Vec<(u64, bool, &[u8])> = Vec::new();
    while !input.is_empty() {
        let (batch, commit, length) = (u64::from(input.byte()), input.flag(), usize::from(input.byte()));
        frames.push((batch, commit, input.take(length)));
    }
    let source: Name = "demo".into();
    let file = file_of(version, &source, &things(), &frames);
    // What it says is what its whole batches say, so those alone say the same.
    let Ok(state) = read(&file) else { return };
    let whole = frames.iter().rposition(|(_, commit, _)| *commit).map_or(0, |last| last + 1);
    assert!(whole > 0, "nothing was ever written");
    assert_eq!(read(&file_of(version, &source, &things(), &frames[..whole])).ok(), Some(state));
    let follow = frames[..whole].windows(2).all(|two| two[1].0 == two[0].0 + u64::from(two[0].1));
    assert!(frames[0].0 == 0 && follow, "a batch is missing: {frames:?}");
}

fn history(input: &mut Input<'_>) {
    let (disk, path) = (MemoryDisk::default(), Path::new("/data/things.snap"));
    let (source, resource_type): (Name, _) = ("demo".into(), things());
    let decoder = Decoder::new(source.clone(), resource_type.clone());
    let mut log = Log::new(path, &source, &resource_type);
    let mut held: BTreeMap<ObjectKey, Arc<Object>> = BTreeMap::new();
    let (mut states, mut lengths, mut file): (Vec<State>, Vec<usize>, Vec<u8>) = Default::default();
    for batch in 0..=input.below(6) {
        let mut changes = ObjectChanges::default();
        for _ in 0..input.below(5) {
            let key = ObjectKey::namespaced("demo", input.one_of(&["a", "b"]), input.one_of(&["x", "y", "z"]));
            let there = input.below(4) != 3;
            let new = there.then(|| mk_object(&decoder, &key, input.byte()));
            let old = match &new {
                Some(new) => held.insert(key.clone(), new.clone()),
                None => held.remove(&key),
            };
            changes.record(key, Change::live(old, new));
        }
        let cursor = format!("{batch}");
        file = log.write(&disk, &mut changes, Cursor(cursor.clone().into())).expect("this disk takes everything");
        let objects = held.iter().map(|(key, object)| (key.to_string(), object.raw().to_vec())).collect();
        states.push((objects, Some(cursor)));
        lengths.push(file.len());
        assert_eq!(read(&file).expect("what was written is read"), states[batch], "read back");
    }
    harm(input, &file, &states, &lengths);
}

fn harm(input: &mut Input<'_>, file: &[u8], states: &[State], lengths: &[usize]) {
    let place = usize::from(input.byte()) << 8 | usize::from(input.byte());
    let at = place % file.len();
    let mut harmed = file.to_vec();
    let kind = input.below(4);
    match kind {
        0 => harmed.truncate(at),
        1 => drop(harmed.remove(at)),
        2 => harmed.insert(at, input.byte()),
        _ => harmed[at] ^= 1 << input.below(8),
    }
    let Ok(state) = read(&harmed) else { return };
    assert!(states.contains(&state), "a state that there never was: {state:?}");
    let before_last = lengths.iter().rev().nth(1).copied().unwrap_or(0);
    assert!(kind != 3 || at >= before_last, "harmed at {at} of {lengths:?}, and believed");
}

fn mk_object(decoder: &Decoder, key: &ObjectKey, content: u8) -> Arc<Object> {
    let (namespace, name) = (key.namespace_or_empty(), &key.name);
    let filler = "x".repeat(usize::from(content % 64));
    let json = format!(r#"{{"metadata":{{"namespace":"{namespace}","name":"{name}"}},"v":{content},"f":"{filler}"}}"#);
    Arc::new(decoder.decode(json).expect("it has a name"))
}
