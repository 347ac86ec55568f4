//! A message head: which of its bytes may be kept, and what it says about its body.
//!
//! Reads a line at once where all of it is there, else byte by byte: a head may be split over calls at any byte, and
//! what was kept of the first call is on its way to the disk when the second comes. What a strict reader of RFC 9112 would not
//! call the value of a harmless field is blank: folded lines, what follows a CR that ends no line, a line behind one
//! that ends as the others do not, a second `Host`.

use super::familiar::lines::FamiliarLines;
use super::length::{Extent, Lengths, decimal};
use super::lines::{HeaderLine, header_line};
use super::method::Method;
use super::names::{Field, MAX_NAME_BYTES, header, is_token, may_become_harmless};
use super::target::Target;
use super::upgrade::Upgrade;
use crate::operation::Status;
use crate::parts::{Direction, HeadInfo};

/// Heads longer than this are not heads.
const MAX_HEAD_BYTES: u32 = 256 * 1024;

/// Where in the head the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Method,
    Target(Target),
    RequestVersion(u8),
    ResponseVersion(u8),
    Status(u8),
    Reason,
    /// After a CR in the reason.
    ReasonEnd,
    /// At the first byte of a line after the start line.
    LineStart,
    Name,
    /// Between the colon and the value.
    ValueStart(Value),
    Value(Value),
    /// After a CR in the value.
    ValueEnd(Value),
    /// After the CR of the empty line.
    LastLineEnd,
}

/// What the name of a header says of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Value {
    keep: bool,
    field: Field,
}

impl Value {
    const BLANK: Value = Value { keep: false, field: Field::Other };
}

/// What the next bytes of a head mean: some that may be kept, some that must be blanked, and again some that may be
/// kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) kept: usize,
    pub(super) blank: usize,
    pub(super) kept_after: usize,
    pub(super) then: Then,
}

/// What comes after a [`Read`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// More of the head.
    More,
    /// The head is complete.
    End,
    /// This is no HTTP/1 head; nothing was read.
    Invalid,
}

impl Read {
    pub(super) const INVALID: Read = Read { kept: 0, blank: 0, kept_after: 0, then: Then::Invalid };
    const END: Read = Read { kept: 1, blank: 0, kept_after: 0, then: Then::End };

    pub(super) const fn keep(kept: usize) -> Read {
        Read { kept, blank: 0, kept_after: 0, then: Then::More }
    }

    pub(super) const fn run(length: usize, keep: bool) -> Read {
        if keep { Read::keep(length) } else { Read { blank: length, ..Read::keep(0) } }
    }

    pub(super) fn length(&self) -> usize {
        self.kept + self.blank + self.kept_after
    }
}

/// A head being read.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) place: Place,
    /// Its start line goes on in another call, and may turn out to be none.
    pub(super) tentative: bool,
    /// Only what framing needs may be kept.
    pub(super) spare: bool,
    /// The start line ends with CR LF.
    pub(super) crlf: bool,
    /// The header line before ends with LF alone.
    lf: bool,
    has_host: bool,
    bytes: u32,
    /// Method or header name, as far as it was read byte by byte.
    pub(super) word: [u8; MAX_NAME_BYTES],
    pub(super) word_bytes: usize,
    /// Of the header read last.
    value: Option<Value>,
    lengths: Lengths,
    upgrade: Upgrade,
    pub(super) status: u16,
    pub(super) minor: u8,
    expects_continue: bool,
    pub(super) method: Method,
    pub(super) bodyless_method: bool,
}

impl Head {
    pub(super) fn new(direction: Direction) -> Head {
        let place = match direction {
            Direction::Requests => Place::Method,
            Direction::Responses => Place::ResponseVersion(0),
        };
        Head {
            place,
            tentative: false,
            spare: false,
            crlf: false,
            lf: false,
            has_host: false,
            bytes: 0,
            word: [0; MAX_NAME_BYTES],
            word_bytes: 0,
            value: None,
            lengths: Lengths::default(),
            upgrade: Upgrade::default(),
            status: 0,
            minor: 1,
            expects_continue: false,
            method: Method::Other,
            bodyless_method: false,
        }
    }

