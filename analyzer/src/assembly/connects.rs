//! Connects in, waits out: which requests waited for a connection that was being opened on their behalf.
//!
//! What opens a connection for another one does so right after it has accepted that one, or has received from it, on the same
//! thread. That order alone is no evidence. It is believed where the first request on the new connection has its parent on
//! the old one ([`crate::assembly::links`]); else only where the same process is shown to work so, from the same port to the same address, and
//! never otherwise, or where both connections were closed one right after the other on one thread.
//!
//! A proxy may give a new connection to whichever request has waited longest, so that it carries another one's bytes (Envoy
//! does, where many wait at once). Who accepted and connected at once has opened it for the accepted connection all the same,
//! which waits for one to that address. What only received before it connected may have done both for different reasons.

use std::collections::VecDeque;

use retrospan_formats::event::Kind;
use retrospan_formats::tcp::state::{ESTABLISHED, SYN_RECV, SYN_SENT};

use crate::assembly::by_socket::BySocket;
use crate::assembly::connections::{Endpoint, Role, SocketIndex, Sockets};
use crate::assembly::events::Event;
use crate::assembly::openings::{Connected, Opening};
use crate::assembly::outcomes::SpanEnd;
use crate::assembly::side::Side;
use crate::assembly::span::{Evidence, OpenSpans, Parent, Span, SpanIndex};
use crate::assembly::waits::{Wait, Waited, waited};
use crate::hashing::IntMap;
use crate::tables::outcome::Outcome;

/// Connects that requests may have waited for.
#[derive(Debug, Default)]
pub struct Connects {
    threads: IntMap<u32, Last>,
    /// What threads do does not tell: not every connection was recorded.
    sampled: bool,
    /// By the socket that is opened.
    opened: BySocket<Opened>,
    /// When the handshake of a connection was complete at the answering side, and when it was accepted.
    queued: BySocket<Opening>,
    /// Sockets opened for an accepted one, perhaps.
    opened_for: BySocket<Vec<SocketIndex>>,
    paths: IntMap<ProxyPath, Shown>,
    /// Sockets of connections that are over, and when their spans are written, ns.
    over: VecDeque<(i64, SocketIndex)>,
    /// Those of them that were opened for an accepted connection that lives on, and until when they are kept, ns.
    kept: VecDeque<(i64, SocketIndex)>,
}

/// A thread's last call, as far as it tells for whom the next connect is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Last {
    /// It tells nothing.
    #[default]
    Other,
    /// It accepted, and had not accepted another right before.
    Accepted(SocketIndex),
    /// It accepted several in a row.
    AcceptedMore,
    /// It received from an accepted connection.
    Received(SocketIndex),
    /// It closed.
    Closed(SocketIndex),
}

/// A socket that was opened.
#[derive(Debug, Default)]
struct Opened {
    opening: Opening,
    /// A connect has returned.
    called: bool,
    /// The accepted connection that it is for, perhaps.
    guess: Option<Guess>,
    /// The connection that its first request came by, and what shows that.
    proven: Option<(SocketIndex, Evidence)>,
    /// It carried bytes.
    used: bool,
    /// It was closed together with the other.
    closed_with: bool,
    /// Accepted sockets that it may be opened for, those in [`Connects::opened_for`].
    holders: u32,
    /// Its connection is over.
    over: bool,
}

/// What the order of calls says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Guess {
    accepted: SocketIndex,
    /// The thread accepted and connected, with nothing in between.
    at_once: bool,
}

/// From where to where a process opens connections for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct ProxyPath {
    process_id: i64,
    port: u16,
    to: Endpoint,
}

/// What connections of a way that carried requests have shown.
#[derive(Clone, Copy, Debug, Default)]
struct Shown {
    right: bool,
    wrong: bool,
}

/// An accepted connection that lives on may still have waited for one that was over so long ago, ns.
const KEEP_NS: i64 = 35_000_000_000;
/// Threads and ways of proxies remembered; beyond it all are forgotten, which costs waits and never makes one.
const MAX_REMEMBERED: usize = 1 << 16;

