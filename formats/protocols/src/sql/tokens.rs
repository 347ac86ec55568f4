//! The tokens of a statement, as far as it takes to know literals and names.

use memchr::{memchr, memchr2, memmem};

use super::Dialect;

/// A token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    /// Where it begins.
    pub(super) at: usize,
    pub(super) text: &'a [u8],
    /// It reaches the end of a statement that goes on, so it may be a part of another one. Never white space.
    pub(super) cut: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Space,
    /// A keyword, or a name without quotes.
    Word,
    /// A name of plain characters, in quotes.
    Name,
    /// Anything that must not be kept.
    Literal,
    Comment,
    /// A sign of one byte, or a placeholder (`$1`).
    Sign,
    /// Question marks: placeholders, operators, or a literal that was not kept.
    Asked,
}

/// How a quote is written inside a string, besides twice.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Escape {
    Not,
    Backslash,
    /// One of them: that depends on the session.
    Unclear,
}

/// Longest name: PostgreSQL has 63 bytes, MySQL 64.
const MAX_NAME_BYTES: usize = 64;

/// The tokens of a text, without gaps.
#[derive(Debug)]
pub(super) struct Tokens<'a> {
    text: &'a [u8],
    at: usize,
    dialect: Dialect,
    whole: bool,
    /// The statement is about a password: quotes of any kind may hold it.
    password: bool,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(text: &'a [u8], dialect: Dialect, whole: bool) -> Tokens<'a> {
        Tokens { text, at: 0, dialect, whole, password: false }
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.get(self.at + ahead).copied()
    }

    /// Kind and end of the token that begins with this byte.
    fn token(&mut self, first: u8) -> (Kind, usize) {
        let mysql = self.dialect == Dialect::MySql;
        let second = self.peek(1);
        match first {
            _ if is_space(first) => (Kind::Space, self.while_at(self.at, is_space)),
            b'\'' => (Kind::Literal, self.string(self.at + 1, first, self.plain_escape())),
            b'"' if mysql => (Kind::Literal, self.string(self.at + 1, first, Escape::Unclear)),
            b'"' | b'`' => self.quoted_name(first),
            b'?' => (Kind::Asked, self.while_at(self.at, |byte| byte == b'?')),
            b'-' if second == Some(b'-') && self.dashes_comment() => (Kind::Comment, self.line_end()),
            b'#' if mysql => (Kind::Comment, self.line_end()),
            b'/' if second == Some(b'/') && self.dialect == Dialect::Cql => (Kind::Comment, self.line_end()),
            b'/' if second == Some(b'*') => (Kind::Comment, self.comment_end()),
            b'$' if !mysql => self.dollar(),
            b'.' if second.is_some_and(|byte| byte.is_ascii_digit()) => (Kind::Literal, self.number_end()),
            b'0'..=b'9' => (Kind::Literal, self.uuid_end().unwrap_or_else(|| self.number_end())),
            _ if is_word(first) => match self.uuid_end() {
                Some(end) => (Kind::Literal, end),
                None => self.word(),
            },
            0..=0x1f | 0x7f => (Kind::Literal, self.at + 1),
            _ => (Kind::Sign, self.at + 1),
        }
    }

    fn while_at(&self, from: usize, holds: impl Fn(u8) -> bool) -> usize {
        let rest = self.text[from..].iter().position(|&byte| !holds(byte));
        rest.map_or(self.text.len(), |length| from + length)
    }

    fn plain_escape(&self) -> Escape {
        match self.dialect {
            Dialect::Cql => Escape::Not,
            Dialect::PostgreSql | Dialect::MySql => Escape::Unclear,
        }
    }

    /// The end of a string whose text begins there.
    fn string(&self, begin: usize, quote: u8, escape: Escape) -> usize {
        let mut at = begin;
        while let Some(next) = memchr2(quote, b'\\', &self.text[at..]) {
            at += next;
            if self.text[at] == b'\\' && escape != Escape::Not {
                let escapes_quote = self.text.get(at + 1) == Some(&quote);
                if escape == Escape::Unclear && escapes_quote {
                    return self.text.len();
                }
                at = (at + 2).min(self.text.len());
            } else if self.text[at] == b'\\' {
                at += 1;
            } else if self.text.get(at + 1) == Some(&quote) {
                at += 2;
            } else {
                return at + 1;
            }
        }
        self.text.len()
    }

    fn quoted_name(&self, quote: u8) -> (Kind, usize) {
        let begin = self.at + 1;
        let Some(length) = memchr(quote, &self.text[begin..]) else {
            return (Kind::Literal, self.text.len());
        };
        let end = begin + length + 1;
        if self.text.get(end) == Some(&quote) {
            return (Kind::Literal, self.string(begin, quote, Escape::Not));
        }
        let name = &self.text[begin..end - 1];
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.$-".contains(byte);
        let harmless = !name.is_empty() && name.iter().all(plain) && !may_be_key(name) && !self.password;
        (if harmless { Kind::Name } else { Kind::Literal }, end)
    }

    /// MySQL wants white space or a control character behind it.
    fn dashes_comment(&self) -> bool {
        self.dialect != Dialect::MySql || self.peek(2).is_none_or(|byte| byte <= b' ')
    }

    fn line_end(&self) -> usize {
        let mysql = self.dialect == Dialect::MySql;
        self.while_at(self.at, |byte| byte != b'\n' && (mysql || byte != b'\r'))
    }

    /// Comments stand in comments in PostgreSQL.
    fn comment_end(&self) -> usize {
        let mut at = self.at + 2;
        let mut depth = 1;
        while let Some(slash) = memchr(b'/', &self.text[at..]) {
            let slash = at + slash;
            if slash > at && self.text[slash - 1] == b'*' {
                depth -= 1;
                at = slash + 1;
                if depth == 0 {
                    return at;
                }
            } else if self.dialect == Dialect::PostgreSql && self.text.get(slash + 1) == Some(&b'*') {
                depth += 1;
                at = slash + 2;
            } else {
                at = slash + 1;
            }
        }
        self.text.len()
    }

    /// A placeholder (`$1`) or a string between `$tag$` and `$tag$`.
    fn dollar(&self) -> (Kind, usize) {
        let tag = self.at + 1;
        if self.peek(1).is_some_and(|byte| byte.is_ascii_digit()) {
            return (Kind::Sign, self.while_at(tag, |byte| byte.is_ascii_digit()));
        }
        let end = self.while_at(tag, |byte| byte != b'$' && is_word(byte));
        match self.text.get(end) {
            Some(b'$') => {
                let delimiter = &self.text[self.at..=end];
                let close = memmem::find(&self.text[end + 1..], delimiter);
                let length = close.map(|at| end + 1 + at + delimiter.len());
                (Kind::Literal, length.unwrap_or(self.text.len()))
            }
            Some(_) => (Kind::Sign, self.at + 1),
            // What goes on may be a tag.
            None => (if self.whole { Kind::Sign } else { Kind::Literal }, self.at_end_unless_whole()),
        }
    }

    fn at_end_unless_whole(&self) -> usize {
        if self.whole { self.at + 1 } else { self.text.len() }
    }

    fn number_end(&self) -> usize {
        let mut at = self.at + 1;
        while let Some(&byte) = self.text.get(at) {
            let sign = matches!(byte, b'+' | b'-') && self.text[at - 1].eq_ignore_ascii_case(&b'e');
            if !(sign || byte == b'.' || is_word(byte)) {
                break;
            }
            at += 1;
        }
        at
    }

    /// The end of a UUID, or of what may become one.
    fn uuid_end(&self) -> Option<usize> {
        let mut at = self.at;
        for (index, length) in [8, 4, 4, 4, 12].into_iter().enumerate() {
            if index > 0 {
                match self.text.get(at) {
                    Some(b'-') => at += 1,
                    Some(_) => return None,
                    None => return (!self.whole).then_some(at),
                }
            }
            let end = self.while_at(at, |byte| byte.is_ascii_hexdigit());
            if end == self.text.len() && end - at < length {
                return (!self.whole).then_some(end);
            }
            if end - at != length {
                return None;
            }
            at = end;
        }
        let ends = self.text.get(at).is_none_or(|&byte| !is_word(byte));
        ends.then_some(at)
    }

    fn word(&mut self) -> (Kind, usize) {
        let end = self.while_at(self.at, is_word);
        let word = &self.text[self.at..end];
        if self.text.get(end) == Some(&b'\'')
            && let Some(escape) = self.prefix(word)
        {
            return (Kind::Literal, self.string(end + 1, b'\'', escape));
        }
        self.password |= word.eq_ignore_ascii_case(b"password") || word.eq_ignore_ascii_case(b"identified");
        (if word.is_ascii() && !may_be_key(word) { Kind::Word } else { Kind::Literal }, end)
    }

    /// What a word means that stands right in front of a quote.
    fn prefix(&self, word: &[u8]) -> Option<Escape> {
        match (self.dialect, word) {
            (Dialect::PostgreSql, b"E" | b"e") => Some(Escape::Backslash),
            (Dialect::PostgreSql | Dialect::MySql, b"X" | b"x" | b"B" | b"b" | b"N" | b"n") => {
                Some(Escape::Unclear)
            }
            _ => None,
        }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let at = self.at;
        let (kind, end) = self.token(*self.text.get(at)?);
        self.at = end;
        let cut = !self.whole && end == self.text.len() && kind != Kind::Space;
        Some(Token { kind, at, text: &self.text[at..end], cut })
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || !byte.is_ascii()
}

/// Whether a word is more like a key or a token than like a name: too long, hexadecimal, or letters and
/// digits in turns.
fn may_be_key(word: &[u8]) -> bool {
    let hex = word.iter().all(|&byte| byte.is_ascii_hexdigit() || byte == b'-');
    let digits = word.iter().filter(|byte| byte.is_ascii_digit()).count();
    let turns =
        word.windows(2).filter(|pair| pair[0].is_ascii_alphabetic() && pair[1].is_ascii_digit()).count();
    word.len() > MAX_NAME_BYTES
        || (hex && digits > 0 && word.len() >= 16)
        || (word.len() >= 20 && turns >= 3 && digits >= 5)
}
