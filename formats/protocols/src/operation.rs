//! What a message is called and what it says, whatever its protocol.

use std::ops::Deref;
use std::sync::Arc;

use crate::context::Context;

/// A request, as far as its head was understood. Of an answer only [`Operation::status`] is filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Operation {
    /// What is asked for, by its name in the protocol: a method, a command. Column `operation`.
    pub name: Option<Arc<str>>,
    /// What a span of it is called: one of few names, never a text that anybody may choose. None: the protocol's
    /// [`crate::Protocol::title`].
    pub title: Option<Title>,
    /// What it speaks, where one protocol is spoken inside another (`grpc` in `http2`). None: [`crate::Protocol::name`].
    pub protocol: Option<&'static str>,
    /// What it is asked of: a path, a table, a topic. Column `target`.
    pub target: Option<Arc<str>>,
    /// Not all of the target is known.
    pub target_cut: bool,
    /// The pattern that the target belongs to, where the protocol has one. Column `route`.
    pub route: Option<Arc<str>>,
    /// Status of an answer.
    pub status: Status,
    /// Trace context.
    pub context: Option<Context>,
    /// An id that proxies hand on (`X-Request-Id`).
    pub request_id: Option<Arc<str>>,
    /// Everything else, by names of the OpenTelemetry semantic conventions.
    pub attributes: Vec<(&'static str, Value)>,
}

impl Operation {
    /// The attribute of that name, where it is a text.
    pub fn text(&self, key: &str) -> Option<&Arc<str>> {
        let (_, value) = self.attributes.iter().find(|(name, _)| *name == key)?;
        match value {
            Value::Text(text) => Some(text),
            Value::Name(_) | Value::Int(_) => None,
        }
    }
}

/// What a span is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Title {
    /// A name that the protocol defines.
    Defined(&'static str),
    /// A name that an interface of the application defines: a method of a service, an operation and its table.
    Named(Arc<str>),
}

impl Deref for Title {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Title::Defined(name) => name,
            Title::Named(name) => name,
        }
    }
}

impl From<&'static str> for Title {
    fn from(name: &'static str) -> Title {
        Title::Defined(name)
    }
}

/// What an answer says of how it went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// As a number. Column `status`.
    pub code: Option<u16>,
    /// As a word. Column `status_text`.
    pub text: Option<&'static str>,
    /// The message says that the answering side failed, whatever number and word say ([`crate::Protocol::failed`]).
    pub failed: bool,
}

impl Status {
    /// A status that is a number.
    pub fn of_code(code: u16) -> Status {
        Status { code: Some(code), ..Status::default() }
    }
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text of the message.
    Text(Arc<str>),
    /// A name that the protocol defines.
    Name(&'static str),
    /// A number.
    Int(i64),
}

/// The value of an attribute that somebody else holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueRef<'a> {
    /// A text.
    Text(&'a str),
    /// A number.
    Int(i64),
}

impl Value {
    /// The same, borrowed.
    pub fn borrowed(&self) -> ValueRef<'_> {
        match self {
            Value::Text(text) => ValueRef::Text(text),
            Value::Name(name) => ValueRef::Text(name),
            Value::Int(number) => ValueRef::Int(*number),
        }
    }
}

/// A request with its answer, as far as there is one.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// The request.
    pub operation: &'a Operation,
    /// Status of the answer.
    pub status: Status,
    /// It is seen from the requesting side.
    pub client: bool,
    /// Address and port of the answering side.
    pub server: Option<(&'a str, u16)>,
    /// Bytes of request and answer on the wire.
    pub bytes: [Option<u64>; 2],
    /// Bytes of their bodies, where known.
    pub body_bytes: [Option<u64>; 2],
}
