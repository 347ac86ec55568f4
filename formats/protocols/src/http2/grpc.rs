//! gRPC over HTTP/2 (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>): how calls end.

use crate::operation::{Exchange, Status, ValueRef};

/// Its name.
pub(super) const NAME: &str = "grpc";

/// The names of its status codes.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// What `grpc-status` says.
pub(crate) fn status(code: u16) -> Status {
    Status { code: Some(code), text: CODES.get(usize::from(code)).copied(), failed: code != 0 }
}

/// The status code of that name.
pub(crate) fn code(name: &str) -> Option<u16> {
    CODES.iter().position(|known| *known == name).map(|code| code as u16)
}

/// What the conventions want beyond what stands in the request. A status of HTTP, of an answer that has none
/// of gRPC, is at least 100.
pub(super) fn attributes(exchange: &Exchange<'_>, tell: &mut dyn FnMut(&'static str, ValueRef<'_>)) {
    let Status { code, text, failed } = exchange.status;
    let Some(code) = code else { return };
    let number = code.to_string();
    let name = text.unwrap_or(&number);
    if code >= 100 {
        tell("http.response.status_code", ValueRef::Int(code.into()));
    } else {
        tell("rpc.response.status_code", ValueRef::Text(name));
        tell("rpc.grpc.status_code", ValueRef::Int(code.into()));
    }
    if failed {
        tell("error.type", ValueRef::Text(name));
    }
}
