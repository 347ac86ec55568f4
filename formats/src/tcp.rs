//! Numbers of Linux that records of TCP sockets carry: states and errors.

/// States of a TCP socket, `include/net/tcp_states.h`.
#[expect(missing_docs, reason = "RFC 9293, section 3.3.2, says what each is")]
pub mod state {
    pub const ESTABLISHED: u8 = 1;
    pub const SYN_SENT: u8 = 2;
    pub const SYN_RECV: u8 = 3;
    pub const FIN_WAIT1: u8 = 4;
    pub const FIN_WAIT2: u8 = 5;
    pub const TIME_WAIT: u8 = 6;
    pub const CLOSE: u8 = 7;
    pub const CLOSE_WAIT: u8 = 8;
    pub const LAST_ACK: u8 = 9;
    pub const LISTEN: u8 = 10;
    pub const CLOSING: u8 = 11;
}

/// Errors of calls on sockets, `include/uapi/asm-generic/errno.h`.
#[expect(missing_docs, reason = "errno(3) says what each is")]
pub mod errno {
    pub const EINTR: u32 = 4;
    pub const EPIPE: u32 = 32;
    pub const ENONET: u32 = 64;
    pub const ENETDOWN: u32 = 100;
    pub const ENETUNREACH: u32 = 101;
    pub const ECONNABORTED: u32 = 103;
    pub const ECONNRESET: u32 = 104;
    pub const EISCONN: u32 = 106;
    pub const ETIMEDOUT: u32 = 110;
    pub const ECONNREFUSED: u32 = 111;
    pub const EHOSTDOWN: u32 = 112;
    pub const EHOSTUNREACH: u32 = 113;
    pub const EALREADY: u32 = 114;
    pub const EINPROGRESS: u32 = 115;
}
