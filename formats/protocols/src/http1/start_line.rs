//! The start line of a head (RFC 9112 sections 3 and 4), which tells a message from anything else.
//!
//! A line that is whole among the known bytes is read strictly: `token SP target SP HTTP/1.x`. One that goes on in another
//! call is not certain before its end: of it that alone is kept which names one of the methods that everybody knows, with
//! the target that follows such a name, and the bytes that give it its form. The rest is blank, and reads the same.

use memchr::memchr;

use super::head::{Head, Place, Read, Then, run_while};
use super::lines::line_end;
use super::method::Method;
use super::names::{is_known_method, is_token, may_become_method};
use super::preamble;
use super::target::Target;
use crate::parts::Direction;

/// Longest method.
const MAX_METHOD_BYTES: usize = 32;

/// A word so short is no secret.
const MAX_WORD_BYTES: usize = 5;

/// What some bytes are to a start line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// They hold its end.
    Whole,
    /// They may belong to one that goes on.
    Part,
    /// They do not, from this byte on.
    Invalid {
        /// Bytes before.
        used: usize,
    },
}

impl Head {
    /// Reads the start line, telling `each` read.
    pub(super) fn read_start_line(&mut self, bytes: &[u8], mut each: impl FnMut(Read)) -> Line {
        let mut used = 0;
        while used < bytes.len() {
            let read = self.read(&bytes[used..], None);
            if read.then == Then::Invalid {
                return Line::Invalid { used };
            }
            each(read);
            used += read.length();
            if self.place == Place::LineStart {
                return Line::Whole;
            }
        }
        Line::Part
    }

    /// The same, of bytes in two pieces, without reading them.
    pub(super) fn try_start_line(&self, bytes: &[u8], after: &[u8]) -> Line {
        let mut head = self.clone();
        match head.read_start_line(bytes, |_| {}) {
            Line::Part => head.read_start_line(after, |_| {}),
            done => done,
        }
    }

    /// A response that is not the answer.
    pub(super) fn is_interim(&self) -> bool {
        matches!(self.status, 100 | 102..=199)
    }

    /// The line is cut, and yet a message: a method that everybody knows, with a path or an URL of HTTP behind it, or a
    /// status.
    pub(super) fn is_surely_message(&self) -> bool {
        match self.place {
            Place::Target(target) => target.is_url() && is_known_method(self.method_name()),
            Place::Reason => true,
            _ => false,
        }
    }

    /// So far this is `PROXY `, and `byte` goes on as no request does.
    pub(super) fn is_preamble(&self, byte: u8) -> Option<preamble::Preamble> {
        let is_word = self.place == Place::Target(Target::Start) && self.method_name() == preamble::WORD;
        is_word.then(|| preamble::Preamble::line(byte)).flatten()
    }

    /// How many of `bytes`, of which the first is none of a start line here, show that.
    pub(super) fn surplus(&self, bytes: &[u8]) -> usize {
        // Of a method that is too long, all that is too much.
        if self.place == Place::Method { run_while(bytes, is_token).max(1) } else { 1 }
    }

    fn method_name(&self) -> &[u8] {
        self.word.get(..self.word_bytes).unwrap_or_default()
    }

    /// What is read of the method may be kept. `whole`: a space follows.
    fn keeps_method(&self, whole: bool) -> bool {
        let method = self.method_name();
        let is_word =
            || whole && method.len() <= MAX_WORD_BYTES && method.iter().all(u8::is_ascii_alphabetic);
        !self.tentative || may_become_method(method) || is_word()
    }

    /// What is read of the target may be kept.
    fn keeps_target(&self) -> bool {
        let certain = || self.method != Method::Connect && is_known_method(self.method_name());
        !self.spare && (!self.tentative || certain())
    }

