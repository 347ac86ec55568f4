//! Datagrams: UDP sockets, on which every call that moves data says itself who it is from and to.
//!
//! A socket has no state that tells of its begin and end, so its entry is made with its first datagram that is recorded, and
//! is another's where the inode has changed. Which datagrams are recorded is asked of each one's ports: at the beginning of
//! a call as far as they are known by then, so that others leave at once.

use crate::{
    data::{copy_at, find_buffers},
    emit::{MMSGHDR_BYTES, MOST_MESSAGES, MSGHDR_BYTES},
    filter::{datagram_answer, is_recorded, process_matches},
    gather::{SNAP, gather_256, gather_1024, gather_4096, step_bytes},
    kernel::{AF_INET, AF_INET6, OpenSocket, Sk, config, current_task, file_of, probe, socket_inode},
    maps::{DATAGRAMS, Entry, InCall, Thread, form, nature},
    request::{MSG_ERRQUEUE, MSG_PEEK, MSG_TRUNC, Request},
    ring::{BODY, HEADER, bounded, count_loss, now_ns, reserve},
    rules::{answer::Answer, ports::is_dns},
    sockets::{Origin, announce_other, bytes, first_sight, forget, is_udp, known},
    task_id::TaskId,
    threads,
};
use aya_ebpf::helpers::generated::bpf_probe_read_user;
use core::mem::size_of;
use retrospan_formats::{
    config::kinds,
    event::{Call, Ends, Kind, Record, flags, loss, role},
};

/// [`Entry::state`] of a socket of which a datagram was recorded.
const ASKED: u8 = 1;

/// Notes a call on a UDP socket, if it may have to be recorded. A function of its own, so that calls on other sockets do not pay
/// for what it keeps on the stack.
#[inline(never)]
pub fn begin(socket: &OpenSocket, number: u32, request: &Request) -> Option<&'static mut InCall> {
    let sk = Sk(socket.sk);
    let task_id = TaskId::current();
    let file = if socket.file == 0 { file_of(sk) } else { socket.file };
    let inode = socket_inode(file);
    if matches!(request.kind, Kind::Close) {
        return close(socket.sk, inode, number, task_id);
    }
    let receives = matches!(request.kind, Kind::Receive);
    // What has no file is the kernel's own.
    if inode == 0 || !(receives || matches!(request.kind, Kind::Send)) {
        return None;
    }
    if receives && request.options & (MSG_PEEK | MSG_ERRQUEUE) != 0 {
        return None;
    }
    let found = match known(socket.sk) {
        Some(entry) if entry.inode == inode => Some(entry),
        Some(_) => {
            forget(socket.sk);
            None
        }
        None => None,
    };
    if !is_udp(sk) || !may_be_wanted(sk, request, receives, found.is_some()) {
        return None;
    }
    let entry = match found {
        Some(entry) => entry,
        None => met(sk, file, task_id.pid)?,
    };
    if !is_recorded(entry) {
        return None;
    }
    // A connected socket has its addresses by now, and so the other end's flow may begin anew.
    announce_other(entry, sk);
    let call = noted(sk, entry.socket_id, number, request.kind, task_id)?;
    call.address = request.address;
    call.length = request.length;
    call.form = request.form;
    call.length_only = u8::from(receives && request.options & MSG_TRUNC != 0);
    call.data.left.set(request.name);
    Some(call)
}

/// The entry of a socket that is not known. A function of its own for what it keeps on the stack.
#[inline(never)]
fn met(sk: Sk, file: u64, process: u32) -> Option<&'static mut Entry> {
    let matches = process_matches(current_task(), process);
    let origin = Origin { role: role::UNKNOWN, discovered: false, file, process, kind: DATAGRAMS };
    first_sight(sk, origin, Some(matches))
}

/// The call of close: the next datagram at this address is another socket's.
#[inline(always)]
fn close(sk: u64, inode: u64, number: u32, task_id: TaskId) -> Option<&'static mut InCall> {
    let entry = known(sk)?;
    let (socket_id, recorded) = (entry.socket_id, entry.is_recorded() && entry.inode == inode);
    forget(sk);
    if recorded { noted(Sk(sk), socket_id, number, Kind::Close, task_id) } else { None }
}

#[inline(always)]
fn noted(sk: Sk, socket_id: u64, number: u32, kind: Kind, task_id: TaskId) -> Option<&'static mut InCall> {
    let Some(Thread { call, .. }) = threads::met(task_id.tid) else {
        count_loss(loss::CALL_MAP);
        return None;
    };
    call.enter_ns = now_ns();
    call.data.done.set(0);
    call.sk = sk.0;
    call.socket_id = socket_id;
    call.number = number;
    call.seq = 0;
    call.flags = flags::NO_SEQ;
    call.kind = kind as u8;
    call.form = form::NONE;
    call.recorded = 1;
    call.nature = nature::DATAGRAMS;
    call.task_id = task_id;
    call.active = 1;
    Some(call)
}

