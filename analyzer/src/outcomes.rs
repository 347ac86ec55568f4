//! How an exchange ended: what is known of the two messages and of the socket's end in, an outcome out.
//!
//! Each side is judged by its own socket alone, so that a recording of one side gives the rows that a recording of both
//! would. A client that gave up is told from one that only shut down its sending half by what it did with the answer.

use crate::events::StateChange;
use crate::messages::Side;
use crate::streams::Moment;

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// The answer was complete.
    Ok,
    /// So it was, with a status of 500 or above.
    Error,
    /// The requesting side left before the answer was complete.
    ClientClosed,
    /// The answering side closed before it.
    ServerClosed,
    /// The answering side reset the connection, or it timed out.
    Reset,
    /// There was an answer, but not one that a parser took.
    Unparsed,
    /// The recording ended.
    TimeoutCut,
    /// Events are missing.
    Lost,
}

impl Outcome {
    /// The name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Error => "error",
            Outcome::ClientClosed => "client_closed",
            Outcome::ServerClosed => "server_closed",
            Outcome::Reset => "reset",
            Outcome::Unparsed => "unparsed",
            Outcome::TimeoutCut => "timeout_cut",
            Outcome::Lost => "lost",
        }
    }
}

/// What is known of a socket's end. Times are boot time ns.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ending {
    /// FIN sent.
    pub fin_out_ns: Option<i64>,
    /// FIN arrived.
    pub fin_in_ns: Option<i64>,
    /// Shut down for sending alone: it may still take what comes.
    pub half_closed_ns: Option<i64>,
    /// Last call of close.
    pub close_called_ns: Option<i64>,
    /// State after the last `state` row.
    pub state: Option<u8>,
    /// A `state` row is missing.
    pub hole: bool,
    /// The socket's end.
    pub closed: Option<Closed>,
    /// A call failed because the other side had reset the connection.
    pub reset_seen_ns: Option<i64>,
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

const ESTABLISHED: u8 = 1;
const FIN_WAIT1: u8 = 4;
const FIN_WAIT2: u8 = 5;
const TIME_WAIT: u8 = 6;
const CLOSE: u8 = 7;
const CLOSE_WAIT: u8 = 8;
const LAST_ACK: u8 = 9;
const CLOSING: u8 = 11;
const ECONNRESET: u32 = 104;
const EPIPE: u32 = 32;

