//! Where spans go: `http://localhost:4317`, `https://collector/v1/traces`.

use ::http::Uri;

/// How spans travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Protocol {
    /// gRPC over HTTP/2.
    Grpc,
    /// Protobuf in POST requests over HTTP/1.1.
    #[value(name = "http/protobuf")]
    HttpProtobuf,
}

/// A checked address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Over TLS.
    pub tls: bool,
    /// Host name or address, an IPv6 address without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path of POST requests.
    pub path: String,
    /// How.
    pub protocol: Protocol,
}

/// How a URL is to be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// It has the whole path, or none, and then the usual one is meant.
    UsualPath,
    /// It has the whole path; none is `/`.
    WholePath,
    /// The usual path is appended to what it has.
    Base,
}

/// The path of trace requests over HTTP (OTLP specification, "OTLP/HTTP Request").
const PATH: &str = "/v1/traces";

impl Endpoint {
    /// Reads a URL. Without a protocol HTTP is meant where the port is 4318 or a path is given, else the default, which is
    /// not asked for otherwise.
    pub fn parse(
        url: &str,
        meaning: Meaning,
        protocol: Option<Protocol>,
        default: impl FnOnce() -> Result<Protocol, String>,
    ) -> Result<Endpoint, String> {
        let uri: Uri = url.parse().map_err(|e| format!("{url}: not a URL: {e}"))?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(format!("{url}: the URL must begin with http:// or https://")),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or(format!("{url}: no host"))?;
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        if uri.port_u16().is_none() && !authority.ends_with(host) {
            return Err(format!("{url}: the port is not a number up to 65535"));
        }
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let path = uri.path_and_query().map(|p| p.as_str()).filter(|path| *path != "/" && !path.is_empty());
        let protocol = match protocol {
            Some(protocol) => protocol,
            None if port == 4318 || path.is_some() => Protocol::HttpProtobuf,
            None => default()?,
        };
        Ok(Endpoint {
            tls,
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            path: match (path, meaning) {
                (None, Meaning::WholePath) => "/".to_owned(),
                (None, Meaning::UsualPath | Meaning::Base) => PATH.to_owned(),
                (Some(path), Meaning::Base) => format!("{}{PATH}", path.trim_end_matches('/')),
                (Some(path), Meaning::UsualPath | Meaning::WholePath) => path.to_owned(),
            },
            protocol,
        })
    }

    /// The URL that is used.
    pub fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        let path = if self.protocol == Protocol::Grpc { "" } else { &self.path };
        if self.host.contains(':') {
            format!("{scheme}://[{}]:{}{path}", self.host, self.port)
        } else {
            format!("{scheme}://{}:{}{path}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str, meaning: Meaning, protocol: Option<Protocol>) -> Result<Endpoint, String> {
        Endpoint::parse(url, meaning, protocol, || Ok(Protocol::Grpc))
    }

    #[test]
    fn the_protocol_follows_from_the_url() {
        let url = |text: &str| {
            let endpoint = parse(text, Meaning::UsualPath, None).unwrap();
            (endpoint.protocol, endpoint.url())
        };
        assert_eq!(url("http://a:4317"), (Protocol::Grpc, "http://a:4317".to_owned()));
        assert_eq!(url("http://a:4317/"), (Protocol::Grpc, "http://a:4317".to_owned()));
        assert_eq!(url("http://a:4318"), (Protocol::HttpProtobuf, "http://a:4318/v1/traces".to_owned()));
        assert_eq!(url("https://a/x?y"), (Protocol::HttpProtobuf, "https://a:443/x?y".to_owned()));
        assert_eq!(
            url("http://[::1]:4318"),
            (Protocol::HttpProtobuf, "http://[::1]:4318/v1/traces".to_owned())
        );
        let wish = parse("http://a:9", Meaning::UsualPath, Some(Protocol::HttpProtobuf)).unwrap();
        assert_eq!(wish.url(), "http://a:9/v1/traces");
        for bad in ["a:4317", "ftp://a", "", "http://", "http://a:99999"] {
            assert!(parse(bad, Meaning::UsualPath, None).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_are_whole_or_a_base() {
        let path = |url: &str, meaning| parse(url, meaning, None).unwrap().path;
        assert_eq!(path("http://a:4318", Meaning::WholePath), "/");
        assert_eq!(path("http://a:4318/x", Meaning::WholePath), "/x");
        assert_eq!(path("http://a:4318", Meaning::Base), "/v1/traces");
        assert_eq!(path("http://a:4318/x", Meaning::Base), "/x/v1/traces");
        assert_eq!(path("http://a:4318/x/", Meaning::Base), "/x/v1/traces");
    }
}