    pub(super) fn expects_continue(&self) -> bool {
        self.expects_continue
    }

    /// So far, a request that has no body.
    pub(super) fn seems_bodyless(&self) -> bool {
        self.bodyless_method && self.lengths.extent(self.minor) == Extent::Unsaid
    }

    /// From here on, only what framing needs may be kept.
    pub(super) fn spare(&mut self, spare: bool) {
        self.spare = spare;
        if let (true, Place::ValueStart(value) | Place::Value(value) | Place::ValueEnd(value)) =
            (spare, &mut self.place)
        {
            value.keep &= value.field.frames();
        }
    }

    /// What the finished head says. `answers`: the method of the request that a response answers.
    pub(super) fn info(&self, answers: Method) -> HeadInfo {
        let is_response = self.status != 0;
        let bodyless = is_response
            && (matches!(self.status, 100..=199 | 204 | 304)
                || answers == Method::Head
                || (answers == Method::Connect && self.status / 100 == 2));
        let status = Status { code: is_response.then_some(self.status), ..Status::default() };
        let mut info = HeadInfo { status, ..HeadInfo::default() };
        if bodyless {
            if self.status == 101 {
                info.goes_on = self.upgrade.goes_on();
                info.leads_to = self.upgrade.leads_to();
            }
            return info;
        }
        match self.lengths.extent(self.minor) {
            Extent::Length(length) => info.content_length = Some(length),
            Extent::Chunked => info.chunked = true,
            Extent::Unsaid | Extent::Coded if is_response => info.until_close = true,
            Extent::Unsaid => {}
            Extent::Coded | Extent::Unclear => info.unclear = true,
        }
        info
    }

    /// Reads at least one byte of `bytes`, which is not empty, if they go on with a head.
    pub(super) fn read(&mut self, bytes: &[u8], familiar: Option<&mut FamiliarLines>) -> Read {
        let read = self.read_run(bytes, familiar).unwrap_or_else(|| self.step(bytes));
        self.bytes = self.bytes.saturating_add(read.length() as u32);
        if self.bytes > MAX_HEAD_BYTES { Read::INVALID } else { read }
    }

    /// Several bytes at once, where they can be told together. Much of what is read is values and paths, for which this
    /// is an order of magnitude faster than [`Head::step`].
    fn read_run(&mut self, bytes: &[u8], familiar: Option<&mut FamiliarLines>) -> Option<Read> {
        match self.place {
            Place::LineStart => self.header_lines(bytes, familiar),
            Place::Method => self.request_line(bytes),
            Place::RequestVersion(0) => self.whole_request_version(bytes),
            Place::ResponseVersion(0) => self.status_line(bytes),
            Place::Value(value) => self.value_run(value, bytes),
            _ => None,
        }
    }

    /// Bytes of a value that says nothing of the body.
    fn value_run(&mut self, mut value: Value, bytes: &[u8]) -> Option<Read> {
        let length = match value.field {
            Field::ContentLength | Field::TransferEncoding | Field::Upgrade => return None,
            Field::Host if value.keep => {
                let length = run_while(bytes, is_host);
                // What follows may be such that this was no host.
                value.keep = length > 0 && matches!(bytes.get(length), Some(b'\r' | b'\n'));
                if value.keep { length } else { run_while(bytes, is_text) }
            }
            _ => run_while(bytes, is_text),
        };
        // A CR that ends no line: some take it for a line end, others for a space.
        value.keep &= !matches!(bytes[length..], [b'\r', other, ..] if other != b'\n');
        self.place = Place::Value(value);
        (length > 0).then_some(Read::run(length, value.keep))
    }

