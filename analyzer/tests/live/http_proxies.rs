//! Proxies that understand HTTP open requests of their own: their bytes differ and
//! connections are shared. Every request has its own path here, which is the truth
//! about parents.

use crate::lab::capture::Span;
use crate::lab::client::{Connection, Request};
use crate::lab::envoy::{Envoy, Mode};
use crate::lab::recording::Recording;
use crate::lab::servers;
use crate::lab::{ebpf_or_skip, folder};

/// The end of a path, which proxies leave as it is.
fn size_of(span: &Span) -> &str {
    span.path.as_deref().and_then(|path| path.rsplit('/').next()).unwrap_or_default()
}

/// Checks the client spans of a proxy: returns how many have the right parent; a
/// wrong one fails. The parent is the server span at `front` of the same request.
fn right_parents(spans: &[Span], front: u16, back: u16) -> usize {
    let onwards = spans.iter().filter(|span| span.kind == "client" && span.dst_port == back);
    let linked = onwards.filter(|span| span.parent_span_id.is_some());
    linked
        .map(|span| {
            let parent = spans.iter().find(|parent| Some(&parent.span_id) == span.parent_span_id.as_ref());
            let parent = parent.unwrap_or_else(|| panic!("an unknown parent of {span:?}"));
            let same = (parent.kind.as_str(), parent.dst_port, size_of(parent));
            assert_eq!(same, ("server", front, size_of(span)), "{span:?}\nunder {parent:?}");
            let evidence = span.link_evidence.as_deref().unwrap_or_default();
            let known = ["thread", "context", "turn", "order", "pool", "identity"];
            assert!(known.contains(&evidence), "evidence of {span:?}");
        })
        .count()
}

const REQUESTS: usize = 48;

/// One request after the other, each with its own path.
fn one_by_one(port: u16, prefix: &str) {
    let mut connection = Connection::open(port);
    for nth in 0..REQUESTS {
        connection.exchange(&Request::new("GET", format!("{prefix}/size/{nth}")));
    }
}

/// Sixteen connections with a request each, all at once, until all are made.
fn sixteen_at_once(port: u16, prefix: &str) {
    let mut connections: Vec<_> = (0..16).map(|_| Connection::open(port)).collect();
    for round in 0..REQUESTS / 16 {
        for (nth, connection) in connections.iter_mut().enumerate() {
            connection.send(&Request::new("GET", format!("{prefix}/size/{}", round * 16 + nth)).bytes());
        }
        for connection in &mut connections {
            connection.response("GET");
        }
    }
}

/// Records requests through a proxy and checks that every hop has all its spans.
fn recorded(front: u16, back: u16, load: impl FnOnce()) -> Vec<Span> {
    let recording = Recording::of_ports(&[front, back]);
    load();
    let capture = recording.finish();
    let spans = capture.spans();
    for (kind, port) in [("client", front), ("server", front), ("client", back), ("server", back)] {
        let count = spans.iter().filter(|span| span.kind == kind && span.dst_port == port).count();
        assert_eq!(count, REQUESTS, "{kind} spans at {port}");
    }
    spans
}

#[test]
fn nginx_as_http_proxy() {
    let Some(_turn) = ebpf_or_skip("nginx_as_http_proxy") else { return };
    let dir = folder();
    let go = servers::go(dir.path(), 1);
    let nginx = servers::nginx(dir.path(), Some(go.port));
    let spans = recorded(nginx.port, go.port, || one_by_one(nginx.port, "/proxy"));
    assert_eq!(right_parents(&spans, nginx.port, go.port), REQUESTS, "one at a time the thread tells");
    let spans = recorded(nginx.port, go.port, || sixteen_at_once(nginx.port, "/proxy"));
    right_parents(&spans, nginx.port, go.port);
}

#[test]
fn envoy_as_http_proxy() {
    let Some(_turn) = ebpf_or_skip("envoy_as_http_proxy") else { return };
    let dir = folder();
    let go = servers::go(dir.path(), 1);
    let envoy = Envoy::start("http", dir.path(), Mode::Http, go.port);
    let spans = recorded(envoy.port, go.port, || one_by_one(envoy.port, ""));
    assert_eq!(right_parents(&spans, envoy.port, go.port), REQUESTS, "one at a time the thread tells");
    let spans = recorded(envoy.port, go.port, || sixteen_at_once(envoy.port, ""));
    right_parents(&spans, envoy.port, go.port);
}
