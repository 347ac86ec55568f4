//! What spans tell, whichever conventions they follow, and what never gets through.

use proptest::prelude::*;

use super::keep::{Keeper, name};
use super::read::{Reader, Told};
use super::{Kind, keep};
use crate::operation::ValueRef;

const CANARY: &str = "hunter2";

fn kept(key: &str, value: &str) -> Option<String> {
    Keeper::default().text(key, value).map(|text| text.into_owned())
}

fn told<'a>(kind: Kind, attributes: &[(&str, ValueRef<'a>)]) -> Told<'a> {
    let mut reader = Reader::default();
    attributes.iter().for_each(|(key, value)| reader.tell(key, *value));
    reader.read(kind)
}

fn text(text: &str) -> ValueRef<'_> {
    ValueRef::Text(text)
}

fn end(address: &str, port: u16) -> super::read::End<'_> {
    (Some(address.into()), Some(port))
}

#[test]
fn only_what_is_listed_is_kept() {
    for key in
        ["db.user", "enduser.id", "order.id", "http.request.header.authorization", "exception.message", ""]
    {
        assert_eq!(kept(key, CANARY), None, "{key}");
        assert!(!Keeper::default().keeps(key), "{key}");
    }
    assert_eq!(kept("http.request.header.content_type", "text/html"), Some("text/html".to_owned()));
    assert_eq!(kept("http.request.method", "GET"), Some("GET".to_owned()));
    assert_eq!(kept("server.address", "db.internal"), Some("db.internal".to_owned()));
    assert_eq!(kept("server.address", "user:hunter2@db"), None);
    assert_eq!(kept("http.route", "/orders/{id}/lines"), Some("/orders/{id}/lines".to_owned()));
    assert_eq!(kept("error.type", "bad password hunter2"), None);
    assert_eq!(
        kept("error.type", "java.net.SocketTimeoutException"),
        Some("java.net.SocketTimeoutException".to_owned())
    );
    assert!(Keeper::default().keeps("http.response.status_code"));
}

#[test]
fn paths_and_urls_lose_their_values() {
    let cases = [
        ("http.target", "/a/b?token=hunter2&x=1#f", Some("/a/b?token=*******&x=*#*")),
        ("url.path", "/a;session=hunter2/b", Some("/a;session=*******/b")),
        ("url.path", "hunter2", None),
        ("url.query", "q=hunter2&flag", Some("q=*******&****")),
        ("url.query", "?q=hunter2", Some("q=*******")),
        ("url.full", "https://shop/pay?card=hunter2", Some("https://shop/pay?card=*******")),
        ("url.full", "https://joe:hunter2@shop:8443/pay", Some("https://shop:8443/pay")),
        ("http.url", "http://shop", Some("http://shop")),
        ("http.url", "http://shop?hunter2", Some("http://shop?*******")),
        ("http.url", "redis://:hunter2@cache:6379/0", Some("redis://cache:6379/0")),
        ("http.url", "http://[::1]:8080/a", Some("http://[::1]:8080/a")),
        ("http.url", "http://joe:hunter2/@shop/", None),
        ("http.url", "http://joe:12/hunter2@shop/", None),
        ("http.url", "hunter2", None),
    ];
    for (key, value, want) in cases {
        assert_eq!(kept(key, value).as_deref(), want, "{key} {value}");
    }
}

#[test]
fn statements_lose_their_literals_and_those_of_nobody_knows_which_kind_are_left_out() {
    let statement = "SELECT * FROM users WHERE name = 'hunter2' AND age > 7";
    let of = |system| Keeper::new(system).text("db.query.text", statement).map(|text| text.into_owned());
    assert_eq!(of(Some("postgresql")).as_deref(), Some("SELECT * FROM users WHERE name = ? AND age > ?"));
    assert_eq!(of(Some("mysql")), of(Some("postgresql")));
    assert_eq!((of(Some("oracle")), of(None)), (None, None));
    assert_eq!(Keeper::new(Some("redis")).text("db.statement", "SET key hunter2"), None);
}

#[test]
fn names_keep_what_names_are_made_of() {
    let cases = [
        ("GET /orders/{id}", "GET /orders/{id}"),
        ("OrdersController#show", "OrdersController#show"),
        ("GET /login?password=hunter2", "GET /login?password=*******"),
        ("HTTP GET http://joe:hunter2@shop/pay?x=hunter2", "HTTP GET http://shop/pay?x=*******"),
        ("login password=hunter2", "login password=*"),
        ("say 'it is hunter2 now' / 2", "say * * * * / 2"),
        ("password = hunter2", "password =* *"),
        ("SELECT * FROM users WHERE pass = 'hunter2'", "SELECT * FROM users WHERE pass = ?"),
        ("SELECT $$it is hunter2$$", "SELECT * * *"),
        ("grüße an alle", "grüße an alle"),
        ("", ""),
    ];
    for (given, want) in cases {
        assert_eq!(name(given), want);
    }
    assert_eq!(name(&"x".repeat(2000)).len(), 512);
}

