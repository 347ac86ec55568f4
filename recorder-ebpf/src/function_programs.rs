//! Where the kernel calls in for the probe set `sockets`: the entry and the exit of each function, nothing but the unpacking
//! of arguments and results.

use crate::{
    functions,
    kernel::config,
    maps::{RECEIVE_END, SEND_END},
    programs::arg,
    request::Request,
    within::function,
};
use aya_ebpf::{btf_maps::ProgramArray, programs::FExitContext};
use core::{arch::asm, ffi::c_void};
use retrospan_formats::event::Kind;

/// A pointer that the verifier can follow.
#[inline(always)]
fn pointer(context: *mut c_void, index: usize) -> *const u8 {
    arg(context, index) as *const u8
}

/// A result of 32 bits, which is all that a function has to set.
#[inline(always)]
fn int(context: *mut c_void, index: usize) -> i64 {
    i64::from(arg(context, index) as i32)
}

/// What `inet_accept` results in, behind its arguments. Loads of their own each, since the verifier takes none whose place is
/// calculated, as the compiler would make of two.
#[inline(always)]
fn accept_result(context: *mut c_void) -> i64 {
    let result: u64;
    // SAFETY: the verifier knows how many arguments the hook has.
    unsafe {
        if config!(accept_arguments) == 4 {
            asm!("{result} = *(u64 *)({context} + 32)", result = out(reg) result, context = in(reg) context);
        } else {
            asm!("{result} = *(u64 *)({context} + 24)", result = out(reg) result, context = in(reg) context);
        }
    }
    i64::from(result as i32)
}

/// Goes on as the program of this map, for a function of the same prototype.
#[inline(always)]
fn go_on(context: *mut c_void, end: &ProgramArray<1>) {
    // SAFETY: returns only where the map is empty, which user space sees to.
    unsafe { end.tail_call(&FExitContext::new(context), 0) };
}

/// Programs by name, with the section that says where they are attached.
macro_rules! programs {
    ($($section:literal $name:ident($context:ident) $body:expr;)+) => {$(
        #[unsafe(no_mangle)]
        #[unsafe(link_section = $section)]
        fn $name($context: *mut c_void) -> i32 {
            $body;
            0
        }
    )+};
}

