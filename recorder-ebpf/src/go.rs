//! `crypto/tls` of Go: its calls are those of goroutines, which change threads while they are in them, and whose stacks are moved.
//!
//! Functions have their arguments and results in registers (ABIInternal, Go 1.17), and returns are seen at the functions' return
//! instructions: a return address that the kernel puts in place of Go's own breaks programs. In a system call the thread's
//! goroutine is told by the thread's own storage, where Go's runtime has it.

use crate::{
    filter::is_recorded,
    kernel::{config, current_task, field},
    maps::{Entry, GO_PROCESSES, GO_ROUTINES, IGNORED, NEW_TLS_THREAD, Routine, TlsThread, form},
    regs::UserRegs,
    ring::count_loss,
    sockets::{forget_beyond, known},
    task_id::TaskId,
    tls::{self, Asked, has_moved, is_left_alone, note, result},
    tls_sessions::{HOLE, announce, begins_now, call_begins, call_ends, ends_later, find, key, meet, tie},
};
use aya_ebpf::helpers::generated::bpf_probe_read_user;
use retrospan_formats::event::{Kind, loss, role};

/// Where the runtime keeps `g`, from a thread's own storage on (linux/amd64).
const G_OFFSET: u64 = 8;

/// The stack of a goroutine: first in its `g`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Stack {
    low: u64,
    high: u64,
}

/// A value in the caller's memory; `None` where it cannot be read.
#[inline(always)]
fn user<T: Copy>(address: u64) -> Option<T> {
    let mut value = core::mem::MaybeUninit::<T>::uninit();
    // SAFETY: the helper writes all of it or zeroes it, whatever the address.
    unsafe {
        let to = value.as_mut_ptr().cast();
        let result = bpf_probe_read_user(to, size_of::<T>() as u32, address as *const _);
        let value = value.assume_init();
        if result == 0 { Some(value) } else { None }
    }
}

#[inline(always)]
fn routine(g: u64, tgid: u32) -> Option<&'static mut TlsThread> {
    // SAFETY: values of a preallocated map stay readable and writable memory, which only the goroutine itself uses.
    GO_ROUTINES.get_ptr_mut(Routine { g, tgid: tgid.into() }).map(|routine| unsafe { &mut *routine })
}

/// The call of Go's TLS that the current thread's goroutine is in.
#[inline(always)]
pub fn current(task_id: TaskId) -> Option<&'static mut TlsThread> {
    GO_PROCESSES.get_ptr(task_id.pid)?;
    // SAFETY: the current task.
    let base: u64 = unsafe { field(current_task(), config!(offsets.task_fsbase)) };
    routine(user::<u64>(base.wrapping_sub(G_OFFSET))?, task_id.pid)
}

/// The entry of Write or Read.
#[inline(always)]
pub fn begins(regs: UserRegs, kind: Kind) {
    let task_id = TaskId::current();
    let (conn, g) = (regs.go0(), regs.g());
    if is_left_alone(task_id) || conn == 0 {
        return;
    }
    let Some(stack) = user::<Stack>(g) else { return };
    let depth = stack.high.wrapping_sub(regs.stack());
    let number = key(conn, task_id.pid);
    if let Some(outer) = routine(g, task_id.pid)
        && outer.stack != 0
        && outer.stack < depth
    {
        // One within another, on another connection (TLS in TLS), is not recorded.
        if outer.call.sk != number
            && let Some(entry) = find(conn, task_id.pid)
            && entry.verdict != IGNORED
        {
            entry.uncounted |= HOLE;
            count_loss(loss::TLS_WITHIN);
        }
        return;
    }
    let found = match find(conn, task_id.pid) {
        Some(entry) => Some(entry),
        None => meet(conn, task_id, role::UNKNOWN, true),
    };
    let Some(entry) = found.filter(|entry| entry.verdict != IGNORED) else { return };
    let asked = Asked {
        kind: kind as u8,
        form: form::BUFFER,
        address: regs.go1(),
        length: regs.go2(),
        result: result::LONG,
        moved_at: stack.high,
        ..Asked::plain(conn)
    };
    enters(g, task_id, (number, entry), depth, &asked);
}

