//! Standard output: a terminal's window at a time where the user has chosen a pager for that.
//!
//! Nobody is taken by surprise: without `$PAGER`, with `--no-pager`, and for what fits the window, nothing is
//! started.

use std::io::{self, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::terminal;

static IS_OFF: AtomicBool = AtomicBool::new(false);

/// Never starts one in this process.
pub fn turn_off() {
    IS_OFF.store(true, Ordering::Relaxed);
}

/// Standard output, buffered.
pub struct Stdout {
    held: Vec<u8>,
    lines: usize,
    /// The program and the lines of the window, until it is needed.
    pager: Option<(String, usize)>,
    child: Option<Child>,
}

impl Stdout {
    /// With the user's pager, if there is one and somebody looks.
    pub fn open() -> Stdout {
        let program =
            std::env::var("PAGER").ok().filter(|pager| !pager.trim().is_empty() && pager.trim() != "cat");
        let window = terminal::stdout().window.filter(|_| terminal::stdout().can_redraw);
        let pager = program.zip(window.map(|(lines, _)| lines)).filter(|_| !IS_OFF.load(Ordering::Relaxed));
        Stdout { held: Vec::new(), lines: 0, pager, child: None }
    }

    /// Starts the pager where more is written than fits; where it cannot be started everything is printed.
    fn start(&mut self) {
        let Some((program, lines)) = &self.pager else { return };
        if self.lines < *lines || self.child.is_some() {
            return;
        }
        let mut command = Command::new("sh");
        command.args(["-c", program]).stdin(Stdio::piped());
        if std::env::var_os("LESS").is_none() {
            // Colours as they are, long lines cut at the window's edge and scrolled with the arrow keys.
            command.env("LESS", "FRSX");
        }
        self.child = command.spawn().ok();
        self.pager = None;
        if self.child.is_some() {
            // An interrupt is for the pager, which shares the terminal: it must not be left alone with it.
            // SAFETY: ignoring a signal installs no handler.
            unsafe { libc::signal(libc::SIGINT, libc::SIG_IGN) };
        }
    }

    fn release(&mut self) -> io::Result<()> {
        let held = std::mem::take(&mut self.held);
        match self.child.as_mut().and_then(|child| child.stdin.as_mut()) {
            Some(pipe) => pipe.write_all(&held),
            None => io::stdout().write_all(&held),
        }
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.held.extend_from_slice(bytes);
        if self.pager.is_some() {
            self.lines += bytes.iter().filter(|byte| **byte == b'\n').count();
            self.start();
        }
        if self.pager.is_none() && self.held.len() >= 1 << 16 {
            self.release()?;
        }
        Ok(bytes.len())
    }

    /// Writes what is held, and ends the pager's input.
    fn flush(&mut self) -> io::Result<()> {
        self.release()?;
        io::stdout().flush()
    }
}

impl Drop for Stdout {
    fn drop(&mut self) {
        // Errors were told by flush; whoever did not ask for them wants none.
        let _ = self.release();
        if let Some(mut child) = self.child.take() {
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }
}
