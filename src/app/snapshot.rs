//! What is kept on disk, as the config says: which types are secret, and with which key those are encrypted.

mod seal;

mod shown;

mod spared;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use tidegate_actors::env::Env;
use tidegate_actors::id::ResourceType;
use tidegate_actors::object::Object;
use tidegate_actors::persistence::{Persistence, PersistenceOptions, Sealer, Treatment};
use tidegate_actors::problem::{Problem, Problems, Serving};

use crate::builder::Tidegate;
use crate::config::{Config, SnapshotSecrets, matches};
use crate::resource::types;
use seal::Key;
pub(super) use shown::shown;
pub(super) use spared::are_spared;

/// Where the files are.
pub(super) fn directory(config: &Config) -> PathBuf {
    config.data_dir.join("snapshot")
}

/// What keeps the types, if the config wants it and the disk allows it.
///
/// # Errors
/// When the key cannot be read: going on would leave out what somebody wants to be kept.
pub(super) async fn open(
    tidegate: &Tidegate,
    config: &Config,
    env: &Env,
    problems: &Problems,
) -> anyhow::Result<Option<Persistence>> {
    let section = &config.snapshot;
    if !section.enabled {
        return Ok(None);
    }
    let mut options = PersistenceOptions::new(directory(config));
    options.gather = *section.interval;
    options.max_bytes = section.max_size.bytes();
    if let Some(path) = &section.key_file {
        let key = Key::read(&*env.disk, path).with_context(|| format!("snapshot.key_file: {}", path.display()))?;
        options.sealer = Some(Arc::new(key) as Arc<dyn Sealer>);
    }
    let secret = match section.secrets {
        Some(SnapshotSecrets::Omit) => Treatment::Omitted,
        Some(SnapshotSecrets::Encrypt) | None => Treatment::Sealed,
    };
    let confidential = section.confidential.clone();
    options.treatment =
        Arc::new(move |of| if is_secret(of) || matches(&confidential, of) { secret } else { Treatment::Plain });
    let catalogue = tidegate.catalogue.clone();
    options.readable = Arc::new(move |object: &Object| {
        let of = object.resource_type();
        let entry = catalogue.get(of.group(), of.kind()).filter(|entry| !entry.fails_closed);
        let schema = entry.and_then(|entry| entry.schema.as_ref());
        // One that makes the check panic is one that nobody can use; it must not end the writer each time.
        let good = || schema.is_none_or(|schema| schema.check(object.raw()).is_empty());
        catch_unwind(AssertUnwindSafe(good)).unwrap_or(false)
    });
    match Persistence::open(env, problems, options).await {
        Ok(persistence) => Ok(Some(persistence)),
        Err(error) => {
            let reason = format!("nothing is kept for the next start: {error}, or set `snapshot.enabled: false`");
            tracing::warn!(reason, "no snapshot");
            let place = directory(config).display().to_string();
            let problem = Problem { place, object: None, field: String::new(), reason, serving: Serving::Current };
            problems.set("snapshot", "directory", problem);
            Ok(None)
        }
    }
}

fn is_secret(of: &ResourceType) -> bool {
    let secret = types::secret();
    (of.group(), of.kind()) == (secret.group(), secret.kind())
}
