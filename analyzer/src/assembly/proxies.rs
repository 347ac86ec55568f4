//! Calls in, pairs of connections out: which connection a byte-level proxy opened for which.
//!
//! Such a proxy accepts A, connects B, and from then on sends on B what it received on A and back. Whose bytes the first ones on B
//! are is told by the thread where it connects right after it accepted A or took A's first bytes: so requests that are equal to the
//! byte are told apart. Else it is told by the bytes: A is the only connection of the process that brought them, and all of
//! what it brought leaves. Two possible sources are none. A pair is dropped for good at the first byte that does not fit. A PROXY
//! protocol header in front of either stream does not count.

mod copying;
mod header;

use std::collections::VecDeque;

use retrospan_formats::event::{Kind, flags};

use crate::assembly::by_socket::BySocket;
use crate::assembly::connections::{Role, SocketIndex, Sockets};
use crate::assembly::events::Event;
use crate::assembly::streams::IoDirection;
use crate::hashing::IntMap;
use copying::{COMPARED_BYTES, Copying, MAX_REMEMBERED, Moved, PayloadPrefix, equal};
use header::proxy_header;

/// Connections of byte-level proxies.
#[derive(Debug, Default)]
pub struct Proxies {
    threads: IntMap<u32, Thread>,
    /// By the connection that was opened.
    pairs: BySocket<Pair>,
    /// The connection that was opened for an accepted one.
    opened_for: BySocket<SocketIndex>,
    /// What came on accepted connections without a proven partner, as long as nothing went back.
    fresh: BySocket<Copying>,
    /// Those connections, by process.
    fresh_of: IntMap<i64, Vec<SocketIndex>>,
    /// Lengths of PROXY protocol headers in front of streams that a socket receives and sends.
    preambles: [BySocket<u64>; 2],
    /// Pairs that were believed and then broke.
    pub broken: u64,
}

/// What a thread did last.
#[derive(Debug, Default)]
struct Thread {
    /// Accepts in a row, with nothing else in between.
    accepts: u32,
    accepted: SocketIndex,
    /// Received and not yet seen to leave, oldest first.
    received: VecDeque<SocketIndex>,
    /// The last call, if it received.
    last: Option<Received>,
}

#[derive(Debug)]
struct Received {
    from: SocketIndex,
    length: u64,
    prefix: PayloadPrefix,
}

#[derive(Debug)]
struct Pair {
    accepted: SocketIndex,
    state: Belief,
    /// From the accepted connection to the opened one.
    there: Copying,
    back: Copying,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Belief {
    Candidate,
    Believed,
    /// It never was a pair.
    Broken,
    /// It was believed until a byte did not fit.
    Lost,
}

/// Where bytes may have come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sources {
    None,
    One(SocketIndex),
    /// More than one, or too many to look at.
    Several,
}

/// Connections of a process that are looked at for the source of what leaves; where there are more, none is found.
const MAX_FRESH: usize = 1024;
/// What a process passes on is told from anything else by so many known bytes.
const TELLING_BYTES: usize = 16;
/// Threads remembered; beyond it all are forgotten, which costs links and never makes one.
const MAX_THREADS: usize = 1 << 16;
/// `connect` in the background.
const EINPROGRESS: u32 = 115;

impl Proxies {
    /// Takes in a call. Must see every call, in order of emission, before the spans that it makes are linked.
    pub fn call(&mut self, socket: SocketIndex, event: &Event<'_>, sockets: &Sockets) {
        if event.tid == 0 {
            return;
        }
        if self.threads.len() > MAX_THREADS {
            self.threads.clear();
        }
        match event.kind {
            Kind::Accept => {
                let thread = self.threads.entry(event.tid).or_default();
                thread.accepts += 1;
                thread.accepted = socket;
                thread.last = None;
                return;
            }
            Kind::Connect if matches!(event.errno, 0 | EINPROGRESS) => self.connect(socket, event, sockets),
            Kind::Receive if event.done_bytes > 0 => self.receive(socket, event, sockets),
            Kind::Send if event.done_bytes > 0 => self.send(socket, event, sockets),
            Kind::State => return,
            _ => {}
        }
        if let Some(thread) = self.threads.get_mut(&event.tid) {
            thread.accepts = 0;
            if event.kind != Kind::Receive {
                thread.last = None;
            }
        }
    }

