//! What a request asks for: read as the head of HTTP that its values tell of.

use super::params::{Name, Piece, Place};
use crate::blank::BLANK;
use crate::http1::names::is_known_method;
use crate::http1::read;
use crate::operation::{Operation, Title, Value};
use crate::parts::Direction;

/// Names and values of a request, as far as they are read.
#[derive(Clone, Debug, Default)]
pub(super) struct Params {
    pub(super) place: Place,
    /// Some were missed: what comes then is not known.
    pub(super) broken: bool,
    method: Option<Vec<u8>>,
    uri: Option<Vec<u8>>,
    script: Option<Vec<u8>>,
    document: Option<Vec<u8>>,
    protocol: Option<Vec<u8>>,
    /// Lines of headers.
    headers: Vec<u8>,
}

/// Bytes of headers that are held, at most.
const MAX_HEADERS: usize = 16 * 1024;

impl Params {
    /// Reads the content of a record, or the first bytes of it. `whole`: all of it is there.
    pub(super) fn read(&mut self, content: &[u8], whole: bool) {
        if self.broken {
            return;
        }
        let mut place = self.place;
        place.walk(content, |piece| {
            if let Piece::Value(run, Some(name)) = piece {
                self.value(name, &content[run]);
            }
        });
        (self.place, self.broken) = (place, !whole);
    }

    /// Only what may be kept of it is read.
    fn value(&mut self, name: Name, value: &[u8]) {
        let mut kept = Vec::with_capacity(value.len());
        name.runs(value, |length, keep| {
            let run = kept.len()..kept.len() + length;
            if keep {
                kept.extend_from_slice(&value[run]);
            } else {
                kept.resize(run.end, BLANK);
            }
        });
        match name {
            Name::Method => self.method = Some(kept).filter(|kept| is_known_method(kept)),
            Name::Uri => self.uri = Some(kept),
            Name::Script => self.script = Some(kept),
            Name::Document => self.document = Some(kept),
            Name::Protocol => self.protocol = Some(kept),
            Name::Header(header) if self.headers.len() + kept.len() <= MAX_HEADERS => {
                self.headers.extend_from_slice(header.as_bytes());
                self.headers.extend_from_slice(b": ");
                self.headers.extend_from_slice(&kept);
                self.headers.extend_from_slice(b"\r\n");
            }
            Name::Header(_) => {}
        }
    }

    /// The operation that they name. Texts that are as in `last` are shared with it.
    pub(super) fn operation(&self, last: &Operation) -> Operation {
        let some = |text: &Option<Vec<u8>>| text.clone().filter(|text| !text.is_empty());
        let path = some(&self.uri).or_else(|| some(&self.script)).or_else(|| some(&self.document));
        let mut head = some(&self.method).unwrap_or_default();
        head.push(b' ');
        head.extend(path.iter().flatten());
        if path.is_some() {
            head.push(b' ');
            head.extend(self.protocol.as_deref().unwrap_or(b"CGI"));
        }
        head.extend_from_slice(b"\r\n");
        head.extend_from_slice(&self.headers);
        let mut operation = read::read(Direction::Requests, &head, last);
        if self.method.is_none() {
            (operation.name, operation.title) = (None, None::<Title>);
            operation.attributes.retain(|(key, _)| !key.starts_with("http.request.method"));
            operation.attributes.push(("http.request.method", Value::Name("_OTHER")));
        }
        if path.is_none() {
            operation.target = None;
        }
        operation
    }
}
