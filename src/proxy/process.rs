//! A process that may not be our child: who it is, whether it lives, its end, signals to it. Linux: `/proc` and pidfd.
//!
//! Law: a process is its number, its start time and the boot that it started in; a number that was given to another
//! process is never signalled.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// Which process, beyond its number, which is given again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProcessIdentity {
    /// Its number.
    pub pid: u32,
    /// When it started, in the kernel's clock ticks since boot.
    pub start_time: u64,
    /// Which boot of which machine that was.
    pub boot_id: String,
}

impl ProcessIdentity {
    /// The identity of the live process that has this number now.
    pub(super) fn of(pid: u32) -> io::Result<Option<Self>> {
        let Some(start_time) = start_time(pid)? else { return Ok(None) };
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        Ok(Some(Self { pid, start_time, boot_id }))
    }
}

/// How often a process that is not our child is looked at.
const PAUSE: Duration = Duration::from_millis(50);

/// A handle to a live process.
pub(super) struct Process {
    identity: ProcessIdentity,
    handle: OwnedFd,
}

impl Process {
    /// Opens the process, if it still is the one meant and alive.
    pub(super) fn open(identity: &ProcessIdentity) -> io::Result<Option<Self>> {
        let Some(pid) = i32::try_from(identity.pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
        let handle = match pidfd_open(pid, PidfdFlags::NONBLOCK) {
            Ok(handle) => handle,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // From here on the handle means one process for ever; whether that is the one meant is asked only now.
        if ProcessIdentity::of(identity.pid)?.as_ref() != Some(identity) {
            return Ok(None);
        }
        Ok(Some(Self { identity: identity.clone(), handle }))
    }

    /// Waits until it has ended. (tokio's safe way to await a pidfd is deprecated, and this costs two system calls a
    /// turn.)
    pub(super) async fn ended(&self) -> io::Result<()> {
        while start_time(self.identity.pid)? == Some(self.identity.start_time) {
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Asks it to end.
    pub(super) fn terminate(&self) -> io::Result<()> {
        self.signal(Signal::TERM)
    }

    /// Ends it.
    pub(super) fn kill(&self) -> io::Result<()> {
        self.signal(Signal::KILL)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.handle, signal) {
            // It has ended already.
            Err(rustix::io::Errno::SRCH) => Ok(()),
            sent => Ok(sent?),
        }
    }
}

/// The live processes whose arguments hold these, side by side. Those whose arguments we may not read are not ours.
pub(super) fn started_with(wanted: &[OsString]) -> io::Result<Vec<ProcessIdentity>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(arguments) = fs::read(format!("/proc/{pid}/cmdline")) else { continue };
        let arguments: Vec<&[u8]> = arguments.split(|byte| *byte == 0).collect();
        let same = |window: &[&[u8]]| window.iter().zip(wanted).all(|(one, other)| *one == other.as_encoded_bytes());
        if arguments.windows(wanted.len().max(1)).any(same) {
            found.extend(ProcessIdentity::of(pid)?);
        }
    }
    Ok(found)
}

/// When the process with this number started; `None` when there is none, or one that has ended and is only not waited
/// for yet.
fn start_time(pid: u32) -> io::Result<Option<u64>> {
    let stat = match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat,
        // Read after the process ended, an open file of /proc answers with ESRCH.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(parse_stat(&stat))
}

/// proc_pid_stat(5): the name stands in parentheses and may hold any character, so what follows the last one counts:
/// the state is the first field after it, the start time the twentieth.
fn parse_stat(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X" | "x") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    fn mk_child() -> Child {
        Command::new("sleep").arg("600").spawn().unwrap()
    }

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 1";
        assert_eq!(parse_stat(stat), Some(98765));
        assert_eq!(parse_stat(&stat.replace(" S ", " Z ")), None, "a zombie is no live process");
        assert_eq!(parse_stat("7 (a"), None);
    }

    #[tokio::test]
    async fn the_end_of_a_process_is_noticed_and_its_number_alone_opens_nothing() {
        let mut child = mk_child();
        let identity = ProcessIdentity::of(child.id()).unwrap().unwrap();
        let process = Process::open(&identity).unwrap().unwrap();
        let later = ProcessIdentity { start_time: identity.start_time + 1, ..identity.clone() };
        assert!(Process::open(&later).unwrap().is_none());
        let other_boot = ProcessIdentity { boot_id: "another".to_owned(), ..identity.clone() };
        assert!(Process::open(&other_boot).unwrap().is_none());

        process.kill().unwrap();

        tokio::time::timeout(Duration::from_secs(10), process.ended()).await.unwrap().unwrap();
        assert!(Process::open(&identity).unwrap().is_none(), "a zombie is not opened");
        child.wait().unwrap();
        process.terminate().unwrap();
        assert_eq!(ProcessIdentity::of(identity.pid).unwrap(), None);
    }

    #[test]
    fn processes_are_found_by_arguments_that_stand_side_by_side() {
        let mut child = Command::new("sleep").args(["601", "602", "603"]).spawn().unwrap();
        let find = |wanted: [&str; 2]| {
            let found = started_with(&wanted.map(OsString::from)).unwrap();
            found.iter().any(|identity| identity.pid == child.id())
        };
        // The arguments are its own only once it has replaced the fork.
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        let found = loop {
            let found = find(["602", "603"]);
            if found || std::time::Instant::now() > deadline {
                break found;
            }
        };
        let apart = find(["601", "603"]);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found && !apart, "{found} {apart}");
    }
}
