//! What happens to a request and its answer on the way: header edits, redirects, rewrites, mirrors, timeouts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::envoy::{PATIENCE, eventually, loopback};
use crate::support::gateway::{Gateway, Setup, serve};
use crate::support::manifests::{mk_http_gateway, mk_route, mk_route_for, mk_service};

/// A rule for a path prefix with filters in YAML's flow style.
fn mk_rule(prefix: &str, filters: &str, backend: &str) -> String {
    let backends = if backend.is_empty() { String::new() } else { format!("{{ name: {backend}, port: 80 }}") };
    format!(
        "- matches: [{{ path: {{ type: PathPrefix, value: {prefix} }} }}]\n  filters: [{filters}]\n  backendRefs: [{backends}]\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn request_and_response_headers_are_set_added_and_removed() {
    let edits = "{ set: [{ name: x-set, value: new }], add: [{ name: X-Add, value: '50% more' }], remove: [x-remove] }";
    let filters = format!(
        "{{ type: RequestHeaderModifier, requestHeaderModifier: {edits} }},
         {{ type: ResponseHeaderModifier, responseHeaderModifier: {{ set: [{{ name: x-set, value: new }}],
            add: [{{ name: x-add, value: more }}], remove: [cache-control] }} }}"
    );
    let gateway = serve(&["one"], &[mk_route("edits", &mk_rule("/", &filters, "one"))]).await;

    let request = Request::get("/").header("host", "a.test");
    let request = request.header("x-set", "old").header("x-add", "first").header("x-remove", "gone");
    let answer = gateway.ask(request).await;

    let headers = answer.echo().headers;
    assert_eq!(headers["x-set"], "new");
    assert_eq!(headers["x-add"].replace(", ", ","), "first,50% more");
    assert!(!headers.contains_key("x-remove"), "{headers:?}");
    assert_eq!((answer.header("x-set"), answer.header("x-add"), answer.header("cache-control")), ("new", "more", ""));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn a_backends_own_edits_are_for_its_share_alone() {
    let edited = |name: &str| {
        format!(
            "{{ name: {name}, port: 80, filters: [
                {{ type: RequestHeaderModifier, requestHeaderModifier: {{ set: [{{ name: x-for, value: {name} }}] }} }},
                {{ type: ResponseHeaderModifier, responseHeaderModifier: {{ set: [{{ name: x-from, value: {name} }}] }} }}] }}"
        )
    };
    let rule = format!("- backendRefs: [{}, {}, {{ name: three, port: 80 }}]", edited("one"), edited("two"));
    let gateway = serve(&["one", "two", "three"], &[mk_route("shares", &rule)]).await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..60 {
        let answer = gateway.get("a.test", "/").await;
        let echo = answer.echo();
        let expected = if echo.backend == "three" { "" } else { &echo.backend };
        assert_eq!(echo.headers.get("x-for").map(String::as_str).unwrap_or_default(), expected);
        assert_eq!(answer.header("x-from"), expected);
        seen.insert(echo.backend);
    }
    assert_eq!(seen.len(), 3, "{seen:?}");
}

