//! Where TLS libraries call in: one program for all functions of the same form, nothing but the unpacking of arguments.

use crate::{
    go,
    maps::form,
    regs::UserRegs,
    tls::{self, Asked, result},
};
use core::ffi::c_void;
use retrospan_formats::event::{Kind, role};

/// Programs by name. User space says where each is attached.
macro_rules! programs {
    ($($section:literal $name:ident($regs:ident) $body:expr;)+) => {$(
        #[unsafe(no_mangle)]
        #[unsafe(link_section = $section)]
        fn $name(context: *mut c_void) -> i32 {
            let $regs = UserRegs(context.cast());
            $body;
            0
        }
    )+};
}

/// Data in one buffer: the session, where it is, how long, all in the first arguments.
#[inline(always)]
fn data(regs: UserRegs, kind: Kind, length: u64, result: u8) -> Asked {
    let (address, kind) = (regs.arg1(), kind as u8);
    Asked { kind, form: form::BUFFER, address, length, result, ..Asked::plain(regs.arg0()) }
}

/// The same where the fourth argument says where the number of bytes is to be written.
#[inline(always)]
fn data_beside(regs: UserRegs, kind: Kind) -> Asked {
    Asked { moved_at: regs.arg3(), ..data(regs, kind, regs.arg2(), result::BESIDE) }
}

/// An `int` that is not negative.
#[inline(always)]
fn int(argument: u64) -> u64 {
    if (argument as i32) < 0 { 0 } else { argument as u32 as u64 }
}

programs! {
    "uprobe" tls_send_int(c) tls::begins(c, data(c, Kind::Send, int(c.arg2()), result::INT));
    "uprobe" tls_receive_int(c) tls::begins(c, data(c, Kind::Receive, int(c.arg2()), result::INT));
    "uprobe" tls_send_long(c) tls::begins(c, data(c, Kind::Send, c.arg2(), result::LONG));
    "uprobe" tls_receive_long(c) tls::begins(c, data(c, Kind::Receive, c.arg2(), result::LONG));
    "uprobe" tls_send_beside(c) tls::begins(c, data_beside(c, Kind::Send));
    "uprobe" tls_receive_beside(c) tls::begins(c, data_beside(c, Kind::Receive));
    // `SSL_sendfile(session, fd, offset, size, flags)`: the kernel encrypts, so there is no plaintext to be seen.
    "uprobe" tls_send_file(c) tls::begins(c, Asked {
        form: form::SPLICE,
        address: 0,
        ..data(c, Kind::Send, c.arg3(), result::LONG)
    });
    "uprobe" tls_ask(c) tls::begins(c, Asked::plain(c.arg0()));
    "uprobe" tls_accept(c) tls::begins(c, Asked { role: role::SERVER, ..Asked::plain(c.arg0()) });
    "uprobe" tls_connect(c) tls::begins(c, Asked { role: role::CLIENT, ..Asked::plain(c.arg0()) });
    "uprobe" tls_is_server(c) tls::is_to_be(c.arg0(), role::SERVER);
    "uprobe" tls_is_client(c) tls::is_to_be(c.arg0(), role::CLIENT);
    "uprobe" tls_new(c) tls::begins(c, Asked { result: result::SESSION, ..Asked::plain(0) });
    // `gnutls_init(where to put the session, flags)`: flag 1 is that of a server, 2 of a client.
    "uprobe" tls_new_beside(c) tls::begins(c, Asked {
        result: result::SESSION_BESIDE,
        moved_at: c.arg0(),
        role: match c.arg1() & 3 {
            1 => role::SERVER,
            2 => role::CLIENT,
            _ => role::UNKNOWN,
        },
        ..Asked::plain(0)
    });
    "uprobe" tls_free(c) tls::ends(c.arg0(), false);
    "uprobe" tls_clear(c) tls::begins_anew(c);
    "uretprobe" tls_return(c) tls::returns(c);
    // `crypto/tls.(*Conn)`: methods of Go.
    "uprobe" go_write(c) go::begins(c, Kind::Send);
    "uprobe" go_read(c) go::begins(c, Kind::Receive);
    "uprobe" go_client(c) go::is_begun(c, role::CLIENT);
    "uprobe" go_server(c) go::is_begun(c, role::SERVER);
    "uprobe" go_close(c) go::closes(c.go0());
    "uprobe" go_return(c) go::returns(c);
}
