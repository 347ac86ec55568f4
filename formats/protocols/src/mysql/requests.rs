//! What clients ask: what of a command may be kept, and what it is called.

use std::collections::VecDeque;
use std::sync::Arc;

use super::attributes::{self, Attributes, Teller};
use super::commands::{self, Command};
use super::packets::{HEADER, plain_name, u32_at};
use crate::context::Context;
use crate::frames::Runs;
use crate::operation::{Operation, Title, Value};
use crate::sql::{self, Dialect, Summary};

/// Statements remembered of one connection.
const MAX_STATEMENTS: usize = 4096;
/// A statement id that means the one that was prepared last (MariaDB).
const LAST_PREPARED: u32 = u32::MAX;
/// Longest statement that is compared with the next one.
const MAX_REMEMBERED: usize = 1024;
/// Parameters of prepared statements are read up to here for the sake of a trace context.
const MAX_PARAMETER_BYTES: usize = 2048;
/// Flag of EXECUTE: attributes follow.
const HAS_PARAMETER_COUNT: u8 = 0x08;
/// EXECUTE up to its parameters.
const EXECUTE_FIXED: usize = 10;

/// Bytes of a command's payload that are read, its code and four more known. None: more must be known.
pub(super) fn head_bytes(payload: &[u8], length: usize) -> Option<usize> {
    match *payload.first()? {
        commands::QUERY | commands::PREPARE => Some(length),
        commands::EXECUTE => {
            let has = payload.get(5)? & HAS_PARAMETER_COUNT != 0;
            Some(if has { length.min(MAX_PARAMETER_BYTES) } else { EXECUTE_FIXED })
        }
        commands::INIT_DB | commands::CREATE_DB | commands::DROP_DB | commands::FIELD_LIST => Some(length),
        _ => Some(length.min(7)),
    }
}

/// Where the text of a QUERY begins, and the context that its attributes carry.
fn query_text(payload: &[u8], tell: &mut Teller<'_>) -> Attributes {
    match attributes::has_attributes(payload) {
        Some(true) => attributes::of_query(payload, 1, tell),
        _ => Attributes { end: Some(1), context: None },
    }
}

/// Tells what of a command's payload, which has so many bytes when it is whole, may be kept.
pub(super) fn keep(payload: &[u8], length: usize, runs: &mut Runs) {
    let whole = payload.len() == length;
    let Some(&code) = payload.first() else { return };
    runs.keep(1);
    match code {
        commands::QUERY => {
            if payload.len() < 3 && !whole {
                return;
            }
            if let Some(at) = query_text(payload, &mut Teller(Some(runs))).end {
                sql::keep(&payload[at..], Dialect::MySql, whole, runs);
            }
        }
        commands::PREPARE => sql::keep(&payload[1..], Dialect::MySql, whole, runs),
        commands::EXECUTE => {
            runs.keep(payload.len().min(EXECUTE_FIXED) - 1);
            if payload.get(5).is_some_and(|flags| flags & HAS_PARAMETER_COUNT != 0) {
                attributes::of_statement(payload, EXECUTE_FIXED.min(payload.len()), &mut Teller(Some(runs)));
            }
        }
        commands::INIT_DB | commands::CREATE_DB | commands::DROP_DB
            if whole && plain_name(&payload[1..]).is_some() =>
        {
            runs.keep(length - 1);
        }
        commands::FIELD_LIST => {
            if let Some(table) = listed_table(payload) {
                runs.keep(table.len() + 1);
            }
        }
        commands::CLOSE | 0x18 | 0x1a | 0x1c | commands::BULK_EXECUTE => {
            runs.keep(payload.len().min(5) - 1);
        }
        _ => {}
    }
}

fn listed_table(payload: &[u8]) -> Option<&str> {
    let length = payload.get(1..)?.iter().position(|&byte| byte == 0)?;
    plain_name(&payload[1..1 + length])
}

/// Whether a statement begins with a word of SQL, behind which another token follows or nothing.
pub(super) fn is_statement(payload: &[u8], length: usize) -> bool {
    let at = match payload.first() {
        Some(&commands::QUERY) => query_text(payload, &mut Teller(None)).end,
        _ => Some(1),
    };
    let Some(text) = at.and_then(|at| payload.get(at..)) else { return false };
    let whole = payload.len() >= length;
    let text = &text[..text.len().min(256)];
    let plain = |byte: &u8| *byte >= b' ' || matches!(byte, b'\t' | b'\n' | b'\r');
    let cut = !whole || text.len() == 256;
    text.iter().take(16).all(plain) && Summary::of(text, Dialect::MySql, !cut).operation.is_some()
}

/// What is known of the statements of a connection.
#[derive(Debug)]
pub(super) struct Statements {
    /// `mysql` or `mariadb`.
    pub(super) system: &'static str,
    namespace: Option<Arc<str>>,
    /// By id.
    prepared: std::collections::BTreeMap<u32, Arc<Operation>>,
    /// Those whose id is not known yet, by the place of their command.
    preparing: VecDeque<(u64, Arc<Operation>)>,
    last_prepared: Option<Arc<Operation>>,
    /// The text of the last query, and what it was.
    last: Option<(Vec<u8>, Arc<Operation>)>,
    /// The last command of another kind.
    last_command: Option<(u8, Arc<Operation>)>,
    /// The namespace that the command at this place wants.
    wanted: Option<(u64, Option<Arc<str>>)>,
}

