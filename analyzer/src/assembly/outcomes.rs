//! How an exchange ended: what is known of the two messages and of the socket's end in, an outcome out.
//!
//! Each side is judged by its own socket, so that a recording of one side gives the rows that a recording of both would;
//! what the other end shows only adds proof. A client that gave up is told from one that only shut down its sending half by
//! what it did with the answer.

use retrospan_protocols::Status;

use crate::assembly::close_state::CloseState;
use crate::assembly::side::Side;
use crate::assembly::streams::CallTiming;
use crate::tables::outcome::Outcome;

/// What the other end's socket says, where it was recorded too. Positions are those of this end's streams.
#[derive(Clone, Copy, Debug)]
pub struct Other<'a> {
    /// Its end.
    pub ending: &'a CloseState,
    /// Bytes that it has sent.
    pub sent: Option<u64>,
    /// Bytes that its application has taken.
    pub taken: Option<u64>,
}

/// What is known of an exchange.
#[derive(Clone, Copy, Debug)]
pub struct Exchanged<'a> {
    /// Whose socket it is.
    pub side: Side,
    /// Begin of the span, ns.
    pub start_ns: i64,
    /// The last call that moved bytes of it.
    pub last: CallTiming,
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
    /// The streams were seen from their first byte on, so that what is missing shows.
    pub counted: bool,
    /// The other end, where it was recorded.
    pub other: Option<Other<'a>>,
}

/// What is known of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// Status, where the head was seen.
    pub status: Status,
    /// It says that the answering side failed.
    pub failed: bool,
    /// When the head was complete, ns.
    pub head_ns: i64,
    /// Call that moved the last byte so far.
    pub last: CallTiming,
    /// Position after that byte.
    pub end: u64,
    /// What is known of where it ends.
    pub length: Length,
}

/// What is known of where an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// All of it was moved.
    Whole,
    /// Its head says so, and it was not all moved.
    Owed,
    /// With the answering side's FIN, which was not seen yet.
    UntilClose,
    /// Nothing: not all of it was kept. `may_end`: its last known bytes are such as end a message.
    Unknown {
        /// So they are.
        may_end: bool,
    },
}

/// The end of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanEnd {
    /// When, boot time ns.
    pub end_ns: i64,
    /// How.
    pub outcome: Outcome,
    /// Status of an answer that began before it ended.
    pub status: Status,
    /// Status of an answer that began later.
    pub late_status: Status,
    /// When the last byte of that was moved, boot time ns.
    pub late_at_ns: Option<i64>,
}

/// An answer of unknown length after which nothing came for so long was whole, ns.
const QUIET_NS: i64 = 100_000_000;

/// Whether a complete answer may yet turn out to have gone to a client that was gone.
pub fn must_wait(x: &Exchanged<'_>, ending: &CloseState) -> bool {
    x.side == Side::Server
        && x.answer.is_some_and(|a| ending.other_left_ns().is_some_and(|left| left < a.last.exit_ns))
}

