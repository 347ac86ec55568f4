//! Ctrl-C and its like: noted, so that what was started is ended and what was written is removed.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};

use super::steps::Reason;

/// Whether a signal asked for the end.
#[derive(Clone, Default)]
pub struct Interrupted(Arc<AtomicBool>);

impl Interrupted {
    /// Listens from now on; needs a runtime.
    pub fn listen() -> io::Result<Interrupted> {
        let interrupted = Interrupted::default();
        for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
            let mut arrivals = signal(kind)?;
            let noted = interrupted.0.clone();
            tokio::spawn(async move {
                arrivals.recv().await;
                noted.store(true, Ordering::Relaxed);
            });
        }
        Ok(interrupted)
    }

    /// Fails where it did.
    pub fn check(&self) -> Result<(), Reason> {
        if self.0.load(Ordering::Relaxed) { Err(Reason::of("interrupted")) } else { Ok(()) }
    }
}
