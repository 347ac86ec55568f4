//! What a span's attributes say, in the words of the columns of `spans`.

use std::borrow::Cow;

use super::Kind;
use super::keep::end;
use super::slots::{SLOTS, Slot, slot};
use crate::http1::read::without_authority;
use crate::http2::grpc;
use crate::operation::{Status, ValueRef};
use crate::protocol::Protocol;
use crate::sql::{self, Dialect};
use crate::{http1, http2};

/// Method of a request whose own one the conventions do not know.
const OTHER: &str = "_OTHER";
/// What HTTP/1 and HTTP/2 are called in column `protocol` when a span tells of requests.
const HTTP: &str = "http";

/// An end of a connection: a name or an address, and a port.
pub type End<'a> = (Option<Cow<'a, str>>, Option<u16>);

/// What is told; what is not is None.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told<'a> {
    /// What is spoken.
    pub protocol: Option<Cow<'a, str>>,
    /// What is asked for.
    pub operation: Option<Cow<'a, str>>,
    /// Of what.
    pub target: Option<Cow<'a, str>>,
    /// The pattern that the target belongs to.
    pub route: Option<Cow<'a, str>>,
    /// Method, of HTTP alone.
    pub method: Option<Cow<'a, str>>,
    /// Path, of HTTP alone.
    pub path: Option<Cow<'a, str>>,
    /// Query without its `?`.
    pub query: Option<Cow<'a, str>>,
    /// Host header.
    pub host: Option<&'a str>,
    /// Who asks, by its own words.
    pub user_agent: Option<&'a str>,
    /// Version of the protocol.
    pub version: Option<&'a str>,
    /// Id that proxies hand on.
    pub request_id: Option<&'a str>,
    /// Status of the answer.
    pub status: Option<i32>,
    /// The same as a word.
    pub status_text: Option<Cow<'a, str>>,
    /// Whether it says that the answering side failed.
    pub failed: Option<bool>,
    /// It says that the request was at fault, and nobody else.
    pub refused: bool,
    /// What failed, as the span calls it.
    pub error_type: Option<&'a str>,
    /// The requesting end.
    pub src: End<'a>,
    /// The answering end.
    pub dst: End<'a>,
    /// Bytes of request and answer.
    pub bytes: [Option<i64>; 2],
    /// Bytes of their bodies.
    pub body_bytes: [Option<i64>; 2],
    /// Thread.
    pub thread: Option<i64>,
}

/// Takes the attributes of one span, in any order.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    slots: [Option<(u8, ValueRef<'a>)>; SLOTS],
}

impl Default for Reader<'_> {
    fn default() -> Self {
        Reader { slots: [None; SLOTS] }
    }
}

impl<'a> Reader<'a> {
    /// Takes one.
    pub fn tell(&mut self, key: &str, value: ValueRef<'a>) {
        let Some((slot, age)) = slot(key) else { return };
        let place = &mut self.slots[slot as usize];
        if place.is_none_or(|(known, _)| age < known) {
            *place = Some((age, value));
        }
    }

