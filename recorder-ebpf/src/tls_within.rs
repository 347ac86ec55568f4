//! System calls on sockets within calls of TLS libraries: they say which socket a session is on.

use crate::{
    go,
    kernel::config,
    maps::{Entry, TLS_THREADS, TlsThread},
    task_id::TaskId,
};

/// A system call of this thread is on that socket; whether a call of a TLS library makes it.
#[inline(always)]
pub fn touches(entry: &Entry) -> bool {
    config!(tls) != 0 && tls_touches(entry.socket_id, u64::from(entry.verdict)) != 0
}

/// A function of its own, for what it keeps on the stack.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn tls_touches(socket_id: u64, verdict: u64) -> i32 {
    let task_id = TaskId::current();
    if let Some(thread) = TLS_THREADS.get_ptr_mut(task_id.tid) {
        // SAFETY: values of a preallocated map stay readable and writable memory, which only the thread itself uses.
        touched(unsafe { &mut *thread }, socket_id, verdict)
    } else if let Some(routine) = go::current(task_id) {
        touched(routine, socket_id, verdict)
    } else {
        0
    }
}

#[inline(always)]
fn touched(thread: &mut TlsThread, socket_id: u64, verdict: u64) -> i32 {
    if thread.stack == 0 {
        return 0;
    }
    if thread.carrier == 0 {
        thread.carrier = socket_id;
        thread.carrier_verdict = verdict as u32;
    } else if thread.carrier != socket_id {
        thread.several = 1;
    }
    1
}
