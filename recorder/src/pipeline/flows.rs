//! The kernel's counters of a connection's end, as rows of `flows`.

use retrospan_formats::event::{Flow, Header};
use retrospan_formats::tables::FlowRow;

use crate::host;

/// Ticks a second that a kernel can be built for (`CONFIG_HZ`).
const RATES: [u32; 4] = [100, 250, 300, 1000];
/// A kernel counts its ticks from so many seconds before they take more than 32 bits (`INITIAL_JIFFIES`).
const BEFORE_WRAP_S: f64 = 300.0;

/// Turns counters into rows.
#[derive(Debug, Default)]
pub struct Flows {
    /// Length of a tick, ns, once it is known.
    tick_ns: Option<u64>,
}

impl Flows {
    /// One record as a row. `owner`: the process that the socket belongs to.
    pub fn row(&mut self, header: &Header, flow: &Flow, owner: Option<i64>) -> FlowRow<'static> {
        if self.tick_ns.is_none() {
            self.tick_ns = tick_ns(flow.ticks, host::awake_s());
        }
        let [busy, receiver, buffer] = busy_ticks(flow);
        let time = |ticks: u64| self.tick_ns.map(|tick_ns| (ticks * tick_ns) as i64);
        let known = |us: u32| i32::try_from(us).ok().filter(|&us| us > 0);
        FlowRow {
            boot_ns: header.boot_ns as i64,
            cpu: header.cpu,
            seq: header.seq as i64,
            kind: if flow.end != 0 { "end" } else { "sample" },
            socket_id: flow.socket_id as i64,
            process_id: owner,
            sent_bytes: flow.sent_bytes as i64,
            retransmitted_bytes: flow.again_bytes as i64,
            received_bytes: flow.received_bytes as i64,
            sent_segments: flow.sent_segments.into(),
            received_segments: flow.received_segments.into(),
            retransmitted_segments: flow.again_segments.into(),
            rtt_us: known(flow.rtt_us),
            min_rtt_us: known(flow.min_rtt_us),
            busy_ns: time(busy + receiver + buffer),
            receiver_limited_ns: time(receiver),
            buffer_limited_ns: time(buffer),
            tcp_state: flow.state,
        }
    }
}

/// Ticks busy for no other reason, waiting for the receiver's window, waiting for the send buffer; the stretch under way
/// included.
fn busy_ticks(flow: &Flow) -> [u64; 3] {
    let mut ticks = flow.busy_ticks.map(u64::from);
    if let Some(under_way) = usize::from(flow.busy_with).checked_sub(1).and_then(|index| ticks.get_mut(index))
    {
        *under_way += u64::from((flow.ticks as u32).wrapping_sub(flow.busy_since));
    }
    ticks
}

/// The length of a tick, by how many there were since boot. `None` where no rate fits.
fn tick_ns(ticks: u64, awake_s: f64) -> Option<u64> {
    let expected = |rate: u32| 2f64.powi(32) + f64::from(rate) * (awake_s - BEFORE_WRAP_S);
    // What passes before the clock is set at boot, and until the record is looked at.
    let near =
        |rate: &u32| (ticks as f64 - expected(*rate)).abs() < f64::from(*rate) * (5.0 + awake_s * 0.001);
    let mut fitting = RATES.into_iter().filter(near);
    match (fitting.next(), fitting.next()) {
        (Some(rate), None) => Some(1_000_000_000 / u64::from(rate)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;

    #[test]
    fn the_length_of_a_tick_follows_from_how_many_there_were() {
        for rate in RATES {
            for awake_s in [60.0, 3_600.0, 90.0 * 86_400.0] {
                let ticks = 2f64.powi(32) + f64::from(rate) * (awake_s - 300.0 + 0.7);
                assert_eq!(
                    tick_ns(ticks as u64, awake_s),
                    Some(1_000_000_000 / u64::from(rate)),
                    "{rate} {awake_s}"
                );
            }
        }
        assert_eq!(tick_ns(5_000_000, 3_600.0), None, "not counted as it should be");
    }

    #[test]
    fn a_stretch_under_way_counts() {
        let flow =
            Flow { ticks: (7 << 32) + 5, busy_since: u32::MAX - 4, busy_ticks: [1, 2, 3], ..Flow::zeroed() };
        assert_eq!(busy_ticks(&flow), [1, 2, 3]);
        assert_eq!(busy_ticks(&Flow { busy_with: 2, ..flow }), [1, 12, 3]);
    }

    #[test]
    fn what_the_kernel_does_not_know_yet_is_null() {
        let flow = Flow { min_rtt_us: u32::MAX, ..Flow::zeroed() };
        let row = Flows::default().row(&Header::zeroed(), &flow, None);
        assert_eq!((row.rtt_us, row.min_rtt_us, row.busy_ns), (None, None, None));
    }
}