#[test]
fn requests_are_told_by_names_of_all_ages() {
    let new = [
        ("http.request.method", text("GET")),
        ("url.path", text("/orders/17")),
        ("url.query", text("a=*")),
        ("http.route", text("/orders/{id}")),
        ("http.response.status_code", ValueRef::Int(503)),
        ("server.address", text("shop")),
        ("server.port", ValueRef::Int(8080)),
        ("network.peer.address", text("10.0.0.9")),
        ("network.peer.port", ValueRef::Int(40_000)),
    ];
    let old = [
        ("http.method", text("GET")),
        ("http.target", text("/orders/17?a=*")),
        ("http.route", text("/orders/{id}")),
        ("http.status_code", text("503")),
        ("net.host.name", text("shop")),
        ("net.host.port", ValueRef::Int(8080)),
        ("net.sock.peer.addr", text("10.0.0.9")),
        ("net.sock.peer.port", ValueRef::Int(40_000)),
    ];
    let told = [told(Kind::Server, &new), told(Kind::Server, &old)];
    assert_eq!(told[0], told[1]);
    let told = &told[0];
    assert_eq!((told.protocol.as_deref(), told.operation.as_deref()), (Some("http"), Some("GET")));
    assert_eq!((told.path.as_deref(), told.query.as_deref()), (Some("/orders/17"), Some("a=*")));
    assert_eq!((told.status, told.failed, told.refused), (Some(503), Some(true), false));
    assert_eq!((&told.src, &told.dst), (&end("10.0.0.9", 40_000), &end("shop", 8080)));
}

#[test]
fn a_client_is_told_whom_it_asks() {
    let asked = |attributes: &[(&str, ValueRef<'static>)]| told(Kind::Client, attributes).dst;
    assert_eq!(asked(&[("url.full", text("https://api.example.com/x"))]), end("api.example.com", 443));
    assert_eq!(asked(&[("http.url", text("http://shop:81?x=*"))]), end("shop", 81));
    let both = [("server.address", text("shop")), ("url.full", text("http://shop/x"))];
    assert_eq!(asked(&both), end("shop", 80));
    let address = [("network.peer.address", text("10.1.1.1")), ("network.peer.port", text("5432"))];
    assert_eq!(asked(&address), end("10.1.1.1", 5432));
    assert_eq!(asked(&[("peer.service", text("billing"))]), (Some("billing".into()), None));
    assert_eq!(asked(&[("db.system", text("sqlite"))]), (Some("sqlite".into()), None));
    assert_eq!(asked(&[("server.port", ValueRef::Int(1 << 20))]), (None, None));
}

#[test]
fn calls_queries_and_messages_are_told() {
    let call = [
        ("rpc.system", text("grpc")),
        ("rpc.service", text("shop.Cart")),
        ("rpc.method", text("Add")),
        ("rpc.grpc.status_code", ValueRef::Int(14)),
    ];
    let call = told(Kind::Client, &call);
    assert_eq!((call.protocol.as_deref(), call.operation.as_deref()), (Some("grpc"), Some("shop.Cart/Add")));
    assert_eq!(
        (call.status, call.status_text.as_deref(), call.failed),
        (Some(14), Some("UNAVAILABLE"), Some(true))
    );
    let word = told(Kind::Client, &[("rpc.method", text("a/B")), ("rpc.response.status_code", text("OK"))]);
    assert_eq!((word.operation.as_deref(), word.status, word.failed), (Some("a/B"), Some(0), Some(false)));
    let query =
        [("db.system", text("postgresql")), ("db.statement", text("SELECT a FROM orders WHERE b = ?"))];
    let query = told(Kind::Client, &query);
    assert_eq!((query.operation.as_deref(), query.target.as_deref()), (Some("SELECT"), Some("orders")));
    let message = [
        ("messaging.system", text("kafka")),
        ("messaging.operation", text("process")),
        ("messaging.destination.name", text("orders")),
        ("server.address", text("broker")),
    ];
    let message = told(Kind::Consumer, &message);
    assert_eq!((message.operation.as_deref(), message.target.as_deref()), (Some("process"), Some("orders")));
    assert_eq!((message.src.0.as_deref(), message.dst), (Some("broker"), (None, None)));
    assert_eq!(told(Kind::Internal, &[]), Told::default());
}

#[test]
fn kinds_are_known_by_any_of_their_names() {
    assert_eq!(Kind::of("SPAN_KIND_SERVER"), Some(Kind::Server));
    assert_eq!(Kind::of("consumer"), Some(Kind::Consumer));
    assert_eq!((Kind::of("SPAN_KIND_UNSPECIFIED"), Kind::of("")), (None, None));
}

proptest! {
    #[test]
    fn anything_may_be_said(key in "[a-z._]{0,30}", value in any::<String>(), number in any::<i64>()) {
        let keys = ["http.url", "url.full", "url.path", "db.statement", "http.host", "rpc.method", &key];
        let mut reader = Reader::default();
        for key in keys {
            let kept = Keeper::new(Some("postgresql")).text(key, &value);
            prop_assert!(kept.is_none_or(|kept| kept.len() <= 4100));
            reader.tell(key, ValueRef::Text(&value));
        }
        reader.tell("http.status_code", ValueRef::Int(number));
        Kind::ALL.into_iter().for_each(|kind| { reader.read(kind); });
        prop_assert!(name(&value).len() <= 1024);
        prop_assert!(value.starts_with(keep::cut(&value, 7)));
    }

    /// Wherever it stands in a URL behind the host's begin, a secret does not get through.
    #[test]
    fn no_value_gets_through(before in "[a-z]{1,5}://", user in "([a-z]{0,3}:hunter2@)?", host in "[a-z.]{1,9}(:[0-9]{1,4})?",
                             path in "(/[a-z]{0,3}(;[a-z]{1,3}=hunter2)?){0,3}", query in "([?]([a-z]{1,3}=)?hunter2([;&][a-z]{1,3}=hunter2){0,2})?",
                             fragment in "(#hunter2)?") {
        let url = format!("{before}{user}{host}{path}{query}{fragment}");
        let kept = kept("url.full", &url);
        prop_assert!(kept.as_deref().is_none_or(|kept| !kept.contains(CANARY)), "{url} -> {kept:?}");
        let shown = name(&url).into_owned();
        prop_assert!(!shown.contains(CANARY), "{url} -> {shown}");
    }
}
