//! The beginning of a call, as a system call or in the socket's own function: what is recorded of it is noted for its end.
//! Everything about the socket is settled here, since at the end of a system call the descriptor may lead elsewhere.

use crate::{
    datagrams,
    filter::{decide_in, process_matches},
    kernel::{OpenSocket, Sk, TCP_CLOSE, TCP_ESTABLISHED, TCP_LISTEN, config, current_task, file_of},
    maps::{CLOSED, DATAGRAMS, Entry, IGNORED, IS_TCP, InCall, Thread, UNIX, WITHIN_TLS, nature},
    request::{MSG_ERRQUEUE, MSG_FASTOPEN, MSG_PEEK, MSG_TRUNC, Request},
    ring::{count_loss, now_ns},
    sockets::{Origin, announce, first_sight, forget, is_supported, known, other_kind},
    task_id::TaskId,
    threads, tls_within, unix, unix_close,
    within::{is_within, may_move_between_files},
};
use retrospan_formats::event::{Kind, flags, loss, role};

/// Notes a call on a socket of whatever kind, if it is to be recorded. `number` is what its end is known by, `position` tells
/// how far the socket has come in the direction of data of this kind.
#[inline(always)]
pub fn begin(
    task: *const u8,
    socket: OpenSocket,
    number: u32,
    request: Request,
    position: impl Fn(Kind) -> u32,
) -> Option<&'static mut InCall> {
    let task_id = TaskId::of(task);
    let sk = Sk(socket.sk);
    let found = known(socket.sk);
    let other = match &found {
        Some(entry) => entry.kind & (DATAGRAMS | UNIX),
        None => other_kind(sk),
    };
    if other == DATAGRAMS {
        return datagrams::begin(&socket, number, &request);
    }
    let moves = matches!(request.kind, Kind::Send | Kind::Receive);
    if other != 0 {
        let call = unix::begin(&socket, number, &request);
        let within = moves && known(socket.sk).is_some_and(|entry| tls_within::touches(entry));
        let call = call?;
        if within {
            call.recorded |= WITHIN_TLS;
        }
        unix_close::leaves(call);
        return Some(call);
    }
    if let Some(entry) = &found
        && entry.verdict == IGNORED
        && !matches!(request.kind, Kind::Accept | Kind::Connect)
    {
        if moves {
            tls_within::touches(entry);
        }
        if request.kind == Kind::Close && entry.flags & CLOSED != 0 {
            forget(socket.sk);
        }
        return None;
    }
    if request.kind == Kind::Receive && request.options & (MSG_PEEK | MSG_ERRQUEUE) != 0 {
        return None;
    }
    let Some(entry) = entry_for(found, sk, socket, task_id, request) else { return None };
    decide_in(entry, sk, task_id.pid);
    // An opening socket has no addresses yet: it is announced with its first state change.
    if !matches!(request.kind, Kind::Connect | Kind::Listen) {
        announce(entry, sk, false);
    }
    let within = if moves && tls_within::touches(entry) { WITHIN_TLS } else { 0 };
    if entry.verdict == IGNORED && request.kind != Kind::Accept {
        return None;
    }
    let (socket_id, recorded) = (entry.socket_id, entry.is_recorded());
    let established = entry.state == TCP_ESTABLISHED;
    let is_tcp = entry.flags & IS_TCP != 0;
    let seq = if is_tcp { position(request.kind) } else { 0 };
    if request.kind == Kind::Close && sk.state() == TCP_CLOSE {
        forget(socket.sk);
    }
    let Some(Thread { call, .. }) = threads::met(task_id.tid) else {
        count_loss(loss::CALL_MAP);
        return None;
    };
    if config!(sockets) != 0
        && call.active != 0
        && call.sk == socket.sk
        && is_within(number, call.number)
        && may_move_between_files(task)
    {
        return None;
    }
    call.enter_ns = now_ns();
    call.data.done.set(0);
    call.sk = socket.sk;
    call.socket_id = socket_id;
    call.address = request.address;
    call.length = request.length;
    call.number = number;
    call.seq = seq;
    call.flags = if is_tcp { request.flags } else { request.flags | flags::NO_SEQ };
    call.kind = request.kind as u8;
    call.form = request.form;
    call.length_only = u8::from(request.kind == Kind::Receive && request.options & MSG_TRUNC != 0);
    call.recorded = if recorded { 1 | within } else { 0 };
    call.nature = if established { nature::ESTABLISHED } else { nature::OTHER };
    call.task_id = task_id;
    call.active = 1;
    Some(call)
}

/// The socket's entry, made where this call is its first sight.
#[inline(always)]
fn entry_for(
    found: Option<&'static mut Entry>,
    sk: Sk,
    socket: OpenSocket,
    task_id: TaskId,
    request: Request,
) -> Option<&'static mut Entry> {
    let opens = matches!(request.kind, Kind::Connect | Kind::Listen);
    let fast_open = request.kind == Kind::Send && request.options & MSG_FASTOPEN != 0;
    if let Some(entry) = found {
        let is_old = entry.flags & CLOSED != 0 || (entry.verdict == IGNORED && sk.state() == TCP_CLOSE);
        if !(opens && is_old) {
            return Some(entry);
        }
        forget(socket.sk);
    } else if !is_supported(sk) {
        return None;
    }
    let state = sk.state();
    if state == TCP_CLOSE && !opens && !fast_open {
        return None;
    }
    let role = match request.kind {
        Kind::Connect => role::CLIENT,
        Kind::Listen | Kind::Accept => role::LISTENER,
        _ if fast_open && state == TCP_CLOSE => role::CLIENT,
        _ if state == TCP_LISTEN => role::LISTENER,
        _ => role::UNKNOWN,
    };
    let file = if socket.file == 0 { file_of(sk) } else { socket.file };
    let origin = Origin { role, discovered: state != TCP_CLOSE, file, process: task_id.pid, kind: 0 };
    first_sight(sk, origin, Some(process_matches(current_task(), task_id.pid)))
}
