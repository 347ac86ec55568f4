//! What framing makes of the calls of a connection: runs of bytes, and markers between them.

use std::mem::discriminant;
use std::sync::Arc;

use crate::operation::{Operation, Status};

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the requesting side.
    Requests,
    /// From the answering side.
    Responses,
}

/// What a run of bytes is. Markers have length 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Marker: a message may begin at the next byte; its start line goes on in another call, and its end decides.
    /// [`What::Begin`] with the same offset confirms it; without one it was none.
    MayBegin,
    /// Marker: a message begins at the next byte, or, where its start line came in several calls, began at this earlier
    /// offset.
    Begin,
    /// Bytes of a head that may be kept: what frames it, names, harmless values.
    Head,
    /// Bytes of a head that must not be kept: values not known to be harmless, and what may be something else as long as
    /// its end is not seen. Of HTTP/1 also chunk extensions, trailers, and addresses in front of the first request.
    Secret,
    /// Marker: the head is complete.
    HeadEnd(HeadInfo),
    /// What frames messages outside their heads, and may be kept: line ends, lengths, chunk-size lines.
    Framing,
    /// Bytes of a body.
    Body,
    /// Marker: the message is complete. `exact`: at this very byte, else somewhere before it.
    End {
        /// The end is known to the byte.
        exact: bool,
    },
    /// Marker: the message that has begun may be complete at this byte. Where it ends is not known: its extent was lost
    /// and the call ends as a message ends, or its head does not tell (a body may follow, as the request is not
    /// known or the head contradicts itself). If anything but [`What::End`] with this very offset or [`What::Begin`]
    /// follows in this direction (body, framing, lost bytes, an end further on), the message was not complete here. If
    /// nothing follows, only evidence from elsewhere can tell: that the other side went on, or that nothing was owed
    /// when the connection ended.
    MayEnd,
    /// Bytes that belong to no message we can place, or to one whose extent was lost with its head.
    Lost,
    /// Bytes after a switch to another protocol.
    Tunnel,
    /// Marker: from here on the protocol of this name is spoken in this direction, within what was spoken before
    /// ([`crate::tunnel`]).
    Spoken(&'static str),
    /// Marker, in front of [`What::Spoken`]: the exchange whose answer let that begin goes on in it, and has this key there.
    TakenUp(u64),
    /// Bytes of a head that must not be kept as they are: what may be kept instead, of the same length.
    Instead(Box<[u8]>),
    /// Bytes of a head in earlier calls that may be kept after all: as they are, or what is given instead. It stands between
    /// the runs of a call, and is none of them.
    Earlier(Option<Box<[u8]>>),
    /// Marker: behind bytes that were not understood a message begins at the next byte beyond doubt, which begins a call.
    Found,
    /// Marker: what follows from here, or from this earlier offset, belongs to the message of this key that has begun in this
    /// direction and has not ended: messages of a connection may come in turns. See [`HeadInfo::key`].
    Resume(u64),
    /// Marker: what follows in this direction belongs to exchanges that the answering side asks for (true), or again to
    /// those of the requesting side. Messages of either kind go on where they were left.
    Turned(bool),
    /// Marker: how it went, as the message under way, whose head had been read, says now.
    Status(Status),
    /// Marker, in the direction of answers: the request of this key has got no answer, and none will come.
    NoAnswer(u64),
    /// Marker: whoever sends in this direction has given up the exchange of this key.
    Cancelled(u64),
}

impl What {
    /// It says something about the bytes around it, and has none itself.
    pub fn is_marker(&self) -> bool {
        use What::{Body, Earlier, Framing, Head, Instead, Lost, Secret, Tunnel};
        !matches!(self, Head | Secret | Instead(_) | Earlier(_) | Framing | Body | Lost | Tunnel)
    }
}

/// What the framing learnt from a head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeadInfo {
    /// Status of a response; empty for a request.
    pub status: Status,
    /// `Content-Length`, where the message has a body by it.
    pub content_length: Option<u64>,
    /// The body comes in chunks of its own framing.
    pub chunked: bool,
    /// A response without length: its body lasts until the connection is closed.
    pub until_close: bool,
    /// The head says nothing about the extent of the message that could be relied on: its fields contradict each other
    /// or are malformed (RFC 9112 section 6.3).
    pub unclear: bool,
    /// The request that a final response answers, by its place among the [`What::Begin`] of the other direction, from 0.
    /// None where that is not certain, for interim responses and for requests.
    pub answers: Option<u64>,
    /// A request to which no answer will come.
    pub unanswered: bool,
    /// What the message itself calls its exchange by, where the protocol has such keys ([`crate::Protocol::has_keys`]).
    pub key: Option<u64>,
    /// Later messages of the same key may be more of this answer, or the answer comes in the protocol that follows. Which of them is
    /// the last is not known.
    pub goes_on: bool,
    /// Of an answer: the protocol that is spoken behind it.
    pub leads_to: Option<&'static str>,
    /// Of a request: what it asks for, where framing has read it because that takes what it knows of the connection. None:
    /// [`crate::Protocol::read`] tells it from the bytes of the head. Of an answer: one whose attributes are added to those of
    /// the request.
    pub operation: Option<Arc<Operation>>,
}

/// A run of bytes of one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Bytes fed to this direction before this run.
    pub offset: u64,
    /// Length in bytes; 0 for markers.
    pub length: u64,
    /// What it is.
    pub what: What,
}

/// The data of one send or receive.
#[derive(Clone, Copy, Debug, Default)]
pub struct Call<'a> {
    /// Bytes moved.
    pub length: u64,
    /// The first of them, as far as they are known.
    pub head: &'a [u8],
    /// How many of these, the last ones, must not be stored as they are: of them that alone is [`What::Head`] which framing
    /// needs (of HTTP/1 start lines without their target, line ends, the fields that say how long a message is or what
    /// becomes of the connection).
    pub spare: usize,
    /// The last bytes that are known; does not overlap `head`.
    pub tail: &'a [u8],
    /// The first of them begins a message beyond doubt: who saw all of them says so.
    pub begins: bool,
    /// They were sent, not received.
    pub sent: bool,
    /// When the call was entered and when it returned, ns of any one clock.
    pub times_ns: [i64; 2],
}

/// Adds a run that begins at `offset`, or lengthens the last one.
#[inline]
pub(crate) fn push(offset: &mut u64, what: What, length: u64, parts: &mut Vec<Part>) {
    let marker = what.is_marker();
    if length == 0 && !marker {
        return;
    }
    let begin = *offset;
    *offset += length;
    if let Some(last) = parts.last_mut()
        && !marker
        && !matches!(what, What::Instead(_))
        && discriminant(&last.what) == discriminant(&what)
        && last.offset + last.length == begin
    {
        last.length += length;
        return;
    }
    parts.push(Part { offset: begin, length, what });
}
