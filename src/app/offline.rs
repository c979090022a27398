//! Manifests checked and translated without a server: the same catalogue, the same graph, one commit.

use std::path::Path;

use tidegate_actors::correlation::Graph;
use tidegate_actors::env::Env;
use tidegate_actors::problem::{Problem, Problems};

use super::configured::allowed;
use super::refusals::refusals;
use super::{Target, Translation};
use crate::builder::Tidegate;
use crate::config::BackendRange;
use crate::correlate::{self, Settings};
use crate::model::ModelUpdate;
use crate::publish::state::ModelState;
use crate::publish::step;
use crate::publish::xds::{self, XdsPublisher};
use crate::source::directory::{Loaded, Options, load};

/// The source's name in offline translations.
const SOURCE: &str = "files";

/// What is wrong with a file or directory of manifests, where endpoints may have the addresses that are allowed.
///
/// # Errors
/// When it cannot be read at all.
pub fn check(tidegate: &Tidegate, path: &Path, allow: &[BackendRange]) -> anyhow::Result<Vec<Problem>> {
    Ok(translated(tidegate, path, allow)?.1)
}

/// Translates a file or directory of manifests.
///
/// # Errors
/// When it cannot be read at all.
pub fn translate(
    tidegate: &Tidegate,
    path: &Path,
    target: Target,
    allow: &[BackendRange],
) -> anyhow::Result<Translation> {
    let (update, mut problems) = translated(tidegate, path, allow)?;
    let output = match target {
        Target::Model => {
            let mut state = ModelState::default();
            state.apply(&update);
            serde_json::to_value(&state)?
        }
        Target::Xds => {
            // What proxies would be sent, by the code that sends it; nobody is connected.
            let found = Problems::default();
            let publisher = XdsPublisher::new(xds::Options::default(), found.clone(), Env::system());
            publisher.apply(&update);
            problems.extend(found.list().into_iter().map(|(_, problem)| problem));
            xds::document(&publisher.text()?)?
        }
    };
    Ok(Translation { output, problems })
}

fn translated(tidegate: &Tidegate, path: &Path, allow: &[BackendRange]) -> anyhow::Result<(ModelUpdate, Vec<Problem>)> {
    let env = Env::system();
    let Loaded { objects, mut problems, .. } = load(Options::new(SOURCE, path), &env, tidegate.catalogue.clone())?;
    let found = Problems::default();
    let mut graph = Graph::new(&env, &found);
    let settings = Settings { sources: vec![SOURCE.into()], allowed: allowed(allow), ..Settings::default() };
    let outputs = correlate::build(&mut graph, &settings);
    for object in objects.values().flatten() {
        graph.feed(object.resource_type(), object.key(), Some(object));
    }
    graph.commit(1, None);
    problems.extend(found.list().into_iter().map(|(_, problem)| problem));
    problems.extend(refusals(&graph, &outputs));
    Ok((step::whole(&graph, &outputs, 1), problems))
}
