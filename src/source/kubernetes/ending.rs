//! The end of a stream in words, with the place and the remedy, and what has to be done about it here.

use tidegate_actors::source::SourceError;

use super::discover;
use super::failure::Ending;
use super::request::Target;
use super::shared::{Memory, Shared};

/// What the reflector is told. `listing`: the request that ended was a list.
pub(super) async fn conclude(
    shared: &Shared,
    memory: &Memory,
    target: &Target,
    listing: bool,
    generation: u64,
    ending: Ending,
) -> SourceError {
    match ending {
        Ending::Retry { reason, after } => SourceError::Retry { reason, after },
        Ending::Relist { reason } => SourceError::Relist { reason },
        Ending::Unauthorized { reason } => {
            shared.pool.refused(generation).await;
            SourceError::retry(format!("the API server refused the credentials, which are read again: {reason}"))
        }
        Ending::Forbidden { reason } => SourceError::NotPermitted {
            reason: format!("{}; the API server says: {reason}", missing_rule(target, listing)),
        },
        Ending::Absent { reason } => absent(shared, memory, target, reason).await,
    }
}

/// The RBAC rule without which this cannot work, as it would stand in a Role.
fn missing_rule(target: &Target, listing: bool) -> String {
    let verbs = if listing { r#"["list", "watch"]"# } else { r#"["watch"]"# };
    let (group, plural) = (target.resource_type.group(), target.resource_type.plural());
    let place = match &target.namespace {
        Some(namespace) => format!("a Role in the namespace {namespace}"),
        None => "a ClusterRole".to_owned(),
    };
    format!(r#"missing RBAC rule in {place}: {{apiGroups: ["{group}"], resources: ["{plural}"], verbs: {verbs}}}"#)
}

/// The server does not have the type; of a kind that is known, another version will do.
async fn absent(shared: &Shared, memory: &Memory, target: &Target, reason: String) -> SourceError {
    let (of, asked) = (&target.resource_type, target.version.as_deref());
    let asked = asked.unwrap_or(of.version());
    let served = discover::versions(shared, of).await;
    let known = shared.reads_any_version(of, memory);
    let own = served.iter().any(|version| version == of.version());
    let other = if own { None } else { served.iter().find(|version| known && *version != asked) };
    memory.read_as(other.map(|version| version.as_str().into()));
    if own && asked == of.version() {
        // Discovery knows it, so it is only just coming.
        return SourceError::Absent { reason: format!("{of} is not served yet: {reason}") };
    }
    if own || other.is_some() {
        let version = other.map_or(of.version(), String::as_str);
        return SourceError::retry(format!("{of} is served in version {version}, which is read from now on"));
    }
    let remedy = match served.as_slice() {
        [] => "install its CustomResourceDefinition if it is wanted".to_owned(),
        served => format!("the API server has it as {}", served.join(", ")),
    };
    SourceError::Absent { reason: format!("{of} is not served by the API server ({remedy}): {reason}") }
}
