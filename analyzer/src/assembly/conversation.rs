//! What is spoken on one socket: pieces of its streams in, updates of its spans out.
//!
//! Messages belong to exchanges that the requesting side asks for or, where the protocol has such, to exchanges that the
//! answering side asks for. Each kind is paired by itself. Messages of protocols without exchanges are passed on as they are.

use retrospan_protocols::{Direction, Memory, Protocol, detect};

use crate::assembly::connections::SocketIndex;
use crate::assembly::exchanges::{Closing, Exchanges, SpanUpdate};
use crate::assembly::heads::Heads;
use crate::assembly::messages::{Lane, Messages, Notice};
use crate::assembly::passing::{Message, Passing};
use crate::assembly::side::Side;
use crate::assembly::span::OpenSpans;
use crate::assembly::streams::Piece;
use crate::tables::dimensions::Dimensions;

/// Where a pipeline puts what becomes of its spans.
pub struct Sink<'a> {
    /// Spans.
    pub live: &'a mut OpenSpans,
    /// What became of them.
    pub updates: &'a mut Vec<SpanUpdate>,
    /// Messages that are no exchanges.
    pub passed: &'a mut Vec<Message>,
    /// When events were lost.
    pub dimensions: &'a Dimensions,
    /// What was read of any pipeline before, by [`Direction`].
    pub memory: &'a mut [Memory; 2],
    /// Heads that were read of any pipeline before.
    pub heads: &'a mut Heads,
}

/// The steps for messages of one socket.
#[derive(Debug)]
pub struct Conversation {
    messages: Messages,
    /// What is spoken, and what is spoken within it; see [`Lane::level`].
    levels: Vec<Level>,
    socket: SocketIndex,
    from_start: bool,
    /// What nobody can read is told elsewhere.
    mutes_unread: bool,
}

/// The exchanges of one protocol.
#[derive(Debug)]
struct Level {
    exchanges: Exchanges,
    /// Those that the answering side asks for.
    turned: Option<Box<Exchanges>>,
    /// Where its messages are no exchanges.
    passing: Option<Box<Passing>>,
}

impl Level {
    fn new(protocol: &'static dyn Protocol, socket: SocketIndex, side: Side, from_start: bool) -> Level {
        Level { exchanges: Exchanges::new(protocol, socket, side, from_start), turned: None, passing: None }
    }

    fn is_unread(&self) -> bool {
        *self.exchanges.protocol() == *detect::unread(false)
    }

    /// The exchanges of either kind, new where they are the first.
    fn of(&mut self, turned: bool, socket: SocketIndex, from_start: bool) -> &mut Exchanges {
        if !turned {
            return &mut self.exchanges;
        }
        self.turned.get_or_insert_with(|| {
            let (protocol, side) = (self.exchanges.protocol(), self.exchanges.side().other());
            Box::new(Exchanges::new(protocol, socket, side, from_start))
        })
    }

