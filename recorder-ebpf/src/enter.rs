//! The entry of a system call: which socket it is on, and what its arguments say. Everything about
//! the socket is settled here, since at the exit the descriptor may lead elsewhere.

use crate::{
    filter::{decide_in, process_matches},
    kernel::{OpenSocket, Sk, TCP_CLOSE, TCP_ESTABLISHED, TCP_LISTEN, current_task, is_compat, open_socket},
    maps::{CLOSED, Entry, IGNORED, IS_TCP, RECORDED, Thread, form},
    regs::{self, Regs},
    ring::{count_loss, now_ns},
    sockets::{Origin, announce, first_sight, forget, is_supported, known},
    task_id::TaskId,
    threads,
};
use retrospan_formats::event::{Kind, flags, loss, role};

pub const MSG_PEEK: u64 = 0x2;
pub const MSG_TRUNC: u64 = 0x20;
pub const MSG_ERRQUEUE: u64 = 0x2000;
const MSG_FASTOPEN: u64 = 0x2000_0000;

/// What the arguments of a call say, apart from the socket.
#[derive(Clone, Copy)]
pub struct SyscallArgs {
    pub kind: Kind,
    pub form: u8,
    pub address: u64,
    pub length: u64,
    /// `MSG_` flags.
    pub options: u64,
    pub flags: u32,
}

impl SyscallArgs {
    #[inline(always)]
    const fn plain(kind: Kind) -> SyscallArgs {
        SyscallArgs { kind, form: form::NONE, address: 0, length: 0, options: 0, flags: flags::NO_SEQ }
    }
    #[inline(always)]
    const fn data(kind: Kind, form: u8, address: u64, length: u64, options: u64) -> SyscallArgs {
        SyscallArgs { kind, form, address, length, options, flags: 0 }
    }
}

/// `sys_enter(regs, id)`.
#[inline(always)]
pub fn call(regs: Regs, number: u64) {
    let maybe_compat = regs::is_wanted_compat(number);
    let wanted = regs::is_wanted(number);
    if !wanted && !maybe_compat {
        return;
    }
    let task = current_task();
    if is_compat(task) {
        if maybe_compat {
            compat(task, regs, number);
        }
        return;
    }
    if !wanted {
        return;
    }
    let mut socket = open_socket(task, regs.arg0() as u32);
    let Some(mut args) = args(regs, number) else { return };
    if number == regs::SPLICE && socket.sk == 0 {
        socket = open_socket(task, regs.arg2() as u32);
        args.kind = Kind::Send;
    }
    if socket.sk == 0 {
        return;
    }
    watched(task, socket, number, regs.arg0() as u32, args);
}

#[inline(always)]
pub fn args(regs: Regs, number: u64) -> Option<SyscallArgs> {
    use Kind::{Accept, Close, Connect, Listen, Receive, Send, Shutdown};
    let (first, second, third) = (regs.arg1(), regs.arg2(), regs.arg3());
    Some(match number {
        regs::READ => SyscallArgs::data(Receive, form::BUFFER, first, second, 0),
        regs::WRITE => SyscallArgs::data(Send, form::BUFFER, first, second, 0),
        regs::READV => SyscallArgs::data(Receive, form::VECTOR, first, second, 0),
        regs::WRITEV => SyscallArgs::data(Send, form::VECTOR, first, second, 0),
        regs::RECVFROM => SyscallArgs::data(Receive, form::BUFFER, first, second, third),
        regs::SENDTO => SyscallArgs::data(Send, form::BUFFER, first, second, third),
        regs::RECVMSG => SyscallArgs::data(Receive, form::MESSAGE, first, 0, second),
        regs::SENDMSG => SyscallArgs::data(Send, form::MESSAGE, first, 0, second),
        regs::RECVMMSG => SyscallArgs::data(Receive, form::MESSAGES, first, second, third),
        regs::SENDMMSG => SyscallArgs::data(Send, form::MESSAGES, first, second, third),
        regs::SENDFILE => SyscallArgs::data(Send, form::SPLICE, 0, third, 0),
        regs::SPLICE => SyscallArgs::data(Receive, form::SPLICE, 0, regs.arg4(), 0),
        regs::CONNECT => SyscallArgs::plain(Connect),
        regs::ACCEPT | regs::ACCEPT4 => SyscallArgs::plain(Accept),
        regs::LISTEN => SyscallArgs::plain(Listen),
        regs::CLOSE => SyscallArgs::plain(Close),
        regs::SHUTDOWN => {
            let mut args = SyscallArgs::plain(Shutdown);
            args.flags |= match first as u32 {
                0 => flags::SHUT_READ,
                1 => flags::SHUT_WRITE,
                _ => flags::SHUT_READ | flags::SHUT_WRITE,
            };
            args
        }
        _ => return None,
    })
}