impl Ending {
    /// Takes in a `state` row.
    pub fn change(&mut self, ns: i64, change: &StateChange) {
        self.hole |= self.state.is_some_and(|known| known != change.old);
        self.state = Some(change.new);
        match (change.old, change.new) {
            (ESTABLISHED, FIN_WAIT1) | (CLOSE_WAIT, LAST_ACK) => self.fin_out_ns = Some(ns),
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

    /// When this side reset the connection.
    fn reset_out_ns(&self) -> Option<i64> {
        let closed = self.closed.filter(|c| c.sk_err == 0 && matches!(c.from, ESTABLISHED | CLOSE_WAIT))?;
        Some(closed.ns)
    }

    /// When the other side reset the connection.
    fn reset_in_ns(&self) -> Option<i64> {
        let closed = self.closed.filter(|c| matches!(c.sk_err, ECONNRESET | EPIPE)).map(|c| c.ns);
        closed.or(self.reset_seen_ns)
    }

    /// When the other side's FIN arrived. A socket that is only shut down for sending goes from FIN_WAIT2 to its end with it.
    fn other_fin_ns(&self) -> Option<i64> {
        let by_end = self.closed.filter(|closed| {
            let held = self.close_called_ns.is_none_or(|called_ns| called_ns > closed.ns);
            held && closed.sk_err == 0 && closed.from == FIN_WAIT2
        });
        self.fin_in_ns.or(by_end.map(|closed| closed.ns))
    }

    /// When the connection timed out or became unreachable.
    fn broken_ns(&self) -> Option<i64> {
        self.closed.filter(|c| !matches!(c.sk_err, 0 | ECONNRESET | EPIPE)).map(|c| c.ns)
    }

    /// When this side left first, by FIN or RST.
    fn left_ns(&self) -> Option<i64> {
        self.fin_out_ns.or(self.reset_out_ns())
    }

    /// When the other side left first, by FIN or RST.
    fn other_left_ns(&self) -> Option<i64> {
        self.fin_in_ns.or(self.reset_in_ns())
    }
}

/// What is known of an exchange.
#[derive(Clone, Copy, Debug)]
pub struct Exchanged {
    /// Whose socket it is.
    pub side: Side,
    /// Begin of the span, ns.
    pub start_ns: i64,
    /// The last call that moved bytes of it.
    pub last: Moment,
    /// Events of it are missing.
    pub damaged: bool,
    /// Answering bytes that no parser took came last at.
    pub unparsed_ns: Option<i64>,
    /// The answer, as far as there is one.
    pub answer: Option<Answer>,
    /// Bytes of the answer were there for the application, which did not take them.
    pub unread: bool,
    /// The other side has acknowledged all of the answer.
    pub acknowledged: bool,
}

/// What is known of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// Status, where the head was seen.
    pub status: Option<u16>,
    /// When the head was complete, ns.
    pub head_ns: i64,
    /// Call that moved the last byte so far.
    pub last: Moment,
    /// All of it was moved.
    pub complete: bool,
    /// Where it ends is not known, because not all of it was kept.
    pub endless: bool,
}

/// The end of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate {
    /// When, boot time ns.
    pub end_ns: i64,
    /// How.
    pub outcome: Outcome,
    /// Status of an answer that began before it ended.
    pub status: Option<u16>,
    /// Status of an answer that began later.
    pub late_status: Option<u16>,
    /// When the last byte of that was moved, boot time ns.
    pub late_at_ns: Option<i64>,
}

/// Whether a complete answer may yet turn out to have gone to a client that was gone.
pub fn must_wait(exchanged: &Exchanged, ending: &Ending) -> bool {
    exchanged.side == Side::Server
        && exchanged.answer.is_some_and(|a| ending.other_left_ns().is_some_and(|left| left < a.last.exit_ns))
}

/// Decides. `cut_ns`: the recording ended then, and the socket with it, if it had not ended before. `lossy`: events
/// may have been lost since the span began.
pub fn decide(x: &Exchanged, ending: &Ending, cut_ns: i64, lossy: bool) -> Fate {
    if x.damaged {
        return fate(x, Outcome::Lost, x.last.exit_ns);
    }
    if let Some(answer) = x.answer.filter(|a| a.complete) {
        return match x.side {
            Side::Client => answered(x, &answer),
            Side::Server => answered_to_whom(x, &answer, ending, cut_ns, lossy),
        };
    }
    if let Some(ns) = x.unparsed_ns {
        return fate(x, Outcome::Unparsed, ns);
    }
    if let Some(answer) = x.answer.filter(|a| a.endless && ended_in_order(x, ending)) {
        return answered(x, &answer);
    }
    unanswered(x, ending, cut_ns, lossy)
}

fn ended_in_order(x: &Exchanged, ending: &Ending) -> bool {
    let failed = ending.closed.is_some_and(|c| c.sk_err != 0);
    let open = ending.fin_in_ns.is_none() && ending.fin_out_ns.is_none();
    !failed && !open && (x.side == Side::Client || x.acknowledged)
}

fn answered(x: &Exchanged, answer: &Answer) -> Fate {
    let error = answer.status.is_some_and(|status| status >= 500);
    fate(x, if error { Outcome::Error } else { Outcome::Ok }, answer.last.exit_ns)
}

