//! What a statement is called.

use std::sync::Arc;

use super::tokens::{Kind, Token, Tokens};
use super::{Dialect, words};
use crate::operation::{Operation, Title, Value};

/// What is known of a statement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// The word it begins with, upper case, where that is one of SQL.
    pub(crate) operation: Option<&'static str>,
    /// The table, collection or view that it is mainly about, where that is plain.
    pub(crate) target: Option<String>,
    /// Its text without literals and comments: of each list of literals one `?`, of all white space one
    /// space. At most [`MAX_TEXT_BYTES`].
    pub(crate) normalised: String,
}

/// Longest normalised text.
pub(crate) const MAX_TEXT_BYTES: usize = 1024;

/// Longest target.
const MAX_TARGET_BYTES: usize = 255;

impl Summary {
    /// Reads a statement, or what was kept of it. `whole`: as in [`super::keep`].
    pub(crate) fn of(text: &[u8], dialect: Dialect, whole: bool) -> Summary {
        let mut output = Output::default();
        let mut target = Target::default();
        for token in Tokens::new(text, dialect, whole) {
            if token.cut {
                output.cut();
                break;
            }
            output.token(&token);
            target.token(&token);
            if output.full() && target.done() {
                break;
            }
        }
        let (operation, target) = target.result(whole);
        Summary { operation, target, normalised: output.text() }
    }

    /// The operation of a request that says this to a database. `name`: of an operation whose word is not
    /// known; `namespace`: where names are looked up that do not say it themselves.
    pub(crate) fn into_operation(
        self,
        system: &'static str,
        name: Option<&'static str>,
        namespace: Option<&Arc<str>>,
    ) -> Operation {
        let mut attributes = Vec::with_capacity(6);
        attributes.push(("db.system.name", Value::Name(system)));
        attributes.extend(namespace.map(|name| ("db.namespace", Value::Text(name.clone()))));
        let text = (!self.normalised.is_empty()).then(|| Value::Text(self.normalised.into()));
        let Some(name) = self.operation.or(name) else {
            attributes.extend(text.map(|text| ("db.query.text", text)));
            return Operation { attributes, ..Operation::default() };
        };
        let target: Option<Arc<str>> = self.target.map(Into::into);
        attributes.push(("db.operation.name", Value::Name(name)));
        let title = match &target {
            Some(target) => Title::Named(format!("{name} {target}").into()),
            None => Title::Defined(name),
        };
        attributes.extend(target.iter().map(|target| ("db.collection.name", Value::Text(target.clone()))));
        if let Some(text) = text {
            let summary = match &title {
                Title::Named(title) => Value::Text(title.clone()),
                Title::Defined(name) => Value::Name(name),
            };
            attributes.extend([("db.query.text", text), ("db.query.summary", summary)]);
        }
        Operation { name: Some(name.into()), title: Some(title), target, attributes, ..Operation::default() }
    }
}

/// The normalised text, so far.
#[derive(Debug, Default)]
struct Output {
    text: String,
    /// White space stands behind it.
    space: bool,
    /// No more of it is wanted.
    ends: bool,
}

impl Output {
    fn token(&mut self, token: &Token<'_>) {
        match token.kind {
            Kind::Space | Kind::Comment => self.space = true,
            Kind::Literal | Kind::Asked => self.placeholder(),
            Kind::Sign if token.text == b")" => self.close(),
            Kind::Word | Kind::Name | Kind::Sign => match std::str::from_utf8(token.text) {
                Ok(text) => self.push(text),
                Err(_) => self.placeholder(),
            },
        }
    }

    fn push(&mut self, text: &str) {
        let space = self.space && !self.text.is_empty();
        self.ends |= self.text.len() + usize::from(space) + text.len() > MAX_TEXT_BYTES;
        if !self.ends {
            self.text.push_str(if space { " " } else { "" });
            self.text.push_str(text);
        }
        self.space = false;
    }

    /// A literal: none more in a list of them.
    fn placeholder(&mut self) {
        if self.text.ends_with('?') && !self.space {
            return;
        }
        if let Some(list) = self.text.strip_suffix(',').map(|list| list.trim_end().len())
            && self.text[..list].ends_with('?')
        {
            self.text.truncate(list);
            self.space = false;
            return;
        }
        self.push("?");
    }

    /// The end of a list: none more in a list of those.
    fn close(&mut self) {
        let same = self.text.strip_suffix("(?").and_then(|list| list.trim_end().strip_suffix(','));
        if let Some(length) = same.map(|list| list.trim_end().len())
            && self.text[..length].ends_with("(?)")
        {
            self.text.truncate(length);
            self.space = false;
            return;
        }
        self.push(")");
    }

    /// The statement goes on with something that is not known: literals in front of it may be a part of that.
    fn cut(&mut self) {
        self.ends = true;
    }

    fn full(&self) -> bool {
        self.ends
    }

    fn text(mut self) -> String {
        let behind: &[char] = if self.ends { &['?', ',', ' '] } else { &[';', ' '] };
        let length = self.text.trim_end_matches(behind).len();
        self.text.truncate(length);
        self.text
    }
}

/// Finds the operation and what it is mainly about.
#[derive(Debug, Default)]
struct Target {
    operation: Option<&'static str>,
    state: State,
    /// How many brackets are open, less those around the statement.
    depth: i32,
    name: String,
    /// The word before, and the names that the statement itself gives to parts of it.
    last: String,
    own: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// In front of the first word.
    #[default]
    Start,
    /// In front of the word that a name follows.
    Before,
    /// A name follows, or a word that may stand in front of it.
    Expect,
    /// In the name: another part of it follows a dot.
    Dot,
    Name,
    Found,
    /// There is none.
    Missing,
}

