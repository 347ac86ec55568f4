//! A message head byte by byte: which bytes may be kept, and what the head says about its body.
//!
//! Works without look-ahead, because a head may be split over calls at any byte and what was kept of the first
//! call is on its way to the disk when the second comes.

use super::{Direction, HeadInfo, Method};

/// Heads longer than this are not heads.
const MAX_HEAD_BYTES: u32 = 256 * 1024;
/// Longest header name that is looked up; longer ones are never harmless.
const MAX_NAME_BYTES: usize = 32;
/// Longest method.
const MAX_METHOD_BYTES: usize = 20;

/// Headers whose values are kept, lower case, sorted. All others are blanked: a list of secrets
/// would be found incomplete by the first `X-My-Token`.
const HARMLESS: [&str; 43] = [
    "accept",
    "accept-encoding",
    "accept-ranges",
    "age",
    "allow",
    "b3",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "date",
    "expect",
    "host",
    "keep-alive",
    "last-modified",
    "max-forwards",
    "pragma",
    "proxy-connection",
    "range",
    "retry-after",
    "sec-websocket-version",
    "server",
    "te",
    "traceparent",
    "trailer",
    "transfer-encoding",
    "uber-trace-id",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "x-amzn-trace-id",
    "x-b3-flags",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-spanid",
    "x-b3-traceid",
    "x-correlation-id",
    "x-envoy-upstream-service-time",
    "x-forwarded-proto",
    "x-request-id",
];

/// Where in [`HARMLESS`] the names with a first byte of at least this value begin.
const HARMLESS_FROM: [u8; 257] = {
    let mut from = [0; 257];
    let mut index = 0;
    let mut byte = 0;
    while byte < from.len() {
        while index < HARMLESS.len() && (HARMLESS[index].as_bytes()[0] as usize) < byte {
            index += 1;
        }
        from[byte] = index as u8;
        byte += 1;
    }
    from
};

/// Whether the value of the header of this name, lower case, may be kept. Looks only at names with the same first
/// byte: a search over all of them was the dearest part of reading a head.
fn is_harmless(name: &[u8]) -> bool {
    let Some(&first) = name.first() else { return false };
    let (from, to) = (HARMLESS_FROM[first as usize], HARMLESS_FROM[first as usize + 1]);
    HARMLESS[from as usize..to as usize].iter().any(|harmless| harmless.as_bytes() == name)
}

/// Methods that are taken for one before the whole request line is seen, sorted.
const KNOWN_METHODS: [&[u8]; 23] = [
    b"CONNECT",
    b"COPY",
    b"DELETE",
    b"GET",
    b"HEAD",
    b"LINK",
    b"LOCK",
    b"MERGE",
    b"MKCOL",
    b"MOVE",
    b"OPTIONS",
    b"PATCH",
    b"POST",
    b"PROPFIND",
    b"PROPPATCH",
    b"PURGE",
    b"PUT",
    b"QUERY",
    b"REPORT",
    b"SEARCH",
    b"TRACE",
    b"UNLINK",
    b"UNLOCK",
];

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
    Value {
        keep: bool,
        field: Field,
    },
    /// After the CR of the empty line.
    LastLineEnd,
}

/// Where in the request target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Start,
    Path,
    ParameterName,
    ParameterValue,
    QueryName,
    QueryValue,
    /// `http:` of an absolute form; the number of slashes seen after the colon.
    Scheme(Option<u8>),
    /// May hold a user and a password.
    Authority,
}

/// Headers that decide about the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    ContentLength,
    TransferEncoding,
    Expect,
    Other,
}

/// What one byte of a head means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// May be kept.
    Keep,
    /// Must be blanked.
    Blank,
    /// May be kept and is the head's last byte.
    Last,
    /// This is no HTTP/1 head.
    Invalid,
}

/// A head being read.
#[derive(Clone, Debug)]
pub(super) struct Head {
    place: Place,
    bytes: u32,
    /// Method or header name, lower case.
    word: [u8; MAX_NAME_BYTES],
    word_bytes: usize,
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
            bytes: 0,
            word: [0; MAX_NAME_BYTES],
            word_bytes: 0,
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

