//! Lines of answers: the words that they begin with, which commands they answer, and what of them may be
//! kept.

use super::commands::kind::{
    BINARY, COUNT, DELETE, GET, META, META_COUNT, META_DEBUG, META_DELETE, META_GET, META_NOTHING, META_SET,
    SETTING, STATS, STORE, TOUCH, UNKNOWN, VERSION, WATCH,
};
use super::lines::{Words, is_key, may_be_number, number, split_end};
use super::requests::opaque;
use crate::frames::Runs;
use crate::operation::Status;

/// What a line is in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// All of it.
    Whole,
    /// One of many, up to [`Shape::End`] or an error. Behind it there is a value, whose length is its word at
    /// this index.
    Item { length: Option<usize> },
    /// All of it, with a value behind it, whose length is its word at this index.
    Value { length: usize },
    /// The last line of many, or the only one.
    End,
    /// An error; it may also be the last line of many.
    Error,
}

/// A line that begins with this word.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word {
    name: &'static str,
    /// The commands that it may answer.
    pub(super) kinds: u32,
    /// Those that do not say it if they are quiet.
    pub(super) hushed: u32,
    pub(super) shape: Shape,
    /// It says how it went.
    tells: bool,
}

impl Word {
    /// It is not known.
    pub(super) fn is_other(&self) -> bool {
        self.name.is_empty() && self.kinds & COUNT == 0
    }
}

const fn word(name: &'static str, kinds: u32, hushed: u32, shape: Shape, tells: bool) -> Word {
    Word { name, kinds: kinds | UNKNOWN, hushed, shape, tells }
}

const ANY: u32 = !BINARY;
const LINES: u32 = SETTING | WATCH;
const ITEM: Shape = Shape::Item { length: None };
const BLOCK: Shape = Shape::Item { length: Some(3) };
const VALUE: Shape = Shape::Value { length: 1 };
const FAILS: u32 = META_SET | META_DELETE | META_COUNT;

/// Sorted by name.
const WORDS: [Word; 36] = [
    word("BADCLASS", LINES, 0, Shape::Whole, true),
    word("BLOCKED", LINES, 0, Shape::Whole, true),
    word("BUSY", LINES, 0, Shape::Whole, true),
    word("CLIENT_ERROR", ANY, 0, Shape::Error, true),
    word("CONFIG", LINES, 0, BLOCK, false),
    word("DELETED", DELETE | LINES, 0, Shape::Whole, true),
    word("EN", META_GET | META_DEBUG | LINES, META_GET, Shape::End, true),
    word("END", GET | STATS | LINES, 0, Shape::End, true),
    word("ERROR", ANY, 0, Shape::Error, true),
    word("ERROR:", ANY, 0, Shape::Error, true),
    word("EX", FAILS, 0, Shape::Whole, true),
    word("EXISTS", STORE, 0, Shape::Whole, true),
    word("Error", LINES, 0, Shape::Error, true),
    word("HD", META & !META_DEBUG, META_SET | META_DELETE | META_COUNT, Shape::Whole, true),
    word("ITEM", STATS, 0, ITEM, false),
    word("ME", META_DEBUG, 0, Shape::Whole, true),
    word("MN", META_NOTHING, 0, Shape::Whole, true),
    word("NF", FAILS | META_GET | META_DEBUG, 0, Shape::Whole, true),
    word("NOSPARE", LINES, 0, Shape::Whole, true),
    word("NOTFULL", LINES, 0, Shape::Whole, true),
    word("NOT_FOUND", STORE | DELETE | COUNT | TOUCH, 0, Shape::Whole, true),
    word("NOT_STORED", STORE, 0, Shape::Whole, true),
    word("NS", FAILS, 0, Shape::Whole, true),
    word("OK", LINES | STATS | META, 0, Shape::Whole, true),
    word("PREFIX", STATS, 0, ITEM, false),
    word("RESET", STATS, 0, Shape::Whole, true),
    word("SAME", LINES, 0, Shape::Whole, true),
    word("SERVER_ERROR", ANY, 0, Shape::Error, true),
    word("STAT", STATS, 0, ITEM, false),
    word("STORED", STORE, 0, Shape::Whole, true),
    word("TOUCHED", TOUCH, 0, Shape::Whole, true),
    word("UNSAFE", LINES, 0, Shape::Whole, true),
    word("VA", META_GET | META_COUNT, META_COUNT, VALUE, true),
    word("VALUE", GET, 0, BLOCK, true),
    word("VERSION", VERSION, 0, Shape::Whole, false),
    word("mg", LINES, 0, ITEM, false),
];

/// A count, of which nothing is kept.
const NUMBER: Word = word("", COUNT, 0, Shape::Whole, false);
/// A key that a crawler met.
const CRAWLED: Word = word("key=", LINES, 0, ITEM, false);
/// What is not known.
const OTHER: Word = word("", LINES, 0, Shape::Whole, false);

