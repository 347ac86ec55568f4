//! A capture in, how its processes work out: what has to be shown before an inner call is said to be for a request that its
//! process has in hand.
//!
//! That a request is in hand is no evidence by itself: an event loop's timer fires while a request waits. Ways of working are
//! evidence, and they show in the whole recording without a trace context:
//!
//! * A **blocking** thread waits within its receives and answers itself what it received. What it sends in between is for
//!   that.
//! * A **regular** process calls each destination equally often for every request that it has alone, at once after it received the
//!   request or the answer to a call before, and never otherwise.
//! * Of a process with many requests at once, rules that rest on different events must agree ([`belief`]).
//!
//! This is a pass of its own over the calls of a capture, made once, when the first such link is in question. It does not
//! read messages: on an accepted connection whatever comes after an answer is a request, on an opened one whatever is sent after
//! an answer is a call.

pub mod assign;
pub mod belief;
mod heads;
pub mod identity;
pub mod lines;
pub mod pattern;
pub mod pool;
pub mod regime;
pub mod rules;
#[cfg(test)]
mod tests;
pub mod turns;
mod veto;

use std::cell::OnceCell;
use std::collections::HashSet;

use retrospan_formats::event::Kind;
use retrospan_formats::reader::Capture;

use crate::assembly::connections::{Endpoint, Role, SocketIndex, Sockets};
use crate::assembly::events::{self, Event};
use crate::assembly::regimes::heads::Heads;
use crate::assembly::regimes::identity::Marks;
use crate::assembly::regimes::regime::{Regime, Rule};
use crate::assembly::regimes::turns::Moved;
use crate::assembly::side::{Side, side_of};
use crate::hashing::IntMap;

/// A thread of a process.
type Thread = (i64, u32);

/// What a capture shows of how its threads work.
#[derive(Debug)]
pub struct Regimes<'a> {
    capture: &'a Capture,
    found: OnceCell<Found>,
}

#[derive(Debug, Default)]
struct Found {
    blocking: IntMap<Thread, Waits>,
    processes: IntMap<i64, Process>,
    calls: IntMap<(i64, Endpoint), Calls>,
    told: IntMap<(SocketIndex, u32), Told>,
    regimes: Vec<(i64, Regime)>,
}

/// For whom a call was made, as its process works.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// The accepted connection.
    pub socket: SocketIndex,
    /// The sequence number of the request's first byte there.
    pub seq: u32,
    /// What tells it.
    pub rule: Rule,
    /// How sure it is, from 0 to 1.
    pub confidence: f32,
}