/// The answering side wrote all of its answer. Was there anybody left to take it?
fn answered_to_whom(x: &Exchanged, answer: &Answer, ending: &Ending, cut_ns: i64, lossy: bool) -> Fate {
    let Some(left_ns) = ending.other_left_ns().filter(|&left| left < answer.last.exit_ns) else {
        return answered(x, answer);
    };
    // A client on the same host may take the last byte and leave before the call that sent it returns.
    let during_last_call = left_ns >= answer.last.enter_ns;
    match ending.closed {
        Some(closed) if x.acknowledged && (closed.sk_err == 0 || during_last_call) => answered(x, answer),
        Some(_) => fate(x, Outcome::ClientClosed, left_ns),
        None if during_last_call => answered(x, answer),
        None if ending.reset_seen_ns.is_some() => fate(x, Outcome::ClientClosed, left_ns),
        None => fate(x, if ending.hole || lossy { Outcome::Lost } else { Outcome::TimeoutCut }, cut_ns),
    }
}

/// The answer is not complete.
fn unanswered(x: &Exchanged, ending: &Ending, cut_ns: i64, lossy: bool) -> Fate {
    if ending.hole {
        return fate(x, Outcome::Lost, x.last.exit_ns);
    }
    let never = i64::MAX;
    let (client_ns, server_ns, server_reset_ns) = match x.side {
        Side::Client => (
            ending.left_ns().filter(|_| !still_takes(x, ending)).unwrap_or(never),
            ending.other_fin_ns().filter(|_| !x.unread).unwrap_or(never),
            ending.reset_in_ns().unwrap_or(never),
        ),
        Side::Server => (
            ending.other_left_ns().filter(|_| !was_taken(x, ending)).unwrap_or(never),
            ending.fin_out_ns.unwrap_or(never),
            ending.reset_out_ns().unwrap_or(never),
        ),
    };
    let broken_ns = ending.broken_ns().unwrap_or(never);
    let first = client_ns.min(server_ns).min(server_reset_ns).min(broken_ns);
    if first == never {
        return fate(x, if lossy { Outcome::Lost } else { Outcome::TimeoutCut }, cut_ns);
    }
    let outcome = if first == client_ns {
        Outcome::ClientClosed
    } else if first == server_ns {
        Outcome::ServerClosed
    } else {
        Outcome::Reset
    };
    fate(x, outcome, first)
}

/// This client has sent FIN, and yet takes what comes: it waits, or took bytes until the other side's FIN.
fn still_takes(x: &Exchanged, ending: &Ending) -> bool {
    let Some(fin_ns) = ending.fin_out_ns.filter(|_| ending.half_closed_ns.is_some()) else { return false };
    let before_close = |ns: i64| ending.close_called_ns.is_none_or(|called_ns| ns <= called_ns);
    match ending.other_fin_ns() {
        Some(fin_in_ns) => before_close(fin_in_ns) && x.answer.is_some_and(|a| a.last.exit_ns > fin_ns),
        None => ending.close_called_ns.is_none() && ending.closed.is_none(),
    }
}

/// The client has sent FIN, and yet took all that it was sent until this side's FIN.
fn was_taken(x: &Exchanged, ending: &Ending) -> bool {
    let in_order = ending.closed.is_some_and(|closed| closed.sk_err == 0) && ending.reset_seen_ns.is_none();
    let (Some(fin_ns), Some(answer)) = (ending.fin_in_ns, x.answer) else { return false };
    in_order && x.acknowledged && answer.last.exit_ns > fin_ns && ending.fin_out_ns.is_some()
}

/// Puts the answer before or after the end.
fn fate(x: &Exchanged, outcome: Outcome, end_ns: i64) -> Fate {
    let end_ns = end_ns.max(x.start_ns);
    let mut fate = Fate { end_ns, outcome, status: None, late_status: None, late_at_ns: None };
    match x.answer {
        Some(answer) if outcome == Outcome::ClientClosed && answer.head_ns > end_ns => {
            fate.late_status = answer.status;
            fate.late_at_ns = Some(answer.last.exit_ns);
        }
        Some(answer) => fate.status = answer.status,
        None => {}
    }
    fate
}
