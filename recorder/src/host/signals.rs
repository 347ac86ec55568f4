//! The signals that end a recording or a pause between two drains, waited for together.

use std::process::Child;

use rustix::process;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::host;

/// The signals that end a recording.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// Not where nohup(1) said to ignore it.
    hang_up: Option<Signal>,
    /// COMMAND ended, perhaps.
    child: Signal,
    /// SIGUSR1 where it means something: else it ends the recorder, as it does any program.
    user: Option<Signal>,
    /// It came.
    asked: bool,
    /// The one that came, if COMMAND has to be told.
    arrived: Option<process::Signal>,
}

impl Signals {
    /// Listens from now on. `user`: to SIGUSR1, too.
    pub fn listen(user: bool) -> std::io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: if host::ignores(process::Signal::HUP) {
                None
            } else {
                Some(signal(SignalKind::hangup())?)
            },
            child: signal(SignalKind::child())?,
            user: user.then(|| signal(SignalKind::user_defined1())).transpose()?,
            asked: false,
            arrived: None,
        })
    }

    /// Whether one arrived before the pause was over. That is so, too, where a child ended.
    pub async fn arrived_within(&mut self, pause: impl Future<Output = ()>) -> bool {
        let hang_up = async {
            match &mut self.hang_up {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        let user = async {
            match &mut self.user {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            // The terminal sends Ctrl-C to COMMAND itself.
            _ = self.interrupt.recv() => true,
            _ = self.terminate.recv() => { self.arrived = Some(process::Signal::TERM); true }
            _ = hang_up => { self.arrived = Some(process::Signal::HUP); true }
            _ = user => { self.asked = true; false }
            _ = self.child.recv() => false,
            () = pause => false,
        }
    }

    /// Whether SIGUSR1 came since this was asked last.
    pub fn was_asked(&mut self) -> bool {
        std::mem::take(&mut self.asked)
    }

    /// Tells COMMAND, where the one that arrived was not sent to it too.
    pub fn pass_on(&mut self, command: Option<&Child>) {
        if let (Some(signal), Some(child)) = (self.arrived, command) {
            // The child has not been waited for, so its pid is its own; if it has ended, nothing is left to tell.
            let _ = process::kill_process(process::Pid::from_child(child), signal);
        }
    }
}
