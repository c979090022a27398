//! What the API shows of the snapshot.

use std::time::Duration;

use tidegate_actors::env::Env;
use tidegate_actors::persistence::{KeptType, Persistence};

use super::directory;
use crate::admin::Provider;
use crate::admin::snapshot::{SnapshotRestored, SnapshotStatus, SnapshotType};
use crate::config::Config;

/// Asked at each request.
pub fn shown(persistence: Option<&Persistence>, config: &Config, env: &Env) -> Provider<SnapshotStatus> {
    let fixed = SnapshotStatus {
        enabled: persistence.is_some(),
        reason: match persistence {
            Some(_) => None,
            None if config.snapshot.enabled => Some("its directory cannot be used; see the problems".to_owned()),
            None => Some("`snapshot.enabled` is false".to_owned()),
        },
        directory: directory(config),
        max_bytes: config.snapshot.max_size.bytes(),
        ..SnapshotStatus::default()
    };
    let (persistence, env, started) = (persistence.cloned(), env.clone(), env.clock.wall());
    std::sync::Arc::new(move || {
        let Some(persistence) = &persistence else { return fixed.clone() };
        let (status, now) = (persistence.status(), env.clock.wall());
        let since = |then: Duration| now.saturating_sub(then).as_secs_f64();
        SnapshotStatus {
            bytes: status.bytes,
            written_seconds: status.written.map(since),
            behind_seconds: status.behind.map(|behind| behind.as_secs_f64()),
            types: status.types.iter().map(|kept| of_type(kept, started)).collect(),
            problems: status.failing,
            set_aside: status.set_aside,
            ..fixed.clone()
        }
    })
}

fn of_type(kept: &KeptType, started: Duration) -> SnapshotType {
    let restored = |restored: tidegate_actors::persistence::RestoredType| SnapshotRestored {
        objects: restored.objects,
        age_seconds: restored.at.map(|at| started.saturating_sub(at).as_secs_f64()),
    };
    SnapshotType {
        name: kept.resource_type.plural_and_group(),
        version: kept.resource_type.version().to_owned(),
        source: kept.source.to_string(),
        bytes: kept.bytes,
        restored: kept.restored.map(restored),
        left_out: kept.left_out,
        held_back: kept.held_back,
        problem: kept.failing.clone(),
    }
}