programs! {
    "fentry/inet_sendmsg" inet_sendmsg_enter(c) functions::sends(pointer(c, 0), pointer(c, 1), arg(c, 2));
    "fexit/inet_sendmsg" inet_sendmsg_exit(c)
        functions::has_moved(pointer(c, 0), function::SEND, Kind::Send, int(c, 3));
    "fentry/inet6_sendmsg" inet6_sendmsg_enter(c) functions::sends(pointer(c, 0), pointer(c, 1), arg(c, 2));
    "fexit/inet6_sendmsg" inet6_sendmsg_exit(c) go_on(c, &SEND_END);
    "fentry/inet_recvmsg" inet_recvmsg_enter(c)
        functions::receives(pointer(c, 0), pointer(c, 1), arg(c, 2), arg(c, 3) as u32 as u64);
    "fexit/inet_recvmsg" inet_recvmsg_exit(c)
        functions::has_moved(pointer(c, 0), function::RECEIVE, Kind::Receive, int(c, 4));
    "fentry/inet6_recvmsg" inet6_recvmsg_enter(c)
        functions::receives(pointer(c, 0), pointer(c, 1), arg(c, 2), arg(c, 3) as u32 as u64);
    "fexit/inet6_recvmsg" inet6_recvmsg_exit(c) go_on(c, &RECEIVE_END);
    "fentry/tcp_splice_read" tcp_splice_read_enter(c) functions::splices_from(pointer(c, 0), arg(c, 3));
    "fexit/tcp_splice_read" tcp_splice_read_exit(c)
        functions::has_moved_length(pointer(c, 0), function::SPLICE_FROM, Kind::Receive, arg(c, 5) as i64);
    "fentry/splice_to_socket" splice_to_socket_enter(c) functions::splices_to(pointer(c, 1), function::SPLICE_TO, arg(c, 3));
    "fexit/splice_to_socket" splice_to_socket_exit(c) functions::has_spliced_to(function::SPLICE_TO, arg(c, 5) as i64);
    "fentry/do_splice_direct" do_splice_direct_enter(c)
        functions::splices_to(pointer(c, 2), function::SEND_FILE, arg(c, 4));
    "fexit/do_splice_direct" do_splice_direct_exit(c)
        functions::has_spliced_to(function::SEND_FILE, arg(c, 6) as i64);
    "fentry/inet_sendpage" inet_sendpage_enter(c) functions::sends_page(pointer(c, 0), arg(c, 3));
    "fexit/inet_sendpage" inet_sendpage_exit(c)
        functions::has_moved_length(pointer(c, 0), function::SEND_PAGE, Kind::Send, arg(c, 5) as i64);
    "fentry/inet_accept" inet_accept_enter(c)
        functions::asks(pointer(c, 0), function::ACCEPT, Request::plain(Kind::Accept));
    "fexit/inet_accept" inet_accept_exit(c)
        functions::has_accepted(pointer(c, 0), pointer(c, 1), accept_result(c));
    "fentry/mptcp_stream_accept" mptcp_stream_accept_enter(c)
        functions::asks(pointer(c, 0), function::ACCEPT, Request::plain(Kind::Accept));
    "fexit/mptcp_stream_accept" mptcp_stream_accept_exit(c)
        functions::has_accepted(pointer(c, 0), pointer(c, 1), accept_result(c));
    "fentry/mptcp_listen" mptcp_listen_enter(c)
        functions::asks(pointer(c, 0), function::LISTEN, Request::plain(Kind::Listen));
    "fexit/mptcp_listen" mptcp_listen_exit(c) functions::has_asked(pointer(c, 0), function::LISTEN, int(c, 2));
    "fentry/inet_stream_connect" inet_stream_connect_enter(c)
        functions::asks(pointer(c, 0), function::CONNECT, Request::plain(Kind::Connect));
    "fexit/inet_stream_connect" inet_stream_connect_exit(c) functions::has_asked(pointer(c, 0), function::CONNECT, int(c, 4));
    "fentry/inet_listen" inet_listen_enter(c)
        functions::asks(pointer(c, 0), function::LISTEN, Request::plain(Kind::Listen));
    "fexit/inet_listen" inet_listen_exit(c) functions::has_asked(pointer(c, 0), function::LISTEN, int(c, 2));
    "fentry/inet_shutdown" inet_shutdown_enter(c)
        functions::asks(pointer(c, 0), function::SHUTDOWN, Request::shutdown(arg(c, 1) as u32));
    "fexit/inet_shutdown" inet_shutdown_exit(c) functions::has_asked(pointer(c, 0), function::SHUTDOWN, int(c, 2));
"fentry/unix_stream_sendmsg" unix_stream_sendmsg_enter(c) functions::sends(pointer(c, 0), pointer(c, 1), arg(c, 2));
    // Not as those above go on: a prototype with other names is another to newer kernels.
    "fexit/unix_stream_sendmsg" unix_stream_sendmsg_exit(c)
        functions::has_moved(pointer(c, 0), function::SEND, Kind::Send, int(c, 3));
    "fentry/unix_stream_recvmsg" unix_stream_recvmsg_enter(c)
        functions::receives(pointer(c, 0), pointer(c, 1), arg(c, 2), arg(c, 3) as u32 as u64);
    "fexit/unix_stream_recvmsg" unix_stream_recvmsg_exit(c)
        functions::has_moved(pointer(c, 0), function::RECEIVE, Kind::Receive, int(c, 4));
    "fentry/unix_stream_splice_read" unix_stream_splice_read_enter(c)
        functions::splices_from(pointer(c, 0), arg(c, 3));
    "fexit/unix_stream_splice_read" unix_stream_splice_read_exit(c)
        functions::has_moved_length(pointer(c, 0), function::SPLICE_FROM, Kind::Receive, arg(c, 5) as i64);
    "fentry/unix_stream_sendpage" unix_stream_sendpage_enter(c) functions::sends_page(pointer(c, 0), arg(c, 3));
    "fexit/unix_stream_sendpage" unix_stream_sendpage_exit(c)
        functions::has_moved_length(pointer(c, 0), function::SEND_PAGE, Kind::Send, arg(c, 5) as i64);
    "fentry/unix_stream_connect" unix_stream_connect_enter(c)
        functions::asks(pointer(c, 0), function::CONNECT, Request::plain(Kind::Connect));
    "fexit/unix_stream_connect" unix_stream_connect_exit(c)
        functions::has_asked(pointer(c, 0), function::CONNECT, int(c, 4));
    "fentry/unix_accept" unix_accept_enter(c)
        functions::asks(pointer(c, 0), function::ACCEPT, Request::plain(Kind::Accept));
    "fexit/unix_accept" unix_accept_exit(c)
        functions::has_accepted(pointer(c, 0), pointer(c, 1), accept_result(c));
    "fentry/unix_listen" unix_listen_enter(c)
        functions::asks(pointer(c, 0), function::LISTEN, Request::plain(Kind::Listen));
    "fexit/unix_listen" unix_listen_exit(c) functions::has_asked(pointer(c, 0), function::LISTEN, int(c, 2));
    "fentry/unix_shutdown" unix_shutdown_enter(c)
        functions::asks(pointer(c, 0), function::SHUTDOWN, Request::shutdown(arg(c, 1) as u32));
    "fexit/unix_shutdown" unix_shutdown_exit(c) functions::has_asked(pointer(c, 0), function::SHUTDOWN, int(c, 2));
    "fentry/unix_release" unix_release_enter(c) functions::closes_unix(pointer(c, 0));
    "fexit/unix_release" unix_release_exit(c) functions::has_closed(int(c, 1));
    "fentry/inet_release" inet_release_enter(c) functions::closes(pointer(c, 0));
    "fexit/inet_release" inet_release_exit(c) functions::has_closed(int(c, 1));
}
