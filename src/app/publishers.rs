//! The takers: publishers and servers, as children of the supervisor.

use std::sync::Arc;

use parking_lot::Mutex;
use tidegate_actors::correlation::OutputBatch;
use tidegate_actors::env::Env;
use tidegate_actors::publisher::{self, PublishError, Publisher};
use tidegate_actors::supervisor::{ChildSpec, TaskContext};
use tokio_util::sync::CancellationToken;

use super::App;
use crate::admin::AdminServer;
use crate::admin::state::AdminState;
use crate::builder::Tidegate;
use crate::config::Config;
use crate::correlate::Outputs;
use crate::publish::json::{JsonFile, PublishedModel};
use crate::publish::status::{StatusPublisher, Told};
use crate::publish::step::{Steps, model_taps};
use crate::publish::traffic::Traffic;
use crate::publish::xds::{XdsPublisher, XdsServer};

/// The model over xDS, and in memory for the API.
struct ModelPublisher {
    outputs: Outputs,
    steps: Arc<Mutex<Steps>>,
    xds: XdsPublisher,
}

impl Publisher for ModelPublisher {
    async fn publish(&mut self, batch: &OutputBatch) -> Result<(), PublishError> {
        let update = self.steps.lock().step(batch, &self.outputs);
        self.xds.apply(&update);
        Ok(())
    }
}

/// The model in memory and, if the config says so, as a file.
struct JsonPublisher {
    outputs: Outputs,
    steps: Arc<Mutex<Steps>>,
    model: PublishedModel,
    file: Option<JsonFile>,
}

impl Publisher for JsonPublisher {
    async fn publish(&mut self, batch: &OutputBatch) -> Result<(), PublishError> {
        let update = self.steps.lock().step(batch, &self.outputs);
        self.model.apply(&update);
        match &self.file {
            Some(file) => file.write().await,
            None => Ok(()),
        }
    }
}

/// Ours, then those that another binary brought along.
pub(super) fn all(tidegate: &Tidegate, config: &Config, app: &App) -> Vec<ChildSpec> {
    let (env, correlation, outputs) = (&app.env, &app.correlation, *app.correlation.handles());
    let (xds, steps) = (app.xds.clone(), Arc::new(Mutex::new(Steps::default())));
    let to_xds = move || ModelPublisher { outputs, steps: steps.clone(), xds: xds.clone() };
    let (statuses, rejections) = (app.statuses.clone(), app.xds.rejections().clone());
    let told = Told::new(env, statuses, app.writer.clone(), app.teller.clone(), rejections);
    let status_told = told.clone();
    let traffic = traffic(app);
    let to_status = move || StatusPublisher::new(&outputs, status_told.clone(), traffic.clone());
    let mut all = vec![
        publisher::spec("xds", env, correlation, model_taps, to_xds),
        json(config, app),
        app.writer.workers(),
        app.teller.follow(),
        told.spec(),
        publisher::spec("status", env, correlation, StatusPublisher::taps, to_status),
    ];
    all.extend(tidegate.publishers.iter().filter_map(|make| make(config, env, correlation)));
    all
}

/// Proxies have what there is once nothing of it waits for the publisher, and all of them have confirmed it.
fn traffic(app: &App) -> Traffic {
    let (correlation, xds) = (app.correlation.clone(), app.xds.clone());
    Traffic::new(&app.env, move || correlation.waiting("xds") == 0 && xds.is_live())
}

/// The model for the API, and as a file if the config says so.
pub(super) fn json(config: &Config, app: &App) -> ChildSpec {
    let (env, outputs, json) = (app.env.clone(), *app.correlation.handles(), config.publish.json.clone());
    let (model, steps) = (app.model.clone(), app.steps.clone());
    let make = move || {
        let file = |path| JsonFile::new(&env, path, *json.interval, model.clone());
        JsonPublisher { outputs, steps: steps.clone(), model: model.clone(), file: json.path.clone().map(file) }
    };
    publisher::spec("json", &app.env, &app.correlation, model_taps, make)
}

/// The admin server. Its first life has the socket that was bound at the start, so that a taken address is a
/// start's error; later ones bind anew.
pub(super) fn admin(server: AdminServer, env: &Env, state: AdminState) -> ChildSpec {
    let again = server.again(env);
    let bound = Arc::new(Mutex::new(Some(server)));
    ChildSpec::task("admin", move |context: TaskContext| {
        let (first, again, state) = (bound.lock().take(), again.clone(), state.clone());
        async move {
            let server = match first {
                Some(first) => first,
                None => again().await?,
            };
            server.serve(state, context.stop).await;
            Ok(())
        }
    })
}

/// The xDS server, likewise.
pub(super) fn xds_server(server: XdsServer, publisher: &XdsPublisher) -> ChildSpec {
    let (bound, publisher) = (Arc::new(Mutex::new(Some(server))), publisher.clone());
    ChildSpec::task("xds-server", move |context: TaskContext| {
        let (first, publisher) = (bound.lock().take(), publisher.clone());
        async move {
            let server = match first {
                Some(first) => first,
                None => XdsServer::bind(&publisher).await?,
            };
            let stop = CancellationToken::new();
            let stopping = stop.clone();
            let _stops_with_us = stop.clone().drop_guard();
            let run = server.run(stop);
            tokio::pin!(run);
            tokio::select! {
                biased;
                ended = &mut run => return Ok(ended?),
                () = context.stop.stopped() => stopping.cancel(),
            }
            Ok(run.await?)
        }
    })
}
