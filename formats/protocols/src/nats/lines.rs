//! Control lines: a verb and what stands behind it.

use std::ops::Range;

use memchr::memchr;

use crate::frames::MAX_HEAD;
use crate::parts::Direction;

/// Longest control line that is read: what servers take unless they are told otherwise.
const MAX_LINE: usize = 4096;
/// A line is looked for in so many bytes first: most are shorter.
const FIRST_LOOK: usize = 64;
/// Longest subject that is kept.
const MAX_SUBJECT: usize = 255;

/// What a line begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Info,
    Connect,
    Pub,
    Hpub,
    Sub,
    Unsub,
    Msg,
    Hmsg,
    Ping,
    Pong,
    Ok,
    Err,
}

/// The verbs of each direction.
const OF_CLIENTS: [(&str, Verb); 7] = [
    ("CONNECT", Verb::Connect),
    ("PUB", Verb::Pub),
    ("HPUB", Verb::Hpub),
    ("SUB", Verb::Sub),
    ("UNSUB", Verb::Unsub),
    ("PING", Verb::Ping),
    ("PONG", Verb::Pong),
];
const OF_SERVERS: [(&str, Verb); 7] = [
    ("MSG", Verb::Msg),
    ("HMSG", Verb::Hmsg),
    ("+OK", Verb::Ok),
    ("PING", Verb::Ping),
    ("PONG", Verb::Pong),
    ("INFO", Verb::Info),
    ("-ERR", Verb::Err),
];

impl Verb {
    /// The verb that a word is, in any case.
    pub(super) fn of(direction: Direction, word: &[u8]) -> Option<Verb> {
        let verbs = match direction {
            Direction::Requests => &OF_CLIENTS,
            Direction::Responses => &OF_SERVERS,
        };
        let is = |(name, _): &&(&str, Verb)| name.as_bytes().eq_ignore_ascii_case(word);
        verbs.iter().find(is).map(|(_, verb)| *verb)
    }

    /// So many words may stand behind it; None: a text.
    fn words(self) -> Option<Range<usize>> {
        Some(match self {
            Verb::Pub => 2..4,
            Verb::Hpub | Verb::Msg => 3..5,
            Verb::Hmsg => 4..6,
            Verb::Sub => 2..4,
            Verb::Unsub => 1..3,
            Verb::Ping | Verb::Pong | Verb::Ok => 0..1,
            Verb::Info | Verb::Connect | Verb::Err => return None,
        })
    }

    /// A message is behind the line, with headers in front of it.
    pub(super) fn has_headers(self) -> bool {
        matches!(self, Verb::Hpub | Verb::Hmsg)
    }

    fn has_payload(self) -> bool {
        matches!(self, Verb::Pub | Verb::Hpub | Verb::Msg | Verb::Hmsg)
    }
}

/// How far the first line goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// So many bytes, its end included.
    Line(usize),
    /// So many bytes tell more.
    Goes(usize),
    /// It is none of this protocol.
    None,
}

/// `CONNECT`.
const LONGEST_VERB: usize = 7;

