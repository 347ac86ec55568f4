//! Blanks what looks like a secret among bytes that are kept as they are (`--payload full`): values of telling names, and what is
//! known by its shape. Every byte keeps its place.
//!
//! It reads no protocol: text in any of them looks alike. A value that a call's end cuts goes on in the next call, also where
//! some of it was not kept. A value whose name was not kept is not known for what it is.

use std::ops::Range;

use super::names::{self, MAX_BYTES};
use super::rules::{Applied, Subject, is_named, plain};
use super::shapes;
use crate::blank::BLANK;

/// What the bytes of a direction are in the middle of, between two calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Open {
    /// Nothing.
    #[default]
    Nothing,
    /// A value that this ends.
    Value(End),
    /// A value that is still to begin.
    Begin,
}

/// What ends a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The end of the line.
    Line,
    /// What ends a parameter of a query or of a form.
    Parameter,
    /// A quotation mark, after so many backslashes.
    Quote(u8),
    /// What ends a number or a word in JSON.
    Word,
    /// So many closing brackets.
    Brackets(u16),
    /// What is no digit.
    Digits,
    /// What is in no token.
    Token,
}

/// Digits at an end of the bytes that may be a part of a card's number.
const PART_OF_NUMBER: usize = 4;

/// Blanks what may not be kept of `bytes`; `open` is what they begin in, and then what they end in. Whether anything was blanked.
pub fn scrub(bytes: &mut [u8], open: &mut Open, goes_on: bool, rules: Applied<'_>) -> bool {
    let mut scan = Scan { bytes, rules, blanked: false, open: Open::Nothing };
    let from = scan.begin(*open);
    scan.all(from);
    if goes_on && scan.open == Open::Nothing {
        scan.part_of_number();
    }
    *open = scan.open;
    scan.blanked
}

/// Blanks the values of those header lines among `bytes` that the rules name, and nothing else. Whether any was blanked.
pub fn lines(bytes: &mut [u8], open: &mut Open, rules: Applied<'_>) -> bool {
    let mut scan = Scan { bytes, rules, blanked: false, open: Open::Nothing };
    scan.begin(*open);
    let begins: Vec<usize> = memchr::memchr_iter(b'\n', scan.bytes).map(|at| at + 1).collect();
    for at in begins {
        if at < scan.bytes.len() {
            scan.line(at, |_| false);
        }
    }
    *open = scan.open;
    scan.blanked
}

struct Scan<'a> {
    bytes: &'a mut [u8],
    rules: Applied<'a>,
    blanked: bool,
    /// What the last value ends in, where the bytes end before it does.
    open: Open,
}

