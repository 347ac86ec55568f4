//! The few questions to the operating system that the standard library has no answer for: clocks,
//! zone, random bits, kernel release, own cost.

use std::ffi::CStr;
use std::fs;
use std::io;

use retrospan_formats::manifest::{Cost, Host};

/// CLOCK_BOOTTIME, in ns.
pub fn boot_ns() -> u64 {
    clock_ns(libc::CLOCK_BOOTTIME) as u64
}

/// CLOCK_BOOTTIME and CLOCK_REALTIME at the same moment, in ns. Of several tries the one with the
/// least time between its readings counts, so that a preemption does not show up as a clock step.
pub fn clock_sample() -> (i64, i64) {
    let read = || {
        let before = clock_ns(libc::CLOCK_BOOTTIME);
        let wall = clock_ns(libc::CLOCK_REALTIME);
        let after = clock_ns(libc::CLOCK_BOOTTIME);
        (after - before, before + (after - before) / 2, wall)
    };
    let best = (0..5).map(|_| read()).min().unwrap_or_else(read);
    (best.1, best.2)
}

fn clock_ns(clock: libc::clockid_t) -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec to write to; both clocks exist on every supported kernel.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// 128 random bits as 32 lower-case hex digits.
pub fn random_id() -> io::Result<String> {
    let mut bytes = [0u8; 16];
    // SAFETY: the pointer and the length describe `bytes`; requests up to 256 bytes are never cut.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if got != bytes.len() as isize {
        return Err(io::Error::last_os_error());
    }
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

/// Where the recording is made.
pub fn describe(wall_ns: i64, cpus: u32) -> Host {
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let (name, kernel, machine) = uname();
    Host {
        name,
        boot_id: boot_id.trim().to_owned(),
        kernel,
        machine,
        cpus,
        utc_offset_s: utc_offset_s(wall_ns),
    }
}

fn uname() -> (String, String, String) {
    // SAFETY: utsname is plain bytes, for which all zeros is a valid value.
    let mut names: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: `names` is a valid utsname to write to.
    unsafe { libc::uname(&mut names) };
    let text = |field: &[libc::c_char]| {
        let bytes: Vec<u8> = field.iter().map(|&c| c as u8).collect();
        CStr::from_bytes_until_nul(&bytes).map(|c| c.to_string_lossy().into_owned()).unwrap_or_default()
    };
    (text(&names.nodename), text(&names.release), text(&names.machine))
}

/// Seconds east of UTC in the host's zone at that moment.
fn utc_offset_s(wall_ns: i64) -> i32 {
    let seconds: libc::time_t = wall_ns.div_euclid(1_000_000_000);
    // SAFETY: tm is plain integers and a pointer that is not read; all zeros is a valid value.
    let mut local: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid for the call.
    let known = unsafe { !libc::localtime_r(&seconds, &mut local).is_null() };
    if known { local.tm_gmtoff as i32 } else { 0 }
}

/// Whether this process was started with that signal ignored.
pub fn ignores(signal: libc::c_int) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
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

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(ignores(libc::SIGPIPE));
        assert!(!ignores(libc::SIGKILL));
    }

    #[test]
    fn the_host_says_its_kernel() {
        let host = describe(clock_sample().1, 2);
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        assert_eq!(host.kernel, release.trim());
        assert_eq!(host.boot_id.len(), 36);
    }
}