/// Decides. `cut_ns`: the recording ended then, and the socket with it, if it had not ended before. `had_loss`: events
/// may have been lost since the span began.
///
/// The rules, in order; the first that applies decides. What each outcome needs as proof is in docs/method.md.
///
/// | the answer | what else is known | outcome |
/// |---|---|---|
/// | any | bytes of the exchange are missing | `lost` |
/// | whole | the client took it, or was there | `ok`, `error` |
/// | whole | the client had left before | `client_closed` |
/// | bytes of no protocol | | `unparsed` |
/// | any | a change of state is missing, or bytes may be without a trace | `lost` |
/// | of unknown length | all was taken, nothing more was tried, and it came to an apparent end | `ok`, `error` |
/// | of unknown length | else | `lost` |
/// | until the close | the client left first, and more was sent | `client_closed` |
/// | until the close | the client left first, and the server closed without sending more | `ok`, `error` |
/// | until the close | the client left first | `lost` |
/// | owed | somebody is proven to have left first | `client_closed`, `server_closed`, `reset` |
/// | owed | the client's FIN may have been a half-close | `timeout_cut`, after losses `lost` |
/// | owed | nobody left | `timeout_cut`, after losses `lost` |
pub fn decide(x: &Exchanged<'_>, ending: &CloseState, cut_ns: i64, had_loss: bool) -> SpanEnd {
    if x.damaged {
        return span_end(x, Outcome::Lost, x.last.exit_ns);
    }
    let length = x.answer.map_or(Length::Owed, |answer| answer.length);
    if let (Some(answer), Length::Whole) = (x.answer, length) {
        return match x.side {
            Side::Client => answered(x, &answer),
            Side::Server => answered_to_whom(x, &answer, ending, cut_ns, had_loss),
        };
    }
    if let Some(ns) = x.unparsed_ns {
        return span_end(x, Outcome::Unparsed, ns);
    }
    if ending.is_holey() || (had_loss && !x.counted) {
        return span_end(x, Outcome::Lost, x.last.exit_ns);
    }
    match (x.answer, length) {
        (Some(answer), Length::Unknown { may_end }) => {
            if ended_by_evidence(x, &answer, may_end, ending, cut_ns, had_loss) {
                answered(x, &answer)
            } else {
                span_end(x, Outcome::Lost, answer.last.exit_ns)
            }
        }
        (Some(answer), Length::UntilClose) => until_close(x, &answer, ending, cut_ns, had_loss),
        _ => unanswered(x, Left::first(x, ending, had_loss), cut_ns, had_loss),
    }
}

fn answered(x: &Exchanged<'_>, answer: &Answer) -> SpanEnd {
    span_end(x, if answer.failed { Outcome::Error } else { Outcome::Ok }, answer.last.exit_ns)
}

/// The answering side wrote all of its answer. Was there anybody left to take it?
fn answered_to_whom(
    x: &Exchanged<'_>,
    answer: &Answer,
    ending: &CloseState,
    cut_ns: i64,
    had_loss: bool,
) -> SpanEnd {
    let Some(left_ns) = ending.other_left_ns().filter(|&left| left < answer.last.exit_ns) else {
        return answered(x, answer);
    };
    // A client on the same host may take the last byte and leave before the call that sent it returns.
    let during_last_call = left_ns >= answer.last.enter_ns;
    if x.other_took(answer) {
        return answered(x, answer);
    }
    match ending.closed {
        _ if ending.is_holey() => span_end(x, Outcome::Lost, answer.last.exit_ns),
        Some(closed) if x.acknowledged && (closed.sk_err == 0 || during_last_call) => answered(x, answer),
        // Its kernel took all of it, then it reset: what its application took is not known.
        Some(_) if x.acknowledged && ending.fin_in_ns.is_some() && x.other.is_none() => {
            span_end(x, Outcome::Lost, answer.last.exit_ns)
        }
        Some(_) => span_end(x, Outcome::ClientClosed, left_ns),
        None if during_last_call => answered(x, answer),
        None if x.other_gave_up(had_loss) => span_end(x, Outcome::ClientClosed, left_ns),
        None => not_known(x, cut_ns, had_loss),
    }
}

/// Whether an answer of unknown length was whole: everything sent was taken, nothing more was tried, and nothing came for
/// a while or somebody closed in order.
fn ended_by_evidence(
    x: &Exchanged<'_>,
    answer: &Answer,
    may_end: bool,
    ending: &CloseState,
    cut_ns: i64,
    had_loss: bool,
) -> bool {
    let fin_ns = [ending.fin_in_ns, ending.fin_out_ns].into_iter().flatten().min();
    let over_ns = [fin_ns, ending.closed.map(|c| c.ns), ending.reset_seen_ns].into_iter().flatten().min();
    let in_order = over_ns.is_some() && over_ns == fin_ns;
    let quiet_ns = over_ns.unwrap_or(cut_ns) - answer.last.exit_ns;
    // Without a row of its end nobody counted what may have come since.
    let counted = over_ns.is_some() || !had_loss;
    let taken = match x.side {
        Side::Client => !x.unread && !x.more_was_sent(answer),
        Side::Server if over_ns.is_some() => x.acknowledged || x.other_took(answer),
        Side::Server => true,
    };
    taken && ending.refused_ns.is_none() && (may_end || in_order || (counted && quiet_ns >= QUIET_NS))
}

