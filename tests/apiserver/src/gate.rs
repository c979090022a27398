//! A gate in every connection: closed, nothing is read or written and nothing ends, as when the process is stopped
//! (SIGSTOP) or the network swallows everything.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One for all connections of a server.
#[derive(Default)]
pub struct Gate {
    closed: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
}

impl Gate {
    /// Nothing passes until it is opened.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Everything passes again.
    pub fn open(&self) {
        self.closed.store(false, Ordering::SeqCst);
        self.waiting.lock().drain(..).for_each(Waker::wake);
    }

    fn passes(&self, context: &Context) -> bool {
        if self.closed.load(Ordering::SeqCst) {
            self.waiting.lock().push(context.waker().clone());
        }
        // Asked again, since it may have been opened before the waker was there.
        !self.closed.load(Ordering::SeqCst)
    }
}

/// A connection through the gate.
pub struct Gated<T> {
    /// The connection.
    pub inner: T,
    /// Its gate.
    pub gate: Arc<Gate>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Gated<T> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.gate.passes(context) {
            return Poll::Pending;
        }
        Pin::new(&mut self.inner).poll_read(context, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Gated<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if !self.gate.passes(context) {
            return Poll::Pending;
        }
        Pin::new(&mut self.inner).poll_write(context, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.gate.passes(context) {
            return Poll::Pending;
        }
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
