//! One operation after the other, each waited for.

use crate::socket;
use io_uring::{IoUring, opcode, squeue, types::Fd};
use std::io::{Error, Result};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};

/// Most bytes of one receive.
const RECEIVE_BYTES: usize = 4096;

/// Submission and completion queue.
pub struct Ring {
    ring: IoUring,
}

impl Ring {
    /// A ring for a few operations.
    pub fn new() -> Result<Ring> {
        Ok(Ring { ring: IoUring::new(8)? })
    }

    /// Does one operation.
    fn run(&mut self, operation: squeue::Entry) -> Result<i32> {
        // SAFETY: whatever the operation points to lives in the caller, which waits here until it is done.
        unsafe { self.ring.submission().push(&operation).map_err(Error::other)? };
        self.ring.submit_and_wait(1)?;
        let done = self.ring.completion().next().ok_or_else(|| Error::other("nothing completed"))?;
        match done.result() {
            error if error < 0 => Err(Error::from_raw_os_error(-error)),
            result => Ok(result),
        }
    }

    /// The next connection.
    pub fn accept(&mut self, listener: &OwnedFd) -> Result<i32> {
        let nobody = std::ptr::null_mut();
        self.run(opcode::Accept::new(Fd(listener.as_raw_fd()), nobody, nobody.cast()).build())
    }

    /// A connection to a port of this host.
    pub fn connect(&mut self, port: u16) -> Result<i32> {
        let fd = socket::open(0)?;
        let address = socket::address(port);
        let bytes = size_of_val(&address) as u32;
        self.run(opcode::Connect::new(Fd(fd.as_raw_fd()), (&raw const address).cast(), bytes).build())?;
        Ok(fd.into_raw_fd())
    }

    /// The bytes of one receive; none at the end.
    pub fn receive(&mut self, connection: i32) -> Result<Vec<u8>> {
        let mut bytes = vec![0; RECEIVE_BYTES];
        let receive = opcode::Recv::new(Fd(connection), bytes.as_mut_ptr(), RECEIVE_BYTES as u32).build();
        let done = self.run(receive)?;
        bytes.truncate(done as usize);
        Ok(bytes)
    }

    /// What is received up to an empty line and with it; `None` at the end. Each is a read, as of any file.
    pub fn receive_head(&mut self, connection: i32) -> Result<Option<Vec<u8>>> {
        let mut head = Vec::new();
        while !head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
            let mut bytes = vec![0; RECEIVE_BYTES];
            let read = opcode::Read::new(Fd(connection), bytes.as_mut_ptr(), RECEIVE_BYTES as u32).build();
            match self.run(read)? {
                0 => return Ok(None),
                done => head.extend(&bytes[..done as usize]),
            }
        }
        Ok(Some(head))
    }

    /// Sends all of it.
    pub fn send(&mut self, connection: i32, bytes: &[u8]) -> Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let send = opcode::Send::new(Fd(connection), rest.as_ptr(), rest.len() as u32).build();
            rest = &rest[self.run(send)? as usize..];
        }
        Ok(())
    }

    /// Sends both in one call.
    pub fn send_both(&mut self, connection: i32, first: &[u8], second: &[u8]) -> Result<()> {
        let part =
            |bytes: &[u8]| libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        let parts = [part(first), part(second)];
        let done = self.run(opcode::Writev::new(Fd(connection), parts.as_ptr(), 2).build())?;
        if done as usize == first.len() + second.len() { Ok(()) } else { Err(Error::other("sent in part")) }
    }

    /// Sends bytes through a pipe.
    pub fn splice(&mut self, connection: i32, bytes: &[u8]) -> Result<()> {
        let mut ends = [0; 2];
        // SAFETY: room for two descriptors.
        if unsafe { libc::pipe(ends.as_mut_ptr()) } < 0 {
            return Err(Error::last_os_error());
        }
        // SAFETY: descriptors that nobody else has.
        let [from, to] = ends.map(|end| unsafe { OwnedFd::from_raw_fd(end) });
        let mut rest = bytes;
        while !rest.is_empty() {
            let write = opcode::Write::new(Fd(to.as_raw_fd()), rest.as_ptr(), rest.len() as u32).build();
            let written = self.run(write)?;
            let mut left = written;
            while left > 0 {
                let (from, to) = (Fd(from.as_raw_fd()), Fd(connection));
                left -= self.run(opcode::Splice::new(from, -1, to, -1, left as u32).build())?;
            }
            rest = &rest[written as usize..];
        }
        self.close(from.into_raw_fd())?;
        self.close(to.into_raw_fd())
    }

    /// Sends no more.
    pub fn shut_down(&mut self, connection: i32) -> Result<()> {
        self.run(opcode::Shutdown::new(Fd(connection), libc::SHUT_WR).build()).map(drop)
    }

    /// Closes a descriptor.
    pub fn close(&mut self, fd: i32) -> Result<()> {
        self.run(opcode::Close::new(Fd(fd)).build()).map(drop)
    }
}
