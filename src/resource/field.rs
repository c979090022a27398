//! What is wrong with one field of an object, and a collector that knows where it stands, so that all
//! mistakes of an object are reported at once, each with its path.

use serde::de::DeserializeOwned;
pub use tidegate_actors::problem::FieldError;

/// `path: reason`, for messages.
pub fn spell(error: &FieldError) -> String {
    if error.path.is_empty() { error.reason.clone() } else { format!("{}: {}", error.path, error.reason) }
}

#[derive(Clone, Copy)]
enum Step {
    Field(&'static str),
    Index(usize),
}

/// Collects what is wrong while somebody walks through an object. The path is spelled out only when
/// something is wrong.
#[derive(Default)]
pub struct Checks {
    path: Vec<Step>,
    /// Makes the object unusable as a whole.
    pub errors: Vec<FieldError>,
    /// Not in the object's schema: a value outside of an enumeration, a regular expression that does not
    /// compile. The part it stands in is not used and says so in its status.
    pub unsupported: Vec<FieldError>,
    /// In the object's schema, but nothing that we can do. The same happens.
    pub refused: Vec<FieldError>,
}

impl Checks {
    /// Goes into a field while `inner` runs.
    pub fn field<R>(&mut self, name: &'static str, inner: impl FnOnce(&mut Self) -> R) -> R {
        self.step(Step::Field(name), inner)
    }

    /// Goes into an item of a list while `inner` runs.
    pub fn index<R>(&mut self, index: usize, inner: impl FnOnce(&mut Self) -> R) -> R {
        self.step(Step::Index(index), inner)
    }

    /// Goes through a list field of at most `max` items.
    pub fn each<T, R>(
        &mut self,
        name: &'static str,
        max: usize,
        items: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
        mut inner: impl FnMut(&mut Self, T) -> R,
    ) -> Vec<R> {
        let items = items.into_iter();
        self.field(name, |c| {
            if items.len() > max {
                c.error(format!("has {} items; at most {max} are allowed", items.len()));
            }
            // Not `collect`, which would put the results into the place of the items, where there is room for far
            // more than they take.
            let mut results = Vec::with_capacity(items.len());
            results.extend(items.enumerate().map(|(at, item)| c.index(at, |c| inner(c, item))));
            results
        })
    }

    /// As [`each`](Self::each), for items of which some come to nothing.
    pub fn some<T, R>(
        &mut self,
        name: &'static str,
        max: usize,
        items: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
        inner: impl FnMut(&mut Self, T) -> Option<R>,
    ) -> Vec<R> {
        let results = self.each(name, max, items, inner);
        let mut some = Vec::with_capacity(results.iter().flatten().count());
        some.extend(results.into_iter().flatten());
        some
    }

    /// The object is unusable because of this place.
    pub fn error(&mut self, reason: impl Into<String>) {
        let error = self.here(reason);
        self.errors.push(error);
    }

    /// The object is unusable because of this place, unless `ok`.
    pub fn ensure(&mut self, ok: bool, reason: &str) {
        if !ok {
            self.error(reason);
        }
    }

    /// The part that this place is in cannot be used: the schema does not have this value.
    pub fn unsupported(&mut self, reason: impl Into<String>) {
        let error = self.here(reason);
        self.unsupported.push(error);
    }

    /// The part that this place is in cannot be used: we cannot do it.
    pub fn refuse(&mut self, reason: impl Into<String>) {
        let error = self.here(reason);
        self.refused.push(error);
    }

    /// An error at the current place, not recorded.
    pub fn here(&self, reason: impl Into<String>) -> FieldError {
        FieldError { path: self.path(), reason: reason.into() }
    }

    /// The current place.
    pub fn path(&self) -> String {
        use std::fmt::Write;
        let mut path = String::new();
        for step in &self.path {
            let dot = if path.is_empty() { "" } else { "." };
            let is_word = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            // Writing to a String cannot fail.
            let _ = match step {
                Step::Field(name) if !is_word(name) => write!(path, "[\"{name}\"]"),
                Step::Field(name) => write!(path, "{dot}{name}"),
                Step::Index(index) => write!(path, "[{index}]"),
            };
        }
        path
    }

    fn step<R>(&mut self, step: Step, inner: impl FnOnce(&mut Self) -> R) -> R {
        self.path.push(step);
        let result = inner(self);
        self.path.pop();
        result
    }
}

/// Deserialises JSON; a value of a wrong type is reported with its path.
pub fn from_json<T: DeserializeOwned>(raw: &[u8], checks: &mut Checks) -> Option<T> {
    if let Ok(value) = serde_json::from_slice(raw) {
        return Some(value);
    }
    // Following the path costs time, so it is done only now that it is needed.
    let error = match serde_path_to_error::deserialize::<_, T>(&mut serde_json::Deserializer::from_slice(raw)) {
        Ok(_) => {
            FieldError { path: String::new(), reason: "there is something after the end of the object".to_owned() }
        }
        Err(error) => {
            let path = error.path().to_string();
            FieldError { path: if path == "." { String::new() } else { path }, reason: plain(error.inner()) }
        }
    };
    checks.errors.push(error);
    None
}

/// The reason without the line and column, which are those of the JSON that nobody wrote, and without the value that
/// is of a wrong type, which may be a secret.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.rfind(" at line ").map_or(&*text, |end| &text[..end]);
    let wrong_type = text.starts_with("invalid type: ") || text.starts_with("invalid value: ");
    match text.rsplit_once(", expected ").filter(|_| wrong_type) {
        Some((found, expected)) => {
            let kind = found.split(['"', '`']).next().unwrap_or_default().trim_end();
            format!("{kind}, expected {expected}")
        }
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_a_wrong_type_is_not_repeated() {
        let mut checks = Checks::default();
        let raw = br#"{"data":"hush, expected \"quiet\""}"#;
        let read: Option<std::collections::BTreeMap<String, Vec<u8>>> = from_json(raw, &mut checks);
        assert!(read.is_none());
        assert_eq!(checks.errors.len(), 1);
        assert_eq!(
            (&*checks.errors[0].path, &*checks.errors[0].reason),
            ("data", "invalid type: string, expected a sequence")
        );
    }

    #[test]
    fn an_error_names_its_whole_path() {
        let mut checks = Checks::default();
        checks.field("spec", |c| {
            c.each("rules", 1, ["a", "b"], |c, _| c.field("value", |c| c.error("is wrong")));
        });
        let seen: Vec<String> = checks.errors.iter().map(spell).collect();
        assert_eq!(
            seen,
            [
                "spec.rules: has 2 items; at most 1 are allowed",
                "spec.rules[0].value: is wrong",
                "spec.rules[1].value: is wrong"
            ]
        );
    }

    #[test]
    fn a_wrong_type_is_reported_with_its_path_and_without_a_position_in_json() {
        #[derive(Debug, serde::Deserialize)]
        struct Outer {
            #[serde(rename = "list")]
            _list: Vec<u16>,
        }
        let mut checks = Checks::default();
        assert!(from_json::<Outer>(br#"{"list":[1,"x"]}"#, &mut checks).is_none());
        assert_eq!(spell(&checks.errors[0]), "list[1]: invalid type: string, expected u16");
    }
}
