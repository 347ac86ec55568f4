//! Which sockets are recorded: decided once for each, as soon as the facts are there.

use crate::{
    kernel::{Sk, TCP_LISTEN, config, config_place, configured, current_task, field, probe},
    maps::{Entry, IGNORED, PROCESS_MATCHES, RECORDED, UNDECIDED, WATCHED},
    rules::ports::{Answer, match_ports},
};
use retrospan_formats::config::{MAX_COMMS, PortRange};

/// Whether the filters by process let this task's process through.
#[inline(always)]
pub fn process_matches(task: *const u8, tgid: u32) -> bool {
    if tgid == config!(own_pid) {
        return false;
    }
    if config!(filter_pids) != 0 && WATCHED.get_ptr(tgid).is_none() {
        return false;
    }
    let names = config!(comm_count);
    if names == 0 {
        return true;
    }
    // SAFETY: `task` is a pointer the verifier can follow.
    let leader: u64 = unsafe { field(task, config!(offsets.task_group_leader)) };
    let name: [u32; 4] = probe(leader, config!(offsets.task_comm));
    let mut index = 0;
    while index < MAX_COMMS {
        if index < names as usize {
            // 16 bytes of the configuration, at a multiple of 4 from its start.
            let wanted: [u32; 4] = configured((&raw const config_place().comms[index]).cast());
            if name[0] == wanted[0] && name[1] == wanted[1] && name[2] == wanted[2] && name[3] == wanted[3] {
                return true;
            }
        }
        index += 1;
    }
    false
}

/// What the filter by port says now.
#[inline(always)]
fn port_answer(sk: Sk, listens: bool) -> Answer {
    let used = config!(port_ranges) as usize;
    if used == 0 {
        return Answer::Yes;
    }
    let range_at =
        |index: usize| PortRange { first: config!(ports[index].first), last: config!(ports[index].last) };
    match_ports(range_at, used, sk.local_port(), sk.remote_port(), listens)
}

/// Decides an undecided socket as far as it can be: `process` is what the filters by process say of
/// the one that uses it, `None` where that is not known (a soft interrupt).
#[inline(always)]
pub fn decide(entry: &mut Entry, sk: Sk, process: Option<bool>) {
    if entry.verdict != UNDECIDED {
        return;
    }
    match process {
        Some(true) => entry.flags |= PROCESS_MATCHES,
        Some(false) if entry.flags & PROCESS_MATCHES == 0 => {
            entry.verdict = IGNORED;
            return;
        }
        None if config!(filter_pids) == 0 && config!(comm_count) == 0 => entry.flags |= PROCESS_MATCHES,
        _ => {}
    }
    match port_answer(sk, sk.state() == TCP_LISTEN) {
        Answer::Yes if entry.flags & PROCESS_MATCHES != 0 => entry.verdict = RECORDED,
        Answer::No => entry.verdict = IGNORED,
        Answer::Yes | Answer::NotYet => {}
    }
}

/// Decides an undecided socket in a system call of the process that uses it.
#[inline(always)]
pub fn decide_in(entry: &mut Entry, sk: Sk, tgid: u32) {
    if entry.verdict == UNDECIDED {
        let matches = process_matches(current_task(), tgid);
        decide(entry, sk, Some(matches));
    }
}
