//! What is spoken on one socket: the pieces of its streams in, in order, updates of its spans out.
//!
//! The first message head tells the protocol and who asks: mostly who connected, but not with reverse HTTP, and of an older
//! connection that is not known. What nobody can read is read by turns, until a head tells better.

use retrospan_protocols::detect::{self, Told};
use retrospan_protocols::{Direction, Protocol};

use crate::assembly::connections::{Role, Socket, SocketIndex};
use crate::assembly::conversation::{Conversation, Sink};
use crate::assembly::exchanges::Closing;
use crate::assembly::side::{Side, side_of};
use crate::assembly::span::OpenSpans;
use crate::assembly::streams::{IoDirection, Piece};

/// What is spoken on one socket.
#[derive(Debug)]
pub struct Spoken {
    socket: SocketIndex,
    /// The side that its role says it is on.
    role: Option<Side>,
    /// The same, or what is most likely.
    likely_side: Side,
    datagrams: bool,
    /// It was seen from its first byte.
    from_start: bool,
    /// A message head has told which side this is.
    recognised: bool,
    /// Of the next byte sent and received.
    positions: [u64; 2],
    conversation: Option<Conversation>,
}

impl Spoken {
    /// Nothing yet.
    pub fn new(index: SocketIndex, socket: &Socket) -> Spoken {
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
            from_start: !socket.discovered,
            recognised: false,
            positions: [0, 0],
            conversation: None,
        }
    }

    /// Nothing yet, on a new connection that is on this side.
    pub fn reborn(index: SocketIndex, socket: &Socket, side: Side) -> Spoken {
        Spoken { role: Some(side), likely_side: side, from_start: true, ..Spoken::new(index, socket) }
    }

    /// What is spoken, if any request was seen that could be read.
    pub fn protocol(&self) -> Option<&'static dyn Protocol> {
        let conversation = self.conversation.as_ref().filter(|conversation| conversation.requests() > 0)?;
        Some(conversation.protocol()).filter(|protocol| **protocol != *detect::unread(self.datagrams))
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
        if let Piece::Data { way, head, .. } = piece
            && !self.recognised
        {
            self.recognise(way, head, closing, sink);
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
        if let Some(conversation) = &mut self.conversation {
            conversation.finish(closing, had_loss, sink);
        }
    }

    fn recognise(&mut self, way: IoDirection, head: &[u8], closing: &Closing<'_>, sink: &mut Sink<'_>) {
        let first = self.positions == [0, 0];
        let fresh = self.from_start && first;
        let told = match self.datagrams {
            true => detect::datagram(head, first),
            false => detect::surely(head, fresh),
        };
        self.recognised = told.is_some();
        let may_tell = self.conversation.is_none() && !self.datagrams && (fresh || self.role.is_none());
        let direction = self.role.map(|side| side.direction(way));
        let told = told.or_else(|| may_tell.then(|| detect::perhaps(head, fresh, direction)).flatten());
        let unread = detect::unread(self.datagrams);
        match (told, &self.conversation) {
            (Some(told), Some(before)) => {
                let side = side_told(way, &told);
                if *before.protocol() == *unread && told.direction == Direction::Responses && before.is_open()
                {
                    // It ends the turn of what asked for it.
                    self.recognised = false;
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
            false => Some(Conversation::new(protocol, self.socket, side, from_start, self.positions)),
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
