//! Spans in, parents out: who called whom, and by what evidence.
//!
//! A server span's parent is the client span at the other end of the same byte. A client span's parent is a server
//! span of the same process: by a byte-level proxy's connections ([`crate::assembly::proxies`]), by an equal trace context, or by the
//! way in which that process is shown to work ([`crate::assembly::regimes`]). They are tried in that order; no evidence, no link.

use std::collections::VecDeque;

use retrospan_protocols::context::Context;

use crate::assembly::connections::{SocketIndex, Sockets};
use crate::assembly::proxies::Proxies;
use crate::assembly::regimes::Regimes;
use crate::assembly::side::Side;
use crate::assembly::span::{Candidate, Evidence, OpenSpans, Parent, Span, SpanIndex, Written};
use crate::hashing::IntMap;

/// A written client span whose server span may still come: a request may wait long to be accepted.
pub const KEEP_NS: i64 = 60_000_000_000;

/// Finds parents.
#[derive(Debug, Default)]
pub struct Links {
    /// Spans by socket and first byte of the request.
    by_byte: IntMap<(SocketIndex, u32), At>,
    /// Keys of written spans in `by_byte`, with the time until which they stay.
    written: VecDeque<(i64, (SocketIndex, u32))>,
    /// Unanswered server spans of a process.
    in_flight: IntMap<i64, Vec<SpanIndex>>,
    /// No link is less sure.
    min_confidence: f64,
}

#[derive(Clone, Copy, Debug)]
enum At {
    Open(SpanIndex),
    Written(Written),
}

impl Links {
    /// Finds none that is less sure than `min_confidence`, from 0 to 1.
    pub fn new(min_confidence: f64) -> Links {
        Links { min_confidence, ..Links::default() }
    }

    /// A span began: looks for its other side, and for what its process was doing.
    /// `had_loss` tells whether events of an interval may be missing: then nothing is known of what else a thread did.
    pub fn began(
        &mut self,
        index: SpanIndex,
        live: &mut OpenSpans,
        sockets: &Sockets,
        proxies: &Proxies,
        regimes: &Regimes<'_>,
        had_loss: impl Fn(i64, i64) -> bool,
    ) {
        let Some(span) = live.get(index) else { return };
        let (socket, seq, side) = (span.socket, span.seq, span.side);
        let caller = span.request.first;
        self.by_byte.insert((socket, seq), At::Open(index));
        let other = sockets.get(socket).peer.and_then(|peer| self.by_byte.get(&(peer, seq)).copied());
        match (side, other) {
            (Side::Server, Some(At::Open(client))) => attach(index, client, Evidence::Connection, live),
            (Side::Client, Some(At::Open(server))) => attach(server, index, Evidence::Connection, live),
            (Side::Server, Some(At::Written(client))) => {
                if let Some(span) = live.get_mut(index) {
                    span.link.parent = Parent::Written(client);
                    span.link.late = true;
                    span.link.evidence = Some(Evidence::Connection);
                    span.link.confidence = Evidence::Connection.confidence();
                }
            }
            _ => {}
        }
        if side == Side::Server {
            self.in_flight.entry(caller.process_id).or_default().push(index);
            return;
        }
        self.find_proxied(index, live, sockets, proxies);
        let unlinked = live.get(index).is_some_and(|span| span.link.evidence.is_none());
        if caller.process_id == 0 || !unlinked || proxies.lost(socket) {
            return;
        }
        let candidate = self
            .by_thread(index, live, sockets, regimes)
            .or_else(|| self.by_regime(index, live, sockets, regimes))
            .filter(|of| of.confidence >= self.min_confidence)
            .filter(|of| live.get(of.span).is_some_and(|server| !had_loss(server.start_ns, caller.exit_ns)));
        if let Some(span) = live.get_mut(index) {
            span.link.candidate = candidate;
        }
    }