/// A call on a socket of whatever kind.
#[inline(always)]
fn watched(task: *const u8, socket: OpenSocket, number: u64, fd: u32, args: SyscallArgs) {
    let task_id = TaskId::of(task);
    let sk = Sk(socket.sk);
    let found = known(socket.sk);
    if let Some(entry) = &found
        && entry.verdict == IGNORED
        && !matches!(args.kind, Kind::Accept | Kind::Connect)
    {
        if args.kind == Kind::Close && entry.flags & CLOSED != 0 {
            forget(socket.sk);
        }
        return;
    }
    if args.kind == Kind::Receive && args.options & (MSG_PEEK | MSG_ERRQUEUE) != 0 {
        return;
    }
    let Some(entry) = entry_for(found, sk, socket, task_id, args) else { return };
    decide_in(entry, sk, task_id.pid);
    // An opening socket has no addresses yet: it is announced with its first state change.
    if !matches!(args.kind, Kind::Connect | Kind::Listen) {
        announce(entry, sk, false);
    }
    if entry.verdict == IGNORED && args.kind != Kind::Accept {
        return;
    }
    let (socket_id, recorded) = (entry.socket_id, entry.verdict == RECORDED);
    let established = entry.state == TCP_ESTABLISHED;
    let is_tcp = entry.flags & IS_TCP != 0;
    let seq = match args.kind {
        Kind::Send if is_tcp => sk.write_seq(),
        Kind::Receive if is_tcp => sk.copied_seq(),
        _ => 0,
    };
    if args.kind == Kind::Close && sk.state() == TCP_CLOSE {
        forget(socket.sk);
    }
    let Some(Thread { call, .. }) = threads::met(task_id.tid) else {
        count_loss(loss::CALL_MAP);
        return;
    };
    call.enter_ns = now_ns();
    call.data.done.set(0);
    call.sk = socket.sk;
    call.socket_id = socket_id;
    call.address = args.address;
    call.length = args.length;
    call.number = number as u32;
    call.seq = seq;
    call.flags = if is_tcp { args.flags } else { args.flags | flags::NO_SEQ };
    call.kind = args.kind as u8;
    call.form = args.form;
    call.length_only = u8::from(args.kind == Kind::Receive && args.options & MSG_TRUNC != 0);
    call.recorded = u8::from(recorded);
    call.established = u8::from(established);
    call.fd = fd;
    call.task_id = task_id;
    call.active = 1;
}

/// The socket's entry, made where this call is its first sight.
#[inline(always)]
fn entry_for(
    found: Option<&'static mut Entry>,
    sk: Sk,
    socket: OpenSocket,
    task_id: TaskId,
    args: SyscallArgs,
) -> Option<&'static mut Entry> {
    let opens = matches!(args.kind, Kind::Connect | Kind::Listen);
    let fast_open = args.kind == Kind::Send && args.options & MSG_FASTOPEN != 0;
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
    let role = match args.kind {
        Kind::Connect => role::CLIENT,
        Kind::Listen | Kind::Accept => role::LISTENER,
        _ if fast_open && state == TCP_CLOSE => role::CLIENT,
        _ if state == TCP_LISTEN => role::LISTENER,
        _ => role::UNKNOWN,
    };
    let origin = Origin { role, discovered: state != TCP_CLOSE, file: socket.file, process: task_id.pid };
    first_sight(sk, origin, Some(process_matches(current_task(), task_id.pid)))
}

/// Counts a 32-bit call that would have been recorded had it been a 64-bit one.
#[inline(always)]
fn compat(task: *const u8, regs: Regs, number: u64) {
    let watched = if regs::is_socket_call_compat(number) {
        process_matches(task, TaskId::of(task).pid)
    } else {
        let socket = open_socket(task, regs.compat_arg0() as u32);
        socket.sk != 0 && known(socket.sk).is_some_and(|entry| entry.verdict == RECORDED)
    };
    if watched {
        count_loss(loss::COMPAT_CALL);
    }
}