/// The answer lasts until the answering side's FIN, which did not come.
fn until_close(
    x: &Exchanged<'_>,
    answer: &Answer,
    ending: &CloseState,
    cut_ns: i64,
    had_loss: bool,
) -> SpanEnd {
    let left = Left::first(x, ending, had_loss);
    let Left::Client { ns, .. } = left else { return unanswered(x, left, cut_ns, had_loss) };
    let (more, nothing_more) = match x.side {
        Side::Client => {
            let server_closed = x.other.is_some_and(|other| other.ending.closed.is_some());
            let refused = x.other.is_some_and(|other| other.ending.refused_ns.is_some());
            let more = x.unread || refused || x.more_was_sent(answer);
            (more, server_closed && !more)
        }
        Side::Server => {
            let taken = x.acknowledged || x.other_took(answer);
            let more = ending.refused_ns.is_some() || (answer.last.enter_ns > ns && !taken);
            (more, taken && !more && ending.closed.is_some())
        }
    };
    if more {
        unanswered(x, left, cut_ns, had_loss)
    } else if nothing_more {
        answered(x, answer)
    } else {
        span_end(x, Outcome::Lost, answer.last.exit_ns)
    }
}

/// An answer is owed.
fn unanswered(x: &Exchanged<'_>, left: Left, cut_ns: i64, had_loss: bool) -> SpanEnd {
    match left {
        Left::Client { ns, proven: true } => span_end(x, Outcome::ClientClosed, ns),
        Left::Client { proven: false, .. } | Left::Nobody => not_known(x, cut_ns, had_loss),
        Left::Server { ns } => span_end(x, Outcome::ServerClosed, ns),
        Left::Broken { ns } => span_end(x, Outcome::Reset, ns),
    }
}

/// The recording ended before it was known how the exchange ends.
fn not_known(x: &Exchanged<'_>, cut_ns: i64, had_loss: bool) -> SpanEnd {
    if had_loss {
        span_end(x, Outcome::Lost, x.last.exit_ns)
    } else {
        span_end(x, Outcome::TimeoutCut, cut_ns)
    }
}

/// Who ended an exchange whose answer was not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// The requesting side. `proven`: it did not only shut down its sending half.
    Client { ns: i64, proven: bool },
    /// The answering side, by FIN.
    Server { ns: i64 },
    /// The answering side by RST, or the network.
    Broken { ns: i64 },
    /// Nobody, as far as it was recorded.
    Nobody,
}

impl Left {
    /// Whoever was first, as this side's socket has it.
    fn first(x: &Exchanged<'_>, ending: &CloseState, had_loss: bool) -> Left {
        let (client, server_ns, reset_ns) = match x.side {
            Side::Client => (
                ending.left_ns().filter(|_| !still_takes(x, ending)).map(|ns| (ns, ending.gave_up(had_loss))),
                ending.other_fin_ns().filter(|_| !x.unread),
                ending.reset_in_ns(),
            ),
            Side::Server => (
                ending
                    .other_left_ns()
                    .filter(|_| !was_taken(x, ending) && !x.other_waits())
                    .map(|ns| (ns, proven_by_server(x, ending, had_loss))),
                ending.fin_out_ns,
                ending.reset_out_ns(),
            ),
        };
        let all = [
            client.map(|(ns, proven)| (ns, Left::Client { ns, proven })),
            server_ns.map(|ns| (ns, Left::Server { ns })),
            reset_ns.map(|ns| (ns, Left::Broken { ns })),
            ending.broken_ns().map(|ns| (ns, Left::Broken { ns })),
        ];
        // Of the same moment the first listed.
        all.into_iter().flatten().min_by_key(|(ns, _)| *ns).map_or(Left::Nobody, |(_, left)| left)
    }
}