    fn each(&mut self) -> impl Iterator<Item = &mut Exchanges> {
        [&mut self.exchanges].into_iter().chain(self.turned.as_deref_mut())
    }
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
        let levels = vec![Level::new(protocol, socket, side, from_start)];
        Conversation { messages, levels, socket, from_start, mutes_unread: false }
    }

    /// The same without exchanges of what nobody can read: it is encrypted, and the plaintext was recorded.
    pub fn without_unread(self) -> Conversation {
        Conversation { mutes_unread: true, ..self }
    }

    /// What is spoken, or was at first.
    pub fn protocol(&self) -> &'static dyn Protocol {
        self.levels[0].exchanges.protocol()
    }

    /// Which side of its connection the socket is on.
    pub fn side(&self) -> Side {
        self.levels[0].exchanges.side()
    }

    /// Requests so far, of either side.
    pub fn requests(&self) -> u32 {
        let of_level = |level: &Level| {
            let turned = level.turned.as_ref().map_or(0, |turned| turned.requests);
            level.exchanges.requests.saturating_add(turned)
        };
        self.levels.iter().map(of_level).fold(0, u32::saturating_add)
    }

    /// A request waits for the rest of its answer.
    pub fn is_open(&self) -> bool {
        self.levels.iter().any(|level| level.exchanges.is_open())
    }

    /// Reads the next piece of either stream.
    pub fn piece(&mut self, piece: Piece<'_>, closing: &Closing<'_>, sink: &mut Sink<'_>) {
        let Conversation { messages, levels, socket, from_start, mutes_unread } = self;
        let Sink { live, updates, passed, memory, heads, .. } = sink;
        let mut taken_up = None;
        messages.piece(piece, memory, &mut |lane: Lane, notice| {
            let at = usize::from(lane.level);
            match notice {
                Notice::TakenUp { key } if at + 1 == levels.len() => {
                    let goes_on = levels[at].exchanges.hand_over(live);
                    taken_up = goes_on.map(|index| (index, key));
                }
                Notice::Spoken(name) => {
                    if let Some(protocol) = detect::named(name).filter(|_| at == levels.len()) {
                        let side = levels[0].exchanges.side();
                        let mut level = Level::new(protocol, *socket, side, *from_start);
                        if let Some((index, key)) = taken_up.take() {
                            level.exchanges.take_over(index, key, live);
                        }
                        if !protocol.has_exchanges() {
                            let led_on = levels.last().and_then(|before| before.exchanges.led_on());
                            level.passing = Some(Box::new(Passing::new(led_on)));
                        }
                        levels.push(level);
                    }
                    return;
                }
                _ => {}
            }
            let Some(level) = levels.get_mut(at) else { return };
            if *mutes_unread && level.is_unread() {
                return;
            }
            if let Some(passing) = &mut level.passing {
                return passing.notice(lane.direction, notice, passed);
            }
            let exchanges = level.of(lane.turned, *socket, *from_start);
            exchanges.notice(lane.direction, notice, live, closing, updates, heads);
        });
    }

    /// Messages may be missing in this direction, of which no piece tells.
    pub fn gap(&mut self, direction: Direction, closing: &Closing<'_>, sink: &mut Sink<'_>) {
        let gap = Notice::Gap { messages: true };
        let exchanges = &mut self.levels[0].exchanges;
        exchanges.notice(direction, gap, sink.live, closing, sink.updates, sink.heads);
    }

    /// Something else is spoken from here on: what became of what is open is not known.
    pub fn give_up(&mut self, closing: &Closing<'_>, sink: &mut Sink<'_>) {
        for exchanges in self.levels.iter_mut().flat_map(Level::each) {
            exchanges.give_up_all(sink.live, closing, sink.updates);
        }
    }

    /// A change of state was not seen; see [`Exchanges::invalidate`].
    pub fn invalidate(&mut self, live: &mut OpenSpans) {
        self.levels.iter_mut().flat_map(Level::each).for_each(|exchanges| exchanges.invalidate(live));
    }

    /// Nothing more comes: decides what is left.
    pub fn finish(&mut self, closing: &Closing<'_>, had_loss: impl Fn(i64) -> bool, sink: &mut Sink<'_>) {
        let Conversation { messages, levels, socket, from_start, mutes_unread } = self;
        messages.finish(&mut |lane: Lane, notice| {
            let Some(level) = levels.get_mut(usize::from(lane.level)) else { return };
            if *mutes_unread && level.is_unread() {
                return;
            }
            let exchanges = level.of(lane.turned, *socket, *from_start);
            exchanges.notice(lane.direction, notice, sink.live, closing, sink.updates, sink.heads);
        });
        levels
            .iter_mut()
            .filter_map(|level| level.passing.as_mut())
            .for_each(|passing| passing.finish(sink.passed));
        for exchanges in levels.iter_mut().flat_map(Level::each) {
            exchanges.finish(sink.live, closing, &had_loss, sink.updates);
        }
    }
}