impl Connects {
    /// None yet. `whole`: every connection was recorded, so that it tells for whom one is opened what its thread did before.
    pub fn new(whole: bool) -> Connects {
        Connects { sampled: !whole, ..Connects::default() }
    }

    /// Takes in an event. Must see every one, in order of emission.
    pub fn event(&mut self, socket: SocketIndex, event: &Event<'_>, sockets: &Sockets) {
        match (event.kind, event.state) {
            (Kind::State, Some(change)) => match (change.old, change.new) {
                (_, SYN_SENT) => self.connecting(socket, event, true, sockets),
                (SYN_RECV, ESTABLISHED) if !self.opened.contains(socket) => {
                    self.queued.or_default(socket).event(event);
                }
                _ => self.of_opened(socket, |opened| opened.opening.event(event)),
            },
            (Kind::Connect, _) => self.connecting(socket, event, false, sockets),
            (Kind::Accept, _) if event.errno == 0 => self.queued.or_default(socket).event(event),
            // Half of all events are of accepted sockets: those were not opened here.
            (Kind::Send | Kind::Receive, _)
                if event.done_bytes > 0 && sockets.get(socket).role != Role::Server =>
            {
                self.of_opened(socket, |opened| opened.used = true);
            }
            _ => {}
        }
        if event.kind != Kind::State && event.tid != 0 && !self.sampled {
            self.called(socket, event, sockets);
        }
    }

    fn of_opened(&mut self, socket: SocketIndex, change: impl FnOnce(&mut Opened)) {
        if let Some(opened) = self.opened.get_mut(socket) {
            change(opened);
        }
    }

    /// A SYN leaves, or a connect has returned.
    fn connecting(&mut self, socket: SocketIndex, event: &Event<'_>, anew: bool, sockets: &Sockets) {
        let guess = self.guess(event, sockets);
        if anew {
            let holders = self.opened.get(socket).map_or(0, |before| before.holders);
            self.opened.insert(socket, Opened { holders, ..Opened::default() });
        }
        let opened = self.opened.or_default(socket);
        // The call that begins it says for whom, and so does the SYN that it sends; later calls ask what came of it.
        if let (Some(Guess { accepted, .. }), None, false) = (guess, opened.guess, opened.called) {
            opened.guess = guess;
            opened.holders += 1;
            self.opened_for.or_default(accepted).push(socket);
        }
        opened.called |= event.kind == Kind::Connect;
        opened.opening.event(event);
    }

    /// The accepted connection that a connect on this thread would be for.
    fn guess(&self, event: &Event<'_>, sockets: &Sockets) -> Option<Guess> {
        let guess = match *self.threads.get(&event.tid).filter(|_| event.tid != 0)? {
            Last::Accepted(accepted) => Guess { accepted, at_once: true },
            Last::Received(accepted) => Guess { accepted, at_once: false },
            // It tries again.
            Last::Closed(before) => {
                let before = self.opened.get(before)?;
                before.guess.filter(|_| !before.used)?
            }
            Last::Other | Last::AcceptedMore => return None,
        };
        (sockets.get(guess.accepted).role != Role::Client).then_some(guess)
    }

    fn called(&mut self, socket: SocketIndex, event: &Event<'_>, sockets: &Sockets) {
        if self.threads.len() > MAX_REMEMBERED {
            self.threads.clear();
        }
        let last = self.threads.entry(event.tid).or_default();
        let before = *last;
        *last = match event.kind {
            Kind::Accept if matches!(before, Last::Accepted(_) | Last::AcceptedMore) => Last::AcceptedMore,
            Kind::Accept => Last::Accepted(socket),
            Kind::Receive if event.done_bytes > 0 && sockets.get(socket).role != Role::Client => {
                Last::Received(socket)
            }
            Kind::Close => Last::Closed(socket),
            _ => Last::Other,
        };
        if let (Last::Closed(other), Kind::Close) = (before, event.kind) {
            for (opened, accepted) in [(socket, other), (other, socket)] {
                let is_other = |guess: Guess| guess.accepted == accepted;
                self.of_opened(opened, |opened| opened.closed_with |= opened.guess.is_some_and(is_other));
            }
        }
    }

