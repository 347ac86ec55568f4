//! Pieces of the two streams in, messages out: where each begins, what its head says, where it ends, and when.
//!
//! The framing itself is that of the protocol (`retrospan_protocols`), the same code by which the recorder blanked what
//! must not be kept. Here its runs of bytes get times and positions.

use retrospan_protocols::{Call, Direction, Framing, HeadInfo, Memory, Part, Protocol, What};

use crate::assembly::side::Side;
use crate::assembly::streams::{CallTiming, IoDirection, Piece};

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
    /// Calls are missing.
    Gap {
        /// Whole messages may be missing with them.
        messages: bool,
    },
}

/// The messages of one socket.
#[derive(Debug)]
pub struct Messages {
    side: Side,
    framing: Box<dyn Framing>,
    parts: Vec<Part>,
    requests: Assembly,
    responses: Assembly,
}

/// What was read of the current message of one direction.
#[derive(Clone, Debug, Default)]
struct Assembly {
    in_message: bool,
    in_head: bool,
    /// A start line that goes on in another call.
    may_begin: Option<Beginning>,
    /// Bytes of the head from earlier calls.
    head: Vec<u8>,
    /// What the body is as long as, by the head.
    body: Body,
    body_bytes: u64,
    /// The last call of this direction.
    last: CallTiming,
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
        Messages {
            side,
            framing: protocol.framing(before),
            parts: Vec::new(),
            requests: Assembly::default(),
            responses: Assembly::default(),
        }
    }

    /// Reads the next piece of either stream. `memory`: of what was read before, by [`Direction`].
    pub fn piece(
        &mut self,
        piece: Piece<'_>,
        memory: &mut [Memory; 2],
        out: &mut impl FnMut(Direction, Notice<'_>),
    ) {
        let mut parts = std::mem::take(&mut self.parts);
        match piece {
            Piece::Data { way, position, seq, length, head, tail, timing } => {
                let direction = self.side.direction(way);
                let (sent, times_ns) = (way == IoDirection::Out, [timing.enter_ns, timing.exit_ns]);
                let memory = &mut memory[direction as usize];
                let call = Call { length, head, spare: 0, tail, sent, times_ns };
                self.framing.call(direction, call, memory, &mut parts);
                let data = Data { position, seq, head, timing };
                self.assembly(direction).data(&data, &parts, &mut |notice| out(direction, notice));
            }
            Piece::Gap { way, length } => {
                let direction = self.side.direction(way);
                self.framing.gap(direction, length, &mut parts);
                let messages = parts.iter().any(|part| part.what == What::Lost);
                out(direction, Notice::Gap { messages });
                self.assembly(direction).between(&parts, &mut |notice| out(direction, notice));
            }
            Piece::End { way } => {
                let direction = self.side.direction(way);
                self.framing.close(direction, &mut parts);
                self.assembly(direction).between(&parts, &mut |notice| out(direction, notice));
            }
        }
        parts.clear();
        self.parts = parts;
    }

    /// Nothing comes any more: hands out what there is of a request's head.
    pub fn finish(&mut self, out: &mut impl FnMut(Direction, Notice<'_>)) {
        if self.requests.in_head {
            let last = self.requests.last;
            self.requests.head_cut(&[], last, &mut |notice| out(Direction::Requests, notice));
        }
    }

    fn assembly(&mut self, direction: Direction) -> &mut Assembly {
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

impl Assembly {
    /// The parts of a call.
    fn data(&mut self, data: &Data<'_>, parts: &[Part], out: &mut impl FnMut(Notice<'_>)) {
        // Where in the call's first bytes the current head goes on.
        let mut head_from = 0;
        for part in parts {
            let at = (part.offset.saturating_sub(data.position)) as usize;
            let end = part.offset + part.length;
            match &part.what {
                What::MayBegin => {
                    head_from = at;
                    self.head.clear();
                    self.may_begin = Some(data.beginning(part.offset));
                }
                What::Begin => {
                    let before = self.may_begin.take().filter(|before| before.position == part.offset);
                    if before.is_none() {
                        head_from = at;
                        self.head.clear();
                    }
                    self.begin();
                    let Beginning { position, seq, timing } =
                        before.unwrap_or_else(|| data.beginning(part.offset));
                    out(Notice::Begin { position, seq, timing });
                }
                What::HeadEnd(info) => self.head_end(info, slice(data.head, head_from, at), data.timing, out),
                What::MayEnd => {
                    if self.in_message {
                        out(Notice::MayEnd { position: part.offset, timing: data.timing });
                    }
                }
                What::Lost => {
                    self.may_begin = None;
                    if self.in_head {
                        self.head_cut(slice(data.head, head_from, at), data.timing, out);
                    }
                    self.body = Body::Unknown;
                    let in_message = self.in_message;
                    out(Notice::Unplaced { in_message, position: end, timing: data.timing });
                }
                What::End { .. } => {
                    let timing = if at == 0 { self.last } else { data.timing };
                    self.end(part.offset, timing, out);
                }
                What::Body => self.body_bytes += part.length,
                What::Head | What::Secret | What::Framing | What::Tunnel => {}
            }
        }
        self.last = data.timing;
        if self.in_head || self.may_begin.is_some() {
            self.keep(slice(data.head, head_from, data.head.len()));
        }
        if let Some(last) = parts.last()
            && self.in_message
        {
            out(Notice::Progress { position: last.offset + last.length, timing: data.timing });
        }
    }

    /// The parts of bytes that no call in the capture moved.
    fn between(&mut self, parts: &[Part], out: &mut impl FnMut(Notice<'_>)) {
        for part in parts {
            match &part.what {
                What::Begin => {
                    // A start line that was cut, and yet is one.
                    let Some(Beginning { position, seq, timing }) = self.may_begin.take() else { continue };
                    self.begin();
                    out(Notice::Begin { position, seq, timing });
                }
                What::Lost => {
                    self.may_begin = None;
                    if self.in_head {
                        self.head_cut(&[], self.last, out);
                    }
                    self.body = Body::Unknown;
                }
                What::Body => self.body_bytes += part.length,
                What::End { .. } => self.end(part.offset, self.last, out),
                _ => {}
            }
        }
    }

    fn begin(&mut self) {
        self.in_message = true;
        self.in_head = true;
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
        self.may_begin = None;
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