/// Longest word of the table.
const MAX_WORD: usize = 12;

/// Errors by their whole lines, sorted. Others may name what was asked for.
const ERRORS: [&str; 51] = [
    "CLIENT_ERROR Illegal slab id",
    "CLIENT_ERROR authentication failure",
    "CLIENT_ERROR bad authentication token format",
    "CLIENT_ERROR bad command line",
    "CLIENT_ERROR bad command line format",
    "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]",
    "CLIENT_ERROR bad command line termination",
    "CLIENT_ERROR bad data chunk",
    "CLIENT_ERROR bad token in command line format",
    "CLIENT_ERROR cannot increment or decrement non-numeric value",
    "CLIENT_ERROR duplicate flag",
    "CLIENT_ERROR error decoding key",
    "CLIENT_ERROR flush_all not allowed",
    "CLIENT_ERROR incorrect length for M token",
    "CLIENT_ERROR invalid exptime argument",
    "CLIENT_ERROR invalid flag",
    "CLIENT_ERROR invalid mode for ma M token",
    "CLIENT_ERROR invalid mode for ms M token",
    "CLIENT_ERROR invalid numeric delta argument",
    "CLIENT_ERROR invalid numeric delta value",
    "CLIENT_ERROR invalid numeric initial value",
    "CLIENT_ERROR invalid or duplicate flag",
    "CLIENT_ERROR invalid shutdown mode",
    "CLIENT_ERROR line format",
    "CLIENT_ERROR lru crawler disabled",
    "CLIENT_ERROR opaque token too long",
    "CLIENT_ERROR options flags are too long",
    "CLIENT_ERROR options flags too long",
    "CLIENT_ERROR slab reassignment disabled",
    "CLIENT_ERROR sleep must be one second or less",
    "CLIENT_ERROR stats cachedump not allowed",
    "CLIENT_ERROR unauthenticated",
    "CLIENT_ERROR usage: stats detail on|off|dump",
    "CLIENT_ERROR watch commands not allowed",
    "ERROR Too many open connections",
    "ERROR cannot pipeline other commands before metadump",
    "ERROR cannot pipeline other commands before watch",
    "ERROR failed to start lru crawler thread",
    "ERROR metadump not allowed",
    "ERROR: shutdown not enabled",
    "SERVER_ERROR Out of memory allocating item",
    "SERVER_ERROR Out of memory allocating new item",
    "SERVER_ERROR Out of memory during read",
    "SERVER_ERROR Out of memory incrementing value",
    "SERVER_ERROR object too large for cache",
    "SERVER_ERROR out of memory",
    "SERVER_ERROR out of memory reading request",
    "SERVER_ERROR out of memory storing object",
    "SERVER_ERROR out of memory writing get response",
    "SERVER_ERROR output line too long",
    "SERVER_ERROR refcount overflow during fetch",
];

/// A line of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) word: Word,
    pub(super) status: Status,
    /// What it repeats of the request.
    pub(super) opaque: Option<u128>,
    /// Bytes behind the line, their end included.
    pub(super) block: u64,
}

impl Answer {
    /// Reads a line, its end included. None where a value should be behind it that has no length.
    pub(super) fn of(line: &[u8]) -> Option<Answer> {
        let (text, _) = split_end(line);
        let first = first(text);
        let word = known(first).unwrap_or_else(|| other(text));
        let length = match word.shape {
            Shape::Item { length } => length,
            Shape::Value { length } => Some(length),
            _ => None,
        };
        let block = match length {
            Some(at) => number(&text[Words::of(text).nth(at)?], 10)? + 2,
            None => 0,
        };
        let is_meta = word.kinds & META != 0 && word.shape != Shape::Error;
        let token = is_meta.then(|| repeated(text)).flatten();
        Some(Answer { word, status: status(word, text), opaque: token, block })
    }
}

fn first(text: &[u8]) -> &[u8] {
    let end = text.iter().take(MAX_WORD + 1).position(|&byte| byte == b' ');
    &text[..end.unwrap_or(text.len().min(MAX_WORD + 1))]
}

fn known(first: &[u8]) -> Option<Word> {
    let place = WORDS.binary_search_by(|word| word.name.as_bytes().cmp(first)).ok()?;
    Some(WORDS[place])
}

/// A line that begins with no known word.
fn other(text: &[u8]) -> Word {
    match text {
        _ if is_count(text) => NUMBER,
        [b'k', b'e', b'y', b'=', ..] => CRAWLED,
        _ => OTHER,
    }
}

/// A number; behind a shorter one than before there may be spaces.
fn is_count(text: &[u8]) -> bool {
    let digits = text.trim_ascii_end();
    (1..=20).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
}

