//! Events of one socket in, how its connection came about out: when the SYN left, and what came of it.
//!
//! The state changes say it exactly. The call's own result is second: a call that does not wait returns before it is known,
//! one that is interrupted goes on without its caller, and a second call may only ask what came of the first. Fast open
//! has no call of its own.

use retrospan_formats::event::Kind;
use retrospan_formats::tcp::errno::{
    EALREADY, ECONNABORTED, ECONNREFUSED, ECONNRESET, EHOSTDOWN, EHOSTUNREACH, EINPROGRESS, EINTR, EISCONN,
    ENETDOWN, ENETUNREACH, ENONET, EPIPE, ETIMEDOUT,
};
use retrospan_formats::tcp::state::{CLOSE, ESTABLISHED, SYN_RECV, SYN_SENT};

use crate::assembly::events::Event;

/// What came of a connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connected {
    /// The connection was established.
    Ok,
    /// Nobody listened: a RST, or an ICMP message that says the same.
    Refused,
    /// No answer to any of the SYNs.
    TimedOut,
    /// A RST after the handshake had begun, or the kernel was told to abort it.
    Reset,
    /// There is no way to the address.
    Unreachable,
    /// The caller closed the socket before it was known.
    Abandoned,
    /// The call failed before any SYN left, for another reason: no local port was free, a rule forbids it.
    Failed,
}

impl Connected {
    /// The name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Connected::Ok => "ok",
            Connected::Refused => "refused",
            Connected::TimedOut => "timed_out",
            Connected::Reset => "reset",
            Connected::Unreachable => "unreachable",
            Connected::Abandoned => "abandoned",
            Connected::Failed => "failed",
        }
    }

    /// What an error of the socket or call means.
    const fn of_error(errno: u32) -> Connected {
        match errno {
            ECONNREFUSED => Connected::Refused,
            ETIMEDOUT => Connected::TimedOut,
            ECONNABORTED | ECONNRESET | EPIPE => Connected::Reset,
            ENETDOWN | ENETUNREACH | EHOSTDOWN | EHOSTUNREACH | ENONET => Connected::Unreachable,
            _ => Connected::Failed,
        }
    }
}

/// A connect, as far as it is known. Times are boot time ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The SYN left, or the call was entered.
    pub from_ns: i64,
    /// When it was decided, and how; None while it is not.
    pub end: Option<(i64, Connected)>,
}

/// How a socket's connection came about.
#[derive(Clone, Copy, Debug, Default)]
pub struct Opening {
    /// The requesting side's.
    attempt: Option<Attempt>,
    /// A SYN was seen to leave.
    syn_seen: bool,
    /// The answering side's: the handshake was complete.
    arrived_ns: Option<i64>,
    accepted_ns: Option<i64>,
}

impl Opening {
    /// Takes in an event of the socket.
    pub fn event(&mut self, event: &Event<'_>) {
        let at_ns = event.boot_ns;
        match (event.kind, event.state) {
            (Kind::State, Some(change)) => match (change.old, change.new) {
                (_, SYN_SENT) => {
                    self.syn_seen = true;
                    self.attempt = Some(Attempt { from_ns: at_ns, end: None });
                }
                (SYN_SENT, ESTABLISHED) => self.decide(at_ns, Connected::Ok),
                (SYN_RECV, ESTABLISHED) if self.syn_seen => self.decide(at_ns, Connected::Ok),
                (SYN_RECV, ESTABLISHED) => self.arrived_ns = Some(at_ns),
                (SYN_SENT | SYN_RECV, CLOSE) if self.syn_seen => match change.sk_err {
                    0 => self.decide(at_ns, Connected::Abandoned),
                    errno => self.decide(at_ns, Connected::of_error(errno)),
                },
                _ => {}
            },
            (Kind::Accept, _) if event.errno == 0 => self.accepted_ns = Some(at_ns),
            (Kind::Connect, _) => self.called(event),
            _ => {}
        }
    }

    /// A connect returned. Where state changes were seen they have said it before.
    fn called(&mut self, event: &Event<'_>) {
        let entered = Attempt { from_ns: event.enter_ns(), end: None };
        match event.errno {
            0 => {
                self.attempt.get_or_insert(entered);
                self.decide(event.boot_ns, Connected::Ok);
            }
            EINPROGRESS | EINTR => _ = self.attempt.get_or_insert(entered),
            EISCONN | EALREADY => {}
            // Without a SYN these come from the socket's memory: an earlier attempt had this end.
            ECONNREFUSED | ETIMEDOUT | ECONNRESET | ECONNABORTED | EPIPE if self.attempt.is_none() => {}
            errno => {
                let attempt = self.attempt.get_or_insert(entered);
                // Undone within the call and without an error of the socket: it is the call that failed.
                if let Some((at_ns, end @ Connected::Abandoned)) = &mut attempt.end
                    && *at_ns >= event.enter_ns()
                    && errno != ECONNABORTED
                {
                    *end = Connected::of_error(errno);
                }
                self.decide(event.boot_ns, Connected::of_error(errno));
            }
        }
    }

    fn decide(&mut self, at_ns: i64, connected: Connected) {
        if let Some(Attempt { end: end @ None, .. }) = &mut self.attempt {
            *end = Some((at_ns, connected));
        }
    }

    /// The connect, where this is the requesting side and its begin was seen.
    pub fn attempt(&self) -> Option<Attempt> {
        self.attempt
    }

    /// When the handshake was complete, where this is the answering side.
    pub fn arrived_ns(&self) -> Option<i64> {
        self.arrived_ns
    }

    /// When accept returned, where this is the answering side.
    pub fn accepted_ns(&self) -> Option<i64> {
        self.accepted_ns
    }

