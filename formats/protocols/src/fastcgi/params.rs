//! The names and values of a request (CGI variables), which come in a stream of records.
//!
//! A name or a value is read only if all of it is in one record; what is told of others would depend on what
//! was kept of another one.

use std::ops::Range;

use crate::http1::names::is_known_method;
use crate::http1::target::Target;

/// A value that says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Method,
    /// What was asked for, with its query.
    Uri,
    /// The path of it, in two words.
    Script,
    Document,
    Protocol,
    /// A header of HTTP.
    Header(&'static str),
}

/// Values that are read, sorted by name.
const NAMES: [(&str, Name); 13] = [
    ("DOCUMENT_URI", Name::Document),
    ("HTTP_B3", Name::Header("b3")),
    ("HTTP_HOST", Name::Header("host")),
    ("HTTP_TRACEPARENT", Name::Header("traceparent")),
    ("HTTP_USER_AGENT", Name::Header("user-agent")),
    ("HTTP_X_B3_SAMPLED", Name::Header("x-b3-sampled")),
    ("HTTP_X_B3_SPANID", Name::Header("x-b3-spanid")),
    ("HTTP_X_B3_TRACEID", Name::Header("x-b3-traceid")),
    ("HTTP_X_REQUEST_ID", Name::Header("x-request-id")),
    ("REQUEST_METHOD", Name::Method),
    ("REQUEST_URI", Name::Uri),
    ("SCRIPT_NAME", Name::Script),
    ("SERVER_PROTOCOL", Name::Protocol),
];

/// Longest name that is kept.
const MAX_NAME: usize = 64;
/// Longest value of a header, and of another one, that is read.
const MAX_HEADER: usize = 4096;
const MAX_VALUE: usize = 16 * 1024;

impl Name {
    fn of(name: &[u8]) -> Option<Name> {
        let place = NAMES.binary_search_by(|(known, _)| known.as_bytes().cmp(name)).ok()?;
        Some(NAMES[place].1)
    }

    /// Tells how many of a whole value's first bytes may be kept, how many that follow may not, and so on.
    pub(super) fn runs(self, value: &[u8], mut tell: impl FnMut(usize, bool)) {
        let is_text = || value.iter().all(|&byte| byte >= b' ' && byte != 0x7f);
        let keeps = match self {
            Name::Method => is_known_method(value),
            Name::Protocol => value.strip_prefix(b"HTTP/").is_some_and(is_version),
            Name::Header(_) => value.len() <= MAX_HEADER && is_text(),
            Name::Uri | Name::Script | Name::Document => return target_runs(value, tell),
        };
        tell(value.len(), keeps);
    }
}

fn is_version(text: &[u8]) -> bool {
    (1..=3).contains(&text.len()) && text.iter().all(|&byte| byte.is_ascii_digit() || byte == b'.')
}

/// As of a request line of HTTP: the path, and the names of a query.
fn target_runs(value: &[u8], mut tell: impl FnMut(usize, bool)) {
    let (mut target, mut at) = (Target::Start, 0);
    while at < value.len() && value.len() <= MAX_VALUE {
        let Some(run) = target.run(&value[at..]) else { break };
        tell(run.length, run.keep);
        tell(usize::from(run.delimiter), true);
        at += run.length + usize::from(run.delimiter);
        target = run.next;
    }
    tell(value.len() - at, false);
}

/// What comes in a stream of names and values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Bytes of the two lengths in front of a name.
    Lengths(usize),
    /// Bytes of a name; which of those that are read, if it is one and all of it is there.
    Name(Range<usize>, bool),
    /// Bytes of a value, and its name, if all of both is there.
    Value(Range<usize>, Option<Name>),
}

/// Where in the stream its next byte stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    /// Bytes of the lengths that have been read.
    lengths: [u8; 8],
    read: usize,
    /// Bytes of the name and of the value that are to come; None: the lengths are not all there.
    left: Option<(u32, u32)>,
    /// The name or the value that is under way began in another record.
    is_cut: bool,
    name: Option<Name>,
}