    /// Reads one byte.
    pub(super) fn step(&mut self, byte: u8) -> Step {
        self.bytes = self.bytes.saturating_add(1);
        if self.bytes > MAX_HEAD_BYTES || byte == 0 {
            return Step::Invalid;
        }
        match self.place {
            Place::Method => self.step_method(byte),
            Place::Target(target) => self.step_target(target, byte),
            Place::RequestVersion(n) => self.step_request_version(n, byte),
            Place::ResponseVersion(n) => self.step_response_version(n, byte),
            Place::Status(n) => self.step_status(n, byte),
            Place::Reason => self.step_reason(byte),
            Place::LineStart => self.step_line_start(byte),
            Place::Name => self.step_name(byte),
            Place::Value { keep, field } => self.step_value(keep, field, byte),
            Place::LastLineEnd => {
                if byte == b'\n' {
                    Step::Last
                } else {
                    Step::Invalid
                }
            }
        }
    }

    /// How many of the first bytes change nothing but their number, and whether they may be kept. Most of a head are
    /// values and paths, for which this is an order of magnitude faster than [`Head::step`].
    pub(super) fn plain_run(&mut self, bytes: &[u8]) -> (usize, bool) {
        let (length, keep) = match self.place {
            Place::Value { keep: true, field: Field::Other } => {
                (run_until(bytes, |b| matches!(b, b'\r' | b'\n' | 0)), true)
            }
            Place::Value { keep: false, field: Field::Other } => {
                (run_until(bytes, |b| matches!(b, b'\r' | b'\n' | b' ' | b'\t' | 0)), false)
            }
            Place::Target(Target::Path) => {
                (run_until(bytes, |b| matches!(b, b'\r' | b'\n' | b' ' | b'?' | b';' | 0)), true)
            }
            Place::Target(Target::QueryValue) => {
                (run_until(bytes, |b| matches!(b, b'\r' | b'\n' | b' ' | b'&' | b';' | 0)), false)
            }
            Place::Name => {
                let length = run_until(bytes, |b| !is_token(b));
                self.add_to_name(&bytes[..length]);
                (length, true)
            }
            Place::Reason => (run_until(bytes, |b| matches!(b, b'\r' | b'\n' | 0)), false),
            _ => (0, true),
        };
        self.bytes = self.bytes.saturating_add(length as u32);
        (length, keep)
    }

    fn go(&mut self, place: Place) -> Step {
        self.place = place;
        Step::Keep
    }

    fn step_method(&mut self, byte: u8) -> Step {
        if byte == b' ' && self.word_bytes >= 3 {
            let method = &self.word[..self.word_bytes];
            self.bodyless_method = method == b"GET" || method == b"HEAD";
            self.method = match method {
                b"HEAD" => Method::Head,
                b"CONNECT" => Method::Connect,
                _ => Method::Other,
            };
            return self.go(Place::Target(Target::Start));
        }
        if !byte.is_ascii_uppercase() || self.word_bytes >= MAX_METHOD_BYTES {
            return Step::Invalid;
        }
        self.word[self.word_bytes] = byte;
        self.word_bytes += 1;
        Step::Keep
    }

    fn step_target(&mut self, target: Target, byte: u8) -> Step {
        if byte == b'\r' || byte == b'\n' {
            return Step::Invalid; // HTTP/0.9
        }
        if byte == b' ' {
            return match target {
                Target::Start => Step::Invalid,
                _ => self.go(Place::RequestVersion(0)),
            };
        }
        let next = next_in_target(target, byte, self.method);
        self.place = Place::Target(next);
        let inside = next == target;
        match target {
            Target::ParameterValue | Target::QueryValue | Target::Authority if inside => Step::Blank,
            _ => Step::Keep,
        }
    }

