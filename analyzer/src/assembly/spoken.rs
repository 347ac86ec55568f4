//! What is spoken on one socket: the pieces of its streams in, in order, updates of its spans out.
//!
//! The first message head tells the protocol and who asks: mostly who connected, but not with reverse HTTP, and of an older
//! connection that is not known. What nobody can read is read by turns, until a head tells better.

use retrospan_formats::marks;
use retrospan_protocols::detect::{self, Told};
use retrospan_protocols::{Direction, Protocol};

use crate::assembly::connections::{Role, SocketIndex, Sockets};
use crate::assembly::conversation::{Conversation, Sink};
use crate::assembly::exchanges::Closing;
use crate::assembly::side::{Side, side_of};
use crate::assembly::span::OpenSpans;
use crate::assembly::streams::{CallTiming, IoDirection, Piece};

/// What is spoken on one socket.
#[derive(Debug)]
pub struct Spoken {
    socket: SocketIndex,
    /// The side that its role says it is on.
    role: Option<Side>,
    /// The same, or what is most likely.
    likely_side: Side,
    datagrams: bool,
    /// It carries a TLS session whose plaintext was recorded.
    carries: bool,
    /// What is spoken where nothing can be read.
    unread: &'static dyn Protocol,
    /// It was seen from its first byte.
    from_start: bool,
    /// A message head has told which side this is.
    recognised: bool,
    /// What an answer has told that ended a turn: what is spoken from the next request on, and on which side this is.
    by_answer: Option<(&'static dyn Protocol, Side)>,
    /// Of the next byte sent and received.
    positions: [u64; 2],
    conversation: Option<Conversation>,
    /// A header that was taken by a call of its own, and may tell nothing without what follows it.
    header: Option<Header>,
}

/// Bytes of the header that programs take by calls of their own: the length of what follows.
const HEADER_BYTES: usize = 4;

/// Such a piece.
#[derive(Clone, Copy, Debug)]
struct Header {
    position: u64,
    seq: u32,
    bytes: [u8; HEADER_BYTES],
    marks: u32,
    timing: CallTiming,
}

impl Header {
    fn of(piece: &Piece<'_>) -> Option<Header> {
        match *piece {
            Piece::Data { way: IoDirection::In, position, seq, length, head, marks, timing, .. }
                if detect::marked(marks).is_none() =>
            {
                let bytes = head.try_into().ok().filter(|_| length == HEADER_BYTES as u64)?;
                Some(Header { position, seq, bytes, marks, timing })
            }
            _ => None,
        }
    }

    fn piece(&self) -> Piece<'_> {
        let Header { position, seq, bytes, marks, timing } = self;
        let length = bytes.len() as u64;
        let (way, position, seq, timing) = (IoDirection::In, *position, *seq, *timing);
        Piece::Data { way, position, seq, length, head: bytes, tail: &[], marks: *marks, timing }
    }

    /// Both as if one call had moved them, whose first bytes these are.
    fn joined<'a>(&self, next: &Piece<'a>, head: Option<&'a [u8]>) -> Option<Piece<'a>> {
        let Piece::Data { way, length, tail, marks, timing, .. } = *next else { return None };
        let Header { position, seq, .. } = *self;
        let timing = CallTiming { enter_ns: self.timing.enter_ns, ..timing };
        let length = length + HEADER_BYTES as u64;
        Some(Piece::Data { way, position, seq, length, head: head?, tail, marks, timing })
    }

    /// Its bytes and those that follow.
    fn with(&self, next: &Piece<'_>) -> Option<Vec<u8>> {
        match next {
            Piece::Data { way: IoDirection::In, head, marks, .. } if detect::marked(*marks).is_none() => {
                Some([&self.bytes, *head].concat())
            }
            _ => None,
        }
    }
}

