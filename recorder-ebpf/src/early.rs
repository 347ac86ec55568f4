//! Calls that were under way when the recording began: a server that waits for its next request, say. Nobody saw them
//! entered, so they are looked for in the registers of every thread, once; at their exit they go on as any other call.
//!
//! Whether a thread really is in the call that its registers tell of is not asked: one that is not has left it, and the next
//! call on that socket is seen entered. What the socket was is settled when the call is found; a descriptor may have been
//! replaced since the call was entered, which shows in sequence numbers that do not move as the call says.

use crate::{
    filter::{decide, process_matches},
    kernel::{
        IPPROTO_TCP, Sk, TCP_CLOSE, TCP_ESTABLISHED, TCP_LISTEN, TCP_SYN_SENT, current_task, is_compat,
        open_socket,
    },
    maps::{EARLY, Early, InCall, UNIX, form, nature, source},
    regs::{self, Regs},
    request::{MSG_ERRQUEUE, MSG_PEEK, MSG_TRUNC, Request, of_system_call},
    ring::{count_loss, now_ns},
    rules::sequence::is_exact,
    sockets::{Origin, announce, first_sight, is_supported, known, other_kind},
    task_id::TaskId,
    threads, unix,
};
use aya_ebpf::helpers::generated::bpf_task_pt_regs;
use retrospan_formats::event::{Kind, flags, loss, role};

/// A thread of the host; null at the end of the walk.
#[inline(always)]
pub fn visit(task: *const u8) {
    if task.is_null() || is_compat(task) {
        return;
    }
    // SAFETY: a task that the verifier knows.
    let regs = Regs(unsafe { bpf_task_pt_regs(task.cast_mut().cast()) } as *const u8);
    let number = regs.number();
    if !regs::is_wanted(number) || number == regs::SPLICE {
        return;
    }
    let Some(request) = of_system_call(regs, number) else { return };
    let waits = match request.kind {
        Kind::Receive => request.options & (MSG_PEEK | MSG_ERRQUEUE) == 0,
        Kind::Send | Kind::Accept | Kind::Connect => true,
        _ => false,
    };
    let fd = regs.arg0() as u32;
    let socket = open_socket(task, fd);
    let sk = Sk(socket.sk);
    if !waits || socket.sk == 0 {
        return;
    }
    let is_unix = other_kind(sk) == UNIX;
    if !is_unix && !is_supported(sk) {
        return;
    }
    let state = sk.state();
    let may_be = match request.kind {
        Kind::Accept => state == TCP_LISTEN,
        Kind::Connect => state == TCP_SYN_SENT,
        _ => state != TCP_LISTEN && state != TCP_CLOSE,
    };
    if !may_be {
        return;
    }
    let task_id = TaskId::of(task);
    let matches = process_matches(task, task_id.pid);
    let role = match request.kind {
        Kind::Accept => role::LISTENER,
        Kind::Connect => role::CLIENT,
        _ => role::UNKNOWN,
    };
    let origin = Origin {
        role,
        discovered: true,
        file: socket.file,
        process: task_id.pid,
        kind: if is_unix { UNIX } else { 0 },
    };
    let found = match known(socket.sk) {
        Some(entry) => Some(entry),
        None => first_sight(sk, origin, Some(matches)),
    };
    let Some(entry) = found else { return };
    if is_unix {
        unix::found(entry, sk, state);
    }
    decide(entry, sk, Some(matches));
    announce(entry, sk, false);
    // A listener that is not recorded may return a connection that is.
    if !entry.is_recorded() && request.kind != Kind::Accept {
        return;
    }
    note(task_id.tid, number, fd, sk, entry.socket_id, request);
}

