//! The recorder at work on the traffic, run as `retrospan record` runs it.

use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::child::Bound;
use super::interrupted::Interrupted;
use super::steps::Reason;
use crate::commands::record;

/// Loading the kernel programs takes a few seconds.
const BEGINS_WITHIN: Duration = Duration::from_secs(60);
/// So does finishing the files.
const ENDS_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks whether the user wants the end.
const TICK: Duration = Duration::from_millis(100);
/// The recorder's own name before what it says.
const PREFIX: &str = "retrospan-record: ";

/// The recorder's program.
pub struct Program {
    path: PathBuf,
    /// Its name and version.
    pub version: String,
}

impl Program {
    /// Looks where `retrospan record` looks, and asks it for its version.
    pub fn find() -> Result<Program, Reason> {
        for path in record::candidates() {
            let asked = Command::new(&path).arg("--version").stdin(Stdio::null()).output();
            match asked {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(Reason::of(format!("{}: {e}", path.display()))),
                Ok(output) => {
                    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
                    return Ok(Program { path, version });
                }
            }
        }
        Err(Reason::advise(
            format!("{} is neither beside this program nor in PATH", record::PROGRAM),
            "Put it beside retrospan: both programs come from one build.",
        ))
    }
}

/// A recording under way.
pub struct Recording {
    program: Bound,
    started: Instant,
    length: Duration,
    lines: Receiver<String>,
    said: Vec<String>,
}

impl Recording {
    /// Starts to record one port for some time.
    pub fn start(program: &Program, port: u16, length: Duration, capture: &Path) -> io::Result<Recording> {
        let mut command = Command::new(&program.path);
        command.args(["--port", &port.to_string(), "--duration", &format!("{}s", length.as_secs())]);
        command.arg("-o").arg(capture).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut program = Bound::start(&mut command)?;
        let (sender, lines) = channel();
        if let Some(stderr) = program.0.stderr.take() {
            thread::Builder::new().name("recorder".to_owned()).spawn(move || {
                let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
                // Ends with the recorder, or when nobody listens any more.
                let _ = lines.try_for_each(|line| sender.send(line));
            })?;
        }
        Ok(Recording { program, started: Instant::now(), length, lines, said: Vec::new() })
    }

    /// Waits until it records; how long that took.
    pub fn begun(&mut self, interrupted: &Interrupted) -> Result<Duration, Reason> {
        while self.started.elapsed() < BEGINS_WITHIN {
            interrupted.check()?;
            match self.lines.recv_timeout(TICK) {
                Ok(line) if line.starts_with("recording to ") => return Ok(self.started.elapsed()),
                Ok(line) => self.said.push(line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(self.refusal()),
            }
        }
        Err(Reason::of(format!("the recorder does not begin within {} s", BEGINS_WITHIN.as_secs())))
    }

    /// Waits until it is over. What the recorder says of it, without the command lines' own.
    pub fn ended(&mut self, interrupted: &Interrupted) -> Result<Vec<String>, Reason> {
        let begun = Instant::now();
        loop {
            if let Err(reason) = interrupted.check() {
                self.program.signal(Signal::TERM);
                return Err(reason);
            }
            match self.lines.recv_timeout(TICK) {
                Ok(line) => self.said.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) if begun.elapsed() < self.length + ENDS_WITHIN => {}
                Err(RecvTimeoutError::Timeout) => return Err(Reason::of("the recorder does not end")),
            }
        }
        let status = self.program.0.wait()?;
        if status.success() { Ok(self.summary()) } else { Err(self.failure(status)) }
    }

    /// The lines of its summary, without the place that is removed.
    fn summary(&self) -> Vec<String> {
        let line = |line: &String| {
            let line = line.strip_prefix(PREFIX).unwrap_or(line);
            line.rsplit_once(" in ")
                .filter(|_| line.starts_with("recorded "))
                .map_or(line, |(line, _)| line)
                .to_owned()
        };
        self.said.iter().map(line).collect()
    }

    fn failure(&self, status: ExitStatus) -> Reason {
        let last = self.said.last().map_or_else(|| status.to_string(), |line| own_words(line));
        Reason::advise(
            last,
            "The recorder ran, but not to its end. The line above says why; run it alone to see more: retrospan-record --help",
        )
    }

    /// Why it never began: its own words say which privilege or kernel feature is missing.
    fn refusal(&mut self) -> Reason {
        let words = self.said.last().map(|line| own_words(line));
        let advice = if rustix::process::geteuid().is_root() {
            "The recorder cannot work on this host as it is. docs/limits.md says which kernels it needs."
        } else {
            "Recording needs privileges: sudo retrospan selftest"
        };
        Reason::advise(words.unwrap_or_else(|| "the recorder ended without a word".to_owned()), advice)
    }
}

fn own_words(line: &str) -> String {
    line.strip_prefix(PREFIX).unwrap_or(line).to_owned()
}
