//! The kernel's own functions for sockets, at their entry and exit: the probe set `sockets`. Whoever moves data comes through
//! them, be it a system call, io_uring or the kernel itself, and nothing else does.
//!
//! Arguments are pointers that the verifier can follow, so most of what is asked of a socket is a load.

use crate::{
    begin::begin,
    early, end,
    kernel::{OpenSocket, Sk, config, current_task, field, number, socket_of_file},
    maps::{CLOSED, InCall, Thread, form, nature, source},
    request::{MSG_ERRQUEUE, MSG_PEEK, Request},
    sockets::{forget, known},
    task_id::TaskId,
    threads, unix, unix_close, unix_names,
    within::{function, is_tried},
};
use aya_ebpf::helpers::generated::bpf_skc_to_tcp_sock;
use retrospan_formats::event::{Kind, flags};

/// `PF_EXITING` of include/linux/sched.h.
const PF_EXITING: u32 = 0x4;

/// The `struct sock` of a `struct socket`; null where it has none any more.
#[inline(always)]
fn sock_of(socket: *const u8) -> *const u8 {
    // SAFETY: an argument of the hook, which the verifier can follow.
    unsafe { field(socket, config!(offsets.socket_sk)) }
}

/// How far data of this kind has come; 0 where it is no TCP socket.
#[inline(always)]
fn position(sk: *const u8, kind: Kind) -> u32 {
    // SAFETY: a pointer that the verifier can follow; the helper looks at what it is.
    let tcp = unsafe { bpf_skc_to_tcp_sock(sk.cast_mut().cast()) } as *const u8;
    if tcp.is_null() {
        return 0;
    }
    // SAFETY: as above, and not null.
    unsafe {
        match kind {
            Kind::Send => field(tcp, config!(offsets.tcp_write_seq)),
            Kind::Receive => field(tcp, config!(offsets.tcp_copied_seq)),
            _ => 0,
        }
    }
}

#[inline(always)]
fn begins(socket: *const u8, function: u32, request: Request) -> Option<&'static mut InCall> {
    let sk = sock_of(socket);
    if sk.is_null() {
        return None;
    }
    let found = OpenSocket { sk: number(sk), file: 0 };
    begin(current_task(), found, function, request, |kind| position(sk, kind))
}

/// `inet_sendmsg(socket, message, bytes)`.
#[inline(always)]
pub fn sends(socket: *const u8, message: *const u8, bytes: u64) {
    // SAFETY: an argument of the hook, which the verifier can follow.
    let options: u32 = unsafe { field(message, config!(offsets.msg_flags)) };
    let request = Request::data(Kind::Send, form::BUFFER, 0, bytes, options.into()).named(name_in(message));
    if let Some(call) = begins(socket, function::SEND, request) {
        note_data(call, message);
    }
}

/// `inet_recvmsg(socket, message, bytes, options)`.
#[inline(always)]
pub fn receives(socket: *const u8, message: *const u8, bytes: u64, options: u64) {
    if options & (MSG_PEEK | MSG_ERRQUEUE) != 0 {
        return;
    }
    let request = Request::data(Kind::Receive, form::BUFFER, 0, bytes, options).named(name_in(message));
    if let Some(call) = begins(socket, function::RECEIVE, request) {
        note_data(call, message);
    }
}

/// Where a message has the address of its other end, in the kernel's memory; 0 where it has none.
#[inline(always)]
fn name_in(message: *const u8) -> u64 {
    // SAFETY: an argument of the hook, which the verifier can follow.
    unsafe { field(message, config!(offsets.msg_name)) }
}

/// Notes where the data is: the iterator over it is moved on by the call.
#[inline(always)]
fn note_data(call: &mut InCall, message: *const u8) {
    // SAFETY: an argument of the hook, which the verifier can follow.
    let (over, pieces, skipped, count) = unsafe {
        (
            u32::from(field::<u8>(message, config!(offsets.iter_type))),
            number(field(message, config!(offsets.iter_pieces))),
            field::<u64>(message, config!(offsets.iter_offset)),
            field::<u64>(message, config!(offsets.iter_count)),
        )
    };
    call.address = pieces;
    if over == config!(iter_ubuf) {
        call.address = pieces + skipped;
        call.data.source.set(source::PROCESS);
    } else if over == config!(iter_iovec) {
        call.form = form::ITERATOR;
        call.data.source.set(source::KERNEL);
        call.data.note_iterator(count, skipped);
    } else {
        // The kernel's own memory.
        call.form = form::SPLICE;
    }
}

/// `tcp_splice_read(socket, .., .., bytes, ..)`.
#[inline(always)]
pub fn splices_from(socket: *const u8, bytes: u64) {
    begins(socket, function::SPLICE_FROM, Request::data(Kind::Receive, form::SPLICE, 0, bytes, 0));
}

/// `inet_sendpage(socket, .., .., bytes, ..)`.
#[inline(always)]
pub fn sends_page(socket: *const u8, bytes: u64) {
    begins(socket, function::SEND_PAGE, Request::data(Kind::Send, form::SPLICE, 0, bytes, 0));
}

/// Bytes of a pipe, or of another file, on their way into a file that may be a socket.
#[inline(always)]
pub fn splices_to(file: *const u8, function: u32, bytes: u64) {
    let file = number(file);
    let sk = socket_of_file(file);
    if sk != 0 {
        let request = Request::data(Kind::Send, form::SPLICE, 0, bytes, 0);
        let found = OpenSocket { sk, file };
        begin(current_task(), found, function, request, |kind| Sk(sk).position(kind));
    }
}

