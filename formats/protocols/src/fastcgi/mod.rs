//! FastCGI (the specification of 1996, version 1): web servers ask applications with it.
//!
//! A span is a request, from the record with which it begins to the one that says how it ended. Requests of
//! several ids may come in turns; an id is used again and again.
//!
//! What is asked for comes as variables of CGI, and is told as of HTTP: method, path and query
//! (`REQUEST_URI`, else `SCRIPT_NAME`, else `DOCUMENT_URI`), host, user agent, trace context. Status is that
//! of the answer's `Status` line, or 200 if there is output without one. A request failed if that is 500 or
//! more, or if the server says that it did not take it (overloaded, an unknown role).
//!
//! Kept are headers of records, names of variables, the values that are told of (of queries the names alone),
//! of an answer's head the line with the status, and line ends. A name or a value that is cut by the end of a
//! record is neither kept nor read.

mod codec;
mod page;
mod params;
mod records;
mod request;

use crate::frames::Framed;
use crate::operation::{Exchange, Status, ValueRef};
use crate::parts::Direction;
use crate::protocol::{Framing, Protocol, Signature, Verdict};
use codec::Connection;

/// FastCGI.
#[derive(Clone, Copy, Debug)]
pub struct FastCgi;

impl Protocol for FastCgi {
    fn name(&self) -> &'static str {
        "fastcgi"
    }

    fn title(&self) -> &'static str {
        "fastcgi"
    }

    fn signatures(&self) -> &'static [Signature] {
        &[]
    }

    fn recognise(&self, direction: Direction, bytes: &[u8], fresh: bool) -> Verdict {
        records::recognise(direction, bytes, fresh)
    }

    fn framing(&self, before: Option<[u64; 2]>) -> Box<dyn Framing> {
        Box::new(Framed::new(Connection::default(), before))
    }

    fn has_keys(&self) -> bool {
        true
    }

    fn failed(&self, status: Status) -> bool {
        status.failed || status.code.is_some_and(|code| code >= 500)
    }

    /// Semantic conventions of HTTP.
    fn attributes(&self, exchange: &Exchange<'_>, tell: &mut dyn FnMut(&'static str, ValueRef<'_>)) {
        if let Some(path) = &exchange.operation.target {
            tell("url.path", ValueRef::Text(path));
        }
        let status = exchange.status;
        if let Some(code) = status.code {
            tell("http.response.status_code", ValueRef::Int(code.into()));
        }
        if self.failed(status) {
            let code = status.code.map(|code| code.to_string());
            tell("error.type", ValueRef::Text(status.text.or(code.as_deref()).unwrap_or("_OTHER")));
        }
    }
}

#[cfg(test)]
mod tests;
