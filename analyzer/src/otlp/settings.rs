//! What the command line and the environment say about an export; the command line comes first.
//!
//! The variables are those of the OpenTelemetry specification, "OpenTelemetry Protocol Exporter": of each the one for
//! traces goes before the one for all signals, and an empty one counts as not set.

use std::time::Duration;

use clap::ValueEnum;
use percent_encoding::percent_decode_str;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use super::endpoint::{Endpoint, Meaning, Protocol};

/// How long a receiver may take where nothing is said.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Where spans go, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The receiver.
    pub endpoint: Endpoint,
    /// HTTP headers or gRPC metadata, sent with each request; of two with the same name the later one is meant.
    pub headers: Vec<(String, String)>,
    /// How long the receiver may take to accept a connection, and for each try of a request.
    pub timeout: Duration,
    /// The certificates of the authorities to trust, in PEM; without them those of the system.
    pub authorities: Option<Vec<u8>>,
}

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub struct Given<'a> {
    /// Where to send.
    pub url: Option<&'a str>,
    /// How.
    pub protocol: Option<Protocol>,
    /// `name=value` each.
    pub headers: &'a [String],
}

/// The environment, as a function from name to value.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Settings {
    /// From both.
    ///
    /// # Errors
    /// In one line that names the option or variable.
    pub fn new(given: &Given<'_>, environment: Environment<'_>) -> Result<Settings, String> {
        let mut headers = Vec::new();
        if let Some(variable) = Variable::find("HEADERS", environment) {
            headers = variable.headers()?;
        }
        for header in given.headers {
            let (name, value) = header.split_once('=').ok_or("a header is written name=value")?;
            headers.push((name.trim().to_owned(), value.trim().to_owned()));
        }
        let timeout =
            Variable::find("TIMEOUT", environment).map(|variable| variable.timeout()).transpose()?;
        let certificate = Variable::find("CERTIFICATE", environment);
        Ok(Settings {
            endpoint: endpoint(given, environment)?,
            headers,
            timeout: timeout.unwrap_or(TIMEOUT),
            authorities: certificate.map(|variable| variable.certificates()).transpose()?,
        })
    }
}

/// A protocol goes before what a URL says of it, but for a URL on the command line and a protocol in the environment. That
/// is not read where it does not count: something may stand there that is not for us.
fn endpoint(given: &Given<'_>, environment: Environment<'_>) -> Result<Endpoint, String> {
    let in_environment =
        || Variable::find("PROTOCOL", environment).map(|variable| variable.protocol()).transpose();
    if let Some(url) = given.url {
        let default = || Ok(in_environment()?.unwrap_or(Protocol::Grpc));
        return Endpoint::parse(url, Meaning::UsualPath, given.protocol, default);
    }
    let Some(variable) = Variable::find("ENDPOINT", environment) else {
        return Err("no receiver: give --otlp URL, or set OTEL_EXPORTER_OTLP_ENDPOINT".to_owned());
    };
    let protocol = match given.protocol {
        Some(protocol) => Some(protocol),
        None => in_environment()?,
    };
    let meaning = if variable.for_traces { Meaning::WholePath } else { Meaning::Base };
    let endpoint = Endpoint::parse(&variable.value, meaning, protocol, || Ok(Protocol::Grpc));
    endpoint.map_err(|reason| format!("{}: {reason}", variable.name))
}

/// A variable that is set.
struct Variable {
    name: String,
    for_traces: bool,
    value: String,
}

impl Variable {
    fn find(setting: &str, environment: Environment<'_>) -> Option<Variable> {
        [("TRACES_", true), ("", false)].into_iter().find_map(|(signal, for_traces)| {
            let name = format!("OTEL_EXPORTER_OTLP_{signal}{setting}");
            let value = environment(&name).map(|value| value.trim().to_owned())?;
            (!value.is_empty()).then_some(Variable { name, for_traces, value })
        })
    }

    fn wrong(&self, expected: &str) -> String {
        format!("{}={}: expected {expected}", self.name, self.value)
    }

    fn protocol(&self) -> Result<Protocol, String> {
        Protocol::from_str(&self.value, true).map_err(|_| self.wrong("grpc or http/protobuf"))
    }

    /// `name=value,...`, the values percent-encoded as in W3C Baggage. A value may be secret: it is not repeated.
    fn headers(&self) -> Result<Vec<(String, String)>, String> {
        let wrong = || format!("{}: expected name=value,...", self.name);
        let pairs = self.value.split(',').map(str::trim).filter(|pair| !pair.is_empty());
        let header = |pair: &str| {
            let (name, value) = pair.split_once('=').ok_or_else(wrong)?;
            let value = percent_decode_str(value.trim()).decode_utf8().map_err(|_| wrong())?;
            Ok((name.trim().to_owned(), value.into_owned()))
        };
        pairs.map(header).collect()
    }

    fn timeout(&self) -> Result<Duration, String> {
        let milliseconds = self.value.parse().ok().filter(|milliseconds| *milliseconds > 0);
        milliseconds.map(Duration::from_millis).ok_or_else(|| self.wrong("a number of milliseconds above 0"))
    }

