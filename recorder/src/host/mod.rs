//! The few questions to the operating system that the standard library has no answer for: clocks,
//! zone, random bits, kernel release, own cost.

pub mod cgroups;
pub mod command;
pub mod counters;
pub mod environment;
pub mod hierarchies;
pub mod jitter;
pub mod listeners;
pub mod pod_logs;
pub mod procfs;
pub mod shell;
pub mod signals;
pub mod throttles;

use std::ffi::CStr;
use std::fs;
use std::io;
use std::sync::OnceLock;

use retrospan_formats::manifest::{Cost, Host};
use rustix::process::Signal;
use rustix::rand::{GetRandomFlags, getrandom};
use rustix::system::uname;
use rustix::time::{ClockId, clock_gettime};

/// The host's CLOCK_BOOTTIME, which the kernel programs read, in ns.
pub fn boot_ns() -> u64 {
    host_boot_ns() as u64
}

fn host_boot_ns() -> i64 {
    clock_ns(ClockId::Boottime) - boot_offset_ns()
}

/// How long the host was not suspended since its boot, s.
pub fn awake_s() -> f64 {
    let suspended_ns = clock_ns(ClockId::Boottime) - clock_ns(ClockId::Monotonic);
    (host_boot_ns() - suspended_ns) as f64 / 1e9
}

/// How far this process's CLOCK_BOOTTIME, and the start times in its /proc, are ahead of the host's: a time namespace may
/// shift them (time_namespaces(7)). 0 where that is not known; see [`check_clock`].
pub fn boot_offset_ns() -> i64 {
    static OFFSET: OnceLock<i64> = OnceLock::new();
    *OFFSET.get_or_init(|| read_boot_offset().unwrap_or_default())
}

/// Checks that the host's clock can be told.
///
/// # Errors
/// Says why not and what to do.
pub fn check_clock() -> Result<(), &'static str> {
    read_boot_offset().map(drop)
}

fn read_boot_offset() -> Result<i64, &'static str> {
    // A kernel without time namespaces has neither file.
    let namespace = |name: &str| fs::read_link(format!("/proc/self/ns/{name}")).ok();
    if namespace("time") != namespace("time_for_children") {
        return Err(
            "this process is about to change its time namespace (unshare --time without --fork), so its clock cannot be related to the host's: start the recorder in one namespace or the other",
        );
    }
    let Ok(offsets) = fs::read_to_string("/proc/self/timens_offsets") else { return Ok(0) };
    parse_boot_offset(&offsets).ok_or("/proc/self/timens_offsets cannot be understood, so the clock of this time namespace cannot be related to the host's: start the recorder outside of it")
}

/// The offset of CLOCK_BOOTTIME in the text of `timens_offsets`: clock, seconds, nanoseconds.
fn parse_boot_offset(text: &str) -> Option<i64> {
    let mut lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = lines.find(|words| matches!(words.first(), Some(&("boottime" | "7"))))?;
    let number = |index: usize| line.get(index)?.parse::<i64>().ok();
    number(1)?.checked_mul(1_000_000_000)?.checked_add(number(2)?)
}

/// CLOCK_BOOTTIME and CLOCK_REALTIME at the same moment, in ns. Of several tries the one with the
/// least time between its readings counts, so that a preemption does not show up as a clock step.
pub fn clock_sample() -> (i64, i64) {
    let read = || {
        let before = host_boot_ns();
        let wall = clock_ns(ClockId::Realtime);
        let after = host_boot_ns();
        (after - before, before + (after - before) / 2, wall)
    };
    let best = (0..5).map(|_| read()).min().unwrap_or_else(read);
    (best.1, best.2)
}

