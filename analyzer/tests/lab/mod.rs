//! The lab: real servers, proxies, clients and the two binaries under test.
//!
//! In: what `.ci/setup` installed. Out: running programs that end with their
//! guards, what they and the clients logged (the truth), and what a capture
//! says. The one idea: truth never comes from the code under test.
#![allow(dead_code, reason = "every test file uses its own part of the lab")]

pub mod browser;
pub mod capture;
pub mod causes;
pub mod chain;
pub mod check;
pub mod client;
pub mod clients;
pub mod duck;
pub mod envoy;
pub mod jaeger;
pub mod java;
pub mod judge;
pub mod load;
pub mod netns;
pub mod pictures;
pub mod process;
pub mod recording;
pub mod scarce;
pub mod servers;
pub mod steady;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use retrospan_testkit::{Turn, skip, turn};

/// How long any awaited condition may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The folder that `.ci/setup` fills.
pub fn cache() -> PathBuf {
    if let Some(dir) = std::env::var_os("RETROSPAN_LAB") {
        return PathBuf::from(dir);
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    cache.unwrap_or_else(home).join("retrospan-ci")
}

/// A program by name, from the lab's folder or PATH; its absence fails the test.
pub fn tool(name: &str) -> PathBuf {
    find(name).unwrap_or_else(|| panic!("`{name}` is not installed: run .ci/setup"))
}

fn find(name: &str) -> Option<PathBuf> {
    let own = [cache().join("bin"), cache().join("venv/bin")];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = own.into_iter().chain(std::env::split_paths(&path));
    dirs.map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// The workspace's root.
pub fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// An empty folder that goes away with its guard.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Copies a folder with all that is in it.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder to copy") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a file to copy");
        }
    }
}

/// A free TCP port below the ephemeral range, so that no client of this machine
/// can get it as its own.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % 190) as u16 * 100;
    for _ in 0..19_000 {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 12_000 + (start + offset) % 19_000;
        if TcpListener::bind(("::", port)).is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free TCP port between 12000 and 31000");
}

/// Polls until `condition` holds; fails the test, naming `what`, if it never does.
pub fn wait_for(what: &str, condition: impl FnMut() -> bool) {
    assert!(holds_within(PATIENCE, condition), "waited {PATIENCE:?} in vain for {what}");
}

/// Polls until `condition` holds or the time is up; says whether it did.
pub fn holds_within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let since = Instant::now();
    while !condition() {
        if since.elapsed() > limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

/// Nanoseconds since the epoch, UTC.
pub fn wall_ns() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(now.as_nanos()).expect("a clock before 2262")
}

/// CLOCK_BOOTTIME in nanoseconds: what captures are written in.
pub fn boot_ns() -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists since Linux 2.6.39 and `now` outlives the call.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) };
    assert_eq!(status, 0, "CLOCK_BOOTTIME");
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// What the tests of the lab run, beside what every Linux has.
const TOOLS: &str = "ab curl envoy go ip jaeger kdig knotc knotd nft nginx openssl python3 \
                     redis-benchmark redis-cli redis-server tc unbound unbound-control wget wrk";

/// A test's turn, where this machine has the lab and lets us load eBPF. Where not, the test is skipped.
#[track_caller]
pub fn ebpf_or_skip(test: &str) -> Option<Turn> {
    if let Err(why) = recording::try_ebpf() {
        skip::lacks(test, &format!("eBPF cannot be loaded here ({why})"));
        return None;
    }
    lab_or_skip(test)
}

/// A test's turn, where this machine has the lab. Where not, the test is skipped.
#[track_caller]
pub fn lab_or_skip(test: &str) -> Option<Turn> {
    let python = cache().join("venv/bin/python");
    let missing = TOOLS.split_whitespace().find(|name| find(name).is_none());
    match missing.or_else(|| (!python.is_file()).then_some("venv/bin/python")) {
        None => Some(turn()),
        Some(name) => {
            skip::lacks(test, &format!("`{name}` is not installed: run .ci/setup"));
            None
        }
    }
}
