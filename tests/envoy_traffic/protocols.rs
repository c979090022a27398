//! What is spoken on both sides: WebSocket, and HTTP/2 without TLS.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::envoy::{PATIENCE, loopback};
use crate::support::gateway::{Setup, serve};
use crate::support::manifests::{mk_bare_service, mk_file, mk_http_gateway, mk_route_to, mk_service, mk_slice};

/// Reads until the end of a head.
async fn head(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(bytes).unwrap().to_lowercase()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn a_websocket_is_upgraded_and_carries_bytes_both_ways() {
    let listener = TcpListener::bind(loopback(0)).await.unwrap();
    let setup = Setup::new();
    setup.write("service.yaml", &mk_service("socket", &[listener.local_addr().unwrap()]));
    setup.write("gateway.yaml", &mk_http_gateway(setup.http.port()));
    setup.write("route.yaml", &mk_route_to("socket", &[], "socket"));
    // A backend that agrees to the upgrade and then says everything twice.
    let backend = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let asked = head(&mut stream).await;
        let agreed = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        stream.write_all(agreed.as_bytes()).await.unwrap();
        let byte = stream.read_u8().await.unwrap();
        stream.write_all(&[byte, byte]).await.unwrap();
        asked
    });
    let gateway = setup.start().await;
    let exchange = async {
        let mut stream = TcpStream::connect(gateway.setup.http).await.unwrap();
        let ask = "GET /chat HTTP/1.1\r\nhost: a.test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        stream.write_all(ask.as_bytes()).await.unwrap();
        let agreed = head(&mut stream).await;
        assert!(agreed.starts_with("http/1.1 101"), "{agreed}");
        stream.write_all(b"x").await.unwrap();
        let mut twice = [0; 2];
        stream.read_exact(&mut twice).await.unwrap();
        assert_eq!(&twice, b"xx");
        let asked = backend.await.unwrap();
        assert!(asked.starts_with("get /chat") && asked.contains("upgrade: websocket"), "{asked}");
    };
    tokio::time::timeout(PATIENCE, exchange).await.expect("an answer in time");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn a_backend_may_speak_http_2_without_tls() {
    let listener = TcpListener::bind(loopback(0)).await.unwrap();
    let setup = Setup::new();
    let ports = "- { name: http, port: 80, appProtocol: kubernetes.io/h2c }";
    let service = mk_bare_service("apps", "second", ports);
    setup.write("service.yaml", &mk_file(&[service, mk_slice("apps", "second", &[listener.local_addr().unwrap()])]));
    setup.write("gateway.yaml", &mk_http_gateway(setup.http.port()));
    setup.write("route.yaml", &mk_route_to("second", &[], "second"));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = service_fn(|request: Request<hyper::body::Incoming>| async move {
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(format!("{:?}", request.version())))))
            });
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), answer));
        }
    });
    let gateway = setup.start().await;
    let answer = gateway.get("a.test", "/").await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, "HTTP/2.0"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn a_call_as_grpc_makes_it_goes_through_with_its_trailers() {
    let listener = TcpListener::bind(loopback(0)).await.unwrap();
    let setup = Setup::new();
    let ports = "- { name: http, port: 80, appProtocol: kubernetes.io/h2c }";
    let (service, address) = (mk_bare_service("apps", "calls", ports), listener.local_addr().unwrap());
    let slice = mk_slice("apps", "calls", &[address]);
    setup.write("service.yaml", &mk_file(&[service, slice]));
    setup.write("gateway.yaml", &mk_http_gateway(setup.http.port()));
    setup.write("route.yaml", &mk_route_to("calls", &[], "calls"));
    // A backend that says back what it hears, and how the call ended after that.
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = service_fn(|request: Request<hyper::body::Incoming>| async move {
                assert_eq!((request.version(), request.uri().path()), (http::Version::HTTP_2, "/pkg.Service/Say"));
                let heard = request.into_body().collect().await?.to_bytes();
                let ended = HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from(0))]);
                let body = Full::new(heard).with_trailers(std::future::ready(Some(Ok(ended))));
                Ok::<_, hyper::Error>(
                    Response::builder().header("content-type", "application/grpc").body(body).unwrap(),
                )
            });
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), answer));
        }
    });
    let gateway = setup.start().await;
    let exchange = async {
        let stream = TcpStream::connect(gateway.setup.http).await.unwrap();
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.unwrap();
        tokio::spawn(connection);
        let said = Bytes::from_static(b"\0\0\0\0\x05hello");
        let request = Request::post("http://a.test/pkg.Service/Say").header("content-type", "application/grpc");
        let request = request.header("te", "trailers").body(Full::new(said.clone())).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (200, &"application/grpc".parse().unwrap())
        );
        let body = response.into_body().collect().await.unwrap();
        assert_eq!(body.trailers().map(|trailers| &trailers["grpc-status"]), Some(&HeaderValue::from(0)));
        assert_eq!(body.to_bytes(), said);
    };
    tokio::time::timeout(PATIENCE, exchange).await.expect("an answer in time");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy: run by cargo xtask test"]
async fn a_client_may_speak_http_2_without_tls() {
    let gateway = serve(&["one"], &[mk_route_to("one", &["a.test"], "one")]).await;
    let exchange = async {
        let stream = TcpStream::connect(gateway.setup.http).await.unwrap();
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.unwrap();
        tokio::spawn(connection);
        let request = Request::get("http://a.test/").body(Full::<Bytes>::default()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!((response.status().as_u16(), response.version()), (200, http::Version::HTTP_2));
        response.into_body().collect().await.unwrap()
    };
    tokio::time::timeout(PATIENCE, exchange).await.expect("an answer in time");
}
