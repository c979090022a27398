//! An API server that says what it is told to say, in order, and remembers what it was asked.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::UnboundedReceiverStream;

/// Objects as JSON, by plural.
pub type Objects = BTreeMap<String, Vec<String>>;

type Chunk = Result<Frame<Bytes>, io::Error>;

/// An answer.
pub struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: mpsc::UnboundedReceiver<Chunk>,
    never: bool,
}

/// The other end of a body that is under way. It ends when this is dropped.
pub struct Live(mpsc::UnboundedSender<Chunk>);

impl Live {
    pub fn say(&self, text: impl Into<String>) -> &Self {
        let _ = self.0.send(Ok(Frame::data(Bytes::from(text.into()))));
        self
    }

    pub fn say_bytes(&self, bytes: &'static [u8]) -> &Self {
        let _ = self.0.send(Ok(Frame::data(Bytes::from_static(bytes))));
        self
    }

    /// The connection breaks.
    pub fn cut(self) {
        let _ = self.0.send(Err(io::Error::other("cut")));
    }

    /// Waits until nobody reads it any more.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}

impl Reply {
    /// A whole body.
    pub fn new(status: u16, text: impl Into<String>) -> Self {
        let (reply, live) = Self::live();
        live.say(text);
        Self { status, ..reply }
    }

    /// A body that goes on.
    pub fn live() -> (Self, Live) {
        let (sender, body) = mpsc::unbounded_channel();
        (Self { status: 200, headers: Vec::new(), body, never: false }, Live(sender))
    }

    /// No answer at all.
    pub fn never() -> Self {
        Self { never: true, ..Self::live().0 }
    }

    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// See the module.
#[derive(Clone)]
pub struct Server {
    pub address: SocketAddr,
    script: Arc<Mutex<VecDeque<Reply>>>,
    asked: Arc<Mutex<Vec<String>>>,
    tokens: Arc<Mutex<Vec<String>>>,
    /// Once the script is over: what it has, by plural.
    objects: Arc<Mutex<Option<Objects>>>,
    /// What it answers to a path, before anything else.
    fixed: Arc<Mutex<BTreeMap<String, (u16, String)>>>,
    /// Watches of what it has, by path.
    watches: Arc<Mutex<Vec<(String, Live)>>>,
    /// Connections that were accepted.
    pub accepted: Arc<AtomicUsize>,
    /// The certificate to trust, in PEM; none without TLS.
    pub authority: Option<String>,
}

impl Server {
    /// Over plain HTTP.
    pub async fn start() -> Self {
        Self::serve(None, None).await
    }

    /// Over TLS, with the protocols that it offers.
    pub async fn start_tls(protocols: &[&str]) -> Self {
        let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(certified.signing_key.serialize_der().into());
        let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key)
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Self::serve(Some(TlsAcceptor::from(Arc::new(config))), Some(certified.cert.pem())).await
    }

