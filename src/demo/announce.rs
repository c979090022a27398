//! What the demo prints when it is ready.

use std::path::Path;

use tidegate_actors::supervisor::{ChildSpec, TaskContext};

use super::BACKENDS;
use super::echo::EchoBackend;
use crate::app::App;

/// The demo's backends, to be supervised like everything else.
pub fn backends() -> impl Iterator<Item = ChildSpec> {
    BACKENDS.into_iter().map(|(name, port)| {
        ChildSpec::task(name, move |context: TaskContext| async move {
            let backend = EchoBackend::bind(name, ([127, 0, 0, 1], port).into()).await?;
            Ok(backend.run(async move { context.stop.stopped().await }).await?)
        })
    })
}

/// What to try, once the gateway answers. `proxy` says whether a local Envoy runs; `routes` is the file to edit.
pub fn announcement(app: &App, proxy: bool, routes: &Path) -> String {
    let mut lines = Vec::new();
    if proxy {
        lines.push("The gateway answers. Try:".to_owned());
        lines.push("  curl http://127.0.0.1:8080/".to_owned());
        lines.push("  curl http://127.0.0.1:8080/b".to_owned());
        lines.push("  curl -k --resolve demo.local:8443:127.0.0.1 https://demo.local:8443/".to_owned());
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