impl Place {
    /// Reads the content of a record, or the first bytes of it.
    pub(super) fn walk(&mut self, content: &[u8], mut tell: impl FnMut(Piece)) {
        self.is_cut = true;
        let mut at = 0;
        while at < content.len() {
            let Some((name, value)) = self.left else {
                at += self.length(content[at]);
                tell(Piece::Lengths(1));
                if self.left == Some((0, 0)) {
                    self.next();
                }
                continue;
            };
            let wanted = if name > 0 { name } else { value } as usize;
            let run = at..content.len().min(at.saturating_add(wanted));
            let rest = (wanted - run.len()) as u32;
            let whole = rest == 0 && !self.is_cut;
            at = run.end;
            self.is_cut = rest > 0;
            if name > 0 {
                self.left = Some((rest, value));
                self.name = if whole { Name::of(&content[run.clone()]) } else { None };
                let keeps = whole && is_plain(&content[run.clone()]);
                tell(Piece::Name(run, keeps));
                if rest == 0 && value == 0 {
                    self.next();
                }
            } else {
                self.left = Some((0, rest));
                tell(Piece::Value(run, self.name.filter(|_| whole)));
                if rest == 0 {
                    self.next();
                }
            }
        }
    }

    fn next(&mut self) {
        *self = Place::default();
    }

    /// A byte of the lengths: of one byte each, or of four if the first bit is set.
    fn length(&mut self, byte: u8) -> usize {
        self.lengths[self.read] = byte;
        self.read += 1;
        self.is_cut = false;
        let size = |at: usize| if self.lengths[at] & 0x80 == 0 { 1 } else { 4 };
        let first = size(0);
        if self.read > first && self.read == first + size(first) {
            let number = |at: usize| match self.lengths[at..] {
                [a, b, c, d, ..] if a & 0x80 != 0 => u32::from_be_bytes([a & 0x7f, b, c, d]),
                [a, ..] => a.into(),
                [] => 0,
            };
            self.left = Some((number(0), number(first)));
        }
        1
    }
}

fn is_plain(name: &[u8]) -> bool {
    name.len() <= MAX_NAME && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted() {
        assert!(NAMES.is_sorted_by_key(|(name, _)| name));
    }

    #[test]
    fn pieces_of_a_stream() {
        let long = [b'v'; 200];
        let mut content = vec![14, 3];
        content.extend(b"REQUEST_METHODGET");
        content.extend([1, 0x80, 0, 0, 200, b'X']);
        content.extend(long);
        content.extend([0, 0, 1, 0, b'Y', 3, 1]);
        let mut place = Place::default();
        let mut pieces = Vec::new();
        place.walk(&content, |piece| pieces.push(piece));
        pieces.retain(|piece| !matches!(piece, Piece::Lengths(_)));
        let expected = [
            Piece::Name(2..16, true),
            Piece::Value(16..19, Some(Name::Method)),
            Piece::Name(24..25, true),
            Piece::Value(25..225, None),
            Piece::Name(229..230, true),
        ];
        assert_eq!(pieces, expected);
        assert_eq!(place.left, Some((3, 1)));
    }

    #[test]
    fn queries_lose_their_values() {
        let kept = |name: Name, value: &str| {
            let mut kept = String::new();
            name.runs(value.as_bytes(), |length, keep| {
                let part = &value[kept.len()..kept.len() + length];
                kept.push_str(&if keep { part.to_owned() } else { "*".repeat(length) });
            });
            kept
        };
        assert_eq!(kept(Name::Uri, "/a/b?n=18&x"), "/a/b?n=**&*");
        assert_eq!(kept(Name::Uri, "http://u:p@h/a?b"), "http://*****/a?*");
        assert_eq!(kept(Name::Script, "/a b/c"), "/a****");
        assert_eq!(kept(Name::Method, "GETX"), "****");
        assert_eq!(kept(Name::Header("host"), "a\r\nb"), "****");
        assert_eq!(kept(Name::Protocol, "HTTP/2.0"), "HTTP/2.0");
    }
}
