//! From raw JSON to a type of somebody's own, with errors that name the field.
//!
//! Law: an error says where, and what is expected there; it never repeats what stands there, which may be secret.

use serde::de::DeserializeOwned;

use crate::problem::FieldError;

pub(super) fn parse<T: DeserializeOwned>(raw: &[u8]) -> Result<T, FieldError> {
    if let Ok(value) = serde_json::from_slice(raw) {
        return Ok(value);
    }
    // Following the path costs time, so it is done only now that it is needed.
    let error = match serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_slice(raw)) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    let path = error.path().to_string();
    Err(FieldError::new(if path == "." { String::new() } else { path }, reason(error.inner())))
}

/// serde's message without the value, and without a position in JSON that nobody wrote.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(&*text, |(text, _)| text);
    match text.rsplit_once(", expected ") {
        Some((_, expected)) => format!("must be {expected}"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Outer {
        list: Vec<u16>,
    }

    #[test]
    fn an_error_names_the_path_and_what_is_expected_and_keeps_the_value_to_itself() {
        assert_eq!(parse::<Outer>(br#"{"list":[1,2],"more":0}"#), Ok(Outer { list: vec![1, 2] }));
        let cases = [
            (r#"{"list":[1,"hush, expected x"]}"#, "list[1]: must be u16"),
            (r#"{"list":70000}"#, "list: must be a sequence"),
            ("{}", "missing field `list`"),
        ];
        for (raw, expected) in cases {
            assert_eq!(parse::<Outer>(raw.as_bytes()).unwrap_err().to_string(), expected);
        }
    }
}