fn mk_redirect(more: &str) -> String {
    format!("{{ type: RequestRedirect, requestRedirect: {{ {more} }} }}")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn redirects_change_scheme_host_port_path_and_status() {
    let rules = [
        ("/scheme", "scheme: https"),
        ("/host", "hostname: b.test"),
        ("/port", "port: 8443"),
        ("/full", "path: { type: ReplaceFullPath, replaceFullPath: /new }"),
        ("/prefix", "path: { type: ReplacePrefixMatch, replacePrefixMatch: /new }"),
        ("/cut", "path: { type: ReplacePrefixMatch, replacePrefixMatch: / }"),
        ("/all", "scheme: https, hostname: b.test, port: 444, statusCode: 301"),
        ("/307", "hostname: b.test, statusCode: 307"),
        ("/308", "hostname: b.test, statusCode: 308"),
        ("/303", "hostname: b.test, statusCode: 303"),
    ];
    let rules: String = rules.iter().map(|(prefix, more)| mk_rule(prefix, &mk_redirect(more), "")).collect();
    let gateway = serve(&[], &[mk_route_for("redirects", &["a.test"], &rules)]).await;
    let port = gateway.setup.http.port();
    let host = format!("a.test:{port}");
    for (path, status, location) in [
        ("/scheme/x?q=1", 302, "https://a.test/scheme/x?q=1".to_owned()),
        ("/host/x", 302, format!("http://b.test:{port}/host/x")),
        ("/port/x", 302, "http://a.test:8443/port/x".to_owned()),
        ("/full/x", 302, format!("http://a.test:{port}/new")),
        ("/prefix/x?q=1", 302, format!("http://a.test:{port}/new/x?q=1")),
        ("/prefix", 302, format!("http://a.test:{port}/new")),
        ("/cut/x", 302, format!("http://a.test:{port}/x")),
        ("/all/x", 301, "https://b.test:444/all/x".to_owned()),
        ("/307", 307, format!("http://b.test:{port}/307")),
        ("/308", 308, format!("http://b.test:{port}/308")),
        ("/303", 303, format!("http://b.test:{port}/303")),
    ] {
        let answer = gateway.get(&host, path).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (status, location.as_str()), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn rewrites_change_what_the_backend_is_asked() {
    let rules = [
        ("/prefix", "path: { type: ReplacePrefixMatch, replacePrefixMatch: /new }"),
        ("/cut", "path: { type: ReplacePrefixMatch, replacePrefixMatch: / }"),
        ("/full", "path: { type: ReplaceFullPath, replaceFullPath: '/whole' }"),
        ("/host", "hostname: b.test"),
        ("/both", "hostname: b.test, path: { type: ReplaceFullPath, replaceFullPath: /whole }"),
    ];
    let rule = |(prefix, more): &(&str, &str)| {
        mk_rule(prefix, &format!("{{ type: URLRewrite, urlRewrite: {{ {more} }} }}"), "one")
    };
    let gateway = serve(&["one"], &[mk_route("rewrites", &rules.iter().map(rule).collect::<String>())]).await;
    for (path, expected) in [
        ("/prefix/a/b?q=1", "a.test/new/a/b?q=1"),
        ("/prefix", "a.test/new?"),
        ("/prefix/", "a.test/new/?"),
        ("/cut/a", "a.test/a?"),
        ("/cut", "a.test/?"),
        ("/full/a?q=1", "a.test/whole?q=1"),
        ("/host/a", "b.test/host/a?"),
        ("/both/a", "b.test/whole?"),
    ] {
        let echo = gateway.get("a.test", path).await.echo();
        assert_eq!(format!("{}{}?{}", echo.host, echo.path, echo.query), expected, "{path}");
    }
}

/// A backend that counts requests, and tells the path and host of the last.
async fn counting_backend(setup: &Setup, name: &str) -> (Arc<AtomicU32>, Arc<std::sync::Mutex<String>>) {
    let listener = tokio::net::TcpListener::bind(loopback(0)).await.unwrap();
    setup.write(&format!("service-{name}.yaml"), &mk_service(name, &[listener.local_addr().unwrap()]));
    let (count, last) = (Arc::new(AtomicU32::new(0)), Arc::new(std::sync::Mutex::new(String::new())));
    let (counted, heard) = (count.clone(), last.clone());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (counted, heard) = (counted.clone(), heard.clone());
            tokio::spawn(async move {
                let mut text = String::new();
                let mut buffer = [0; 4096];
                while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                    text.push_str(&String::from_utf8_lossy(&buffer[..read]));
                    while let Some(end) = text.find("\r\n\r\n") {
                        *heard.lock().unwrap() = text[..end].to_lowercase();
                        text.drain(..end + 4);
                        counted.fetch_add(1, Ordering::SeqCst);
                        // A mirror's answer is of no interest, not even if it is an error.
                        let answer = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";
                        if stream.write_all(answer).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    (count, last)
}

async fn serve_mirrored(more: &str) -> (Gateway, Arc<AtomicU32>, Arc<std::sync::Mutex<String>>) {
    let mut setup = Setup::new();
    setup.services(&["one"]).await;
    let (count, last) = counting_backend(&setup, "copies").await;
    let filter =
        format!("{{ type: RequestMirror, requestMirror: {{ backendRef: {{ name: copies, port: 80 }}, {more} }} }}");
    setup.write("gateway.yaml", &mk_http_gateway(setup.http.port()));
    setup.write("route.yaml", &mk_route("mirrored", &mk_rule("/", &filter, "one")));
    (setup.start().await, count, last)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn a_mirror_sees_every_request_and_its_answers_are_ignored() {
    let (gateway, count, last) = serve_mirrored("").await;

    for at in 0..10 {
        assert_eq!(gateway.who("a.test", &format!("/mirrored/{at}")).await, "one");
    }

    let all = || std::future::ready(Some(count.load(Ordering::SeqCst)).filter(|seen| *seen == 10).ok_or("not all"));
    eventually("the mirror has seen all requests", PATIENCE, all).await;
    let last = last.lock().unwrap().clone();
    assert!(last.contains("get /mirrored/") && last.contains("host: a.test\r\n"), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn a_mirror_may_get_a_share() {
    let (gateway, count, _) = serve_mirrored("percent: 20").await;
    for _ in 0..300 {
        assert_eq!(gateway.who("a.test", "/").await, "one");
    }
    let count = count.load(Ordering::SeqCst);
    // 60 are expected; 7 is the standard deviation.
    assert!((25..=95).contains(&count), "{count} of 300");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn what_takes_too_long_is_answered_504() {
    let rule = |prefix: &str, timeouts: &str| {
        let rule = mk_rule(prefix, "", "one");
        format!("{rule}  timeouts: {{ {timeouts} }}\n")
    };
    let rules =
        [rule("/request", "request: 300ms"), rule("/backend", "backendRequest: 300ms"), rule("/none", "request: 0s")];
    let gateway = serve(&["one"], &[mk_route("timeouts", &rules.concat())]).await;
    for path in ["/request", "/backend"] {
        assert_eq!(gateway.who("a.test", path).await, "one");
        let begun = Instant::now();
        let answer = gateway.get("a.test", &format!("{path}?sleep=5000")).await;
        assert_eq!(answer.status, 504, "{path}: {answer:?}");
        let took = begun.elapsed();
        assert!((Duration::from_millis(290)..Duration::from_secs(3)).contains(&took), "{path} took {took:?}");
    }
    assert_eq!(gateway.who("a.test", "/none?sleep=600").await, "one");
}
