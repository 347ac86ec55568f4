//! Answers, and the messages that answer nothing: values, of which errors begin with a word that may be kept.

use super::errors;
use super::pushes::{self, Push};
use super::side::{Answer, Shared, Side, State};
use super::value::{Piece, Reader};
use crate::operation::Status;
use crate::parts::{HeadInfo, Part, What, push};
use crate::queue::When;

/// What an error is called that begins with no word that everybody knows.
const OTHER_ERROR: &str = "_OTHER";

/// One direction.
#[derive(Debug)]
pub(super) struct Answers {
    offset: u64,
    state: State,
    reader: Reader,
    value: Option<Value>,
}

/// A value that is being read and belongs to no other.
#[derive(Debug)]
struct Value {
    kind: u8,
    begin: u64,
    when: When,
    progress: Progress,
    /// The protocol of replicas follows.
    switches: bool,
}

#[derive(Debug)]
enum Progress {
    /// What it is, its first byte or element tells. That word is of this length and so far this.
    Undecided { length: u64, word: Vec<u8> },
    /// An answer whose first word tells the error.
    Error { answers: Option<u64>, word: Vec<u8>, known: bool },
    /// An answer behind its head.
    Answer,
    /// It answers nothing.
    Push,
}

impl Answers {
    pub(super) fn new(offset: u64) -> Answers {
        Answers { offset, state: State::Known, reader: Reader::default(), value: None }
    }

    /// An answer is under way.
    pub(super) fn is_within(&self) -> bool {
        self.state == State::Known && self.value.as_ref().is_some_and(|value| !value.is_push())
    }

    fn push(&mut self, what: What, length: usize, parts: &mut Vec<Part>) {
        push(&mut self.offset, what, length as u64, parts);
    }

    /// Framing of a head where there is none that has ended.
    fn framing(&self) -> What {
        match &self.value {
            Some(Value { progress: Progress::Undecided { .. } | Progress::Error { .. }, .. }) => What::Head,
            _ => What::Framing,
        }
    }

    /// A value begins with this type.
    fn begin(&mut self, kind: u8, when: When, shared: &mut Shared, parts: &mut Vec<Part>) {
        self.push(What::MayBegin, 0, parts);
        let progress = Progress::Undecided { length: 0, word: Vec::new() };
        self.value = Some(Value { kind, begin: self.offset, when, progress, switches: false });
        self.push(What::Head, 1, parts);
        let told_later = matches!(kind, b'*' | b'>') || (kind == b'+' && shared.monitoring);
        if !told_later {
            self.answer(shared, parts);
        }
    }

    /// It is an answer.
    fn answer(&mut self, shared: &mut Shared, parts: &mut Vec<Part>) {
        let Some(value) = &mut self.value else { return };
        parts.push(Part { offset: value.begin, length: 0, what: What::Begin });
        let (asked, answers) = shared.queue.response(value.when);
        match asked {
            Answer::Confirmations(command, count)
                if matches!(value.kind, b'*' | b'>') && count != Some(1) =>
            {
                shared.confirmations = Some((command, count.map(|count| count - 1)));
            }
            Answer::Monitor => shared.monitoring = value.kind == b'+',
            Answer::InSubscription => shared.monitoring = false,
            Answer::Replication => value.switches = matches!(value.kind, b'+' | b'$'),
            _ => {}
        }
        if matches!(value.kind, b'-' | b'!') {
            value.progress = Progress::Error { answers, word: Vec::new(), known: true };
        } else {
            value.progress = Progress::Answer;
            self.push(What::HeadEnd(HeadInfo { answers, ..HeadInfo::default() }), 0, parts);
        }
    }

    /// What the value is, is known: `word` is what it begins with.
    fn decide(&mut self, word: Option<Push>, shared: &mut Shared, parts: &mut Vec<Part>) {
        let Some(value) = &mut self.value else { return };
        let told = value.kind == b'>';
        let is_push = word.map_or(told, |word| shared.is_push(word, told));
        if is_push {
            value.progress = Progress::Push;
        } else {
            self.answer(shared, parts);
        }
    }

    /// A piece of a value whose kind its first element tells; `depth`: of that piece.
    fn undecided(
        &mut self,
        piece: Piece,
        depth: usize,
        bytes: &[u8],
        shared: &mut Shared,
        parts: &mut Vec<Part>,
    ) {
        let Some(Value { kind, progress: Progress::Undecided { length, word }, .. }) = &mut self.value else {
            return;
        };
        let kind = *kind;
        match (piece, depth) {
            // Of those who watch, the first byte of what others ask is a digit (a time).
            (Piece::Text, 0) => {
                let is_asked = bytes[0].is_ascii_digit();
                self.push(if is_asked { What::Head } else { What::Secret }, 1, parts);
                self.push(What::Secret, bytes.len() - 1, parts);
                self.decided(is_asked, shared, parts);
            }
            (Piece::Bulk, _) => {
                word.extend_from_slice(bytes);
                let known = pushes::may_become_push(word, *length);
                self.push(if known { What::Head } else { What::Secret }, bytes.len(), parts);
                if !known {
                    self.decide(None, shared, parts);
                }
            }
            (Piece::Length(_, elements), 0) => {
                self.push(What::Head, bytes.len(), parts);
                // A push has two elements at least, those of RESP2 at most four.
                let may_push = elements.is_some_and(|n| n >= 2 && (kind == b'>' || n <= 4));
                if !may_push {
                    self.decide(None, shared, parts);
                }
            }
            (Piece::Length(_, bytes_to_come), _) => {
                let to_come = bytes_to_come.unwrap_or(0);
                *length = to_come;
                let may_push = pushes::may_become_push(b"", to_come);
                self.push(What::Head, bytes.len(), parts);
                if !may_push {
                    self.decide(None, shared, parts);
                }
            }
            (Piece::Kind(b'$') | Piece::Framing, _) => self.push(What::Head, bytes.len(), parts),
            (Piece::End, 1) => {
                let word = pushes::push(word);
                self.push(What::Head, bytes.len(), parts);
                self.decide(word, shared, parts);
            }
            (Piece::End, _) => {
                self.push(What::Head, bytes.len(), parts);
                self.decided(false, shared, parts);
            }
            (_, _) => {
                self.push(What::Head, bytes.len(), parts);
                self.decide(None, shared, parts);
            }
        }
    }

