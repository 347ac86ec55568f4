//! Less than everything, where the recorder is over a limit: user space says how much less, what is left out is counted.

use crate::{
    kernel::{Sk, config},
    maps::{Entry, SHED},
    ring::count_loss,
    rules::share,
};
use retrospan_formats::event::{loss, shed};

/// The level now.
#[inline(always)]
fn level() -> u32 {
    if config!(sheds) == 0 {
        return 0;
    }
    // SAFETY: a word that user space writes whole.
    SHED.get_ptr(0).map_or(0, |level| unsafe { level.read_volatile() })
}

/// Whether no bytes are kept of any data; counted if so.
#[inline(always)]
pub fn leaves_out_heads() -> bool {
    let leaves_out = level() >= shed::HEADS;
    if leaves_out {
        count_loss(loss::SHED_HEAD);
    }
    leaves_out
}

/// Whether no bytes are kept of data that begins nothing; counted if so.
#[inline(always)]
pub fn leaves_out_continuations() -> bool {
    let leaves_out = level() >= shed::CONTINUATIONS;
    if leaves_out {
        count_loss(loss::SHED_CONTINUATION);
    }
    leaves_out
}

/// Whether this connection is one of those whose data is left out altogether; counted if so.
#[inline(always)]
pub fn leaves_out_data(entry: &mut Entry, sk: u64) -> bool {
    let level = level();
    if level < shed::CONNECTIONS {
        return false;
    }
    if entry.share == 0 {
        let sk = Sk(sk);
        let (local, remote) = (sk.local_address(), sk.remote_address());
        entry.share = share::of((local, sk.local_port()), (remote, sk.remote_port()));
    }
    let leaves_out = share::leaves_out(entry.share, level);
    if leaves_out {
        count_loss(loss::SHED_DATA);
    }
    leaves_out
}
