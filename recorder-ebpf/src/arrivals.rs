//! When received data had arrived: the kernel stamps each segment, and the stamp is still there when it is copied out.

use crate::{
    kernel::{config, field},
    maps::Thread,
    task_id::TaskId,
    threads,
};
use retrospan_formats::event::Kind;

/// `skb_copy_datagram_iovec(skb, len)`: the first segment that a receive takes tells.
#[inline(always)]
pub fn taken(skb: *const u8) {
    let Some(Thread { call, .. }) = threads::known(TaskId::current().tid) else { return };
    if call.active != 0 && call.kind == Kind::Receive as u8 && call.data.done.get() == 0 {
        // SAFETY: an argument of the hook, which the verifier can follow.
        call.data.done.set(unsafe { field(skb, config!(offsets.skb_tstamp)) });
    }
}