    /// How long a connection lay ready until the answering process accepted it, ns.
    pub fn queued_ns(&self) -> Option<i64> {
        Some((self.accepted_ns? - self.arrived_ns?).max(0))
    }
}

#[cfg(test)]
mod tests {
    use retrospan_formats::event::flags;

    use super::*;
    use crate::assembly::events::StateChange;

    const EADDRNOTAVAIL: u32 = 99;

    fn event(at_ns: i64, kind: Kind) -> Event<'static> {
        Event {
            boot_ns: at_ns,
            duration_ns: 10,
            pid: 1,
            tid: 1,
            cpu: 0,
            process_id: 1,
            socket_id: 1,
            kind,
            asked_bytes: 0,
            done_bytes: 0,
            tcp_seq: None,
            errno: 0,
            flags: flags::NO_SEQ,
            queued_us: None,
            state: None,
            head: &[],
            tail: &[],
            secret_hashes: &[],
        }
    }

    fn state(at_ns: i64, old: u8, new: u8, sk_err: u32) -> Event<'static> {
        let change = StateChange { sk_err, write_seq: 0, snd_una: 0, copied_seq: 0, rcv_nxt: 0, old, new };
        Event { state: Some(change), ..event(at_ns, Kind::State) }
    }

    fn connect(at_ns: i64, errno: u32) -> Event<'static> {
        Event { errno, ..event(at_ns, Kind::Connect) }
    }

    /// From, until and outcome of the attempt that these events make.
    fn made(events: &[Event<'_>]) -> Option<(i64, Option<(i64, &'static str)>)> {
        let mut opening = Opening::default();
        events.iter().for_each(|event| opening.event(event));
        let attempt = opening.attempt()?;
        Some((attempt.from_ns, attempt.end.map(|(at_ns, connected)| (at_ns, connected.name()))))
    }

    #[test]
    fn state_changes_say_what_came_of_it() {
        let syn = state(100, CLOSE, SYN_SENT, 0);
        let of = |end: Event<'static>| made(&[syn, connect(120, EINPROGRESS), end]).and_then(|made| made.1);
        assert_eq!(of(state(900, SYN_SENT, ESTABLISHED, 0)), Some((900, "ok")));
        let ends = [
            (ECONNREFUSED, "refused"),
            (ETIMEDOUT, "timed_out"),
            (ECONNRESET, "reset"),
            (ECONNABORTED, "reset"),
            (EHOSTUNREACH, "unreachable"),
            (ENETUNREACH, "unreachable"),
            (0, "abandoned"),
        ];
        for (errno, name) in ends {
            assert_eq!(of(state(900, SYN_SENT, CLOSE, errno)), Some((900, name)));
        }
        assert_eq!(made(&[syn, connect(120, EINPROGRESS)]), Some((100, None)), "still under way");
    }

    #[test]
    fn the_call_says_it_where_no_change_was_seen() {
        assert_eq!(made(&[connect(120, 0)]), Some((110, Some((120, "ok")))));
        assert_eq!(made(&[connect(120, ENETUNREACH)]), Some((110, Some((120, "unreachable")))));
        assert_eq!(
            made(&[connect(120, EADDRNOTAVAIL)]),
            Some((110, Some((120, "failed")))),
            "no local port is free"
        );
        assert_eq!(made(&[connect(120, EINTR)]), Some((110, None)), "it goes on without its caller");
        assert_eq!(made(&[connect(120, ECONNREFUSED)]), None, "the end of an attempt before");
        let again = [connect(120, EINPROGRESS), connect(300, EALREADY), connect(900, 0)];
        assert_eq!(made(&again), Some((110, Some((900, "ok")))));
        let refused = [connect(120, EINPROGRESS), connect(900, ECONNREFUSED)];
        assert_eq!(made(&refused), Some((110, Some((900, "refused")))));
    }

    #[test]
    fn a_call_that_returns_late_changes_nothing() {
        let interrupted = [
            state(100, CLOSE, SYN_SENT, 0),
            connect(200, EINTR),
            state(900, SYN_SENT, ESTABLISHED, 0),
            connect(950, EISCONN),
        ];
        assert_eq!(made(&interrupted), Some((100, Some((900, "ok")))));
        let fast_open = [state(100, CLOSE, SYN_SENT, 0), state(400, SYN_SENT, ESTABLISHED, 0)];
        assert_eq!(made(&fast_open), Some((100, Some((400, "ok")))), "without a call");
        // The kernel takes the step back where no local port is free.
        let no_port =
            [state(115, CLOSE, SYN_SENT, 0), state(116, SYN_SENT, CLOSE, 0), connect(120, EADDRNOTAVAIL)];
        assert_eq!(made(&no_port), Some((115, Some((116, "failed")))));
        let shut =
            [state(115, CLOSE, SYN_SENT, 0), state(116, SYN_SENT, CLOSE, 0), connect(120, ECONNABORTED)];
        assert_eq!(made(&shut), Some((115, Some((116, "abandoned")))), "shut down by another thread");
        let both = [
            state(100, CLOSE, SYN_SENT, 0),
            state(200, SYN_SENT, SYN_RECV, 0),
            state(300, SYN_RECV, ESTABLISHED, 0),
        ];
        assert_eq!(made(&both), Some((100, Some((300, "ok")))), "both ends connect at once");
    }

    #[test]
    fn the_answering_side_waits_in_the_listen_queue() {
        let mut opening = Opening::default();
        opening.event(&state(100, SYN_RECV, ESTABLISHED, 0));
        assert_eq!(opening.queued_ns(), None);
        opening.event(&event(1_700, Kind::Accept));
        assert_eq!((opening.attempt(), opening.queued_ns()), (None, Some(1_600)));
    }
}
