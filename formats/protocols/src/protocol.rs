//! What a protocol has to tell.

use std::any::Any;
use std::fmt::Debug;
use std::ops::Range;

pub use retrospan_formats::config::{Keep, Signature};

use crate::operation::{Exchange, Operation, Status, ValueRef};
use crate::parts::{Call, Direction, Part};

/// A protocol of requests and answers.
pub trait Protocol: Sync {
    /// Its name: columns `protocol`, attribute `network.protocol.name`.
    fn name(&self) -> &'static str;

    /// What a span is called whose operation is not known, or has no name that everybody knows.
    fn title(&self) -> &'static str;

    /// How data begins of which the kernel programs are to keep more than a few bytes, although it follows other data of
    /// the same direction. What comes after a change of direction is kept anyhow.
    fn signatures(&self) -> &'static [Signature];

    /// Whether the data of a call, sent this way, begins a message. `fresh`: it is the first of its connection.
    fn recognise(&self, direction: Direction, bytes: &[u8], fresh: bool) -> Verdict;

    /// Framing of a connection. `before`: how many bytes of requests and of answers went by unread, and perhaps messages
    /// with them; None where it is seen from its first byte.
    fn framing(&self, before: Option<[u64; 2]>) -> Box<dyn Framing>;

    /// Framing of a connection that has changed to this protocol, where the request that asked for it is its first exchange: with the
    /// key of that.
    fn framing_after_upgrade(&self) -> Option<(u64, Box<dyn Framing>)> {
        None
    }

    /// What a datagram is that is a message beyond doubt, where this is spoken in datagrams, too. `fresh`: as in
    /// [`Protocol::recognise`].
    fn recognise_datagram(&self, _bytes: &[u8], _fresh: bool) -> Option<Direction> {
        None
    }

    /// Framing of datagrams between two ends, each of which is a call of its own, where this is spoken so, too. `before`: some
    /// went by unread.
    fn datagrams(&self, _before: bool) -> Option<Box<dyn Framing>> {
        None
    }

    /// Reads a head, or as much as there is of one; it may hold anything. Texts that are as in `last` are shared with it.
    /// Says nothing of a protocol whose framing does ([`crate::HeadInfo::operation`]).
    fn read(&self, _direction: Direction, _head: &[u8], _last: &Operation) -> Operation {
        Operation::default()
    }

    /// Tells where whole secret values of message heads stand among the bytes of a call whose parts these are, in order:
    /// each from its first byte to its last, and nothing that may be something else or a part of one. `head`: the first
    /// bytes of the call, of which as many may be `stored` as they are. Tells of each the bytes that name it, what ends the name
    /// included (none where it has no name), and the value. Says nothing of a protocol whose heads have none.
    fn secret_values(
        &self,
        _parts: &[Part],
        _head: &[u8],
        _stored: usize,
        _tell: &mut dyn FnMut(&[u8], Range<usize>),
    ) {
    }

    /// Whether each message says which exchange it belongs to ([`crate::HeadInfo::key`]: an id, a stream), so that answers
    /// may come in any order. Else the k-th answer is that of the k-th request ([`crate::HeadInfo::answers`]).
    fn has_keys(&self) -> bool {
        false
    }

    /// Whether its messages are requests and answers. Else they belong to the exchange that let it begin
    /// ([`crate::HeadInfo::leads_to`]).
    fn has_exchanges(&self) -> bool {
        true
    }

    /// Whether what follows a switch ([`crate::What::Tunnel`]) is what the two sides say to each other, only encrypted: then it is
    /// read by turns where nothing else tells what it is.
    fn encrypts(&self) -> bool {
        false
    }

    /// Whether an answer of this status is the answer, and not one that announces it.
    fn is_final(&self, _status: Status) -> bool {
        true
    }

    /// Whether an answer of this status says that the answering side failed.
    fn failed(&self, status: Status) -> bool {
        status.failed
    }

    /// Tells what is known of an exchange beyond [`Operation::attributes`]. `error.type` says that it failed.
    fn attributes(&self, exchange: &Exchange<'_>, tell: &mut dyn FnMut(&'static str, ValueRef<'_>));
}

impl Debug for dyn Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl PartialEq for dyn Protocol {
    fn eq(&self, other: &dyn Protocol) -> bool {
        self.name() == other.name()
    }
}

/// What bytes tell of a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// They begin none of its messages.
    No,
    /// They may.
    Maybe,
    /// They do, and nothing else begins so.
    Surely,
}

/// Framing of one connection: where in which message each byte stands. The recorder blanks by it before anything
/// reaches the disk, and the analyzer finds messages by it in what was kept, so both must see the same messages.
pub trait Framing: Debug + Send {
    /// Reads a call. Appends to `parts`: they cover the call's bytes without gap or overlap, in order.
    fn call(&mut self, direction: Direction, call: Call<'_>, memory: &mut Memory, parts: &mut Vec<Part>);

    /// `length` bytes of this direction were not seen at all (events lost).
    fn gap(&mut self, direction: Direction, length: u64, parts: &mut Vec<Part>);

    /// The direction ended (FIN).
    fn close(&mut self, direction: Direction, parts: &mut Vec<Part>);
}

/// What a protocol remembers of one direction from connection to connection, to be quicker with the same result.
#[derive(Debug, Default)]
pub struct Memory(Option<Box<dyn Any + Send>>);

impl Memory {
    /// What this protocol remembers here.
    pub fn of<T: Default + Send + 'static>(&mut self) -> &mut T {
        if !self.0.as_ref().is_some_and(|memory| memory.is::<T>()) {
            self.0 = None;
        }
        let memory = self.0.get_or_insert_with(|| Box::<T>::default());
        memory.downcast_mut().expect("what was just put there")
    }
}