#[inline(always)]
fn note(tid: u32, number: u64, fd: u32, sk: Sk, socket_id: u64, request: Request) {
    let is_tcp = sk.protocol() == IPPROTO_TCP;
    let seq = if is_tcp { sk.position(request.kind) } else { 0 };
    let early = Early {
        since_ns: now_ns(),
        sk: sk.0,
        socket_id,
        address: request.address,
        seq,
        number: number as u32,
        fd,
        reserved: 0,
    };
    match threads::met(tid) {
        Some(thread) if EARLY.insert(tid, &early, 0).is_ok() => thread.call.early = 1,
        _ => count_loss(loss::CALL_MAP),
    }
}

/// The first exit of a thread that was found in a call: makes the call what its entry would have made it, if this is its
/// exit. A function of its own, for it is needed once a thread.
#[inline(never)]
pub fn recall(call: &mut InCall, task_id: TaskId, regs: Regs, number: u64) {
    call.early = 0;
    let Some(early) = EARLY.get_ptr(task_id.tid) else { return };
    // SAFETY: values of a preallocated map stay readable memory; nobody writes this one any more.
    let early = unsafe { *early };
    let _ = EARLY.remove(task_id.tid);
    let Some(request) = of_system_call(regs, number) else { return };
    let same = u64::from(early.number) == number
        && early.fd == regs.arg0() as u32
        && early.address == request.address;
    // One whose entry was seen is another.
    if call.active != 0 || !same {
        return;
    }
    let Some(entry) = known(early.sk).filter(|entry| entry.socket_id == early.socket_id) else {
        count_loss(loss::EARLY_CALL);
        return;
    };
    call.enter_ns = early.since_ns;
    call.data.done.set(0);
    call.data.source.set(source::PROCESS);
    call.sk = early.sk;
    call.socket_id = early.socket_id;
    call.address = request.address;
    call.length = request.length;
    call.number = early.number;
    call.seq = early.seq;
    call.flags = request.flags | flags::ENTERED_BEFORE;
    if Sk(early.sk).protocol() != IPPROTO_TCP {
        call.flags |= flags::NO_SEQ;
    }
    call.kind = request.kind as u8;
    call.form = request.form;
    call.length_only = u8::from(request.kind == Kind::Receive && request.options & MSG_TRUNC != 0);
    call.recorded = u8::from(entry.is_recorded());
    call.nature = if entry.kind & UNIX != 0 {
        nature::UNIX
    } else if entry.state == TCP_ESTABLISHED {
        nature::ESTABLISHED
    } else {
        nature::OTHER
    };
    if call.nature == nature::UNIX && call.form != form::NONE {
        unix::rejoin(call, entry);
    }
    call.fd = early.fd;
    call.task_id = task_id;
    call.active = 1;
}

/// Forgets the call that the thread was found in, as it was seen entered and ended in a socket's function. What it did before it
/// was found is lost.
#[inline(always)]
pub fn forget_seen(call: &mut InCall, tid: u32) {
    call.seen = 1;
    if call.early == 0 {
        return;
    }
    if let Some(early) = EARLY.get_ptr(tid) {
        // SAFETY: values of a preallocated map stay readable memory.
        let since_ns = unsafe { (*early).since_ns };
        if since_ns < call.enter_ns {
            count_loss(loss::EARLY_CALL);
        }
    }
    threads::forget_early(call, tid);
}

/// Whether the call moved bytes of the socket that it was found with; where that is not so it is counted as lost. A send
/// may have moved some of them before it was found.
#[inline(always)]
pub fn is_certain(call: &mut InCall, after: u32, done: u64, receives: bool) -> bool {
    let moved = after.wrapping_sub(call.seq);
    let certain = if call.flags & flags::NO_SEQ != 0 || done == 0 {
        open_socket(current_task(), call.fd).sk == call.sk
    } else if receives || call.form == form::MESSAGES {
        is_exact(call.seq, after, done, receives)
    } else if moved != 0 && u64::from(moved) <= done {
        call.seq = after.wrapping_sub(done as u32);
        true
    } else {
        false
    };
    if !certain {
        count_loss(loss::EARLY_CALL);
    }
    certain
}