    async fn serve(tls: Option<TlsAcceptor>, authority: Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            script: Arc::default(),
            asked: Arc::default(),
            tokens: Arc::default(),
            objects: Arc::default(),
            fixed: Arc::default(),
            watches: Arc::default(),
            accepted: Arc::default(),
            authority,
        };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serving.accepted.fetch_add(1, Ordering::SeqCst);
                let (serving, tls) = (serving.clone(), tls.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request| serving.clone().answer(request));
                    let builder = auto::Builder::new(TokioExecutor::new());
                    // Clients that go away are no concern of the server's.
                    let _ = match tls {
                        None => builder.serve_connection(TokioIo::new(stream), service).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => builder.serve_connection(TokioIo::new(stream), service).await,
                            Err(_) => Ok(()),
                        },
                    };
                });
            }
        });
        server
    }

    /// What it answers next.
    pub fn then(&self, reply: Reply) -> &Self {
        self.script.lock().push_back(reply);
        self
    }

    /// A list with one page.
    pub fn then_list(&self, version: &str, items: &[&str]) -> &Self {
        self.then(Reply::new(200, page(version, "", items)))
    }

    /// A watch that stays open.
    pub fn then_watch(&self) -> Live {
        let (reply, live) = Reply::live();
        self.then(reply);
        live
    }

    /// Paths and queries so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }

    /// The credentials that came with each.
    pub fn tokens(&self) -> Vec<String> {
        self.tokens.lock().clone()
    }

    /// What it answers to everybody from now on: lists of these objects by plural, and watches that stay open.
    pub fn have(&self, objects: Objects) {
        *self.objects.lock() = Some(objects);
    }

    /// What it answers to a path from now on.
    pub fn answer_to(&self, path: &str, status: u16, text: impl Into<String>) {
        self.fixed.lock().insert(path.to_owned(), (status, text.into()));
    }

    /// It has these objects of a plural from now on; `None`: it has no such type.
    pub fn set(&self, plural: &str, items: Option<Vec<String>>) {
        let mut objects = self.objects.lock();
        let objects = objects.get_or_insert_default();
        match items {
            Some(items) => objects.insert(plural.to_owned(), items),
            None => objects.remove(plural),
        };
    }

    /// Tells something to all watches of a plural, as soon as there is one.
    pub async fn tell(&self, plural: &str, text: &str) {
        let told = || {
            let watches = self.watches.lock();
            let of = watches.iter().filter(|(path, live)| path.ends_with(plural) && !live.0.is_closed());
            of.inspect(|(_, live)| _ = live.say(text)).count() > 0
        };
        let all = async {
            while !told() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(crate::rig::PATIENCE, all).await.expect("nobody watches it");
    }

    fn of_objects(&self, uri: &http::Uri) -> Reply {
        let objects = self.objects.lock();
        let Some(objects) = &*objects else {
            return Reply::new(500, status(500, "InternalError", "the script is over"));
        };
        let plural = uri.path().rsplit('/').next().unwrap();
        let Some(items) = objects.get(plural) else { return Reply::new(404, "404 page not found") };
        let query = uri.query().unwrap_or_default();
        if query.contains("sendInitialEvents") {
            return Reply::new(422, status(422, "Invalid", "sendInitialEvents is forbidden"));
        }
        if query.contains("watch=true") {
            let (reply, live) = Reply::live();
            // It stays open for as long as the server is there.
            self.watches.lock().push((uri.path().to_owned(), live));
            return reply;
        }
        Reply::new(200, page("7", "", &items.iter().map(String::as_str).collect::<Vec<_>>()))
    }

    async fn answer(
        self,
        request: Request<Incoming>,
    ) -> Result<Response<StreamBody<UnboundedReceiverStream<Chunk>>>, Infallible> {
        self.asked.lock().push(request.uri().path_and_query().unwrap().to_string());
        let token = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
        self.tokens.lock().push(token.unwrap_or_default());
        let fixed = self.fixed.lock().get(request.uri().path()).cloned().map(|(status, text)| Reply::new(status, text));
        let reply = fixed.or_else(|| self.script.lock().pop_front());
        let reply = reply.unwrap_or_else(|| self.of_objects(request.uri()));
        if reply.never {
            std::future::pending::<()>().await;
        }
        let mut response = Response::builder().status(reply.status);
        for (name, value) in reply.headers {
            response = response.header(name, value);
        }
        Ok(response.body(StreamBody::new(UnboundedReceiverStream::new(reply.body))).unwrap())
    }
}

/// A page of a list.
pub fn page(version: &str, next: &str, items: &[&str]) -> String {
    let metadata = format!(r#"{{"resourceVersion":"{version}","continue":"{next}"}}"#);
    format!(r#"{{"kind":"ThingList","apiVersion":"v1","metadata":{metadata},"items":[{}]}}"#, items.join(",")) + "\n"
}

/// An object in the namespace `demo`.
pub fn thing(name: &str, version: &str) -> String {
    thing_in("demo", name, version)
}

pub fn thing_in(namespace: &str, name: &str, version: &str) -> String {
    let names = format!(r#""name":"{name}","namespace":"{namespace}","uid":"u-{name}""#);
    format!(
        r#"{{"kind":"Thing","metadata":{{{names},"resourceVersion":"{version}","managedFields":[{{}}]}},"spec":{{"a":1}}}}"#
    )
}

/// A line of a watch.
pub fn event(kind: &str, object: &str) -> String {
    format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n")
}

/// A bookmark.
pub fn bookmark(version: &str) -> String {
    event("BOOKMARK", &format!(r#"{{"kind":"Thing","metadata":{{"resourceVersion":"{version}"}}}}"#))
}

/// The bookmark that ends a streaming list.
pub fn initial_end(version: &str) -> String {
    let annotations = r#""annotations":{"k8s.io/initial-events-end":"true"}"#;
    event("BOOKMARK", &format!(r#"{{"metadata":{{"resourceVersion":"{version}",{annotations}}}}}"#))
}

/// A `Status`.
pub fn status(code: u16, reason: &str, message: &str) -> String {
    format!(
        r#"{{"kind":"Status","apiVersion":"v1","metadata":{{}},"status":"Failure","message":"{message}","reason":"{reason}","code":{code}}}"#
    )
}
