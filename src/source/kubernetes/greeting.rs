//! What an HTTP/2 server says first, read in passing: how many requests it takes at a time on this connection (RFC 9113,
//! "SETTINGS_MAX_CONCURRENT_STREAMS"). The client below knows it, but does not say, and lets what is above it wait.
//!
//! Law: the bytes go on as they come, whatever they are.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

/// Length, type, flags and stream of a frame.
const HEAD: usize = 9;

/// The type of a SETTINGS frame.
const SETTINGS: u8 = 4;

/// A setting: which, and its value.
const SETTING: usize = 6;

const MAX_CONCURRENT_STREAMS: u16 = 3;

/// A connection whose first frame is listened to.
pub(super) struct Greeted<C> {
    connection: C,
    listening: Option<Listening>,
}

struct Listening {
    heard: Vec<u8>,
    /// Gets the limit; `None` if there is none. Dropped when what comes first is no greeting.
    say: oneshot::Sender<Option<usize>>,
}

impl<C> Greeted<C> {
    /// The connection, and what it is told of its limit.
    pub fn new(connection: C) -> (Self, oneshot::Receiver<Option<usize>>) {
        let (say, said) = oneshot::channel();
        (Self { connection, listening: Some(Listening { heard: Vec::new(), say }) }, said)
    }

    fn hear(&mut self, bytes: &[u8]) {
        let Some(mut listening) = self.listening.take() else { return };
        listening.heard.extend_from_slice(bytes);
        match limit(&listening.heard) {
            Greeting::Incomplete => self.listening = Some(listening),
            // Nobody may wait for it any more.
            Greeting::Limit(limit) => _ = listening.say.send(limit),
            Greeting::None => {}
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Greeting {
    Incomplete,
    Limit(Option<usize>),
    /// It is no SETTINGS frame.
    None,
}

fn limit(heard: &[u8]) -> Greeting {
    let [a, b, c, kind, ..] = *heard else { return Greeting::Incomplete };
    let length = u32::from_be_bytes([0, a, b, c]) as usize;
    // A frame that is longer than anybody has settings would be kept for nothing.
    if kind != SETTINGS || length > 64 * SETTING {
        return Greeting::None;
    }
    let Some(settings) = heard.get(HEAD..HEAD + length) else { return Greeting::Incomplete };
    let mut limits = settings.chunks_exact(SETTING).filter_map(|setting| match *setting {
        [a, b, v, w, x, y] if u16::from_be_bytes([a, b]) == MAX_CONCURRENT_STREAMS => {
            Some(u32::from_be_bytes([v, w, x, y]) as usize)
        }
        _ => None,
    });
    Greeting::Limit(limits.next_back())
}

impl<C: AsyncRead + Unpin> AsyncRead for Greeted<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.connection).poll_read(context, buffer);
        if self.listening.is_some()
            && let Some(bytes) = buffer.filled().get(before..)
        {
            self.hear(bytes);
        }
        read
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Greeted<C> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn mk_settings(settings: &[(u16, u32)]) -> Vec<u8> {
        let payload: Vec<u8> =
            settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
        [vec![0, 0, u8::try_from(payload.len()).unwrap(), SETTINGS, 0, 0, 0, 0, 0], payload].concat()
    }

    #[test]
    fn the_limit_is_read_from_among_other_settings_and_may_be_absent() {
        assert_eq!(limit(&mk_settings(&[(4, 65_535), (3, 7), (6, 1)])), Greeting::Limit(Some(7)));
        assert_eq!(limit(&mk_settings(&[(4, 65_535)])), Greeting::Limit(None));
        assert_eq!(limit(&mk_settings(&[])), Greeting::Limit(None));
        assert_eq!(limit(b"HTTP/1.1 400 Bad Request\r\n"), Greeting::None);
    }

    #[tokio::test]
    async fn a_greeting_that_comes_byte_by_byte_is_heard_and_every_byte_goes_on() {
        let (mut server, client) = tokio::io::duplex(1);
        let (mut greeted, said) = Greeted::new(client);
        let sent = [mk_settings(&[(3, 250)]), b"more".to_vec()].concat();
        let expected = sent.clone();
        let write = async move {
            server.write_all(&sent).await.unwrap();
            drop(server);
        };
        let mut got = Vec::new();
        let (read, ()) = tokio::join!(greeted.read_to_end(&mut got), write);
        read.unwrap();
        assert_eq!(got, expected);
        assert_eq!(said.await, Ok(Some(250)));
    }
}
