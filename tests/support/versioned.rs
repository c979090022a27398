//! Manifests of which every object changes from one version to the next, and a look from outside at which version is
//! live: by the route's header, the backend that answers, the certificate that is shown, a grant, and a listener's host.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use super::envoy::{PATIENCE, eventually, get};
use super::gateway::{Setup, who};
use super::load::{Check, Load, Target, ok};
use super::manifests::{
    mk_class, mk_file, mk_gateway, mk_grant, mk_http_listener, mk_https_listener, mk_namespace, mk_route_for,
    mk_secret, mk_service, mk_service_in,
};
use super::ports::free_port;
use super::tls::{Authority, Certificate, TlsAnswer};

/// The world in versions. Version 0 is what it begins with.
pub struct Versioned {
    http: SocketAddr,
    https: SocketAddr,
    extra: SocketAddr,
    backends: [SocketAddr; 2],
    /// Who signs the certificates.
    pub authority: Arc<Authority>,
    certificate: Certificate,
    version: usize,
}

/// The names of the backends.
const NAMES: [&str; 2] = ["even", "odd"];

impl Versioned {
    /// Between these listeners and these backends, which are called `even` and `odd`.
    pub fn new(http: SocketAddr, https: SocketAddr, backends: [SocketAddr; 2]) -> Self {
        let authority = Arc::new(Authority::new());
        let certificate = authority.issue(&["a.test"]);
        let extra = SocketAddr::new(http.ip(), free_port());
        Self { http, https, extra, backends, authority, certificate, version: 0 }
    }

    /// In the folder of a gateway that is not started yet.
    pub async fn of(setup: &mut Setup) -> Self {
        let backends = [setup.backend(NAMES[0]).await, setup.backend(NAMES[1]).await];
        let versioned = Self::new(setup.http, setup.https, backends);
        versioned.write(&setup.manifests());
        versioned
    }

    /// Traffic to both listeners, of which no request may fail whatever version is live.
    pub fn load(&self) -> Load {
        let (plain, secure) = (Target::new(self.http, "a.test"), Target::new(self.https, "a.test"));
        let check: Check<TlsAnswer> = Arc::new(|a| if a.status == 200 { Ok(()) } else { Err(a.text.clone()) });
        let load = Load::new().kept(40, &plain, &ok()).fresh(30, &plain, &ok());
        load.tls(10, &secure, &self.authority, &check)
    }

    /// Goes on to the next version.
    pub fn next(&mut self, folder: &Path) {
        self.version += 1;
        self.certificate = self.authority.issue(&["a.test"]);
        self.write(folder);
    }

    /// Writes all manifests, a file a kind.
    pub fn write(&self, folder: &Path) {
        let version = self.version;
        let parity = NAMES[version % 2];
        let marked = |text: String| {
            text.replacen(
                "metadata: { name: ",
                &format!("metadata: {{ annotations: {{ version: v{version} }}, name: "),
                1,
            )
        };
        let listeners = [
            mk_http_listener("http", self.http.port(), ""),
            mk_https_listener("https", self.https.port(), "a.test", &["certificate"]),
            mk_http_listener("extra", self.extra.port(), &format!("hostname: {parity}.test")),
        ];
        let rules = format!(
            "
            - matches: [{{ path: {{ type: PathPrefix, value: /theirs }} }}]
              backendRefs: [{{ name: theirs, namespace: other, port: 80 }}]
            - filters:
                - type: ResponseHeaderModifier
                  responseHeaderModifier: {{ set: [{{ name: x-version, value: v{version} }}] }}
              backendRefs: [{{ name: pool, port: 80 }}]"
        );
        let service = mk_service("pool", &[self.backends[version % 2]]);
        let grant = if version.is_multiple_of(2) {
            mk_grant("other")
        } else {
            mk_grant("other").replace("kind: HTTPRoute", "kind: GRPCRoute")
        };
        let files = [
            ("class.yaml", marked(mk_class())),
            ("gateway.yaml", marked(mk_gateway("public", &listeners.concat()))),
            ("route.yaml", mk_route_for("versioned", &[], &rules)),
            ("service.yaml", marked(service)),
            ("other.yaml", marked(mk_service_in("other", "theirs", &[self.backends[0]]))),
            ("grant.yaml", grant),
            ("secret.yaml", mk_secret("certificate", &self.certificate.pem, &self.certificate.key)),
            ("namespace.yaml", mk_file(&[marked(mk_namespace("apps", &format!("version: v{version}")))])),
        ];
        for (name, text) in files {
            std::fs::write(folder.join(name), text).unwrap();
        }
    }

    /// Whether this version is live; what is not, if it is not.
    pub async fn look(&self) -> Result<(), String> {
        let (version, at) = (self.version, self.version % 2);
        let answer = get(self.http, "a.test", "/").await?;
        let seen = (answer.header("x-version").to_owned(), answer.backend().to_owned());
        let expected = (format!("v{version}"), NAMES[at].to_owned());
        if seen != expected {
            return Err(format!("route and backend are {seen:?} instead of {expected:?}"));
        }
        let theirs = who(&get(self.http, "a.test", "/theirs").await?);
        if theirs != ["even", "500"][at] {
            return Err(format!("the other namespace answers {theirs} in version {version}"));
        }
        let extra = who(&get(self.extra, &format!("{}.test", NAMES[at]), "/").await?);
        if extra != NAMES[at] {
            return Err(format!("the extra listener answers {extra} in version {version}"));
        }
        if self.authority.get(self.https, "a.test", "/").await?.certificate != self.certificate.der {
            return Err(format!("the certificate is not that of version {version}"));
        }
        Ok(())
    }

    /// Waits until this version is live in all of its parts.
    pub async fn until_live(&self, after: &str) {
        eventually(&format!("version {} is live {after}", self.version), PATIENCE, || self.look()).await;
    }
}