fn clock_ns(clock: ClockId) -> i64 {
    let time = clock_gettime(clock);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// 128 random bits as 32 lower-case hex digits.
pub fn random_id() -> io::Result<String> {
    Ok(format!("{:032x}", u128::from_be_bytes(random_bytes()?)))
}

/// 128 random bits.
pub fn random_bytes() -> io::Result<[u8; 16]> {
    let mut bytes = [0u8; 16];
    // Requests up to 256 bytes are never cut.
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(bytes)
}

/// Where the recording is made.
pub fn describe(wall_ns: i64, cpus: u32) -> Host {
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let names = uname();
    let text = |name: &CStr| name.to_string_lossy().into_owned();
    Host {
        name: text(names.nodename()),
        boot_id: boot_id.trim().to_owned(),
        kernel: text(names.release()),
        machine: text(names.machine()),
        cpus,
        utc_offset_s: utc_offset_s(wall_ns),
    }
}

/// Seconds east of UTC in the host's zone at that moment.
pub fn utc_offset_s(wall_ns: i64) -> i32 {
    let seconds: libc::time_t = wall_ns.div_euclid(1_000_000_000);
    // SAFETY: tm is plain integers and a pointer that is not read; all zeros is a valid value.
    let mut local: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid for the call.
    let known = unsafe { !libc::localtime_r(&seconds, &mut local).is_null() };
    if known { local.tm_gmtoff as i32 } else { 0 }
}

/// A moment in UTC as names of files have it, ISO 8601 without separators: `20260306T093005Z`.
pub fn utc_name(wall_ns: i64) -> String {
    let seconds: libc::time_t = wall_ns.div_euclid(1_000_000_000);
    // SAFETY: tm is plain integers and a pointer that is not read; all zeros is a valid value.
    let mut utc: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid for the call.
    unsafe { libc::gmtime_r(&seconds, &mut utc) };
    let (year, month) = (utc.tm_year + 1900, utc.tm_mon + 1);
    format!("{year:04}{month:02}{:02}T{:02}{:02}{:02}Z", utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec)
}

/// Whether this process was started with that signal ignored.
pub fn ignores(signal: Signal) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal.as_raw() - 1) & 1 == 1
}

/// What this process has cost since it started; the other fields of [`Cost`] are left at 0.
pub fn own_cost() -> Cost {
    // SAFETY: rusage is plain integers, for which all zeros is a valid value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is a valid rusage to write to.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) };
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    Cost {
        user_cpu_s: seconds(usage.ru_utime),
        system_cpu_s: seconds(usage.ru_stime),
        peak_rss_bytes: (usage.ru_maxrss as u64) * 1024,
        ..Cost::default()
    }
}

/// CPU time in user and in kernel mode, s.
pub fn cpu_s(cost: &Cost) -> f64 {
    cost.user_cpu_s + cost.system_cpu_s
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_of_a_time_namespace_is_read() {
        let text = "monotonic           0         0\nboottime       86400 500000000\n";
        assert_eq!(parse_boot_offset(text), Some(86_400_500_000_000));
        assert_eq!(parse_boot_offset("monotonic 1 0\nboottime -3 999999999\n"), Some(-2_000_000_001));
        assert_eq!(parse_boot_offset("monotonic 1 0\n"), None);
        assert_eq!(parse_boot_offset("boottime many 0\n"), None);
        check_clock().expect("tests run in one namespace");
    }

    #[test]
    fn random_ids_are_32_hex_digits_and_differ() {
        let (a, b) = (random_id().unwrap(), random_id().unwrap());
        assert!(a.len() == 32 && a.bytes().all(|c| c.is_ascii_hexdigit()));
        assert_ne!(a, b);
    }

    #[test]
    fn a_clock_sample_lies_between_two_readings() {
        let before = boot_ns() as i64;
        let (boot, wall) = clock_sample();
        assert!(before <= boot && boot <= boot_ns() as i64);
        assert!(wall > 1_500_000_000_000_000_000);
    }

    #[test]
    fn ignored_signals_are_known() {
        // The standard library ignores it in every Rust program.
        assert!(ignores(Signal::PIPE));
        assert!(!ignores(Signal::KILL));
    }

    #[test]
    fn the_host_says_its_kernel() {
        let host = describe(clock_sample().1, 2);
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        assert_eq!(host.kernel, release.trim());
        assert_eq!(host.boot_id.len(), 36);
    }
}