/// Whether the call's datagram may be one that is recorded, by the ports that are known at its beginning. `has_entry`: one of this
/// socket was.
#[inline(always)]
fn may_be_wanted(sk: Sk, request: &Request, receives: bool, has_entry: bool) -> bool {
    let mut remote = sk.remote_port();
    if remote == 0 && !receives {
        let name = if is_message(request.form) && config!(sockets) == 0 {
            user(request.address)
        } else {
            request.name
        };
        remote = port_of(name);
    }
    let local = sk.local_port();
    if config!(kinds) & kinds::UDP == 0 && !is_dns(local) && !is_dns(remote) && (remote != 0 || !has_entry) {
        return false;
    }
    datagram_answer(sk.0, u64::from(remote)) != Answer::No as u64
}

#[inline(always)]
fn is_message(form: u8) -> bool {
    form == form::MESSAGE || form == form::MESSAGES
}

/// A word in the caller's memory; 0 where it cannot be read.
#[inline(always)]
fn user<T: Copy + Default>(address: u64) -> T {
    let mut value = T::default();
    // SAFETY: the helper writes as many bytes or zeroes them, whatever the address.
    unsafe { bpf_probe_read_user((&raw mut value).cast(), size_of::<T>() as u32, address as *const _) };
    value
}

/// A part of a `struct sockaddr` that a call was given or has filled: in the kernel's memory, or the caller's.
#[inline(always)]
fn name_part<T: Copy + Default>(name: u64, offset: u32) -> T {
    if config!(sockets) != 0 { probe(name, offset) } else { user(name + u64::from(offset)) }
}

/// Family, port, and the four bytes behind them: the beginning of a `struct sockaddr_in` or `sockaddr_in6`.
#[inline(always)]
fn name_begin(name: u64) -> u64 {
    if name == 0 { 0 } else { name_part(name, 0) }
}

/// Whether what begins so is an address of IP.
#[inline(always)]
fn is_named(begin: u64) -> bool {
    begin as u16 == AF_INET || begin as u16 == AF_INET6
}

#[inline(always)]
fn port_in(begin: u64) -> u16 {
    u16::from_be((begin >> 16) as u16)
}

/// The port of a name, 0 where it is none of IP.
#[inline(always)]
fn port_of(name: u64) -> u16 {
    let begin = name_begin(name);
    if is_named(begin) { port_in(begin) } else { 0 }
}

/// Writes the event of one datagram; `address` as for [`emit_data`](crate::data::emit_data). What is found out of it is kept with
/// the call, as long as that lasts. A function of its own for the verifier.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn emit_datagram(call: *mut InCall, address: u64, done: u64, errno: u64) -> i32 {
    // SAFETY: null or a valid call; the verifier insists on the check.
    let Some(call) = (unsafe { call.as_ref() }) else { return 0 };
    // An empty datagram would look like the end of a stream.
    if done == 0 && errno == 0 {
        return 0;
    }
    let sk = Sk(call.sk);
    let receives = call.kind == Kind::Receive as u8;
    let name = if receives && errno != 0 {
        0
    } else if is_message(call.form) {
        user(address)
    } else {
        call.data.left.get()
    };
    let begin = name_begin(name);
    let local = sk.local_port();
    let remote = if is_named(begin) { port_in(begin) } else { sk.remote_port() };
    let is_wanted = (config!(kinds) & kinds::UDP != 0 || is_dns(local) || is_dns(remote))
        && datagram_answer(sk.0, u64::from(remote)) == Answer::Yes as u64;
    let Some(entry) = known(call.sk).filter(|entry| entry.socket_id == call.socket_id) else { return 0 };
    if is_wanted {
        entry.state = ASKED;
    } else if remote != 0 || entry.state != ASKED {
        // Whoever does not ask where a datagram is from takes what comes: the answer to one that was recorded.
        return 0;
    }
    let data = &call.data;
    let arrived = data.done.get();
    let wanted = find(call, address, done);
    data.done.set(done);
    data.tail_buffer.set(arrived);
    data.tail_offset.set(errno);
    data.read.set(name);
    data.place.set(begin);
    if wanted <= 256 {
        write_256(call, wanted);
    } else if wanted <= 1024 {
        write_1024(call, wanted);
    } else {
        write_4096(call, wanted);
    }
    0
}

