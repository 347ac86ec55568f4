//! Framing of protocols whose messages consist of frames, each of which says at its begin how long it is: what the protocols
//! have in common. Those that have lines are frames too, whose length is known when their end is there.
//!
//! A protocol tells how a frame is measured, what of it may be kept and what it means ([`Codec`]); [`Framed`] does the rest: frames
//! over several calls, holes within them, and where to go on after bytes that were not understood.

mod runs;
mod say;

use std::ops::Range;

use crate::blank::BLANK;
use crate::parts::{Call, Direction, Part, What, push};
use crate::protocol::{Framing, Memory};

pub(crate) use runs::Runs;
pub(crate) use say::Say;

/// What a protocol of frames tells, with what it knows of one connection.
pub(crate) trait Codec: std::fmt::Debug + Send {
    /// How long the frame is that begins so.
    fn measure(&mut self, direction: Direction, bytes: &[u8]) -> Measure;

    /// Whether the data of a call, after bytes that were not understood, begins with a frame beyond doubt.
    fn begins(&self, direction: Direction, bytes: &[u8]) -> bool;

    /// Where among the last bytes of a call, most of which were not understood or not known, a frame begins beyond doubt that
    /// ends with them. What is not kept of them is blank.
    fn begins_at_end(&self, _direction: Direction, _bytes: &[u8]) -> Option<usize> {
        None
    }

    /// Tells what of a frame's head may be kept, from its first byte on; what is not told of must not. It may end anywhere, and
    /// what is told of its first bytes must not depend on those that follow.
    fn keep(&self, direction: Direction, head: &[u8], runs: &mut Runs);

    /// A frame's head is there, or as much as there will be of it.
    fn frame(&mut self, frame: &Frame<'_>, say: &mut Say);

    /// Another frame of this direction is about to begin: tells what is known by now of those before. After [`Say::tunnel`] none
    /// begins.
    fn between(&mut self, _direction: Direction, _say: &mut Say) {}

    /// Frames of this direction may be missing: what rests on having seen all of them is not known any more. It is said
    /// again of each call that is not understood.
    fn lost(&mut self, direction: Direction);

    /// How many bytes, from the begin of the next frame or of the one that is being read, belong to a message whose length is
    /// known whatever they are: where they are not known they are one frame, of which no more of the head comes.
    fn rest(&self, _direction: Direction) -> Option<u64> {
        None
    }

    /// The same, as whole calls were not seen: such of the other direction may be missing, too, without having been missed yet.
    fn missed(&mut self, direction: Direction) {
        self.lost(direction);
    }

    /// The direction ended.
    fn closed(&mut self, _direction: Direction, _say: &mut Say) {}
}

/// How long a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// So many of its first bytes tell more, or some fewer. More than are there.
    Need(usize),
    /// This long, of which the first `head` bytes, or as many as there are, are read.
    Frame {
        /// Bytes in all; at least one.
        total: u64,
        /// Bytes that [`Codec::frame`] gets to see.
        head: usize,
    },
    /// No frame begins so.
    None,
    /// What comes in this direction is none of this protocol any more.
    Tunnel,
}

/// A frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) direction: Direction,
    /// Its head, as far as it is known. It is longer than was asked for only where earlier calls brought
    /// more of it before its length was known.
    pub(crate) head: &'a [u8],
    /// All of its head is.
    pub(crate) whole: bool,
    /// Length of the frame, bytes.
    pub(crate) total: u64,
}

/// Framing state of one connection.
#[derive(Debug)]
pub(crate) struct Framed<C> {
    codec: C,
    sides: [Side; 2],
}

/// One direction.
#[derive(Debug)]
struct Side {
    direction: Direction,
    offset: u64,
    state: State,
    /// Head of the frame that is being read, so far.
    head: Vec<u8>,
    /// Where that frame began.
    began: u64,
    /// Where this call began, or the hole between calls.
    call: u64,
    /// It is such a hole.
    hole: bool,
    /// What to say at its end.
    after: Vec<What>,
    /// Behind the bytes that are being read, others of the same call are not known.
    hole_follows: bool,
    turned: bool,
    /// What of its head may be kept: empty, its room is used again.
    runs: Runs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A frame begins at the next byte.
    Between,
    /// Its head is being read. Length of the frame and of its head, once they are known.
    Head(Option<(u64, usize)>),
    /// So many bytes of it are left.
    Content(u64),
    /// What comes is not understood.
    Lost,
    /// What comes belongs to another protocol.
    Tunnel,
}

