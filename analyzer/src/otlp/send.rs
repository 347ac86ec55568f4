//! Delivers requests: several in flight, patient with a receiver that is busy, clear about one that is not there.

use std::time::Duration;

use futures::{Stream, StreamExt, TryStreamExt};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;

use super::batches::Batch;
use super::endpoint::Protocol;
use super::grpc::Grpc;
use super::http::Http;
use super::refusal::Refusal;
use super::settings::Settings;
use crate::error::{Error, Result};

/// How often a request is tried.
const TRIES: u32 = 6;
/// The first pause between tries; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// A receiver's own wish for a pause is heard up to here.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What became of the spans.
#[derive(Debug, Default)]
pub struct Delivered {
    /// Taken.
    pub accepted: u64,
    /// Refused by the receiver within requests that it took.
    pub rejected: u64,
    /// What it said about them, first.
    pub message: Option<String>,
}

/// A connected receiver.
pub struct Receiver {
    transport: Transport,
    url: String,
    timeout: Duration,
}

enum Transport {
    Grpc(Grpc),
    Http(Http),
}

impl Receiver {
    /// Connects, so that an address where nobody listens is found before anything is read.
    pub async fn connect(settings: &Settings) -> Result<Receiver> {
        let url = settings.endpoint.url();
        let timeout = settings.timeout;
        let connecting = async {
            match settings.endpoint.protocol {
                Protocol::Grpc => Grpc::connect(settings).await.map(Transport::Grpc),
                Protocol::HttpProtobuf => Http::connect(settings).await.map(Transport::Http),
            }
        };
        let late = |_| Err(format!("cannot connect: no answer within {timeout:?}"));
        match tokio::time::timeout(timeout, connecting).await.unwrap_or_else(late) {
            Ok(transport) => Ok(Receiver { transport, url, timeout }),
            Err(reason) => Err(Error::Export { endpoint: url, reason }),
        }
    }

    async fn try_once(&self, batch: &Batch) -> std::result::Result<ExportTraceServiceResponse, Refusal> {
        let attempt = async {
            match &self.transport {
                Transport::Grpc(grpc) => grpc.send(batch).await,
                Transport::Http(http) => http.send(batch).await,
            }
        };
        let timeout = self.timeout;
        let late =
            |_| Refusal { reason: format!("no answer within {timeout:?}"), retryable: true, pause: None };
        tokio::time::timeout(timeout, attempt).await.map_err(late)?
    }

    async fn deliver(&self, batch: Batch) -> Result<Delivered> {
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            match self.try_once(&batch).await {
                Ok(response) => return Ok(delivered(&batch, response)),
                Err(refusal) if refusal.retryable && attempt < TRIES => {
                    let wish = refusal.pause.unwrap_or(pause);
                    tokio::time::sleep(wish.min(LONGEST_PAUSE)).await;
                    pause *= 2;
                }
                Err(refusal) => {
                    return Err(Error::Export { endpoint: self.url.clone(), reason: refusal.reason });
                }
            }
        }
        Ok(Delivered::default())
    }

    /// Sends everything, `in_flight` requests at a time.
    pub async fn send_all(
        &self,
        batches: impl Stream<Item = Result<Batch>>,
        in_flight: usize,
    ) -> Result<Delivered> {
        let answers =
            batches.map(|batch| async { self.deliver(batch?).await }).buffer_unordered(in_flight.max(1));
        let mut total = Delivered::default();
        let mut answers = std::pin::pin!(answers);
        while let Some(answer) = answers.try_next().await? {
            total.accepted += answer.accepted;
            total.rejected += answer.rejected;
            total.message = total.message.or(answer.message);
        }
        Ok(total)
    }
}

fn delivered(batch: &Batch, response: ExportTraceServiceResponse) -> Delivered {
    let partial = response.partial_success.unwrap_or_default();
    let rejected = u64::try_from(partial.rejected_spans).unwrap_or_default().min(batch.spans);
    let message = Some(partial.error_message).filter(|message| !message.is_empty());
    Delivered { accepted: batch.spans - rejected, rejected, message }
}