/// Notes the goroutine's call on the session with this key.
#[inline(always)]
fn enters(g: u64, task_id: TaskId, (key, entry): (u64, &mut Entry), depth: u64, asked: &Asked) {
    let who = Routine { g, tgid: task_id.pid.into() };
    if GO_ROUTINES.insert(who, &NEW_TLS_THREAD, 0).is_err() {
        count_loss(loss::TLS_MAP);
        return;
    }
    let _ = GO_PROCESSES.insert(task_id.pid, 1, 0);
    if let Some(thread) = routine(g, task_id.pid) {
        note(thread, (key, entry.socket_id), task_id, asked);
        thread.stack = depth;
        call_begins(entry);
    }
}

/// A return instruction of one of these functions.
#[inline(always)]
pub fn returns(regs: UserRegs) {
    let task_id = TaskId::current();
    let g = regs.g();
    let Some(thread) = routine(g, task_id.pid) else { return };
    let Some(stack) = user::<Stack>(g) else { return };
    // The return address is still there, so the depth is that of the entry.
    if thread.stack == 0 || thread.stack != stack.high.wrapping_sub(regs.stack()) || is_left_alone(task_id) {
        return;
    }
    if let Some(entry) = known(thread.call.sk).filter(|entry| entry.socket_id == thread.call.socket_id) {
        moved(entry, thread, task_id, stack, regs.go0());
        if call_ends(entry) {
            tls::ends(entry.inode, false);
        }
    }
    let _ = GO_ROUTINES.remove(Routine { g, tgid: task_id.pid.into() });
}

/// The connection is closed. Other goroutines' calls on it may be under way: what they move counts until they return.
#[inline(always)]
pub fn closes(conn: u64) {
    if let Some(entry) = find(conn, TaskId::current().pid)
        && ends_later(entry)
    {
        return;
    }
    tls::ends(conn, false);
}

#[inline(always)]
fn moved(entry: &mut Entry, thread: &mut TlsThread, task_id: TaskId, stack: Stack, bytes: u64) {
    tie(entry, thread.carrier, thread.carrier_verdict as u8, thread.several != 0);
    if thread.call.kind == 0 || (bytes as i64) <= 0 || !is_recorded(entry) {
        return;
    }
    // A buffer on a stack that was moved meanwhile is as far from its end as it was.
    let (before, call) = (thread.moved_at, &mut thread.call);
    if call.address < before && before - call.address <= thread.stack {
        call.address = stack.high.wrapping_sub(before - call.address);
    }
    call.task_id = task_id;
    announce(entry);
    has_moved(entry, thread, bytes);
}

/// A handshake begins, and so does the session. What it does shows which socket the session is on: its first data may have come with it.
#[inline(always)]
pub fn is_begun(regs: UserRegs, role: u8) {
    let task_id = TaskId::current();
    let (conn, g) = (regs.go0(), regs.g());
    if is_left_alone(task_id) || conn == 0 {
        return;
    }
    let Some(stack) = user::<Stack>(g) else { return };
    let depth = stack.high.wrapping_sub(regs.stack());
    let number = key(conn, task_id.pid);
    // Within the first Write or Read, which has met it already.
    if let Some(outer) = routine(g, task_id.pid)
        && outer.stack != 0
        && outer.stack < depth
    {
        if outer.call.sk == number
            && let Some(entry) = find(conn, task_id.pid)
        {
            begins_now(entry, role);
        }
        return;
    }
    if find(conn, task_id.pid).is_some() {
        forget_beyond(number);
    }
    if let Some(entry) = meet(conn, task_id, role, false)
        && entry.verdict != IGNORED
    {
        enters(g, task_id, (number, entry), depth, &Asked { role, ..Asked::plain(conn) });
    }
}