    /// The accepted connection whose bytes are sent on this one, and how much further a byte stands there.
    pub fn source(&self, opened: SocketIndex) -> Option<(SocketIndex, i64)> {
        let pair = self.pairs.get(opened)?;
        let shift = self.preamble(pair.accepted, IoDirection::In) as i64
            - self.preamble(opened, IoDirection::Out) as i64;
        (pair.state == Belief::Believed).then_some((pair.accepted, shift))
    }

    /// The connection is a proxy's, but it is not known any more whose bytes it carries: nothing weaker may say so.
    pub fn lost(&self, opened: SocketIndex) -> bool {
        self.pairs.get(opened).is_some_and(|pair| pair.state == Belief::Lost)
    }

    /// A socket is gone.
    pub fn closed(&mut self, socket: SocketIndex) {
        self.pairs.remove(socket);
        self.opened_for.remove(socket);
        for preambles in &mut self.preambles {
            preambles.remove(socket);
        }
        self.fresh.remove(socket);
    }

    fn connect(&mut self, opened: SocketIndex, event: &Event<'_>, sockets: &Sockets) {
        let Some(thread) = self.threads.get(&event.tid) else { return };
        let first_taken =
            thread.last.as_ref().map(|last| last.from).filter(|from| self.fresh.contains(*from));
        let only_accepted = (thread.accepts == 1).then_some(thread.accepted);
        let Some(accepted) = first_taken.or(only_accepted) else { return };
        if self.opened_for.contains(accepted)
            || self.pairs.contains(opened)
            || !from_start(accepted, sockets)
            || !from_start(opened, sockets)
        {
            return;
        }
        let there = self.fresh.get(accepted).cloned().unwrap_or_default();
        let back = Copying::default();
        self.pairs.insert(opened, Pair { accepted, state: Belief::Candidate, there, back });
        self.opened_for.insert(accepted, opened);
    }

    /// The pair of a socket, and whether it is the accepted end.
    fn pair(&mut self, socket: SocketIndex) -> Option<(&mut Pair, bool)> {
        match self.opened_for.get(socket) {
            Some(&opened) => self.pairs.get_mut(opened).map(|pair| (pair, true)),
            None => self.pairs.get_mut(socket).map(|pair| (pair, false)),
        }
    }

    fn receive(&mut self, socket: SocketIndex, event: &Event<'_>, sockets: &Sockets) {
        let moved = self.moved(socket, event, IoDirection::In, sockets);
        let pair = self.pair(socket).map(|(pair, accepted)| {
            let copying = if accepted { &mut pair.there } else { &mut pair.back };
            (copying.receive(&moved), accepted && pair.state == Belief::Candidate)
        });
        if let Some((false, _)) = pair {
            self.break_pair(socket);
        }
        if let Some(copying) = self.fresh.get_mut(socket) {
            if !copying.receive(&moved) {
                self.fresh.remove(socket);
            }
        } else if pair.is_none_or(|(_, candidate)| candidate)
            && event.process_id != 0
            && sockets.get(socket).role == Role::Server
            && from_start(socket, sockets)
        {
            let mut copying = Copying::default();
            if copying.receive(&moved) {
                self.add_fresh(socket, event.process_id, copying);
            }
        }
        // A connection from before the recording had its partner before the recording.
        let thread = self.threads.entry(event.tid).or_default();
        if !sockets.get(socket).discovered {
            thread.received.push_back(socket);
            if thread.received.len() > MAX_REMEMBERED {
                thread.received.pop_front();
            }
        }
        let prefix = PayloadPrefix::of(known(event));
        thread.last = Some(Received { from: socket, length: event.done_bytes, prefix });
    }

