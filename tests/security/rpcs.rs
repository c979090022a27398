//! Every method of the xDS server against every bad identity; the methods are those that the server says it has.

use std::sync::Arc;

use envoy_types::pb::google::protobuf::Any;
use rustls::ClientConfig;
use tidegate::admin::metrics::{recorder, render};
use tidegate::model::Listener;
use tidegate::publish::xds::{Kind, METHODS, Options, ServerError, TlsFiles};
use tonic::codegen::Service as _;

use crate::caller::{SERVER, connect, everything, mk_node};
use crate::model::*;
use crate::pki::{Authority, Certificate, expired, mk_client, mk_server, not_yet_valid, self_signed};
use crate::server::{Server, refused};

const IDENTITY: &str = "spiffe://cluster.local/ns/proxies/sa/public";
const RULES: &[(&str, &[&str])] = &[(IDENTITY, &["infra/public"]), ("private.example", &["infra/private"])];

/// Two Gateways, `infra/public` and `infra/private`, each with everything that there is.
fn mk_world() -> Update {
    let of = |update: Update, gateway: &str, port: u16| {
        let service = format!("{gateway}-service");
        let mut cluster = mk_cluster(&service);
        cluster.gateways = [mk_gateway(gateway)].into();
        let mut secret = mk_secret(gateway, &format!("chain of {gateway}"), &format!("key of {gateway}"));
        secret.gateways = [mk_gateway(gateway)].into();
        let mut host = mk_host(&mk_table(port), &format!("{gateway}.example.com"), [mk_route_to(&service)]);
        host.gateway = mk_gateway(gateway);
        let chain = mk_https_chain(gateway, "https", &[], &[gateway]);
        let tls = Listener { id: mk_listener_id(port + 1), chains: vec![chain] };
        let address = format!("10.0.0.{}:80", port / 1000).parse().unwrap();
        let update = update.cluster(cluster).endpoints(mk_endpoints(&service, &[address]));
        update.secret(secret).host(host).listener(mk_http_listener(port, &[gateway])).listener(tls)
    };
    of(of(Update::to(1), "public", 8080), "private", 9080)
}

/// All that is asked for, of both Gateways, by every name that there is.
const ASKED: &[(Kind, &[&str])] = &[
    (Kind::Cluster, &[]),
    (Kind::Listener, &[]),
    (Kind::Endpoints, &["test/apps/public-service/80", "test/apps/private-service/80"]),
    (Kind::Secret, &["test/apps/public", "test/apps/private"]),
    (Kind::RouteConfig, &["http/127.0.0.1:8080", "http/127.0.0.1:9080"]),
];

/// Whether a text stands in any of the resources.
fn shows(all: &[Any], text: &str) -> bool {
    all.iter().any(|any| any.value.windows(text.len()).any(|window| window == text.as_bytes()))
}

/// Who calls: what they are, by which TLS, and with which claim.
struct Caller {
    what: &'static str,
    tls: Option<Arc<ClientConfig>>,
    claim: Option<&'static [&'static str]>,
    /// What they are told, or what their connection is.
    reason: &'static str,
}

fn callers(server: &Server) -> Vec<Caller> {
    let (own, clients) = (&server.own, &server.clients);
    let by = |certificate: Certificate| Some(own.client(Some(&certificate)));
    let good = || by(clients.issue(&mk_client(IDENTITY)));
    let closed = "";
    let caller = |what, tls, claim, reason| Caller { what, tls, claim, reason };
    vec![
        caller("plain text", None, None, closed),
        caller("no certificate", Some(own.client(None)), None, closed),
        caller("self-signed", by(self_signed(&mk_client(IDENTITY))), None, closed),
        caller("another authority", by(Authority::new().issue(&mk_client(IDENTITY))), None, closed),
        caller("the authority of servers", by(own.issue(&mk_client(IDENTITY))), None, closed),
        caller("signed by a client", by(clients.issue_by_a_client(&mk_client(IDENTITY))), None, closed),
        caller("expired", by(clients.issue(&expired(mk_client(IDENTITY)))), None, closed),
        caller("not yet valid", by(clients.issue(&not_yet_valid(mk_client(IDENTITY)))), None, closed),
        caller("a server's certificate", by(clients.issue(&mk_server(IDENTITY))), None, closed),
        caller("no name", by(clients.issue(&mk_client(""))), None, "it is nobody's"),
        caller("an address for a name", by(clients.issue(&mk_client("192.0.2.1"))), None, "it is nobody's"),
        caller("another name", by(clients.issue(&mk_client("other.example"))), None, "no entry of xds.clients"),
        caller(
            "a name with more after it",
            by(clients.issue(&mk_client(&format!("{IDENTITY}/x")))),
            None,
            "no entry of xds.clients",
        ),
        caller("a claim of another Gateway", good(), Some(&["infra/private"]), "may not see the Gateway infra/private"),
        caller(
            "a claim of another Gateway beside its own",
            good(),
            Some(&["infra/public", "infra/private"]),
            "may not see the Gateway infra/private",
        ),
        caller("a claim of a namespace", good(), Some(&["infra/*"]), "may not see the Gateway infra/*"),
        caller("a claim of all", good(), Some(&["*/*"]), "may not see the Gateway */*"),
        caller("nonsense for a claim", good(), Some(&["*"]), "is not namespace/name"),
    ]
}

