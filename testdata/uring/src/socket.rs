//! Sockets as they are before io_uring has them.

use std::io::{Error, Result};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A socket of this protocol of TCP's kind; 0: TCP.
pub fn open(protocol: i32) -> Result<OwnedFd> {
    // SAFETY: no memory is passed.
    match unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, protocol) } {
        fd if fd < 0 => Err(Error::last_os_error()),
        // SAFETY: a descriptor that nobody else has.
        fd => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
    }
}

/// A port of this host.
pub fn address(port: u16) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
        sin_zero: [0; 8],
    }
}

/// A listener that takes MPTCP, where the kernel has it, as programs in Go do.
pub fn listen(port: u16) -> Result<OwnedFd> {
    let listener = open(libc::IPPROTO_MPTCP).or_else(|_| open(0))?;
    let address = address(port);
    let fd = listener.as_raw_fd();
    // SAFETY: an address of the length that is told.
    let bound = unsafe { libc::bind(fd, (&raw const address).cast(), size_of_val(&address) as u32) };
    // SAFETY: no memory is passed.
    if bound < 0 || unsafe { libc::listen(fd, 16) } < 0 {
        return Err(Error::last_os_error());
    }
    Ok(listener)
}
