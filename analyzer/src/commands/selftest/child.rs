//! A process that ends with this one.

use std::io;
use std::process::{Child, Command};

use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

/// A process that was started here, and ends at the latest when this is dropped.
pub struct Bound(pub Child);

impl Bound {
    /// Starts it.
    pub fn start(command: &mut Command) -> io::Result<Bound> {
        Ok(Bound(command.spawn()?))
    }

    /// Its id, which is its own until it is waited for.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    /// Sends it a signal. One that has ended needs none.
    pub fn signal(&self, signal: Signal) {
        let _ = kill_process(self.pid(), signal);
    }
}

impl Drop for Bound {
    /// A stopped process is ended too.
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Has the kernel end this process with the one that started it, be that killed.
pub fn end_with_parent() -> io::Result<()> {
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}