    /// Headers with their line ends, up to the first that must be blanked or the end of the head.
    fn header_lines(&mut self, bytes: &[u8], mut familiar: Option<&mut FamiliarLines>) -> Option<Read> {
        if self.spare {
            return None;
        }
        if let (None, Some(familiar)) = (self.value, &mut familiar) {
            familiar.begin();
        }
        let mut done = 0;
        loop {
            let rest = &bytes[done..];
            if self.crlf && self.lf {
                return (done > 0).then_some(Read::keep(done));
            }
            if let Some(line) = familiar.as_mut().and_then(|familiar| familiar.find(rest))
                && (line.field != Field::Host || !self.has_host)
            {
                self.value = Some(Value { keep: true, field: line.field });
                done += line.length();
                if line.matters {
                    if let Some(length) = line.content_length {
                        self.lengths.number(length);
                    }
                    self.has_host |= line.field == Field::Host;
                    self.lf = line.lf;
                }
                continue;
            }
            if rest.starts_with(b"\r\n") {
                return Some(Read { kept: done + 2, ..Read::END });
            }
            let Some((line, value, content_length)) = header_line(rest)
                .and_then(|line| self.value(rest, line).map(|(value, length)| (line, value, length)))
            else {
                return (done > 0).then_some(Read::keep(done));
            };
            self.value = Some(value);
            self.lf = line.end - line.value_end == 1;
            if !value.keep {
                let (blank, kept_after) = (line.value_end - line.value, line.end - line.value_end);
                return Some(Read { kept: done + line.value, blank, kept_after, then: Then::More });
            }
            if let Some(familiar) = &mut familiar
                && value.field != Field::Upgrade
            {
                familiar.learn(&rest[..line.end], value.field, content_length, self.lf);
            }
            done += line.end;
        }
    }

    /// What the name of a whole header says of its value, and the number that this is, where it is one. None where it
    /// must be read byte by byte.
    fn value(&mut self, bytes: &[u8], line: HeaderLine) -> Option<(Value, Option<u64>)> {
        let (mut keep, field) = header(bytes, line.name);
        let text = &bytes[line.value..line.value_end];
        let mut number = None;
        match field {
            // A name that is known is a token.
            Field::Other | Field::Connection if keep => {}
            Field::Other if line.name > 0 && bytes[..line.name].iter().all(|&b| is_token(b)) => {}
            Field::Host => {
                keep = !self.has_host && text.trim_ascii_end().iter().all(|&b| is_host(b));
                self.has_host = true;
            }
            Field::ContentLength => {
                let length = decimal(text)?;
                self.lengths.number(length);
                number = Some(length);
            }
            Field::Upgrade => return None,
            Field::Other | Field::Connection | Field::TransferEncoding | Field::Expect => return None,
        }
        Some((Value { keep, field }, number))
    }

    /// Reads a byte, or what of a target or name must be told together.
    fn step(&mut self, bytes: &[u8]) -> Read {
        let byte = bytes[0];
        if byte == 0 {
            return Read::INVALID;
        }
        match self.place {
            Place::Method => self.step_method(bytes),
            Place::Target(target) => self.step_target(target, bytes),
            Place::RequestVersion(n) => self.step_request_version(n, byte),
            Place::ResponseVersion(n) => self.step_response_version(n, byte),
            Place::Status(n) => self.step_status(n, byte),
            Place::Reason | Place::ReasonEnd => self.step_reason(bytes),
            Place::LineStart => self.line_start(bytes),
            Place::Name => self.name(bytes),
            Place::ValueStart(_) if is_space(byte) => Read::keep(1),
            Place::ValueStart(value) if !matches!(byte, b'\r' | b'\n') => {
                self.value_run(value, bytes).unwrap_or_else(|| self.step_value(value, byte))
            }
            Place::ValueStart(value) | Place::Value(value) | Place::ValueEnd(value) => {
                self.step_value(value, byte)
            }
            Place::LastLineEnd if byte == b'\n' => Read::END,
            Place::LastLineEnd => Read::INVALID,
        }
    }

    pub(super) fn go(&mut self, place: Place) -> Read {
        self.place = place;
        Read::keep(1)
    }

    fn line_start(&mut self, bytes: &[u8]) -> Read {
        match bytes[0] {
            b'\r' => self.go(Place::LastLineEnd),
            b'\n' => Read::END,
            b' ' | b'\t' => self.fold(),
            _ => {
                self.word_bytes = 0;
                self.place = Place::Name;
                self.name(bytes)
            }
        }
    }

