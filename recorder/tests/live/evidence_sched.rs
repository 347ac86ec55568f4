//! Table `sched`: waiting for a CPU, blocked, stopped, throttled.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::recorder_support::{Place, Recorder, ebpf_or_skip, numbers, only, rows, texts, with};
use retrospan_formats::tables;

fn record(place: &Place, more: &[&str]) -> Recorder {
    let own = std::process::id().to_string();
    Recorder::start(place.path("sched.cap"), &[&["--pid", &own, "--evidence", "sched"], more].concat())
}

fn own_tid() -> i64 {
    // SAFETY: no arguments.
    i64::from(unsafe { libc::gettid() })
}

/// Puts a thread (0: this one) on the first CPU that this process may use.
fn pin(tid: i32) {
    // SAFETY: a CPU set is plain bits; the kernel writes and reads at most its size.
    unsafe {
        let mut allowed: libc::cpu_set_t = std::mem::zeroed();
        assert_eq!(libc::sched_getaffinity(libc::getpid(), size_of::<libc::cpu_set_t>(), &mut allowed), 0);
        let first = (0..libc::CPU_SETSIZE as usize).find(|&cpu| libc::CPU_ISSET(cpu, &allowed)).unwrap();
        let mut one: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(first, &mut one);
        assert_eq!(libc::sched_setaffinity(tid, size_of::<libc::cpu_set_t>(), &one), 0);
    }
}

/// A child that is ended with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Ended {
    fn pid(&self) -> i32 {
        self.0.id() as i32
    }

    fn signal(&self, signal: i32) {
        // SAFETY: the child has not been waited for, so the pid is its own.
        assert_eq!(unsafe { libc::kill(self.pid(), signal) }, 0);
    }
}

fn shell(script: &str) -> Ended {
    Ended(Command::new("/bin/sh").args(["-c", script]).stdin(Stdio::null()).spawn().unwrap())
}

/// Makes this thread one that carries traffic.
fn carry_traffic() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    client.write_all(b"x").unwrap();
    server.read_exact(&mut [0]).unwrap();
}

#[test]
fn who_waits_for_a_cpu_says_who_had_it() {
    let Some(_turn) = ebpf_or_skip("who_waits_for_a_cpu_says_who_had_it") else { return };
    let place = Place::new();
    let recorder = record(&place, &[]);
    // Turns of some 20 ms in which nothing else gets that CPU, however busy the machine is.
    let hog = shell("while :; do i=0; while [ $i -lt 40000 ]; do i=$((i+1)); done; sleep 0.02; done");
    pin(hog.pid());
    let first = libc::sched_param { sched_priority: 1 };
    // SAFETY: concerns the hog alone; the parameter is only read.
    assert_eq!(unsafe { libc::sched_setscheduler(hog.pid(), libc::SCHED_RR, &first) }, 0);
    let worker = std::thread::spawn(|| {
        carry_traffic();
        pin(0);
        let since = Instant::now();
        while since.elapsed() < Duration::from_secs(2) {
            std::hint::spin_loop();
        }
        own_tid()
    });
    let tid = worker.join().unwrap();
    let hog_pid = i64::from(hog.pid());
    drop(hog);
    let capture = recorder.finish();
    let waits = with(&only(&rows(&capture, &tables::SCHED), "kind", "run_queue"), "tid", tid);
    assert!(numbers(&waits, "duration_ns").iter().all(|ns| *ns >= Some(5_000_000)), "the threshold");
    let blamed = with(&waits, "other_pid", hog_pid);
    let waited_ns: i64 = numbers(&blamed, "duration_ns").iter().flatten().sum();
    assert!(waited_ns > 100_000_000, "{waited_ns} ns in {} of {} rows", blamed.num_rows(), waits.num_rows());
    assert!(numbers(&blamed, "pid").iter().all(|pid| *pid == Some(std::process::id().into())));
    let processes = with(&rows(&capture, &tables::PROCESSES), "pid", hog_pid);
    assert!(
        numbers(&blamed, "other_process_id").iter().all(|id| *id == numbers(&processes, "process_id")[0])
    );
}

/// Sleeps as the child of a vfork, whose parent is blocked until it has ended.
extern "C" fn sleep_and_end(_: *mut libc::c_void) -> i32 {
    // SAFETY: neither touches memory that the parent uses.
    unsafe {
        libc::usleep(60_000);
        libc::_exit(0)
    }
}

#[test]
fn a_blocked_thread_says_for_how_long() {
    let Some(_turn) = ebpf_or_skip("a_blocked_thread_says_for_how_long") else { return };
    let place = Place::new();
    let recorder = record(&place, &[]);
    let (tid, took) = std::thread::spawn(|| {
        carry_traffic();
        let mut stack = vec![0_u8; 64 << 10];
        let since = Instant::now();
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        // SAFETY: the child runs on a stack of its own, which outlives it, while this thread is blocked.
        let child = unsafe {
            let top = stack.as_mut_ptr().add(stack.len()).map_addr(|at| at & !15);
            libc::clone(sleep_and_end, top.cast(), flags, std::ptr::null_mut())
        };
        let took = since.elapsed();
        assert!(child > 0);
        // SAFETY: a child of this process; no status is wanted.
        assert_eq!(unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) }, child);
        (own_tid(), took)
    })
    .join()
    .unwrap();
    let capture = recorder.finish();
    let blocked = with(&only(&rows(&capture, &tables::SCHED), "kind", "off_cpu"), "tid", tid);
    let longest = numbers(&blocked, "duration_ns").into_iter().flatten().max().expect("a row");
    let bounds = 55_000_000..=took.as_nanos() as i64;
    assert!(bounds.contains(&longest), "{longest} ns of {took:?}");
    assert!(numbers(&blocked, "other_pid").iter().all(Option::is_none));
}

