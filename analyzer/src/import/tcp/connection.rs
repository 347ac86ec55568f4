//! Segments of one connection in, what the client's socket would have reported out: calls that moved data,
//! and changes of state.
//!
//! Whoever sent the SYN is the client. States are those that its kernel goes through when these packets leave
//! and arrive (RFC 9293, section 3.3.2); a call takes no time and moves what a packet brought.

use retrospan_formats::tcp::errno::{ECONNREFUSED, ECONNRESET, EPIPE};
use retrospan_formats::tcp::state::{
    CLOSE, CLOSE_WAIT, CLOSING, ESTABLISHED, FIN_WAIT1, FIN_WAIT2, LAST_ACK, SYN_SENT, TIME_WAIT,
};

use super::stream::{Counts, Out, Piece, Stream};
use super::{Segment, bits};
use crate::assembly::events::StateChange;
use crate::import::slice::Slice;
use crate::import::stamp::Stamp;

/// An end of a connection, and the stream of what it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The one that connects.
    Client = 0,
    /// The one that is connected to.
    Server = 1,
}

impl End {
    fn other(self) -> End {
        if self == End::Client { End::Server } else { End::Client }
    }
}

/// What happened at the client's socket.
#[derive(Clone, Copy, Debug)]
pub enum Happening<'a> {
    /// Its connection was established; since when it tried, ns.
    Connected(i64),
    /// Its state changed.
    State(StateChange),
    /// It shut down its sending half alone: data that came later was taken.
    HalfClosed,
    /// Data was sent by this end.
    Data(End, Piece<'a>),
}