    /// The only request that the thread has in hand, if it, or its process, works on one after the other.
    fn by_thread(
        &self,
        index: SpanIndex,
        live: &mut OpenSpans,
        sockets: &Sockets,
        regimes: &Regimes<'_>,
    ) -> Option<Candidate> {
        let span = live.get(index)?;
        let (socket, caller) = (span.socket, span.request.first);
        let in_hand = self.in_flight.get(&caller.process_id)?;
        let mut of_thread = in_hand.iter().copied().filter(|&server| {
            live.get(server).is_some_and(|server| {
                server.request.first.tid == caller.tid && server.start_ns <= caller.enter_ns
            })
        });
        let (Some(only), None) = (of_thread.next(), of_thread.next()) else { return None };
        let alone = in_hand.len() == 1;
        let server = live.get_mut(only)?;
        // Rules that were held against each other know better, also of calls that are nobody's.
        let shown = regimes.is_blocking(caller.process_id, caller.tid, sockets)
            || (alone
                && !regimes.is_told(caller.process_id, sockets)
                && is_regular(server, caller.process_id, socket, sockets, regimes));
        let (serial, evidence) = (server.link.serial, Evidence::Thread);
        shown.then(|| Candidate { span: only, serial, evidence, confidence: evidence.confidence() })
    }

    /// The request that the way of working of the process gives the call.
    fn by_regime(
        &self,
        index: SpanIndex,
        live: &OpenSpans,
        sockets: &Sockets,
        regimes: &Regimes<'_>,
    ) -> Option<Candidate> {
        let span = live.get(index)?;
        // Who has nothing in hand asks for nobody; the pass over the capture is only for those who have.
        self.in_flight.get(&span.request.first.process_id)?;
        let told = regimes.told(span.socket, span.seq, sockets)?;
        let At::Open(server) = *self.by_byte.get(&(told.socket, told.seq))? else { return None };
        let serial = live.get(server).filter(|s| s.side == Side::Server)?.link.serial;
        let (evidence, confidence) = (told.rule.evidence(), f64::from(told.confidence));
        Some(Candidate { span: server, serial, evidence, confidence })
    }

    /// A request's head is known: looks for a parent by context, then by thread.
    pub fn headed(&mut self, index: SpanIndex, live: &mut OpenSpans) {
        let Some(span) = live.get(index) else { return };
        if span.side == Side::Server || span.link.evidence.is_some() {
            return;
        }
        let process_id = span.request.first.process_id;
        let known = span.operation.context.is_some() || span.operation.request_id.is_some();
        let is_sure = Evidence::Context.confidence() >= self.min_confidence;
        if known && is_sure && process_id != 0 {
            let servers = self.in_flight.get(&process_id).map(Vec::as_slice).unwrap_or_default();
            let same = servers.iter().copied().filter(|&s| {
                live.get(s).is_some_and(|s| s.start_ns <= span.start_ns && same_context(s, span))
            });
            let innermost = same.max_by_key(|&s| live.get(s).map(|s| (s.start_ns, s.link.serial)));
            if let Some(server) = innermost {
                return attach(index, server, Evidence::Context, live);
            }
        }
        take_candidate(index, live);
    }

    /// A server span was answered: nothing that its process does from now on is for it.
    pub fn answered(&mut self, index: SpanIndex, live: &OpenSpans) {
        let Some(span) = live.get(index).filter(|span| span.side == Side::Server) else { return };
        let process_id = span.request.first.process_id;
        if let Some(spans) = self.in_flight.get_mut(&process_id) {
            spans.retain(|&other| other != index);
            if spans.is_empty() {
                self.in_flight.remove(&process_id);
            }
        }
    }

    /// How a span ended is decided.
    pub fn finished(&mut self, index: SpanIndex, live: &mut OpenSpans, sockets: &Sockets, proxies: &Proxies) {
        self.answered(index, live);
        if live.get(index).is_some_and(|span| span.side == Side::Client && span.link.evidence.is_none()) {
            self.find_proxied(index, live, sockets, proxies);
            take_candidate(index, live);
        }
    }

