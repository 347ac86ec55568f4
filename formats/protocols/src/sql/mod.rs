//! Statements of SQL and its relatives (CQL): what of their text may be kept, and what they are called.
//!
//! * [`keep`]: keywords, names, signs, placeholders and white space may be kept. Each literal becomes `?`,
//!   each comment spaces, of the same length. Double quotes hold names in PostgreSQL and CQL and strings in
//!   MySQL ([`Dialect`]). Names that are not of plain characters are literals, and so are words that look
//!   like keys: hexadecimal ones, UUIDs.
//! * [`Summary`]: operation, table and normalised text. A statement and what was kept of it have the same
//!   summary.
//!
//! The settings of a session may change where a string ends (`standard_conforming_strings`,
//! `NO_BACKSLASH_ESCAPES`). Where that makes a difference, at `\'`, everything from the begin of the string
//! on is a literal.

mod summary;
#[cfg(test)]
mod tests;
mod tokens;
mod words;

pub(crate) use summary::Summary;

use crate::frames::Runs;
use tokens::{Kind, Tokens};

/// Which rules a statement is written by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    PostgreSql,
    /// MySQL and MariaDB: strings in double quotes, names in backticks, `#` comments.
    MySql,
    /// Cassandra: UUIDs and blobs without quotes, `//` comments.
    Cql,
}

/// Tells what of a statement may be kept. `whole`: it ends where `text` ends; else its last token may go on,
/// and is not kept. What is told of a token that does not reach the end of `text` does not depend on what
/// follows.
pub(crate) fn keep(text: &[u8], dialect: Dialect, whole: bool, runs: &mut Runs) {
    let mut kept = Vec::new();
    for token in Tokens::new(text, dialect, whole) {
        let fill = match token.kind {
            _ if token.cut => b'?',
            Kind::Literal => b'?',
            Kind::Comment => b' ',
            Kind::Space | Kind::Word | Kind::Name | Kind::Sign | Kind::Asked => continue,
        };
        if kept.is_empty() {
            kept.extend_from_slice(text);
        }
        kept[token.at..token.at + token.text.len()].fill(fill);
    }
    if kept.is_empty() {
        runs.keep(text.len());
    } else {
        runs.instead(kept);
    }
}

/// The word that a statement begins with, if it is one of SQL.
pub(crate) fn first_word(text: &[u8], dialect: Dialect, whole: bool) -> Option<&'static str> {
    let skipped = |kind, text: &[u8]| matches!(kind, Kind::Space | Kind::Comment) || text == b"(";
    let mut tokens = Tokens::new(text, dialect, whole);
    let word = tokens.find(|token| !skipped(token.kind, token.text))?;
    (word.kind == Kind::Word && !word.cut).then(|| words::known(word.text)).flatten()
}

/// The word of SQL that begins statements, in whatever case it is written.
pub(crate) fn word(word: &str) -> Option<&'static str> {
    words::known(word.as_bytes())
}