impl<'a> Regimes<'a> {
    /// Nothing is read yet.
    pub fn new(capture: &'a Capture) -> Regimes<'a> {
        Regimes { capture, found: OnceCell::new() }
    }

    /// Whether the thread works on one request after the other and waits for whatever it waits for within its calls.
    pub fn is_blocking(&self, process_id: i64, tid: u32, sockets: &Sockets) -> bool {
        self.found(sockets).blocking.get(&(process_id, tid)).is_some_and(Waits::are_blocking)
    }

    /// How often the process calls `to` for each request; 0 where that is not regular.
    pub fn calls_per_request(&self, process_id: i64, to: Endpoint, sockets: &Sockets) -> u32 {
        let found = self.found(sockets);
        let alone = found.processes.get(&process_id).map_or(0, |process| process.alone);
        found.calls.get(&(process_id, to)).map_or(0, |calls| calls.regular(alone))
    }

    /// Whether a rule is believed of the process that tells requests apart which it has in hand at once.
    pub fn is_told(&self, process_id: i64, sockets: &Sockets) -> bool {
        let found = self.found(sockets);
        let first = found.regimes.partition_point(|(id, _)| *id < process_id);
        let of_process = found.regimes[first..].iter().take_while(|(id, _)| *id == process_id);
        // These tell of some calls, and nothing of those that are nobody's.
        let of_some = [Rule::Identity, Rule::Assignment];
        of_process.into_iter().any(|(_, regime)| regime.is_believed && !of_some.contains(&regime.rule))
    }

    /// For whom the call was made whose first byte has this sequence number.
    pub fn told(&self, socket: SocketIndex, seq: u32, sockets: &Sockets) -> Option<Told> {
        self.found(sockets).told.get(&(socket, seq)).copied()
    }

    /// What was found of each process with requests and calls, if anything had to be.
    pub fn all(&self) -> &[(i64, Regime)] {
        self.found.get().map_or(&[], |found| &found.regimes)
    }

    /// What cannot be read shows nothing; the pass that makes spans will fail on it.
    fn found(&self, sockets: &Sockets) -> &Found {
        self.found.get_or_init(|| {
            let mut pass = Pass::new(sockets);
            for events in events::read(self.capture) {
                let Ok(events) = events else { return Found::default() };
                events.iter().for_each(|event| pass.event(&event));
            }
            pass.finish()
        })
    }
}

/// How a thread waited, and who answered what it received.
#[derive(Clone, Copy, Debug, Default)]
struct Waits {
    /// Receives that it entered before there was anything to take.
    within: u32,
    /// Receives that it entered when there was.
    before: u32,
    answered: u32,
    answered_by_others: u32,
}

impl Waits {
    fn are_blocking(&self) -> bool {
        self.within > 0 && self.before * 4 <= self.within && self.answered_by_others * 50 <= self.answered
    }
}

/// The requests of a process.
#[derive(Debug, Default)]
struct Process {
    in_hand: u32,
    /// The only request in hand, if it was alone all the time.
    only: Option<Request>,
    /// Requests that were answered and alone all the time.
    alone: u32,
}

#[derive(Debug)]
struct Request {
    socket: SocketIndex,
    tid: u32,
    /// The connections that were called for it.
    called: Vec<SocketIndex>,
    calls: Vec<(Endpoint, u32)>,
    /// Not in the way of a regular process.
    odd: bool,
}

/// Calls of a process to one destination.
#[derive(Clone, Copy, Debug, Default)]
struct Calls {
    /// By the number of calls a request.
    requests: [u32; MAX_CALLS],
    /// Requests with more, or with calls that did not follow at once from what came.
    odd: u32,
    /// Calls while no request was in hand.
    outside: u32,
    /// Calls that followed from what came, and how many of them late.
    followed: u32,
    late: u32,
}

/// Calls to one destination that one request may need, and one more.
const MAX_CALLS: usize = 9;
/// A way of working must have shown itself so often.
const SHOWN: u32 = 10;
/// One exception in so many is none.
const EXCEPTIONS: u32 = 50;
/// What a process sends at once after it received something, ns.
const AT_ONCE_NS: i64 = 5_000_000;

impl Calls {
    fn regular(&self, alone: u32) -> u32 {
        let with_any: u32 = self.requests.iter().sum();
        let most = (1..MAX_CALLS).max_by_key(|&calls| self.requests[calls]).unwrap_or_default();
        let usual = self.requests[most];
        let others = alone.saturating_sub(with_any) + with_any - usual + self.odd + self.outside;
        let at_once = u64::from(self.late) * 10 <= u64::from(self.followed);
        let regular = usual >= SHOWN && others.saturating_mul(EXCEPTIONS) <= usual && at_once;
        if regular { most as u32 } else { 0 }
    }
}

/// Where a socket stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Idle,
    /// A request was received on it by this thread, or a call was sent.
    Waiting(Thread),
}

/// What a thread did last.
#[derive(Debug, Default)]
struct Last {
    sent: Option<(SocketIndex, i64)>,
    received: Option<(SocketIndex, i64)>,
}

struct Pass<'a> {
    sockets: &'a Sockets,
    places: Vec<Place>,
    threads: IntMap<Thread, Last>,
    found: Found,
    /// Those with connections of both kinds, by process.
    inner: IntMap<i64, Inner>,
    inner_sockets: Vec<turns::Socket>,
    heads: Heads,
}

/// What a process receives and sends, and what its messages carry.
#[derive(Debug, Default)]
struct Inner {
    process: turns::Process<Endpoint>,
    marks: Marks,
}