    /// What all of them say.
    pub fn read(&self, kind: Kind) -> Told<'a> {
        let mut told = Told {
            protocol: self.protocol(),
            host: self.text(Slot::HostHeader),
            user_agent: self.text(Slot::UserAgent),
            version: self.text(Slot::Version),
            request_id: self.text(Slot::RequestId),
            error_type: self.text(Slot::ErrorType),
            bytes: [Slot::RequestBytes, Slot::ResponseBytes].map(|slot| self.size(slot)),
            body_bytes: [Slot::RequestBody, Slot::ResponseBody].map(|slot| self.size(slot)),
            thread: self.int(Slot::Thread),
            ..Told::default()
        };
        (told.src, told.dst) = self.ends(kind);
        let has = |slot| self.text(slot).is_some();
        if has(Slot::RpcSystem) || has(Slot::RpcMethod) {
            self.rpc(&mut told);
        } else if has(Slot::Database) {
            self.database(&mut told);
        } else if has(Slot::Messaging) || has(Slot::Destination) {
            told.operation = self.word(Slot::MessagingOperation);
            told.target = self.word(Slot::Destination);
        } else {
            self.http(&mut told);
        }
        told
    }

    fn protocol(&self) -> Option<Cow<'a, str>> {
        let of_conventions = [Slot::RpcSystem, Slot::Protocol, Slot::Database, Slot::Messaging];
        let named = of_conventions.into_iter().find_map(|slot| self.text(slot));
        let named = named.map(|name| Cow::Owned(name.to_ascii_lowercase()));
        let asks = self.text(Slot::Method).is_some() || self.int(Slot::HttpStatus).is_some();
        named.or_else(|| asks.then_some(Cow::Borrowed(HTTP)))
    }

    fn http(&self, told: &mut Told<'a>) {
        let method = self.text(Slot::Method);
        let original = self.text(Slot::MethodOriginal);
        let method = method.filter(|&method| method != OTHER).or(original).map(Cow::Borrowed);
        let target = self.text(Slot::Path).or_else(|| self.url_target());
        let (path, query) = target.map_or((None, None), split_query);
        told.query = self.text(Slot::Query).or(query).map(Cow::Borrowed);
        told.route = self.word(Slot::Route);
        told.path = path.map(Cow::Borrowed);
        told.target.clone_from(&told.path);
        told.operation.clone_from(&method);
        told.method = method;
        let code = self.int(Slot::HttpStatus).and_then(|code| u16::try_from(code).ok());
        let Some(code) = code.filter(|code| (100..=999).contains(code)) else { return };
        told.status = Some(code.into());
        told.failed = Some(http1::Http1.failed(Status::of_code(code)));
        told.refused = (400..500).contains(&code);
    }

    /// Path and query of a whole URL.
    fn url_target(&self) -> Option<&'a str> {
        let url = self.text(Slot::Url)?;
        std::str::from_utf8(without_authority(url.as_bytes())).ok().filter(|target| target.starts_with('/'))
    }

    fn rpc(&self, told: &mut Told<'a>) {
        let (service, method) = (self.text(Slot::RpcService), self.text(Slot::RpcMethod));
        told.operation = match (service, method) {
            (Some(service), Some(method)) if !method.contains('/') => {
                Some(Cow::Owned(format!("{service}/{method}")))
            }
            (service, method) => method.or(service).map(Cow::Borrowed),
        };
        let word = self.text(Slot::RpcStatus);
        let number = self.int(Slot::GrpcStatus).or_else(|| self.int(Slot::RpcStatus));
        let code = number.and_then(|code| u16::try_from(code).ok()).or_else(|| grpc::code(word?));
        if let Some(code) = code {
            let status = grpc::status(code);
            told.status = Some(code.into());
            told.status_text = status.text.map(Cow::Borrowed);
            told.failed = Some(http2::Http2.failed(status));
        } else {
            told.status_text = word.map(Cow::Borrowed);
        }
    }

    fn database(&self, told: &mut Told<'a>) {
        let statement = self.text(Slot::Statement);
        let summary = statement.map(|text| sql::Summary::of(text.as_bytes(), Dialect::MySql, true));
        let (operation, target) = summary.map_or((None, None), |summary| (summary.operation, summary.target));
        told.operation = self.word(Slot::DatabaseOperation).or(operation.map(Cow::Borrowed));
        told.target = self.word(Slot::DatabaseTarget).or(target.map(Cow::Owned));
        told.status_text = self.word(Slot::DatabaseStatus);
    }

    /// The requesting end, and the answering one. A consumer is handed a message by its broker.
    fn ends(&self, kind: Kind) -> (End<'a>, End<'a>) {
        match kind {
            Kind::Internal => Default::default(),
            Kind::Client | Kind::Producer => (self.own(), self.asked()),
            Kind::Server => (self.asking(), self.answering()),
            Kind::Consumer => (self.asked(), Default::default()),
        }
    }

    /// Whom this asks.
    fn asked(&self) -> End<'a> {
        let of_url = self.text(Slot::Url).and_then(url_end);
        let port = of_url.and_then(|(_, port)| port);
        let ways = [
            (self.text(Slot::ServerAddress), self.port(Slot::ServerPort).or(port)),
            (self.text(Slot::PeerName), self.port(Slot::PeerNamePort).or(port)),
            (of_url.map(|(host, _)| host), port),
            (self.text(Slot::PeerAddress), self.port(Slot::PeerPort).or(self.port(Slot::PeerNamePort))),
            (self.text(Slot::PeerService), None),
            (self.text(Slot::Database), None),
            (self.text(Slot::Messaging), None),
            (self.text(Slot::RpcService), None),
        ];
        first(ways)
    }

    /// Who answers: this.
    fn answering(&self) -> End<'a> {
        let header = self.text(Slot::HostHeader).and_then(end);
        let port = header.and_then(|(_, port)| port);
        let ways = [
            (self.text(Slot::ServerAddress), self.port(Slot::ServerPort).or(self.port(Slot::LocalPort))),
            (self.text(Slot::HostName), self.port(Slot::HostPort).or(port)),
            (header.map(|(host, _)| host), port.or(self.port(Slot::HostPort))),
            (self.text(Slot::LocalAddress), self.port(Slot::LocalPort).or(self.port(Slot::HostPort))),
            (None, self.port(Slot::HostPort)),
        ];
        first(ways)
    }

    /// Who asks this.
    fn asking(&self) -> End<'a> {
        let ways = [
            (self.text(Slot::PeerAddress), self.port(Slot::PeerPort).or(self.port(Slot::PeerNamePort))),
            (self.text(Slot::PeerName), self.port(Slot::PeerNamePort)),
            (self.text(Slot::ClientAddress), self.port(Slot::ClientPort)),
        ];
        first(ways)
    }

    /// Who asks: this.
    fn own(&self) -> End<'a> {
        let ways = [
            (self.text(Slot::ClientAddress), self.port(Slot::ClientPort)),
            (self.text(Slot::LocalAddress), self.port(Slot::LocalPort)),
            (self.text(Slot::HostName), self.port(Slot::HostPort)),
        ];
        first(ways)
    }

    fn text(&self, slot: Slot) -> Option<&'a str> {
        match self.slots[slot as usize]?.1 {
            ValueRef::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    fn word(&self, slot: Slot) -> Option<Cow<'a, str>> {
        self.text(slot).map(Cow::Borrowed)
    }

    /// Older tracers give numbers as texts.
    fn int(&self, slot: Slot) -> Option<i64> {
        match self.slots[slot as usize]?.1 {
            ValueRef::Int(number) => Some(number),
            ValueRef::Text(text) => text.parse().ok(),
        }
    }

    fn size(&self, slot: Slot) -> Option<i64> {
        self.int(slot).filter(|bytes| *bytes >= 0)
    }

    fn port(&self, slot: Slot) -> Option<u16> {
        self.int(slot).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0)
    }
}

/// The first end of which anything is known.
fn first<'a, const N: usize>(ways: [(Option<&'a str>, Option<u16>); N]) -> End<'a> {
    let known = |(address, _): &(Option<&str>, _)| address.is_some();
    let found = ways.iter().find(|way| known(way)).or_else(|| ways.iter().find(|(_, port)| port.is_some()));
    found.map_or((None, None), |&(address, port)| (address.map(Cow::Borrowed), port))
}

/// Host and port of a URL; a scheme says which port it is where none is named (RFC 9110, section 4.2).
fn url_end(url: &str) -> Option<(&str, Option<u16>)> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (host, port) = end(authority.rsplit('@').next()?)?;
    let usual = match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    Some((host, port.or(usual)))
}

fn split_query(target: &str) -> (Option<&str>, Option<&str>) {
    match without_fragment(target).split_once('?') {
        Some((path, query)) => (Some(path), Some(query)),
        None => (Some(without_fragment(target)), None),
    }
}

fn without_fragment(target: &str) -> &str {
    target.split('#').next().unwrap_or(target)
}