    /// The method and, where it is a plain path, the target with all that follows in its line.
    pub(super) fn request_line(&mut self, bytes: &[u8]) -> Option<Read> {
        if self.tentative || self.spare || self.word_bytes > 0 {
            return None;
        }
        let method = run_while(bytes, is_token);
        let whole = (1..=MAX_METHOD_BYTES).contains(&method);
        if !whole || bytes.get(method) != Some(&b' ') {
            return None;
        }
        self.add_to_word(&bytes[..method]);
        self.end_of_method();
        let target = &bytes[method + 1..];
        if self.method == Method::Connect || target.first() != Some(&b'/') {
            return Some(Read::keep(method + 1));
        }
        let path = Target::Path.plain_run(target);
        self.place = Place::Target(Target::Path);
        let version = target[path..].strip_prefix(b" ").and_then(|rest| self.whole_request_version(rest));
        Some(Read::keep(method + 1 + path + version.map_or(0, |read| 1 + read.kept)))
    }

    pub(super) fn whole_request_version(&mut self, bytes: &[u8]) -> Option<Read> {
        let [minor @ b'0'..=b'9', b'\r', b'\n', ..] = bytes.strip_prefix(b"HTTP/1.")? else { return None };
        self.minor = minor - b'0';
        self.crlf = true;
        self.place = Place::LineStart;
        Some(Read::keep(b"HTTP/1.1\r\n".len()))
    }

    pub(super) fn status_line(&mut self, bytes: &[u8]) -> Option<Read> {
        let [minor @ b'0'..=b'9', b' ', status @ ..] = bytes.strip_prefix(b"HTTP/1.")? else { return None };
        let [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b' ', ..] = status else { return None };
        let reason = b"HTTP/1.1 200 ".len();
        let (reason_end, end) = line_end(bytes, reason)?;
        self.status = [a, b, c].into_iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
        self.minor = minor - b'0';
        self.crlf = end - reason_end == 2;
        self.place = Place::LineStart;
        // A reason is free text: an application may put anything there.
        Some(Read {
            kept: reason,
            blank: reason_end - reason,
            kept_after: end - reason_end,
            then: Then::More,
        })
    }

    pub(super) fn step_method(&mut self, bytes: &[u8]) -> Read {
        if bytes[0] == b' ' && self.word_bytes > 0 {
            self.end_of_method();
            return Read::keep(1);
        }
        let length = run_while(bytes, is_token);
        if length == 0 || self.word_bytes + length > MAX_METHOD_BYTES {
            return Read::INVALID;
        }
        self.add_to_word(&bytes[..length]);
        Read::run(length, self.keeps_method(bytes.get(length) == Some(&b' ')))
    }

    fn end_of_method(&mut self) {
        let method = self.method_name();
        let bodyless = method == b"GET" || method == b"HEAD";
        self.method = match method {
            b"HEAD" => Method::Head,
            b"CONNECT" => Method::Connect,
            _ => Method::Other,
        };
        self.bodyless_method = bodyless;
        // CONNECT has a form of target of its own.
        let target = if self.method == Method::Connect { Target::Host { any: false } } else { Target::Start };
        self.place = Place::Target(target);
    }

    pub(super) fn step_target(&mut self, target: Target, bytes: &[u8]) -> Read {
        if bytes[0] == b' ' && target.may_end() {
            return self.go(Place::RequestVersion(0));
        }
        // No line end may stand here: that would be HTTP/0.9.
        let Some(run) = target.run(bytes) else { return Read::INVALID };
        self.place = Place::Target(run.next);
        if target.is_form() {
            return Read::keep(run.length);
        }
        if !self.keeps_target() {
            // Also what parts the pieces of a target; but not what ends a host.
            let kept = target.is_host() && run.delimiter;
            return Read {
                kept: 0,
                blank: run.length + usize::from(run.delimiter && !kept),
                kept_after: kept.into(),
                then: Then::More,
            };
        }
        Read { kept_after: run.delimiter.into(), ..Read::run(run.length, run.keep) }
    }

    pub(super) fn step_request_version(&mut self, n: u8, byte: u8) -> Read {
        match (n, byte) {
            (0..7, _) if byte == b"HTTP/1."[n as usize] => self.go(Place::RequestVersion(n + 1)),
            (7, b'0'..=b'9') => {
                self.minor = byte - b'0';
                self.go(Place::RequestVersion(8))
            }
            (8, b'\r') => self.go(Place::RequestVersion(9)),
            (8 | 9, b'\n') => {
                self.crlf = n == 9;
                self.go(Place::LineStart)
            }
            _ => Read::INVALID,
        }
    }

