//! OTLP over gRPC.

use bytes::Bytes;
use http::uri::PathAndQuery;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use prost::bytes::BufMut;
use tonic::client;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::{Ascii, MetadataKey, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use super::answer;
use super::batches::Batch;
use super::refusal::{Refusal, chain};
use super::settings::Settings;

/// The method of trace_service.proto.
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// A connected client.
pub struct Grpc {
    client: client::Grpc<Channel>,
    headers: Vec<(MetadataKey<Ascii>, MetadataValue<Ascii>)>,
}

impl Grpc {
    /// Connects.
    pub async fn connect(settings: &Settings) -> Result<Grpc, String> {
        let headers = settings.headers.iter().map(header).collect::<Result<_, _>>()?;
        let mut channel = Channel::from_shared(settings.endpoint.url()).map_err(|e| chain(&e))?;
        if settings.endpoint.tls {
            let tls = match &settings.authorities {
                Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
                None => ClientTlsConfig::new().with_native_roots(),
            };
            channel = channel.tls_config(tls).map_err(|e| chain(&e))?;
        }
        let channel = channel.connect().await.map_err(|e| format!("cannot connect: {}", chain(&e)))?;
        let client = client::Grpc::new(channel)
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(answer::MAX_BYTES);
        Ok(Grpc { client, headers })
    }

    /// Sends one request.
    pub async fn send(&self, batch: &Batch) -> Result<ExportTraceServiceResponse, Refusal> {
        let mut request = Request::new(batch.message.clone());
        for (name, value) in &self.headers {
            request.metadata_mut().insert(name.clone(), value.clone());
        }
        let mut client = self.client.clone();
        let unready = |e: tonic::transport::Error| refusal(&Status::unknown(chain(&e)));
        client.ready().await.map_err(unready)?;
        let answer = client.unary(request, PathAndQuery::from_static(EXPORT), Encoded).await;
        answer.map(tonic::Response::into_inner).map_err(|status| refusal(&status))
    }
}

/// Requests that are encoded already, and answers.
struct Encoded;

impl Codec for Encoded {
    type Encode = Bytes;
    type Decode = ExportTraceServiceResponse;
    type Encoder = Encoded;
    type Decoder = Encoded;

    fn encoder(&mut self) -> Encoded {
        Encoded
    }

    fn decoder(&mut self) -> Encoded {
        Encoded
    }
}

impl Encoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, request: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(request.len());
        buffer.put(request);
        Ok(())
    }
}

impl Decoder for Encoded {
    type Item = ExportTraceServiceResponse;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<ExportTraceServiceResponse>, Status> {
        let answer = ExportTraceServiceResponse::decode(buffer);
        answer.map(Some).map_err(|e| Status::internal(chain(&e)))
    }
}

/// The codes that the OTLP specification calls retryable, but for an answer that is too long: it is that every time.
fn refusal(status: &Status) -> Refusal {
    let retryable = matches!(
        status.code(),
        Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss
            | Code::ResourceExhausted
    ) && !status.message().contains("message length too large");
    // The connection stands, but what is at its other end does not answer as gRPC does: not at all, or with an HTTP error.
    let hint = if (status.code() == Code::Unknown && std::error::Error::source(status).is_some())
        || status.message().contains("while receiving response with status")
    {
        " (where OTLP over HTTP is spoken, give --protocol http/protobuf)"
    } else {
        ""
    };
    let pause = status.get_details_retry_info().and_then(|info| info.retry_delay);
    Refusal { reason: format!("{:?}: {}{hint}", status.code(), status.message()), retryable, pause }
}

fn header((name, value): &(String, String)) -> Result<(MetadataKey<Ascii>, MetadataValue<Ascii>), String> {
    let bad = || format!("header {name} cannot be sent");
    let key = name.to_ascii_lowercase().parse().map_err(|_| bad())?;
    Ok((key, value.parse().map_err(|_| bad())?))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn who_answers_with_an_http_error_may_speak_otlp_over_http() {
        let status =
            Status::internal("protocol error: bad flag while receiving response with status: 404 Not Found");
        assert!(refusal(&status).reason.contains("--protocol http/protobuf"));
        assert!(!refusal(&Status::internal("out of order")).reason.contains("--protocol"));
    }

    #[test]
    fn a_receiver_says_when_to_try_again() {
        let wish = ErrorDetails::with_retry_info(Some(Duration::from_millis(1500)));
        let busy = Status::with_error_details(Code::Unavailable, "busy", wish);
        assert_eq!(
            (refusal(&busy).retryable, refusal(&busy).pause),
            (true, Some(Duration::from_millis(1500)))
        );
        assert_eq!(refusal(&Status::unavailable("busy")).pause, None);
    }
}