// One thread: what is recorded on it goes to the recorder of this test alone.
#[tokio::test]
async fn every_method_denies_every_bad_identity() {
    let recorder = recorder().unwrap();
    let handle = recorder.handle();
    let _recording = ::metrics::set_default_local_recorder(&recorder);
    let server = Server::start(RULES).await;
    server.apply(&mk_world());
    let mut denied = 0;
    for path in METHODS {
        for Caller { what, tls, claim, reason } in callers(&server) {
            match everything(server.address, tls, path, mk_node(claim), ASKED).await {
                Ok(all) => panic!("{path}: {what} got {} resources", all.len()),
                Err(said) => {
                    assert!(said.contains(reason), "{path}: {what}: {said}");
                    assert!(!said.contains("key of") && !said.contains("private-service"), "{said}");
                    denied += 1;
                }
            }
        }
    }
    assert_eq!(denied, 36);
    assert!(server.publisher.clients().is_empty(), "{:?}", server.publisher.clients());
    let text = render(&handle);
    for (reason, at_least) in [("tls", 18), ("identity", 8), ("claim", 8), ("metadata", 2)] {
        let name = format!("tidegate_xds_refused_total{{reason=\"{reason}\"}} ");
        let count = text.lines().find_map(|line| line.strip_prefix(&name)?.parse::<u64>().ok());
        assert_eq!(count, Some(at_least), "{reason}: {text}");
    }
}

#[tokio::test]
async fn every_method_gives_a_good_identity_its_own_gateway_and_no_word_of_another() {
    let server = Server::start(RULES).await;
    server.apply(&mk_world());
    let certificate = |name: &str| server.own.client(Some(&server.clients.issue(&mk_client(name))));
    for path in METHODS {
        let gateways = [
            (IDENTITY, "public", "private", ["10.0.0.8", "10.0.0.9"]),
            ("private.example", "private", "public", ["10.0.0.9", "10.0.0.8"]),
        ];
        for (name, own, other, [here, elsewhere]) in gateways {
            let mine = format!("infra/{own}");
            for claim in [None, Some(&[&*mine][..])] {
                let all = everything(server.address, Some(certificate(name)), path, mk_node(claim), ASKED).await;
                let all = all.unwrap_or_else(|said| panic!("{path} {name} {claim:?}: {said}"));
                for shown in [format!("key of {own}"), format!("{own}-service"), here.to_owned()] {
                    assert!(shows(&all, &shown), "{path} {name} {claim:?}: no {shown}");
                }
                // For endpoints that are not there the answer is that there are none, with the name that was asked for.
                let nothing_asked = |any: &&Any| any.type_url != Kind::Endpoints.type_url();
                let beside: Vec<Any> = all.iter().filter(nothing_asked).cloned().collect();
                assert!(!shows(&beside, &format!("{other}-service")), "{path} {name} {claim:?}");
                for hidden in [format!("key of {other}"), format!("infra/{other}"), elsewhere.to_owned()] {
                    assert!(!shows(&all, &hidden), "{path} {name} {claim:?}: {hidden}");
                }
            }
        }
    }
}

#[tokio::test]
async fn there_are_no_other_methods() {
    let server = Server::start(RULES).await;
    let good = server.own.client(Some(&server.clients.issue(&mk_client(IDENTITY))));
    for path in [
        "/envoy.service.discovery.v3.AggregatedDiscoveryService/Else",
        "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets",
        "/envoy.service.secret.v3.SecretDiscoveryService/FetchSecrets",
        "/envoy.service.status.v3.ClientStatusDiscoveryService/FetchClientStatus",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.health.v1.Health/Check",
        "/",
    ] {
        let mut channel = connect(server.address, Some(good.clone())).await.unwrap();
        std::future::poll_fn(|cx| channel.poll_ready(cx)).await.unwrap();
        let request = http::Request::post(format!("http://{SERVER}{path}")).header("content-type", "application/grpc");
        let answer = channel.call(request.body(tonic::body::Body::empty()).unwrap()).await.unwrap();
        // gRPC's UNIMPLEMENTED.
        assert_eq!(answer.headers().get("grpc-status").map(http::HeaderValue::as_bytes), Some(&b"12"[..]), "{path}");
    }
    assert!(METHODS.iter().all(|path| path.starts_with("/envoy.service.discovery.v3.AggregatedDiscoveryService/")));
}

#[tokio::test]
async fn nothing_is_served_in_the_clear_where_others_could_read_it_nor_by_files_that_are_not_there() {
    let everywhere = Some("0.0.0.0:0".parse().unwrap());
    let error = refused(Options { tcp: everywhere, ..Options::default() }).await;
    assert!(matches!(error, ServerError::Plain { .. }) && error.to_string().contains("set xds.tls"), "{error}");
    let [certificate, key, client_ca] = ["/nowhere/tls.crt", "/nowhere/tls.key", "/nowhere/ca.crt"].map(Into::into);
    let tls = Some(TlsFiles { certificate, key, client_ca });
    let error = refused(Options { tcp: everywhere, tls, ..Options::default() }).await;
    let ServerError::Tls { source } = error else { panic!("{error}") };
    assert_eq!(source.to_string(), "read /nowhere/tls.crt (xds.tls.cert_file)");
}
