//! Every route of the admin server against every bad token; the routes are those that the router is made of.

use http::Method;
use serde_json::json;
use tidegate::admin::routes;

use crate::admin_rig::{Answer, Rig, TOKEN, mk_rig};

/// A path that a route takes.
fn path_of(route: &str) -> String {
    let filled = route.replace("{*path}", "sources/worker/pause").replace("{type}", "secrets");
    let filled = filled.replace("{name}", "widgets.example.com").replace("{version}", "v1");
    assert!(!filled.contains('{'), "{route} has a parameter that is new: say here what it is filled with");
    filled
}

/// Headers that let nobody change anything.
fn bad_tokens() -> Vec<(&'static str, String)> {
    let line = |value: &str| format!("Authorization: {value}\r\n");
    let basic = |text: &str| {
        use base64::Engine as _;
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text))
    };
    vec![
        ("none", String::new()),
        ("empty", line("")),
        ("no token", line("Bearer")),
        ("an empty token", line("Bearer ")),
        ("another token", line("Bearer wrong-horse-battery-staple")),
        ("a prefix", line(&format!("Bearer {}", &TOKEN[..TOKEN.len() - 1]))),
        ("a suffix", line(&format!("Bearer {}", &TOKEN[1..]))),
        ("with more", line(&format!("Bearer {TOKEN}x"))),
        ("in capitals", line(&format!("Bearer {}", TOKEN.to_uppercase()))),
        ("quoted", line(&format!("Bearer \"{TOKEN}\""))),
        ("two of them", line(&format!("Bearer {TOKEN} {TOKEN}"))),
        ("no scheme", line(TOKEN)),
        ("another scheme", line(&format!("Token {TOKEN}"))),
        ("basic", line(&basic(&format!("admin:{TOKEN}")))),
        ("basic, alone", line(&basic(TOKEN))),
        ("digest", line(&format!("Digest {TOKEN}"))),
        ("a second header", line("Bearer x") + &line(&format!("Bearer {TOKEN}"))),
        ("another header", format!("X-Admin-Token: {TOKEN}\r\nCookie: token={TOKEN}\r\n")),
        ("a proxy's header", format!("Proxy-Authorization: Bearer {TOKEN}\r\n")),
    ]
}

async fn ask(rig: &Rig, method: &str, path: &str, headers: &str) -> Answer {
    let body = json!({ "level": "trace", "resource": "widgets.example.com/v1", "kind": "Widget" }).to_string();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}");
    let head = format!("{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
    rig.raw(&format!("{head}{body}")).await
}

/// What anybody could have changed.
async fn assert_nothing_changed(rig: &Rig, what: &str) {
    assert_eq!(rig.get("/api/v1/actors/sources/worker").await.json()["state"], "running", "{what}");
    assert_eq!(rig.get("/api/v1/log").await.json()["level"], "info", "{what}");
    assert!(rig.watches.list().is_empty(), "{what}");
}

#[tokio::test]
async fn every_route_that_changes_something_denies_every_bad_token() {
    let rig = mk_rig().await;
    let changing: Vec<_> = routes().into_iter().filter(|(method, _)| *method != Method::GET).collect();
    assert!(changing.len() >= 4, "{changing:?}");
    for (method, route) in &changing {
        for (what, headers) in bad_tokens() {
            for path in [path_of(route), format!("{}?token={TOKEN}", path_of(route))] {
                let answer = ask(&rig, method.as_str(), &path, &headers).await;
                let what = format!("{method} {path}: {what}");
                assert_eq!(answer.status, 401, "{what}: {}", answer.body);
                assert_eq!(answer.header("www-authenticate").as_deref(), Some("Bearer realm=\"tidegate\""), "{what}");
                assert!(!answer.body.contains(TOKEN) && !answer.head.contains(TOKEN), "{what}");
                assert_nothing_changed(&rig, &what).await;
            }
        }
    }
    // The same requests with the token are taken, so it was the token that they lacked.
    for (method, route) in &changing {
        let answer = ask(&rig, method.as_str(), &path_of(route), &format!("Authorization: bearer {TOKEN}\r\n")).await;
        assert!(answer.status < 500 && answer.status != 401, "{method} {route}: {}", answer.body);
        // What is not switched on is refused to everybody, with or without a token.
        let off = answer.status == 403 && answer.body.contains("`chaos.enabled: true`");
        assert_eq!(off, *route == "/api/v1/chaos", "{method} {route}: {}", answer.body);
    }
}

#[tokio::test]
async fn every_other_method_of_every_path_needs_the_token_before_anything_else() {
    let rig = mk_rig().await;
    let paths = routes().into_iter().map(|(_, route)| path_of(route)).chain(["/nowhere".to_owned()]);
    for path in paths {
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND"] {
            // A tunnel has an authority in the place of a path, and none is ours.
            let expected: &[u16] = if method == "CONNECT" { &[400, 401, 421] } else { &[401] };
            let answer = ask(&rig, method, &path, "X-HTTP-Method-Override: GET\r\n").await;
            assert!(expected.contains(&answer.status), "{method} {path}: {} {}", answer.status, answer.body);
        }
        assert_nothing_changed(&rig, &path).await;
    }
}

#[tokio::test]
async fn every_route_that_shows_something_changes_nothing_and_refuses_foreign_names() {
    let rig = mk_rig().await;
    for (method, route) in routes().into_iter().filter(|(method, _)| *method == Method::GET) {
        let path = path_of(route);
        for method in ["GET", "HEAD"] {
            let answer = ask(&rig, method, &path, "X-HTTP-Method-Override: DELETE\r\n").await;
            assert!(answer.status != 401, "{method} {path} needs no token: {}", answer.body);
            assert_nothing_changed(&rig, &path).await;
        }
        for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:9010"] {
            let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            assert_eq!(rig.raw(&request).await.status, 421, "{host}{path}");
        }
    }
}
