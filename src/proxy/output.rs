//! Envoy's output, read from the file that it appends to, into our log. A file and no pipe: Envoy outlives us, and
//! nobody reads a pipe then.
//!
//! Law: the file stays below its limit as long as we run. What is cut off has been read.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::Duration;

use tracing::Level;

/// How Envoy is told to begin each line.
pub(super) const LOG_FORMAT: &str = "[%l][%n] %v";

const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_LINE: usize = 8 * 1024;
/// At most so much is read at once, so that an Envoy that logs without end holds up nobody.
const AT_ONCE: usize = 1024 * 1024;

/// The reader of one log file.
pub(super) struct Output {
    file: File,
    offset: u64,
    limit: u64,
    partial: Vec<u8>,
    level: Level,
    last_words: Option<String>,
}

impl Output {
    /// Opens a log, at its beginning or, for an Envoy that was there before us, at its end.
    pub(super) fn open(path: &Path, limit: u64, from_end: bool) -> io::Result<Self> {
        let mut file = File::options().read(true).write(true).open(path)?;
        let offset = if from_end { file.seek(SeekFrom::End(0))? } else { 0 };
        Ok(Self { file, offset, limit, partial: Vec::new(), level: Level::INFO, last_words: None })
    }

    /// Logs what Envoy writes, for ever.
    pub(super) async fn follow(&mut self) {
        loop {
            self.pump();
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Logs what Envoy has written since the last time.
    pub(super) fn pump(&mut self) {
        if let Err(error) = self.read(&mut emit) {
            tracing::warn!(%error, "could not read Envoy's output");
        }
    }

    /// The last line of level error or worse, or without any level: what an Envoy that ended has to say about it.
    pub(super) fn last_words(&self) -> Option<&str> {
        self.last_words.as_deref()
    }

    fn read(&mut self, emit: &mut dyn FnMut(Level, &str, &str)) -> io::Result<()> {
        match self.file.metadata()?.len() {
            length if length == self.offset && length <= self.limit => return Ok(()),
            length if length < self.offset => {
                // Somebody else has cut it.
                self.offset = self.file.seek(SeekFrom::Start(0))?;
                self.partial.clear();
            }
            _ => {}
        }
        let mut buffer = vec![0; 16 * 1024];
        let mut total = 0;
        while total < AT_ONCE {
            let read = self.file.read(&mut buffer)?;
            if read == 0 {
                if self.offset > self.limit {
                    self.file.set_len(0)?;
                    self.offset = self.file.seek(SeekFrom::Start(0))?;
                }
                break;
            }
            total += read;
            self.offset += read as u64;
            for piece in buffer[..read].split_inclusive(|byte| *byte == b'\n') {
                self.partial.extend_from_slice(piece);
                if piece.ends_with(b"\n") || self.partial.len() > LONGEST_LINE {
                    self.line(emit);
                }
            }
        }
        Ok(())
    }

    fn line(&mut self, emit: &mut dyn FnMut(Level, &str, &str)) {
        let line = String::from_utf8_lossy(&self.partial);
        let line: String =
            line.trim_end().chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect();
        self.partial.clear();
        if line.is_empty() {
            return;
        }
        let parsed = parse(&line);
        // A line that does not begin as it should goes on with the one before, or is not from the logger: a crash, say.
        let (level, logger, message) = parsed.unwrap_or((self.level, "", &line));
        self.level = level;
        if parsed.is_none() || level == Level::ERROR {
            self.last_words = Some(message.to_owned());
        }
        emit(level, logger, message);
    }
}

/// `[warning][config] text` -> level, logger, text.
fn parse(line: &str) -> Option<(Level, &str, &str)> {
    let (level, rest) = line.strip_prefix('[')?.split_once("][")?;
    let (logger, message) = rest.split_once("] ")?;
    let level = match level {
        "critical" | "error" => Level::ERROR,
        "warning" => Level::WARN,
        "info" => Level::INFO,
        "debug" => Level::DEBUG,
        "trace" => Level::TRACE,
        _ => return None,
    };
    Some((level, logger, message))
}

/// A level is part of an event's place in the code, so each has its own line.
fn emit(level: Level, logger: &str, message: &str) {
    match level {
        Level::ERROR => tracing::error!(target: "envoy", logger, "{message}"),
        Level::WARN => tracing::warn!(target: "envoy", logger, "{message}"),
        Level::INFO => tracing::info!(target: "envoy", logger, "{message}"),
        Level::DEBUG => tracing::debug!(target: "envoy", logger, "{message}"),
        Level::TRACE => tracing::trace!(target: "envoy", logger, "{message}"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::path::PathBuf;

    use super::*;

    struct Rig {
        _root: tempfile::TempDir,
        path: PathBuf,
        writer: File,
    }

    fn mk_rig() -> Rig {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("envoy.log");
        let writer = File::options().create(true).append(true).open(&path).unwrap();
        Rig { _root: root, path, writer }
    }

    fn read(output: &mut Output) -> Vec<(Level, String, String)> {
        let mut lines = Vec::new();
        output.read(&mut |level, logger, message| lines.push((level, logger.to_owned(), message.to_owned()))).unwrap();
        lines
    }

    fn mk_line(level: Level, logger: &str, message: &str) -> (Level, String, String) {
        (level, logger.to_owned(), message.to_owned())
    }

    #[test]
    fn a_line_keeps_its_level_its_logger_and_its_text() {
        let mut rig = mk_rig();
        let mut output = Output::open(&rig.path, 1000, false).unwrap();
        rig.writer.write_all(b"[warning][config] a [b][c] d\n[critical][main] gone\n[info][main] begun").unwrap();

        let lines = read(&mut output);
        assert_eq!(
            lines,
            [mk_line(Level::WARN, "config", "a [b][c] d"), mk_line(Level::ERROR, "main", "gone")],
            "a line without its end waits"
        );
        assert_eq!(output.last_words(), Some("gone"));
        rig.writer.write_all(b" well\n").unwrap();
        assert_eq!(read(&mut output), [mk_line(Level::INFO, "main", "begun well")]);
    }

    #[test]
    fn what_is_not_from_the_logger_goes_on_with_the_line_before() {
        let mut rig = mk_rig();
        let mut output = Output::open(&rig.path, 1000, false).unwrap();
        rig.writer.write_all(b"[error][main] first\n  second \x1b[31m\n\n[odd] third\n").unwrap();
        let expected = [
            mk_line(Level::ERROR, "main", "first"),
            mk_line(Level::ERROR, "", "  second \u{fffd}[31m"),
            mk_line(Level::ERROR, "", "[odd] third"),
        ];
        assert_eq!(read(&mut output), expected);
    }

    #[test]
    fn the_file_is_cut_when_it_is_read_and_over_its_limit() {
        let mut rig = mk_rig();
        let mut output = Output::open(&rig.path, 20, false).unwrap();
        rig.writer.write_all(b"[info][a] one\n[info][a] two\n").unwrap();
        assert_eq!(read(&mut output).len(), 2);
        assert_eq!(rig.writer.metadata().unwrap().len(), 0);

        rig.writer.write_all(b"[info][a] three\n").unwrap();
        assert_eq!(read(&mut output), [mk_line(Level::INFO, "a", "three")]);
        assert_eq!(rig.writer.metadata().unwrap().len(), 16, "it is below its limit");
    }

    #[test]
    fn an_adopted_envoys_old_lines_are_not_told_again() {
        let mut rig = mk_rig();
        rig.writer.write_all(b"[info][a] old\n").unwrap();
        let mut output = Output::open(&rig.path, 1000, true).unwrap();
        rig.writer.write_all(b"[info][a] new\n").unwrap();
        assert_eq!(read(&mut output), [mk_line(Level::INFO, "a", "new")]);
    }

    #[test]
    fn a_line_without_end_is_cut_and_bounded() {
        let mut rig = mk_rig();
        let mut output = Output::open(&rig.path, 1_000_000, false).unwrap();
        rig.writer.write_all(&vec![b'x'; 40_000]).unwrap();
        let lines = read(&mut output);
        assert!(!lines.is_empty());
        assert!(lines.iter().all(|line| line.2.len() < 32 * 1024));
    }
}
