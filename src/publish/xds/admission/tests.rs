//! Who is let in to what.

use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{ListValue, Struct, Value};

use super::*;

fn mk_rule(identity: &str, gateways: &[&str]) -> ClientRule {
    let gateways: Vec<String> = gateways.iter().map(ToString::to_string).collect();
    ClientRule::new(identity, &gateways).unwrap()
}

fn mk_peer(identities: &[Identity]) -> Peer {
    let certificate = ClientCertificate { identities: identities.to_vec(), ..ClientCertificate::default() };
    Peer { address: "192.0.2.1:1".to_owned(), certificate: Some(certificate.into()) }
}

fn uri(text: &str) -> Identity {
    Identity::Uri(text.to_owned())
}

fn dns(text: &str) -> Identity {
    Identity::Dns(text.to_owned())
}

fn mk_node(gateways: Option<&[&str]>) -> Node {
    let value = |text: &&str| Value { kind: Some(Kind::StringValue((*text).to_owned())) };
    let list =
        |all: &[&str]| Value { kind: Some(Kind::ListValue(ListValue { values: all.iter().map(value).collect() })) };
    let fields = gateways.map(|all| (METADATA_KEY.to_owned(), list(all)));
    Node { metadata: Some(Struct { fields: fields.into_iter().collect() }), ..Node::default() }
}

fn names(scope: &Scope) -> Vec<String> {
    scope.names().unwrap_or_else(|| vec!["everything".to_owned()])
}

#[test]
fn a_star_stops_where_a_name_has_its_parts() {
    let cases = [
        ("spiffe://td/ns/*/sa/envoy", uri("spiffe://td/ns/a/sa/envoy"), true),
        ("spiffe://td/ns/*/sa/envoy", uri("spiffe://td/ns/a/b/sa/envoy"), false),
        ("spiffe://td/ns/a/sa/*", uri("spiffe://td/ns/a/sa/"), true),
        ("spiffe://td/ns/a/sa/*", uri("spiffe://td/ns/a/sa"), false),
        ("spiffe://td/ns/a/sa/e*y", uri("spiffe://td/ns/a/sa/envoy"), true),
        ("spiffe://td/ns/a/sa/en*nvoy", uri("spiffe://td/ns/a/sa/envoy"), false),
        ("spiffe://td/ns/a", uri("spiffe://TD/ns/a"), false),
        ("urn:proxies:*", uri("urn:proxies:a"), true),
        ("urn:proxies:a", dns("urn:proxies:a"), false),
        ("*.proxies.example", dns("a.proxies.example"), true),
        ("*.Proxies.example", dns("a.proxies.example"), true),
        ("*.proxies.example", dns("a.b.proxies.example"), false),
        ("*.proxies.example", dns("proxies.example"), false),
        ("proxies.example", dns("proxies.example.evil"), false),
        ("*", dns("a.b.c"), true),
        ("*", uri("spiffe://td/a"), true),
        // A name of one sort never passes for one of the other.
        ("spiffe://td/a", dns("spiffe://td/a"), false),
        ("*.example", uri("a.example"), false),
    ];
    for (pattern, identity, expected) in cases {
        assert_eq!(mk_rule(pattern, &["a/b"]).is_for(&identity), expected, "{pattern} {identity:?}");
    }
}

#[test]
fn what_several_entries_grant_adds_up_and_what_none_grants_is_refused() {
    let rules = [
        mk_rule("spiffe://td/a", &["infra/one"]),
        mk_rule("a.example", &["infra/two", "apps/*"]),
        mk_rule("b.example", &["*"]),
    ];
    let standing = |identities: &[Identity]| Standing::of(&rules, &mk_peer(identities));
    let granted = standing(&[uri("spiffe://td/a"), dns("a.example")]).unwrap();
    assert_eq!(names(&granted.granted), ["apps/*", "infra/one", "infra/two"]);
    assert_eq!(granted.identity(), Some("spiffe://td/a, a.example"));
    assert_eq!(standing(&[uri("spiffe://td/a"), dns("b.example")]).unwrap().granted, Scope::All);
    assert_eq!(standing(&[dns("c.example")]), Err(Refusal::Unknown("c.example".to_owned())));
    assert_eq!(standing(&[]), Err(Refusal::Nameless));
    // Nobody is asked who he is on loopback and the Unix socket.
    let local = Peer { address: "unix".to_owned(), certificate: None };
    assert_eq!(
        Standing::of(&rules, &local).unwrap(),
        Standing { certificate: None, identity: None, granted: Scope::All }
    );
}

#[test]
fn a_claim_is_never_more_than_the_identity_allows() {
    let rules = [mk_rule("a.example", &["infra/one", "apps/*"]), mk_rule("b.example", &["*"])];
    let of = |name: &str| Standing::of(&rules, &mk_peer(&[dns(name)])).unwrap();
    let scope = |name: &str, claim: Option<&[&str]>| {
        claimed(&mk_node(claim)).and_then(|claimed| of(name).within(claimed.as_ref(), true))
    };
    assert_eq!(names(&scope("a.example", None).unwrap()), ["apps/*", "infra/one"]);
    assert_eq!(names(&scope("a.example", Some(&["apps/x"])).unwrap()), ["apps/x"]);
    assert_eq!(names(&scope("a.example", Some(&["apps/*", "infra/one"])).unwrap()), ["apps/*", "infra/one"]);
    for beyond in ["infra/two", "infra/*", "app/x", "*/*"] {
        let refused = scope("a.example", Some(&["apps/x", beyond])).unwrap_err();
        let expected = Refusal::Beyond { identity: "a.example".to_owned(), claimed: beyond.to_owned() };
        assert_eq!(refused, expected);
    }
    assert_eq!(scope("b.example", None).unwrap(), Scope::All);
    assert_eq!(names(&scope("b.example", Some(&["infra/two"])).unwrap()), ["infra/two"]);
    assert_eq!(of("b.example").within(None, false), Err(Refusal::Unscoped));
    assert_eq!(names(&of("a.example").within(None, false).unwrap()), ["apps/*", "infra/one"]);
    assert!(matches!(scope("a.example", Some(&["one"])), Err(Refusal::Nonsense(_))));
    // A list of nothing is nothing, not everything.
    assert_eq!(names(&scope("a.example", Some(&[])).unwrap()), Vec::<String>::new());
}

#[test]
fn a_refusal_says_who_was_refused_what() {
    let refusal = Refusal::Beyond { identity: "a.example".to_owned(), claimed: "infra/two".to_owned() };
    let status = Status::from(refusal);
    assert_eq!(status.code(), tonic::Code::PermissionDenied);
    assert!(status.message().starts_with("a.example may not see the Gateway infra/two"), "{}", status.message());
    assert!(ClientRule::new("*", &["infra".to_owned()]).is_err());
}
