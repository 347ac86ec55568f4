//! Commands of the text protocol, meta commands among them: the only words of a request that are kept.

use std::sync::{Arc, LazyLock};

use crate::operation::{Operation, Title, Value};

/// What a command wants, as far as its answers differ. A bit each.
pub(super) mod kind {
    pub(in super::super) const GET: u32 = 1;
    pub(in super::super) const STORE: u32 = 1 << 1;
    pub(in super::super) const DELETE: u32 = 1 << 2;
    pub(in super::super) const COUNT: u32 = 1 << 3;
    pub(in super::super) const TOUCH: u32 = 1 << 4;
    pub(in super::super) const STATS: u32 = 1 << 5;
    pub(in super::super) const VERSION: u32 = 1 << 6;
    pub(in super::super) const META_GET: u32 = 1 << 7;
    pub(in super::super) const META_SET: u32 = 1 << 8;
    pub(in super::super) const META_DELETE: u32 = 1 << 9;
    pub(in super::super) const META_COUNT: u32 = 1 << 10;
    pub(in super::super) const META_DEBUG: u32 = 1 << 11;
    pub(in super::super) const META_NOTHING: u32 = 1 << 12;
    /// Log lines follow its answer.
    pub(in super::super) const WATCH: u32 = 1 << 13;
    /// `OK`, or some other line.
    pub(in super::super) const SETTING: u32 = 1 << 14;
    /// Nobody answers.
    pub(in super::super) const NONE: u32 = 1 << 15;
    /// Not a command that is known here.
    pub(in super::super) const UNKNOWN: u32 = 1 << 16;
    /// A command of the binary protocol.
    pub(in super::super) const BINARY: u32 = 1 << 17;

    /// Commands with flags of one letter.
    pub(in super::super) const META: u32 = META_GET | META_SET | META_DELETE | META_COUNT | META_DEBUG;
}

/// What stands behind a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    /// Key, flags, time, length of the value behind the line; `cas` has one more number.
    Store { words: usize },
    /// Keys, behind so many other words.
    Keys { behind: usize },
    /// Key, and so many words.
    Key { words: usize },
    /// Key and flags; of `ms` there is a length in front of them, and a value behind the line.
    Meta { value: bool },
    /// Anything; `alone`: nobody else has a command of this name.
    Free { alone: bool },
}

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) name: &'static str,
    pub(super) kind: u32,
    pub(super) syntax: Syntax,
    /// `noreply` may be its last word.
    pub(super) may_be_silent: bool,
}

const fn command(name: &'static str, kind: u32, syntax: Syntax, may_be_silent: bool) -> Command {
    Command { name, kind, syntax, may_be_silent }
}

const KEYS: Syntax = Syntax::Keys { behind: 0 };
const KEYS_BEHIND_TIME: Syntax = Syntax::Keys { behind: 1 };
const STORE: Syntax = Syntax::Store { words: 5 };
const ANY: Syntax = Syntax::Free { alone: false };
const OWN: Syntax = Syntax::Free { alone: true };
const META: Syntax = Syntax::Meta { value: false };

/// Sorted by name.
const COMMANDS: [Command; 35] = [
    command("add", kind::STORE, STORE, true),
    command("append", kind::STORE, STORE, true),
    command("cache_memlimit", kind::SETTING, OWN, true),
    command("cas", kind::STORE, Syntax::Store { words: 6 }, true),
    command("config", kind::SETTING, ANY, false),
    command("decr", kind::COUNT, Syntax::Key { words: 1 }, true),
    command("delete", kind::DELETE, Syntax::Key { words: 0 }, true),
    command("extstore", kind::SETTING, OWN, false),
    command("flush_all", kind::SETTING, OWN, true),
    command("gat", kind::GET, KEYS_BEHIND_TIME, false),
    command("gats", kind::GET, KEYS_BEHIND_TIME, false),
    command("get", kind::GET, KEYS, false),
    command("gets", kind::GET, KEYS, false),
    command("incr", kind::COUNT, Syntax::Key { words: 1 }, true),
    command("lru", kind::SETTING, ANY, true),
    command("lru_crawler", kind::SETTING, OWN, false),
    command("ma", kind::META_COUNT, META, false),
    command("md", kind::META_DELETE, META, false),
    command("me", kind::META_DEBUG, META, false),
    command("mg", kind::META_GET, META, false),
    command("misbehave", kind::SETTING, OWN, false),
    command("mn", kind::META_NOTHING, ANY, false),
    command("ms", kind::META_SET, Syntax::Meta { value: true }, false),
    command("prepend", kind::STORE, STORE, true),
    command("quit", kind::NONE, ANY, false),
    command("refresh_certs", kind::SETTING, OWN, false),
    command("replace", kind::STORE, STORE, true),
    command("set", kind::STORE, STORE, true),
    command("shutdown", kind::SETTING, ANY, false),
    command("slabs", kind::SETTING, ANY, true),
    command("stats", kind::STATS, ANY, false),
    command("touch", kind::TOUCH, Syntax::Key { words: 1 }, true),
    command("verbosity", kind::SETTING, ANY, true),
    command("version", kind::VERSION, ANY, false),
    command("watch", kind::WATCH, ANY, false),
];

/// Longest name of a command, bytes.
pub(super) const MAX_NAME: usize = 14;

/// The command of that name, and its place in the table.
pub(super) fn of_name(name: &[u8]) -> Option<(usize, &'static Command)> {
    let place = COMMANDS.binary_search_by(|command| command.name.as_bytes().cmp(name)).ok()?;
    Some((place, &COMMANDS[place]))
}

/// Whether a command begins so.
pub(super) fn may_become_command(part: &[u8]) -> bool {
    COMMANDS.iter().any(|command| command.name.as_bytes().starts_with(part))
}

/// The operation of the command in that place; None: of one that is not known.
pub(super) fn operation(place: Option<usize>) -> Arc<Operation> {
    static OPERATIONS: LazyLock<Vec<Arc<Operation>>> =
        LazyLock::new(|| COMMANDS.iter().map(|command| named(command.name).into()).collect());
    static UNKNOWN: LazyLock<Arc<Operation>> = LazyLock::new(Arc::default);
    place.map_or_else(|| UNKNOWN.clone(), |place| OPERATIONS[place].clone())
}

/// An operation of that name (semantic conventions of databases, stable since 1.33).
pub(super) fn named(name: &'static str) -> Operation {
    Operation {
        name: Some(name.into()),
        title: Some(Title::Defined(name)),
        attributes: vec![("db.operation.name", Value::Name(name))],
        ..Operation::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_commands_are_found() {
        for (place, command) in COMMANDS.iter().enumerate() {
            assert_eq!(of_name(command.name.as_bytes()), Some((place, command)));
            assert!(command.name.len() <= MAX_NAME);
        }
        assert_eq!(of_name(b"GET"), None);
    }
}
