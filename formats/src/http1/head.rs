//! A message head: which of its bytes may be kept, and what it says about its body.
//!
//! Reads a line at once where all of it is there, else byte by byte: a head may be split over calls at any byte, and
//! what was kept of the first call is on its way to the disk when the second comes.

use memchr::memchr;

use super::familiar::FamiliarLines;
use super::lines::{HeaderLine, header_line, line_end};
use super::names::{
    Field, MAX_NAME_BYTES, header, is_known_method, is_token, may_become_harmless, may_become_method,
    may_become_request,
};
use super::target::Target;
use super::{Direction, HeadInfo, Method};

/// Heads longer than this are not heads.
const MAX_HEAD_BYTES: u32 = 256 * 1024;
/// Longest method.
const MAX_METHOD_BYTES: usize = 20;

/// Where in the head the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Method,
    Target(Target),
    RequestVersion(u8),
    ResponseVersion(u8),
    Status(u8),
    Reason,
    /// At the first byte of a line after the start line.
    LineStart,
    Name,
    /// Between the colon and the value.
    ValueStart(Value),
    Value(Value),
    /// After the CR of the empty line.
    LastLineEnd,
}

/// What the name of a header says of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Value {
    keep: bool,
    field: Field,
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
    const INVALID: Read = Read { kept: 0, blank: 0, kept_after: 0, then: Then::Invalid };
    const BLANK: Read = Read { kept: 0, blank: 1, kept_after: 0, then: Then::More };
    const END: Read = Read { kept: 1, blank: 0, kept_after: 0, then: Then::End };

    const fn keep(kept: usize) -> Read {
        Read { kept, blank: 0, kept_after: 0, then: Then::More }
    }

    const fn run(length: usize, keep: bool) -> Read {
        if keep { Read::keep(length) } else { Read { blank: length, ..Read::keep(0) } }
    }

    pub(super) fn length(&self) -> usize {
        self.kept + self.blank + self.kept_after
    }
}

/// A head being read.
#[derive(Clone, Debug)]
pub(super) struct Head {
    place: Place,
    /// Its start line is split over calls: what was kept of it cannot be taken back.
    split: bool,
    bytes: u32,
    /// Method or header name, as far as it was read byte by byte.
    word: [u8; MAX_NAME_BYTES],
    word_bytes: usize,
    /// Of the header read last, which a folded line goes on with.
    value: Option<Value>,
    /// Last bytes of a `Transfer-Encoding` value, lower case.
    coding: [u8; 7],
    status: u16,
    content_length: Option<u64>,
    chunked: bool,
    expects_continue: bool,
    method: Method,
    bodyless_method: bool,
}

impl Head {
    pub(super) fn new(direction: Direction) -> Head {
        let place = match direction {
            Direction::Requests => Place::Method,
            Direction::Responses => Place::ResponseVersion(0),
        };
        Head {
            place,
            split: false,
            bytes: 0,
            word: [0; MAX_NAME_BYTES],
            word_bytes: 0,
            value: None,
            coding: [0; 7],
            status: 0,
            content_length: None,
            chunked: false,
            expects_continue: false,
            method: Method::Other,
            bodyless_method: false,
        }
    }

    /// The request's method, as far as responses need it.
    pub(super) fn method(&self) -> Method {
        self.method
    }

    /// GET and HEAD, whose requests have no body.
    pub(super) fn bodyless_method(&self) -> bool {
        self.bodyless_method
    }

    /// The start line is not whole yet.
    pub(super) fn in_start_line(&self) -> bool {
        !matches!(
            self.place,
            Place::LineStart | Place::Name | Place::ValueStart(_) | Place::Value(_) | Place::LastLineEnd
        )
    }

    pub(super) fn expects_continue(&self) -> bool {
        self.expects_continue
    }

    /// What the finished head says. `answers`: the method of the request that a response answers.
    pub(super) fn info(&self, answers: Method) -> HeadInfo {
        let is_response = self.status != 0;
        let bodyless = is_response
            && (matches!(self.status, 100..=199 | 204 | 304)
                || answers == Method::Head
                || (answers == Method::Connect && self.status / 100 == 2));
        let chunked = self.chunked && !bodyless;
        let content_length = if bodyless || chunked { None } else { self.content_length };
        HeadInfo {
            status: is_response.then_some(self.status),
            content_length,
            chunked,
            until_close: is_response && !bodyless && !chunked && content_length.is_none(),
        }
    }

    /// Reads at least one byte of `bytes`, which is not empty, if they go on with a head.
    pub(super) fn read(&mut self, bytes: &[u8], familiar: Option<&mut FamiliarLines>) -> Read {
        let read = self.read_run(bytes, familiar).unwrap_or_else(|| self.step(bytes));
        self.bytes = self.bytes.saturating_add(read.length() as u32);
        if self.bytes > MAX_HEAD_BYTES { Read::INVALID } else { read }
    }