    pub(super) fn step_response_version(&mut self, n: u8, byte: u8) -> Read {
        match (n, byte) {
            (0..7, _) if byte == b"HTTP/1."[n as usize] => self.go(Place::ResponseVersion(n + 1)),
            (7, b'0'..=b'9') => {
                self.minor = byte - b'0';
                self.go(Place::ResponseVersion(8))
            }
            (8, b' ') => self.go(Place::Status(0)),
            _ => Read::INVALID,
        }
    }

    pub(super) fn step_status(&mut self, n: u8, byte: u8) -> Read {
        match (n, byte) {
            (0, b'1'..=b'9') | (1 | 2, b'0'..=b'9') => {
                self.status = self.status * 10 + u16::from(byte - b'0');
                self.go(Place::Status(n + 1))
            }
            (3, b' ') => self.go(Place::Reason),
            (3, b'\r') => self.go(Place::ReasonEnd),
            (3, b'\n') => self.go(Place::LineStart),
            _ => Read::INVALID,
        }
    }

    pub(super) fn step_reason(&mut self, bytes: &[u8]) -> Read {
        match bytes[0] {
            b'\n' => {
                self.crlf = self.place == Place::ReasonEnd;
                self.go(Place::LineStart)
            }
            b'\r' => self.go(Place::ReasonEnd),
            _ => {
                self.place = Place::Reason;
                Read::run(run_while(bytes, super::head::is_text), false)
            }
        }
    }
}

/// Whether data that begins so begins an HTTP/1 message of this direction, as far as these bytes tell: a part of a start
/// line at the end of `bytes` counts as one, and so do the addresses in front of a first request.
pub fn begins_head(direction: Direction, bytes: &[u8]) -> bool {
    if bytes.is_empty() {
        return false;
    }
    let mut head = Head::new(direction);
    match head.read_start_line(bytes, |_| {}) {
        Line::Whole => true,
        Line::Part => direction == Direction::Responses || head.keeps_part(),
        Line::Invalid { used } => {
            let signature = &bytes[..bytes.len().min(preamble::SIGNATURE.len())];
            direction == Direction::Requests
                && (head.is_preamble(bytes[used]).is_some() || preamble::SIGNATURE == signature)
        }
    }
}

/// The same of bytes in two pieces, but they must tell a message from anything else: a whole start line, or of a longer one a
/// method that everybody knows and its target, or a status. `any_method`: also one that not everybody knows.
pub(super) fn surely_begins(direction: Direction, bytes: &[u8], after: &[u8], any_method: bool) -> bool {
    // Most calls begin otherwise, and few bytes tell.
    let may = match direction {
        Direction::Requests => {
            let method = memchr(b' ', &bytes[..bytes.len().min(MAX_METHOD_BYTES + 1)]);
            let target = method.and_then(|length| bytes.get(length + 1));
            target.map_or(!after.is_empty(), |target| b"/*hH".contains(target) || bytes[0] == b'C')
        }
        Direction::Responses => bytes.iter().zip(b"HTTP/1.").all(|(byte, expected)| byte == expected),
    };
    if !may {
        return false;
    }
    let mut head = Head::new(direction);
    let begins = match head.read_start_line(bytes, |_| {}) {
        Line::Part => match head.read_start_line(after, |_| {}) {
            Line::Part => head.is_surely_message(),
            line => line == Line::Whole,
        },
        line => line == Line::Whole,
    };
    begins && (any_method || direction == Direction::Responses || is_known_method(head.method_name()))
}

impl Head {
    /// A part of a line that begins with what would be kept of it.
    fn keeps_part(&self) -> bool {
        match self.place {
            Place::Method => may_become_method(self.method_name()),
            Place::Target(Target::Start | Target::Whole) => is_known_method(self.method_name()),
            Place::Target(_) => self.is_surely_message(),
            _ => is_known_method(self.method_name()),
        }
    }
}
