//! Network namespaces of our own, removed with their guard.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::process::run_ok;
use super::tool;

/// A network namespace with loopback up.
pub struct Netns {
    name: String,
}

impl Netns {
    /// Makes a namespace; `label` makes its name unique within this process.
    pub fn new(label: &str) -> Self {
        let name = format!("retrospan-{}-{label}", std::process::id());
        run_ok(Command::new(tool("ip")).args(["netns", "add", &name]));
        let netns = Self { name };
        // Not `ip -n`, which remounts /sys and cannot where / is no mount point (a chroot).
        let mut up = Command::new(tool("ip"));
        netns.place(&mut up);
        run_ok(up.args(["link", "set", "lo", "up"]));
        netns
    }

    fn open(&self) -> File {
        File::open(format!("/run/netns/{}", self.name)).expect("the namespace just made")
    }

    /// Makes `command` run inside.
    pub fn place(&self, command: &mut Command) {
        let file = self.open();
        // SAFETY: setns is async-signal-safe and `file` lives as long as the closure.
        unsafe { command.pre_exec(move || enter(&file)) };
    }

    /// Runs `work` on a thread that is inside; sockets it opens stay there.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let file = self.open();
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                enter(&file).expect("entering a network namespace needs root");
                work()
            });
            thread.join().expect("the thread inside the namespace")
        })
    }
}

fn enter(netns: &File) -> std::io::Result<()> {
    // SAFETY: setns reads only its two integer arguments and moves this thread alone.
    match unsafe { libc::setns(netns.as_raw_fd(), libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        run_ok(Command::new(tool("ip")).args(["netns", "del", &self.name]));
    }
}