/// Processes that accept connections and open some.
fn inner_processes(sockets: &Sockets) -> HashSet<i64> {
    let of = |side: Side| -> HashSet<i64> {
        let open = sockets.all().filter(|socket| socket.role != Role::Listener && side_of(socket) == side);
        open.map(|socket| socket.process_id).filter(|&id| id != 0).collect()
    };
    &of(Side::Client) & &of(Side::Server)
}

impl<'a> Pass<'a> {
    fn new(sockets: &'a Sockets) -> Pass<'a> {
        let inner = inner_processes(sockets).into_iter().map(|id| (id, Inner::default())).collect();
        Pass {
            sockets,
            places: Vec::new(),
            threads: IntMap::default(),
            found: Found::default(),
            inner,
            inner_sockets: Vec::new(),
            heads: Heads::default(),
        }
    }

    fn event(&mut self, event: &Event<'_>) {
        let Some(index) = self.sockets.find(event.socket_id) else { return };
        // What a TLS session does is told by its own calls; those below it would be requests and calls of their own.
        if !self.sockets.sessions(index).is_empty() {
            return;
        }
        let thread = (event.process_id, event.tid);
        let side = side_of(self.sockets.get(index));
        if index as usize >= self.places.len() {
            self.places.resize(index as usize + 1, Place::Idle);
        }
        self.inner(index, side, event);
        let moved = event.done_bytes > 0 && event.tid != 0;
        match event.kind {
            Kind::Receive if moved => self.received(index, side, thread, event),
            Kind::Send if moved => self.sent(index, side, thread, event),
            Kind::Close => self.gone(index),
            Kind::State => return,
            _ => {}
        }
        if event.kind != Kind::Send
            && let Some(last) = self.threads.get_mut(&thread)
        {
            last.sent = None;
        }
    }

    /// Tells a process with connections of both kinds what it did.
    fn inner(&mut self, index: SocketIndex, side: Side, event: &Event<'_>) {
        self.heads.sent(index, event, self.sockets, &self.inner);
        let Some(Inner { process, marks }) = self.inner.get_mut(&event.process_id).filter(|_| event.tid != 0)
        else {
            return;
        };
        if index as usize >= self.inner_sockets.len() {
            self.inner_sockets.resize(index as usize + 1, turns::Socket::default());
        }
        let socket = &mut self.inner_sockets[index as usize];
        let moved = Moved {
            socket: index,
            seq: event.tcp_seq,
            thread: event.tid,
            enter_ns: event.enter_ns(),
            exit_ns: event.boot_ns,
        };
        match (event.kind, side) {
            (Kind::Receive, Side::Server) if event.done_bytes > 0 => {
                let begins = process.received(socket, moved);
                if begins {
                    marks.request(&self.heads.received(index, event, self.sockets));
                }
            }
            (Kind::Send, Side::Server) if event.done_bytes > 0 => process.answered(socket, moved),
            (Kind::Receive, Side::Client) if event.done_bytes > 0 => process.back(socket, moved),
            (Kind::Send, Side::Client) if event.done_bytes > 0 => {
                if let Some(to) = self.sockets.get(index).remote
                    && process.called(socket, moved, to)
                {
                    marks.call(&heads::marks(event));
                }
            }
            (Kind::Connect, Side::Client) => process.connects(socket, event.tid, event.enter_ns()),
            (Kind::Close, Side::Server) => process.gone(socket, event.boot_ns),
            _ => {}
        }
    }

    /// After the last event.
    fn finish(mut self) -> Found {
        let mut inner: Vec<_> = self.inner.into_iter().collect();
        inner.sort_unstable_by_key(|(id, _)| *id);
        for (id, Inner { process, marks }) in inner {
            let (choices, regimes) = belief::choose(&process, &marks);
            self.found.regimes.extend(regimes.into_iter().map(|regime| (id, regime)));
            for (call, choice) in process.calls.iter().zip(choices) {
                let Some(request) = process.requests.get(choice.parent as usize) else { continue };
                // Bytes without a position are in no message that could be found by them.
                let (Some(call_seq), Some(seq)) = (call.seq, request.seq) else { continue };
                let told =
                    Told { socket: request.socket, seq, rule: choice.rule, confidence: choice.confidence };
                self.found.told.insert((call.socket, call_seq), told);
            }
        }
        self.found
    }

    fn received(&mut self, index: SocketIndex, side: Side, thread: Thread, event: &Event<'_>) {
        let last = self.threads.entry(thread).or_default();
        last.received = Some((index, event.boot_ns));
        if let Some((_, sent_ns)) = last.sent.filter(|(sent, _)| *sent == index) {
            let waits = self.found.blocking.entry(thread).or_default();
            let within = event.duration_ns.saturating_mul(2) > event.boot_ns - sent_ns;
            if within { waits.within += 1 } else { waits.before += 1 }
        }
        let place = &mut self.places[index as usize];
        match side {
            Side::Client => *place = Place::Idle,
            Side::Server if *place == Place::Idle => {
                *place = Place::Waiting(thread);
                let process = self.found.processes.entry(thread.0).or_default();
                process.in_hand += 1;
                process.only = (process.in_hand == 1).then(|| Request {
                    socket: index,
                    tid: thread.1,
                    called: Vec::new(),
                    calls: Vec::new(),
                    odd: false,
                });
            }
            Side::Server => {}
        }
    }

    fn sent(&mut self, index: SocketIndex, side: Side, thread: Thread, event: &Event<'_>) {
        let place = self.places[index as usize];
        match (side, place) {
            (Side::Server, Place::Waiting(receiver)) => {
                self.places[index as usize] = Place::Idle;
                let waits = self.found.blocking.entry(receiver).or_default();
                if receiver == thread {
                    waits.answered += 1
                } else {
                    waits.answered_by_others += 1
                }
                self.answered(index, receiver, receiver == thread);
            }
            (Side::Client, Place::Idle) => {
                self.places[index as usize] = Place::Waiting(thread);
                self.called(index, thread, event);
            }
            _ => {}
        }
        self.threads.entry(thread).or_default().sent = Some((index, event.boot_ns));
    }

    fn called(&mut self, index: SocketIndex, thread: Thread, event: &Event<'_>) {
        let Some(to) = self.sockets.get(index).remote else { return };
        let calls = self.found.calls.entry((thread.0, to)).or_default();
        let process = self.found.processes.entry(thread.0).or_default();
        if process.in_hand == 0 {
            calls.outside = calls.outside.saturating_add(1);
        }
        let Some(request) = &mut process.only else { return };
        let received = self.threads.get(&thread).and_then(|last| last.received);
        match received {
            Some((from, at_ns))
                if thread.1 == request.tid && (from == request.socket || request.called.contains(&from)) =>
            {
                calls.followed += 1;
                calls.late += u32::from(event.enter_ns() - at_ns > AT_ONCE_NS);
            }
            _ => request.odd = true,
        }
        request.called.push(index);
        match request.calls.iter_mut().find(|(known, _)| *known == to) {
            Some((_, count)) => *count += 1,
            None => request.calls.push((to, 1)),
        }
    }

    /// The first byte of an answer was sent.
    fn answered(&mut self, index: SocketIndex, receiver: Thread, by_itself: bool) {
        let Some(process) = self.found.processes.get_mut(&receiver.0) else { return };
        process.in_hand = process.in_hand.saturating_sub(1);
        let Some(request) = process.only.take().filter(|request| request.socket == index) else { return };
        process.alone += 1;
        for (to, count) in request.calls {
            let calls = self.found.calls.entry((receiver.0, to)).or_default();
            match calls.requests.get_mut(count as usize).filter(|_| by_itself && !request.odd) {
                Some(requests) => *requests += 1,
                None => calls.odd += 1,
            }
        }
    }

    /// A socket was closed with a request in hand.
    fn gone(&mut self, index: SocketIndex) {
        if side_of(self.sockets.get(index)) == Side::Server
            && let Place::Waiting(receiver) = std::mem::take(&mut self.places[index as usize])
            && let Some(process) = self.found.processes.get_mut(&receiver.0)
        {
            process.in_hand = process.in_hand.saturating_sub(1);
            process.only = None;
        }
    }
}
