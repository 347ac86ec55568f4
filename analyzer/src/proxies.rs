//! Calls in, pairs of connections out: which connection a byte-level proxy opened for which.
//!
//! Such a proxy accepts A, connects B on the same thread right after it, and from then on sends on B what it received on A
//! and back. So requests that are equal to the byte are told apart. A pair is a candidate by accept and connect, is
//! believed once the first bytes that leave are bytes that came, on the same thread, with no other possible
//! source in between, and is dropped for good at the first byte that does not fit.

use std::collections::VecDeque;

use retrospan_formats::event::{Kind, flags};

use crate::connections::{SocketIndex, Sockets};
use crate::events::Event;
use crate::hashing::IntMap;

/// Connections of byte-level proxies.
#[derive(Debug, Default)]
pub struct Proxies {
    threads: IntMap<u32, Thread>,
    /// By the connection that was opened.
    pairs: IntMap<SocketIndex, Pair>,
    /// The connection that was opened for an accepted one.
    opened_for: IntMap<SocketIndex, SocketIndex>,
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
    known: Known,
}

/// The first bytes of a call.
#[derive(Clone, Copy, Debug)]
struct Known {
    bytes: [u8; COMPARED_BYTES],
    length: u8,
}

impl Known {
    fn of(bytes: &[u8]) -> Known {
        let length = bytes.len().min(COMPARED_BYTES);
        let mut known = Known { bytes: [0; COMPARED_BYTES], length: length as u8 };
        known.bytes[..length].copy_from_slice(&bytes[..length]);
        known
    }