/// Longest head that is held: more of a frame is not read.
pub(crate) const MAX_HEAD: usize = 64 * 1024;

impl<C: Codec> Framed<C> {
    /// `before`: as in [`crate::Protocol::framing`].
    pub(crate) fn new(codec: C, before: Option<[u64; 2]>) -> Framed<C> {
        let mut codec = codec;
        if before.is_some() {
            codec.lost(Direction::Requests);
            codec.lost(Direction::Responses);
        }
        let state = if before.is_some() { State::Lost } else { State::Between };
        let [requests, answers] = before.unwrap_or_default();
        let side = |direction, offset| Side {
            direction,
            offset,
            state,
            head: Vec::new(),
            began: 0,
            call: offset,
            hole: false,
            after: Vec::new(),
            hole_follows: false,
            turned: false,
            runs: Runs::default(),
        };
        Framed { codec, sides: [side(Direction::Requests, requests), side(Direction::Responses, answers)] }
    }

    fn side(&mut self, direction: Direction) -> (&mut Side, &mut C) {
        (&mut self.sides[direction as usize], &mut self.codec)
    }
}

impl<C: Codec> Framing for Framed<C> {
    fn call(&mut self, direction: Direction, call: Call<'_>, _memory: &mut Memory, parts: &mut Vec<Part>) {
        let (side, codec) = self.side(direction);
        (side.call, side.hole) = (side.offset, false);
        let stored = call.head.len().saturating_sub(call.spare);
        let head = &call.head[..stored];
        if side.state == State::Lost && (call.begins || codec.begins(direction, head)) {
            side.state = State::Between;
            side.push(What::Found, 0, parts);
        }
        let tail = if call.spare > 0 { &[] } else { call.tail };
        // Where bytes were not kept blanks are stored, which are no frame.
        let said = tail.iter().rposition(|&byte| byte != BLANK).map_or(0, |last| last + 1);
        let (said, blanks) = tail.split_at(said);
        let hole = call.length.saturating_sub((stored + tail.len()) as u64);
        if hole == 0 && !said.is_empty() {
            // What is told of a frame's first bytes may depend on those that follow in the same call.
            side.hole_follows = !blanks.is_empty();
            side.bytes(&[head, said].concat(), codec, parts);
        } else {
            side.hole_follows = hole > 0 || !blanks.is_empty();
            side.bytes(head, codec, parts);
            side.unknown(hole, codec, parts);
            side.hole_follows = !blanks.is_empty();
            let mut said = said;
            if side.state == State::Lost
                && blanks.is_empty()
                && let Some(at) = codec.begins_at_end(direction, said)
            {
                side.bytes(&said[..at], codec, parts);
                side.state = State::Between;
                said = &said[at..];
            }
            side.bytes(said, codec, parts);
        }
        match side.state {
            State::Content(_) => side.bytes(blanks, codec, parts),
            _ => side.unknown(blanks.len() as u64, codec, parts),
        }
    }

    fn gap(&mut self, direction: Direction, length: u64, parts: &mut Vec<Part>) {
        let (side, codec) = self.side(direction);
        (side.call, side.hole) = (side.offset, true);
        side.unknown(length, codec, parts);
    }

    fn close(&mut self, direction: Direction, parts: &mut Vec<Part>) {
        let (side, codec) = self.side(direction);
        let mut say = Say::default();
        codec.closed(direction, &mut say);
        for what in say.before.into_iter().chain(say.behind_head).chain(say.after) {
            side.push(what, 0, parts);
        }
    }
}

impl Side {
    fn push(&mut self, what: What, length: u64, parts: &mut Vec<Part>) {
        push(&mut self.offset, what, length, parts);
    }