    /// The content of a file of certificates.
    fn certificates(&self) -> Result<Vec<u8>, String> {
        let pem =
            std::fs::read(&self.value).map_err(|error| format!("{}={}: {error}", self.name, self.value))?;
        let mut certificates = CertificateDer::pem_slice_iter(&pem).peekable();
        let good = certificates.peek().is_some() && certificates.all(|certificate| certificate.is_ok());
        if good { Ok(pem) } else { Err(self.wrong("a file of certificates in PEM")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(given: &Given<'_>, environment: &[(&str, &str)]) -> Result<Settings, String> {
        let value = |name: &str| {
            let rest = name.strip_prefix("OTEL_EXPORTER_OTLP_")?;
            environment.iter().find(|(name, _)| *name == rest).map(|(_, value)| (*value).to_owned())
        };
        Settings::new(given, &value)
    }

    fn url_and_protocol(given: &Given<'_>, environment: &[(&str, &str)]) -> (String, Protocol) {
        let endpoint = settings(given, environment).unwrap().endpoint;
        (endpoint.url(), endpoint.protocol)
    }

    #[test]
    fn the_receiver_is_found_as_the_specification_says() {
        let nothing = Given::default();
        let (grpc, http) = (Protocol::Grpc, Protocol::HttpProtobuf);
        for (environment, url, protocol) in [
            (&[("ENDPOINT", "http://a:4317")] as &[_], "http://a:4317", grpc),
            (&[("ENDPOINT", "http://a:4318/b/")], "http://a:4318/b/v1/traces", http),
            (&[("ENDPOINT", "http://a:4318"), ("PROTOCOL", "grpc")], "http://a:4318", grpc),
            (
                &[("ENDPOINT", "http://a"), ("TRACES_PROTOCOL", "http/protobuf")],
                "http://a:80/v1/traces",
                http,
            ),
            (&[("ENDPOINT", "http://a"), ("TRACES_ENDPOINT", "http://b:4318/t")], "http://b:4318/t", http),
            (&[("TRACES_ENDPOINT", "http://b:4318")], "http://b:4318/", http),
            (&[("TRACES_ENDPOINT", ""), ("ENDPOINT", "http://a:4317")], "http://a:4317", grpc),
        ] {
            assert_eq!(
                url_and_protocol(&nothing, environment),
                (url.to_owned(), protocol),
                "{environment:?}"
            );
        }
        assert!(settings(&nothing, &[]).unwrap_err().contains("--otlp"));
    }

    #[test]
    fn the_command_line_comes_first() {
        let other = ("ENDPOINT", "http://other:1");
        let (grpc, http) = (Protocol::Grpc, Protocol::HttpProtobuf);
        let given = |url, protocol| Given { url: Some(url), protocol, headers: &[] };
        for (url, protocol, environment, expected) in [
            ("http://a:4317", None, &[other] as &[_], grpc),
            // A URL that says nothing else.
            ("http://a:9", None, &[other, ("PROTOCOL", "http/protobuf")], http),
            ("http://a:4318", None, &[other, ("PROTOCOL", "grpc")], http),
            ("http://a:4318", None, &[other, ("PROTOCOL", "http/json")], http),
            ("http://a:4318", Some(grpc), &[("PROTOCOL", "http/json")], grpc),
        ] {
            let found = url_and_protocol(&given(url, protocol), environment);
            assert_eq!((found.0.starts_with(url), found.1), (true, expected), "{url} {environment:?}");
        }
        let own = ["x=own".to_owned()];
        let given = Given { url: Some("http://a:1"), protocol: None, headers: &own };
        let headers = settings(&given, &[("HEADERS", "x=theirs, y=a%20b%3D,")]).unwrap().headers;
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(headers, [header("x", "theirs"), header("y", "a b="), header("x", "own")]);
    }

    #[test]
    fn a_wrong_variable_is_named() {
        let given = Given { url: Some("http://a:1"), ..Given::default() };
        for (name, value, words) in [
            ("PROTOCOL", "http/json", "grpc or http/protobuf"),
            ("TIMEOUT", "10s", "milliseconds"),
            ("TRACES_TIMEOUT", "0", "milliseconds"),
            ("HEADERS", "secret", "name=value"),
            ("CERTIFICATE", "/nowhere", "No such file"),
            ("CERTIFICATE", "/dev/null", "certificates in PEM"),
        ] {
            let said = settings(&given, &[(name, value)]).unwrap_err();
            assert!(
                said.starts_with(&format!("OTEL_EXPORTER_OTLP_{name}")) && said.contains(words),
                "{said}"
            );
            assert!(!said.contains("secret"), "{said}");
        }
        let said = settings(&Given::default(), &[("ENDPOINT", "a:4317")]).unwrap_err();
        assert!(said.starts_with("OTEL_EXPORTER_OTLP_ENDPOINT: a:4317"), "{said}");
        assert_eq!(settings(&given, &[("TIMEOUT", "1500")]).unwrap().timeout, Duration::from_millis(1500));
        assert_eq!(settings(&given, &[]).unwrap().timeout, TIMEOUT);
    }
}