    fn send(&mut self, socket: SocketIndex, event: &Event<'_>, sockets: &Sockets) {
        self.sent_elsewhere(socket, event);
        if !self.fresh.is_empty() {
            // Where it was an accepted connection, this is an answer to what was not passed on.
            self.fresh.remove(socket);
        }
        let moved = self.moved(socket, event, IoDirection::Out, sockets);
        let Some((pair, accepted)) = self.pair(socket) else {
            if sockets.get(socket).role == Role::Client && from_start(socket, sockets) {
                self.find_source(socket, &moved, event.process_id);
            }
            return;
        };
        let (state, from) = (pair.state, pair.accepted);
        let copying = if accepted { &mut pair.back } else { &mut pair.there };
        let begins = copying.sent == 0;
        let fits = copying.send(&moved);
        if accepted || state != Belief::Candidate {
            if !accepted && state == Belief::Broken {
                self.find_source(socket, &moved, event.process_id);
            } else if !fits {
                self.break_pair(socket);
            } else if !accepted {
                self.take_source(event.tid, from);
            }
            return;
        }
        if fits && moved.length == 0 {
            // Nothing but a header so far.
            return;
        }
        if fits
            && self.take_source(event.tid, from)
            && self.sources(&moved, event.process_id, false) == Sources::None
        {
            if let Some(pair) = self.pairs.get_mut(socket) {
                pair.state = Belief::Believed;
            }
            self.fresh.remove(from);
            return;
        }
        self.break_candidate(socket);
        if begins {
            self.find_source(socket, &moved, event.process_id);
        }
    }

    /// Connections without a proven partner that brought what leaves now as the first of a connection. `candidates`: also those
    /// that some thread seems to have opened another connection for.
    fn sources(&self, moved: &Moved<'_>, process_id: i64, candidates: bool) -> Sources {
        let all = self.fresh_of.get(&process_id).map(Vec::as_slice).unwrap_or_default();
        if self.fresh.is_empty() || all.is_empty() {
            return Sources::None;
        }
        if all.len() > MAX_FRESH {
            return Sources::Several;
        }
        let mut sources = all.iter().copied().filter(|socket| {
            (candidates || !self.opened_for.contains(*socket))
                && self.fresh.get(*socket).is_some_and(|copying| {
                    copying.received >= moved.length && copying.same_bytes(0, moved.prefix)
                })
        });
        match (sources.next(), sources.next()) {
            (None, _) => Sources::None,
            (Some(only), None) => Sources::One(only),
            _ => Sources::Several,
        }
    }

    /// The first bytes of a connection leave: they are those of the only connection that brought them, if they are all that
    /// it brought.
    fn find_source(&mut self, opened: SocketIndex, moved: &Moved<'_>, process_id: i64) {
        let is_telling = || moved.prefix.iter().filter(|&&byte| byte != b'*').count() >= TELLING_BYTES;
        if self.fresh.is_empty() || !moved.is_at(0) || !is_telling() {
            return;
        }
        let Sources::One(accepted) = self.sources(moved, process_id, true) else { return };
        let proves = |copying: &Copying| {
            let prefix = copying.chunks.front().map_or(0, |(_, prefix)| prefix.get().len());
            copying.received == moved.length && prefix >= TELLING_BYTES
        };
        if !self.fresh.get(accepted).is_some_and(proves) {
            return;
        }
        let Some(mut there) = self.fresh.remove(accepted) else { return };
        there.sent = moved.length;
        there.forget_sent();
        if let Some(&other) = self.opened_for.get(accepted) {
            self.break_candidate(other);
        }
        let back = Copying::default();
        self.pairs.insert(opened, Pair { accepted, state: Belief::Believed, there, back });
        self.opened_for.insert(accepted, opened);
    }

    fn add_fresh(&mut self, socket: SocketIndex, process_id: i64, copying: Copying) {
        let fresh = &self.fresh;
        let all = self.fresh_of.entry(process_id).or_default();
        if all.len() == all.capacity() {
            all.retain(|known| fresh.contains(*known));
        }
        all.push(socket);
        self.fresh.insert(socket, copying);
    }

