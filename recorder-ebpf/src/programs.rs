//! Where the kernel calls in: one function a hook, nothing but the unpacking of its arguments.

use crate::{
    arrivals, early, enter, exit,
    kernel::{Sk, config, field, number},
    process,
    regs::Regs,
    sched, snapshot, state, tcp, wakes,
};
use core::ffi::c_void;
use retrospan_formats::event::TcpKind;

/// The kernel refuses helpers that are GPL-only to any other licence text.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// An argument of a typed tracepoint, or a field of an iterator's context.
#[inline(always)]
pub fn arg(context: *mut c_void, index: usize) -> u64 {
    // SAFETY: the verifier knows how many arguments the hook has and what each is.
    unsafe { context.cast::<u64>().add(index).read_volatile() }
}

/// An argument that is a socket's address.
#[inline(always)]
fn sock(context: *mut c_void, index: usize) -> Sk {
    Sk(number(arg(context, index) as *const u8))
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "tp_btf/sys_enter")]
fn sys_enter(context: *mut c_void) -> i32 {
    enter::call(Regs(arg(context, 0) as *const u8), arg(context, 1));
    0
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "tp_btf/sys_exit")]
fn sys_exit(context: *mut c_void) -> i32 {
    exit::call(Regs(arg(context, 0) as *const u8), arg(context, 1) as i64);
    0
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "tp_btf/inet_sock_set_state")]
fn inet_sock_set_state(context: *mut c_void) -> i32 {
    state::changed::<false>(sock(context, 0), arg(context, 1) as u8, arg(context, 2) as u8);
    0
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "tp_btf/inet_sock_set_state")]
fn inet_sock_set_state_again(context: *mut c_void) -> i32 {
    state::changed::<true>(sock(context, 0), arg(context, 1) as u8, arg(context, 2) as u8);
    0
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "tp_btf/sched_process_fork")]
fn sched_process_fork(context: *mut c_void) -> i32 {
    process::forked(arg(context, 0) as *const u8, arg(context, 1) as *const u8);
    0
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "tp_btf/sched_process_exec")]
fn sched_process_exec(context: *mut c_void) -> i32 {
    process::executed(arg(context, 1) as u32, arg(context, 2) as *const u8);
    0
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "tp_btf/sched_process_exit")]
fn sched_process_exit(_context: *mut c_void) -> i32 {
    process::exited();
    0
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "tp_btf/task_rename")]
fn task_rename(context: *mut c_void) -> i32 {
    process::renamed(arg(context, 0) as *const u8, number(arg(context, 1) as *const u8));
    0
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "tp_btf/cgroup_attach_task")]
fn cgroup_attach_task(context: *mut c_void) -> i32 {
    process::moved(number(arg(context, 1) as *const u8), arg(context, 2) as *const u8);
    0
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "tp_btf/tcp_retransmit_skb")]
fn tcp_retransmit_skb(context: *mut c_void) -> i32 {
    // Where the kernel tells the result, it also calls for segments that it could not send.
    if config!(retransmit_result) == 0 || arg(context, 2) as u32 == 0 {
        tcp::sent_again(sock(context, 0), arg(context, 1));
    }
    0
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "tp_btf/tcp_send_reset")]
fn tcp_send_reset(context: *mut c_void) -> i32 {
    tcp::reset(TcpKind::ResetSent, sock(context, 0));
    0
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "tp_btf/tcp_receive_reset")]
fn tcp_receive_reset(context: *mut c_void) -> i32 {
    tcp::reset(TcpKind::ResetReceived, sock(context, 0));
    0
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "tp_btf/skb_copy_datagram_iovec")]
fn skb_copy_datagram_iovec(context: *mut c_void) -> i32 {
    arrivals::taken(arg(context, 0) as *const u8);
    0
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "tp_btf/sched_switch")]
fn sched_switch(context: *mut c_void) -> i32 {
    let (before, after) = (arg(context, 1) as *const u8, arg(context, 2) as *const u8);
    let state = if config!(switch_state) != 0 {
        arg(context, 3) as u32
    } else {
        // SAFETY: an argument of the hook, which the verifier can follow.
        unsafe { field(before, config!(offsets.task_state)) }
    };
    sched::switched(arg(context, 0) as u8 != 0, before, after, state);
    0
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "tp_btf/sched_wakeup")]
fn sched_wakeup(context: *mut c_void) -> i32 {
    sched::woken(arg(context, 0) as *const u8);
    0
}

/// In whoever wakes, or in an interrupt on top of it.
#[unsafe(no_mangle)]
#[unsafe(link_section = "tp_btf/sched_waking")]
fn sched_waking(context: *mut c_void) -> i32 {
    wakes::waking(context, arg(context, 0) as *const u8);
    0
}

/// `struct bpf_iter__task_file`: meta, task, descriptor, file.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
fn task_file(context: *mut c_void) -> i32 {
    snapshot::visit(arg(context, 1) as *const u8, arg(context, 3) as *const u8);
    0
}

/// `struct bpf_iter__task`: meta, task.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
fn task(context: *mut c_void) -> i32 {
    early::visit(arg(context, 1) as *const u8);
    0
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    // SAFETY: no code path panics; the verifier refuses a program that could come here.
    unsafe { core::hint::unreachable_unchecked() }
}
