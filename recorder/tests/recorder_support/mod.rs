//! A recorder as a program of its own, and what is in the capture that it made.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int64Type};
use retrospan_formats::reader::Capture;
use retrospan_formats::table::Table;
use retrospan_testkit::{Turn, skip, turn};

pub const BINARY: &str = env!("CARGO_BIN_EXE_retrospan-record");

/// What the tests run, beside what every Linux has.
const TOOLS: [&str; 8] = ["curl", "fsfreeze", "ip", "mkfs.ext4", "mount", "nft", "python3", "unshare"];

/// A test's turn, where the kernel programs can be loaded. Where not, the test is skipped.
#[track_caller]
pub fn ebpf_or_skip(test: &str) -> Option<Turn> {
    if !is_root() || !Path::new("/sys/kernel/btf/vmlinux").exists() {
        skip::lacks(test, "eBPF cannot be loaded here (not root, or the kernel has no BTF)");
        return None;
    }
    if let Some(name) = skip::missing(&TOOLS) {
        skip::lacks(test, &format!("`{name}` is not installed: run .ci/setup"));
        return None;
    }
    Some(turn())
}

pub fn is_root() -> bool {
    // SAFETY: geteuid has no preconditions.
    unsafe { libc::geteuid() == 0 }
}

/// A place for captures that goes away.
pub struct Place(pub tempfile::TempDir);

impl Place {
    pub fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// Runs a recorder to its end.
pub fn record(path: &Path, arguments: &[&str]) -> Output {
    Command::new(BINARY).arg("-o").arg(path).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// What a program said.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A recorder that records.
pub struct Recorder {
    pub child: Child,
    pub stderr: BufReader<ChildStderr>,
    pub path: PathBuf,
}

impl Recorder {
    /// Starts it and waits until it records.
    pub fn start(path: PathBuf, arguments: &[&str]) -> Recorder {
        let mut command = Command::new(BINARY);
        command.arg("-o").arg(&path).args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        assert_eq!(line, format!("recording to {}\n", path.display()));
        Recorder { child, stderr, path }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: libc::c_int) {
        // SAFETY: the child has not been waited for, so the pid is its own.
        assert_eq!(unsafe { libc::kill(self.child.id() as libc::pid_t, signal) }, 0);
    }

    /// Ends it with a signal; its exit code and the rest of what it said.
    pub fn end(self, signal: libc::c_int) -> (Option<i32>, String) {
        self.signal(signal);
        self.wait()
    }

    /// Waits until it has ended; its exit code and the rest of what it said.
    pub fn wait(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }

    pub fn finish(self) -> Capture {
        let path = self.path.clone();
        let (code, said) = self.end(libc::SIGINT);
        // Evidence alone is a capture too.
        let no_socket = said.contains("nothing matched") || said.contains("no socket was open");
        assert_eq!(code, Some(i32::from(no_socket)), "{said}");
        Capture::open(&path).unwrap()
    }
}

pub fn rows(capture: &Capture, table: &'static Table) -> RecordBatch {
    let batches: Vec<_> = capture.read(table).collect::<Result<_, _>>().unwrap();
    arrow::compute::concat_batches(&table.schema(), &batches).unwrap()
}

/// A column as numbers; null is `None`.
pub fn numbers(batch: &RecordBatch, name: &str) -> Vec<Option<i64>> {
    let column = arrow::compute::cast(batch.column_by_name(name).unwrap(), &DataType::Int64).unwrap();
    column.as_primitive::<Int64Type>().iter().collect()
}

/// A column as text; null is empty.
pub fn texts(batch: &RecordBatch, name: &str) -> Vec<String> {
    let column = arrow::compute::cast(batch.column_by_name(name).unwrap(), &DataType::Utf8).unwrap();
    column.as_string::<i32>().iter().map(|t| t.unwrap_or_default().to_owned()).collect()
}

/// The rows where a column has this text.
pub fn only(batch: &RecordBatch, name: &str, wanted: &str) -> RecordBatch {
    let marks = texts(batch, name).iter().map(|text| Some(text == wanted)).collect();
    arrow::compute::filter_record_batch(batch, &marks).unwrap()
}

/// The rows where a column has this number.
pub fn with(batch: &RecordBatch, name: &str, wanted: i64) -> RecordBatch {
    let marks = numbers(batch, name).iter().map(|&number| Some(number == Some(wanted))).collect();
    arrow::compute::filter_record_batch(batch, &marks).unwrap()
}
