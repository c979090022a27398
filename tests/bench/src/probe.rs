//! How a user notices that a change is live: a connection to an Envoy, asked again and again.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Nothing that is measured takes this long.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Between two probes, so that probing leaves Envoy the time to change.
const PAUSE: Duration = Duration::from_micros(250);

/// A connection to an Envoy that is kept.
pub struct Probe {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Probe {
    /// Waits until somebody listens there.
    ///
    /// # Panics
    /// When nobody does for long.
    pub fn connect(address: Ipv4Addr) -> Self {
        let address = SocketAddr::from((address, 8080));
        let begun = Instant::now();
        loop {
            match TcpStream::connect(address) {
                Ok(stream) => {
                    stream.set_nodelay(true).unwrap_or_else(|error| panic!("{error}"));
                    return Self { stream, read: Vec::new() };
                }
                Err(error) => assert!(begun.elapsed() < PATIENCE, "nobody listens at {address}: {error}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The head of the answer of a route's host.
    fn ask(&mut self, n: usize) -> String {
        let request = format!("GET / HTTP/1.1\r\nhost: h{n}.example.com\r\n\r\n");
        self.stream.write_all(request.as_bytes()).unwrap_or_else(|error| panic!("a probe: {error}"));
        self.read.clear();
        let mut whole = None;
        while whole.is_none_or(|whole| self.read.len() < whole) {
            let mut buffer = [0; 4_096];
            let count = self.stream.read(&mut buffer).unwrap_or_else(|error| panic!("a probe: {error}"));
            assert!(count > 0, "Envoy closed the probe's connection");
            self.read.extend_from_slice(&buffer[..count]);
            whole = length(&String::from_utf8_lossy(&self.read));
        }
        String::from_utf8_lossy(&self.read).into_owned()
    }

    /// From an act to the first answer of route `n` that redirects to a version.
    ///
    /// # Panics
    /// When none comes for long.
    pub fn time(&mut self, act: impl FnOnce(), n: usize, version: usize) -> Duration {
        let wanted = format!("v{version}.example.com");
        let begun = Instant::now();
        act();
        loop {
            let answer = self.ask(n);
            let took = begun.elapsed();
            if answer.contains(&wanted) {
                return took;
            }
            assert!(
                took < PATIENCE,
                "version {version} of route {n} is not live after {PATIENCE:?}; the answer: {answer}"
            );
            std::thread::sleep(PAUSE);
        }
    }
}

/// How long an answer is, once its head is there.
fn length(answer: &str) -> Option<usize> {
    let head = answer.find("\r\n\r\n")? + 4;
    let body = answer[..head].lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    Some(head + body.unwrap_or(0))
}
