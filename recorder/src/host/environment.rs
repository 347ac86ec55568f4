//! What a process's environment says about the service that it is: the variables OTEL_SERVICE_NAME and
//! OTEL_RESOURCE_ATTRIBUTES, as OpenTelemetry's SDKs read them, and of the second one three attributes.
//!
//! An environment is full of secrets. Nothing else of it is looked at, and nothing is kept but these values.
//! <https://opentelemetry.io/docs/specs/otel/resource/sdk/#specifying-resource-information-via-an-environment-variable>

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

/// Of an environment as many bytes are read.
const MOST_READ_BYTES: usize = 64 << 10;
/// Longer values name nothing.
const MOST_VALUE_BYTES: usize = 255;

/// What names the service, as `processes.service_from` has it.
pub mod from {
    /// OTEL_SERVICE_NAME.
    pub const SERVICE_NAME: &str = "otel_service_name";
    /// OTEL_RESOURCE_ATTRIBUTES.
    pub const RESOURCE_ATTRIBUTES: &str = "otel_resource_attributes";
}

/// A service as an environment tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Its name, and one of [`from`].
    pub name: Option<(Arc<str>, &'static str)>,
    /// `service.namespace`.
    pub namespace: Option<Arc<str>>,
    /// `service.version`.
    pub version: Option<Arc<str>>,
}

impl Service {
    /// Of a process, as it began to run its program; `None` where its environment cannot be read any more.
    pub fn of_process(pid: u32) -> Option<Service> {
        let environment = read(pid).ok()?;
        // What has ended and is not waited for has an empty one, and no program.
        let has_ended = || std::fs::read_link(format!("/proc/{pid}/exe")).is_err();
        let is_gone = environment.is_empty() && has_ended();
        (!is_gone).then(|| Service::parse(&environment))
    }

    /// From variables, each followed by NUL; the last one is cut where there are more bytes than are read.
    fn parse(environment: &[u8]) -> Service {
        let whole = match environment.len() {
            MOST_READ_BYTES.. => environment.iter().rposition(|&byte| byte == 0).unwrap_or(0),
            length => length,
        };
        let variables = || environment[..whole].split(|&byte| byte == 0);
        let value = |name: &[u8]| variables().find_map(|variable| variable.strip_prefix(name));
        let mut service = value(b"OTEL_RESOURCE_ATTRIBUTES=").and_then(attributes).unwrap_or_default();
        if let Some(name) = value(b"OTEL_SERVICE_NAME=").and_then(|name| text(name.to_vec())) {
            service.name = Some((name, from::SERVICE_NAME));
        }
        service
    }
}

fn read(pid: u32) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(4 << 10);
    File::open(format!("/proc/{pid}/environ"))?.take(MOST_READ_BYTES as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// `key=value,key=value`, percent-encoded. Where something is wrong nothing of it counts.
fn attributes(list: &[u8]) -> Option<Service> {
    let mut service = Service::default();
    for pair in list.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty()) {
        let at = pair.iter().position(|&byte| byte == b'=')?;
        let (key, value) = (pair[..at].trim_ascii(), decoded(pair[at + 1..].trim_ascii())?);
        std::str::from_utf8(&value).ok()?;
        match decoded(key)?.as_slice() {
            b"service.name" => service.name = text(value).map(|name| (name, from::RESOURCE_ATTRIBUTES)),
            b"service.namespace" => service.namespace = text(value),
            b"service.version" => service.version = text(value),
            _ => {}
        }
    }
    Some(service)
}

/// Percent-encoded bytes; `None` where a `%` is without two digits.
fn decoded(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, after)) = rest.split_first() {
        if first != b'%' {
            plain.push(first);
            rest = after;
            continue;
        }
        let (digits, after) = after.split_at_checked(2)?;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        plain.push((digit(digits[0])? << 4 | digit(digits[1])?) as u8);
        rest = after;
    }
    Some(plain)
}

