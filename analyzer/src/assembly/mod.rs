//! A capture in, the derived tables out: one pass over its events in time order.
//!
//! Batches of events are read on one thread, [`Assembler`] finishes spans on a second, a third makes rows of these, and the caller's takes
//! them. Nothing here depends on anything but the capture and the options, so the same capture gives the same rows.

mod assembler;
pub mod attributes;
pub mod by_socket;
pub mod close_state;
pub mod connections;
pub mod connects;
pub mod conversation;
pub mod due;
pub mod events;
pub mod exchanges;
pub mod heads;
pub mod hex;
mod imported;
pub mod keys;
pub mod links;
pub mod messages;
pub mod openings;
pub mod outcomes;
mod output;
pub mod passing;
pub mod payloads;
pub mod proxies;
pub mod regimes;
mod relatives;
pub mod settling;
pub mod side;
pub mod socket_ids;
pub mod socket_pipeline;
pub mod span;
pub mod spoken;
pub mod streams;
mod summary;
pub mod table_rows;
pub mod traces;
mod wait_rows;
pub mod waits;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use arrow::array::RecordBatch;
use retrospan_formats::error::CaptureError;
use retrospan_formats::reader::Capture;
use retrospan_formats::table::Table;

use crate::assembly::assembler::Assembler;
use crate::assembly::connections::Sockets;
use crate::assembly::events::Events;
use crate::assembly::payloads::Payloads;
use crate::assembly::table_rows::RowContext;
use crate::tables::dimensions;

pub use crate::assembly::output::AssembleError;
pub use crate::assembly::summary::{Options, Summary};

/// Changes whenever the same capture would give other rows; part of the key of cached tables.
pub const ALGORITHM_VERSION: u32 = 18;

/// Reads the whole capture and hands batches of the derived tables to `sink` as they are ready. `taken` counts the events that were
/// taken in, for whoever watches.
///
/// Reading, assembling and making rows each have a thread of their own; `sink` is called by the caller's.
pub fn assemble(
    capture: &Capture,
    options: &Options,
    taken: &AtomicU64,
    sink: &mut dyn FnMut(&'static Table, RecordBatch) -> Result<(), AssembleError>,
) -> Result<Summary, AssembleError> {
    if imported::is_of_traces(capture) {
        return output::write_beside(sink, |batches| imported::assemble(capture, batches));
    }
    let (sockets, dimensions) = (connections::read(capture)?, dimensions::read(capture)?);
    let context = RowContext { sockets: &sockets, dimensions: &dimensions };
    let (summary, traces) = output::write_beside(sink, |batches| {
        output::make_rows_beside(batches, context, options.messages, |outbox| {
            thread::scope(|scope| {
                let (to_assemble, events) = sync_channel(output::QUEUE);
                scope.spawn(move || read_ahead(capture, &to_assemble));
                let assembler = Assembler::new(capture, options, context, outbox);
                run(assembler, events, &sockets, capture.manifest.whole_until_boot_ns, taken)
            })
        })
    })?;
    Ok(Summary { traces, ..summary })
}

/// Reads until the end, an error, or until nobody takes what was read.
fn read_ahead(capture: &Capture, queue: &SyncSender<Result<Events, CaptureError>>) {
    for events in events::read(capture) {
        if queue.send(events).is_err() {
            return;
        }
    }
}

/// Takes in what is read. The recording went on until `end_ns`, whatever happened in it.
fn run(
    mut assembler: Assembler<'_>,
    queue: Receiver<Result<Events, CaptureError>>,
    sockets: &Sockets,
    mut end_ns: i64,
    taken: &AtomicU64,
) -> Result<Summary, AssembleError> {
    let (mut payloads, mut count) = (Payloads::default(), 0);
    for events in queue {
        taken.store(count, Ordering::Relaxed);
        for event in events?.iter() {
            end_ns = end_ns.max(event.boot_ns);
            count += 1;
            let socket = sockets.find(event.socket_id);
            let ends = socket.and_then(|own| payloads::ends(own, sockets));
            payloads.complete(&event, ends, |event| assembler.event(socket, event))?;
        }
    }
    Ok(Summary { events: count, ..assembler.finish(end_ns)? })
}
