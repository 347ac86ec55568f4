//! The entry of a system call: which socket it is on, and what its arguments say.

use crate::{
    begin::{Request, begin},
    filter::process_matches,
    kernel::{Sk, current_task, is_compat, open_socket},
    maps::{RECORDED, form},
    regs::{self, Regs},
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
    let Some(mut request) = request(regs, number) else { return };
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

#[inline(always)]
pub fn request(regs: Regs, number: u64) -> Option<Request> {
    use Kind::{Accept, Close, Connect, Listen, Receive, Send};
    let (first, second, third) = (regs.arg1(), regs.arg2(), regs.arg3());
    Some(match number {
        regs::READ => Request::data(Receive, form::BUFFER, first, second, 0),
        regs::WRITE => Request::data(Send, form::BUFFER, first, second, 0),
        regs::READV => Request::data(Receive, form::VECTOR, first, second, 0),
        regs::WRITEV => Request::data(Send, form::VECTOR, first, second, 0),
        regs::RECVFROM => Request::data(Receive, form::BUFFER, first, second, third),
        regs::SENDTO => Request::data(Send, form::BUFFER, first, second, third),
        regs::RECVMSG => Request::data(Receive, form::MESSAGE, first, 0, second),
        regs::SENDMSG => Request::data(Send, form::MESSAGE, first, 0, second),
        regs::RECVMMSG => Request::data(Receive, form::MESSAGES, first, second, third),
        regs::SENDMMSG => Request::data(Send, form::MESSAGES, first, second, third),
        regs::SENDFILE => Request::data(Send, form::SPLICE, 0, third, 0),
        regs::SPLICE => Request::data(Receive, form::SPLICE, 0, regs.arg4(), 0),
        regs::CONNECT => Request::plain(Connect),
        regs::ACCEPT | regs::ACCEPT4 => Request::plain(Accept),
        regs::LISTEN => Request::plain(Listen),
        regs::CLOSE => Request::plain(Close),
        regs::SHUTDOWN => Request::shutdown(first as u32),
        _ => return None,
    })
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
