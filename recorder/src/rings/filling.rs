//! Waking up before a ring overflows: the kernel programs wake us where a quarter of one waits to be read.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::time::Timespec;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The rings, waited for together.
pub struct Filling(AsyncFd<OwnedFd>);

impl Filling {
    /// Waits for these from now on. Needs a running event loop.
    pub fn of<'a>(rings: impl Iterator<Item = impl AsFd + 'a>) -> std::io::Result<Filling> {
        let all = epoll::create(CreateFlags::CLOEXEC)?;
        for ring in rings {
            // By edges: a ring is readable as soon as it holds anything, but only some records wake.
            let flags = EventFlags::IN | EventFlags::ET;
            epoll::add(&all, ring, EventData::new_u64(0), flags)?;
        }
        // SAFETY: the descriptor is owned by what is made of it, and so open as long as that.
        let all = unsafe { AsyncFd::register_with_interest(all, Interest::READABLE)? };
        Ok(Filling(all))
    }

    /// Returns when a ring fills.
    pub async fn one(&self) {
        let Ok(mut ready) = self.0.readable().await else { return std::future::pending().await };
        let mut events = Vec::with_capacity(16);
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        // One that is not taken now wakes once more, which does no harm.
        let _ = epoll::wait(ready.get_inner(), rustix::buffer::spare_capacity(&mut events), Some(&at_once));
        ready.clear_ready();
    }
}
