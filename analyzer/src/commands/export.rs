//! `retrospan export`: spans to an OTLP receiver.

use std::process::ExitCode;

use datafusion::dataframe::DataFrame;
use futures::{Stream, StreamExt, stream};
use tokio::sync::mpsc;

use super::{block_on, check_where, spans_where};
use crate::cli::ExportArgs;
use crate::error::{Error, Result};
use crate::otlp::batches::{Batch, Batcher};
use crate::otlp::convert::Parents;
use crate::otlp::resource::Resources;
use crate::otlp::send::{Delivered, Receiver};
use crate::otlp::settings::{Given, Settings};
use crate::print;
use crate::session;
use crate::tables::spans::SpanBatch;

/// What resources are made of.
const PROCESSES: &str =
    "SELECT p.process_id, p.pid, p.exe, p.comm, p.argv, p.cgroup, p.service_namespace, p.service_version,
        c.pod, c.namespace, c.container, r.attributes AS resource
    FROM processes p
    LEFT JOIN containers c ON c.cgroup = p.cgroup
    LEFT JOIN imported_resources r ON r.process_id = p.process_id";

/// Sends what was asked for; exit code 1 where the receiver refused some of it.
pub fn run(args: ExportArgs) -> Result<ExitCode> {
    let given = Given { url: args.otlp.as_deref(), protocol: args.protocol, headers: &args.header };
    let settings = Settings::new(&given, &|name| std::env::var(name).ok()).map_err(Error::Usage)?;
    let spans = spans_where(args.filter.as_deref())?;
    let capture = args.capture.open()?;
    let url = settings.endpoint.url();
    let (delivered, orphans) = block_on(async {
        let context = session::open_with(&capture, capture.manifest.host.utc_offset_s, args.links.options())?;
        check_where(&context, args.filter.as_deref()).await?;
        let spans = session::plan(&context, &spans).await?;
        let processes = session::plan(&context, PROCESSES).await?.collect().await?;
        let resources = Resources::new(&capture.manifest, &processes)?;
        let receiver = Receiver::connect(&settings).await?;
        // Without a condition every recorded parent is sent too.
        let parents = args.filter.is_some().then(Parents::default);
        deliver(&receiver, spans, &resources, parents, usize::from(args.in_flight)).await
    })?;
    print::note(&format!("exported {} spans to {url}", delivered.accepted));
    if orphans > 0 {
        print::note(&format!(
            "{orphans} of them have a parent that --where left out; they keep its id, so that exporting it later \
             completes their traces"
        ));
    }
    if delivered.rejected == 0 {
        if let Some(message) = &delivered.message {
            print::note(&format!("the receiver says: {message}"));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let message = delivered.message.as_deref().unwrap_or("no reason given");
    print::note(&format!("retrospan: {} spans were rejected: {message}", delivered.rejected));
    Ok(ExitCode::from(1))
}

/// Reads and sends at the same time, with as many requests waiting as are in flight. Says also how many spans went without
/// their parents, where that is asked.
async fn deliver(
    receiver: &Receiver,
    spans: DataFrame,
    resources: &Resources,
    mut parents: Option<Parents>,
    in_flight: usize,
) -> Result<(Delivered, u64)> {
    let (sender, requests) = mpsc::channel(in_flight.max(1));
    let read = async {
        let outcome = convert(spans, resources, parents.as_mut(), &sender).await;
        drop(sender);
        outcome
    };
    let (read, sent) = tokio::join!(read, receiver.send_all(received(requests), in_flight));
    let delivered = sent?;
    read?;
    Ok((delivered, parents.map_or(0, Parents::missing)))
}

/// Stops early, without an error of its own, where the receiving end is gone: that has the reason.
async fn convert(
    spans: DataFrame,
    resources: &Resources,
    mut parents: Option<&mut Parents>,
    sender: &mpsc::Sender<Batch>,
) -> Result<()> {
    let mut batcher = Batcher::new(resources);
    let mut batches = spans.execute_stream().await?;
    while let Some(batch) = batches.next().await.transpose()? {
        let mut full = Vec::new();
        for row in SpanBatch::new(&batch)?.rows() {
            full.extend(batcher.push(&row));
            if let Some(parents) = parents.as_mut() {
                parents.add(&row);
            }
        }
        for request in full {
            if sender.send(request).await.is_err() {
                return Ok(());
            }
        }
    }
    if let Some(rest) = batcher.take() {
        let _ = sender.send(rest).await;
    }
    Ok(())
}

fn received(requests: mpsc::Receiver<Batch>) -> impl Stream<Item = Result<Batch>> {
    stream::unfold(requests, |mut requests| async move {
        let batch = requests.recv().await?;
        Some((Ok(batch), requests))
    })
}
