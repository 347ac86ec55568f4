//! What may be kept of a span: a list of names, and for each what its value may be.
//!
//! What is not listed is left out, as no list of secrets would be whole: applications put whatever they like into
//! attributes, and many put tokens and people there. Of what is listed, URLs lose users, passwords and the values of
//! their queries, statements their literals, and words must look like words.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use super::keys::rule;
use super::rule::Rule;
use crate::http1::names;
use crate::http2::path;
use crate::sql::{self, Dialect};

/// Longest word that is kept.
const MAX_WORD_BYTES: usize = 255;
/// Longest other text.
const MAX_TEXT_BYTES: usize = 4096;
/// Longest name of a span.
const MAX_NAME_BYTES: usize = 512;
/// What stands for what must not be kept.
const BLANK: &str = "*";

/// Prefixes of attributes for single headers.
const HEADERS: [&str; 2] = ["http.request.header.", "http.response.header."];

/// Decides about the attributes of one span.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keeper {
    dialect: Option<Dialect>,
}

impl Keeper {
    /// For a span that says this of which database it asks, if of any: statements are only read where it is known
    /// how they are written.
    pub fn new(database: Option<&str>) -> Keeper {
        Keeper { dialect: database.and_then(dialect) }
    }

    /// Whether a number or truth of that name may be kept.
    pub fn keeps(self, key: &str) -> bool {
        rule(key).is_some()
    }

    /// What may be kept of a text.
    pub fn text<'a>(self, key: &str, value: &'a str) -> Option<Cow<'a, str>> {
        let is_header = HEADERS.iter().find_map(|prefix| key.strip_prefix(prefix)).is_some_and(harmless);
        match rule(key).or(is_header.then_some(Rule::Text))? {
            Rule::Word => is_word(value).then_some(Cow::Borrowed(value)),
            Rule::Words => value.split(' ').all(is_word).then_some(Cow::Borrowed(value)),
            Rule::Text => Some(Cow::Borrowed(cut(value, MAX_TEXT_BYTES))),
            Rule::Target => target(value).map(Cow::Owned),
            Rule::Query => {
                let query = target(&format!("/?{}", value.strip_prefix('?').unwrap_or(value)))?;
                Some(Cow::Owned(query[2..].to_owned()))
            }
            Rule::Url => url(value).map(Cow::Owned),
            Rule::Statement => self.statement(value).map(Cow::Owned),
        }
    }

    /// Without literals and comments.
    fn statement(self, text: &str) -> Option<String> {
        let summary = sql::Summary::of(text.as_bytes(), self.dialect?, true);
        (!summary.normalised.is_empty()).then_some(summary.normalised)
    }
}

/// What may be kept of a span's name. Conventions want few of them, but some put URLs and statements there.
pub fn name(name: &str) -> Cow<'_, str> {
    let shown = cut(name, MAX_NAME_BYTES);
    let suspicious = |byte: &u8| b"?=;#@%\"'`$\\".contains(byte);
    if !shown.as_bytes().iter().any(suspicious) && !shown.contains("://") {
        return Cow::Borrowed(shown);
    }
    let words: Vec<&str> = shown.split(' ').collect();
    // A method of HTTP may be a word of SQL, too.
    let is_request = words.iter().any(|word| word.starts_with('/') || word.contains("://"));
    if !is_request && !shown.contains('$') && sql::first_word(shown.as_bytes(), NAMES, true).is_some() {
        return Cow::Owned(sql::Summary::of(shown.as_bytes(), NAMES, true).normalised);
    }
    Cow::Owned(blanked(&words).join(" "))
}

/// Quotes of both kinds are literals.
const NAMES: Dialect = Dialect::MySql;

fn blanked<'a>(words: &[&'a str]) -> Vec<Cow<'a, str>> {
    // PostgreSQL quotes with `$$` and `$name$`, too.
    let is_quoted = |word: &&str| word.contains(['\'', '"', '`']) || word.matches('$').count() > 1;
    let (first, last) = (words.iter().position(is_quoted), words.iter().rposition(is_quoted));
    let quoted = first.zip(last).map_or(0..0, |(first, last)| first..last + 1);
    let of = |(at, word): (usize, &&'a str)| {
        let is_value = at > 0 && words[at - 1].ends_with('=');
        if is_value || quoted.contains(&at) { Cow::Borrowed(BLANK) } else { word_of_name(word) }
    };
    words.iter().enumerate().map(of).collect()
}

fn word_of_name(word: &str) -> Cow<'_, str> {
    let blank = || Cow::Borrowed(BLANK);
    if word.contains("://") {
        return url(word).map_or_else(blank, Cow::Owned);
    }
    if word.starts_with('/') {
        return target(word).map_or_else(blank, Cow::Owned);
    }
    if let Some(at) = word.find('=') {
        return Cow::Owned(format!("{}{BLANK}", &word[..=at]));
    }
    if word.is_empty() || is_word(word) { Cow::Borrowed(word) } else { blank() }
}

/// Letters and digits of any script, and signs that names are made of.
fn is_word(text: &str) -> bool {
    let belongs = |c: char| c.is_alphanumeric() || "._-/:$#*>+()<{}[]~,".contains(c);
    !text.is_empty() && text.len() <= MAX_WORD_BYTES && text.chars().all(belongs)
}

/// The first bytes of a text, which has whole characters.
pub fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

/// A header whose value every recording keeps, too.
fn harmless(name: &str) -> bool {
    let dashed = name.replace('_', "-");
    names::header(dashed.as_bytes(), dashed.len()).0
}

/// A path with the values of its query and its parameters blank.
fn target(text: &str) -> Option<String> {
    let text = cut(text, MAX_TEXT_BYTES);
    let shown = path::redact(&mut text.as_bytes().to_vec(), false)?;
    text.starts_with('/').then(|| String::from_utf8(shown).ok()).flatten()
}

/// A URL of any scheme, without its user.
fn url(text: &str) -> Option<String> {
    let (scheme, rest) = cut(text, MAX_TEXT_BYTES).split_once("://")?;
    let is_scheme = scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte));
    let (authority, behind) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or(authority);
    // Of a password with a slash in it the first part would pass for a port.
    let is_torn = host.len() == authority.len() && host.contains(':') && behind.contains('@');
    if !is_scheme || is_torn || end(host).is_none() {
        return None;
    }
    let behind = match behind.starts_with('/') {
        true => target(behind)?,
        false if behind.is_empty() => String::new(),
        false => target(&format!("/{behind}"))?[1..].to_owned(),
    };
    Some(format!("{scheme}://{host}{behind}"))
}

/// Host and port of an authority without user.
pub(super) fn end(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(bracketed) => {
            let (host, port) = bracketed.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (host, port.strip_prefix(':').or(port.is_empty().then_some(""))?)
        }
        None => authority.split_once(':').unwrap_or((authority, "")),
    };
    let is_host = |c: char| c.is_alphanumeric() || "._-:*".contains(c);
    let port = if port.is_empty() { None } else { Some(port.parse().ok()?) };
    (!host.is_empty() && host.len() <= MAX_WORD_BYTES && host.chars().all(is_host)).then_some((host, port))
}

/// How statements to a database of that name are written, where that is known.
fn dialect(system: &str) -> Option<Dialect> {
    match system {
        "postgresql" | "cockroachdb" | "redshift" | "aws.redshift" => Some(Dialect::PostgreSql),
        "mysql" | "mariadb" | "sqlite" => Some(Dialect::MySql),
        "cassandra" => Some(Dialect::Cql),
        _ => None,
    }
}