    /// Reads the start line, telling `each` read; true where it is one, or, where its end is not among `bytes`, may
    /// become one.
    pub(super) fn read_start_line(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        mut each: impl FnMut(Read),
    ) -> bool {
        let mut rest = bytes;
        while !rest.is_empty() {
            let read = self.read(rest, None);
            if read.then == Then::Invalid {
                return false;
            }
            each(read);
            rest = &rest[read.length()..];
            if self.place == Place::LineStart {
                return true;
            }
        }
        self.split = true;
        direction == Direction::Responses || may_become_request(bytes)
    }

    /// Several bytes at once, where they can be told together. Much of what is read is values and paths, for which this
    /// is an order of magnitude faster than [`Head::step`].
    fn read_run(&mut self, bytes: &[u8], familiar: Option<&mut FamiliarLines>) -> Option<Read> {
        let (length, keep) = match self.place {
            Place::LineStart => return self.header_lines(bytes, familiar),
            Place::Method => return self.request_line(bytes),
            Place::RequestVersion(0) => return self.whole_request_version(bytes),
            Place::ResponseVersion(0) => return self.status_line(bytes),
            Place::Value(Value { keep, field: Field::Other }) => (run_while(bytes, is_text), keep),
            Place::Reason => (run_while(bytes, is_text), false),
            _ => (0, true),
        };
        (length > 0).then_some(Read::run(length, keep))
    }

    /// The method and, where it is a plain path, the target with all that follows in its line.
    fn request_line(&mut self, bytes: &[u8]) -> Option<Read> {
        let method = run_while(bytes, |b| b.is_ascii_uppercase());
        let whole = self.word_bytes == 0 && (3..=MAX_METHOD_BYTES).contains(&method);
        if !whole || bytes.get(method) != Some(&b' ') {
            return None;
        }
        self.add_to_word(&bytes[..method]);
        self.end_of_method();
        let target = &bytes[method + 1..];
        if target.first() != Some(&b'/') {
            return Some(Read::keep(method + 1));
        }
        let path = Target::Path.plain_run(target);
        self.place = Place::Target(Target::Path);
        let version = target[path..].strip_prefix(b" ").and_then(|rest| self.whole_request_version(rest));
        Some(Read::keep(method + 1 + path + version.map_or(0, |read| 1 + read.kept)))
    }

    fn whole_request_version(&mut self, bytes: &[u8]) -> Option<Read> {
        let [b'0'..=b'9', b'\r', b'\n', ..] = bytes.strip_prefix(b"HTTP/1.")? else { return None };
        self.place = Place::LineStart;
        Some(Read::keep(b"HTTP/1.1\r\n".len()))
    }

    fn status_line(&mut self, bytes: &[u8]) -> Option<Read> {
        let [b'0'..=b'9', b' ', status @ ..] = bytes.strip_prefix(b"HTTP/1.")? else { return None };
        let [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b' ', ..] = status else { return None };
        let reason = b"HTTP/1.1 200 ".len();
        let (reason_end, end) = line_end(bytes, reason)?;
        self.status = [a, b, c].into_iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
        self.place = Place::LineStart;
        // A reason is free text: an application may put anything there.
        Some(Read {
            kept: reason,
            blank: reason_end - reason,
            kept_after: end - reason_end,
            then: Then::More,
        })
    }

    /// Headers with their line ends, up to the first that must be blanked or the end of the head.
    fn header_lines(&mut self, bytes: &[u8], mut familiar: Option<&mut FamiliarLines>) -> Option<Read> {
        if let (None, Some(familiar)) = (self.value, &mut familiar) {
            familiar.begin();
        }
        let mut done = 0;
        loop {
            let rest = &bytes[done..];
            if let Some(line) = familiar.as_mut().and_then(|familiar| familiar.find(rest)) {
                self.value = Some(Value { keep: true, field: line.field });
                if line.field == Field::ContentLength {
                    self.content_length = line.content_length;
                }
                done += line.length();
                continue;
            }
            if rest.starts_with(b"\r\n") {
                return Some(Read { kept: done + 2, ..Read::END });
            }
            let Some((line, value)) =
                header_line(rest).and_then(|line| Some((line, self.value(rest, line)?)))
            else {
                return (done > 0).then_some(Read::keep(done));
            };
            self.value = Some(value);
            if !value.keep {
                let (blank, kept_after) = (line.value_end - line.value, line.end - line.value_end);
                return Some(Read { kept: done + line.value, blank, kept_after, then: Then::More });
            }
            if let Some(familiar) = &mut familiar {
                familiar.learn(&rest[..line.end], value.field, self.content_length);
            }
            done += line.end;
        }
    }

