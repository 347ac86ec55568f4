//! OTLP as protobuf in POST requests over HTTP/1.1, with TLS where the URL says https. Redirects are not followed.

use std::error::Error;
use std::sync::Arc;

use ::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use ::http::{HeaderMap, Request, Uri};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::TokioExecutor;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use rustls_native_certs::load_native_certs;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tower_service::Service;

use super::answer::{self, End};
use super::batches::Batch;
use super::refusal::{Refusal, chain};
use super::settings::Settings;

type Connector = HttpsConnector<HttpConnector>;

/// A receiver and the connections to it, which the requests in flight share.
pub struct Http {
    client: Client<Connector, Full<Bytes>>,
    url: Uri,
    headers: HeaderMap,
}

impl Http {
    /// Connects once, to see whether anybody listens there.
    pub async fn connect(settings: &Settings) -> Result<Http, String> {
        let url: Uri = settings.endpoint.url().parse().map_err(|e| chain(&e))?;
        let headers = all_headers(&settings.headers)?;
        let mut connector = connector(settings)?;
        let opened = tokio::time::timeout(settings.timeout, connector.call(url.clone())).await;
        let opened =
            opened.map_err(|_| format!("cannot connect: no answer within {:?}", settings.timeout))?;
        opened.map_err(|e| format!("cannot connect: {}", chain(e.as_ref())))?;
        Ok(Http { client: Client::builder(TokioExecutor::new()).build(connector), url, headers })
    }

    /// Sends one request.
    pub async fn send(&self, batch: &Batch) -> Result<ExportTraceServiceResponse, Refusal> {
        let request = Request::post(self.url.clone()).body(Full::new(batch.message.clone()));
        let mut request =
            request.map_err(|e| Refusal { reason: chain(&e), retryable: false, pause: None })?;
        *request.headers_mut() = self.headers.clone();
        let (head, body) = self.client.request(request).await.map_err(|e| no_answer(&e))?.into_parts();
        let (body, end) = read(body).await;
        answer::read(head.status, &head.headers, &body, &end)
    }
}

fn connector(settings: &Settings) -> Result<Connector, String> {
    let mut roots = RootCertStore::empty();
    if settings.endpoint.tls {
        roots.add_parsable_certificates(match &settings.authorities {
            Some(pem) => CertificateDer::pem_slice_iter(pem).flatten().collect(),
            None => load_native_certs().certs,
        });
    }
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| chain(&e))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
    Ok(builder.wrap_connector(tcp))
}

fn all_headers(given: &[(String, String)]) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
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
fn no_answer(error: &legacy::Error) -> Refusal {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<hyper::Error>());
    let foreign = cause.is_some_and(hyper::Error::is_parse);
    let hint = if foreign { " (where OTLP over gRPC is spoken, give --protocol grpc)" } else { "" };
    Refusal { reason: format!("{}{hint}", chain(error)), retryable: !foreign, pause: None }
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
