//! Secrets that are looked for afterwards, in every spelling that a careless line could show them in.

use std::collections::{HashMap, HashSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::DnType;

use crate::pki::{Authority, Certificate, mk_server};

/// So many bytes tell a secret from anything else.
const PIECE: usize = 24;

/// What is looked up of each piece, to find it fast.
const HEAD: usize = 12;

/// A part of a secret; of no secret in particular if several have it, as the head of every key of a kind.
struct Piece {
    text: Vec<u8>,
    owner: Option<usize>,
}

/// All secrets, and where to find them.
#[derive(Default)]
pub struct Canaries {
    names: Vec<String>,
    /// Pieces by their first bytes.
    pieces: HashMap<[u8; HEAD], Vec<Piece>>,
}

impl Canaries {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Adds a secret by the value that is kept somewhere. Lines of armour are everybody's.
    pub fn add(&mut self, name: impl Into<String>, value: &str) {
        let number = self.names.len();
        self.names.push(name.into());
        let value = private(value);
        let armour = |line: &&str| line.starts_with("-----") || line.len() < HEAD;
        for line in value.lines().filter(|line| !armour(line)) {
            self.spell(line.as_bytes(), number);
            let hex: String = line.bytes().map(|byte| format!("{byte:02x}")).collect();
            self.add_pieces(hex.as_bytes(), number);
            let list: Vec<String> = line.bytes().map(|byte| byte.to_string()).collect();
            for bytes in list.chunks_exact(12) {
                self.add_piece(bytes.join(", ").as_bytes(), number);
                self.add_piece(bytes.join(",").as_bytes(), number);
            }
        }
        // As manifests have it, and that once more as something else may hold it: whole, not line by line.
        let encoded = STANDARD.encode(value);
        // What armour becomes is in every key: only what is behind its first line counts, and before its last.
        let of_armour = |is: bool| if is { 48 } else { 0 };
        let end = encoded.len().saturating_sub(of_armour(value.trim_end().ends_with("-----")));
        if let Some(inner) = encoded.get(of_armour(value.starts_with("-----"))..end) {
            self.add_pieces(inner.as_bytes(), number);
        }
    }

    fn spell(&mut self, text: &[u8], number: usize) {
        self.add_pieces(text, number);
        self.add_pieces(STANDARD.encode(text).as_bytes(), number);
    }

    fn add_pieces(&mut self, text: &[u8], number: usize) {
        if text.len() < PIECE {
            return self.add_piece(text, number);
        }
        text.chunks_exact(PIECE).for_each(|piece| self.add_piece(piece, number));
    }

    fn add_piece(&mut self, piece: &[u8], number: usize) {
        let Some(head) = piece.get(..HEAD).and_then(|head| head.try_into().ok()) else { return };
        let alike = self.pieces.entry(head).or_default();
        match alike.iter_mut().find(|known| known.text == piece) {
            Some(known) if known.owner != Some(number) => known.owner = None,
            Some(_) => {}
            None => alike.push(Piece { text: piece.to_vec(), owner: Some(number) }),
        }
    }

    /// The secrets that a text shows any piece of, each with the piece.
    pub fn shown_by(&self, text: &[u8]) -> Vec<(&str, String)> {
        let mut found = HashMap::new();
        for (at, head) in text.windows(HEAD).enumerate() {
            let Ok(head) = <[u8; HEAD]>::try_from(head) else { continue };
            for piece in self.pieces.get(&head).into_iter().flatten() {
                if let Some(number) = piece.owner.filter(|_| text[at..].starts_with(&piece.text)) {
                    found.entry(number).or_insert_with(|| around(text, at));
                }
            }
        }
        let mut shown: Vec<_> = found.into_iter().map(|(number, line)| (&*self.names[number], line)).collect();
        shown.sort();
        shown
    }

    /// The names of those that a text shows.
    pub fn names_in(&self, text: &[u8]) -> HashSet<String> {
        self.shown_by(text).into_iter().map(|(name, _)| name.to_owned()).collect()
    }
}

/// A key without its public half (RFC 5915, section 3: `[1]`, a bit string), which every certificate for it shows; what
/// is no such key, whole.
fn private(value: &str) -> &str {
    const PUBLIC: [u8; 6] = [0xa1, 0x44, 0x03, 0x42, 0x00, 0x04];
    let Some((armour, body)) = value.split_once("-----\n").filter(|_| value.starts_with("-----BEGIN")) else {
        return value;
    };
    let line: String = body.lines().take_while(|line| !line.starts_with("-----")).collect();
    let der = STANDARD.decode(&line).expect("what is in armour is base64");
    let Some(at) = der.windows(PUBLIC.len()).position(|bytes| bytes == PUBLIC) else { return value };
    let characters = at / 3 * 4;
    let width = body.find('\n').unwrap_or(body.len());
    &value[..armour.len() + "-----\n".len() + characters + characters / width]
}

fn around(text: &[u8], at: usize) -> String {
    let range = at.saturating_sub(200)..(at + 60).min(text.len());
    String::from_utf8_lossy(&text[range]).into_owned()
}

#[test]
fn a_secret_is_found_in_whatever_way_it_is_spelled() {
    let secret = "canary-0123456789-abcdefghijklmnopqrstuvwxyz";
    let mut canaries = Canaries::default();
    canaries.add("it", secret);
    canaries.add("other", "something-else-that-is-not-shown-anywhere");
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let spelled = [
        secret.to_owned(),
        format!("before {secret} after"),
        format!("{:?}", secret.as_bytes()),
        serde_json::to_string(secret.as_bytes()).unwrap(),
        STANDARD.encode(secret),
        format!("{:?}", STANDARD.encode(secret)),
        hex,
        secret[..30].to_owned(),
    ];
    for text in spelled {
        assert_eq!(canaries.names_in(text.as_bytes()), HashSet::from(["it".to_owned()]), "{text}");
    }
    assert!(canaries.names_in(b"canary- and nothing of it, nor 99, 97, 110").is_empty());
}

#[test]
fn a_certificate_does_not_show_its_key_however_its_bytes_fall_and_the_key_does() {
    let mut canaries = Canaries::default();
    let authority = Authority::new();
    // The public half is where the names before it end: with names of every length it is everywhere.
    let certificates: Vec<_> = (1..=48)
        .map(|letters| {
            let mut params = mk_server("proxy.example");
            params.distinguished_name.push(DnType::CommonName, "a".repeat(letters));
            let certificate = authority.issue(&params);
            canaries.add(format!("{letters}"), &certificate.key);
            certificate
        })
        .collect();
    for (Certificate { chain, key }, letters) in certificates.iter().zip(1..) {
        for text in [chain.clone(), format!("{:?}", chain.as_bytes()), STANDARD.encode(chain)] {
            assert_eq!(canaries.shown_by(text.as_bytes()), Vec::new(), "{letters}");
        }
        for text in [key.clone(), format!("{:?}", key.as_bytes()), STANDARD.encode(key), format!("{key:?}")] {
            assert_eq!(canaries.names_in(text.as_bytes()), HashSet::from([letters.to_string()]), "{text}");
        }
    }
}
