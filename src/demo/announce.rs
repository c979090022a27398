//! What the demo runs beside the gateway, and what it prints when it is ready. Ports are what the manifests say, so
//! that whoever has to move one has to move it there alone.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use tidegate_actors::informer::InformerFactory;
use tidegate_actors::object::Object;
use tidegate_actors::supervisor::{ChildSpec, TaskContext};

use super::BACKENDS;
use super::echo::EchoBackend;
use crate::app::App;
use crate::model::Protocol;
use crate::publish::state::ModelState;
use crate::resource::endpoint_slice::EndpointSlice;
use crate::resource::field::Checks;
use crate::resource::{Kind as _, types};

/// The demo's backends, to be supervised like everything else. Waits for the EndpointSlices, which say where.
pub async fn backends(factory: &InformerFactory) -> Vec<ChildSpec> {
    let mut slices = Vec::new();
    for source in factory.sources() {
        if let Some(lister) = factory.lister(&source, &types::endpoint_slice()) {
            lister.settled().await;
            slices.extend(lister.list());
        }
    }
    let places = places(slices.iter().map(|slice| &**slice));
    let spec = |(name, address)| {
        ChildSpec::task(name, move |context: TaskContext| async move {
            let backend = EchoBackend::bind(name, address).await?;
            Ok(backend.run(async move { context.stop.stopped().await }).await?)
        })
    };
    places.into_iter().map(spec).collect()
}

/// Where the backends are: the first endpoint of the slices of the Service that is called like each.
pub(super) fn places<'a>(slices: impl Iterator<Item = &'a Object>) -> Vec<(&'static str, SocketAddr)> {
    let read = |slice: &Object| EndpointSlice::read(slice.raw(), &mut Checks::default());
    let slices: Vec<EndpointSlice> = slices.filter_map(read).collect();
    let place = |name: &'static str| {
        let slice = slices.iter().find(|slice| slice.service.as_deref() == Some(name))?;
        let (endpoint, port) = (slice.endpoints.first()?, slice.ports.first()?);
        Some((name, SocketAddr::new(endpoint.address, port.port)))
    };
    BACKENDS.into_iter().filter_map(place).collect()
}

/// What to try, once the gateway answers. `proxy` says whether a local Envoy runs; `routes` is the file to edit.
pub fn announcement(app: &App, proxy: bool, routes: &Path) -> String {
    let mut lines = Vec::new();
    if proxy {
        lines.push("The gateway answers. Try:".to_owned());
        lines.extend(commands(&app.model.get()));
    } else {
        let address = app.xds_address.map(|address| address.to_string()).unwrap_or_default();
        lines.push(format!("No Envoy runs here. xDS is served on {address} for any that is started with:"));
        lines.push("  tidegate bootstrap > envoy.yaml && envoy -c envoy.yaml".to_owned());
    }
    lines.push(format!("Then edit {} and watch.", routes.display()));
    lines.push(format!("Admin: http://{}/  (readyz, metrics, api/v1/config, api/v1/status, api/v1/actors)", app.admin));
    lines.push(format!("Admin token, for what changes something: {}", app.token.reveal()));
    lines.push("Ctrl-C stops everything.".to_owned());
    lines.join("\n")
}

/// A few requests to the first listener of each protocol.
fn commands(model: &ModelState) -> Vec<String> {
    let first = |tls: bool| {
        let speaks = |protocol: &Protocol| matches!(protocol, Protocol::Https(_)) == tls;
        let mut listeners = model.listeners.values();
        let found = listeners.find(|listener| listener.chains.iter().any(|chain| speaks(&chain.protocol)))?;
        let mut address = SocketAddr::new(found.id.address, found.id.port);
        if address.ip().is_unspecified() {
            // Whoever listens everywhere also listens here.
            address.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        Some(address)
    };
    let mut lines = Vec::new();
    if let Some(address) = first(false) {
        lines.extend(["/", "/b"].map(|path| format!("  curl http://{address}{path}")));
    }
    if let Some(address) = first(true) {
        let (ip, port) = (address.ip(), address.port());
        lines.push(format!("  curl -k --resolve demo.local:{port}:{ip} https://demo.local:{port}/"));
    }
    lines
}
