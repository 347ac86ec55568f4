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
        netns.ip(&["link", "set", "lo", "up"]);
        netns
    }

    /// Joins two namespaces with a link: `one` gets 10.213.0.1, `two` 10.213.0.2. The link ends are both called
    /// `link0` and go with their namespaces.
    pub fn join(one: &Self, two: &Self) {
        let far = format!("/run/netns/{}", two.name);
        one.ip(&["link", "add", "link0", "type", "veth", "peer", "name", "link0", "netns", &far]);
        for (netns, address) in [(one, "10.213.0.1/24"), (two, "10.213.0.2/24")] {
            netns.ip(&["addr", "add", address, "dev", "link0"]);
            netns.ip(&["link", "set", "link0", "up"]);
        }
    }

    /// Runs `ip` inside.
    pub fn ip(&self, args: &[&str]) {
        self.tool("ip", args);
    }

    /// Runs a program inside to its end; it must succeed.
    pub fn tool(&self, program: &str, args: &[&str]) {
        let mut command = Command::new(tool(program));
        self.place(&mut command);
        run_ok(command.args(args));
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