/// Waits until /proc says so.
fn await_state(pid: i32, wanted: char) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        if stat.rsplit_once(") ").unwrap().1.starts_with(wanted) {
            return;
        }
        assert!(Instant::now() < deadline, "{pid} never came to state {wanted}: {stat}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_stopped_process_says_when_and_for_how_long() {
    let Some(_turn) = ebpf_or_skip("a_stopped_process_says_when_and_for_how_long") else { return };
    let place = Place::new();
    let recorder = record(&place, &[]);
    let sleeper = shell("exec sleep 30");
    await_state(sleeper.pid(), 'S');
    let before = Instant::now();
    sleeper.signal(libc::SIGSTOP);
    await_state(sleeper.pid(), 'T');
    let stopped = Instant::now();
    std::thread::sleep(Duration::from_millis(300));
    let least = stopped.elapsed();
    sleeper.signal(libc::SIGCONT);
    await_state(sleeper.pid(), 'S');
    let most = before.elapsed();
    let pid = i64::from(sleeper.pid());
    drop(sleeper);
    let capture = recorder.finish();
    let sched = with(&rows(&capture, &tables::SCHED), "pid", pid);
    assert_eq!(texts(&sched, "kind"), ["stopped", "continued"]);
    assert_eq!(numbers(&sched, "tid"), [Some(pid), Some(pid)]);
    let durations = numbers(&sched, "duration_ns");
    assert_eq!(durations[0], Some(0));
    let bounds = least.as_nanos() as i64..=most.as_nanos() as i64;
    assert!(bounds.contains(&durations[1].unwrap()), "{durations:?} in {bounds:?}");
    assert!(numbers(&sched, "process_id").iter().all(Option::is_some));
    let times = numbers(&sched, "boot_ns");
    assert_eq!(times[1].unwrap() - times[0].unwrap(), durations[1].unwrap());
}

/// A cgroup that may use a tenth of a CPU; its folder goes with it.
struct Limited(PathBuf);

impl Limited {
    fn new() -> Limited {
        let v1 = Path::new("/sys/fs/cgroup/cpu");
        let name = format!("retrospan-test-{}", std::process::id());
        if v1.join("cpu.cfs_quota_us").exists() || v1.join("cpu.shares").exists() {
            let folder = v1.join(name);
            std::fs::create_dir(&folder).unwrap();
            let limited = Limited(folder);
            std::fs::write(limited.0.join("cpu.cfs_period_us"), "100000").unwrap();
            std::fs::write(limited.0.join("cpu.cfs_quota_us"), "10000").unwrap();
            return limited;
        }
        let v2 = Path::new("/sys/fs/cgroup");
        let controllers = std::fs::read_to_string(v2.join("cgroup.controllers")).unwrap_or_default();
        assert!(controllers.contains("cpu"), "a cpu controller is needed, of cgroup v1 or v2");
        let on = std::fs::read_to_string(v2.join("cgroup.subtree_control")).unwrap();
        if !on.split_whitespace().any(|controller| controller == "cpu") {
            std::fs::write(v2.join("cgroup.subtree_control"), "+cpu").unwrap();
        }
        let limited = Limited(v2.join(name));
        std::fs::create_dir(&limited.0).unwrap();
        std::fs::write(limited.0.join("cpu.max"), "10000 100000").unwrap();
        limited
    }

    fn take(&self, child: &Ended) {
        std::fs::write(self.0.join("cgroup.procs"), child.pid().to_string()).unwrap();
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        for _ in 0..100 {
            if std::fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn a_throttled_cgroup_says_how_much_time_it_took() {
    let Some(_turn) = ebpf_or_skip("a_throttled_cgroup_says_how_much_time_it_took") else { return };
    let place = Place::new();
    let limited = Limited::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let recorder = record(&place, &[]);
    let script = format!("exec 3<>/dev/tcp/127.0.0.1/{port}; while :; do echo x >&3; done");
    let busy = Ended(Command::new("bash").args(["-c", &script]).stdin(Stdio::null()).spawn().unwrap());
    limited.take(&busy);
    let (mut stream, _) = listener.accept().unwrap();
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(4) {
        let _ = stream.read(&mut [0; 4096]).unwrap();
    }
    let pid = i64::from(busy.pid());
    drop(busy);
    let capture = recorder.finish();
    let throttled = only(&rows(&capture, &tables::SCHED), "kind", "throttled");
    assert!(numbers(&throttled, "pid").iter().all(|found| *found == Some(pid)), "nobody else is limited");
    let total_ns: i64 = numbers(&throttled, "duration_ns").iter().flatten().sum();
    assert!(total_ns > 500_000_000, "{total_ns} ns in {} rows", throttled.num_rows());
    assert!(numbers(&throttled, "process_id").iter().all(Option::is_some));
    assert!(numbers(&throttled, "seq").iter().all(|seq| *seq == Some(-1)));
    let all = numbers(&rows(&capture, &tables::SCHED), "boot_ns");
    assert!(all.is_sorted(), "samples stand in their place among the kernel's rows");
}