impl Statements {
    pub(super) fn new() -> Statements {
        Statements {
            system: "mysql",
            namespace: None,
            prepared: Default::default(),
            preparing: VecDeque::new(),
            last_prepared: None,
            last: None,
            last_command: None,
            wanted: None,
        }
    }

    /// What the command at this place asks for. `payload`: as far as it is known, of `length` bytes.
    pub(super) fn operation(
        &mut self,
        command: &Command,
        payload: &[u8],
        length: usize,
        place: u64,
    ) -> Arc<Operation> {
        let whole = payload.len() == length;
        match payload[0] {
            commands::QUERY => self.query(payload, whole, place),
            commands::PREPARE => self.prepare(&payload[1..], whole, place),
            commands::EXECUTE | commands::BULK_EXECUTE => self.execute(command, payload),
            commands::INIT_DB => {
                let name = whole.then(|| plain_name(&payload[1..])).flatten();
                self.wanted = Some((place, name.map(Into::into)));
                self.about(command, name, "db.namespace")
            }
            commands::CREATE_DB | commands::DROP_DB => {
                let name = whole.then(|| plain_name(&payload[1..])).flatten();
                self.about(command, name, "db.namespace")
            }
            commands::FIELD_LIST => self.about(command, listed_table(payload), "db.collection.name"),
            commands::CHANGE_USER => {
                self.wanted = Some((place, None));
                self.forget_statements();
                self.plain(command, payload[0])
            }
            commands::RESET_CONNECTION => {
                self.forget_statements();
                self.plain(command, payload[0])
            }
            commands::CLOSE => {
                let operation = self.plain(command, payload[0]);
                if let Some(id) = u32_at(payload, 1) {
                    self.prepared.remove(&id);
                }
                operation
            }
            code => self.plain(command, code),
        }
    }

    /// The database that the connection is about, from now on.
    pub(super) fn set_namespace(&mut self, namespace: Option<Arc<str>>) {
        if self.namespace != namespace {
            self.namespace = namespace;
            (self.last, self.last_command) = (None, None);
        }
    }

    /// Commands may have been missed.
    pub(super) fn missed(&mut self) {
        self.preparing.clear();
        self.last_prepared = None;
        self.wanted = None;
        self.set_namespace(None);
    }

    /// The command at this place was answered.
    pub(super) fn answered(&mut self, place: u64, failed: bool) {
        self.preparing.retain(|(other, _)| *other > place);
        if let Some((wanted, namespace)) = self.wanted.take_if(|(other, _)| *other <= place)
            && wanted == place
            && !failed
        {
            self.set_namespace(namespace);
        }
    }

    /// The statement of the command at this place has this id.
    pub(super) fn prepared(&mut self, place: u64, id: u32) {
        let Some(at) = self.preparing.iter().position(|(other, _)| *other == place) else { return };
        let Some((_, operation)) = self.preparing.remove(at) else { return };
        if self.prepared.len() >= MAX_STATEMENTS {
            self.prepared.pop_first();
        }
        self.prepared.insert(id, operation);
    }

    fn forget_statements(&mut self) {
        self.prepared.clear();
        self.preparing.clear();
        self.last_prepared = None;
    }

    fn query(&mut self, payload: &[u8], whole: bool, place: u64) -> Arc<Operation> {
        let found = query_text(payload, &mut Teller(None));
        let text = found.end.map_or(&[][..], |at| &payload[at..]);
        let operation = match &self.last {
            Some((last, operation)) if whole && found.context.is_none() && last == text => operation.clone(),
            _ => {
                let summary = Summary::of(text, Dialect::MySql, whole);
                if summary.operation == Some("USE") {
                    self.wanted = Some((place, used(&summary.normalised).map(Into::into)));
                }
                let mut operation = summary.into_operation(self.system, Some("QUERY"), None);
                operation.context = found.context;
                if let Some((_, Some(namespace))) =
                    self.wanted.as_ref().filter(|(wanted, _)| *wanted == place)
                {
                    operation.target = Some(namespace.clone());
                }
                self.in_namespace(&mut operation);
                let operation = Arc::new(operation);
                if whole && found.context.is_none() && text.len() <= MAX_REMEMBERED {
                    self.last = Some((text.to_vec(), operation.clone()));
                }
                return operation;
            }
        };
        if operation.name.as_deref() == Some("USE") {
            self.wanted =
                Some((place, operation.text("db.query.text").and_then(|text| used(text)).map(Into::into)));
        }
        operation
    }