    /// What the name of a whole header says of its value. None where it must be read byte by byte.
    fn value(&mut self, bytes: &[u8], line: HeaderLine) -> Option<Value> {
        let (keep, field) = header(bytes, line.name);
        match field {
            // A name that is known is a token.
            Field::Other if keep => {}
            Field::Other if line.name > 0 && bytes[..line.name].iter().all(|&b| is_token(b)) => {}
            Field::ContentLength => self.content_length = Some(decimal(&bytes[line.value..line.value_end])?),
            Field::Other | Field::TransferEncoding | Field::Expect => return None,
        }
        Some(Value { keep, field })
    }

    /// Reads a byte, or what of a target or name must be told together.
    fn step(&mut self, bytes: &[u8]) -> Read {
        let byte = bytes[0];
        if byte == 0 {
            return Read::INVALID;
        }
        match self.place {
            Place::Method => self.step_method(byte),
            Place::Target(target) => self.target(target, bytes),
            Place::RequestVersion(n) => self.step_request_version(n, byte),
            Place::ResponseVersion(n) => self.step_response_version(n, byte),
            Place::Status(n) => self.step_status(n, byte),
            Place::Reason => self.step_reason(byte),
            Place::LineStart => self.line_start(bytes),
            Place::Name => self.name(bytes),
            Place::ValueStart(_) if is_space(byte) => Read::keep(1),
            Place::ValueStart(value) | Place::Value(value) => self.step_value(value, byte),
            Place::LastLineEnd if byte == b'\n' => Read::END,
            Place::LastLineEnd => Read::INVALID,
        }
    }

    fn go(&mut self, place: Place) -> Read {
        self.place = place;
        Read::keep(1)
    }

    fn step_method(&mut self, byte: u8) -> Read {
        if byte == b' ' && self.word_bytes >= 3 {
            if self.split && !is_known_method(&self.word[..self.word_bytes]) {
                return Read::INVALID;
            }
            self.end_of_method();
            return Read::keep(1);
        }
        if !byte.is_ascii_uppercase() || self.word_bytes >= MAX_METHOD_BYTES {
            return Read::INVALID;
        }
        self.add_to_word(&[byte]);
        if self.split && !may_become_method(&self.word[..self.word_bytes]) {
            return Read::INVALID;
        }
        Read::keep(1)
    }

    fn end_of_method(&mut self) {
        let method = &self.word[..self.word_bytes];
        self.bodyless_method = method == b"GET" || method == b"HEAD";
        self.method = match method {
            b"HEAD" => Method::Head,
            b"CONNECT" => Method::Connect,
            _ => Method::Other,
        };
        self.place = Place::Target(Target::Start);
    }

    fn target(&mut self, target: Target, bytes: &[u8]) -> Read {
        if target == Target::Start {
            return match Target::begin(bytes, self.method == Method::Connect) {
                Some((_, Target::Authority)) if self.split => Read::INVALID,
                Some((length, next)) => {
                    self.place = Place::Target(next);
                    Read::keep(length)
                }
                None => Read::INVALID,
            };
        }
        if bytes[0] == b' ' {
            return self.go(Place::RequestVersion(0));
        }
        // No line end may stand here: that would be HTTP/0.9.
        let Some(run) = target.run(bytes) else { return Read::INVALID };
        self.place = Place::Target(run.next);
        Read { kept_after: run.delimiter.into(), ..Read::run(run.length, run.keep) }
    }

    fn step_request_version(&mut self, n: u8, byte: u8) -> Read {
        match (n, byte) {
            (0..7, _) if byte == b"HTTP/1."[n as usize] => self.go(Place::RequestVersion(n + 1)),
            (7, b'0'..=b'9') => self.go(Place::RequestVersion(8)),
            (8, b'\r') => self.go(Place::RequestVersion(9)),
            (8 | 9, b'\n') => self.go(Place::LineStart),
            _ => Read::INVALID,
        }
    }

    fn step_response_version(&mut self, n: u8, byte: u8) -> Read {
        match (n, byte) {
            (0..7, _) if byte == b"HTTP/1."[n as usize] => self.go(Place::ResponseVersion(n + 1)),
            (7, b'0'..=b'9') => self.go(Place::ResponseVersion(8)),
            (8, b' ') => self.go(Place::Status(0)),
            _ => Read::INVALID,
        }
    }

