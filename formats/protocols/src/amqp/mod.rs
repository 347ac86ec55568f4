//! AMQP 0-9-1 (RabbitMQ and others), and what 0-9 and 0-8 have in common with it.
//!
//! A span is a synchronous method with its answer (`queue.declare`), a message that is published
//! (`basic.publish`; answered by the server's `basic.ack` or `basic.nack` where the channel is in confirm
//! mode, else one-way), and one that the server sends (`basic.deliver`, `basic.return`: the server asks, and
//! gets no answer). Acknowledgements of clients, heartbeats, and what negotiates a connection are none.
//!
//! The operation is the method, the target its queue, else the exchange, else the routing key (messages of
//! the default exchange go to the queue of that name). A method fails when the server closes the channel for
//! it: the status is the reply code (`404`, `NOT_FOUND`). A message that is not confirmed when its channel
//! closes was given up by who closes it.
//!
//! Kept are kinds, channels and lengths of frames, methods, names of queues, exchanges and routing keys,
//! reply codes, delivery tags. Never kept: messages and their properties, tables of arguments, what logs in, reply
//! texts, consumer tags, names of hosts.
//!
//! After a loss among requests nobody knows the number of the next message: such are one-way until the
//! channel is opened again.

mod frame;
mod framing;
mod methods;
mod operation;
mod waiting;

use crate::frames::Framed;
use crate::operation::{Exchange, ValueRef};
use crate::parts::Direction;
use crate::protocol::{Framing, Keep, Protocol, Signature, Verdict};
use frame::Greeting;

/// AMQP 0-9-1.
#[derive(Clone, Copy, Debug)]
pub struct Amqp;

/// A method, of less than 64 KiB: type, length; it may follow others of other channels.
const SIGNATURES: [Signature; 1] =
    [Signature::masked(&[1, 0, 0, 0, 0, 0, 0, 0], &[0xff, 0, 0, 0xff, 0xff, 0, 0, 0xff], Keep::Turn)];

impl Protocol for Amqp {
    fn name(&self) -> &'static str {
        "amqp"
    }

    fn title(&self) -> &'static str {
        "amqp"
    }

    fn signatures(&self) -> &'static [Signature] {
        &SIGNATURES
    }

    fn recognise(&self, direction: Direction, bytes: &[u8], fresh: bool) -> Verdict {
        match frame::greeting(bytes) {
            Some(Greeting::Known) if direction == Direction::Requests => Verdict::Surely,
            Some(Greeting::Part) if fresh && direction == Direction::Requests => Verdict::Maybe,
            Some(_) => Verdict::No,
            None => frame::recognise(direction, bytes),
        }
    }

    fn framing(&self, before: Option<[u64; 2]>) -> Box<dyn Framing> {
        Box::new(Framed::new(framing::Reading::default(), before))
    }

    fn has_keys(&self) -> bool {
        true
    }

    /// Semantic conventions of messaging, and of RabbitMQ.
    fn attributes(&self, exchange: &Exchange<'_>, tell: &mut dyn FnMut(&'static str, ValueRef<'_>)) {
        tell("messaging.system", ValueRef::Text("rabbitmq"));
        if exchange.status.failed {
            tell("error.type", ValueRef::Text(exchange.status.text.unwrap_or("_OTHER")));
        }
    }
}

#[cfg(test)]
mod tests;
