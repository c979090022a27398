//! What every request passes: the Host check against DNS rebinding, the deadline, and, for whatever changes
//! something, the token.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::answer::Failure;
use super::token::Key;

/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// By which names we may be asked.
#[derive(Clone, Debug)]
pub(super) struct Hosts {
    address: IpAddr,
    names: Vec<String>,
}

impl Hosts {
    pub fn new(address: SocketAddr, names: &[String]) -> Self {
        let names = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        Self { address: address.ip(), names }
    }

    /// A page on the web can make a browser ask us by a name of its own that resolves to our address, but
    /// cannot make it send another Host. An IP address cannot be rebound, so those that reach us are fine.
    pub fn accepts(&self, host: &str) -> bool {
        let name = host_name(host).to_ascii_lowercase();
        if let Ok(ip) = name.parse::<IpAddr>() {
            return ip.is_loopback() || ip == self.address || self.address.is_unspecified();
        }
        name == "localhost" || name.ends_with(".localhost") || self.names.contains(&name)
    }
}

/// `Host` without its port and an IPv6 address's brackets.
fn host_name(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split_once(']').map_or(rest, |(ip, _)| ip);
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

/// Refuses requests by names that are not ours.
pub(super) async fn check_host(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    let mut given = request.headers().get_all(header::HOST).iter();
    let host = given.next().and_then(|value| value.to_str().ok());
    let host = request.uri().authority().map(|authority| authority.as_str()).or(host);
    match host {
        Some(host) if given.next().is_none() && hosts.accepts(host) => next.run(request).await,
        _ => {
            let reason = "this host name is not one of ours; ask by a loopback name or the configured address, \
                          or add it to admin.allowed_hosts in the config";
            Failure::new(StatusCode::MISDIRECTED_REQUEST, reason).into_response()
        }
    }
}

/// Refuses changes without the token.
pub(super) async fn check_token(State(key): State<Key>, request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(given) = given else {
        let reason = "this needs the admin token: send `Authorization: Bearer TOKEN`; it is in the config, or in \
                      `admin-token` in data_dir";
        return Failure::unauthorized(reason).into_response();
    };
    // RFC 9110, section 11.1: the scheme's name is case-insensitive.
    let token = given.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    match token {
        Some((_, token)) if key.opens(token.trim()) => next.run(request).await,
        _ => Failure::unauthorized("this is not the admin token").into_response(),
    }
}

/// Ends what takes too long, and forbids caching and guessing.
pub(super) async fn deadline(request: Request, next: Next) -> Response {
    let mut response = match tokio::time::timeout(DEADLINE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let reason = "the answer took longer than 10 s; look at /api/v1/actors for who is stuck";
            Failure::new(StatusCode::GATEWAY_TIMEOUT, reason).into_response()
        }
    };
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache"));
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn mk_hosts(address: &str) -> Hosts {
        Hosts::new(address.parse().unwrap(), &["Admin.Example.com".to_owned()])
    }

    #[test]
    fn loopback_names_the_own_address_and_configured_names_are_accepted() {
        let hosts = mk_hosts("10.1.2.3:9010");
        for host in ["localhost", "LOCALHOST:9010", "a.localhost", "127.0.0.1:1", "127.8.8.8", "[::1]:9010", "[::1]"] {
            assert!(hosts.accepts(host), "{host}");
        }
        for host in ["10.1.2.3", "10.1.2.3:9010", "admin.example.com:80"] {
            assert!(hosts.accepts(host), "{host}");
        }
    }

    #[test]
    fn other_names_and_addresses_are_not() {
        let hosts = mk_hosts("127.0.0.1:9010");
        for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.1.2.3", "", ":", "[::2]"] {
            assert!(!hosts.accepts(host), "{host}");
        }
        // Bound to every address, any of them may be the one that was meant; names still may not.
        let hosts = mk_hosts("0.0.0.0:9010");
        assert!(hosts.accepts("10.1.2.3:9010") && !hosts.accepts("evil.example"));
    }
}
