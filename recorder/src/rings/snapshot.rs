//! The start snapshot: every process, every open socket and who holds it.

use std::thread;

use crate::fast_map::FastMap;
use crate::host::procfs::{self, Found};
use crate::kernel::{ProbeError, Probes};
use crate::rings::drain::{Drain, IssuedSeqs};
use crate::rings::merge::Merge;

/// What was found in /proc; the sockets themselves come through the rings.
pub struct Snapshot {
    /// Every process.
    pub processes: Vec<Found>,
    /// Lowest pid that holds each socket, by inode.
    pub socket_owners: FastMap<u64, u32>,
}

/// Takes the snapshot. The rings are drained meanwhile, so that neither the sockets nor the traffic overflow them.
pub fn take(probes: &mut Probes, drain: &mut Drain, merge: &mut Merge) -> Result<Snapshot, ProbeError> {
    thread::scope(|scope| {
        let drains = thread::current();
        let looking = scope.spawn(move || -> Result<Snapshot, ProbeError> {
            let sockets = probes.snapshot_sockets();
            let found = Snapshot { processes: procfs::processes(), socket_owners: procfs::socket_owners() };
            drains.unpark();
            sockets.map(|()| found)
        });
        while !looking.is_finished() {
            // Nothing is released yet, so what is under way does not matter.
            drain.round(&IssuedSeqs::default(), merge);
            thread::park_timeout(drain.pause());
        }
        match looking.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