impl Target {
    fn done(&self) -> bool {
        matches!(self.state, State::Found | State::Missing)
    }

    fn token(&mut self, token: &Token<'_>) {
        let bracket = match token.text {
            b"(" => 1,
            b")" => -1,
            _ => 0,
        };
        match self.state {
            _ if matches!(token.kind, Kind::Comment) => {}
            State::Start => self.start(token),
            State::Before => {
                self.depth += bracket;
                self.before(token);
            }
            State::Expect | State::Dot => self.name(token),
            State::Name => match token.text {
                b"." => self.state = State::Dot,
                // A function.
                b"(" if self.may_call() => self.state = State::Missing,
                _ if token.kind == Kind::Space => {}
                _ => self.found(),
            },
            State::Found | State::Missing => {}
        }
    }

    fn start(&mut self, token: &Token<'_>) {
        match token.kind {
            Kind::Space => {}
            Kind::Sign if token.text == b"(" => {}
            Kind::Word => {
                self.operation = words::known(token.text);
                self.state = match self.operation {
                    Some(
                        "TABLE" | "UPDATE" | "TRUNCATE" | "COPY" | "DESCRIBE" | "DESC" | "LOCK" | "VACUUM"
                        | "ANALYZE",
                    ) => State::Expect,
                    Some(
                        "SELECT" | "DELETE" | "INSERT" | "UPSERT" | "REPLACE" | "MERGE" | "WITH" | "EXPLAIN"
                        | "SHOW" | "CREATE" | "ALTER" | "DROP" | "OPTIMIZE" | "LOAD" | "REFRESH" | "REPAIR"
                        | "CHECK" | "CHECKSUM" | "FETCH" | "BEGIN" | "DECLARE",
                    ) => State::Before,
                    _ => State::Missing,
                };
                self.depth = 0;
            }
            _ => self.state = State::Missing,
        }
    }

    /// Whether this word stands in front of the name.
    fn announces(&self, word: &str) -> bool {
        match self.operation {
            Some("SELECT" | "DELETE" | "SHOW") => word == "FROM",
            Some("INSERT" | "UPSERT" | "REPLACE" | "MERGE") => word == "INTO",
            Some("WITH" | "EXPLAIN") => matches!(word, "FROM" | "INTO" | "UPDATE"),
            Some("CREATE" | "ALTER" | "DROP") => matches!(word, "TABLE" | "VIEW" | "ON"),
            Some("REFRESH") => word == "VIEW",
            Some("FETCH" | "BEGIN" | "DECLARE") => false,
            _ => word == "TABLE",
        }
    }

    /// Whether a function may be called where the name stands.
    fn may_call(&self) -> bool {
        matches!(self.operation, Some("SELECT" | "DELETE" | "SHOW" | "WITH" | "EXPLAIN"))
            && self.last != "INTO"
    }

    fn before(&mut self, token: &Token<'_>) {
        if token.kind != Kind::Word || self.depth != 0 {
            return;
        }
        let word = upper(token.text);
        if self.announces(&word) {
            self.state = State::Expect;
        } else if word == "AS" && self.operation == Some("WITH") && self.own.len() < 16 {
            self.own.push(self.last.clone());
        } else if matches!(word.as_str(), "FUNCTION" | "TRIGGER" | "PROCEDURE" | "ROLE" | "USER" | "DATABASE")
        {
            // What follows is about something else.
            self.state = if self.operation == Some("CREATE") { State::Missing } else { self.state };
        }
        self.last = word;
    }

    fn name(&mut self, token: &Token<'_>) {
        let name = match token.kind {
            Kind::Space => return,
            Kind::Word => token.text,
            Kind::Name => &token.text[1..token.text.len() - 1],
            _ => return self.state = State::Missing,
        };
        if self.state == State::Expect && token.kind == Kind::Word {
            let word = upper(name);
            if SKIPPED.contains(&word.as_str()) {
                return;
            }
            if NOT_NAMES.contains(&word.as_str()) {
                return self.state = State::Missing;
            }
        }
        let Ok(name) = std::str::from_utf8(name) else { return self.state = State::Missing };
        self.name.push_str(if self.state == State::Dot { "." } else { "" });
        self.name.push_str(name);
        self.state = if self.name.len() <= MAX_TARGET_BYTES { State::Name } else { State::Missing };
    }

    fn found(&mut self) {
        let own = self.own.iter().any(|own| own.eq_ignore_ascii_case(&self.name));
        self.state = if own { State::Missing } else { State::Found };
    }

    fn result(mut self, whole: bool) -> (Option<&'static str>, Option<String>) {
        if whole && self.state == State::Name {
            self.found();
        }
        (self.operation, (self.state == State::Found).then_some(self.name))
    }
}

/// Words between the one that announces a name and the name.
const SKIPPED: [&str; 15] = [
    "TABLE",
    "ONLY",
    "IF",
    "NOT",
    "EXISTS",
    "LOW_PRIORITY",
    "IGNORE",
    "CONCURRENTLY",
    "TABLES",
    "FULL",
    "FREEZE",
    "VERBOSE",
    "ANALYZE",
    "LOCAL",
    "NO_WRITE_TO_BINLOG",
];

/// Words where a name might stand.
const NOT_NAMES: [&str; 6] = ["LATERAL", "SELECT", "VALUES", "UNNEST", "ROWS", "SET"];

fn upper(word: &[u8]) -> String {
    String::from_utf8_lossy(word).to_ascii_uppercase()
}
