//! Lines of requests: the command, whether it is answered, how long the value behind it is, and what of them
//! may be kept.

use super::commands::{self, Command, MAX_NAME, Syntax, kind};
use super::lines::{Words, is_key, may_be_number, number, split_end};
use crate::frames::Runs;

/// Longest value that is believed, as of the binary protocol: 1 GiB.
const MAX_VALUE: u64 = 1 << 30;
/// Longest key; a server refuses a longer one, and takes the value behind it for commands.
const MAX_KEY: usize = 250;

/// A line of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// Its place in the table.
    pub(super) place: Option<usize>,
    pub(super) kind: u32,
    /// It wants no answer.
    pub(super) silent: bool,
    /// It wants one only if that is not the ordinary one.
    pub(super) quiet: bool,
    /// What its answer repeats, so that it is known.
    pub(super) opaque: Option<u128>,
    /// Bytes behind the line, their end included.
    pub(super) block: u64,
}

impl Request {
    /// Reads a line, its end included. None where no server would take it for a line of text.
    pub(super) fn of(line: &[u8]) -> Option<Request> {
        let (text, _) = split_end(line);
        let mut words = Words::of(text);
        let name = words.next().map_or(&b""[..], |word| &text[word]);
        let mut request =
            Request { place: None, kind: kind::UNKNOWN, silent: false, quiet: false, opaque: None, block: 0 };
        let Some((place, command)) = commands::of_name(name) else {
            let is_text = |&byte: &u8| matches!(byte, b' '..=b'~' | b'\t');
            return text.iter().all(is_text).then_some(request);
        };
        (request.place, request.kind) = (Some(place), command.kind);
        request.silent = command.kind == kind::NONE || (command.may_be_silent && is_silent(text));
        match command.syntax {
            Syntax::Store { .. } => request.block = block_of_store(text, words).unwrap_or(0),
            Syntax::Meta { value } => request.meta(text, words, value),
            _ => {}
        }
        Some(request)
    }

    fn meta(&mut self, text: &[u8], mut words: Words<'_>, value: bool) {
        let is_good = words.next().is_some_and(|key| key.len() <= MAX_KEY);
        for (index, word) in words.enumerate() {
            match &text[word] {
                length if value && index == 0 && is_good && number(length, 10).is_some() => {
                    self.block = number(length, 10).map_or(0, with_end);
                }
                // So it was before memcached 1.6.10.
                [b'S', length @ ..] if value && self.block == 0 && is_good => {
                    self.block = number(length, 10).map_or(0, with_end);
                }
                [b'q'] => self.quiet = true,
                [b'O', token @ ..] => self.opaque = opaque(token),
                _ => {}
            }
        }
    }
}

/// The value and its line end; 0 where there is no such length.
fn with_end(length: u64) -> u64 {
    if length <= MAX_VALUE { length + 2 } else { 0 }
}

fn block_of_store(text: &[u8], mut words: Words<'_>) -> Option<u64> {
    let key = words.next()?;
    let flags = is_flags(&text[words.next()?]);
    let time = is_time(&text[words.next()?]);
    let length = number(&text[words.next()?], 10)?;
    (key.len() <= MAX_KEY && flags && time).then(|| with_end(length))
}

fn is_flags(word: &[u8]) -> bool {
    number(word, 10).is_some()
}

fn is_time(word: &[u8]) -> bool {
    number(word.strip_prefix(b"-").unwrap_or(word), 10).is_some()
}

/// Ends with the word that asks for silence.
fn is_silent(text: &[u8]) -> bool {
    text.trim_ascii_end().ends_with(b" noreply")
}

/// A short token of plain characters, as clients number their requests with.
pub(super) fn opaque(token: &[u8]) -> Option<u128> {
    let is_plain = token.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(byte));
    if token.is_empty() || token.len() > 15 || !is_plain {
        return None;
    }
    Some(token.iter().fold(token.len() as u128, |value, &byte| value << 8 | u128::from(byte)))
}

