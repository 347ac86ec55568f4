//! The way of one socket: its events in, updates of its spans out.
//!
//! Holds the state of each step for this socket (streams, messages, exchanges, end) as long as the socket is open and a little
//! longer, because calls that were under way when it closed are reported afterwards.

use std::hash::Hasher;

use retrospan_formats::event::{Kind, flags};
use retrospan_formats::tcp::errno::{ECONNREFUSED, ECONNRESET, EPIPE, ETIMEDOUT};
use retrospan_formats::tcp::state::{
    CLOSE, CLOSE_WAIT, CLOSING, ESTABLISHED, FIN_WAIT1, FIN_WAIT2, LAST_ACK, SYN_SENT, TIME_WAIT,
};
use retrospan_protocols::Protocol;
use rustc_hash::FxHasher;

use crate::assembly::close_state::{CloseState, Closed};
use crate::assembly::connections::{SocketIndex, Sockets};
use crate::assembly::conversation::Sink;
use crate::assembly::events::{Event, StateChange};
use crate::assembly::exchanges::Closing;
use crate::assembly::openings::Opening;
use crate::assembly::outcomes::Other;
use crate::assembly::side::Side;
use crate::assembly::spoken::Spoken;
use crate::assembly::streams::{IoDirection, Piece, Streams};

/// One socket that has had events.
#[derive(Debug)]
pub struct SocketPipeline {
    /// Which.
    pub socket: SocketIndex,
    /// How its connection came about.
    pub opening: Opening,
    /// How it ended.
    pub ending: CloseState,
    /// First event, boot time ns.
    pub first_ns: i64,
    /// Last event, boot time ns.
    pub last_ns: i64,
    /// Bytes sent and received.
    pub bytes: [u64; 2],
    /// Bytes whose calls are missing.
    pub missing_bytes: u64,
    process_id: i64,
    streams: Streams,
    spoken: Spoken,
    /// It was seen from its first byte.
    from_start: bool,
    /// The last change of state: what the kernel had counted by then.
    last_row: Option<StateChange>,
    /// It moves datagrams.
    datagrams: bool,
    /// It is a TLS session.
    session: bool,
    /// When the socket that it is on changed its state last, ns.
    carrier_ns: i64,
    /// Of datagrams whose other end was recorded, too: one is known there by its bytes, since some may never have arrived.
    by_bytes: bool,
    /// Of datagrams: when the socket was closed, or silent for good. Of a TLS session when it was freed, or its process ended.
    over_ns: Option<i64>,
    /// Of datagrams: when a call failed last because nobody is there to ask.
    refused_ns: Option<i64>,
}

/// Calls that were under way when the socket was closed are reported within this, ns.
const LINGER_NS: i64 = 200_000_000;
/// A process that does not close a socket that has ended may still take what arrived, ns.
const HELD_NS: i64 = 30_000_000_000;

