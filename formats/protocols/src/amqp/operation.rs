//! What methods are called, and what they say.

use std::sync::Arc;

use super::frame::Arguments;
use super::methods::{Does, Method, reply};
use crate::messaging::Recent;
use crate::operation::{Operation, Status, Title, Value};

/// What an operation was made from.
#[derive(Debug)]
pub(super) struct Made {
    method: &'static str,
    queue: Option<Box<str>>,
    exchange: Option<Box<str>>,
    routing_key: Option<Box<str>>,
    code: Option<u16>,
}

/// The operation of a method with these arguments.
pub(super) fn operation(recent: &mut Recent<Made>, method: &Method, told: &Arguments<'_>) -> Arc<Operation> {
    let same = |made: &Made| {
        made.method == method.name
            && made.queue.as_deref() == told.queue
            && made.exchange.as_deref() == told.exchange
            && made.routing_key.as_deref() == told.routing_key
            && made.code == told.code
    };
    recent.operation(same, || {
        let text = |text: Option<&str>| text.map(Into::into);
        let (queue, exchange) = (text(told.queue), text(told.exchange));
        let made = Made {
            method: method.name,
            queue,
            exchange,
            routing_key: text(told.routing_key),
            code: told.code,
        };
        (made, make(method, told))
    })
}

fn make(method: &Method, told: &Arguments<'_>) -> Operation {
    let target: Option<Arc<str>> = told.queue.or(told.exchange).or(told.routing_key).map(Into::into);
    // Queues that servers name have a new name each time.
    let lasting = target.as_deref().filter(|target| !target.starts_with("amq.") || told.exchange.is_some());
    let named = lasting.map(|target| Title::Named(format!("{} {target}", method.name).into()));
    let mut attributes = vec![("messaging.operation.name", Value::Name(method.name))];
    let kind = match method.does {
        Does::Publish => Some("send"),
        Does::Deliver => Some("process"),
        _ if method.name == "basic.get" => Some("receive"),
        _ => None,
    };
    attributes.extend(kind.map(|kind| ("messaging.operation.type", Value::Name(kind))));
    let texts = [
        ("messaging.destination.name", target.clone()),
        ("messaging.rabbitmq.destination.routing_key", told.routing_key.map(Into::into)),
    ];
    attributes.extend(texts.into_iter().filter_map(|(key, text)| Some((key, Value::Text(text?)))));
    if method.does == Does::Deliver
        && let Some(text) = told.code.and_then(reply)
    {
        attributes.push(("error.type", Value::Name(text)));
    }
    Operation {
        name: Some(method.name.into()),
        title: Some(named.unwrap_or(Title::Defined(method.name))),
        target,
        attributes,
        ..Operation::default()
    }
}

/// What an exchange says that ended so.
pub(super) fn refusal(code: u16) -> Status {
    Status { code: Some(code), text: reply(code), failed: true }
}