    fn get(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
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

/// One direction of a pair.
#[derive(Debug, Default)]
struct Copying {
    received: u64,
    sent: u64,
    /// First bytes of what was received, by position, as far as it was not sent yet.
    chunks: VecDeque<(u64, Known)>,
}

/// Bytes of each call that are compared.
const COMPARED_BYTES: usize = 64;
/// Calls remembered per direction or thread.
const MAX_REMEMBERED: usize = 64;
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

    /// The accepted connection whose bytes are sent on this one.
    pub fn source(&self, opened: SocketIndex) -> Option<SocketIndex> {
        let pair = self.pairs.get(&opened)?;
        (pair.state == Belief::Believed).then_some(pair.accepted)
    }

    /// The connection is a proxy's, but it is not known any more whose bytes it carries: nothing weaker may say so.
    pub fn lost(&self, opened: SocketIndex) -> bool {
        self.pairs.get(&opened).is_some_and(|pair| pair.state == Belief::Lost)
    }

    /// A socket is gone.
    pub fn closed(&mut self, socket: SocketIndex) {
        self.pairs.remove(&socket);
        self.opened_for.remove(&socket);
    }

    fn connect(&mut self, opened: SocketIndex, event: &Event<'_>, sockets: &Sockets) {
        let Some(thread) = self.threads.get(&event.tid) else { return };
        let accepted = thread.accepted;
        let from_start = |index| {
            let socket = sockets.get(index);
            !socket.discovered && socket.first_send_seq.is_some() && socket.first_receive_seq.is_some()
        };
        if thread.accepts != 1
            || self.opened_for.contains_key(&accepted)
            || self.pairs.contains_key(&opened)
            || !from_start(accepted)
            || !from_start(opened)
        {
            return;
        }
        let (there, back) = (Copying::default(), Copying::default());
        self.pairs.insert(opened, Pair { accepted, state: Belief::Candidate, there, back });
        self.opened_for.insert(accepted, opened);
    }

    /// The pair of a socket, and whether it is the accepted end.
    fn pair(&mut self, socket: SocketIndex) -> Option<(&mut Pair, bool)> {
        match self.opened_for.get(&socket) {
            Some(opened) => self.pairs.get_mut(opened).map(|pair| (pair, true)),
            None => self.pairs.get_mut(&socket).map(|pair| (pair, false)),
        }
    }

    fn receive(&mut self, socket: SocketIndex, event: &Event<'_>, sockets: &Sockets) {
        let known = known(event);
        if let Some((pair, accepted)) = self.pair(socket) {
            let copying = if accepted { &mut pair.there } else { &mut pair.back };
            let position = copying.received;
            if !in_place(event, sockets.get(socket).first_receive_seq, position) {
                self.break_pair(socket);
            } else {
                copying.received += event.done_bytes;
                copying.chunks.push_back((position, Known::of(known)));
                if copying.chunks.len() > MAX_REMEMBERED {
                    copying.chunks.pop_front();
                }
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
        thread.last = Some(Received { from: socket, length: event.done_bytes, known: Known::of(known) });
    }

    fn send(&mut self, socket: SocketIndex, event: &Event<'_>, sockets: &Sockets) {
        self.sent_elsewhere(socket, event);
        let Some((pair, accepted)) = self.pair(socket) else { return };
        let copying = if accepted { &mut pair.back } else { &mut pair.there };
        let position = copying.sent;
        let fits = in_place(event, sockets.get(socket).first_send_seq, position)
            && position + event.done_bytes <= copying.received
            && copying.same_bytes(position, known(event));
        if !fits {
            return self.break_pair(socket);
        }
        copying.sent += event.done_bytes;
        copying.forget_sent();
        if matches!(pair.state, Belief::Broken | Belief::Lost) || accepted {
            return;
        }
        let (from, candidate) = (pair.accepted, pair.state == Belief::Candidate);
        let only_source = self.take_source(event.tid, from);
        if candidate {
            if only_source {
                if let Some(pair) = self.pairs.get_mut(&socket) {
                    pair.state = Belief::Believed;
                }
            } else {
                self.break_pair(socket);
            }
        }
    }

    /// Whether the thread received from `from`, and since then only from connections whose bytes go elsewhere.
    fn take_source(&mut self, tid: u32, from: SocketIndex) -> bool {
        let Some(thread) = self.threads.get_mut(&tid) else { return false };
        let Some(at) = thread.received.iter().rposition(|&socket| socket == from) else { return false };
        let (pairs, opened_for) = (&self.pairs, &self.opened_for);
        let explained = |socket: &SocketIndex| {
            *socket == from || opened_for.contains_key(socket) || pairs.contains_key(socket)
        };
        let only = thread.received.iter().skip(at).all(explained);
        thread.received.retain(|&socket| socket != from);
        only
    }

    /// What a candidate's accepted connection brought leaves at once by another connection: not a pair.
    fn sent_elsewhere(&mut self, socket: SocketIndex, event: &Event<'_>) {
        let Some(last) = self.threads.get_mut(&event.tid).and_then(|thread| thread.last.take()) else {
            return;
        };
        if last.from == socket || last.length != event.done_bytes || !equal(last.known.get(), known(event)) {
            return;
        }
        if let Some(&opened) = self.opened_for.get(&last.from)
            && opened != socket
            && self.pairs.get(&opened).is_some_and(|pair| pair.state == Belief::Candidate)
            && !self.pairs.contains_key(&socket)
        {
            self.break_pair(opened);
        }
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

impl Copying {
    /// What is sent at `position` agrees with what was received there, as far as both are known.
    fn same_bytes(&self, position: u64, sent: &[u8]) -> bool {
        self.chunks.iter().all(|(at, received)| {
            let (from, skip) = if *at >= position { (*at - position, 0) } else { (0, position - *at) };
            let sent = sent.get(from as usize..).unwrap_or_default();
            let received = received.get().get(skip as usize..).unwrap_or_default();
            equal(sent, received)
        })
    }

    fn forget_sent(&mut self) {
        while self.chunks.get(1).is_some_and(|(at, _)| *at <= self.sent) {
            self.chunks.pop_front();
        }
    }
}

/// Blanked bytes may be anything.
fn equal(a: &[u8], b: &[u8]) -> bool {
    a.iter().zip(b).all(|(a, b)| a == b || *a == b'*' || *b == b'*')
}

fn known<'a>(event: &Event<'a>) -> &'a [u8] {
    let (head, _) = event.head_and_tail();
    &head[..head.len().min(COMPARED_BYTES)]
}

/// The call moved the byte at this position: nothing is missing before it.
fn in_place(event: &Event<'_>, first: Option<u32>, position: u64) -> bool {
    match (event.tcp_seq, first) {
        (Some(seq), Some(first)) if event.flags & flags::OFFSET_UNCERTAIN == 0 => {
            seq == first.wrapping_add(position as u32)
        }
        _ => false,
    }
}