/// The opaque among the flags.
fn repeated(text: &[u8]) -> Option<u128> {
    Words::of(text).skip(1).find_map(|word| opaque(text[word].strip_prefix(b"O")?))
}

fn status(word: Word, text: &[u8]) -> Status {
    let failed = word.shape == Shape::Error;
    let known = if failed { error(text) } else { None };
    let text = known.or(word.tells.then_some(word.name));
    Status { text, failed, ..Status::default() }
}

fn error(text: &[u8]) -> Option<&'static str> {
    let place = ERRORS.binary_search_by(|error| error.as_bytes().cmp(text)).ok()?;
    Some(ERRORS[place])
}

/// Tells what of a line may be kept, as far as it is there: its first word, lengths, and errors that are
/// known.
pub(super) fn keep(line: &[u8], runs: &mut Runs) {
    let (text, end) = split_end(line);
    let first = first(text);
    let is_whole = |word_end: usize| end > 0 || word_end < text.len();
    match known(first).filter(|_| is_whole(first.len())) {
        Some(Word { shape: Shape::Error, .. }) if end > 0 && error(text).is_some() => runs.keep(text.len()),
        Some(word) => {
            runs.keep(first.len());
            for (index, place) in Words::of(text).enumerate().skip(1) {
                runs.keep(place.start - runs.at());
                let kept = keep_word(&word, index, &text[place.clone()], is_whole(place.end));
                runs.keep(kept);
                runs.blank(place.len() - kept);
            }
            runs.keep(text.len() - runs.at());
        }
        None if text.starts_with(b"key=") => runs.keep(4),
        // That it is one says what it answers.
        None if end > 0 && is_count(text) => runs.instead(vec![b'0'; text.trim_ascii_end().len()]),
        None => {}
    }
    let spaces = text.len() - text.trim_ascii_end().len();
    runs.blank((text.len() - spaces).saturating_sub(runs.at()));
    runs.keep(line.len() - runs.at());
}

/// How many of its first bytes may be kept.
fn keep_word(word: &Word, index: usize, text: &[u8], whole: bool) -> usize {
    let is_flags = word.kinds & META != 0 && word.shape != Shape::Error && word.kinds & META != META_DEBUG;
    match word.shape {
        _ if !whole => 0,
        Shape::Item { length: Some(at) } if index == at || index + 1 == at => {
            number(text, 10).map_or(0, |_| text.len())
        }
        Shape::Value { length } if index == length => number(text, 10).map_or(0, |_| text.len()),
        Shape::Whole | Shape::Value { .. } | Shape::End if is_flags => match text {
            [b'O', token @ ..] if opaque(token).is_some() => text.len(),
            [letter, ..] if letter.is_ascii_alphabetic() => 1,
            _ => 0,
        },
        _ => 0,
    }
}

/// Whether a whole line, its end included, is an answer that nobody else gives.
pub(super) fn is_own(line: &[u8]) -> bool {
    let (text, end) = split_end(line);
    let Some(word) = known(first(text)).filter(|_| end == 2) else { return false };
    let words: Vec<&[u8]> = Words::of(text).take(6).map(|place| &text[place]).collect();
    match (word.name, &words[1..]) {
        ("VALUE", [key, flags, length, cas @ ..]) => {
            let is_number = |word: &[u8]| number(word, 10).is_some();
            let cas = cas.len() < 2 && cas.iter().all(|cas| may_be_number(cas));
            is_key(key) && is_number(flags) && is_number(length) && cas
        }
        ("STORED" | "NOT_STORED", []) => true,
        ("CLIENT_ERROR" | "SERVER_ERROR", [_, ..]) => true,
        _ => false,
    }
}

/// Whether a whole line, its end included, is an answer, where it is known that this protocol is spoken.
pub(super) fn is_answer(line: &[u8]) -> bool {
    let (text, end) = split_end(line);
    let Some(word) = known(first(text)).filter(|_| end == 2) else { return false };
    let is_alone = Words::of(text).count() == 1;
    match word.name {
        "DELETED" | "END" | "ERROR" | "EXISTS" | "NOT_FOUND" | "TOUCHED" | "OK" | "RESET" | "MN" => is_alone,
        "STAT" => Words::of(text).count() >= 2,
        "EN" | "HD" | "NF" | "NS" | "EX" => {
            Words::of(text).skip(1).all(|flag| text[flag.start].is_ascii_alphabetic())
        }
        "VA" => Answer::of(line).is_some(),
        _ => is_own(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted() {
        assert!(WORDS.is_sorted_by_key(|word| word.name));
        assert!(WORDS.iter().all(|word| word.name.len() <= MAX_WORD));
        assert!(ERRORS.is_sorted());
    }
}
