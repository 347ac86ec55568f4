//! What messages are called (semantic conventions of messaging).

use std::sync::{Arc, LazyLock};

use crate::context::Context;
use crate::operation::{Operation, Title, Value};

/// Operations of one kind, of which the last one is often the next one, too.
#[derive(Debug, Default)]
pub(super) struct Operations(Option<Arc<Operation>>);

impl Operations {
    pub(super) fn publish(&mut self, subject: Option<&str>, context: Option<Context>) -> Arc<Operation> {
        self.operation("publish", "send", subject, context)
    }

    pub(super) fn process(&mut self, subject: Option<&str>, context: Option<Context>) -> Arc<Operation> {
        self.operation("process", "process", subject, context)
    }

    pub(super) fn subscription(subject: Option<&str>) -> Arc<Operation> {
        let Some(subject) = subject else { return control("SUB") };
        let mut operation = Operation::clone(&control("SUB"));
        operation.target = Some(subject.into());
        operation.into()
    }

    fn operation(
        &mut self,
        name: &'static str,
        kind: &'static str,
        subject: Option<&str>,
        context: Option<Context>,
    ) -> Arc<Operation> {
        let last = self.0.as_ref().filter(|last| last.target.as_deref() == subject);
        let mut operation = match last {
            Some(last) if last.context == context => return last.clone(),
            Some(last) => Operation::clone(last),
            None => {
                let mut operation = named(name, name, Some(kind));
                operation.target = subject.map(Into::into);
                let target = operation.target.clone().map(Value::Text);
                operation.attributes.extend(target.map(|target| ("messaging.destination.name", target)));
                operation
            }
        };
        operation.context = context;
        self.0.insert(operation.into()).clone()
    }
}

fn named(name: &'static str, title: &'static str, kind: Option<&'static str>) -> Operation {
    let mut attributes = vec![("messaging.operation.name", Value::Name(name))];
    attributes.extend(kind.map(|kind| ("messaging.operation.type", Value::Name(kind))));
    Operation {
        name: Some(name.into()),
        title: Some(Title::Defined(title)),
        attributes,
        ..Operation::default()
    }
}

/// What has no message: CONNECT, SUB, UNSUB, PING.
pub(super) fn control(name: &'static str) -> Arc<Operation> {
    static CONTROLS: LazyLock<[(&str, Arc<Operation>); 4]> = LazyLock::new(|| {
        ["CONNECT", "SUB", "UNSUB", "PING"].map(|name| (name, named(name, name, None).into()))
    });
    let known = CONTROLS.iter().find(|(known, _)| *known == name);
    known.map_or_else(Arc::default, |(_, operation)| operation.clone())
}