    /// What a call moved, beyond the header of the PROXY protocol in front of its stream.
    fn moved<'a>(
        &mut self,
        socket: SocketIndex,
        event: &Event<'a>,
        way: IoDirection,
        sockets: &Sockets,
    ) -> Moved<'a> {
        let first = match way {
            IoDirection::In => sockets.get(socket).first_receive_seq,
            IoDirection::Out => sockets.get(socket).first_send_seq,
        };
        let certain = event.flags & flags::OFFSET_UNCERTAIN == 0;
        let at = event.tcp_seq.zip(first).filter(|_| certain).map(|(seq, first)| seq.wrapping_sub(first));
        let (head, _) = event.head_and_tail();
        if at == Some(0)
            && let Some(length) = proxy_header(head)
        {
            self.preambles[way as usize].insert(socket, length);
        }
        let preamble = self.preamble(socket, way);
        let skipped = if at == Some(0) { preamble.min(event.done_bytes) } else { 0 };
        let prefix = head.get(skipped as usize..).unwrap_or_default();
        Moved {
            at: at.map(|at| if skipped > 0 { 0 } else { at.wrapping_sub(preamble as u32) }),
            length: event.done_bytes - skipped,
            prefix: &prefix[..prefix.len().min(COMPARED_BYTES)],
        }
    }

    /// Length of the PROXY protocol header in front of a stream.
    fn preamble(&self, socket: SocketIndex, way: IoDirection) -> u64 {
        let preambles = &self.preambles[way as usize];
        if preambles.is_empty() { 0 } else { preambles.get(socket).copied().unwrap_or_default() }
    }

    /// Whether the thread received from `from`, and since then only from connections whose bytes go elsewhere.
    fn take_source(&mut self, tid: u32, from: SocketIndex) -> bool {
        let Some(thread) = self.threads.get_mut(&tid) else { return false };
        let Some(at) = thread.received.iter().rposition(|&socket| socket == from) else { return false };
        let (pairs, opened_for) = (&self.pairs, &self.opened_for);
        let explained =
            |socket: &SocketIndex| *socket == from || opened_for.contains(*socket) || pairs.contains(*socket);
        let only = thread.received.iter().skip(at).all(explained);
        // Mostly it is there once, and near the end.
        thread.received.remove(at);
        if thread.received.contains(&from) {
            thread.received.retain(|&socket| socket != from);
        }
        only
    }

    /// What a candidate's accepted connection brought leaves at once by another connection: not a pair.
    fn sent_elsewhere(&mut self, socket: SocketIndex, event: &Event<'_>) {
        let Some(last) = self.threads.get_mut(&event.tid).and_then(|thread| thread.last.take()) else {
            return;
        };
        if last.from == socket || last.length != event.done_bytes || !equal(last.prefix.get(), known(event)) {
            return;
        }
        if let Some(&opened) = self.opened_for.get(last.from)
            && opened != socket
            && self.pairs.get(opened).is_some_and(|pair| pair.state == Belief::Candidate)
            && !self.pairs.contains(socket)
        {
            self.break_candidate(opened);
        }
    }

    /// This candidate is no pair; its accepted connection may have another partner.
    fn break_candidate(&mut self, opened: SocketIndex) {
        let Some(accepted) = self.pairs.get(opened).map(|pair| pair.accepted) else { return };
        self.break_pair(opened);
        self.opened_for.remove(accepted);
    }

    fn break_pair(&mut self, socket: SocketIndex) {
        let Some((pair, _)) = self.pair(socket) else { return };
        let believed = pair.state == Belief::Believed;
        pair.state = match pair.state {
            Belief::Believed | Belief::Lost => Belief::Lost,
            Belief::Candidate | Belief::Broken => Belief::Broken,
        };
        pair.there.chunks.clear();
        pair.back.chunks.clear();
        self.broken += u64::from(believed);
    }
}

fn known<'a>(event: &Event<'a>) -> &'a [u8] {
    let (head, _) = event.head_and_tail();
    &head[..head.len().min(COMPARED_BYTES)]
}

/// Seen from its first byte on.
fn from_start(index: SocketIndex, sockets: &Sockets) -> bool {
    let socket = sockets.get(index);
    !socket.discovered && socket.first_send_seq.is_some() && socket.first_receive_seq.is_some()
}
