//! What the config says, in the words of the parts that go by it.

use tidegate_actors::env::Env;

use crate::config::{BackendRange, Config, Switch, XdsClient};
use crate::correlate::{AllowedBackends, Settings, Shard};
use crate::publish::status::Speaker;
use crate::publish::xds;

/// What proxies may see that prove who they are.
pub(super) fn clients(config: &Config) -> anyhow::Result<Vec<xds::ClientRule>> {
    let rule = |client: &XdsClient| xds::ClientRule::new(&client.identity, &client.gateways);
    let clients = config.xds.clients.iter().map(rule).collect::<Result<_, _>>();
    clients.map_err(|reason| anyhow::anyhow!("xds.clients: {reason}"))
}

/// How xDS is served.
pub(super) fn xds_options(config: &Config, socket: &std::path::Path, env: &Env) -> anyhow::Result<xds::Options> {
    let tls = config.xds.tls.clone();
    let tls =
        tls.map(|tls| xds::TlsFiles { certificate: tls.cert_file, key: tls.key_file, client_ca: tls.client_ca_file });
    Ok(xds::Options {
        tcp: Some(config.xds.address),
        tls,
        clients: clients(config)?,
        unix: env.net.has_unix().then(|| socket.to_owned()),
        allow_all: config.xds.allow_unscoped,
        max_clients: config.xds.max_clients as usize,
        max_subscriptions: config.xds.max_subscriptions as usize,
        // What does not fit is more than any machine that this runs on can hold.
        max_request_bytes: usize::try_from(config.xds.max_request_size.bytes()).unwrap_or(usize::MAX),
        first_request: *config.xds.first_request_timeout,
        keepalive: *config.xds.keepalive_interval,
        keepalive_timeout: *config.xds.keepalive_timeout,
        ..xds::Options::default()
    })
}

/// What the config, or the command line, allows endpoints to be.
pub(super) fn allowed(ranges: &[BackendRange]) -> AllowedBackends {
    AllowedBackends {
        loopback: ranges.contains(&BackendRange::Loopback),
        link_local: ranges.contains(&BackendRange::LinkLocal),
    }
}

/// What translation goes by.
pub(super) fn settings(config: &Config) -> Settings {
    Settings {
        controller: config.gateway.controller_name.as_str().into(),
        shard: Shard {
            classes: config.gateway.classes.iter().map(|class| class.as_str().into()).collect(),
            selector: config.gateway.labels(),
        },
        bind: config.proxy.bind,
        sources: config.sources.iter().map(|source| source.name.as_str().into()).collect(),
        max_routes: config.limits.routes_per_gateway as usize,
        allowed: allowed(&config.gateway.allow_backends),
    }
}

/// In whose name statuses are written.
pub(super) fn speaker(settings: &Settings) -> Speaker {
    Speaker { controller: settings.controller.clone(), is_shard: settings.shard.is_part() }
}

/// Whether a local Envoy is wanted, and whether going on without one is an error.
pub(crate) fn wants_proxy(config: &Config) -> Option<bool> {
    match config.proxy.managed {
        Switch::On => Some(true),
        Switch::Auto => Some(false),
        Switch::Off => None,
    }
}
