//! Programs that run while a test does.
//!
//! In: a command. Out: a guard that waits for readiness by condition and ends
//! the program by its process id when dropped.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use super::{holds_within, wait_for};

/// A running program and the file with all it printed.
pub struct Program {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts `command`; what it prints goes to `DIR/NAME.out`.
    pub fn start(name: &str, dir: &Path, command: &mut Command) -> Self {
        let log = dir.join(format!("{name}.out"));
        let out = File::create(&log).expect("a log file");
        let err = out.try_clone().expect("a second handle");
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        let child = command.spawn().unwrap_or_else(|e| panic!("cannot start {name}: {e}"));
        Self { name: name.to_owned(), child, log }
    }

    /// The program's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything it printed so far.
    pub fn printed(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits until `condition` holds; an early end of the program is a failure.
    pub fn wait(&mut self, what: &str, mut condition: impl FnMut() -> bool) {
        let name = self.name.clone();
        wait_for(&format!("{name}: {what}"), || {
            if condition() {
                return true;
            }
            if let Some(status) = self.child.try_wait().expect("a child to wait for") {
                panic!("{name} ended ({status}) before {what}:\n{}", self.printed());
            }
            false
        });
    }

    /// Waits until something listens on `port` in the program's network namespace.
    /// Looks into /proc: a trial connection would itself be traffic.
    pub fn wait_listening(&mut self, port: u16) {
        let pid = self.pid();
        self.wait("listening", || is_listening(pid, port));
    }

    /// Sends a signal.
    pub fn signal(&self, signal: libc::c_int) {
        send_signal(self.pid(), signal);
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        wait_for(&format!("{} to end", self.name), || {
            status = self.child.try_wait().expect("a child to wait for");
            status.is_some()
        });
        status.expect("ended above")
    }
}

/// Sends a signal to a process that is ours.
pub fn send_signal(pid: u32, signal: libc::c_int) {
    let pid = libc::pid_t::try_from(pid).expect("a process id");
    // SAFETY: kill takes no pointers.
    unsafe { libc::kill(pid, signal) };
}

/// Keeps a command, and all that it starts, on one CPU.
pub fn pin(command: &mut Command, cpu: usize) {
    // SAFETY: an all-zero set is a valid, empty one; CPU_SET writes only into it.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        set
    };
    let pin = move || {
        // SAFETY: the call is async-signal-safe, and `set` and its size belong together.
        match unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: nothing in the closure allocates or locks.
    unsafe { command.pre_exec(pin) };
}

impl Drop for Program {
    fn drop(&mut self) {
        let runs = |child: &mut Child| matches!(child.try_wait(), Ok(None));
        if runs(&mut self.child) {
            // In order first: nginx's master takes its workers along, killed it would not.
            self.signal(libc::SIGTERM);
            if !holds_within(Duration::from_secs(3), || !runs(&mut self.child)) {
                // An error here means that it has ended after all.
                drop(self.child.kill());
                drop(self.child.wait());
            }
        }
        if std::thread::panicking() {
            eprintln!("--- {} printed:\n{}", self.name, self.printed());
        }
    }
}

/// Whether /proc shows a listening TCP socket on `port` as `pid` sees the network.
fn is_listening(pid: u32, port: u16) -> bool {
    ["tcp", "tcp6"].iter().any(|table| {
        let rows = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        rows.lines().skip(1).any(|row| {
            let mut columns = row.split_whitespace().skip(1);
            let local = columns.next().unwrap_or_default();
            let state = columns.nth(1).unwrap_or_default();
            state == "0A" && local.ends_with(&format!(":{port:04X}"))
        })
    })
}

/// Runs a command to its end and returns its output; failing to start fails the test.
pub fn run(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output();
    output.unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"))
}

/// Like [`run`], and the command must succeed; returns its stdout.
pub fn run_ok(command: &mut Command) -> String {
    let output = run(command);
    assert!(
        output.status.success(),
        "{command:?} failed ({}):\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The loopback address with a port, as most commands want it.
pub fn loopback(port: u16) -> String {
    format!("{}:{port}", Ipv4Addr::LOCALHOST)
}