/// A call without data, on a socket of a process: what the kernel does with sockets of its own is nobody's call.
#[inline(always)]
pub fn asks(socket: *const u8, function: u32, request: Request) {
    // SAFETY: an argument of the hook, which the verifier can follow.
    let file: *const u8 = unsafe { field(socket, config!(offsets.socket_file)) };
    if !file.is_null() {
        begins(socket, function, request);
    }
}

/// `inet_release(socket)`. What a process leaves open that ends is not a call of it.
#[inline(always)]
pub fn closes(socket: *const u8) {
    // SAFETY: a pointer that the verifier can follow.
    let task_flags: u32 = unsafe { field(current_task(), config!(offsets.task_flags)) };
    if task_flags & PF_EXITING == 0 {
        asks(socket, function::CLOSE, Request::plain(Kind::Close));
    }
}

/// `unix_release(socket)`. Who left it open is not asked: nothing else tells of its end.
#[inline(always)]
pub fn closes_unix(socket: *const u8) {
    // SAFETY: a pointer that the verifier can follow.
    let task_flags: u32 = unsafe { field(current_task(), config!(offsets.task_flags)) };
    if task_flags & PF_EXITING == 0 {
        return asks(socket, function::CLOSE, Request::plain(Kind::Close));
    }
    let sk = Sk(number(sock_of(socket)));
    if sk.0 != 0 && unix_names::is_stream(sk) {
        unix_close::unix_over(sk.0);
    }
}

/// The call that this thread has begun in this function, now at its end.
#[inline(always)]
fn ended(task_id: TaskId, function: u32) -> Option<&'static mut InCall> {
    let Thread { call, .. } = threads::known(task_id.tid)?;
    if call.active == 0 || call.number != function {
        return None;
    }
    call.active = 0;
    unix::ends(call);
    early::forget_seen(call, task_id.tid);
    Some(call)
}

/// The same of a function on this `struct socket`: one that it calls on another socket has no end here.
#[inline(always)]
fn ended_on(socket: *const u8, task_id: TaskId, function: u32) -> Option<&'static mut InCall> {
    let sk = sock_of(socket);
    let Thread { call, .. } = threads::known(task_id.tid)?;
    if sk.is_null() || number(sk) != call.sk {
        return None;
    }
    ended(task_id, function)
}

/// The end of a function that moves data of this kind.
#[inline(always)]
pub fn has_moved(socket: *const u8, function: u32, kind: Kind, result: i64) {
    if let Some((call, after)) = moved(socket, function, kind, result) {
        end::moved(call, result, after);
    }
}

/// The end of a function that moves data without looking at it.
#[inline(always)]
pub fn has_moved_length(socket: *const u8, function: u32, kind: Kind, result: i64) {
    if let Some((call, after)) = moved(socket, function, kind, result) {
        end::moved_length(call, result, after);
    }
}

/// The call that ends, unless it is none, and how far the socket has come.
#[inline(always)]
fn moved(socket: *const u8, function: u32, kind: Kind, result: i64) -> Option<(&'static mut InCall, u32)> {
    let call = ended_on(socket, TaskId::current(), function)?;
    if is_nothing(kind, result) {
        return None;
    }
    let sk = sock_of(socket);
    let after = if call.nature == nature::UNIX {
        unix::unix_position(call, result) as u32
    } else if call.flags & flags::NO_SEQ != 0 {
        call.seq
    } else {
        position(sk, kind)
    };
    Some((call, after))
}

/// The end of [`splices_to`].
#[inline(always)]
pub fn has_spliced_to(function: u32, result: i64) {
    let Some(call) = ended(TaskId::current(), function) else { return };
    if !is_nothing(Kind::Send, result) {
        let after = end::position(call, result);
        end::moved_length(call, result, after);
    }
}

/// Whether nobody is told this result: the call is restarted, or was only a try.
#[inline(always)]
fn is_nothing(kind: Kind, result: i64) -> bool {
    end::is_restart(result)
        || (result == end::EAGAIN && (matches!(kind, Kind::Receive) || is_tried(current_task())))
}

/// The end of a call without data.
#[inline(always)]
pub fn has_asked(socket: *const u8, function: u32, result: i64) {
    let task_id = TaskId::current();
    if let Some(call) = ended_on(socket, task_id, function)
        && !end::is_restart(result)
    {
        end::plain(call, task_id, result);
    }
}

/// The end of [`closes`]: nothing leads to the socket any more, so its entry goes with its end.
#[inline(always)]
pub fn has_closed(result: i64) {
    let task_id = TaskId::current();
    let Some(call) = ended(task_id, function::CLOSE) else { return };
    end::plain(call, task_id, result);
    if let Some(entry) = known(call.sk)
        && entry.socket_id == call.socket_id
        && entry.flags & CLOSED != 0
    {
        forget(call.sk);
    }
}

/// `inet_accept(socket, accepted, ..)`, at its end.
#[inline(always)]
pub fn has_accepted(listener: *const u8, accepted: *const u8, result: i64) {
    let task_id = TaskId::current();
    let Some(call) = ended_on(listener, task_id, function::ACCEPT) else { return };
    if end::is_restart(result) || !end::was_accepted(call, task_id, result) {
        return;
    }
    let sk = sock_of(accepted);
    if !sk.is_null() {
        // SAFETY: an argument of the hook, which the verifier can follow.
        let file: *const u8 = unsafe { field(accepted, config!(offsets.socket_file)) };
        end::accepted(call, task_id, OpenSocket { sk: number(sk), file: number(file) });
    }
}
