//! The server's side of the wires: whoever dials gets a stream of the real xDS server code, which a restart of the
//! server, or the end of the process, cuts.

use std::sync::Arc;

use parking_lot::Mutex;
use tidegate::app::App;
use tidegate::publish::xds::{Variant, Wire, XdsPublisher};
use tidegate_actors::informer::InformerFactory;
use tidegate_actors::persistence::Persistence;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// See the module. Clones are one.
#[derive(Clone, Default)]
pub struct Front(Arc<Mutex<Inner>>);

/// One life of the process: what it holds, and what it began with.
#[derive(Clone)]
pub struct Life {
    pub factory: InformerFactory,
    pub persistence: Option<Persistence>,
}

#[derive(Default)]
struct Inner {
    publisher: Option<XdsPublisher>,
    life: Option<Life>,
    stop: CancellationToken,
    streams: Vec<JoinHandle<()>>,
}

impl Front {
    /// Somebody is there from now on.
    pub fn open(&self, app: &App) {
        let inner = &mut *self.0.lock();
        let life = Life { factory: app.factory.clone(), persistence: app.persistence.clone() };
        (inner.publisher, inner.life) = (Some(app.xds.clone()), Some(life));
    }

    /// The process is gone, and with it every stream.
    pub fn die(&self) {
        let inner = &mut *self.0.lock();
        (inner.publisher, inner.life) = (None, None);
        inner.streams.drain(..).for_each(|stream| stream.abort());
    }

    /// The server tells everybody to reconnect.
    pub fn cut_all(&self) {
        let inner = &mut *self.0.lock();
        std::mem::take(&mut inner.stop).cancel();
        inner.streams.clear();
    }

    /// A new stream, if anybody is there; and who can say what had not settled when it was answered first.
    pub fn dial(&self, variant: Variant, name: &str) -> Option<(Wire, Life)> {
        let inner = &mut *self.0.lock();
        let (wire, serve) = inner.publisher.as_ref()?.attach(variant, name, inner.stop.clone()).ok()?;
        inner.streams.retain(|stream| !stream.is_finished());
        inner.streams.push(tokio::spawn(serve));
        Some((wire, inner.life.clone()?))
    }
}
