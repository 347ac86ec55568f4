//! What is spoken on one socket: pieces of its streams in, updates of its spans out.
//!
//! Messages belong to exchanges that the requesting side asks for or, where the protocol has such, to exchanges that the
//! answering side asks for. Each kind is paired by itself.

use retrospan_protocols::{Direction, Protocol};

use crate::assembly::connections::SocketIndex;
use crate::assembly::exchanges::{Closing, Exchanges};
use crate::assembly::messages::{Lane, Messages, Notice};
use crate::assembly::side::Side;
use crate::assembly::socket_pipeline::Sink;
use crate::assembly::span::OpenSpans;
use crate::assembly::streams::Piece;

/// The steps for messages of one socket.
#[derive(Debug)]
pub struct Conversation {
    messages: Messages,
    exchanges: Exchanges,
    /// Those that the answering side asks for.
    turned: Option<Box<Exchanges>>,
    socket: SocketIndex,
    from_start: bool,
}

impl Conversation {
    /// Nothing was said yet. `positions`: of the next byte sent and received. `from_start`: there were none before.
    pub fn new(
        protocol: &'static dyn Protocol,
        socket: SocketIndex,
        side: Side,
        from_start: bool,
        positions: [u64; 2],
    ) -> Conversation {
        let messages = Messages::new(protocol, side, (!from_start).then_some(positions));
        Conversation::of(messages, protocol, socket, side, from_start)
    }

    /// The same of datagrams; None where this protocol is not spoken so.
    pub fn of_datagrams(
        protocol: &'static dyn Protocol,
        socket: SocketIndex,
        side: Side,
        from_start: bool,
    ) -> Option<Conversation> {
        let messages = Messages::framed(protocol.datagrams(!from_start)?, side);
        Some(Conversation::of(messages, protocol, socket, side, from_start))
    }

    fn of(
        messages: Messages,
        protocol: &'static dyn Protocol,
        socket: SocketIndex,
        side: Side,
        from_start: bool,
    ) -> Conversation {
        let exchanges = Exchanges::new(protocol, socket, side, from_start);
        Conversation { messages, exchanges, turned: None, socket, from_start }
    }

    /// What is spoken.
    pub fn protocol(&self) -> &'static dyn Protocol {
        self.exchanges.protocol()
    }

    /// Which side of its connection the socket is on.
    pub fn side(&self) -> Side {
        self.exchanges.side()
    }

    /// Requests so far, of either side.
    pub fn requests(&self) -> u32 {
        let turned = self.turned.as_ref().map_or(0, |turned| turned.requests);
        self.exchanges.requests.saturating_add(turned)
    }

    /// Reads the next piece of either stream.
    pub fn piece(&mut self, piece: Piece<'_>, closing: &Closing<'_>, sink: &mut Sink<'_>) {
        let Conversation { messages, exchanges, turned, socket, from_start } = self;
        let Sink { live, updates, memory, heads, .. } = sink;
        messages.piece(piece, memory, &mut |lane: Lane, notice| {
            let exchanges = match lane.turned {
                false => &mut *exchanges,
                true => turned.get_or_insert_with(|| {
                    let (protocol, side) = (exchanges.protocol(), exchanges.side().other());
                    Box::new(Exchanges::new(protocol, *socket, side, *from_start))
                }),
            };
            exchanges.notice(lane.direction, notice, live, closing, updates, heads);
        });
    }

    /// Messages may be missing in this direction, of which no piece tells.
    pub fn gap(&mut self, direction: Direction, closing: &Closing<'_>, sink: &mut Sink<'_>) {
        let gap = Notice::Gap { messages: true };
        self.exchanges.notice(direction, gap, sink.live, closing, sink.updates, sink.heads);
    }

    /// A change of state was not seen; see [`Exchanges::invalidate`].
    pub fn invalidate(&mut self, live: &mut OpenSpans) {
        self.exchanges.invalidate(live);
        if let Some(turned) = &mut self.turned {
            turned.invalidate(live);
        }
    }

    /// Nothing more comes: decides what is left.
    pub fn finish(
        &mut self,
        closing: &Closing<'_>,
        had_loss: impl Fn(i64) -> bool,
        sink: &mut Sink<'_>,
    ) {
        let Conversation { messages, exchanges, turned, .. } = self;
        messages.finish(&mut |lane: Lane, notice| {
            if !lane.turned {
                exchanges.notice(lane.direction, notice, sink.live, closing, sink.updates, sink.heads);
            }
        });
        exchanges.finish(sink.live, closing, &had_loss, sink.updates);
        if let Some(turned) = turned {
            turned.finish(sink.live, closing, &had_loss, sink.updates);
        }
    }
}
