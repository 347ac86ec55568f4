//! Tables `usage`, `execs` and `recorder`, and a recording without evidence.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::recorder_support::{Place, Recorder, ebpf_or_skip, numbers, only, rows, texts, with};
use retrospan_formats::table::MOST_TEXT_BYTES;
use retrospan_formats::tables;

/// Lets a shell burn CPU for that long; its pid and the CPU time that the kernel counted, s.
#[expect(clippy::zombie_processes, reason = "waited for by wait4, which tells the CPU time")]
fn burn(time: Duration) -> (i64, f64) {
    let child =
        Command::new("/bin/sh").args(["-c", "while :; do :; done"]).stdin(Stdio::null()).spawn().unwrap();
    std::thread::sleep(time);
    let pid = child.id() as i32;
    // SAFETY: rusage is plain integers; the child is waited for here and nowhere else.
    let (status, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        let mut status = 0;
        libc::kill(pid, libc::SIGKILL);
        assert_eq!(libc::wait4(pid, &mut status, 0, &mut usage), pid);
        (status, usage)
    };
    assert_eq!(std::process::ExitStatus::from_raw(status).signal(), Some(libc::SIGKILL));
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    (pid.into(), seconds(usage.ru_utime) + seconds(usage.ru_stime))
}

/// The clock is read at most so long after the CPU time.
const READING_NS: i64 = 100_000_000;

#[test]
fn cpu_time_is_that_of_the_kernel() {
    let Some(_turn) = ebpf_or_skip("cpu_time_is_that_of_the_kernel") else { return };
    let place = Place::new();
    let own = std::process::id().to_string();
    let recorder = Recorder::start(place.path("usage.cap"), &["--pid", &own, "--evidence", "usage"]);
    let (pid, cpu_s) = burn(Duration::from_millis(3_300));
    let capture = recorder.finish();
    let usage = rows(&capture, &tables::USAGE);
    assert!(numbers(&usage, "boot_ns").is_sorted());
    assert!(numbers(&usage, "cpu_ns").iter().all(|ns| *ns > Some(1_000_000)));
    let burnt = with(&usage, "pid", pid);
    assert!(burnt.num_rows() >= 2, "one a second, and one at its end");
    for (cpu_ns, interval_ns) in numbers(&burnt, "cpu_ns").iter().zip(numbers(&burnt, "interval_ns")) {
        let most_ns = interval_ns.map(|ns| ns + READING_NS);
        assert!(*cpu_ns <= most_ns, "one thread: {cpu_ns:?} ns in {interval_ns:?} ns");
    }
    let total_s = numbers(&burnt, "cpu_ns").iter().flatten().sum::<i64>() as f64 / 1e9;
    assert!((total_s - cpu_s).abs() < 0.05 * cpu_s + 0.02, "{total_s} s of {cpu_s} s");
    let process = with(&rows(&capture, &tables::PROCESSES), "pid", pid);
    assert!(numbers(&burnt, "process_id").iter().all(|id| *id == numbers(&process, "process_id")[0]));
}

#[test]
fn every_program_started_is_a_row() {
    let Some(_turn) = ebpf_or_skip("every_program_started_is_a_row") else { return };
    // A process of the host with more arguments than a column holds.
    let long = "x".repeat(40_000);
    let mut waiting =
        Command::new("/bin/sh").args(["-c", "read line", &long]).stdin(Stdio::piped()).spawn().unwrap();
    for (arguments, kept) in [(&[][..], "/bin/sh"), (&["--args"][..], "/bin/sh -c true secret")] {
        let place = Place::new();
        // Nothing of this is traffic: programs are recorded whoever starts them.
        let more = ["--port", "1", "--evidence", "execs"];
        let recorder = Recorder::start(place.path("execs.cap"), &[&more, arguments].concat());
        let mut child = Command::new("/bin/sh").args(["-c", "true", "secret"]).spawn().unwrap();
        assert!(child.wait().unwrap().success());
        let capture = recorder.finish();
        let execs = rows(&capture, &tables::EXECS);
        assert!(numbers(&execs, "boot_ns").is_sorted());
        let exec = with(&execs, "pid", child.id().into());
        assert_eq!(texts(&exec, "exe"), ["/bin/sh"]);
        assert_eq!(texts(&exec, "argv"), [kept]);
        assert_eq!(texts(&exec, "comm"), ["sh"]);
        let processes = rows(&capture, &tables::PROCESSES);
        let id_of = |pid: i64| numbers(&with(&processes, "pid", pid), "process_id");
        assert_eq!(numbers(&exec, "process_id"), id_of(child.id().into()));
        assert_eq!(numbers(&exec, "parent_process_id"), id_of(std::process::id().into()));
        let argv = texts(&with(&processes, "pid", waiting.id().into()), "argv").concat();
        assert_eq!(argv.len(), if arguments.is_empty() { "/bin/sh".len() } else { MOST_TEXT_BYTES });
    }
    drop(waiting.stdin.take());
    waiting.wait().unwrap();
}

#[test]
fn the_recorder_says_what_it_did_itself() {
    let Some(_turn) = ebpf_or_skip("the_recorder_says_what_it_did_itself") else { return };
    let place = Place::new();
    let recorder = Recorder::start(place.path("own.cap"), &["--rotate", "400ms", "--port", "1"]);
    for _ in 0..5 {
        // Something to drain.
        assert!(std::process::Command::new("true").status().is_ok_and(|status| status.success()));
        std::thread::sleep(Duration::from_millis(500));
    }
    let capture = recorder.finish();
    let own = rows(&capture, &tables::RECORDER);
    assert!(numbers(&own, "boot_ns").is_sorted());
    let parts = only(&own, "kind", "part");
    assert!(parts.num_rows() >= 4, "{} parts", parts.num_rows());
    let times: Vec<i64> = numbers(&parts, "boot_ns").into_iter().flatten().collect();
    let gaps: Vec<i64> = times.windows(2).map(|pair| (pair[1] - pair[0]) / 1_000_000).collect();
    assert!(gaps.iter().any(|gap| gap.abs_diff(gaps[0]) > 1), "rotation keeps no time: {gaps:?}");
    let drains = only(&own, "kind", "drain");
    assert!(numbers(&drains, "rows").iter().flatten().sum::<i64>() > 0);
    assert!(own.num_rows() < 200, "{} rows in 2.5 s", own.num_rows());
}

#[test]
fn without_evidence_there_is_none() {
    let Some(_turn) = ebpf_or_skip("without_evidence_there_is_none") else { return };
    let place = Place::new();
    let recorder = Recorder::start(place.path("none.cap"), &["--evidence", "none"]);
    let (pid, _) = burn(Duration::from_millis(1_500));
    let capture = recorder.finish();
    let process = with(&rows(&capture, &tables::PROCESSES), "pid", pid);
    assert_eq!(texts(&process, "exe"), ["/bin/sh"], "processes are known all the same");
    for table in [&tables::TCP, &tables::SCHED, &tables::USAGE, &tables::EXECS, &tables::COUNTERS] {
        assert_eq!(capture.files(table.name).len(), 0, "{}", table.name);
    }
    assert_eq!(capture.manifest.options["evidence"], serde_json::json!([]));
}