    fn decided(&mut self, is_push: bool, shared: &mut Shared, parts: &mut Vec<Part>) {
        match &mut self.value {
            Some(value) if is_push => value.progress = Progress::Push,
            _ => self.answer(shared, parts),
        }
    }

    /// Text of an error: its first word is kept where it is known.
    fn error(&mut self, bytes: &[u8], parts: &mut Vec<Part>) {
        let Some(Value { progress: Progress::Error { word, known, .. }, .. }) = &mut self.value else {
            return;
        };
        let end = bytes.iter().position(|&byte| byte == b' ');
        let part = &bytes[..end.unwrap_or(bytes.len())];
        if *known {
            word.extend_from_slice(part);
            *known = match end {
                Some(_) => errors::error(word).is_some(),
                None => errors::may_become_error(word),
            };
        }
        let what = if *known { What::Head } else { What::Secret };
        self.push(what, part.len(), parts);
        if let Some(end) = end {
            self.push(What::Head, 1, parts);
            self.error_end(parts);
            self.push(What::Secret, bytes.len() - end - 1, parts);
        }
    }

    fn error_end(&mut self, parts: &mut Vec<Part>) {
        let Some(value) = &mut self.value else { return };
        let Progress::Error { answers, word, known } = &value.progress else { return };
        let text = errors::error(word).filter(|_| *known).unwrap_or(OTHER_ERROR);
        let status = Status { text: Some(text), ..Status::default() };
        let info = HeadInfo { status, answers: *answers, ..HeadInfo::default() };
        value.progress = Progress::Answer;
        self.push(What::HeadEnd(info), 0, parts);
    }

    fn end(&mut self, shared: &mut Shared, parts: &mut Vec<Part>) {
        self.error_end(parts);
        let Some(value) = self.value.take() else { return };
        if !value.is_push() {
            self.push(What::End { exact: true }, 0, parts);
        }
        shared.queue.tunnel |= value.switches;
    }

    fn not_understood(&mut self, bytes: &[u8], shared: &mut Shared, parts: &mut Vec<Part>) -> usize {
        self.state = State::Lost;
        self.lose(true, shared);
        self.all(What::Lost, bytes, parts)
    }
}

impl Value {
    fn is_push(&self) -> bool {
        matches!(self.progress, Progress::Push)
    }
}

impl Side for Answers {
    fn state(&mut self) -> &mut State {
        &mut self.state
    }

    fn offset(&mut self) -> &mut u64 {
        &mut self.offset
    }

    /// A client that waits for answers has had all before it asks again.
    fn resynchronise(&mut self, _bytes: &[u8], shared: &mut Shared) {
        if shared.asked_since_loss {
            self.state = State::Known;
            self.reader = Reader::default();
            self.value = None;
        }
    }

    fn is_between(&self) -> bool {
        self.reader.is_between() && self.value.is_none()
    }

    fn known(&mut self, bytes: &[u8], when: When, shared: &mut Shared, parts: &mut Vec<Part>) -> usize {
        // A server that makes a copy for a replica sends line ends, so that the connection lasts.
        if self.is_between() && bytes[0] == b'\n' {
            return self.all(What::Framing, &bytes[..1], parts);
        }
        let depth = self.reader.depth();
        let step = self.reader.step(bytes);
        let used = &bytes[..step.used];
        match (step.piece, &self.value) {
            (Piece::Invalid, _) => return self.not_understood(bytes, shared, parts),
            // What an attribute says belongs to the value behind it.
            (Piece::Kind(b'|'), None) => self.push(What::Framing, 1, parts),
            (Piece::Kind(kind), None) if depth == 0 => self.begin(kind, when, shared, parts),
            (piece, Some(Value { progress: Progress::Undecided { .. }, .. })) => {
                self.undecided(piece, depth, used, shared, parts);
            }
            (Piece::Text, Some(Value { progress: Progress::Error { .. }, .. })) => self.error(used, parts),
            (Piece::Bulk, Some(Value { progress: Progress::Error { .. }, .. })) => self.error(used, parts),
            (Piece::Text, _) => self.push(What::Secret, step.used, parts),
            (Piece::Bulk, _) => self.push(What::Body, step.used, parts),
            (Piece::Kind(_) | Piece::Framing | Piece::End | Piece::Length(..), _) => {
                let framing = self.framing();
                self.push(framing, step.used, parts);
            }
        }
        // The copy that a replica gets has no line end behind it.
        let is_copy =
            matches!(step.piece, Piece::Length(b'$', _)) && self.value.as_ref().is_some_and(|v| v.switches);
        if step.complete || is_copy {
            self.end(shared, parts);
        }
        step.used
    }

    fn counted(&mut self, length: u64, parts: &mut Vec<Part>) -> u64 {
        // Of a head every byte must be known.
        if self.framing() == What::Head {
            return 0;
        }
        let used = self.reader.counted(length);
        push(&mut self.offset, What::Body, used, parts);
        used
    }

    fn lose(&mut self, seen: bool, shared: &mut Shared) {
        self.value = None;
        shared.asked_since_loss = false;
        shared.confirmations = None;
        shared.queue.unknown_responses(seen);
    }
}
