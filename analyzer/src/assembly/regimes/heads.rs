//! Events in, the marks of their messages out: those of a received request stand with the call that sent it, where that was
//! recorded (format version 2 stores each byte once).

use retrospan_formats::event::Kind;
use retrospan_formats::secrets;

use super::Inner;
use super::identity::{self, Mark};
use crate::assembly::connections::{SocketIndex, Sockets};
use crate::assembly::events::Event;
use crate::hashing::IntMap;

/// Marks of requests that are on their way to a process that passes requests on.
#[derive(Debug, Default)]
pub struct Heads {
    /// By the sending socket and the sequence number of the first byte.
    sent: IntMap<(SocketIndex, u32), Vec<Mark>>,
}

/// Requests on their way; of what is never received nothing may pile up.
const MAX_SENT: usize = 65_536;

/// The marks of a message that begins with the event's bytes.
pub fn marks(event: &Event<'_>) -> Vec<Mark> {
    identity::of_head(event.head, secrets::entries(event.secret_hashes))
}

impl Heads {
    /// Takes in an event. Must see every one.
    pub fn sent(
        &mut self,
        index: SocketIndex,
        event: &Event<'_>,
        sockets: &Sockets,
        inner: &IntMap<i64, Inner>,
    ) {
        if event.kind != Kind::Send || event.head.is_empty() {
            return;
        }
        let to = sockets.get(index).peer.map(|peer| sockets.get(peer).process_id);
        let Some(seq) = event.tcp_seq.filter(|_| to.is_some_and(|to| inner.contains_key(&to))) else {
            return;
        };
        let marks = marks(event);
        if marks.is_empty() {
            return;
        }
        if self.sent.len() == MAX_SENT {
            self.sent.clear();
        }
        self.sent.insert((index, seq), marks);
    }

    /// The marks of the request that begins with what this event received.
    pub fn received(&mut self, index: SocketIndex, event: &Event<'_>, sockets: &Sockets) -> Vec<Mark> {
        let sender = sockets.get(index).peer.zip(event.tcp_seq);
        match sender.and_then(|sender| self.sent.remove(&sender)) {
            Some(marks) => marks,
            None => marks(event),
        }
    }
}