    fn step_request_version(&mut self, n: u8, byte: u8) -> Step {
        match (n, byte) {
            (0..7, _) if byte == b"HTTP/1."[n as usize] => self.go(Place::RequestVersion(n + 1)),
            (7, b'0'..=b'9') => self.go(Place::RequestVersion(8)),
            (8, b'\r') => self.go(Place::RequestVersion(9)),
            (8 | 9, b'\n') => self.go(Place::LineStart),
            _ => Step::Invalid,
        }
    }

    fn step_response_version(&mut self, n: u8, byte: u8) -> Step {
        match (n, byte) {
            (0..7, _) if byte == b"HTTP/1."[n as usize] => self.go(Place::ResponseVersion(n + 1)),
            (7, b'0'..=b'9') => self.go(Place::ResponseVersion(8)),
            (8, b' ') => self.go(Place::Status(0)),
            _ => Step::Invalid,
        }
    }

    fn step_status(&mut self, n: u8, byte: u8) -> Step {
        match (n, byte) {
            (0, b'1'..=b'9') | (1 | 2, b'0'..=b'9') => {
                self.status = self.status * 10 + u16::from(byte - b'0');
                self.go(Place::Status(n + 1))
            }
            (3, b' ' | b'\r') => self.go(Place::Reason),
            (3, b'\n') => self.go(Place::LineStart),
            _ => Step::Invalid,
        }
    }

    fn step_reason(&mut self, byte: u8) -> Step {
        match byte {
            b'\n' => self.go(Place::LineStart),
            b'\r' => Step::Keep,
            // A reason is free text: an application may put anything there.
            _ => Step::Blank,
        }
    }

    fn step_line_start(&mut self, byte: u8) -> Step {
        match byte {
            b'\r' => self.go(Place::LastLineEnd),
            b'\n' => Step::Last,
            // A folded line goes on with the value before (RFC 9112 section 5.2).
            b' ' | b'\t' if self.word_bytes > 0 => {
                let (keep, field) = self.value_of_name();
                self.go(Place::Value { keep, field })
            }
            _ => {
                self.word_bytes = 0;
                self.place = Place::Name;
                self.step_name(byte)
            }
        }
    }

    fn step_name(&mut self, byte: u8) -> Step {
        if byte == b':' {
            let (keep, field) = self.value_of_name();
            self.begin_value(field);
            return self.go(Place::Value { keep, field });
        }
        if !is_token(byte) {
            return Step::Invalid;
        }
        self.add_to_name(&[byte]);
        Step::Keep
    }

    fn add_to_name(&mut self, bytes: &[u8]) {
        let room = self.word.get_mut(self.word_bytes..).unwrap_or_default();
        for (place, byte) in room.iter_mut().zip(bytes) {
            *place = byte.to_ascii_lowercase();
        }
        self.word_bytes += bytes.len();
    }

    fn value_of_name(&self) -> (bool, Field) {
        let name = self.word.get(..self.word_bytes).unwrap_or_default();
        let field = match name {
            b"content-length" => Field::ContentLength,
            b"transfer-encoding" => Field::TransferEncoding,
            b"expect" => Field::Expect,
            _ => Field::Other,
        };
        (is_harmless(name), field)
    }

    fn begin_value(&mut self, field: Field) {
        match field {
            Field::ContentLength => self.content_length = None,
            Field::TransferEncoding => self.coding = [0; 7],
            Field::Expect => self.expects_continue = true,
            Field::Other => {}
        }
    }

    fn step_value(&mut self, keep: bool, field: Field, byte: u8) -> Step {
        match byte {
            b'\n' => {
                if field == Field::TransferEncoding {
                    self.chunked = &self.coding == b"chunked";
                }
                return self.go(Place::LineStart);
            }
            b'\r' | b' ' | b'\t' => return Step::Keep,
            _ => {}
        }
        match field {
            Field::ContentLength => {
                if !byte.is_ascii_digit() {
                    return Step::Invalid;
                }
                let digit = u64::from(byte - b'0');
                match self.content_length.unwrap_or(0).checked_mul(10).and_then(|n| n.checked_add(digit)) {
                    Some(n) => self.content_length = Some(n),
                    None => return Step::Invalid,
                }
            }
            Field::TransferEncoding => {
                self.coding.rotate_left(1);
                self.coding[6] = byte.to_ascii_lowercase();
            }
            Field::Expect | Field::Other => {}
        }
        if keep { Step::Keep } else { Step::Blank }
    }
}