/// Tells what of a line may be kept, as far as it is there: the command, flags without what they carry,
/// lengths, and how long everything else is. A word that may go on is not.
pub(super) fn keep(line: &[u8], runs: &mut Runs) {
    let (text, end) = split_end(line);
    let is_whole = |word_end: usize| end > 0 || word_end < text.len();
    let mut words = Words::of(text);
    let Some(name) = words.next() else {
        runs.keep(line.len());
        return;
    };
    let known = if is_whole(name.end) { commands::of_name(&text[name.clone()]) } else { None };
    runs.keep(name.start);
    if let Some((_, command)) = known {
        runs.keep(name.len());
        for (index, word) in words.enumerate() {
            runs.keep(word.start - runs.at());
            keep_word(command, index + 1, &text[word.clone()], is_whole(word.end), runs);
        }
        runs.keep(text.len() - runs.at());
    } else {
        runs.blank(text.len() - runs.at());
    }
    runs.keep(end);
}

fn keep_word(command: &Command, index: usize, word: &[u8], whole: bool, runs: &mut Runs) {
    let kept = match (command.syntax, word) {
        _ if !whole || index == 0 => 0,
        (_, b"noreply") if command.may_be_silent && index > 1 => word.len(),
        // Without a key.
        (Syntax::Free { .. }, b"noreply") if command.may_be_silent => word.len(),
        (Syntax::Store { .. }, _) if index == 2 && is_flags(word) => word.len(),
        (Syntax::Store { .. }, _) if index == 3 && is_time(word) => word.len(),
        (Syntax::Store { .. }, _) if index == 4 && number(word, 10).is_some() => word.len(),
        (Syntax::Meta { value: true }, _) if index == 2 && number(word, 10).is_some() => word.len(),
        (Syntax::Meta { value: true }, [b'S', length @ ..])
            if index > 1 && (length.is_empty() || number(length, 10).is_some()) =>
        {
            word.len()
        }
        (Syntax::Meta { .. }, [b'O', token @ ..]) if index > 1 && opaque(token).is_some() => word.len(),
        (Syntax::Meta { .. }, [letter, ..]) if index > 1 && letter.is_ascii_alphabetic() => 1,
        _ => 0,
    };
    runs.keep(kept);
    runs.blank(word.len() - kept);
}

/// How sure it is that a line is one of this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Proof {
    None,
    /// A command, but others have such a one.
    Weak,
    Strong,
}

/// What a whole line proves, its end included.
pub(super) fn proof(line: &[u8]) -> Proof {
    let (text, end) = split_end(line);
    let mut words = Words::of(text);
    let Some(name) = words.next().filter(|name| end == 2 && name.start == 0 && name.end <= MAX_NAME) else {
        return Proof::None;
    };
    let Some((_, command)) = commands::of_name(&text[name]) else { return Proof::None };
    let all = || words.clone().map(|word| &text[word]);
    let count = all().count();
    let word = |index: usize| all().nth(index).unwrap_or_default();
    let silent = usize::from(command.may_be_silent && is_silent(text));
    let proven = match command.syntax {
        Syntax::Store { words: wanted } => {
            block_of_store(text, words.clone()).is_some_and(|block| block > 0)
                && is_key(word(0))
                && count == wanted - 1 + silent
                && (wanted == 5 || may_be_number(word(4)))
        }
        Syntax::Keys { behind } => {
            count > behind && all().take(behind).all(may_be_number) && all().skip(behind).all(is_key)
        }
        Syntax::Key { words: wanted } => {
            let is_one = is_key(word(0)) && count == 1 + wanted + silent;
            if wanted == 0 {
                return if is_one { Proof::Weak } else { Proof::None };
            }
            is_one && may_be_number(word(1))
        }
        Syntax::Meta { value } => {
            let is_flag = |flag: &[u8]| flag[0].is_ascii_alphabetic() && flag.len() <= 64;
            let length = !value || number(word(1), 10).is_some() || word(1).starts_with(b"S");
            is_key(word(0)) && length && all().skip(1 + usize::from(value)).all(is_flag)
        }
        Syntax::Free { alone } => {
            let is_text = text.iter().all(|&byte| matches!(byte, b' '..=b'~')) && count <= 4;
            return match (is_text, alone) {
                (false, _) => Proof::None,
                (true, false) => Proof::Weak,
                (true, true) => Proof::Strong,
            };
        }
    };
    if proven { Proof::Strong } else { Proof::None }
}
