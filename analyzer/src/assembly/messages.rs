//! Pieces of the two streams in, messages out: where each begins, what its head says, where it ends, and when.
//!
//! The framing itself is that of the protocol (`retrospan_protocols`), the same code by which the recorder blanked what
//! must not be kept. Here its runs of bytes get times and positions.

use retrospan_formats::marks;
use retrospan_protocols::{Call, Direction, Framing, HeadInfo, Memory, Part, Protocol, Status, What, tunnel};

use crate::assembly::side::Side;
use crate::assembly::streams::{CallTiming, IoDirection, Piece};
use crate::hashing::IntMap;

/// Something about a message.
#[derive(Clone, Copy, Debug)]
pub enum Notice<'a> {
    /// A message begins.
    Begin {
        /// Position of its first byte.
        position: u64,
        /// Raw sequence number of it.
        seq: u32,
        /// The call that moved it.
        timing: CallTiming,
    },
    /// The head of the message is there, or as much as there will be of it.
    Head {
        /// What it says about the body; None where the head was cut.
        info: Option<&'a HeadInfo>,
        /// Its bytes.
        bytes: &'a [u8],
        /// When it was complete.
        timing: CallTiming,
    },
    /// Bytes of the message up to `position` were moved.
    Progress {
        /// After the last of them.
        position: u64,
        /// The call.
        timing: CallTiming,
    },
    /// The message is complete.
    End {
        /// After its last byte.
        position: u64,
        /// Length of the body, where it is known.
        body_bytes: Option<u64>,
        /// The call that moved the last byte.
        timing: CallTiming,
    },
    /// The message may be complete with the bytes so far; see [`What::MayEnd`]. More of it takes that back.
    MayEnd {
        /// After its last byte so far.
        position: u64,
        /// The call that moved it.
        timing: CallTiming,
    },
    /// Bytes that belong to no message, or to one whose extent is not known.
    Unplaced {
        /// Within a message.
        in_message: bool,
        /// After the last of them.
        position: u64,
        /// The call that moved them.
        timing: CallTiming,
    },
    /// The message of this key goes on.
    Resume {
        /// Its key; see [`What::Resume`].
        key: u64,
        /// Position of its next byte.
        position: u64,
    },
    /// How it went, as the message says now.
    Status(Status),
    /// The request of this key has got no answer, and none will come.
    NoAnswer {
        /// Its key.
        key: u64,
    },
    /// Whoever sends in this direction has given up the exchange of this key.
    Cancelled {
        /// Its key.
        key: u64,
        /// The call that said so.
        timing: CallTiming,
    },
    /// The exchange whose answer lets something else be spoken goes on in that, and has this key there.
    TakenUp {
        /// Its key.
        key: u64,
    },
    /// From here on this is spoken in this direction, within what was spoken before. [`Lane::level`] says how deep.
    Spoken(&'static str),
    /// Calls are missing.
    Gap {
        /// Whole messages may be missing with them.
        messages: bool,
    },
}

/// Which exchanges a message belongs to, and what it is in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lane {
    /// How many connections it is within, tunnels that is; see [`What::Spoken`].
    pub level: u8,
    /// The answering side asks; see [`What::Turned`].
    pub turned: bool,
    /// What the message is.
    pub direction: Direction,
}

/// The messages of one socket.
#[derive(Debug)]
pub struct Messages {
    side: Side,
    framing: Box<dyn Framing>,
    parts: Vec<Part>,
    requests: OneWay,
    responses: OneWay,
}

/// What was read of the messages of one direction.
#[derive(Debug)]
struct OneWay {
    lane: Lane,
    current: Assembly,
    /// The message under way of the other lane.
    other: Assembly,
    /// Messages that others came between, by lane and key.
    parked: IntMap<(bool, u64), Assembly>,
    /// A start line that goes on in another call.
    may_begin: Option<Beginning>,
    /// The last call of this direction.
    last: CallTiming,
}

/// What was read of a message.
#[derive(Clone, Debug, Default)]
struct Assembly {
    in_message: bool,
    in_head: bool,
    /// What its exchange is called by.
    key: Option<u64>,
    /// Bytes of the head from earlier calls.
    head: Vec<u8>,
    /// What the body is as long as, by the head.
    body: Body,
    body_bytes: u64,
}