    fn step_status(&mut self, n: u8, byte: u8) -> Read {
        match (n, byte) {
            (0, b'1'..=b'9') | (1 | 2, b'0'..=b'9') => {
                self.status = self.status * 10 + u16::from(byte - b'0');
                self.go(Place::Status(n + 1))
            }
            (3, b' ' | b'\r') => self.go(Place::Reason),
            (3, b'\n') => self.go(Place::LineStart),
            _ => Read::INVALID,
        }
    }

    fn step_reason(&mut self, byte: u8) -> Read {
        match byte {
            b'\n' => self.go(Place::LineStart),
            b'\r' => Read::keep(1),
            _ => Read::BLANK,
        }
    }

    fn line_start(&mut self, bytes: &[u8]) -> Read {
        match (bytes[0], self.value) {
            (b'\r', _) => self.go(Place::LastLineEnd),
            (b'\n', _) => Read::END,
            // A folded line goes on with the value before (RFC 9112 section 5.2).
            (b' ' | b'\t', Some(value)) => self.go(Place::Value(value)),
            _ => {
                self.word_bytes = 0;
                self.place = Place::Name;
                self.name(bytes)
            }
        }
    }

    /// A name is kept once its colon is there: a line without one is no header, and may be anything. Of one whose end
    /// comes in another call that is kept which begins a harmless name, so that it is known there.
    fn name(&mut self, bytes: &[u8]) -> Read {
        let length = run_while(bytes, is_token);
        match bytes.get(length) {
            Some(b':') => {
                self.add_to_word(&bytes[..length]);
                let (keep, field) = header(&self.word, self.word_bytes);
                let value = Value { keep, field };
                self.begin_value(value);
                self.place = Place::ValueStart(value);
                Read::keep(length + 1)
            }
            Some(_) => Read::INVALID,
            None => {
                self.add_to_word(&bytes[..length]);
                let word = self.word.get(..self.word_bytes);
                Read::run(length, word.is_some_and(may_become_harmless))
            }
        }
    }

    fn add_to_word(&mut self, bytes: &[u8]) {
        let room = self.word.get_mut(self.word_bytes..).unwrap_or_default();
        for (place, byte) in room.iter_mut().zip(bytes) {
            *place = *byte;
        }
        self.word_bytes += bytes.len();
    }

    fn begin_value(&mut self, value: Value) {
        self.value = Some(value);
        match value.field {
            Field::ContentLength => self.content_length = None,
            Field::TransferEncoding => self.coding = [0; 7],
            Field::Expect => self.expects_continue = true,
            Field::Other => {}
        }
    }

    fn step_value(&mut self, value: Value, byte: u8) -> Read {
        self.place = Place::Value(value);
        match (byte, value.field) {
            (b'\n', field) => {
                if field == Field::TransferEncoding {
                    self.chunked = &self.coding == b"chunked";
                }
                return self.go(Place::LineStart);
            }
            (b'\r', _) => return Read::keep(1),
            (b' ' | b'\t', _) => {}
            (_, Field::ContentLength) => {
                self.content_length = add_digit(self.content_length.unwrap_or(0), byte);
                if self.content_length.is_none() {
                    return Read::INVALID;
                }
            }
            (_, Field::TransferEncoding) => {
                self.coding.rotate_left(1);
                self.coding[6] = byte.to_ascii_lowercase();
            }
            (_, Field::Expect | Field::Other) => {}
        }
        Read::run(1, value.keep)
    }
}

/// A number without sign or space that fits; None else.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0, |number, &digit| add_digit(number, digit))
}

fn add_digit(number: u64, digit: u8) -> Option<u64> {
    let value = (digit as char).to_digit(10)?;
    number.checked_mul(10)?.checked_add(value.into())
}

/// Neither ends a line nor is a NUL, which no head has.
fn is_text(byte: u8) -> bool {
    !matches!(byte, b'\r' | b'\n' | 0)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn run_while(bytes: &[u8], belongs: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|&b| !belongs(b)).unwrap_or(bytes.len())
}

/// Whether data that begins so begins an HTTP/1 message of this direction, as far as these bytes tell:
/// a part of a start line at the end of `bytes` counts as one.
pub fn begins_head(direction: Direction, bytes: &[u8]) -> bool {
    !bytes.is_empty() && Head::new(direction).read_start_line(direction, bytes, |_| {})
}

/// The same, but the bytes must tell a message from anything else: `METHOD ` or `HTTP/1.`.
pub(super) fn surely_begins_head(direction: Direction, bytes: &[u8]) -> bool {
    let needed = match direction {
        Direction::Requests => match memchr(b' ', bytes) {
            Some(space) => space + 2,
            None => return false,
        },
        Direction::Responses => b"HTTP/1.".len(),
    };
    bytes.len() >= needed && begins_head(direction, bytes)
}
