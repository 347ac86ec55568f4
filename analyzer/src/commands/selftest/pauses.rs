//! Stops the server for a moment, again and again: the spike that is to be found.

use std::io;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A process that is stopped at even times.
pub struct Pauses {
    /// Dropped to end it.
    end: Sender<()>,
    thread: JoinHandle<usize>,
}

impl Pauses {
    /// The first one comes after half a period. The process must be a child that is not waited for before [`Pauses::end`].
    pub fn start(pid: Pid, period: Duration, pause: Duration) -> io::Result<Pauses> {
        let (end, ended) = channel();
        let wait_until = move |at: Instant| {
            let left = at.saturating_duration_since(Instant::now());
            ended.recv_timeout(left) == Err(RecvTimeoutError::Timeout)
        };
        let mut next = Instant::now() + period / 2;
        let thread = thread::Builder::new().name("pauses".to_owned()).spawn(move || {
            let mut made = 0;
            while wait_until(next) && kill_process(pid, Signal::STOP).is_ok() {
                let goes_on = wait_until(next + pause);
                // It must not stay stopped, whatever asked for the end.
                let _ = kill_process(pid, Signal::CONT);
                made += usize::from(goes_on);
                next += period;
            }
            made
        })?;
        Ok(Pauses { end, thread })
    }

    /// Ends it; how many pauses there were.
    pub fn end(self) -> usize {
        drop(self.end);
        self.thread.join().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::super::child::Bound;
    use super::*;

    fn is_stopped(pid: Pid) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap();
        stat.rsplit_once(") ").unwrap().1.starts_with('T')
    }

    #[test]
    fn a_process_pauses_and_goes_on() {
        let child = Bound::start(Command::new("sleep").arg("60").stdin(Stdio::null())).unwrap();
        let pauses = Pauses::start(child.pid(), Duration::from_millis(20), Duration::from_secs(60)).unwrap();
        let begun = Instant::now();
        while !is_stopped(child.pid()) {
            assert!(begun.elapsed() < Duration::from_secs(60), "it never stops");
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(pauses.end(), 0, "the first was not over");
        assert!(!is_stopped(child.pid()));
        let pauses = Pauses::start(child.pid(), Duration::from_millis(20), Duration::from_millis(1)).unwrap();
        thread::sleep(Duration::from_millis(200));
        assert!(pauses.end() > 1);
    }
}
