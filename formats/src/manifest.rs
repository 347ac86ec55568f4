//! `manifest.json`: what a capture holds, rewritten after every part.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// Name of the manifest within a capture.
pub const MANIFEST: &str = "manifest.json";
/// Locked by the live recorder; without the lock a capture in state `recording` is interrupted.
pub const LOCK: &str = "recording.lock";
/// Ending of files that are not finished.
pub const TEMPORARY: &str = ".tmp";

/// Stands before the checksum, which is the last field of the file.
const BEFORE_CHECKSUM: &str = ",\n  \"xxh3\": \"";
/// Stands behind it.
const AFTER_CHECKSUM: &str = "\"\n}\n";
/// Its hexadecimal digits.
const CHECKSUM_DIGITS: usize = 16;

/// The manifest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Format of the whole capture.
    pub format_version: u32,
    /// 128 random bits, 32 lower-case hex digits; of an imported one a hash of what was imported.
    pub capture_id: String,
    /// How far the recording came.
    pub state: State,
    /// Where it was recorded.
    pub host: Host,
    /// What the recorder was told; COMMAND redacted.
    pub options: serde_json::Map<String, serde_json::Value>,
    /// `syscalls` or `sockets`; of an imported one `packets` or `traces`.
    pub probe_set: String,
    /// Why it is `syscalls`, where `sockets` was tried first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe_set_reason: Option<String>,
    /// Version of the recorder.
    pub recorder_version: String,
    /// What it was made of, where nothing was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported: Option<Imported>,
    /// Of a recording that keeps the latest only: what it has let go of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled: Option<Rolled>,
    /// Of a copy that was made while the recording went on: why, such as `SIGUSR1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<String>,
    /// Which limit ended the recording before its time, such as `--max-disk 10g`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<String>,
    /// CLOCK_BOOTTIME of the start of what is here, ns. Where parts were let go of, sockets that were opened before it are older
    /// than the capture.
    pub started_boot_ns: i64,
    /// CLOCK_REALTIME of that moment, ns.
    pub started_wall_ns: i64,
    /// CLOCK_BOOTTIME up to which everything is in finished files, ns.
    pub whole_until_boot_ns: i64,
    /// Finished files, by part, dimensions first.
    pub files: Vec<File>,
    /// Sums over the `loss` table.
    pub losses: Vec<Loss>,
    /// What was found of TLS libraries (`--tls`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// What the recording cost, known at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
}

impl Manifest {
    /// [`Manifest::probe_set`] of a capture that was made of packets.
    pub const PACKETS: &'static str = "packets";
    /// The same of one that was made of traces.
    pub const TRACES: &'static str = "traces";

    /// It was made of traces: nobody looked at sockets.
    pub fn is_of_traces(&self) -> bool {
        self.imported.is_some() && self.probe_set == Manifest::TRACES
    }

    /// The bytes of `manifest.json`. Their last field `xxh3` is XXH3-64 over all that stands before its comma.
    pub fn to_bytes(&self) -> serde_json::Result<Vec<u8>> {
        let mut text = serde_json::to_string_pretty(self)?;
        let end = "\n}".len();
        text.truncate(text.len().saturating_sub(end));
        let checksum = xxh3_64(text.as_bytes());
        text.push_str(&format!("{BEFORE_CHECKSUM}{checksum:016x}{AFTER_CHECKSUM}"));
        Ok(text.into_bytes())
    }
}

/// Whether the bytes of a manifest are as they were written. The first versions wrote no checksum; their last field is no
/// text, so that a checksum whose own name is damaged does not pass for none.
pub(crate) fn is_intact(text: &[u8]) -> bool {
    let Some(rest) = text.strip_suffix(AFTER_CHECKSUM.as_bytes()) else { return true };
    let Some((rest, digits)) = rest.split_last_chunk::<CHECKSUM_DIGITS>() else { return false };
    let Some(checked) = rest.strip_suffix(BEFORE_CHECKSUM.as_bytes()) else { return false };
    format!("{:016x}", xxh3_64(checked)).as_bytes() == digits
}