/// A value that may be kept: not empty, not long, without control characters.
fn text(value: Vec<u8>) -> Option<Arc<str>> {
    let value = String::from_utf8(value).ok()?;
    let value = value.trim();
    let is_fit = !value.is_empty() && value.len() <= MOST_VALUE_BYTES && !value.contains(char::is_control);
    is_fit.then(|| Arc::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    /// Name, what named it, namespace, version.
    fn told(environment: &str) -> (Option<String>, Option<&'static str>, Option<String>, Option<String>) {
        let service = Service::parse(environment.replace('\n', "\0").as_bytes());
        let text = |value: Option<Arc<str>>| value.map(|value| value.to_string());
        let (name, from) = service.name.unzip();
        (text(name), from, text(service.namespace), text(service.version))
    }

    fn named(environment: &str) -> Option<String> {
        told(environment).0
    }

    #[test]
    fn the_name_goes_before_the_attributes() {
        let some = |text: &str| Some(text.to_owned());
        let attributes =
            "OTEL_RESOURCE_ATTRIBUTES=service.name=a,service.namespace=shop,service.version=1.2,x=y";
        assert_eq!(
            told(&format!("HOME=/\n{attributes}\n")),
            (some("a"), Some(from::RESOURCE_ATTRIBUTES), some("shop"), some("1.2"))
        );
        assert_eq!(
            told(&format!("OTEL_SERVICE_NAME=b\n{attributes}\n")),
            (some("b"), Some(from::SERVICE_NAME), some("shop"), some("1.2"))
        );
        // Empty is as good as not set.
        assert_eq!(named(&format!("OTEL_SERVICE_NAME=\n{attributes}")).as_deref(), Some("a"));
        assert_eq!(told("HOME=/\nSECRET=hunter2\n"), (None, None, None, None));
        assert_eq!(told(""), (None, None, None, None));
    }

    #[test]
    fn values_are_percent_encoded() {
        let of = |value: &str| named(&format!("OTEL_RESOURCE_ATTRIBUTES={value}\n"));
        for (value, name) in [
            ("service.name=a%2Cb%3dc", Some("a,b=c")),
            (" service.name = a b , k=v,", Some("a b")),
            ("service%2ename=a", Some("a")),
            ("service.name=caf%C3%A9", Some("caf\u{e9}")),
            ("service.name=a=b", Some("a=b")),
            ("service.name=a,service.name=b", Some("b")),
            // All of it is discarded.
            ("service.name=a,broken", None),
            ("service.name=a,k=%", None),
            ("service.name=a,k=%4", None),
            ("service.name=a,k=%zz", None),
            ("service.name=a,k=%ff", None),
            ("service.name=", None),
            ("service.name=a%0ab", None),
            ("", None),
        ] {
            assert_eq!(of(value).as_deref(), name, "{value}");
        }
    }

    #[test]
    fn only_these_variables_count() {
        for other in
            ["XOTEL_SERVICE_NAME=a", "OTEL_SERVICE_NAME", "OTEL_SERVICE_NAMES=a", "otel_service_name=a"]
        {
            assert_eq!(named(other), None, "{other}");
        }
        assert_eq!(named("OTEL_SERVICE_NAME=a\nOTEL_SERVICE_NAME=b\n").as_deref(), Some("a"), "as getenv()");
        assert_eq!(named(&format!("OTEL_SERVICE_NAME={}\n", "x".repeat(256))), None);
    }

    #[test]
    fn what_is_cut_names_nothing() {
        let filler = format!("X={}", "x".repeat(MOST_READ_BYTES - 25));
        let variables = format!("{filler}\nOTEL_SERVICE_NAME=billing\n");
        assert_eq!(variables.len(), MOST_READ_BYTES + 4);
        assert_eq!(named(&variables[..MOST_READ_BYTES]), None);
        assert_eq!(named(&variables).as_deref(), Some("billing"));
    }

    #[test]
    fn a_process_tells_it() {
        let mut child = Command::new("sleep");
        child.arg("60").env("OTEL_SERVICE_NAME", "billing").stdout(Stdio::null());
        let mut child = child.spawn().expect("sleep");
        // The exec goes on for a moment after it is sure to succeed.
        while read(child.id()).expect("an environment").is_empty() {
            std::thread::yield_now();
        }
        let told = Service::of_process(child.id()).expect("it lives");
        child.kill().expect("its end");
        while std::fs::read_link(format!("/proc/{}/exe", child.id())).is_ok() {
            std::thread::yield_now();
        }
        assert_eq!(Service::of_process(child.id()), None, "it has ended");
        child.wait().expect("its end");
        assert_eq!(told.name, Some((Arc::from("billing"), from::SERVICE_NAME)));
        assert_eq!(Service::of_process(child.id()), None);
    }

    proptest::proptest! {
        #[test]
        fn any_environment_can_be_read(text in r"(OTEL_SERVICE_NAME=|OTEL_RESOURCE_ATTRIBUTES=|service\.name=|%|,|=|\x00|\PC{0,5}){0,20}") {
            let service = Service::parse(text.as_bytes());
            if let Some((name, _)) = service.name {
                proptest::prop_assert!(!name.is_empty() && name.len() <= MOST_VALUE_BYTES);
            }
        }
    }
}
