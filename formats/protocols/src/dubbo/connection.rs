//! Frames of one connection: what they mean, and what of them may be kept.

use std::collections::VecDeque;
use std::sync::Arc;

use super::header::{self, Header, MAGIC};
use super::names::{self, Names};
use super::status;
use crate::frames::{Codec, Frame, Measure, Runs, Say};
use crate::operation::{Operation, Title, Value};
use crate::parts::{Direction, HeadInfo};

/// What is known of a connection.
#[derive(Debug, Default)]
pub(super) struct Connection {
    /// Operations of its last requests, each with interface and method.
    recent: VecDeque<Arc<Operation>>,
}

/// How many of them.
const MAX_RECENT: usize = 16;

impl Codec for Connection {
    fn measure(&mut self, _: Direction, bytes: &[u8]) -> Measure {
        if bytes.len() < header::LENGTH {
            let known = bytes.len().min(MAGIC.len());
            return if bytes[..known] == MAGIC[..known] {
                Measure::Need(header::LENGTH)
            } else {
                Measure::None
            };
        }
        let Some(header) = Header::of(bytes) else { return Measure::None };
        let more = match header {
            Header { is_event: true, .. } => 0,
            Header { is_request: true, .. } => names::MOST,
            Header { status: status::OK, .. } => names::MOST_KIND,
            _ => 0,
        };
        Measure::Frame { total: header::LENGTH as u64 + u64::from(header.body), head: header::LENGTH + more }
    }

    fn begins(&self, _: Direction, bytes: &[u8]) -> bool {
        Header::of(bytes).is_some_and(|header| header.fits(&bytes[header::LENGTH..]))
    }

    fn keep(&self, _: Direction, head: &[u8], runs: &mut Runs) {
        runs.keep(head.len().min(header::LENGTH));
        let Some(header) = Header::of(head).filter(|header| !header.is_event) else { return };
        let body = &head[header::LENGTH..];
        runs.keep(match header {
            Header { is_request: true, serialization, .. } => Names::of(serialization, body).end,
            Header { status: status::OK, serialization, .. } => {
                names::kind(serialization, body).map_or(0, |(_, length)| length)
            }
            _ => 0,
        });
    }

    fn frame(&mut self, frame: &Frame<'_>, say: &mut Say) {
        let Some(header) = Header::of(frame.head).filter(|header| !header.is_event) else { return };
        if header.is_request != (frame.direction == Direction::Requests) {
            say.turned();
        }
        let (body, key) = (&frame.head[header::LENGTH..], Some(header.id));
        if header.is_request {
            let operation = Some(self.operation(header.serialization, body));
            say.message(HeadInfo { key, operation, unanswered: !header.two_way, ..HeadInfo::default() });
        } else {
            let kind = names::kind(header.serialization, body).map(|(kind, _)| kind);
            let status = status::of(header.status, kind);
            say.message(HeadInfo { key, status, ..HeadInfo::default() });
        }
    }

    /// Each message says which exchange it belongs to.
    fn lost(&mut self, _: Direction) {}
}

impl Connection {
    fn operation(&mut self, serialization: u8, body: &[u8]) -> Arc<Operation> {
        let names = Names::of(serialization, body);
        let (service, method) = (names.service(body), names.method(body));
        let same =
            |known: &&Arc<Operation>| known.target.as_deref() == service && known.name.as_deref() == method;
        if let Some(known) = self.recent.iter().find(same) {
            return known.clone();
        }
        let operation = Arc::new(operation(service, method));
        if self.recent.len() == MAX_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(operation.clone());
        operation
    }
}

fn operation(service: Option<&str>, method: Option<&str>) -> Operation {
    let [target, name] = [service, method].map(|text| text.map(Arc::<str>::from));
    let mut attributes = Vec::new();
    for (key, text) in [("rpc.service", &target), ("rpc.method", &name)] {
        attributes.extend(text.iter().map(|text| (key, Value::Text(text.clone()))));
    }
    let title =
        service.zip(method).map(|(service, method)| Title::Named(format!("{service}/{method}").into()));
    Operation { name, title, target, attributes, ..Operation::default() }
}
