//! Stamps of arrival: the kernel gives them to every segment as long as any socket wants them, so one of ours does.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Arriving segments are stamped as long as this lives.
#[derive(Debug)]
pub struct Stamps {
    _wanting: OwnedFd,
}

impl Stamps {
    /// Asks for them (socket(7), `SO_TIMESTAMPNS`). The socket is bound to no address.
    pub fn switch_on() -> io::Result<Stamps> {
        // SAFETY: no memory is passed.
        let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: it was opened here and nobody else has it.
        let wanting = unsafe { OwnedFd::from_raw_fd(fd) };
        let on: libc::c_int = 1;
        // SAFETY: an open socket, and an integer of the length that is told.
        let told = unsafe {
            let (place, bytes) = ((&raw const on).cast(), size_of::<libc::c_int>() as libc::socklen_t);
            libc::setsockopt(wanting.as_raw_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, place, bytes)
        };
        if told < 0 { Err(io::Error::last_os_error()) } else { Ok(Stamps { _wanting: wanting }) }
    }
}
