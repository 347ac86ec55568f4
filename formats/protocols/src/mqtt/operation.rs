//! What packets are called, and what they say.

use std::sync::Arc;

use super::packet::{CONNECT, DISCONNECT, PINGREQ, PUBLISH, SUBSCRIBE, UNSUBSCRIBE};
use super::reasons;
use crate::messaging::Recent;
use crate::operation::{Operation, Title, Value};

/// What a request says.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) id: Option<u16>,
    pub(super) topic: Option<Arc<str>>,
    pub(super) filters: Option<usize>,
    pub(super) reason: Option<u8>,
    pub(super) one_way: bool,
}

/// What an operation was made from.
#[derive(Debug)]
pub(super) struct Made {
    kind: u8,
    turned: bool,
    topic: Option<Arc<str>>,
    reason: Option<u8>,
}

/// The operation of a packet; `turned`: of a server.
pub(super) fn operation(recent: &mut Recent<Made>, kind: u8, turned: bool, asked: &Asked) -> Arc<Operation> {
    let same = |made: &Made| {
        made.kind == kind && made.turned == turned && made.topic == asked.topic && made.reason == asked.reason
    };
    recent.operation(same, || {
        let made = Made { kind, turned, topic: asked.topic.clone(), reason: asked.reason };
        (made, make(kind, turned, asked))
    })
}

/// A name, shared with an operation that has it.
pub(super) fn shared(recent: &Recent<Made>, name: &str) -> Arc<str> {
    let known = recent.find(|made| made.topic.as_deref() == Some(name));
    known.and_then(|made| made.topic.clone()).unwrap_or_else(|| name.into())
}

fn make(kind: u8, turned: bool, asked: &Asked) -> Operation {
    let name = match kind {
        CONNECT => "CONNECT",
        PUBLISH => "PUBLISH",
        SUBSCRIBE => "SUBSCRIBE",
        UNSUBSCRIBE => "UNSUBSCRIBE",
        PINGREQ => "PINGREQ",
        DISCONNECT => "DISCONNECT",
        _ => "AUTH",
    };
    let mut attributes = vec![("messaging.operation.name", Value::Name(name))];
    if kind == PUBLISH {
        let kind = if turned { "process" } else { "send" };
        attributes.push(("messaging.operation.type", Value::Name(kind)));
    }
    if let Some(topic) = &asked.topic {
        attributes.push(("messaging.destination.name", Value::Text(topic.clone())));
    }
    if let Some(reason) = asked.reason.filter(|&reason| reason >= 0x80) {
        attributes.push(("error.type", Value::Name(reasons::name(reason).unwrap_or("_OTHER"))));
    }
    Operation {
        name: Some(name.into()),
        title: Some(Title::Defined(name)),
        target: asked.topic.clone(),
        attributes,
        ..Operation::default()
    }
}