impl Spoken {
    /// Nothing yet.
    pub fn new(index: SocketIndex, sockets: &Sockets) -> Spoken {
        let socket = sockets.get(index);
        let role = match socket.role {
            Role::Client => Some(Side::Client),
            Role::Server => Some(Side::Server),
            Role::Unknown | Role::Listener => None,
        };
        Spoken {
            socket: index,
            role,
            likely_side: side_of(socket),
            datagrams: socket.datagrams,
            carries: !sockets.sessions(index).is_empty(),
            unread: if socket.unix { detect::unread_unix() } else { detect::unread(socket.datagrams) },
            from_start: !socket.discovered,
            recognised: false,
            by_answer: None,
            positions: [0, 0],
            conversation: None,
            header: None,
        }
    }

    /// Nothing yet, on a new connection that is on this side.
    pub fn reborn(index: SocketIndex, sockets: &Sockets, side: Side) -> Spoken {
        Spoken { role: Some(side), likely_side: side, from_start: true, ..Spoken::new(index, sockets) }
    }

    /// What is spoken, if any request was seen that could be read.
    pub fn protocol(&self) -> Option<&'static dyn Protocol> {
        let conversation = self.conversation.as_ref().filter(|conversation| conversation.requests() > 0)?;
        Some(conversation.protocol()).filter(|protocol| **protocol != *self.unread)
    }

    /// Requests so far.
    pub fn requests(&self) -> u32 {
        self.conversation.as_ref().map_or(0, Conversation::requests)
    }

    /// The side that the socket is on, or most likely on.
    pub fn presumed_side(&self) -> Side {
        self.conversation.as_ref().map_or(self.likely_side, Conversation::side)
    }

    /// Reads the next piece of either stream. `had_loss`: events may have been lost since the socket was first seen.
    pub fn piece(
        &mut self,
        piece: Piece<'_>,
        had_loss: impl Fn() -> bool,
        closing: &Closing<'_>,
        sink: &mut Sink<'_>,
    ) {
        if let Some(header) = self.header.take() {
            let fresh = self.from_start && self.positions == [0, 0];
            let joined = header
                .with(&piece)
                .filter(|bytes| !self.recognised && detect::surely(bytes, fresh).is_some());
            match header.joined(&piece, joined.as_deref().filter(|_| !self.from_start)) {
                // Framing that begins in the middle begins with a call of which it can tell.
                Some(both) => return self.read(both, joined.as_deref(), &had_loss, closing, sink),
                None => self.read(header.piece(), joined.as_deref(), &had_loss, closing, sink),
            }
        }
        if !self.recognised && !self.datagrams {
            self.header = Header::of(&piece);
        }
        if self.header.is_none() {
            self.read(piece, None, &had_loss, closing, sink);
        }
    }

    /// `told_by`: with bytes that follow it, what it begins with.
    fn read(
        &mut self,
        piece: Piece<'_>,
        told_by: Option<&[u8]>,
        had_loss: impl Fn() -> bool,
        closing: &Closing<'_>,
        sink: &mut Sink<'_>,
    ) {
        if let Piece::Data { way, head, marks, .. } = piece {
            if let Some(head) = told_by {
                self.recognise(way, head, closing, sink);
            } else if marks & marks::READ != 0 && !self.datagrams {
                let told = self.marked(way, marks);
                if told.is_some() || !self.recognised {
                    self.recognised = told.is_some() && marks & marks::BEGINS != 0;
                    self.tell(way, told, closing, sink);
                }
            } else if !self.recognised {
                self.recognise(way, head, closing, sink);
            }
        }
        if let Piece::Data { way, length, .. } | Piece::Gap { way, length } = piece {
            self.positions[way as usize] += length;
        }
        let Some(conversation) = &mut self.conversation else { return };
        // What an older connection moved before the first byte that was seen leaves no hole.
        if let Piece::Data { way, position: 0, .. } = piece
            && !self.from_start
            && had_loss()
        {
            let direction = conversation.side().direction(way);
            conversation.gap(direction, closing, sink);
        }
        conversation.piece(piece, closing, sink);
    }

    /// A change of state was not seen; see [`Conversation::invalidate`].
    pub fn invalidate(&mut self, live: &mut OpenSpans) {
        if let Some(conversation) = &mut self.conversation {
            conversation.invalidate(live);
        }
    }

    /// Nothing more comes: decides what is left.
    pub fn finish(&mut self, closing: &Closing<'_>, had_loss: impl Fn(i64) -> bool, sink: &mut Sink<'_>) {
        if let Some(header) = self.header.take() {
            self.read(header.piece(), None, || had_loss(header.timing.enter_ns), closing, sink);
        }
        if let Some(conversation) = &mut self.conversation {
            conversation.finish(closing, had_loss, sink);
        }
    }

    fn recognise(&mut self, way: IoDirection, head: &[u8], closing: &Closing<'_>, sink: &mut Sink<'_>) {
        let first = self.positions == [0, 0];
        let fresh = self.from_start && first;
        let told = match self.datagrams {
            true => detect::datagram(head, first),
            false => sink.heads.surely(head, fresh),
        };
        self.recognised = told.is_some();
        let may_tell = self.conversation.is_none() && !self.datagrams && (fresh || self.role.is_none());
        let direction = self.role.map(|side| side.direction(way));
        let told = told.or_else(|| may_tell.then(|| detect::perhaps(head, fresh, direction)).flatten());
        self.tell(way, told, closing, sink);
    }

    /// What redaction has told of the data, or of an answer before it that ended a turn of what nobody could read.
    fn marked(&mut self, way: IoDirection, marks: u32) -> Option<Told> {
        let asks = |&(_, side): &(_, Side)| side.direction(way) == Direction::Requests;
        let by_answer = self.by_answer.take_if(|by_answer| asks(by_answer));
        let before = by_answer.map(|(protocol, _)| Told { protocol, direction: Direction::Requests });
        detect::marked(marks).or(before)
    }

    /// Goes on with what the data tells; of data that tells nothing with what was spoken before, or with turns.
    fn tell(&mut self, way: IoDirection, told: Option<Told>, closing: &Closing<'_>, sink: &mut Sink<'_>) {
        let unread = self.unread;
        match (told, &self.conversation) {
            (Some(told), Some(before)) => {
                let side = side_told(way, &told);
                if *before.protocol() == *unread && told.direction == Direction::Responses && before.is_open()
                {
                    // It ends the turn of what asked for it.
                    self.recognised = false;
                    self.by_answer = Some((told.protocol, side));
                } else if *before.protocol() != *told.protocol || before.side() != side {
                    self.speak(told.protocol, side, closing, sink);
                }
            }
            (Some(told), None) => self.speak(told.protocol, side_told(way, &told), closing, sink),
            // What might have been the begin of a message was none.
            (None, Some(before)) => {
                let side = before.side();
                let answers = side.direction(way) == Direction::Responses;
                if answers && before.requests() == 0 && *before.protocol() != *unread {
                    self.speak(unread, side, closing, sink);
                }
            }
            (None, None) => self.speak(unread, self.role.unwrap_or(self.likely_side), closing, sink),
        }
    }

    /// From here on this is spoken.
    fn speak(
        &mut self,
        protocol: &'static dyn Protocol,
        side: Side,
        closing: &Closing<'_>,
        sink: &mut Sink<'_>,
    ) {
        if let Some(mut before) = self.conversation.take() {
            before.give_up(closing, sink);
        }
        // The streams have run on without anyone reading them, or in vain.
        let from_start = self.from_start && self.positions == [0, 0];
        self.conversation = match self.datagrams {
            true => Conversation::of_datagrams(protocol, self.socket, side, from_start),
            false => {
                let begun = Conversation::new(protocol, self.socket, side, from_start, self.positions);
                Some(if self.carries { begun.without_unread() } else { begun })
            }
        };
    }
}

/// Which side a socket is on, told by data that goes this way.
fn side_told(way: IoDirection, told: &Told) -> Side {
    match (way, told.direction) {
        (IoDirection::Out, Direction::Requests) | (IoDirection::In, Direction::Responses) => Side::Client,
        (IoDirection::In, Direction::Requests) | (IoDirection::Out, Direction::Responses) => Side::Server,
    }
}
