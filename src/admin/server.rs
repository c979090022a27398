//! The HTTP server under the routes: bounded connections, header deadline, orderly end.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tidegate_actors::env::{Env, Listener};
use tidegate_actors::supervisor::Stop;
use tokio::sync::Semaphore;

use super::guard::Hosts;
use super::routes::router;
use super::state::AdminState;
use crate::config::{Admin, Limits};

/// How many connections are served at once.
const MAX_CONNECTIONS: usize = 128;

/// How long a request's head may take to arrive, and an idle connection may stay.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// How long requests may go on when the server is stopped.
const GRACE: Duration = Duration::from_secs(2);

/// Why the server ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be had.
    #[error("listen on {address} for the admin server; set `admin.address` to a free address")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// A server on its way to its old address.
pub type Rebind = Pin<Box<dyn Future<Output = Result<AdminServer, ServeError>> + Send>>;

/// A bound admin server, not serving yet.
pub struct AdminServer {
    listener: Box<dyn Listener>,
    address: SocketAddr,
    admin: Admin,
    limits: Limits,
}

impl AdminServer {
    /// Binds the configured address; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn bind(admin: &Admin, limits: &Limits, env: &Env) -> Result<Self, ServeError> {
        let failed = |source| ServeError::Listen { address: admin.address, source };
        let listener = env.net.listen(admin.address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, admin: admin.clone(), limits: limits.clone() })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same address to be bound again, should this server end before its time.
    pub fn again(&self, env: &Env) -> impl Fn() -> Rebind + Clone + use<> {
        let admin = Admin { address: self.address, ..self.admin.clone() };
        let (limits, env) = (self.limits.clone(), env.clone());
        move || {
            let (admin, limits, env) = (admin.clone(), limits.clone(), env.clone());
            Box::pin(async move { Self::bind(&admin, &limits, &env).await })
        }
    }

    /// Serves until it is stopped; then requests in flight are finished within two seconds.
    pub async fn serve(mut self, state: AdminState, stop: Stop) {
        let hosts = Hosts::new(self.address, &self.admin.allowed_hosts);
        let body = usize::try_from(self.limits.request_size.bytes()).unwrap_or(usize::MAX);
        let service = TowerToHyperService::new(router(state, hosts, body));
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_headers(64);
        let graceful = GracefulShutdown::new();
        let seats = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            // A seat first: who finds none waits in the kernel's queue.
            let seat = tokio::select! {
                biased;
                () = stop.stopped() => break,
                seat = seats.clone().acquire_owned() => seat,
            };
            let Ok(seat) = seat else { break };
            let accepted = tokio::select! {
                biased;
                () = stop.stopped() => break,
                accepted = self.listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, usually: there is nothing to do but wait for some.
                    tracing::warn!(%error, "admin server: accept failed");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service.clone()));
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "admin server: connection ended");
                }
                drop(seat);
            });
        }
        if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
            tracing::debug!("admin server: some requests did not end in time");
        }
    }
}