/// Where a message begins.
#[derive(Clone, Copy, Debug, Default)]
struct Beginning {
    position: u64,
    seq: u32,
    timing: CallTiming,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Body {
    #[default]
    Unknown,
    Length(u64),
    Counted,
}

/// Most bytes of a head that are kept.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Messages of a direction that are under way at once, at most.
const MAX_PARKED: usize = 4096;

/// The data that a call's parts are cut from.
#[derive(Clone, Copy)]
struct Data<'a> {
    position: u64,
    seq: u32,
    head: &'a [u8],
    timing: CallTiming,
}

impl Messages {
    /// No message yet. `before`: the positions of the next byte sent and received, where there may have been messages
    /// before them; None where no byte was moved.
    pub fn new(protocol: &dyn Protocol, side: Side, before: Option<[u64; 2]>) -> Messages {
        let position = |positions: [u64; 2], direction| positions[side.way(direction) as usize];
        let before = before.map(|positions| {
            [position(positions, Direction::Requests), position(positions, Direction::Responses)]
        });
        Messages::framed(tunnel::framing(protocol, before), side)
    }

    /// The messages that this framing finds.
    pub fn framed(framing: Box<dyn Framing>, side: Side) -> Messages {
        Messages {
            side,
            framing,
            parts: Vec::new(),
            requests: OneWay::new(Direction::Requests),
            responses: OneWay::new(Direction::Responses),
        }
    }

    /// Reads the next piece of either stream. `memory`: of what was read before, by [`Direction`].
    pub fn piece(
        &mut self,
        piece: Piece<'_>,
        memory: &mut [Memory; 2],
        out: &mut impl FnMut(Lane, Notice<'_>),
    ) {
        let mut parts = std::mem::take(&mut self.parts);
        match piece {
            Piece::Data { way, position, seq, length, head, tail, marks, timing } => {
                let direction = self.side.direction(way);
                let (sent, times_ns) = (way == IoDirection::Out, [timing.enter_ns, timing.exit_ns]);
                let memory = &mut memory[direction as usize];
                let begins = marks & marks::BEGINS != 0;
                let call = Call { length, head, spare: 0, tail, begins, sent, times_ns };
                self.framing.call(direction, call, memory, &mut parts);
                self.way(direction).data(&Data { position, seq, head, timing }, &parts, out);
            }
            Piece::Gap { way, length } => {
                let direction = self.side.direction(way);
                self.framing.gap(direction, length, &mut parts);
                let messages = parts.iter().any(|part| part.what == What::Lost);
                let way = self.way(direction);
                out(way.lane, Notice::Gap { messages });
                way.between(&parts, out);
            }
            Piece::End { way } => {
                let direction = self.side.direction(way);
                self.framing.close(direction, &mut parts);
                self.way(direction).between(&parts, out);
            }
        }
        for part in parts.drain(..) {
            if let What::Cancelled(key) = part.what {
                self.requests.forget(key);
                self.responses.forget(key);
            }
        }
        self.parts = parts;
    }

    /// Nothing comes any more: hands out what there is of a request's head.
    pub fn finish(&mut self, out: &mut impl FnMut(Lane, Notice<'_>)) {
        let OneWay { lane, current, last, .. } = &mut self.requests;
        if current.in_head {
            current.head_cut(&[], *last, &mut |notice| out(*lane, notice));
        }
    }

    fn way(&mut self, direction: Direction) -> &mut OneWay {
        match direction {
            Direction::Requests => &mut self.requests,
            Direction::Responses => &mut self.responses,
        }
    }
}

impl Data<'_> {
    /// A message begins at this place of the call.
    fn beginning(&self, offset: u64) -> Beginning {
        let seq = self.seq.wrapping_add(offset.saturating_sub(self.position) as u32);
        Beginning { position: offset, seq, timing: self.timing }
    }
}

impl OneWay {
    fn new(direction: Direction) -> OneWay {
        OneWay {
            lane: Lane { level: 0, turned: false, direction },
            current: Assembly::default(),
            other: Assembly::default(),
            parked: IntMap::default(),
            may_begin: None,
            last: CallTiming::default(),
        }
    }

