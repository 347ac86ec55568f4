//! The entry of a system call: which socket it is on, and what its arguments say.

use crate::{
    begin::begin,
    filter::{Matches, process_matches},
    kernel::{Sk, current_task, is_compat, open_socket},
    regs::{self, Regs},
    request::of_system_call,
    ring::count_loss,
    sockets::known,
    task_id::TaskId,
};
use retrospan_formats::event::{Kind, loss};

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
    let Some(mut request) = of_system_call(regs, number) else { return };
    if number == regs::SPLICE && socket.sk == 0 {
        socket = open_socket(task, regs.arg2() as u32);
        request.kind = Kind::Send;
    }
    if socket.sk == 0 {
        return;
    }
    let sk = Sk(socket.sk);
    if let Some(call) = begin(task, socket, number as u32, request, |kind| sk.position(kind)) {
        call.fd = regs.arg0() as u32;
    }
}

/// Counts a 32-bit call that would have been recorded had it been a 64-bit one.
#[inline(always)]
fn compat(task: *const u8, regs: Regs, number: u64) {
    let watched = if regs::is_socket_call_compat(number) {
        process_matches(task, TaskId::of(task).pid) != Matches::No
    } else {
        let socket = open_socket(task, regs.compat_arg0() as u32);
        socket.sk != 0 && known(socket.sk).is_some_and(|entry| entry.is_recorded())
    };
    if watched {
        count_loss(loss::COMPAT_CALL);
    }
}