    /// A span may have got its parent: the first request on a connection tells for whom that was opened. `last`: it will
    /// get none any more.
    pub fn linked(&mut self, index: SpanIndex, last: bool, live: &OpenSpans, sockets: &Sockets) {
        let Some(span) = live.get(index).filter(|span| span.side == Side::Client && span.number == 0) else {
            return;
        };
        let Some(opened) = self.opened.get_mut(span.socket).filter(|opened| opened.proven.is_none()) else {
            return;
        };
        let parent = match span.link.parent {
            Parent::Open(parent) => live.get(parent).map(|parent| parent.socket),
            _ => None,
        };
        opened.proven = parent.zip(span.link.evidence);
        let guess = opened.guess;
        if let Some(parent) = parent {
            let all = self.opened_for.or_default(parent);
            if !all.contains(&span.socket) {
                opened.holders += 1;
                all.push(span.socket);
            }
        }
        let Some(guess) = guess.filter(|_| parent.is_some() || last) else { return };
        let Some(way) = ProxyPath::of(guess.accepted, span.socket, sockets) else { return };
        let right = parent == Some(guess.accepted);
        // Another request of the same way may have got it where nothing lay between accept and connect.
        let same_way = match parent {
            Some(parent) => ProxyPath::of(parent, span.socket, sockets) == Some(way),
            None => true,
        };
        if self.paths.len() > MAX_REMEMBERED {
            self.paths.clear();
        }
        let shown = self.paths.entry(way).or_default();
        shown.right |= right;
        shown.wrong |= !(right || guess.at_once && same_way);
    }

    /// The connection of this socket is over, at both ends: its last spans are written at `written_ns`.
    pub fn over(&mut self, socket: SocketIndex, written_ns: i64) {
        self.of_opened(socket, |opened| opened.over = true);
        self.over.push_back((written_ns, socket));
    }

    /// Whether [`Connects::written`] has anything to do.
    #[inline]
    pub fn is_due(&self, now_ns: i64) -> bool {
        let due = |first: Option<&(i64, SocketIndex)>| first.is_some_and(|(due_ns, _)| *due_ns <= now_ns);
        due(self.over.front()) || due(self.kept.front())
    }

    /// Every span that was due by now is written.
    pub fn written(&mut self, now_ns: i64) {
        while let Some(&(_, socket)) = self.over.front().filter(|(due_ns, _)| *due_ns <= now_ns) {
            self.over.pop_front();
            self.forget(socket, now_ns);
        }
        while let Some(&(_, socket)) = self.kept.front().filter(|(due_ns, _)| *due_ns <= now_ns) {
            self.kept.pop_front();
            self.forget_opened(socket);
        }
    }

    /// No span of the socket's own connection is left to be written.
    fn forget(&mut self, socket: SocketIndex, now_ns: i64) {
        self.queued.remove(socket);
        for opened in self.opened_for.remove(socket).unwrap_or_default() {
            self.of_opened(opened, |opened| opened.holders = opened.holders.saturating_sub(1));
            if !self.is_held(opened) {
                self.forget_opened(opened);
            }
        }
        if self.is_held(socket) {
            self.kept.push_back((now_ns.saturating_add(KEEP_NS), socket));
        } else {
            self.forget_opened(socket);
        }
    }

    fn is_held(&self, socket: SocketIndex) -> bool {
        self.opened.get(socket).is_some_and(|opened| opened.holders > 0)
    }

    /// Forgets it, unless it was opened anew.
    fn forget_opened(&mut self, socket: SocketIndex) {
        if self.opened.get(socket).is_some_and(|opened| opened.over) {
            self.opened.remove(socket);
        }
    }

    /// What of the time that a span's other children leave, `gaps`, it waited for connections.
    pub fn waited(
        &self,
        span: &Span,
        span_end: &SpanEnd,
        gaps: &[(i64, i64)],
        sockets: &Sockets,
    ) -> Option<Waited> {
        let waits = self.waits(span, span_end, sockets);
        let (mut waited, named) = waited(gaps, &waits)?;
        // A proxy may have failed with its own connect before it was asked for anything.
        let fails_with_it = span.number == 0
            && matches!(span_end.outcome, Outcome::ServerClosed | Outcome::Reset)
            && named.has_failed();
        if fails_with_it && waited.parts.iter().all(|part| part.socket != named.socket) {
            waited.parts.insert(0, Wait { from_ns: span.start_ns, to_ns: span.start_ns, ..named });
        }
        (waited.ns > 0 || !waited.parts.is_empty()).then_some(waited)
    }

