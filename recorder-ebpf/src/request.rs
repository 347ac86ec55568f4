//! What a call asks for.

use crate::{
    maps::form,
    regs::{self, Regs},
};
use retrospan_formats::event::{Kind, flags};

pub const MSG_PEEK: u64 = 0x2;
pub const MSG_TRUNC: u64 = 0x20;
pub const MSG_ERRQUEUE: u64 = 0x2000;
pub const MSG_FASTOPEN: u64 = 0x2000_0000;

/// What a call asks for, apart from the socket.
#[derive(Clone, Copy)]
pub struct Request {
    pub kind: Kind,
    pub form: u8,
    pub address: u64,
    pub length: u64,
    /// `MSG_` flags.
    pub options: u64,
    pub flags: u32,
    /// Where the address of a datagram's other end stands, if the arguments say so themselves.
    pub name: u64,
}

impl Request {
    #[inline(always)]
    pub const fn plain(kind: Kind) -> Request {
        Request { kind, form: form::NONE, address: 0, length: 0, options: 0, flags: flags::NO_SEQ, name: 0 }
    }
    #[inline(always)]
    pub const fn data(kind: Kind, form: u8, address: u64, length: u64, options: u64) -> Request {
        Request { kind, form, address, length, options, flags: 0, name: 0 }
    }
    /// The same, with such an address.
    #[inline(always)]
    pub const fn named(self, name: u64) -> Request {
        Request { name, ..self }
    }
    /// shutdown with this `how`.
    #[inline(always)]
    pub const fn shutdown(how: u32) -> Request {
        let mut request = Request::plain(Kind::Shutdown);
        request.flags |= match how {
            0 => flags::SHUT_READ,
            1 => flags::SHUT_WRITE,
            _ => flags::SHUT_READ | flags::SHUT_WRITE,
        };
        request
    }
}

/// That of the system call that these registers are of, if it is one on sockets.
#[inline(always)]
pub fn of_system_call(regs: Regs, number: u64) -> Option<Request> {
    use Kind::{Accept, Close, Connect, Listen, Receive, Send};
    let (first, second, third) = (regs.arg1(), regs.arg2(), regs.arg3());
    Some(match number {
        regs::READ => Request::data(Receive, form::BUFFER, first, second, 0),
        regs::WRITE => Request::data(Send, form::BUFFER, first, second, 0),
        regs::READV => Request::data(Receive, form::VECTOR, first, second, 0),
        regs::WRITEV => Request::data(Send, form::VECTOR, first, second, 0),
        regs::RECVFROM => Request::data(Receive, form::BUFFER, first, second, third).named(regs.arg4()),
        regs::SENDTO => Request::data(Send, form::BUFFER, first, second, third).named(regs.arg4()),
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