impl Scan<'_> {
    fn blank(&mut self, run: Range<usize>) {
        self.blanked |= !run.is_empty();
        self.bytes[run].fill(BLANK);
    }

    /// The rest of what the call before ended in; where that ends.
    fn begin(&mut self, open: Open) -> usize {
        let end = match open {
            Open::Nothing => return 0,
            Open::Value(end) => self.value_end(0, end),
            Open::Begin => return self.json_value(0, 0),
        };
        self.blank(0..end);
        end
    }

    /// Where a value that goes on there ends; notes what is open where that is behind the bytes.
    fn value_end(&mut self, from: usize, end: End) -> usize {
        let (mut escapes, mut depth, mut quoted) = (0, 1, false);
        if let End::Brackets(left) = end {
            depth = left;
        }
        for (at, &byte) in self.bytes.iter().enumerate().skip(from) {
            let ends = match end {
                End::Line => matches!(byte, b'\r' | b'\n'),
                End::Parameter => b"&#;\"'<>".contains(&byte) || byte <= b' ',
                End::Quote(wanted) => byte == b'"' && escapes <= wanted,
                End::Word => b",}]".contains(&byte) || byte <= b' ',
                End::Digits => !byte.is_ascii_digit() && byte != b' ' && byte != b'-',
                End::Token => !byte.is_ascii_alphanumeric() && !b"-_.~+/=".contains(&byte),
                End::Brackets(_) => {
                    quoted ^= byte == b'"' && escapes == 0;
                    match byte {
                        b'{' | b'[' if !quoted => depth += 1,
                        b'}' | b']' if !quoted => depth -= 1,
                        _ => {}
                    }
                    depth == 0
                }
            };
            if ends {
                return if let End::Quote(wanted) = end { at - usize::from(wanted.min(escapes)) } else { at };
            }
            escapes = if byte == b'\\' { escapes + 1 } else { 0 };
        }
        self.open = Open::Value(if let End::Brackets(_) = end { End::Brackets(depth) } else { end });
        self.bytes.len()
    }

    /// Blanks a value; where it ends.
    fn value(&mut self, from: usize, end: End) -> usize {
        let to = self.value_end(from, end);
        self.blank(from..to);
        to
    }

    fn all(&mut self, from: usize) {
        let mut at = from;
        let mut begins_line = from == 0 || self.bytes.get(from.wrapping_sub(1)) == Some(&b'\n');
        while at < self.bytes.len() {
            let byte = self.bytes[at];
            let next = match byte {
                _ if begins_line && byte.is_ascii_alphabetic() => {
                    self.line(at, names::is_secret_header).or_else(|| self.parameter(at))
                }
                b'?' | b'&' | b';' => self.parameter(at + 1),
                b'"' => self.key(at),
                b':' => shapes::userinfo(self.bytes, at).map(|run| self.run(run)),
                _ => None,
            };
            let next = next.or_else(|| self.shape(at));
            begins_line = byte == b'\n' && next.is_none();
            at = next.unwrap_or(at + 1).max(at + 1);
        }
    }

    fn run(&mut self, run: Range<usize>) -> usize {
        let end = run.end;
        self.blank(run);
        end
    }

    /// A header line that begins there.
    fn line(&mut self, at: usize, is_secret: impl Fn(&[u8]) -> bool) -> Option<usize> {
        let name = self.bytes[at..].iter().take(MAX_BYTES).position(|&byte| byte == b':')?;
        let name = &self.bytes[at..at + name];
        if !name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
            return None;
        }
        let length = name.len();
        let is_meant = |subject: &Subject| is_named(subject, name, true);
        if !self.rules.blanks(is_secret(name), is_meant) {
            return None;
        }
        let value = at + length + 1;
        let spaces = self.bytes[value..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        Some(self.value(value + spaces, End::Line))
    }

    /// A parameter that begins there.
    fn parameter(&mut self, at: usize) -> Option<usize> {
        let rest = self.bytes.get(at..)?;
        let length = rest.iter().take(MAX_BYTES).position(|&byte| !is_of_name(byte))?;
        let name = &rest[..length];
        if length == 0 || rest[length] != b'=' {
            return None;
        }
        let is_meant = |subject: &Subject| is_named(subject, name, false);
        let is_secret = names::is_secret_parameter(name);
        self.rules.blanks(is_secret, is_meant).then(|| self.value(at + length + 1, End::Parameter))
    }

    /// A key in JSON whose first quotation mark stands there, perhaps after backslashes.
    fn key(&mut self, at: usize) -> Option<usize> {
        let escapes = self.bytes[..at].iter().rev().take_while(|&&byte| byte == b'\\').count().min(7);
        let rest = &self.bytes[at + 1..];
        let length = rest.iter().take(MAX_BYTES).position(|&byte| byte == b'"' || byte == b'\\')?;
        let name = plain(&rest[..length]);
        let mut place = at + 1 + length;
        let quote = self.bytes[place..].iter().take_while(|&&byte| byte == b'\\').count();
        place += quote + 1;
        let spaces = |bytes: &[u8]| bytes.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        place += spaces(self.bytes.get(place..)?);
        if quote != escapes || self.bytes.get(place) != Some(&b':') {
            return None;
        }
        place += 1;
        place += spaces(&self.bytes[place..]);
        let is_meant = |subject: &Subject| matches!(subject, Subject::Json(wanted) if *wanted == name);
        if !self.rules.blanks(names::is_secret_key(&name), is_meant) {
            // What follows may be a value that is no key.
            return Some(place);
        }
        Some(self.json_value(place, escapes))
    }

    /// A value in JSON that begins there, with quotation marks behind so many backslashes.
    fn json_value(&mut self, at: usize, escapes: usize) -> usize {
        let slashes = self.bytes[at..].iter().take_while(|&&byte| byte == b'\\').count();
        match self.bytes.get(at + slashes) {
            Some(b'"') => {
                let end = self.value(at + slashes + 1, End::Quote(escapes as u8));
                (end + escapes + 1).min(self.bytes.len())
            }
            Some(b'{' | b'[') => self.value(at + 1, End::Brackets(1)),
            Some(b'n') if self.bytes[at..].starts_with(b"null") => at + 4,
            None => {
                self.open = Open::Begin;
                self.bytes.len()
            }
            Some(_) => self.value(at, End::Word),
        }
    }

    /// What is known by its shape and begins there.
    fn shape(&mut self, at: usize) -> Option<usize> {
        let byte = self.bytes[at];
        let found = |run: Option<Range<usize>>, meant: Subject, rules: Applied<'_>| {
            run.filter(|_| rules.blanks(true, |subject| *subject == meant))
        };
        if byte.is_ascii_digit() {
            let run = found(shapes::card(self.bytes, at), Subject::Cards, self.rules)?;
            return Some(self.run(run));
        }
        if !byte.is_ascii_alphabetic() && byte != b'-' {
            return None;
        }
        let run = found(shapes::token(self.bytes, at), Subject::Tokens, self.rules)?;
        if run.end == self.bytes.len() {
            self.open = Open::Value(End::Token);
        }
        Some(self.run(run))
    }

    /// Digits at the end that may be the begin of a card's number: more of them may come.
    fn part_of_number(&mut self) {
        let digits = self.bytes.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        if digits >= PART_OF_NUMBER && self.rules.blanks(true, |subject| *subject == Subject::Cards) {
            self.open = Open::Value(End::Digits);
            self.blank(self.bytes.len() - digits..self.bytes.len());
        }
    }
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.%[]~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::redact::rules::Rules;

    /// What is left of a text that comes in these pieces.
    fn scrubbed(pieces: &[&[u8]], rules: &Rules) -> String {
        let (mut open, mut out) = (Open::Nothing, Vec::new());
        for (index, piece) in pieces.iter().enumerate() {
            let mut bytes = piece.to_vec();
            scrub(&mut bytes, &mut open, index + 1 < pieces.len(), rules.of([40_000, 8080]));
            assert_eq!(bytes.len(), piece.len());
            out.extend(bytes);
        }
        String::from_utf8_lossy(&out).into_owned()
    }

    fn kept(text: &str) -> String {
        scrubbed(&[text.as_bytes()], &Rules::default())
    }

    #[test]
    fn values_of_telling_names_are_blank_and_nothing_else() {
        for (text, wanted) in [
            ("POST /a?user=1&token=abc#x HTTP/1.1\r\n", "POST /a?user=1&token=***#x HTTP/1.1\r\n"),
            ("Host: a\r\ncookie: a=b; c\r\nAccept: b\r\n", "Host: a\r\ncookie: ******\r\nAccept: b\r\n"),
            ("password=hunter2&next=1", "password=*******&next=1"),
            (r#"{"user":"a","passWord" : "x\"y","n":1}"#, r#"{"user":"a","passWord" : "****","n":1}"#),
            (
                r#"{"pin": 1234,"token":null,"secret":{"a":["b"]},"c":2}"#,
                r#"{"pin": ****,"token":null,"secret":{*********},"c":2}"#,
            ),
            (r#"{"text":"{\"api_key\":\"abc\",\"d\":1}"}"#, r#"{"text":"{\"api_key\":\"***\",\"d\":1}"}"#),
            (r#"{"word":"password","b":"c"}"#, r#"{"word":"password","b":"c"}"#),
            ("card 4111 1111 1111 1111 ok", "card ******************* ok"),
            ("amqp://me:pw@host/", "amqp://me:**@host/"),
            ("x Bearer abcdefgh1 y", "x Bearer ********* y"),
            ("nothing here: 12345, key: value, 2026-11-30", "nothing here: 12345, key: value, 2026-11-30"),
        ] {
            assert_eq!(kept(text), wanted);
        }
    }

    #[test]
    fn rules_add_and_take_away() {
        let rules = |redact: &[&str], reveal: &[&str]| {
            let read = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
            Rules::new(read(redact), read(reveal)).unwrap()
        };
        let text =
            b"GET /?page=1&token=ab HTTP/1.1\r\nX-Tenant: blue\r\n\r\n{\"iban2\":\"DE1\"}4111111111111111";
        let all = rules(
            &["query=page", "header=x-tenant@8080", "json=IBAN-2"],
            &["query=token", "cards@8000-9000"],
        );
        assert_eq!(
            scrubbed(&[text], &all),
            "GET /?page=*&token=ab HTTP/1.1\r\nX-Tenant: ****\r\n\r\n{\"iban2\":\"***\"}4111111111111111"
        );
        let elsewhere = rules(&["header=x-tenant@81"], &["cards@81"]);
        assert!(
            scrubbed(&[text], &elsewhere)
                .ends_with("X-Tenant: blue\r\n\r\n{\"iban2\":\"DE1\"}****************")
        );
    }

    const SECRETS: &str = "POST /x?session=hunter2 HTTP/1.1\r\nAuthorization: hunter2 hunter2\r\n\r\n\
                           {\"a\":1,\"password\":\"hunter2\",\"b\":{\"client_secret\": \"hunter2\"}}&otp=hunter2&z=1";

    #[test]
    fn no_value_survives_a_cut_at_any_byte() {
        for cut in 0..=SECRETS.len() {
            let (first, second) = SECRETS.as_bytes().split_at(cut);
            let left = scrubbed(&[first, second], &Rules::default());
            // A name that is cut tells nothing.
            let names = ["session=", "Authorization:", "\"password\":", "\"client_secret\": ", "otp="];
            let cuts_name = names.iter().any(|name| {
                let at = SECRETS.find(name).unwrap_or_default();
                (at..=at + name.len()).contains(&cut)
            });
            assert!(cuts_name || !left.contains("unter"), "cut at {cut}: {left}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_keep_their_places(bytes: Vec<u8>, cuts in proptest::collection::vec(0usize..64, 0..6)) {
            let (mut open, mut rest) = (Open::Begin, &bytes[..]);
            for cut in cuts.into_iter().chain([usize::MAX]) {
                let (piece, more) = rest.split_at(cut.min(rest.len()));
                let mut copy = piece.to_vec();
                let blanked = scrub(&mut copy, &mut open, !more.is_empty(), Rules::default().of([1, 2]));
                prop_assert!(copy.iter().zip(piece).all(|(kept, was)| kept == was || *kept == BLANK));
                prop_assert!(blanked || copy == piece);
                rest = more;
            }
        }

        #[test]
        fn text_like_what_is_looked_for_does_not_confuse_it(text in "[\"\\\\:{}\\[\\]=&?;a-c1-4 \n-]{0,80}(password|token|eyJ|AKIA|://a:)?[\"\\\\:{}=&?a-c ]{0,40}") {
            let left = kept(&text);
            prop_assert_eq!(left.len(), text.len());
        }
    }
}
