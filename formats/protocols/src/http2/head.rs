//! What a header block says, and the operation that it asks for.

use std::sync::{Arc, LazyLock};

use super::field::{Field, Name};
use super::grpc;
use super::path::Path;
use crate::context::{B3, Context, hex};
use crate::http1::read::{METHODS, key};
use crate::operation::{Operation, Status, Title, Value};

/// What a header block says.
#[derive(Debug, Default)]
pub(super) struct Head {
    asked: Asked,
    request_id: Option<Arc<str>>,
    context: Option<Context>,
    b3: B3,
    /// Content type of gRPC, or another one.
    pub(super) is_grpc: Option<bool>,
    pub(super) status: Option<u16>,
    grpc_status: Option<u16>,
    /// It has a field of requests alone, or of answers.
    pub(super) is_request: bool,
    pub(super) is_answer: bool,
    /// Other fields may be there.
    pub(super) incomplete: bool,
}

/// What an operation is made of, but for what is new in each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Asked {
    method: Field,
    path: Option<Arc<Path>>,
    authority: Field,
    host: Field,
    user_agent: Field,
    grpc: bool,
}

/// Paths of the static table.
static PATHS: LazyLock<[Arc<Path>; 2]> =
    LazyLock::new(|| ["/", "/index.html"].map(|path| Path::of(path.as_bytes()).into()));

impl Head {
    pub(super) fn field(&mut self, name: Name, field: &Field) {
        let asked = &mut self.asked;
        self.is_request |= matches!(name, Name::Method | Name::Path | Name::Scheme | Name::Authority);
        match (name, field) {
            (Name::Unknown, _) => self.incomplete = true,
            (Name::Method, _) => asked.method = field.clone(),
            (Name::Path, Field::Path(path)) => asked.path = Some(path.clone()),
            (Name::Path, Field::Known(text)) => asked.path = Some(PATHS[usize::from(text.len() > 1)].clone()),
            (Name::Authority, _) => asked.authority = field.clone(),
            (Name::Host, _) => asked.host = field.clone(),
            (Name::UserAgent, _) => asked.user_agent = field.clone(),
            (Name::ContentType, _) => self.is_grpc = Some(*field == Field::Grpc(true)),
            (Name::Status, Field::Number(status)) => (self.status, self.is_answer) = (Some(*status), true),
            (Name::Status, _) => self.is_answer = true,
            (Name::GrpcStatus, Field::Number(status)) => self.grpc_status = Some(*status),
            (Name::TraceParent, Field::Context(context)) => self.context = Some(*context),
            (_, Field::Text(text)) => self.text(name, text),
            _ => {}
        }
    }

    fn text(&mut self, name: Name, text: &Arc<str>) {
        let bytes = text.as_bytes();
        match name {
            Name::RequestId => self.request_id = Some(text.clone()),
            Name::B3 => self.b3 = B3::single(bytes),
            Name::B3TraceId => self.b3.trace_id = hex(bytes, 32),
            Name::B3SpanId => self.b3.span_id = hex(bytes, 16).map(|id| id as u64),
            Name::B3Sampled => self.b3.sampled = matches!(bytes, b"1" | b"true"),
            _ => {}
        }
    }

    /// An answer that announces the answer (RFC 9113, section 8.1).
    pub(super) fn is_interim(&self) -> bool {
        self.status.is_some_and(|status| status < 200)
    }

    /// How it went, as this block says. Of gRPC that is its own status; that of HTTP stands for it where it
    /// is no success.
    pub(super) fn answer(&self, grpc: bool) -> Status {
        match (grpc, self.grpc_status, self.status) {
            (true, Some(status), _) => grpc::status(status),
            (true, None, Some(200)) | (_, _, None) => Status::default(),
            (_, _, Some(code)) => Status { code: Some(code), text: None, failed: grpc || code >= 500 },
        }
    }

    /// It says how it went, if the exchange is one of gRPC.
    pub(super) fn has_status(&self, grpc: bool) -> bool {
        self.is_answer || (grpc && self.grpc_status.is_some())
    }
}

/// Makes operations; their parts are shared with the last one.
#[derive(Debug, Default)]
pub(super) struct Operations {
    asked: Asked,
    last: Arc<Operation>,
}

impl Operations {
    pub(super) fn of(&mut self, head: Head, grpc: bool) -> Arc<Operation> {
        let asked = Asked { grpc, ..head.asked };
        if asked != self.asked {
            self.last = Arc::new(if grpc { asked.rpc() } else { asked.http(&self.last) });
            self.asked = asked;
        }
        let context = head.context.or_else(|| head.b3.context());
        if (context, &head.request_id) != (self.last.context, &self.last.request_id) {
            self.last = Arc::new(Operation { context, request_id: head.request_id, ..(*self.last).clone() });
        }
        self.last.clone()
    }
}

impl Asked {
    fn http(&self, last: &Operation) -> Operation {
        let method: Option<&str> = match &self.method {
            Field::Known(method) => Some(method),
            Field::Text(method) => Some(method),
            _ => None,
        };
        let known = method.and_then(|method| METHODS.into_iter().find(|known| *known == method));
        let mut operation = Operation { title: known.map(Title::Defined), ..Operation::default() };
        operation.attributes.reserve(6);
        if let Some(method) = method {
            let name = last.name.as_ref().filter(|last| ***last == *method).cloned();
            let name = name.unwrap_or_else(|| method.into());
            operation.attributes.push((key::METHOD, Value::Name(known.unwrap_or("_OTHER"))));
            if known.is_none() {
                operation.attributes.push((key::METHOD_ORIGINAL, Value::Text(name.clone())));
            }
            operation.name = Some(name);
        }
        self.target(&mut operation);
        self.attributes(&mut operation);
        operation
    }

    fn rpc(&self) -> Operation {
        let name = self.path.as_ref().and_then(|path| path.rpc.clone());
        let title = name.clone().map_or(Title::Defined(grpc::NAME), Title::Named);
        let mut operation =
            Operation { title: Some(title), protocol: Some(grpc::NAME), ..Operation::default() };
        operation.attributes.reserve(6);
        operation.attributes.push(("rpc.system.name", Value::Name(grpc::NAME)));
        if let Some(name) = &name {
            operation.attributes.push(("rpc.method", Value::Text(name.clone())));
        }
        operation.name = name;
        self.target(&mut operation);
        self.attributes(&mut operation);
        operation
    }

    fn target(&self, operation: &mut Operation) {
        match (&self.path, &self.authority) {
            (Some(path), _) => {
                (operation.target, operation.target_cut) = (Some(path.target.clone()), path.cut);
            }
            // Of a CONNECT.
            (None, Field::Text(authority)) if operation.name.as_deref() == Some("CONNECT") => {
                operation.target = Some(authority.clone());
            }
            _ => {}
        }
    }

    fn attributes(&self, operation: &mut Operation) {
        let query = self.path.as_ref().and_then(|path| path.query.clone());
        let text = |field: &Field| match field {
            Field::Text(text) => Some(text.clone()),
            _ => None,
        };
        let host = text(&self.authority).or_else(|| text(&self.host));
        let texts = [(key::QUERY, query), (key::HOST, host), (key::USER_AGENT, text(&self.user_agent))];
        operation
            .attributes
            .extend(texts.into_iter().filter_map(|(key, text)| Some((key, Value::Text(text?)))));
        operation.attributes.push((key::VERSION, Value::Name("2")));
    }
}
