//! Bodies are cut at the same places however they are chunked.

use super::*;

fn spell(piece: Piece<'_>) -> String {
    match piece {
        Piece::Whole(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Piece::TooLarge { head, size } => format!("{size}:{}", String::from_utf8_lossy(head)),
    }
}

fn items(body: &str, chunk: usize, limit: usize) -> Result<(Vec<String>, String), Malformed> {
    let mut cut = Items::new(limit);
    let mut found = Vec::new();
    for part in body.as_bytes().chunks(chunk) {
        cut.feed(part, |piece| found.push(spell(piece)))?;
    }
    Ok((found, String::from_utf8(cut.finish()?).unwrap()))
}

fn lines(body: &str, chunk: usize, limit: usize) -> Vec<String> {
    let mut cut = Lines::new(limit);
    let mut found = Vec::new();
    for part in body.as_bytes().chunks(chunk) {
        cut.feed(part, |piece| found.push(spell(piece)));
    }
    cut.finish(|piece| found.push(format!("rest {}", spell(piece))));
    found
}

#[test]
fn items_are_found_however_the_body_is_chunked() {
    let tricky = r#"{"a":"]},{\"items\":[","b":[1,{"c":"\\"}]}"#;
    let body = format!(
        "{{\"kind\":\"L\",\"x\":{{\"items\":[{{}}]}},\"metadata\":{{\"resourceVersion\":\"5\"}},\"items\": [ {{}} ,{tricky},\n{{\"z\":1}}],\"tail\":[[]]}}\n"
    );
    let expected = ["{}", tricky, "{\"z\":1}"];
    let envelope = "{\"kind\":\"L\",\"x\":{\"items\":[{}]},\"metadata\":{\"resourceVersion\":\"5\"},\"items\": [],\"tail\":[[]]}\n";
    for chunk in 1..=body.len() {
        let (found, rest) = items(&body, chunk, 1000).unwrap();
        assert_eq!(found, expected, "in chunks of {chunk}");
        assert_eq!(rest, envelope, "in chunks of {chunk}");
    }
}

#[test]
fn an_empty_list_has_no_items() {
    for body in [r#"{"items":[]}"#, r#"{"items":null}"#, r#"{"metadata":{}}"#] {
        assert_eq!(items(body, 3, 1000).unwrap(), (vec![], body.to_owned()));
    }
}

#[test]
fn a_body_that_is_cut_off_or_no_list_is_refused() {
    let body = r#"{"items":[{"a":1},{"b":2}],"metadata":{}}"#;
    for end in 1..body.len() {
        assert_eq!(items(&body[..end], 7, 1000), Err(Malformed("the list is cut off")), "{end}");
    }
    assert_eq!(items(r#"{"items":[1]}"#, 7, 1000), Err(Malformed("an item is no object")));
    assert_eq!(items("]", 7, 1000), Err(Malformed("a bracket closes nothing")));
    assert_eq!(items(&format!("\"{}", "x".repeat(MAX_ENVELOPE)), 4096, 1000), Err(Malformed("it is no list")));
}

#[test]
fn an_item_that_is_too_large_is_skipped_and_named_by_its_head() {
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(100));
    let body = format!("{{\"items\":[{{\"a\":1}},{large},{{\"b\":2}}]}}");
    for chunk in [1, 7, 1000] {
        let (found, _) = items(&body, chunk, 20).unwrap();
        assert_eq!(found, ["{\"a\":1}", &format!("{}:{}", large.len(), &large[..20]), "{\"b\":2}"]);
    }
}

#[test]
fn lines_are_found_however_the_body_is_chunked_and_the_rest_is_told_apart() {
    for chunk in 1..20 {
        assert_eq!(lines("{\"a\":1}\n\n{\"b\":2}\r\n{\"c\"", chunk, 100), ["{\"a\":1}", "{\"b\":2}\r", "rest {\"c\""]);
        assert_eq!(lines("abc\n0123456789\nxyz\n", chunk, 5), ["abc", "10:01234", "xyz"]);
    }
}
