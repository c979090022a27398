//! Ports for programs that are told where to listen. They lie below the ports that the system gives to outgoing
//! connections, and each is locked over the whole machine for as long as this process lives, so that suites which run
//! at the same time never meet.

use std::fs::{File, OpenOptions};
use std::net::TcpListener;
use std::sync::Mutex;

const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// The locks, and which port to try next.
static LEASES: Mutex<(Vec<File>, u16)> = Mutex::new((Vec::new(), 0));

/// So many different TCP ports of loopback that are free and stay ours.
pub fn free_ports<const N: usize>() -> [u16; N] {
    [(); N].map(|()| free_port())
}

/// One TCP port of loopback that is free and stays ours.
pub fn free_port() -> u16 {
    let mut leases = LEASES.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let folder = std::env::temp_dir().join("tidegate-test-ports");
    std::fs::create_dir_all(&folder).expect("a folder for locks");
    // Processes begin at different places, so that they seldom try the same port.
    let begin = (std::process::id() % u32::from(COUNT)) as u16;
    for _ in 0..COUNT {
        let port = FIRST + (begin + leases.1) % COUNT;
        leases.1 += 1;
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(folder.join(port.to_string()));
        let Ok(file) = file else { continue };
        let free = file.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok();
        if free {
            leases.0.push(file);
            return port;
        }
    }
    panic!("no port is free between {FIRST} and {}", FIRST + COUNT);
}