    /// A span is written. Returns whether its other side may still come.
    pub fn written(&mut self, span: &Span, written: Written, sockets: &Sockets, now_ns: i64) -> bool {
        let key = (span.socket, span.seq);
        let awaited = span.side == Side::Client
            && sockets.get(span.socket).peer.is_some()
            && span.link.children.is_empty()
            && span.link.covered.is_empty();
        if awaited {
            self.by_byte.insert(key, At::Written(written));
            self.written.push_back((now_ns.saturating_add(KEEP_NS), key));
        } else if matches!(self.by_byte.get(&key), Some(At::Open(_))) {
            self.by_byte.remove(&key);
        }
        while self.written.front().is_some_and(|(until_ns, _)| *until_ns < now_ns) {
            if let Some((_, key)) = self.written.pop_front()
                && matches!(self.by_byte.get(&key), Some(At::Written(_)))
            {
                self.by_byte.remove(&key);
            }
        }
        awaited
    }

    /// The server span at the same byte of the connection that a byte-level proxy copies from.
    fn find_proxied(&mut self, index: SpanIndex, live: &mut OpenSpans, sockets: &Sockets, proxies: &Proxies) {
        let Some(span) = live.get(index) else { return };
        let Some((from, shift)) = proxies.source(span.socket) else { return };
        let Some(first) = sockets.get(from).first_receive_seq else { return };
        let Some(begin) = span.request.begin.checked_add_signed(shift) else { return };
        let (seq, start_ns) = (first.wrapping_add(begin as u32), span.start_ns);
        if let Some(&At::Open(server)) = self.by_byte.get(&(from, seq))
            && live
                .get(server)
                .is_some_and(|s| s.side == Side::Server && s.request.begin == begin && s.start_ns <= start_ns)
        {
            attach(index, server, Evidence::ProxyBytes, live);
        }
    }
}

/// Makes the candidate the parent, unless trace contexts contradict it.
fn take_candidate(index: SpanIndex, live: &mut OpenSpans) {
    let Some(span) = live.get_mut(index) else { return };
    let Some(of) = span.link.candidate.take() else { return };
    let context = span.operation.context;
    let Some(candidate) = live.get(of.span).filter(|s| s.link.serial == of.serial) else { return };
    let contradicted = matches!(
        (candidate.operation.context, context),
        (Some(a), Some(b)) if a.trace_id != b.trace_id
    );
    if !contradicted {
        attach_as(index, of.span, (of.evidence, of.confidence), live);
    }
}

/// Whether a call on `socket` is one of those that its process makes for every request.
fn is_regular(
    server: &mut Span,
    process_id: i64,
    socket: SocketIndex,
    sockets: &Sockets,
    regimes: &Regimes<'_>,
) -> bool {
    let Some(to) = sockets.get(socket).remote else { return false };
    let called = &mut server.link.called;
    let at = called.iter().position(|(known, _)| *known == to).unwrap_or_else(|| {
        called.push((to, 0));
        called.len() - 1
    });
    called[at].1 += 1;
    called[at].1 <= regimes.calls_per_request(process_id, to, sockets)
}

fn same_context(server: &Span, client: &Span) -> bool {
    let trace = |context: &Option<Context>| context.map(|c| c.trace_id);
    match (trace(&server.operation.context), trace(&client.operation.context)) {
        (Some(a), Some(b)) => a == b,
        _ => {
            server.operation.request_id.is_some()
                && server.operation.request_id == client.operation.request_id
        }
    }
}

/// Makes `parent` the parent of `child`, unless it has one or is itself above it.
fn attach(child: SpanIndex, parent: SpanIndex, evidence: Evidence, live: &mut OpenSpans) {
    attach_as(child, parent, (evidence, evidence.confidence()), live);
}

fn attach_as(
    child: SpanIndex,
    parent: SpanIndex,
    (evidence, confidence): (Evidence, f64),
    live: &mut OpenSpans,
) {
    let mut above = Some(parent);
    while let Some(index) = above {
        if index == child {
            return;
        }
        above = match live.get(index).map(|span| span.link.parent) {
            Some(Parent::Open(next)) => Some(next),
            _ => None,
        };
    }
    let Some(span) = live.get_mut(child).filter(|span| span.link.evidence.is_none()) else { return };
    span.link.parent = Parent::Open(parent);
    (span.link.evidence, span.link.confidence) = (Some(evidence), confidence);
    if let Some(parent) = live.get_mut(parent) {
        parent.link.children.push(child);
    }
}