    /// The parts of a call.
    fn data(&mut self, data: &Data<'_>, parts: &[Part], out: &mut impl FnMut(Lane, Notice<'_>)) {
        // Where in the call's first bytes the current head goes on.
        let mut head_from = 0;
        // The message under way has bytes, or its begin, in this call.
        let mut touched = false;
        for part in parts {
            let at = (part.offset.saturating_sub(data.position)) as usize;
            let end = part.offset + part.length;
            let (lane, current) = (self.lane, &mut self.current);
            let mut tell = |notice: Notice<'_>| out(lane, notice);
            match &part.what {
                What::MayBegin => {
                    head_from = at;
                    current.head.clear();
                    self.may_begin = Some(data.beginning(part.offset));
                }
                What::Begin => {
                    touched = true;
                    if current.in_message && current.key.is_some() {
                        tell(Notice::Progress { position: part.offset, timing: data.timing });
                    }
                    let before = self.may_begin.take().filter(|before| before.position == part.offset);
                    self.park();
                    if before.is_none() {
                        head_from = at;
                        self.current.head.clear();
                    }
                    self.current.begin();
                    let Beginning { position, seq, timing } =
                        before.unwrap_or_else(|| data.beginning(part.offset));
                    tell(Notice::Begin { position, seq, timing });
                }
                What::HeadEnd(info) => {
                    touched = true;
                    current.head_end(info, slice(data.head, head_from, at), data.timing, &mut tell);
                }
                What::MayEnd => {
                    if current.in_message {
                        tell(Notice::MayEnd { position: part.offset, timing: data.timing });
                    }
                }
                What::Lost => {
                    self.may_begin = None;
                    if current.in_head {
                        current.head_cut(slice(data.head, head_from, at), data.timing, &mut tell);
                    }
                    current.body = Body::Unknown;
                    let in_message = current.in_message;
                    tell(Notice::Unplaced { in_message, position: end, timing: data.timing });
                }
                What::End { .. } => {
                    let timing = if at == 0 && !touched { self.last } else { data.timing };
                    current.end(part.offset, timing, &mut tell);
                    self.may_begin = None;
                }
                What::Body => current.body_bytes += part.length,
                What::Resume(key) => {
                    (touched, head_from) = (true, at);
                    if current.in_message && current.key.is_some() {
                        tell(Notice::Progress { position: part.offset, timing: data.timing });
                    }
                    self.may_begin = None;
                    self.resume(*key);
                    tell(Notice::Resume { key: *key, position: part.offset });
                }
                What::Turned(turned) => {
                    self.turn(*turned);
                    head_from = at;
                }
                What::TakenUp(key) => tell(Notice::TakenUp { key: *key }),
                What::Spoken(protocol) => {
                    self.within();
                    head_from = at;
                    out(self.lane, Notice::Spoken(protocol));
                }
                What::Status(status) => tell(Notice::Status(*status)),
                What::NoAnswer(key) => tell(Notice::NoAnswer { key: *key }),
                What::Cancelled(key) => tell(Notice::Cancelled { key: *key, timing: data.timing }),
                What::Head | What::Secret | What::Instead(_) | What::Earlier(_) => {}
                What::Framing | What::Tunnel | What::Found => {}
            }
        }
        self.last = data.timing;
        let current = &mut self.current;
        if current.in_head || self.may_begin.is_some() {
            current.keep(slice(data.head, head_from, data.head.len()));
        }
        if let Some(last) = parts.last()
            && current.in_message
        {
            let position = last.offset + last.length;
            out(self.lane, Notice::Progress { position, timing: data.timing });
        }
    }