/// When a connection was left first, by whom, and how: `fin`, `rst` or `timeout`.
pub type Leaving = (i64, Option<Side>, &'static str);

impl SocketPipeline {
    /// A socket at its first event.
    pub fn new(index: SocketIndex, sockets: &Sockets, now_ns: i64) -> SocketPipeline {
        let socket = sockets.get(index);
        let start = |seq: Option<u32>| seq.filter(|_| !socket.discovered);
        SocketPipeline {
            socket: index,
            opening: Opening::default(),
            ending: CloseState::default(),
            first_ns: now_ns,
            last_ns: now_ns,
            bytes: [0, 0],
            missing_bytes: 0,
            process_id: 0,
            streams: Streams::new(start(socket.first_send_seq), start(socket.first_receive_seq)),
            spoken: Spoken::new(index, sockets),
            from_start: !socket.discovered,
            last_row: None,
            datagrams: socket.datagrams,
            by_bytes: socket.datagrams && socket.peer.is_some(),
            session: socket.session.is_some(),
            carrier_ns: i64::MIN,
            over_ns: socket.closed_ns.filter(|_| socket.datagrams || socket.session.is_some()),
            refused_ns: None,
        }
    }

    /// A new connection under the id of this one, whose end was not seen: `state` says which side it is on.
    pub fn reborn(
        index: SocketIndex,
        sockets: &Sockets,
        now_ns: i64,
        change: &StateChange,
    ) -> SocketPipeline {
        let side = if change.new == SYN_SENT { Side::Client } else { Side::Server };
        let spoken = Spoken::reborn(index, sockets, side);
        SocketPipeline { spoken, from_start: true, ..SocketPipeline::new(index, sockets, now_ns) }
    }

    /// Whether this change of state begins another connection than the one so far.
    pub fn is_over(&self, change: &StateChange) -> bool {
        change.old == CLOSE && change.new == SYN_SENT && self.ending.state.is_some_and(|state| state != CLOSE)
    }

    /// Takes in an event. Returns whether [`SocketPipeline::tick`] must be called soon.
    pub fn event(&mut self, event: &Event<'_>, sink: &mut Sink<'_>) -> bool {
        self.last_ns = event.boot_ns;
        self.opening.event(event);
        if event.process_id != 0 && event.kind != Kind::State {
            self.process_id = event.process_id;
        }
        match event.kind {
            Kind::Send | Kind::Receive => self.call(event, sink),
            Kind::State => {
                if let Some(change) = event.state {
                    self.state(event.boot_ns, &change, sink);
                }
            }
            Kind::Close => {
                self.ending.close_called(event.enter_ns(), event.boot_ns);
                if self.session {
                    self.says_no_more(event.boot_ns, sink);
                }
            }
            Kind::Shutdown => {
                self.ending.deaf |= event.flags & flags::SHUT_READ != 0;
                if event.flags & (flags::SHUT_READ | flags::SHUT_WRITE) == flags::SHUT_WRITE {
                    self.ending.half_closed_ns.get_or_insert(event.boot_ns);
                }
            }
            Kind::Connect | Kind::Accept | Kind::Listen => {}
        }
        self.streams.waits()
    }

    /// The state of the socket changed that this session is on. What that counts are not the session's bytes, and what has arrived may
    /// yet be taken: no more than when which side left is known from it.
    pub fn carrier_changed(&mut self, now_ns: i64, change: &StateChange, sink: &mut Sink<'_>) {
        let next = |way| self.streams.next_seq(way).unwrap_or_default();
        let (sent, taken) = (next(IoDirection::Out), next(IoDirection::In));
        // Records are no shorter than what is in them.
        let under_way = change.write_seq.wrapping_sub(change.snd_una).min(self.bytes[0] as u32);
        let own = StateChange {
            write_seq: sent,
            snd_una: sent.wrapping_sub(under_way),
            copied_seq: taken,
            rcv_nxt: taken,
            ..*change
        };
        (self.last_ns, self.carrier_ns) = (now_ns, now_ns);
        self.ending.change(now_ns, &own);
        if matches!(change.new, FIN_WAIT1 | LAST_ACK) {
            self.says_no_more(now_ns, sink);
        }
    }

    /// This side of a session sends nothing more.
    fn says_no_more(&mut self, now_ns: i64, sink: &mut Sink<'_>) {
        if let Some(sent) = self.streams.next_seq(IoDirection::Out) {
            self.feed(now_ns, sink, |streams, out| streams.end(IoDirection::Out, sent, now_ns, out));
        }
    }

    /// When no more calls can be expected, where the socket has ended.
    pub fn gone_ns(&self) -> Option<i64> {
        if let Some(over_ns) = self.over_ns {
            return Some(over_ns + LINGER_NS);
        }
        let closed_ns = self.ending.closed?.ns;
        Some(match self.ending.close_called_ns {
            Some(called_ns) => called_ns.max(closed_ns) + LINGER_NS,
            None => closed_ns + HELD_NS,
        })
    }

    /// Whether [`SocketPipeline::gone_ns`] may be another than before this event. That of datagrams is known from the first one on.
    pub fn may_be_gone(&self, event: &Event<'_>) -> bool {
        self.over_ns.is_none() || self.first_ns == event.boot_ns
    }

    /// Lets time pass. Returns whether it must be called again.
    pub fn tick(&mut self, now_ns: i64, sink: &mut Sink<'_>) -> bool {
        self.feed(now_ns, sink, |streams, out| streams.tick(now_ns, out));
        self.streams.waits()
    }

    /// Nothing more comes from this socket: decides what is left. `other`: the way of the connection's other end, so far.
    pub fn finish(
        &mut self,
        now_ns: i64,
        other: Option<&SocketPipeline>,
        had_loss: impl Fn(i64) -> bool,
        sink: &mut Sink<'_>,
    ) {
        let row = self.last_row;
        let fin_out = row.is_some_and(|row| fin_is_out(row.old));
        let fin_in = row.is_some_and(|row| fin_may_be_in(row.old));
        let closed = row.filter(|row| row.new == CLOSE);
        self.feed(now_ns, sink, |streams, out| {
            streams.tick(i64::MAX, out);
            streams.close(IoDirection::Out, row.map(|row| row.write_seq), fin_out, out);
            streams.close(IoDirection::In, row.map(|row| row.copied_seq), fin_in, out);
            // Only the FIN was left in the receive queue.
            if closed.is_some_and(|row| {
                matches!(row.old, FIN_WAIT2 | CLOSING) && row.rcv_nxt.wrapping_sub(row.copied_seq) == 1
            }) {
                streams.ended(IoDirection::In, out);
            }
        });
        let unread = match closed {
            Some(row) => row.rcv_nxt.wrapping_sub(row.copied_seq) as i32 > i32::from(fin_may_be_in(row.old)),
            None => self.streams.unread(IoDirection::In),
        };
        let acknowledged =
            self.ending.acknowledged.and_then(|seq| self.streams.position(IoDirection::Out, seq));
        let other = other.map(|other| Other {
            ending: &other.ending,
            sent: other
                .next_seq(IoDirection::Out)
                .and_then(|seq| self.streams.position(IoDirection::In, seq)),
            taken: other
                .next_seq(IoDirection::In)
                .and_then(|seq| self.streams.position(IoDirection::Out, seq)),
        });
        let ending = &self.judged_ending();
        let closing = Closing { ending, unread, acknowledged, counted: self.from_start, other, now_ns };
        // Of an older connection, what is missing before the first byte of a stream leaves no hole.
        let since = |start_ns: i64| if self.from_start { start_ns } else { self.first_ns.min(start_ns) };
        self.spoken.finish(&closing, |start_ns| had_loss(since(start_ns)), sink);
    }

    /// How the socket ended. One of datagrams has no states: who closes it has given up what was not answered, and who was refused
    /// is not answered any more.
    fn judged_ending(&self) -> CloseState {
        let mut ending = self.ending;
        if self.session {
            // Nobody saw the socket that it was on, and who frees a session has left it.
            if let Some(over_ns) = self.over_ns.filter(|_| ending.closed.is_none())
                && ending.fin_out_ns.is_none()
            {
                (ending.fin_out_ns, ending.closed_by_call) = (Some(over_ns), true);
            }
            return ending;
        }
        // One that is only silent has ended with its last datagram.
        if let Some(over_ns) = self.over_ns.filter(|&over_ns| over_ns > self.last_ns)
            && self.presumed_side() == Side::Client
        {
            (ending.fin_out_ns, ending.closed_by_call) = (Some(over_ns), true);
        }
        if let Some(ns) = self.refused_ns {
            ending.closed = Some(Closed { ns, sk_err: ECONNREFUSED, from: ESTABLISHED });
        }
        ending
    }

    /// Sequence number of the next byte, where nothing on the way to it is missing.
    fn next_seq(&self, way: IoDirection) -> Option<u32> {
        (self.missing_bytes == 0).then(|| self.streams.next_seq(way)).flatten()
    }

    /// What is spoken, if any request was seen.
    pub fn protocol(&self) -> Option<&'static dyn Protocol> {
        self.spoken.protocol()
    }

    /// Requests so far.
    pub fn requests(&self) -> u32 {
        self.spoken.requests()
    }

    /// The process that used it last, or its owner; 0 where not known.
    pub fn process_id(&self, sockets: &Sockets) -> i64 {
        if self.process_id != 0 { self.process_id } else { sockets.get(self.socket).process_id }
    }

    /// The side it is on, or most likely on.
    pub fn presumed_side(&self) -> Side {
        self.spoken.presumed_side()
    }

    /// Bytes that this side sent, as this socket counted them.
    pub fn bytes_of(&self, side: Side) -> u64 {
        let way = if side == self.presumed_side() { IoDirection::Out } else { IoDirection::In };
        self.bytes[way as usize]
    }

    /// Who left first, when, and how; of a connection that never was, what ended the attempt, where anything did that could
    /// be seen from outside.
    pub fn first_leaving(&self, sockets: &Sockets) -> Option<Leaving> {
        let own = self.presumed_side();
        let other = if own == Side::Client { Side::Server } else { Side::Client };
        let fins = [self.ending.fin_out_ns.map(|ns| (ns, own)), self.ending.fin_in_ns.map(|ns| (ns, other))];
        if let Some((ns, side)) = fins.into_iter().flatten().min_by_key(|(ns, _)| *ns) {
            return Some((ns, Some(side), "fin"));
        }
        let closed = self.ending.closed?;
        if closed.from == SYN_SENT {
            // An ICMP message may have said the same as a RST: where TCP's own doings were recorded the RST is among them.
            let reset = sockets.get(self.socket).handshake.is_none_or(|seen| seen.reset);
            return match closed.sk_err {
                ECONNREFUSED | ECONNRESET if reset => Some((closed.ns, Some(other), "rst")),
                ETIMEDOUT => Some((closed.ns, None, "timeout")),
                _ => None,
            };
        }
        Some(match closed.sk_err {
            0 => (closed.ns, Some(own), "rst"),
            ECONNRESET | EPIPE => (closed.ns, Some(other), "rst"),
            _ => (closed.ns, Some(other), "timeout"),
        })
    }

    fn call(&mut self, event: &Event<'_>, sink: &mut Sink<'_>) {
        let way = if event.kind == Kind::Send { IoDirection::Out } else { IoDirection::In };
        if matches!(event.errno, ECONNRESET | EPIPE) {
            if self.ending.fin_in_ns.is_none() {
                self.ending.reset_seen_ns.get_or_insert(event.boot_ns);
            }
            if way == IoDirection::Out {
                self.ending.refused_ns.get_or_insert(event.boot_ns);
            }
        }
        if way == IoDirection::Out
            && event.enter_ns() < self.carrier_ns
            && let Some(acknowledged) = &mut self.ending.acknowledged
        {
            // Another thread closed before this call returned: its bytes were not counted, and are no more under way.
            *acknowledged = acknowledged.wrapping_add(event.done_bytes as u32);
        }
        if self.datagrams && event.errno == ECONNREFUSED {
            self.refused_ns = Some(event.boot_ns);
        }
        let nothing =
            way == IoDirection::In && event.done_bytes == 0 && event.asked_bytes > 0 && event.errno == 0;
        if nothing && !self.ending.deaf {
            self.ending.end_taken(event.boot_ns);
            // The library has handed out all that came.
            if let Some(taken) = self.streams.next_seq(way).filter(|_| self.session) {
                self.feed(event.boot_ns, sink, |streams, out| streams.end(way, taken, event.boot_ns, out));
            }
        }
        self.bytes[way as usize] += event.done_bytes;
        self.feed(event.boot_ns, sink, |streams, out| streams.call(way, event, out));
    }

    fn state(&mut self, now_ns: i64, change: &StateChange, sink: &mut Sink<'_>) {
        let whole = !self.ending.hole;
        self.ending.change(now_ns, change);
        if carries_data(change.old) {
            self.last_row = Some(*change);
        }
        if whole && self.ending.hole {
            self.spoken.invalidate(sink.live);
        }
        match change.new {
            FIN_WAIT1 | LAST_ACK => {
                self.feed(now_ns, sink, |s, out| s.end(IoDirection::Out, change.write_seq, now_ns, out));
            }
            CLOSE_WAIT | CLOSING | TIME_WAIT => {
                let end = change.rcv_nxt.wrapping_sub(1);
                self.feed(now_ns, sink, |s, out| s.end(IoDirection::In, end, now_ns, out));
            }
            CLOSE => {
                let taken = self.streams.positions()[IoDirection::In as usize];
                let arrived = self.streams.position(IoDirection::In, change.rcv_nxt);
                // A client that closed may also end like this because of bytes that came too late.
                let fin = arrived.is_some_and(|arrived| arrived > taken);
                if change.old == FIN_WAIT2 && change.sk_err == 0 && fin {
                    let end = change.rcv_nxt.wrapping_sub(1);
                    self.feed(now_ns, sink, |s, out| s.end(IoDirection::In, end, now_ns, out));
                }
            }
            _ => {}
        }
    }

    /// Runs the steps on what `step` gets out of the streams.
    fn feed(
        &mut self,
        now_ns: i64,
        sink: &mut Sink<'_>,
        step: impl FnOnce(&mut Streams, &mut dyn FnMut(Piece<'_>)),
    ) {
        let SocketPipeline { streams, spoken, ending, missing_bytes, from_start, first_ns, .. } = self;
        let (counted, first_ns, by_bytes) = (*from_start, *first_ns, self.by_bytes);
        let closing = Closing { ending, unread: false, acknowledged: None, counted, other: None, now_ns };
        step(streams, &mut |mut piece| {
            if let Piece::Data { seq, head, .. } = &mut piece
                && by_bytes
                && !head.is_empty()
            {
                *seq = number_of(head);
            }
            if let Piece::Gap { length, .. } = piece {
                *missing_bytes += length;
            }
            let dimensions = sink.dimensions;
            spoken.piece(piece, || dimensions.had_loss(first_ns, now_ns), &closing, sink);
        });
    }
}

/// A number that stands for these bytes.
fn number_of(bytes: &[u8]) -> u32 {
    let mut hasher = FxHasher::default();
    hasher.write(bytes);
    hasher.finish() as u32
}

/// Whether the counters of a socket in this state are those of its streams.
fn carries_data(state: u8) -> bool {
    matches!(state, ESTABLISHED | FIN_WAIT1 | FIN_WAIT2 | CLOSE_WAIT | LAST_ACK | CLOSING)
}

/// Whether a FIN was sent before a change from this state.
fn fin_is_out(state: u8) -> bool {
    matches!(state, FIN_WAIT1 | FIN_WAIT2 | LAST_ACK | CLOSING)
}

/// Whether a FIN may have arrived by this state.
fn fin_may_be_in(state: u8) -> bool {
    matches!(state, CLOSE_WAIT | LAST_ACK | FIN_WAIT2 | CLOSING | TIME_WAIT)
}