/// The extent of the first line.
pub(super) fn extent(direction: Direction, bytes: &[u8]) -> Extent {
    if let Some(end) = memchr(b'\n', bytes) {
        return Extent::Line(end + 1);
    }
    // A longer word is no verb, however it goes on.
    let text = &bytes[..bytes.len().min(LONGEST_VERB + 1)];
    let text = text.iter().position(|&byte| is_space(byte)).map_or(text, |end| &text[..end]);
    let most = match Verb::of(direction, text) {
        Some(Verb::Info | Verb::Connect) => MAX_HEAD,
        _ if text.len() > LONGEST_VERB => return Extent::None,
        _ => MAX_LINE,
    };
    if bytes.len() >= most { Extent::None } else { Extent::Goes((bytes.len() * 2).clamp(FIRST_LOOK, most)) }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// A line without its end, and how long that is: 0 where it is not there.
pub(super) fn split_end(line: &[u8]) -> (&[u8], usize) {
    let Some(rest) = line.strip_suffix(b"\n") else { return (line, 0) };
    match rest.strip_suffix(b"\r") {
        Some(text) => (text, 2),
        None => (rest, 1),
    }
}

/// Where the next word stands, from there on.
pub(super) fn word(text: &[u8], from: usize) -> Option<Range<usize>> {
    let begin = from + text[from..].iter().position(|&byte| !is_space(byte))?;
    let end = text[begin..].iter().position(|&byte| is_space(byte));
    Some(begin..end.map_or(text.len(), |length| begin + length))
}

/// A control line, as far as it says something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub(super) verb: Verb,
    /// What stands behind the verb.
    pub(super) text: &'a [u8],
    words: [&'a [u8]; 5],
    count: usize,
}

impl<'a> Line<'a> {
    /// Reads a line, its end included. None where it is no line of this direction.
    pub(super) fn of(direction: Direction, line: &'a [u8]) -> Option<Line<'a>> {
        let (text, _) = split_end(line);
        let name = word(text, 0)?;
        let verb = Verb::of(direction, &text[name.clone()])?;
        let mut line = Line { verb, text: &text[name.end..], words: [&[]; 5], count: 0 };
        let Some(wanted) = verb.words() else { return Some(line) };
        let mut at = name.end;
        while let Some(place) = word(text, at) {
            *line.words.get_mut(line.count)? = &text[place.clone()];
            line.count += 1;
            at = place.end;
        }
        let sizes = || !verb.has_payload() || line.sizes().is_some();
        (wanted.contains(&line.count) && sizes()).then_some(line)
    }

    /// Bytes of headers, and of headers and payload.
    pub(super) fn sizes(&self) -> Option<(u64, u64)> {
        let words = &self.words[..self.count];
        let total = number(words.last()?)?;
        if !self.verb.has_headers() {
            return Some((0, total));
        }
        let headers = number(words.get(self.count.checked_sub(2)?)?)?;
        (headers <= total).then_some((headers, total))
    }

    /// Bytes behind the line, their line end included.
    pub(super) fn block(&self) -> u64 {
        let size = if self.verb.has_payload() { self.sizes() } else { None };
        size.map_or(0, |(_, total)| total + 2)
    }

    /// The subject that it is about, if it is one that may be kept.
    pub(super) fn subject(&self) -> Option<&'a str> {
        subject(self.words[0])
    }

    /// The subject at which an answer is waited for; not of a subscription, which has a group there.
    pub(super) fn reply(&self) -> Option<&'a str> {
        let at = match self.verb {
            Verb::Pub | Verb::Hpub => 1,
            Verb::Msg | Verb::Hmsg => 2,
            _ => return None,
        };
        let sizes = if self.verb.has_headers() { 2 } else { 1 };
        if self.count == at + 1 + sizes { subject(self.words[at]) } else { None }
    }

    /// It has a subject for answers, whether that may be kept or not.
    pub(super) fn has_reply(&self) -> bool {
        self.verb.words().is_some_and(|wanted| self.count + 1 == wanted.end)
    }

    /// What it has to be made of, where nobody knows yet which protocol is spoken: subjects that are plain or
    /// blank, numbers.
    pub(super) fn is_plain(&self) -> bool {
        let is_blank = |word: &[u8]| word.iter().all(|&byte| byte == b'*');
        let is_id = |word: &[u8]| word.len() <= 20 && word.iter().all(u8::is_ascii_digit);
        let words = &self.words[..self.count];
        let ids = match self.verb {
            Verb::Sub => words.last().is_some_and(|id| is_id(id)),
            Verb::Msg | Verb::Hmsg => is_id(words[1]),
            Verb::Unsub => words.iter().all(|word| is_id(word)),
            _ => true,
        };
        ids && words.iter().all(|word| subject(word).is_some() || is_blank(word))
    }
}

/// A number of at most ten digits.
fn number(word: &[u8]) -> Option<u64> {
    if word.is_empty() || word.len() > 10 || !word.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(word.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// A subject, or another name, that may be kept: whole, not long, of plain characters; wildcards are words of
/// their own. A blank is none.
pub(super) fn subject(word: &[u8]) -> Option<&str> {
    let is_plain = |&byte: &u8| byte.is_ascii_alphanumeric() || b"-_$:/=+,#~>".contains(&byte);
    let is_token = |token: &[u8]| token == b"*" || token.iter().all(is_plain);
    let is_long = word.is_empty() || word.len() > MAX_SUBJECT;
    if is_long || word == b"*" || !word.split(|&byte| byte == b'.').all(is_token) {
        return None;
    }
    std::str::from_utf8(word).ok()
}

/// The value of a header line of that name.
pub(super) fn header<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (known, value) = line.split_at_checked(name.len())?;
    let value = value.strip_prefix(b":")?;
    known.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Requests, Responses};

    #[test]
    fn lines_and_what_they_say() {
        let line = |direction, text: &'static str| Line::of(direction, text.as_bytes());
        let published = line(Requests, "pub  a.b\t_INBOX.x  12\r\n").unwrap();
        assert_eq!((published.subject(), published.reply()), (Some("a.b"), Some("_INBOX.x")));
        assert_eq!((published.block(), published.has_reply()), (14, true));
        let with_headers = line(Requests, "HPUB a 12 20\r\n").unwrap();
        assert_eq!((with_headers.sizes(), with_headers.reply()), (Some((12, 20)), None));
        let message = line(Responses, "HMSG a 9 b 12 12\r\n").unwrap();
        assert_eq!((message.sizes(), message.reply()), (Some((12, 12)), Some("b")));
        for bad in
            ["PUB a\r\n", "PUB a b c 1\r\n", "PUB a x\r\n", "HPUB a 9 8\r\n", "SUB a\r\n", "MSG a 1 1\r\n"]
        {
            assert!(line(Requests, bad).is_none(), "{bad:?}");
        }
        assert!(line(Responses, "PING x\r\n").is_none());
    }

    #[test]
    fn subjects_that_are_kept() {
        for kept in ["a", "orders.*.new", "a.>", "$JS.API.INFO", "_INBOX.aB3-_.x"] {
            assert_eq!(subject(kept.as_bytes()), Some(kept));
        }
        for other in ["", "*", "***", "a.b*", "a@b.c", "ä", "a\u{1}"] {
            assert_eq!(subject(other.as_bytes()), None, "{other:?}");
        }
        assert_eq!(subject(&[b'a'; 256]), None);
    }
}