    fn bytes(&mut self, bytes: &[u8], codec: &mut impl Codec, parts: &mut Vec<Part>) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let used = match self.state {
                State::Between => {
                    self.between(codec, parts);
                    continue;
                }
                State::Head(_) => self.head(rest, codec, parts),
                State::Content(left) => self.content(rest.len() as u64, left, parts),
                State::Lost => {
                    self.lose(rest.len() as u64, codec, parts);
                    rest.len()
                }
                State::Tunnel => self.all(What::Tunnel, rest.len(), parts),
            };
            rest = &rest[used..];
        }
    }

    /// A frame begins at the next byte, unless what comes is none.
    fn between(&mut self, codec: &mut impl Codec, parts: &mut Vec<Part>) {
        let mut say = Say::default();
        codec.between(self.direction, &mut say);
        for what in say.before.into_iter().chain(say.behind_head).chain(say.after) {
            self.push(what, 0, parts);
        }
        self.head.clear();
        self.began = self.offset;
        self.state = if say.tunnel { State::Tunnel } else { State::Head(None) };
    }

    fn all(&mut self, what: What, length: usize, parts: &mut Vec<Part>) -> usize {
        self.push(what, length as u64, parts);
        length
    }

    /// Bytes that are not known.
    fn unknown(&mut self, length: u64, codec: &mut impl Codec, parts: &mut Vec<Part>) {
        if length == 0 {
            return;
        }
        if self.state == State::Between {
            self.between(codec, parts);
        }
        let mut left = length;
        while left > 0 {
            match self.state {
                State::Content(own) => left -= self.content(left, own, parts) as u64,
                State::Tunnel => left -= self.all(What::Tunnel, left as usize, parts) as u64,
                State::Head(Some((total, _))) => self.tell_head(self.head.len(), false, total, codec, parts),
                State::Between | State::Head(None) => match codec.rest(self.direction) {
                    Some(total) if total > 0 => {
                        if self.state == State::Between {
                            self.head.clear();
                            self.began = self.offset;
                        }
                        self.tell_head(self.head.len(), false, total, codec, parts);
                    }
                    _ => return self.lose(left, codec, parts),
                },
                State::Lost => return self.lose(left, codec, parts),
            }
        }
    }

    fn lose(&mut self, length: u64, codec: &mut impl Codec, parts: &mut Vec<Part>) {
        self.state = State::Lost;
        self.head.clear();
        self.after.clear();
        if self.hole {
            codec.missed(self.direction);
        } else {
            codec.lost(self.direction);
        }
        self.turn_back(parts);
        self.push(What::Lost, length, parts);
    }

    fn turn_back(&mut self, parts: &mut Vec<Part>) {
        if std::mem::take(&mut self.turned) {
            self.push(What::Turned(false), 0, parts);
        }
    }

    /// The first of `length` bytes, as far as they are those of this frame.
    fn content(&mut self, length: u64, left: u64, parts: &mut Vec<Part>) -> usize {
        let used = left.min(length);
        self.push(What::Body, used, parts);
        self.state = State::Content(left - used);
        if left == used {
            self.frame_end(parts);
        }
        used as usize
    }

    fn frame_end(&mut self, parts: &mut Vec<Part>) {
        let mut next = State::Between;
        for what in std::mem::take(&mut self.after) {
            match what {
                What::Lost => next = State::Lost,
                What::Tunnel => next = State::Tunnel,
                What::Turned(false) => self.turn_back(parts),
                marker => self.push(marker, 0, parts),
            }
        }
        self.turn_back(parts);
        self.state = next;
    }

    /// Bytes of a frame's head. Returns how many are its own.
    fn head(&mut self, bytes: &[u8], codec: &mut impl Codec, parts: &mut Vec<Part>) -> usize {
        let before = self.head.len();
        let mut used = 0;
        loop {
            let wanted = match self.state {
                State::Head(Some((_, head))) => head,
                _ => match codec.measure(self.direction, &self.head) {
                    Measure::None => {
                        // Bytes of this frame in earlier calls were told of.
                        self.lose(bytes.len() as u64, codec, parts);
                        return bytes.len();
                    }
                    Measure::Frame { total, head } => {
                        let total = total.max(1);
                        let head = (total.min(head as u64) as usize).min(MAX_HEAD);
                        self.state = State::Head(Some((total, head)));
                        continue;
                    }
                    Measure::Tunnel => {
                        self.state = State::Tunnel;
                        return 0;
                    }
                    Measure::Need(wanted) => wanted.max(self.head.len() + 1),
                },
            };
            if self.head.len() >= wanted {
                break;
            }
            if self.head.len() >= MAX_HEAD {
                self.lose(bytes.len() as u64, codec, parts);
                return bytes.len();
            }
            let more = (wanted - self.head.len()).min(bytes.len() - used);
            if more == 0 {
                return self.head_goes_on(before, codec, parts);
            }
            self.head.extend_from_slice(&bytes[used..used + more]);
            used += more;
        }
        let State::Head(Some((total, head))) = self.state else { return used };
        // A frame whose length was told late may have a shorter head than what was read of it to know that.
        let own = head.min(self.head.len()).max(before);
        used -= self.head.len() - own;
        self.head.truncate(own);
        self.tell_head(before, head <= own, total, codec, parts);
        used
    }

    /// The head goes on in another call, or the rest of it is not known.
    fn head_goes_on(&mut self, before: usize, codec: &mut impl Codec, parts: &mut Vec<Part>) -> usize {
        let used = self.head.len() - before;
        if let (true, State::Head(Some((total, _)))) = (self.hole_follows, self.state) {
            self.tell_head(before, false, total, codec, parts);
            return used;
        }
        if before == 0 {
            self.push(What::MayBegin, 0, parts);
        }
        let runs = self.runs(codec);
        self.runs_here(&runs, before..self.head.len(), parts);
        self.runs = runs;
        used
    }

    /// What of the head may be kept. To be put back.
    fn runs(&mut self, codec: &impl Codec) -> Runs {
        let mut runs = std::mem::take(&mut self.runs);
        runs.clear();
        codec.keep(self.direction, &self.head, &mut runs);
        runs
    }

    /// Tells of these bytes of the head, which are those of this call.
    fn runs_here(&mut self, runs: &Runs, of_call: Range<usize>, parts: &mut Vec<Part>) {
        let offset = &mut self.offset;
        runs.within(of_call, |_, run, what| push(offset, what, run.len() as u64, parts));
    }

    /// The head is there: what it means, and what of it may be kept.
    fn tell_head(
        &mut self,
        before: usize,
        whole: bool,
        total: u64,
        codec: &mut impl Codec,
        parts: &mut Vec<Part>,
    ) {
        let mut runs = self.runs(codec);
        let mut say = Say::default();
        let frame = Frame { direction: self.direction, head: &self.head, whole, total };
        codec.frame(&frame, &mut say);
        runs = say.keeps.take().unwrap_or(runs);
        if before > 0 {
            self.reveal(&runs, before, parts);
        }
        let mut markers = std::mem::take(&mut say.before).into_iter().peekable();
        while let Some(what) = markers.next() {
            self.turned |= what == What::Turned(true);
            // An answer that is in this frame too has no bytes of its own.
            let too =
                matches!(markers.peek(), Some(What::HeadEnd(_))) && self.direction == Direction::Responses;
            let from_begin =
                matches!(what, What::Begin | What::Resume(_) | What::End { exact: false }) && !too;
            let offset = if from_begin { self.began } else { self.offset };
            parts.push(Part { offset, length: 0, what });
        }
        let all = self.head.len();
        let end = if runs.is_enough { runs.at().clamp(before, all) } else { all };
        self.runs_here(&runs, before..end, parts);
        self.runs = runs;
        for what in say.behind_head {
            self.push(what, 0, parts);
        }
        self.push(What::Body, (all - end) as u64, parts);
        self.after = say.after;
        self.after.extend(say.lost.then_some(What::Lost));
        self.after.extend(say.tunnel.then_some(What::Tunnel));
        let left = total.saturating_sub(self.head.len() as u64);
        self.state = State::Content(left);
        if left == 0 {
            self.frame_end(parts);
        }
    }

    /// Tells what of the first `before` bytes of the head, as far as they came in earlier calls, may be kept after all.
    fn reveal(&mut self, runs: &Runs, before: usize, parts: &mut Vec<Part>) {
        let began = self.began;
        // Those of this call were told of, and no more is known of them now.
        let before = before.min(self.call.saturating_sub(began) as usize);
        runs.within(0..before, |at, run, what| {
            let earlier = match what {
                What::Head => What::Earlier(None),
                What::Instead(bytes) => What::Earlier(Some(bytes)),
                _ => return,
            };
            parts.push(Part { offset: began + at as u64, length: run.len() as u64, what: earlier });
        });
    }
}

#[cfg(test)]
mod tests;
