//! What hellos say, in attributes by their semantic conventions.

use std::ops::Range;
use std::sync::Arc;

use super::ciphers;
use super::hello::Hello;
use crate::operation::{Operation, Title, Value};
use crate::parts::HeadInfo;

/// The only exchange of a connection.
pub(super) const KEY: u64 = 0;

/// What a client asks for.
pub(super) fn request(message: &[u8], hello: &Hello) -> HeadInfo {
    let text = |run: &Range<usize>| std::str::from_utf8(&message[run.clone()]).unwrap_or_default();
    let target = hello.server_name.as_ref().map(|run| Arc::<str>::from(text(run)));
    let mut attributes = Vec::new();
    attributes.extend(target.clone().map(|target| ("tls.client.server_name", Value::Text(target))));
    if !hello.protocols.is_empty() {
        let offered = hello.protocols.iter().map(text).collect::<Vec<_>>().join(",");
        attributes.push(("tls.client.alpn", Value::Text(offered.into())));
    }
    let version = hello.version.and_then(ciphers::version);
    attributes.extend(version.map(|version| ("tls.client.version", Value::Name(version))));
    let title = Some(Title::Defined("handshake"));
    let name = Some("handshake".into());
    let operation = Some(Operation { name, title, target, attributes, ..Operation::default() }.into());
    HeadInfo { key: Some(KEY), operation, ..HeadInfo::default() }
}

/// What was agreed upon.
pub(super) fn answer(message: &[u8], hello: &Hello) -> HeadInfo {
    let mut attributes = Vec::new();
    if let Some(version) = hello.version
        && let Some(name) = ciphers::version(version)
    {
        let protocol = if version == 0x0300 { "ssl" } else { "tls" };
        attributes.push(("tls.protocol.name", Value::Name(protocol)));
        attributes.push(("tls.protocol.version", Value::Name(name)));
    }
    if let Some(suite) = hello.suite {
        let name = ciphers::name(suite).map(Value::Name);
        attributes.push(("tls.cipher", name.unwrap_or_else(|| Value::Text(format!("0x{suite:04x}").into()))));
    }
    if let [protocol] = &hello.protocols[..]
        && let Ok(text) = std::str::from_utf8(&message[protocol.clone()])
    {
        attributes.push(("tls.next_protocol", Value::Text(text.into())));
    }
    if hello.is_resumed {
        attributes.push(("tls.resumed", Value::Name("true")));
    }
    let operation = Some(Operation { attributes, ..Operation::default() }.into());
    HeadInfo { key: Some(KEY), operation, ..HeadInfo::default() }
}
