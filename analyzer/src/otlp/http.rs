//! OTLP as protobuf in POST requests over HTTP/1.1, with TLS where the URL says https.
//!
//! Connections are kept and shared by the requests in flight.

use std::sync::{Arc, Mutex};

use ::http::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT};
use ::http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use rustls_native_certs::load_native_certs;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::answer::{self, End};
use super::batches::Batch;
use super::endpoint::Endpoint;
use super::refusal::{Refusal, chain};

type Connection = SendRequest<Full<Bytes>>;

/// A receiver and the idle connections to it.
pub struct Http {
    endpoint: Endpoint,
    headers: HeaderMap,
    tls: Option<TlsConnector>,
    idle: Mutex<Vec<Connection>>,
}

impl Http {
    /// Opens the first connection.
    pub async fn connect(endpoint: Endpoint, headers: &[(String, String)]) -> Result<Http, String> {
        let tls = if endpoint.tls { Some(tls()?) } else { None };
        let headers = all_headers(&endpoint, headers)?;
        let http = Http { endpoint, headers, tls, idle: Mutex::new(Vec::new()) };
        let first = http.open().await.map_err(|reason| format!("cannot connect: {reason}"))?;
        http.keep(first);
        Ok(http)
    }

    /// Sends one request.
    pub async fn send(&self, batch: &Batch) -> Result<ExportTraceServiceResponse, Refusal> {
        let again = |reason: String| Refusal { reason, retryable: true, pause: None };
        let mut connection = match self.take_idle().await {
            Some(connection) => connection,
            None => self.open().await.map_err(again)?,
        };
        let mut request = Request::post(&self.endpoint.path)
            .body(Full::new(batch.message.clone()))
            .map_err(|e| Refusal { reason: chain(&e), retryable: false, pause: None })?;
        *request.headers_mut() = self.headers.clone();
        let answer = connection.send_request(request).await.map_err(|e| no_answer(&e))?;
        let (head, body) = answer.into_parts();
        let (body, end) = read(body).await;
        if matches!(end, End::Whole) {
            self.keep(connection);
        }
        answer::read(head.status, &head.headers, &body, &end)
    }

    async fn open(&self) -> Result<Connection, String> {
        let stream = TcpStream::connect((self.endpoint.host.as_str(), self.endpoint.port)).await;
        let stream = stream.map_err(|e| chain(&e))?;
        stream.set_nodelay(true).map_err(|e| chain(&e))?;
        let Some(tls) = &self.tls else {
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| chain(&e))?;
            tokio::spawn(connection);
            return Ok(sender);
        };
        let name = ServerName::try_from(self.endpoint.host.clone()).map_err(|e| chain(&e))?;
        let stream = tls.connect(name, stream).await.map_err(|e| chain(&e))?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| chain(&e))?;
        tokio::spawn(connection);
        Ok(sender)
    }

    /// A connection that the receiver has not closed meanwhile.
    async fn take_idle(&self) -> Option<Connection> {
        loop {
            let mut connection = self.idle.lock().ok()?.pop()?;
            if connection.ready().await.is_ok() {
                return Some(connection);
            }
        }
    }

    fn keep(&self, connection: Connection) {
        if let Ok(mut idle) = self.idle.lock() {
            idle.push(connection);
        }
    }
}

fn tls() -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(load_native_certs().certs);
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| chain(&e))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn all_headers(endpoint: &Endpoint, given: &[(String, String)]) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    headers.insert(HOST, HeaderValue::try_from(endpoint.authority()).map_err(|e| chain(&e))?);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("retrospan/", env!("CARGO_PKG_VERSION"))));
    for (name, value) in given {
        let bad = || format!("header {name} cannot be sent");
        let key = HeaderName::try_from(name).map_err(|_| bad())?;
        headers.insert(key, HeaderValue::try_from(value).map_err(|_| bad())?);
    }
    Ok(headers)
}

/// Whoever does not speak HTTP/1.1 will not the next time either.
fn no_answer(error: &hyper::Error) -> Refusal {
    let hint = if error.is_parse() { " (where OTLP over gRPC is spoken, give --protocol grpc)" } else { "" };
    Refusal { reason: format!("{}{hint}", chain(error)), retryable: !error.is_parse(), pause: None }
}

/// As much of a body as an answer may have, and how it ended.
async fn read(mut body: Incoming) -> (Vec<u8>, End) {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let data = match frame {
            Ok(frame) => frame.into_data().unwrap_or_default(),
            Err(error) => return (bytes, End::Broken(chain(&error))),
        };
        if bytes.len() + data.len() > answer::MAX_BYTES {
            return (bytes, End::TooLong);
        }
        bytes.extend_from_slice(&data);
    }
    (bytes, End::Whole)
}
