//! Frames: pieces of a file that prove that they are whole. Bytes in, bytes out; no disk here.
//!
//! ```text
//! file   = prelude frame*
//! prelude= "tidesnap" version:u32 salt:u64 check:u64
//! frame  = "fram" length:u32 batch:u64 role:u8 check:u64 payload
//! ```
//!
//! Numbers are little-endian; checks are XXH3. That of a frame is seeded with the file's salt and the frame's place, so
//! that nothing that stood elsewhere, or in an earlier file on the same blocks, can pass for a frame.
//!
//! Laws: a batch counts once its last frame is whole; what a loss of power may have torn (the last batch, since each is
//! synced before the next is begun) is cut; anything else that is not whole makes the file corrupt.

use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

/// The version that is written. This one and the one before it are read, so that an upgrade starts warm too; a change of
/// what is written makes a new version, and puts a file of the old one among the fixtures of the tests.
///
/// - 1: the first.
/// - 2: a position says when the source was last heard.
pub(super) const VERSION: u32 = 2;

const MAGIC: &[u8; 8] = b"tidesnap";
const MARK: &[u8; 4] = b"fram";
/// How long a prelude is.
pub(super) const PRELUDE: usize = 8 + 4 + 8 + 8;
/// How long a frame is without its payload.
pub(super) const FRAME: usize = 4 + 4 + 8 + 1 + 8;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Whose file it is; the first frame.
    Header,
    /// A batch goes on in the next frame.
    Part,
    /// A batch is complete.
    Commit,
}

impl Role {
    fn code(self) -> u8 {
        match self {
            Self::Header => 0,
            Self::Part => 1,
            Self::Commit => 2,
        }
    }

    fn of(code: u8) -> Option<Self> {
        [Self::Header, Self::Part, Self::Commit].into_iter().find(|role| role.code() == code)
    }
}

/// The beginning of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prelude {
    pub version: u32,
    pub salt: u64,
}

impl Prelude {
    pub fn write(self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.version.to_le_bytes());
        out.extend_from_slice(&self.salt.to_le_bytes());
        let check = xxh3_64_with_seed(&out[start..], 0);
        out.extend_from_slice(&check.to_le_bytes());
    }

    /// `None` if it is none.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let prelude = bytes.get(..PRELUDE)?;
        let check = xxh3_64_with_seed(&prelude[..PRELUDE - 8], 0);
        let is_ours = prelude.starts_with(MAGIC) && long(prelude, PRELUDE - 8) == Some(check);
        is_ours.then_some(Self { version: word(prelude, 8)?, salt: long(prelude, 12)? })
    }
}

/// A whole frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub batch: u64,
    pub role: Role,
    /// Where it begins in the file.
    pub at: usize,
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// Where the next one begins.
    pub fn end(&self) -> usize {
        self.at + FRAME + self.payload.len()
    }

    /// Adds it to what will stand in the file from its place on.
    pub fn write(&self, salt: u64, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(MARK);
        // Payloads are cut long before they are that long; one that is not fails its check.
        out.extend_from_slice(&u32::try_from(self.payload.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(&self.batch.to_le_bytes());
        out.push(self.role.code());
        let check = check(salt, self.at, &out[start..], self.payload);
        out.extend_from_slice(&check.to_le_bytes());
        out.extend_from_slice(self.payload);
    }
}

/// The frame at a place, if a whole one stands there.
pub(super) fn frame_at(file: &[u8], salt: u64, at: usize) -> Option<Frame<'_>> {
    let head = file.get(at..at.checked_add(FRAME)?)?;
    if !head.starts_with(MARK) {
        return None;
    }
    let length = usize::try_from(word(head, 4)?).ok()?;
    let payload = file.get(at + FRAME..at.checked_add(FRAME)?.checked_add(length)?)?;
    let role = Role::of(head[16])?;
    let whole = check(salt, at, &head[..FRAME - 8], payload) == long(head, FRAME - 8)?;
    whole.then_some(Frame { batch: long(head, 8)?, role, at, payload })
}

/// The first whole frame after a place.
pub(super) fn frame_after(file: &[u8], salt: u64, mut at: usize) -> Option<Frame<'_>> {
    loop {
        let rest = file.get(at + 1..)?;
        at += 1 + rest.windows(MARK.len()).position(|window| window == MARK)?;
        if let Some(frame) = frame_at(file, salt, at) {
            return Some(frame);
        }
    }
}

fn check(salt: u64, at: usize, head: &[u8], payload: &[u8]) -> u64 {
    // The places of one file are far apart from one another's salts only by chance, which is all that is needed.
    let mut hash = Xxh3::with_seed(salt ^ (at as u64).rotate_left(32));
    hash.update(head);
    hash.update(payload);
    hash.digest()
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: u64 = 0x5a17;

    fn mk_file(payloads: &[&[u8]]) -> Vec<u8> {
        let mut file = Vec::new();
        Prelude { version: VERSION, salt: SALT }.write(&mut file);
        for (batch, payload) in payloads.iter().enumerate() {
            let frame = Frame { batch: batch as u64, role: Role::Commit, at: file.len(), payload };
            frame.write(SALT, &mut file);
        }
        file
    }

    #[test]
    fn what_was_written_is_read_frame_by_frame() {
        let file = mk_file(&[b"one", b"", b"three"]);
        assert_eq!(Prelude::read(&file), Some(Prelude { version: VERSION, salt: SALT }));
        let (mut at, mut read) = (PRELUDE, Vec::new());
        while let Some(frame) = frame_at(&file, SALT, at) {
            read.push((frame.batch, frame.payload));
            at = frame.end();
        }
        assert_eq!(read, [(0, &b"one"[..]), (1, b""), (2, b"three")]);
        assert_eq!(at, file.len());
    }

    #[test]
    fn no_bit_of_a_frame_can_change_unnoticed() {
        let file = mk_file(&[b"payload"]);
        for bit in PRELUDE * 8..file.len() * 8 {
            let mut harmed = file.clone();
            harmed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(frame_at(&harmed, SALT, PRELUDE), None, "bit {bit}");
        }
        for bit in 0..PRELUDE * 8 {
            let mut harmed = file.clone();
            harmed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Prelude::read(&harmed), None, "bit {bit}");
        }
    }

    #[test]
    fn a_frame_of_another_place_or_another_file_is_none() {
        let file = mk_file(&[b"same", b"same"]);
        let second = PRELUDE + FRAME + 4;
        let mut moved = file[..PRELUDE].to_vec();
        moved.extend_from_slice(&file[second..]);
        assert_eq!(frame_at(&moved, SALT, PRELUDE), None);
        assert_eq!(frame_at(&file, SALT + 1, PRELUDE), None);
        assert_eq!(frame_after(&file, SALT, PRELUDE).map(|frame| frame.at), Some(second));
        assert_eq!(frame_after(&file, SALT, second), None);
    }
}