/// The place after `byte`, which is not a space.
fn next_in_target(target: Target, byte: u8, method: Method) -> Target {
    match (target, byte) {
        (Target::Start, b'/' | b'*') => Target::Path,
        (Target::Start, _) if method == Method::Connect => Target::Path,
        (Target::Start, _) => Target::Scheme(None),
        (Target::Scheme(None), b':') => Target::Scheme(Some(0)),
        (Target::Scheme(Some(0)), b'/') => Target::Scheme(Some(1)),
        (Target::Scheme(Some(1)), b'/') => Target::Authority,
        // `user:secret@host` without a scheme is no target that RFC 9112 knows.
        (Target::Scheme(Some(_)), _) => Target::Authority,
        (Target::QueryName | Target::QueryValue, b'&' | b';') => Target::QueryName,
        (Target::QueryName, b'=') => Target::QueryValue,
        (Target::QueryName | Target::QueryValue, _) => target,
        (_, b'?') => Target::QueryName,
        (_, b'/') => Target::Path,
        (Target::Path | Target::ParameterName | Target::ParameterValue, b';') => Target::ParameterName,
        (Target::ParameterName, b'=') => Target::ParameterValue,
        (Target::Path | Target::ParameterName | Target::ParameterValue | Target::Authority, _) => target,
        (Target::Scheme(None), _) => target,
    }
}

fn run_until(bytes: &[u8], ends: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|&b| ends(b)).unwrap_or(bytes.len())
}

fn is_token(byte: u8) -> bool {
    TOKEN[byte as usize]
}

/// The bytes of a token (RFC 9110 section 5.6.2).
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let others = b"!#$%&'*+-.^_`|~";
    let mut index = 0;
    while index < table.len() {
        table[index] = (index as u8).is_ascii_alphanumeric();
        index += 1;
    }
    index = 0;
    while index < others.len() {
        table[others[index] as usize] = true;
        index += 1;
    }
    table
};

/// Whether data that begins so begins an HTTP/1 message of this direction, as far as these bytes tell:
/// a part of a start line at the end of `bytes` counts as one.
pub fn begins_head(direction: Direction, bytes: &[u8]) -> bool {
    begins(direction, bytes, 1)
}

/// The same, but the bytes must tell a message from anything else: `METHOD ` or `HTTP/1.`.
pub(super) fn surely_begins_head(direction: Direction, bytes: &[u8]) -> bool {
    let needed = match direction {
        Direction::Requests => match bytes.iter().position(|&b| b == b' ') {
            Some(space) => space + 2,
            None => return false,
        },
        Direction::Responses => 7,
    };
    begins(direction, bytes, needed)
}

fn begins(direction: Direction, bytes: &[u8], needed: usize) -> bool {
    if bytes.len() < needed {
        return false;
    }
    let mut head = Head::new(direction);
    let mut rest = bytes;
    while let Some(&byte) = rest.first() {
        // A run never holds a line end.
        let (length, _) = head.plain_run(rest);
        if length == 0 && head.step(byte) == Step::Invalid {
            return false;
        }
        if byte == b'\n' {
            return true;
        }
        rest = &rest[length.max(1)..];
    }
    direction == Direction::Responses || may_become_request(bytes)
}

/// Whether a part of a request line is more than a word in capitals: `PASS secret` of another protocol must not be
/// kept because its line end comes in another call.
fn may_become_request(bytes: &[u8]) -> bool {
    let mut words = bytes.splitn(2, |&b| b == b' ');
    let method = words.next().unwrap_or_default();
    let Some(target) = words.next() else {
        return KNOWN_METHODS.iter().any(|known| known.starts_with(method));
    };
    let absolute = b"http".iter().zip(target).all(|(a, b)| a == b);
    KNOWN_METHODS.contains(&method)
        && (method == b"CONNECT" || matches!(target.first(), Some(b'/' | b'*')) || absolute)
}