/// The server's socket shows that the client left: by RST, by the other end's own record, or by what became of the socket after
/// the FIN. As long as it has not ended the client may only have shut down its sending half.
fn proven_by_server(x: &Exchanged<'_>, ending: &CloseState, had_loss: bool) -> bool {
    ending.fin_in_ns.is_none()
        || ending.closed.is_some()
        || ending.reset_seen_ns.is_some()
        || x.other_gave_up(had_loss)
}

impl Exchanged<'_> {
    /// The application at the other end took all of the answer.
    fn other_took(&self, answer: &Answer) -> bool {
        self.other.and_then(|other| other.taken).is_some_and(|taken| taken >= answer.end)
    }

    /// The other end left for good, by its own record.
    fn other_gave_up(&self, had_loss: bool) -> bool {
        self.other.is_some_and(|other| {
            // Who only shut down its sending half may have waited until this side's FIN.
            let waited = other.ending.half_closed_ns.is_some() && other.ending.other_fin_ns().is_some();
            other.ending.gave_up(had_loss) && !waited
        })
    }

    /// The other end sent more than this one took.
    fn more_was_sent(&self, answer: &Answer) -> bool {
        self.other.and_then(|other| other.sent).is_some_and(|sent| sent > answer.end)
    }

    /// The client at the other end has shut down its sending half and waits.
    fn other_waits(&self) -> bool {
        self.other.is_some_and(|other| {
            let ending = other.ending;
            ending.half_closed_ns.is_some() && ending.close_called_ns.is_none() && ending.closed.is_none()
        })
    }
}

/// This client has sent FIN, and yet takes what comes: it waits, or took bytes until the other side's FIN.
fn still_takes(x: &Exchanged<'_>, ending: &CloseState) -> bool {
    let Some(fin_ns) = ending.fin_out_ns.filter(|_| ending.half_closed_ns.is_some()) else { return false };
    let before_close = |ns: i64| ending.close_called_ns.is_none_or(|called_ns| ns <= called_ns);
    match ending.other_fin_ns() {
        Some(fin_in_ns) => before_close(fin_in_ns) && x.answer.is_some_and(|a| a.last.exit_ns > fin_ns),
        None => ending.close_called_ns.is_none() && ending.closed.is_none(),
    }
}

/// The client has sent FIN, and yet took all that it was sent until this side's FIN.
fn was_taken(x: &Exchanged<'_>, ending: &CloseState) -> bool {
    let in_order = ending.closed.is_some_and(|closed| closed.sk_err == 0) && ending.reset_seen_ns.is_none();
    let (Some(fin_ns), Some(answer)) = (ending.fin_in_ns, x.answer) else { return false };
    in_order && x.acknowledged && answer.last.exit_ns > fin_ns && ending.fin_out_ns.is_some()
}

/// Puts the answer before or after the end.
fn span_end(x: &Exchanged<'_>, outcome: Outcome, end_ns: i64) -> SpanEnd {
    let end_ns = end_ns.max(x.start_ns);
    let mut span_end = SpanEnd {
        end_ns,
        outcome,
        status: Status::default(),
        late_status: Status::default(),
        late_at_ns: None,
    };
    match x.answer {
        Some(answer) if outcome == Outcome::ClientClosed && answer.head_ns > end_ns => {
            span_end.late_status = answer.status;
            span_end.late_at_ns = Some(answer.last.exit_ns);
        }
        Some(answer) => span_end.status = answer.status,
        None => {}
    }
    span_end
}