    /// Every connection that was opened while the span may have waited for it, or failed before its end.
    fn waits(&self, span: &Span, span_end: &SpanEnd, sockets: &Sockets) -> Vec<Wait> {
        let mut waits = Vec::new();
        // Elsewhere the event that tells the end of a connect is missing.
        let may_go_on = matches!(span_end.outcome, Outcome::TimeoutCut | Outcome::ClientClosed);
        let mut add = |wait: Wait| {
            if wait.from_ns <= span_end.end_ns && (wait.has_failed() || wait.to_ns > span.start_ns) {
                waits.push(wait);
            }
        };
        let accepted = match span.side {
            Side::Server => Some(span.socket),
            Side::Client => {
                self.own_connection(span.socket, sockets, &mut add);
                sockets.get(span.socket).peer
            }
        };
        let opened_for = accepted.and_then(|accepted| Some((accepted, self.opened_for.get(accepted)?)));
        let Some((accepted, all)) = opened_for else { return waits };
        for &socket in all {
            if let Some(opened) = self.opened.get(socket)
                && let Some(evidence) = self.believed(socket, opened, accepted, sockets)
                && let Some(attempt) = opened.opening.attempt()
                && (attempt.end.is_some() || (may_go_on && !opened.used))
            {
                add(Wait::of(attempt, socket, evidence, sockets));
            }
        }
        waits
    }

    /// A request may be sent before its own connection is established, or before it is accepted.
    fn own_connection(&self, socket: SocketIndex, sockets: &Sockets, add: &mut impl FnMut(Wait)) {
        let attempt = self.opened.get(socket).and_then(|opened| opened.opening.attempt());
        // It carried the request, so it has an end.
        if let Some(attempt) = attempt.filter(|attempt| attempt.end.is_some()) {
            add(Wait::of(attempt, socket, Evidence::Connection, sockets));
        }
        let queued = sockets.get(socket).peer.and_then(|peer| self.queued.get(peer));
        if let Some(arrived_ns) = queued.and_then(Opening::arrived_ns) {
            let end = attempt.and_then(|attempt| attempt.end).or(Some((arrived_ns, Connected::Ok)));
            let from_ns = end.map_or(arrived_ns, |end| end.0);
            let to_ns = queued.and_then(Opening::accepted_ns).unwrap_or(i64::MAX);
            let to = sockets.get(socket).remote;
            let evidence = Evidence::Connection;
            add(Wait { from_ns, to_ns, socket, to, end, evidence, queued: true });
        }
    }

    /// Why the socket is believed to be opened for the accepted one; None where it is not.
    fn believed(
        &self,
        socket: SocketIndex,
        opened: &Opened,
        accepted: SocketIndex,
        sockets: &Sockets,
    ) -> Option<Evidence> {
        if let Some((_, evidence)) = opened.proven.filter(|(proven, _)| *proven == accepted) {
            return Some(evidence);
        }
        let guess = opened.guess.filter(|guess| guess.accepted == accepted)?;
        if opened.used && !guess.at_once {
            return None;
        }
        let shown = ProxyPath::of(accepted, socket, sockets).and_then(|way| self.paths.get(&way)).copied();
        let shown = shown.unwrap_or_default();
        (!shown.wrong && (shown.right || opened.closed_with)).then_some(Evidence::Thread)
    }
}

impl ProxyPath {
    fn of(accepted: SocketIndex, opened: SocketIndex, sockets: &Sockets) -> Option<ProxyPath> {
        let (from, to) = (sockets.get(accepted), sockets.get(opened));
        (to.process_id != 0).then_some(())?;
        Some(ProxyPath { process_id: to.process_id, port: from.local?.port, to: to.remote? })
    }
}
