//! The sockets that are open when the recording begins, found by a walk over all descriptor tables.

use crate::{
    filter::{Matches, decide, decide_other, process_matches},
    kernel::{Sk, TCP_CLOSE, TCP_LISTEN, socket_of_file},
    maps::{DISCOVERED, IGNORED, PERHAPS, PROCESS_MATCHES, RECORDED, UNDECIDED, UNIX},
    sockets::{Origin, announce, first_sight, is_supported, known, other_kind},
    task_id::TaskId,
    unix,
};
use retrospan_formats::event::role;

/// One open file of one task; either may be null at the end of the walk.
#[inline(always)]
pub fn visit(task: *const u8, file: *const u8) {
    if task.is_null() || file.is_null() {
        return;
    }
    let sk = Sk(socket_of_file(file as u64));
    if sk.0 == 0 {
        return;
    }
    let is_unix = other_kind(sk) == UNIX;
    if !is_unix && !is_supported(sk) {
        return;
    }
    let state = sk.state();
    if state == TCP_CLOSE {
        return;
    }
    let owner = TaskId::of(task).pid;
    let matches = process_matches(task, owner);
    if let Some(entry) = known(sk.0) {
        // A descriptor that several processes share is recorded if one of them is.
        if entry.verdict == IGNORED
            && entry.flags & DISCOVERED != 0
            && entry.flags & PROCESS_MATCHES == 0
            && matches != Matches::No
        {
            entry.verdict = UNDECIDED;
            entry.owner = owner;
            if is_unix {
                decide_other(entry, sk, Some(matches));
            } else {
                decide(entry, sk, Some(matches));
            }
            announce(entry, sk, false);
        } else if entry.verdict == PERHAPS && matches == Matches::Yes {
            entry.verdict = RECORDED;
            entry.owner = owner;
            announce(entry, sk, true);
        }
        return;
    }
    let origin = Origin {
        role: if state == TCP_LISTEN { role::LISTENER } else { role::UNKNOWN },
        discovered: true,
        file: file as u64,
        process: owner,
        kind: if is_unix { UNIX } else { 0 },
    };
    if let Some(entry) = first_sight(sk, origin, Some(matches)) {
        if is_unix {
            unix::found(entry, sk, state);
        }
        announce(entry, sk, false);
    }
}