/// How far a recording came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The recorder is at work, or was killed at it.
    Recording,
    /// Ended cleanly.
    Complete,
    /// Found without its recorder and marked so.
    Interrupted,
}

impl State {
    /// The word used in the manifest and by `info`.
    pub const fn name(self) -> &'static str {
        match self {
            State::Recording => "recording",
            State::Complete => "complete",
            State::Interrupted => "interrupted",
        }
    }
}

/// TLS libraries and their sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    /// Where they were found.
    pub files: Vec<TlsFile>,
    /// Sessions that were recorded.
    pub sessions: u64,
    /// Those of them of which no socket is known that they are on.
    pub untied: u64,
}

/// A file with a TLS library in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsFile {
    /// Its path, as the first process that was found to use it sees it.
    pub file: String,
    /// `openssl`, `gnutls` or `go`.
    pub library: String,
    /// Functions of it that were attached to.
    pub functions: u32,
    /// Why none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Packet captures or traces that a capture was made of. Nothing is known of the host then; nor of processes, if they are packets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// Their names, without folders.
    pub files: Vec<String>,
}

/// What a recording that keeps the latest only (`--keep`) has let go of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rolled {
    /// CLOCK_REALTIME of the start of the recording, ns.
    pub recording_started_wall_ns: i64,
    /// Rows of `events` that are not here any more.
    pub events: u64,
    /// Bytes of files that are not here any more.
    pub bytes: u64,
}

/// Where a capture was recorded.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Host {
    /// Host name.
    pub name: String,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// Kernel release.
    pub kernel: String,
    /// Machine, such as `x86_64`.
    pub machine: String,
    /// CPUs that may be there.
    pub cpus: u32,
    /// The host's zone: seconds east of UTC at the start.
    pub utc_offset_s: i32,
}

/// A finished file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Table.
    pub table: String,
    /// Part number; of a file of several parts the last one.
    pub part: u32,
    /// Of a file of several parts the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_part: Option<u32>,
    /// Path relative to the capture.
    pub path: String,
    /// Rows.
    pub rows: u64,
    /// Size in bytes.
    pub bytes: u64,
    /// Smallest value of the table's time column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_boot_ns: Option<i64>,
    /// Largest value of the table's time column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_boot_ns: Option<i64>,
    /// xxh3-64 of the file, 16 lower-case hex digits.
    pub xxh3: String,
}

impl File {
    /// The first part that it holds rows of.
    pub fn first_part(&self) -> u32 {
        self.first_part.unwrap_or(self.part).min(self.part)
    }
}

/// Events lost for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// As `loss.kind`.
    pub kind: String,
    /// As `loss.cause`.
    pub cause: String,
    /// How many.
    pub count: u64,
}

/// Causes of what was left out on purpose, since a limit was reached: the options' names.
const LIMITS: [&str; 4] = ["max_rate", "max_cpu", "max_disk", "min_free_disk"];

impl Loss {
    /// Whether it was left out because a limit was reached, and not lost against the recorder's will.
    pub fn is_left_out(&self) -> bool {
        LIMITS.contains(&self.cause.as_str())
    }

    /// What was left out of so many sends and receives.
    pub fn left_out(&self) -> &'static str {
        match self.kind.as_str() {
            "continuation" => "the bytes of bodies",
            "bytes" => "all bytes",
            _ => "everything",
        }
    }
}

/// What a recording cost.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Cost {
    /// Wall time from attached to detached, s.
    pub elapsed_s: f64,
    /// CPU time of the recorder process in user mode, s.
    pub user_cpu_s: f64,
    /// CPU time of the recorder process in kernel mode, s.
    pub system_cpu_s: f64,
    /// Most resident memory of the recorder, bytes.
    pub peak_rss_bytes: u64,
    /// Time spent in the kernel programs, s, where the kernel was counting it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub programs_s: Option<f64>,
    /// Events recorded.
    pub events: u64,
}
