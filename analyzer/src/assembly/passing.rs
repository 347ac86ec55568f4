//! Notices about messages that are no exchanges in, the messages out: where both sides send as they like. They belong to the span
//! of the exchange that let them begin.

use std::sync::Arc;

use retrospan_protocols::Direction;

use crate::assembly::connections::SocketIndex;
use crate::assembly::messages::Notice;
use crate::assembly::side::Side;
use crate::assembly::span::{MessageExtent, Span};

/// A span, by what its ids derive from.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// The socket.
    pub socket: SocketIndex,
    /// Which side of the connection it is.
    pub side: Side,
    /// Position of the request's first byte.
    pub begin: u64,
    /// Raw sequence number of that.
    pub seq: u32,
    /// How many requests came before it on this socket.
    pub number: u32,
}

impl Origin {
    /// That of a span.
    pub fn of(span: &Span) -> Origin {
        let Span { socket, side, seq, number, .. } = *span;
        Origin { socket, side, begin: span.request.begin, seq, number }
    }
}

/// A message.
#[derive(Clone, Debug)]
pub struct Message {
    /// The span it belongs to.
    pub origin: Origin,
    /// Which way it went.
    pub direction: Direction,
    /// What it is called.
    pub name: Option<Arc<str>>,
    /// Where and when.
    pub extent: MessageExtent,
}

/// The messages of one socket.
#[derive(Clone, Debug)]
pub struct Passing {
    /// None where it is not known which exchange let them begin: then they belong nowhere.
    origin: Option<Origin>,
    /// Under way, by [`Direction`].
    open: [Option<Message>; 2],
    /// Under way, and others came between.
    parked: [Option<Message>; 2],
}

impl Passing {
    /// No message yet. `origin`: the span that they belong to.
    pub fn new(origin: Option<Origin>) -> Passing {
        Passing { origin, open: [None, None], parked: [None, None] }
    }

    /// Takes in a notice. `out` gets messages that are over.
    pub fn notice(&mut self, direction: Direction, notice: Notice<'_>, out: &mut Vec<Message>) {
        let Some(origin) = self.origin else { return };
        let (open, parked) = (&mut self.open[direction as usize], &mut self.parked[direction as usize]);
        match (notice, &mut *open) {
            (Notice::Begin { position, timing, .. }, before) => {
                if before.is_some() {
                    out.extend(parked.take());
                    *parked = before.take();
                }
                let extent = MessageExtent::begin(position, timing);
                *before = Some(Message { origin, direction, name: None, extent });
            }
            (Notice::Resume { position, .. }, now) => {
                if now.is_none() {
                    *now = parked.take();
                }
                if let Some(message) = now {
                    message.extent.resume(position);
                }
            }
            (Notice::Head { info, bytes, .. }, Some(message)) => {
                message.name =
                    info.and_then(|info| info.operation.as_ref()).and_then(|said| said.name.clone());
                message.extent.head_bytes = info.map_or(0, |_| bytes.len() as u64);
            }
            (Notice::Progress { position, timing }, Some(message)) => {
                message.extent.progress(position, timing);
            }
            (Notice::End { position, body_bytes, timing }, Some(message)) => {
                message.extent.complete(position, body_bytes, timing);
                out.extend(open.take());
            }
            (Notice::Gap { messages: true } | Notice::Unplaced { .. }, _) => {
                out.extend(open.take());
                out.extend(parked.take());
            }
            _ => {}
        }
    }

    /// Nothing more comes: hands out what is under way.
    pub fn finish(&mut self, out: &mut Vec<Message>) {
        out.extend(self.parked.iter_mut().chain(&mut self.open).filter_map(Option::take));
    }
}