    /// The parts of bytes that no call in the capture moved.
    fn between(&mut self, parts: &[Part], out: &mut impl FnMut(Lane, Notice<'_>)) {
        for part in parts {
            let (lane, current) = (self.lane, &mut self.current);
            let mut tell = |notice: Notice<'_>| out(lane, notice);
            match &part.what {
                What::Begin => {
                    // A start line that was cut, and yet is one.
                    let Some(Beginning { position, seq, timing }) = self.may_begin.take() else { continue };
                    self.park();
                    self.current.begin();
                    tell(Notice::Begin { position, seq, timing });
                }
                // What an unfinished frame says of its length and key before its rest is lost.
                What::HeadEnd(info) if info.operation.is_some() || info.key.is_some() => {
                    current.head_end(info, &[], self.last, &mut tell);
                }
                What::Lost => {
                    self.may_begin = None;
                    if current.in_head {
                        current.head_cut(&[], self.last, &mut tell);
                    }
                    current.body = Body::Unknown;
                }
                What::Body => current.body_bytes += part.length,
                What::End { .. } => {
                    current.end(part.offset, self.last, &mut tell);
                    self.may_begin = None;
                }
                What::Resume(key) => {
                    self.resume(*key);
                    tell(Notice::Resume { key: *key, position: part.offset });
                }
                What::Turned(turned) => self.turn(*turned),
                What::TakenUp(key) => tell(Notice::TakenUp { key: *key }),
                What::Spoken(protocol) => {
                    self.within();
                    out(self.lane, Notice::Spoken(protocol));
                }
                What::Status(status) => tell(Notice::Status(*status)),
                What::NoAnswer(key) => tell(Notice::NoAnswer { key: *key }),
                What::Cancelled(key) => tell(Notice::Cancelled { key: *key, timing: self.last }),
                _ => {}
            }
        }
    }

    /// Another message comes before the one under way is complete.
    fn park(&mut self) {
        if let (true, Some(key)) = (self.current.in_message, self.current.key)
            && self.parked.len() < MAX_PARKED
        {
            self.parked.insert((self.lane.turned, key), std::mem::take(&mut self.current));
        }
    }

    fn resume(&mut self, key: u64) {
        if self.current.in_message && self.current.key == Some(key) {
            return;
        }
        self.park();
        self.current = self.parked.remove(&(self.lane.turned, key)).unwrap_or_default();
    }

    /// What was under way stays as it is: nothing more of it comes.
    fn within(&mut self) {
        self.turn(false);
        self.lane.level += 1;
        (self.current, self.other) = Default::default();
        self.parked.clear();
        self.may_begin = None;
    }

    fn forget(&mut self, key: u64) {
        self.parked.remove(&(self.lane.turned, key));
    }

    fn turn(&mut self, turned: bool) {
        if self.lane.turned != turned {
            let direction = match self.lane.direction {
                Direction::Requests => Direction::Responses,
                Direction::Responses => Direction::Requests,
            };
            self.lane = Lane { turned, direction, ..self.lane };
            std::mem::swap(&mut self.current, &mut self.other);
        }
    }
}

impl Assembly {
    fn begin(&mut self) {
        self.in_message = true;
        self.in_head = true;
        self.key = None;
        self.body = Body::Unknown;
        self.body_bytes = 0;
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = MAX_HEAD_BYTES.saturating_sub(self.head.len());
        self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn head_end(
        &mut self,
        info: &HeadInfo,
        rest: &[u8],
        timing: CallTiming,
        out: &mut impl FnMut(Notice<'_>),
    ) {
        if !self.in_head {
            // The end of a head whose middle was not kept.
            return;
        }
        self.in_head = false;
        self.key = info.key;
        self.body_bytes = 0;
        self.body = match info.content_length {
            Some(length) => Body::Length(length),
            None if info.unclear => Body::Unknown,
            None => Body::Counted,
        };
        let bytes = if self.head.is_empty() {
            rest
        } else {
            self.keep(rest);
            &self.head
        };
        out(Notice::Head { info: Some(info), bytes, timing });
        self.head.clear();
    }

    fn head_cut(&mut self, rest: &[u8], timing: CallTiming, out: &mut impl FnMut(Notice<'_>)) {
        self.in_head = false;
        self.keep(rest);
        out(Notice::Head { info: None, bytes: &self.head, timing });
        self.head.clear();
    }

    fn end(&mut self, position: u64, timing: CallTiming, out: &mut impl FnMut(Notice<'_>)) {
        if !self.in_message {
            return;
        }
        self.in_message = false;
        self.in_head = false;
        let body_bytes = match self.body {
            Body::Unknown => None,
            Body::Length(length) => Some(length),
            Body::Counted => Some(self.body_bytes),
        };
        out(Notice::End { position, body_bytes, timing });
    }
}

fn slice(bytes: &[u8], from: usize, to: usize) -> &[u8] {
    bytes.get(from..to.min(bytes.len())).unwrap_or_default()
}
