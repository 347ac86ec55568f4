//! State changes and calls of one socket in, what is known of its end out.

use retrospan_formats::tcp::errno::{ECONNRESET, EPIPE};
use retrospan_formats::tcp::state::{
    CLOSE, CLOSE_WAIT, CLOSING, ESTABLISHED, FIN_WAIT1, FIN_WAIT2, LAST_ACK, TIME_WAIT,
};

use crate::assembly::events::StateChange;

/// What is known of a socket's end. Times are boot time ns.
#[derive(Clone, Copy, Debug, Default)]
pub struct CloseState {
    /// FIN sent.
    pub fin_out_ns: Option<i64>,
    /// FIN arrived.
    pub fin_in_ns: Option<i64>,
    /// Shut down for sending alone: it may still take what comes.
    pub half_closed_ns: Option<i64>,
    /// Last call of close.
    pub close_called_ns: Option<i64>,
    /// The FIN was sent by a call of close.
    pub closed_by_call: bool,
    /// State after the last `state` row.
    pub state: Option<u8>,
    /// A `state` row is missing.
    pub hole: bool,
    /// The socket's end.
    pub closed: Option<Closed>,
    /// A call failed because the other side had reset the connection.
    pub reset_seen_ns: Option<i64>,
    /// The application was told that nothing more comes; see [`CloseState::end_taken`].
    pub end_taken: bool,
    /// Shut down for receiving: then it is told so at any time.
    pub deaf: bool,
    /// A send failed because nobody takes it any more: there was more to say.
    pub refused_ns: Option<i64>,
    /// Sequence number up to which the other side has acknowledged, by the last `state` row.
    pub acknowledged: Option<u32>,
}

/// A change to TCP_CLOSE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// When.
    pub ns: i64,
    /// The socket's pending error.
    pub sk_err: u32,
    /// State before.
    pub from: u8,
}

/// A FIN this near to a call of close is its, ns.
const NEAR_NS: i64 = 1_000_000;

impl CloseState {
    /// Takes in a `state` row.
    pub fn change(&mut self, ns: i64, change: &StateChange) {
        // A socket of which no row was seen was open, or opens.
        self.hole |= match self.state {
            Some(known) => known != change.old,
            None if self.fin_in_ns.is_some() && change.old == CLOSE_WAIT => false,
            None => matches!(change.old, FIN_WAIT1 | FIN_WAIT2 | TIME_WAIT | CLOSE_WAIT | LAST_ACK | CLOSING),
        };
        self.state = Some(change.new);
        match (change.old, change.new) {
            (ESTABLISHED, FIN_WAIT1) | (CLOSE_WAIT, LAST_ACK) => {
                self.fin_out_ns = Some(ns);
                self.closed_by_call |=
                    self.close_called_ns.is_some_and(|called_ns| ns <= called_ns + NEAR_NS);
            }
            (ESTABLISHED, CLOSE_WAIT) | (FIN_WAIT1, CLOSING | TIME_WAIT) | (FIN_WAIT2, TIME_WAIT) => {
                self.fin_in_ns = Some(ns);
            }
            _ => {}
        }
        if change.new == CLOSE {
            self.closed = Some(Closed { ns, sk_err: change.sk_err, from: change.old });
        }
        if matches!(change.old, ESTABLISHED | FIN_WAIT1 | FIN_WAIT2 | CLOSE_WAIT | LAST_ACK | CLOSING) {
            self.acknowledged = Some(change.snd_una);
        }
    }

    /// Takes in that the application was told that nothing more comes. Of a socket without any row of its state the FIN may have
    /// arrived before it was recorded (a request and a FIN before accept, filtered by process): then this is when it is known of.
    pub fn end_taken(&mut self, ns: i64) {
        self.end_taken = true;
        if self.state.is_none() {
            self.fin_in_ns.get_or_insert(ns);
        }
    }

    /// Takes in a call of close.
    pub fn close_called(&mut self, enter_ns: i64, exit_ns: i64) {
        self.close_called_ns = Some(exit_ns);
        let during = enter_ns.saturating_sub(NEAR_NS)..=exit_ns.saturating_add(NEAR_NS);
        self.closed_by_call |= self.fin_out_ns.is_some_and(|fin_ns| during.contains(&fin_ns));
    }

    /// A change of state is missing: one that does not follow from the one before, or one that a call has shown: a reset,
    /// the end of what comes.
    pub fn is_holey(&self) -> bool {
        let open = self.closed.is_none();
        self.hole || (open && (self.reset_seen_ns.is_some() || (self.end_taken && self.fin_in_ns.is_none())))
    }

    /// This side left for good, not only its sending half. A FIN that no call explains is that of a process that ended, unless
    /// the call of shutdown may be among what was lost.
    pub fn gave_up(&self, had_loss: bool) -> bool {
        match self.fin_out_ns {
            Some(_) if self.half_closed_ns.is_some() => {
                self.closed.is_some() || (self.close_called_ns.is_some() && !had_loss)
            }
            Some(_) => self.closed_by_call || !had_loss,
            None => self.reset_out_ns().is_some(),
        }
    }

    /// When this side reset the connection.
    pub fn reset_out_ns(&self) -> Option<i64> {
        let closed = self.closed.filter(|c| c.sk_err == 0 && matches!(c.from, ESTABLISHED | CLOSE_WAIT))?;
        Some(closed.ns)
    }

    /// When the other side reset the connection.
    pub fn reset_in_ns(&self) -> Option<i64> {
        let closed = self.closed.filter(|c| matches!(c.sk_err, ECONNRESET | EPIPE)).map(|c| c.ns);
        closed.or(self.reset_seen_ns)
    }

    /// When the other side's FIN arrived. A socket that is only shut down for sending goes from FIN_WAIT2 to its end with it.
    pub fn other_fin_ns(&self) -> Option<i64> {
        let by_end = self.closed.filter(|closed| {
            let held = self.close_called_ns.is_none_or(|called_ns| called_ns > closed.ns);
            held && closed.sk_err == 0 && closed.from == FIN_WAIT2
        });
        self.fin_in_ns.or(by_end.map(|closed| closed.ns))
    }

    /// When the connection timed out or became unreachable.
    pub fn broken_ns(&self) -> Option<i64> {
        self.closed.filter(|c| !matches!(c.sk_err, 0 | ECONNRESET | EPIPE)).map(|c| c.ns)
    }

    /// When this side left first, by FIN or RST.
    pub fn left_ns(&self) -> Option<i64> {
        self.fin_out_ns.or(self.reset_out_ns())
    }

    /// When the other side left first, by FIN or RST.
    pub fn other_left_ns(&self) -> Option<i64> {
        self.fin_in_ns.or(self.reset_in_ns())
    }
}