    fn prepare(&mut self, text: &[u8], whole: bool, place: u64) -> Arc<Operation> {
        let summary = Summary::of(text, Dialect::MySql, whole);
        let mut executed = summary.into_operation(self.system, Some("EXECUTE"), None);
        self.in_namespace(&mut executed);
        let mut operation = executed.clone();
        operation.name = Some("PREPARE".into());
        operation.title = Some(match &executed.title {
            Some(title) if executed.name.as_deref() != Some("EXECUTE") => {
                Title::Named(format!("PREPARE {}", &**title).into())
            }
            _ => Title::Defined("PREPARE"),
        });
        for (key, value) in &mut operation.attributes {
            match (*key, &operation.title) {
                ("db.operation.name", _) => *value = Value::Name("PREPARE"),
                ("db.query.summary", Some(Title::Named(title))) => *value = Value::Text(title.clone()),
                _ => {}
            }
        }
        let executed = Arc::new(executed);
        if self.preparing.len() >= MAX_STATEMENTS {
            self.preparing.pop_front();
        }
        self.preparing.push_back((place, executed.clone()));
        self.last_prepared = Some(executed);
        Arc::new(operation)
    }

    fn execute(&mut self, command: &Command, payload: &[u8]) -> Arc<Operation> {
        let prepared = match u32_at(payload, 1) {
            Some(LAST_PREPARED) => self.last_prepared.clone(),
            Some(id) => self.prepared.get(&id).cloned(),
            None => None,
        };
        let operation = prepared.unwrap_or_else(|| self.plain(command, payload[0]));
        match statement_context(payload) {
            None => operation,
            context => Arc::new(Operation { context, ..Operation::clone(&operation) }),
        }
    }

    /// A command that says nothing else.
    fn plain(&mut self, command: &Command, code: u8) -> Arc<Operation> {
        if let Some((last, operation)) = &self.last_command
            && *last == code
        {
            return operation.clone();
        }
        let mut operation = self.named(command);
        self.in_namespace(&mut operation);
        let operation = Arc::new(operation);
        self.last_command = Some((code, operation.clone()));
        operation
    }

    /// A command about a database or a table.
    fn about(&mut self, command: &Command, name: Option<&str>, key: &'static str) -> Arc<Operation> {
        let Some(name) = name else { return self.plain(command, command.code) };
        let mut operation = self.named(command);
        let name: Arc<str> = name.into();
        operation.attributes.push((key, Value::Text(name.clone())));
        operation.target = Some(name);
        if key != "db.namespace" {
            self.in_namespace(&mut operation);
        }
        Arc::new(operation)
    }

    fn named(&self, command: &Command) -> Operation {
        Operation {
            name: Some(command.name.into()),
            title: Some(Title::Defined(command.name)),
            attributes: vec![
                ("db.system.name", Value::Name(self.system)),
                ("db.operation.name", Value::Name(command.name)),
            ],
            ..Operation::default()
        }
    }

    fn in_namespace(&self, operation: &mut Operation) {
        if let Some(namespace) = &self.namespace {
            operation.attributes.push(("db.namespace", Value::Text(namespace.clone())));
        }
    }
}

/// The trace context among the attributes of EXECUTE.
fn statement_context(payload: &[u8]) -> Option<Context> {
    if payload[0] != commands::EXECUTE || payload.get(5)? & HAS_PARAMETER_COUNT == 0 {
        return None;
    }
    attributes::of_statement(payload, EXECUTE_FIXED.min(payload.len()), &mut Teller(None)).context
}

/// The database that a `USE` names.
fn used(text: &str) -> Option<&str> {
    let name = text.get(3..)?.trim().trim_end_matches(';').trim();
    plain_name(name.trim_matches('`').as_bytes())
}

/// The data of a call, if it is a command beyond doubt: its first packet has number 0, and its length is that
/// of the call, or of the data's begin. `known`: that this is spoken is known, so that less is proof.
pub(super) fn is_command(bytes: &[u8], known: bool) -> bool {
    let Some((length, 0)) = super::packets::header(bytes) else { return false };
    let payload = &bytes[HEADER..];
    let Some(&code) = payload.first() else { return false };
    if commands::of(code, length).is_none() {
        return false;
    }
    let own = &payload[..payload.len().min(length)];
    let exact = payload.len() == length;
    match code {
        commands::QUERY | commands::PREPARE => {
            let cut = payload.len() < length && payload.len() >= 12;
            let followed = || known || is_command(&payload[length..], false);
            (exact || cut || (payload.len() > length && followed())) && is_statement(own, length)
        }
        commands::EXECUTE => {
            let fixed = own.len() >= EXECUTE_FIXED && own[5] < 0x10 && own[6..10] == [1, 0, 0, 0];
            let id = u32_at(own, 1).is_some_and(|id| id != 0 && (id < 1 << 24 || id == LAST_PREPARED));
            fixed && id && (exact || known)
        }
        commands::INIT_DB | commands::CREATE_DB | commands::DROP_DB => {
            known && exact && plain_name(&payload[1..]).is_some()
        }
        commands::FIELD_LIST => known && exact && listed_table(payload).is_some(),
        // What is followed by nothing, or by another command, as programs send CLOSE.
        _ => known && (exact || (payload.len() > length && is_command(&payload[length..], true))),
    }
}