/// Writes the events of the datagrams of one call, whose first `struct mmsghdr` is there. A function of its own for the verifier.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn emit_datagrams(call: *mut InCall, first: u64, count: u64) -> i32 {
    let mut index = 0;
    while index < MOST_MESSAGES && index < count {
        let address = first + index * MMSGHDR_BYTES;
        emit_datagram(call, address, user::<u32>(address + MSGHDR_BYTES).into(), 0);
        index += 1;
    }
    0
}

/// Finds where the datagram is in the caller's memory, and how much of it is to be kept.
#[inline(always)]
fn find(call: &InCall, address: u64, done: u64) -> u64 {
    let data = &call.data;
    data.first_address.set(address);
    data.first_bytes.set(call.length);
    data.count.set(0);
    if call.form != form::SPLICE && call.form != form::BUFFER {
        find_buffers(data, call, address, done);
    }
    if !is_message(call.form) {
        data.asked.set(call.length);
    }
    // MSG_TRUNC: more came than there was room for.
    let asked = data.asked.get();
    let readable = if done < asked { done } else { asked };
    let snap = u64::from(config!(snap_bytes));
    if call.form == form::SPLICE {
        0
    } else if readable < snap {
        readable
    } else {
        snap
    }
}

/// Both ends, as [`emit_datagram`] has found them.
#[inline(always)]
fn ends_of(call: &InCall) -> Ends {
    let sk = Sk(call.sk);
    let (name, begin) = (call.data.read.get(), call.data.place.get());
    let remote_addr = if !is_named(begin) {
        sk.remote_address()
    } else if begin as u16 == AF_INET {
        [0, 0, 0xffff_u32.to_be(), (begin >> 32) as u32]
    } else {
        let [low, high]: [u64; 2] = [name_part(name, 8), name_part(name, 16)];
        [low as u32, (low >> 32) as u32, high as u32, (high >> 32) as u32]
    };
    let local_addr = sk.local_address();
    Ends {
        local_addr: bytes(local_addr),
        remote_addr: bytes(remote_addr),
        local_port: sk.local_port(),
        remote_port: if is_named(begin) { port_in(begin) } else { sk.remote_port() },
        reserved: 0,
    }
}

/// Where the bytes of a datagram begin in its record.
const DATA: usize = BODY + size_of::<Ends>();

/// One function a size of the room for the data, for the verifier, too.
macro_rules! writers {
    ($($name:ident $gather:ident $cap:expr;)+) => {$(
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $name(call: *const InCall, wanted: u64) -> i32 {
            const BYTES: u64 = DATA as u64 + $cap + step_bytes($cap);
            // SAFETY: null or a valid call; the verifier insists on the check.
            let Some(call) = (unsafe { call.as_ref() }) else { return 0 };
            let kind = call.kind;
            let Some(reservation) = reserve::<BYTES>(Record::Datagram, kind, u32::from(kind), call.task_id)
            else {
                return 0;
            };
            let data = &call.data;
            let head = if data.count.get() == 0 {
                data.head.set(wanted);
                let head = bounded(data.head.get(), $cap);
                if copy_at(&reservation, DATA, head, data.first_address.get()) { head } else { 0 }
            } else {
                data.buffer.set(0);
                data.offset.set(0);
                // SAFETY: the room is that of BYTES, and the function that of its size.
                unsafe { $gather(reservation.at.add(DATA).cast(), data, wanted) };
                bounded(data.copied.get(), $cap)
            };
            let done = data.done.get();
            let mut flags = call.flags;
            if head == 0 && done != 0 && config!(snap_bytes) != 0 {
                flags |= flags::LENGTH_ONLY;
            } else if head < done {
                flags |= flags::PAYLOAD_CUT;
            }
            let event = Call {
                socket_id: call.socket_id,
                duration_ns: reservation.boot_ns - call.enter_ns,
                asked_bytes: data.asked.get(),
                done_bytes: done,
                arrived_wall_ns: data.tail_buffer.get(),
                tcp_seq: 0,
                flags,
                errno: data.tail_offset.get() as u16,
                more_records: 0,
                head_bytes: head as u16,
                tail_bytes: 0,
            };
            // SAFETY: every room for a datagram has space for both.
            unsafe {
                reservation.put(HEADER, event);
                reservation.put(BODY, ends_of(call));
            }
            reservation.submit((DATA as u64 + head) as u32);
            0
        }
    )+};
}

writers! {
    write_256 gather_256 256;
    write_1024 gather_1024 1024;
    write_4096 gather_4096 SNAP;
}