type Sink<'a> = &'a mut dyn FnMut(Stamp, Happening<'_>);

/// A connection that is open, or has just ended.
#[derive(Debug)]
pub struct Connection {
    streams: [Stream; 2],
    life: Life,
    /// Numbers of the SYNs.
    isns: [Option<u32>; 2],
    /// Of the first bytes.
    firsts: [Option<u32>; 2],
}

/// A RST comes sooner after what it refuses, ns.
pub const REFUSED_NS: i64 = 1_000_000_000;

/// Where the client's socket stands.
#[derive(Debug)]
struct Life {
    state: u8,
    /// When the SYN left, ns.
    syn_ns: Option<i64>,
    /// Sequence numbers of the next bytes that each end sends, and up to where that was acknowledged.
    next: [u32; 2],
    acknowledged: [u32; 2],
    fins: [bool; 2],
    /// What came after the client's FIN and was not acknowledged yet: it may be gone.
    untaken: Vec<Untaken>,
    half_closed: bool,
}

#[derive(Debug)]
struct Untaken {
    first_ns: i64,
    stamp: Stamp,
    seq: u32,
    known: Vec<u8>,
    length: usize,
}

impl Connection {
    /// Its first packet is this SYN, or this SYN with ACK.
    pub fn begun(segment: &Segment<'_>, stamp: Stamp, out: Sink<'_>) -> Connection {
        let mut connection = Connection::new(CLOSE);
        if !segment.has(bits::ACK) {
            connection.life.syn_ns = Some(stamp.ns);
            connection.life.change(stamp, SYN_SENT, 0, out);
        } else {
            connection.life.state = SYN_SENT;
        }
        connection
    }

    /// It is older than the file.
    pub fn discovered() -> Connection {
        Connection::new(ESTABLISHED)
    }

    fn new(state: u8) -> Connection {
        let life = Life {
            state,
            syn_ns: None,
            next: [0; 2],
            acknowledged: [0; 2],
            fins: [false; 2],
            untaken: Vec::new(),
            half_closed: false,
        };
        Connection { streams: Default::default(), life, isns: [None; 2], firsts: [None; 2] }
    }

    /// Sequence numbers of the first bytes that the client sent and received.
    pub fn firsts(&self) -> [Option<u32>; 2] {
        self.firsts
    }

    /// The client's socket is closed.
    pub fn is_closed(&self) -> bool {
        self.life.state == CLOSE
    }

    /// Nobody has answered its SYN yet.
    pub fn is_connecting(&self) -> bool {
        self.life.state == SYN_SENT
    }

    /// Something waits for a hole.
    pub fn waits(&self) -> bool {
        self.streams.iter().any(Stream::waits)
    }

    /// Data that came after the client's FIN may be refused yet.
    pub fn may_refuse(&self) -> bool {
        self.life.has_left() && !self.life.untaken.is_empty()
    }

    /// A SYN that `from` sends belongs to another connection between the same ends.
    pub fn is_over_by(&self, from: End, syn: &Segment<'_>) -> bool {
        let first = syn.seq.wrapping_add(1);
        match self.isns[from as usize] {
            Some(isn) => isn != syn.seq,
            None if self.is_closed() => true,
            // The answer to the SYN, or a SYN that is in the file behind what follows from it.
            None if syn.has(bits::ACK) && self.life.state == SYN_SENT && from == End::Server => {
                self.isns[0].is_some_and(|isn| syn.ack.wrapping_sub(isn).wrapping_sub(1) > 1 << 16)
            }
            None => self.firsts[from as usize].is_none_or(|known| known != first),
        }
    }

    /// Takes in a segment that `from` sent.
    pub fn segment(
        &mut self,
        from: End,
        stamp: Stamp,
        segment: &Segment<'_>,
        counts: &mut Counts,
        out: Sink<'_>,
    ) {
        if segment.has(bits::RST) {
            return self.reset(from, stamp, segment, counts, out);
        }
        let mut seq = segment.seq;
        if segment.has(bits::SYN) {
            self.isns[from as usize] = Some(seq);
            seq = seq.wrapping_add(1);
        }
        self.begin(from, seq);
        if segment.has(bits::ACK) {
            self.begin(from.other(), segment.ack);
            if self.life.state == SYN_SENT && (from == End::Client || segment.has(bits::SYN)) {
                self.life.establish(stamp, out);
            }
            self.acknowledge(from, stamp, segment, counts, out);
        }
        let Connection { streams, life, .. } = self;
        if segment.data.length > 0 || segment.has(bits::FIN) {
            let fin = segment.has(bits::FIN);
            streams[from as usize]
                .segment(stamp, seq, segment.data, fin, counts, &mut |o| life.out(from, o, out));
        }
    }

    fn begin(&mut self, end: End, seq: u32) {
        let first = &mut self.firsts[end as usize];
        if first.is_none() {
            *first = Some(seq);
            self.streams[end as usize].begin(seq);
            self.life.next[end as usize] = seq;
            self.life.acknowledged[end as usize] = seq;
        }
    }

    fn acknowledge(
        &mut self,
        from: End,
        stamp: Stamp,
        segment: &Segment<'_>,
        counts: &mut Counts,
        out: Sink<'_>,
    ) {
        let Connection { streams, life, .. } = self;
        let to = from.other();
        let with_data = segment.data.length > 0 || segment.has(bits::FIN);
        let stream = &mut streams[to as usize];
        stream.acknowledge(stamp, segment.ack, with_data, counts, &mut |o| life.out(to, o, out));
        life.acknowledged[to as usize] = stream.acknowledged_seq();
        life.acknowledged(to, stamp, out);
    }

    /// A RST that belongs to this connection ends it.
    fn reset(&mut self, from: End, stamp: Stamp, segment: &Segment<'_>, counts: &mut Counts, out: Sink<'_>) {
        let answers = segment.seq == 0 && segment.has(bits::ACK);
        if self.is_closed() || !(answers || self.streams[from as usize].is_near(segment.seq)) {
            return;
        }
        self.settle(stamp, counts, out);
        let error = match (from, self.life.state) {
            (End::Client, _) => 0,
            (End::Server, SYN_SENT) => ECONNREFUSED,
            (End::Server, CLOSE_WAIT) => EPIPE,
            (End::Server, _) => ECONNRESET,
        };
        if !self.is_closed() {
            self.life.change(stamp, CLOSE, error, out);
        }
    }

    /// Lets time pass.
    pub fn tick(&mut self, now: Stamp, counts: &mut Counts, out: Sink<'_>) {
        let Connection { streams, life, .. } = self;
        for end in [End::Client, End::Server] {
            streams[end as usize].tick(now, counts, &mut |o| life.out(end, o, out));
        }
        self.life.take_unrefused(now, out);
    }

    /// Nothing more comes.
    pub fn finish(&mut self, now: Stamp, counts: &mut Counts, out: Sink<'_>) {
        self.settle(now, counts, out);
        self.life.take_unrefused(now, out);
    }

    /// Hands out what waits for holes.
    fn settle(&mut self, now: Stamp, counts: &mut Counts, out: Sink<'_>) {
        let Connection { streams, life, .. } = self;
        for end in [End::Client, End::Server] {
            streams[end as usize].finish(now, counts, &mut |o| life.out(end, o, out));
        }
    }
}

impl Life {
    fn establish(&mut self, stamp: Stamp, out: Sink<'_>) {
        self.change(stamp, ESTABLISHED, 0, out);
        if let Some(syn_ns) = self.syn_ns {
            out(stamp, Happening::Connected(syn_ns));
        }
    }

    /// Takes in what a stream has in order.
    fn out(&mut self, end: End, what: Out<'_>, out: Sink<'_>) {
        match what {
            Out::Piece(piece) => {
                self.next[end as usize] = piece.seq.wrapping_add(piece.data.length as u32);
                if end == End::Server && self.has_left() && !self.half_closed {
                    self.untaken.push(Untaken {
                        first_ns: piece.first_ns,
                        stamp: piece.stamp,
                        seq: piece.seq,
                        known: piece.data.known.to_vec(),
                        length: piece.data.length,
                    });
                } else {
                    out(piece.stamp, Happening::Data(end, piece));
                }
            }
            Out::Fin(stamp) => self.fin(end, stamp, out),
        }
    }

    /// The client has sent FIN, and the server has not.
    fn has_left(&self) -> bool {
        matches!(self.state, FIN_WAIT1 | FIN_WAIT2)
    }

    fn fin(&mut self, end: End, stamp: Stamp, out: Sink<'_>) {
        let new = match (end, self.state) {
            (End::Client, SYN_SENT | ESTABLISHED) => FIN_WAIT1,
            (End::Client, CLOSE_WAIT) => LAST_ACK,
            (End::Server, SYN_SENT | ESTABLISHED) => CLOSE_WAIT,
            (End::Server, FIN_WAIT1) => CLOSING,
            (End::Server, FIN_WAIT2) => TIME_WAIT,
            _ => return,
        };
        // What a kernel counts: a FIN that is received at once, one that is sent only after the change.
        if end == End::Server {
            self.count_fin(end);
        }
        self.change(stamp, new, 0, out);
        if end == End::Client {
            self.count_fin(end);
        }
        if new == TIME_WAIT {
            self.change(stamp, CLOSE, 0, out);
        }
    }

    fn count_fin(&mut self, end: End) {
        self.fins[end as usize] = true;
        self.next[end as usize] = self.next[end as usize].wrapping_add(1);
    }

    /// The other side has acknowledged more of what `end` sent.
    fn acknowledged(&mut self, end: End, stamp: Stamp, out: Sink<'_>) {
        let all = after(self.acknowledged[end as usize], self.next[end as usize]) >= 0;
        match (end, self.state) {
            (End::Client, FIN_WAIT1) if all => self.change(stamp, FIN_WAIT2, 0, out),
            (End::Client, LAST_ACK) if all => self.change(stamp, CLOSE, 0, out),
            (End::Client, CLOSING) if all => {
                self.change(stamp, TIME_WAIT, 0, out);
                self.change(stamp, CLOSE, 0, out);
            }
            (End::Server, _) => self.take(out),
            _ => {}
        }
    }

    /// What the client acknowledges after its FIN it takes: it has only shut down its sending half.
    fn take(&mut self, out: Sink<'_>) {
        let acknowledged = self.acknowledged[End::Server as usize];
        let taken = |late: &Untaken| after(acknowledged, late.seq.wrapping_add(late.length as u32)) >= 0;
        self.take_first(self.untaken.iter().take_while(|late| taken(late)).count(), out);
    }

    /// What came after the client's FIN and was not refused for long it has taken, too: a socket that was gone would have sent a RST.
    /// The acknowledgement is not in the file.
    fn take_unrefused(&mut self, now: Stamp, out: Sink<'_>) {
        let taken = |late: &Untaken| now.ns >= late.stamp.ns.saturating_add(REFUSED_NS);
        if self.has_left() {
            self.take_first(self.untaken.iter().take_while(|late| taken(late)).count(), out);
        }
    }

    fn take_first(&mut self, count: usize, out: Sink<'_>) {
        for late in self.untaken.drain(..count) {
            if !std::mem::replace(&mut self.half_closed, true) {
                out(late.stamp, Happening::HalfClosed);
            }
            let data = Slice { known: &late.known, length: late.length };
            let piece = Piece { first_ns: late.first_ns, stamp: late.stamp, seq: late.seq, data };
            out(late.stamp, Happening::Data(End::Server, piece));
        }
    }

    fn change(&mut self, stamp: Stamp, new: u8, sk_err: u32, out: Sink<'_>) {
        let change = self.counted(new, sk_err);
        self.state = new;
        out(stamp, Happening::State(change));
    }

    /// What the kernel has counted now.
    fn counted(&self, new: u8, sk_err: u32) -> StateChange {
        let [sent, received] = [End::Client, End::Server].map(|end| self.last(end));
        let fin = u32::from(self.fins[End::Server as usize]);
        let untaken = self.untaken.first().map(|late| late.seq);
        StateChange {
            sk_err,
            write_seq: sent,
            snd_una: self.acknowledged[End::Client as usize],
            copied_seq: untaken.unwrap_or(received.wrapping_sub(fin)),
            rcv_nxt: received,
            old: self.state,
            new,
        }
    }

    /// After the last byte that an end is known to have sent. An acknowledgement of one more may be that of a
    /// FIN.
    fn last(&self, end: End) -> u32 {
        let (next, acknowledged) = (self.next[end as usize], self.acknowledged[end as usize]);
        if after(acknowledged, next) > 1 { acknowledged } else { next }
    }
}

/// How far one sequence number is behind another.
fn after(one: u32, other: u32) -> i32 {
    one.wrapping_sub(other).cast_signed()
}

#[cfg(test)]
mod tests;
