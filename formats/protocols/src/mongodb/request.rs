//! What a request asks for.

use std::sync::Arc;

use super::bson::{self, Element};
use super::commands::{self, Command};
use super::messages::{self, HEADER, Header, Opcode};
use crate::operation::{Operation, Title, Value};

/// What is known of a request.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// It is a command: a document whose first element names it.
    pub(super) command: bool,
    first_seen: bool,
    known: Option<Command>,
    /// The operation that the opcode names.
    legacy: Option<&'static str>,
    collection: Option<Box<str>>,
    database: Option<Box<str>>,
}

impl Asked {
    /// What the bytes in front of the documents tell.
    pub(super) fn of(header: &Header, head: &[u8]) -> Asked {
        let mut asked = Asked { command: header.opcode == Opcode::Msg, ..Asked::default() };
        let string = |at| match bson::cstring(head, at, messages::MAX_NAMESPACE) {
            bson::Read::Got(text) => text,
            _ => &[],
        };
        match header.opcode {
            Opcode::Query | Opcode::Insert | Opcode::Update | Opcode::Delete | Opcode::GetMore => {
                let name = string(HEADER + 4);
                asked.command = header.opcode == Opcode::Query && name.ends_with(b".$cmd");
                if let Some((database, collection)) = messages::namespace(name) {
                    asked.database = Some(database.into());
                    asked.collection = (!asked.command).then(|| collection.into());
                }
                asked.legacy = header.opcode.operation().filter(|_| !asked.command);
            }
            Opcode::KillCursors => asked.legacy = header.opcode.operation(),
            Opcode::Command => {
                let database = string(HEADER);
                let name = string(HEADER + database.len() + 1);
                asked.database = messages::plain(database).map(Into::into);
                asked.name(name);
            }
            _ => {}
        }
        asked
    }

    /// The next element names the command.
    pub(super) fn is_first(&self) -> bool {
        self.command && !self.first_seen
    }

    /// Whether the value of an element is read.
    pub(super) fn wants(&self, element: &Element<'_>) -> bool {
        if element.kind != bson::STRING {
            return false;
        }
        if self.is_first() {
            return commands::of(element.name).is_some_and(|command| command.of_collection);
        }
        match element.name {
            b"$db" => true,
            b"collection" => self.known.is_some_and(|command| command.name == "getMore"),
            _ => false,
        }
    }

    pub(super) fn take(&mut self, element: &Element<'_>, value: &[u8]) {
        let text = if self.wants(element) { bson::text(value).and_then(messages::plain) } else { None };
        if self.is_first() {
            self.name(element.name);
            self.collection = text.map(Into::into);
        } else if let Some(text) = text {
            let place = if element.name == b"$db" { &mut self.database } else { &mut self.collection };
            *place = Some(text.into());
        }
    }

    fn name(&mut self, name: &[u8]) {
        self.first_seen = true;
        self.known = commands::of(name);
    }

    /// The operation. `last`: shared if it is the same.
    pub(super) fn operation(self, last: Option<&Arc<Operation>>) -> Arc<Operation> {
        let name = self.known.map(|command| command.name).or(self.legacy);
        if let Some(last) = last
            && last.name.as_deref() == name
            && last.target.as_deref() == self.collection.as_deref()
            && last.text("db.namespace").map(|text| &**text) == self.database.as_deref()
        {
            return last.clone();
        }
        let target: Option<Arc<str>> = self.collection.map(Into::into);
        let title = name.map(|name| match &target {
            Some(target) => Title::Named(format!("{name} {target}").into()),
            None => Title::Defined(name),
        });
        let mut attributes = vec![("db.system.name", Value::Name("mongodb"))];
        attributes.extend(name.map(|name| ("db.operation.name", Value::Name(name))));
        if let Some(target) = &target {
            attributes.push(("db.collection.name", Value::Text(target.clone())));
        }
        if let Some(database) = self.database {
            attributes.push(("db.namespace", Value::Text(database.into())));
        }
        Arc::new(Operation { name: name.map(Into::into), title, target, attributes, ..Operation::default() })
    }
}

/// Whether a value that is read may be kept: of requests plain names, of answers small numbers.
pub(super) fn may_keep(request: bool, kind: u8, value: &[u8]) -> bool {
    match (request, kind) {
        (true, _) => bson::text(value).and_then(messages::plain).is_some(),
        (false, bson::DOUBLE) => bson::number(kind, value).is_some_and(|number| matches!(number, 0..=0xffff)),
        (false, _) => bson::number(kind, value).is_some_and(|number| u16::try_from(number).is_ok()),
    }
}
