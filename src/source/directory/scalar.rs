//! What a plain YAML scalar means in JSON: the core schema of YAML 1.2, plus leading-zero octals, which
//! Kubernetes' own parser reads as such and which JSON cannot spell.

/// Without the number itself, which may have been meant as a password.
const TOO_LARGE: &str = "the number is too large; quote it if it is meant as text";

/// Appends a plain (unquoted) scalar as a JSON value.
///
/// # Errors
/// When it is a number that JSON does not have.
pub(super) fn plain(text: &str, out: &mut Vec<u8>) -> Result<(), String> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => out.extend(b"null"),
        "true" | "True" | "TRUE" => out.extend(b"true"),
        "false" | "False" | "FALSE" => out.extend(b"false"),
        _ if text.as_bytes()[0].is_ascii_digit() || b"+-.".contains(&text.as_bytes()[0]) => match number(text)? {
            Some(number) => out.extend(number.as_bytes()),
            None => string(text, out),
        },
        _ => string(text, out),
    }
    Ok(())
}

/// Appends a JSON string.
pub(super) fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut copied = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let short = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\t' => b't',
            b'\r' => b'r',
            0..0x20 => 0,
            _ => continue,
        };
        out.extend(&bytes[copied..at]);
        copied = at + 1;
        if short == 0 {
            out.extend(format!("\\u{byte:04x}").as_bytes());
        } else {
            out.extend([b'\\', short]);
        }
    }
    out.extend(&bytes[copied..]);
    out.push(b'"');
}

/// The JSON spelling of a number; `None` if the text is not one.
pub(super) fn number(text: &str) -> Result<Option<String>, String> {
    let (sign, digits) = match text.as_bytes()[0] {
        b'-' => ("-", &text[1..]),
        b'+' => ("", &text[1..]),
        _ => ("", text),
    };
    if matches!(digits, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Err(format!("`{text}` has no form in JSON; quote it if it is meant as text"));
    }
    let radix = match digits.get(..2) {
        Some("0x") => Some((&digits[2..], 16)),
        Some("0o") => Some((&digits[2..], 8)),
        _ if digits.len() > 1 && digits.starts_with('0') => Some((digits, 8)),
        _ => None,
    };
    if let Some((digits, radix)) = radix
        && !digits.is_empty()
        && digits.chars().all(|c| c.is_digit(radix))
    {
        let value = u64::from_str_radix(digits, radix).map_err(|_| TOO_LARGE.to_owned())?;
        return Ok(Some(format!("{}{value}", if value == 0 { "" } else { sign })));
    }
    let (mantissa, exponent) = match digits.find(['e', 'E']) {
        Some(at) => (&digits[..at], Some(&digits[at + 1..])),
        None => (digits, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let exponent_ok = exponent.is_none_or(|e| {
        let e = e.strip_prefix(['+', '-']).unwrap_or(e);
        !e.is_empty() && all_digits(e)
    });
    if !all_digits(whole) || !all_digits(fraction) || (whole.is_empty() && fraction.is_empty()) || !exponent_ok {
        return Ok(None);
    }
    let whole = whole.trim_start_matches('0');
    let mut json = format!("{sign}{}", if whole.is_empty() { "0" } else { whole });
    if !fraction.is_empty() {
        json.extend([".", fraction]);
    }
    if let Some(exponent) = exponent {
        json.extend(["e", exponent]);
    }
    if json == "-0" {
        json.remove(0);
    }
    let finite = json.parse::<f64>().is_ok_and(f64::is_finite);
    if finite { Ok(Some(json)) } else { Err(TOO_LARGE.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn json(text: &str) -> Result<String, String> {
        let mut out = Vec::new();
        plain(text, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn plain_scalars_follow_the_core_schema() {
        let cases = [
            ("", "null"),
            ("~", "null"),
            ("Null", "null"),
            ("nULL", r#""nULL""#),
            ("true", "true"),
            ("FALSE", "false"),
            ("yes", r#""yes""#),
            ("off", r#""off""#),
            ("no", r#""no""#),
            ("0", "0"),
            ("-0", "0"),
            ("+12", "12"),
            ("-7", "-7"),
            ("12345678901234567890123", "12345678901234567890123"),
            ("0x1F", "31"),
            ("0o17", "15"),
            ("0644", "420"),
            ("0899", "899"),
            ("1.10", "1.10"),
            ("1.", "1"),
            (".5", "0.5"),
            ("-.5e+3", "-0.5e+3"),
            ("1e3", "1e3"),
            ("1_000", r#""1_000""#),
            ("1.2.3", r#""1.2.3""#),
            ("10.0.0.1", r#""10.0.0.1""#),
            ("2024-01-02", r#""2024-01-02""#),
            ("12:30", r#""12:30""#),
            ("-", r#""-""#),
            (".", r#"".""#),
            ("..", r#""..""#),
            ("1e", r#""1e""#),
            ("0x", r#""0x""#),
            ("5s", r#""5s""#),
            ("say \"hi\"\\\u{1}\té", "\"say \\\"hi\\\"\\\\\\u0001\\té\""),
        ];
        for (text, expected) in cases {
            assert_eq!(json(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn numbers_without_a_form_in_json_are_refused() {
        for text in [".inf", "-.INF", ".NaN", "1e999", "0xffffffffffffffffff"] {
            assert!(json(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_written_becomes_valid_json(text in "[-+.0-9eExo_a-f]{0,12}|\\PC{0,20}") {
            if let Ok(json) = json(&text) {
                prop_assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{}", json);
            }
        }

        #[test]
        fn strings_survive(text in any::<String>()) {
            let mut out = Vec::new();
            string(&text, &mut out);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }
}