    /// A folded line: for some it goes on with the value before (RFC 9112 section 5.2), for others it is a field of its own
    /// or nothing.
    fn fold(&mut self) -> Read {
        if self.value.is_some_and(|v| matches!(v.field, Field::ContentLength | Field::TransferEncoding)) {
            self.lengths.doubt();
        }
        self.value = Some(Value::BLANK);
        self.go(Place::Value(Value::BLANK))
    }

    /// A name is kept once its colon is there: a line without one is no header, and may be anything. Of one whose end
    /// comes in another call that is kept which begins a harmless name, so that it is known there.
    fn name(&mut self, bytes: &[u8]) -> Read {
        let length = run_while(bytes, is_token);
        match bytes.get(length) {
            Some(b':') => {
                self.add_to_word(&bytes[..length]);
                let value = self.begin_value();
                self.place = Place::ValueStart(value);
                if self.spare && !value.field.frames() {
                    return Read { kept: 0, blank: length, kept_after: 1, then: Then::More };
                }
                Read::keep(length + 1)
            }
            Some(_) => Read::INVALID,
            None => {
                self.add_to_word(&bytes[..length]);
                let word = self.word.get(..self.word_bytes);
                Read::run(length, word.is_some_and(|word| may_become_harmless(word, self.spare)))
            }
        }
    }

    pub(super) fn add_to_word(&mut self, bytes: &[u8]) {
        let room = self.word.get_mut(self.word_bytes..).unwrap_or_default();
        for (place, byte) in room.iter_mut().zip(bytes) {
            *place = *byte;
        }
        self.word_bytes += bytes.len();
    }

    /// The name of a header is in `word`.
    fn begin_value(&mut self) -> Value {
        let (keep, field) = header(&self.word, self.word_bytes);
        let mut value = Value { keep: keep && (!self.spare || field.frames()), field };
        // Who takes only CR LF for a line end reads this as part of the value before.
        let doubtful = self.crlf && self.lf;
        value.keep &= !doubtful;
        match field {
            Field::ContentLength if doubtful => self.lengths.doubt(),
            Field::TransferEncoding if doubtful => self.lengths.doubt(),
            Field::TransferEncoding => self.lengths.begin_coding(),
            Field::Expect => self.expects_continue = true,
            Field::Host => {
                value.keep &= !self.has_host;
                self.has_host = true;
            }
            Field::ContentLength | Field::Connection | Field::Upgrade | Field::Other => {}
        }
        self.value = Some(value);
        value
    }

    fn step_value(&mut self, value: Value, byte: u8) -> Read {
        match byte {
            b'\n' => {
                self.lf = !matches!(self.place, Place::ValueEnd(_));
                match value.field {
                    Field::ContentLength => self.lengths.end_of_length(),
                    Field::TransferEncoding => self.lengths.end_of_coding(),
                    Field::Upgrade => self.upgrade.end(),
                    _ => {}
                }
                return self.go(Place::LineStart);
            }
            b'\r' if !matches!(self.place, Place::ValueEnd(_)) => return self.go(Place::ValueEnd(value)),
            _ if matches!(self.place, Place::ValueEnd(_)) => {
                if matches!(value.field, Field::ContentLength | Field::TransferEncoding) {
                    self.lengths.doubt();
                }
                self.place = Place::Value(Value::BLANK);
                return Read::run(1, byte == b'\r');
            }
            _ => {}
        }
        self.place = Place::Value(value);
        match value.field {
            Field::ContentLength => self.lengths.length_byte(byte),
            Field::TransferEncoding => self.lengths.coding_byte(byte),
            Field::Upgrade => self.upgrade.byte(byte),
            _ => {}
        }
        Read::run(1, value.keep)
    }
}

/// Neither ends a line nor is a NUL, which no head has.
pub(super) fn is_text(byte: u8) -> bool {
    !matches!(byte, b'\r' | b'\n' | 0)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// May stand in a host with its port, also where it is an address in brackets or percent-encoded.
pub(crate) fn is_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'[' | b']' | b'%' | b'*')
}

pub(super) fn run_while(bytes: &[u8], belongs: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|&b| !belongs(b)).unwrap_or(bytes.len())
}
