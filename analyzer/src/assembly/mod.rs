//! A capture in, the derived tables out: one pass over its events in time order.
//!
//! Runs the steps, one module each, and holds what is between them: one [`SocketPipeline`] a socket that is open, the spans that
//! are not written yet, and the alarms of pipelines that wait. Nothing here depends on anything but the capture and the options, so
//! the same capture gives the same rows.

pub mod attributes;
pub mod close_state;
pub mod connections;
pub mod connects;
pub mod conversation;
pub mod due;
pub mod events;
pub mod exchanges;
pub mod heads;
pub mod hex;
pub mod keys;
pub mod links;
pub mod messages;
pub mod openings;
pub mod outcomes;
mod output;
pub mod payloads;
pub mod proxies;
pub mod regimes;
mod relatives;
pub mod side;
pub mod socket_ids;
pub mod socket_pipeline;
pub mod span;
pub mod spoken;
pub mod streams;
pub mod table_rows;
pub mod traces;
mod wait_rows;
pub mod waits;

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use retrospan_formats::event::Kind;
use retrospan_formats::reader::Capture;
use retrospan_formats::table::Table;
use retrospan_protocols::Memory;

use crate::assembly::connections::{Role, SocketIndex, Sockets};
use crate::assembly::connects::Connects;
use crate::assembly::conversation::Sink;
use crate::assembly::due::Due;
use crate::assembly::events::Event;
use crate::assembly::exchanges::SpanUpdate;
use crate::assembly::heads::Heads;
use crate::assembly::links::Links;
use crate::assembly::output::Output;
use crate::assembly::payloads::Payloads;
use crate::assembly::proxies::Proxies;
use crate::assembly::regimes::Regimes;
use crate::assembly::socket_pipeline::SocketPipeline;
use crate::assembly::span::OpenSpans;
use crate::assembly::table_rows::RowContext;
use crate::assembly::traces::Traces;
use crate::tables::dimensions::{self, ClockStep, Dimensions};

pub use crate::assembly::output::AssembleError;

/// Changes whenever the same capture would give other rows; part of the key of cached tables.
pub const ALGORITHM_VERSION: u32 = 14;

/// What may be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long a decided span waits for its relatives, ns of event time.
    pub settle_ns: i64,
    /// Write table `messages`.
    pub messages: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { settle_ns: 1_000_000_000, messages: true }
    }
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Events read.
    pub events: u64,
    /// Rows of `spans`.
    pub spans: u64,
    /// Rows of `traces`.
    pub traces: u64,
    /// Rows of `connections`.
    pub connections: u64,
    /// Rows of `messages`.
    pub messages: u64,
    /// Bytes whose calls are not in the capture.
    pub missing_bytes: u64,
    /// Connections of a proxy that did not stay equal to their partner.
    pub broken_pairs: u64,
    /// Where the wall clock was set during the recording.
    pub clock_steps: Vec<ClockStep>,
}

/// Reads the whole capture and hands batches of the derived tables to `sink` as they are ready.
pub fn assemble(
    capture: &Capture,
    options: &Options,
    sink: &mut dyn FnMut(&'static Table, RecordBatch) -> Result<(), AssembleError>,
) -> Result<Summary, AssembleError> {
    let mut assembly = Assembly {
        sockets: connections::read(capture)?,
        dimensions: dimensions::read(capture)?,
        pipelines: Vec::new(),
        alarms: Due::default(),
        live: OpenSpans::default(),
        memory: Default::default(),
        heads: Heads::default(),
        updates: Vec::new(),
        proxies: Proxies::default(),
        connects: Connects::default(),
        links: Links::default(),
        regimes: Regimes::new(capture),
        traces: Traces::new(&capture.manifest.capture_id, options.settle_ns),
        unpaired: BTreeMap::new(),
        output: Output::new(options.messages, sink),
        summary: Summary::default(),
    };
    let (mut now_ns, mut payloads) = (0, Payloads::default());
    for events in events::read(capture) {
        for event in events?.iter() {
            now_ns = event.boot_ns;
            assembly.summary.events += 1;
            let ends = payloads::ends(&event, &assembly.sockets);
            payloads.complete(&event, ends, |event| assembly.event(event))?;
        }
    }
    let end_ns = now_ns.max(capture.manifest.whole_until_boot_ns);
    assembly.finish(end_ns)
}

struct Assembly<'a> {
    sockets: Sockets,
    dimensions: Dimensions,
    pipelines: Vec<Slot>,
    alarms: Due<SocketIndex>,
    live: OpenSpans,
    /// Header lines of the last heads, by direction: those of different connections resemble each other too.
    memory: [Memory; 2],
    heads: Heads,
    updates: Vec<SpanUpdate>,
    proxies: Proxies,
    connects: Connects,
    links: Links,
    regimes: Regimes<'a>,
    traces: Traces,
    /// Ends of connections whose other end is not finished yet.
    unpaired: BTreeMap<i64, Box<SocketPipeline>>,
    output: Output<'a>,
    summary: Summary,
}

/// The pipeline of a socket.
enum Slot {
    Unseen,
    Open(Box<SocketPipeline>),
    Gone,
}

/// How soon a pipeline that waits is looked at again, ns of event time.
const ALARM_NS: i64 = 5_000_000;

impl Assembly<'_> {
    fn event(&mut self, event: &Event<'_>) -> Result<(), AssembleError> {
        self.pass_time(event.boot_ns)?;
        let index = self.sockets.index(event.socket_id);
        self.proxies.call(index, event, &self.sockets);
        self.connects.event(index, event, &self.sockets);
        if event.kind == Kind::Listen || self.sockets.get(index).role == Role::Listener {
            return Ok(());
        }
        if let Some(change) = &event.state
            && let Some(Slot::Open(pipeline)) = self.pipelines.get(index as usize)
            && pipeline.is_over(change)
        {
            self.close(index, event.boot_ns)?;
            let pipeline = SocketPipeline::reborn(index, &self.sockets, event.boot_ns, change);
            self.pipelines[index as usize] = Slot::Open(Box::new(pipeline));
        }
        let Some((pipeline, mut sink)) = self.pipeline(index, event.boot_ns) else { return Ok(()) };
        let waits = pipeline.event(event, &mut sink);
        let gone_ns = pipeline.gone_ns();
        if waits {
            self.alarms.push(event.boot_ns + ALARM_NS, index);
        } else if let Some(gone_ns) = gone_ns {
            self.alarms.push(gone_ns, index);
        }
        self.apply(event.boot_ns);
        Ok(())
    }

    /// Does what is due before an event of this time.
    fn pass_time(&mut self, now_ns: i64) -> Result<(), AssembleError> {
        while let Some((due_ns, index)) = self.alarms.pop(now_ns) {
            self.alarm(due_ns, index)?;
        }
        if self.traces.is_due(now_ns) || self.connects.is_due(now_ns) {
            self.write(now_ns)?;
        }
        Ok(())
    }

    fn alarm(&mut self, now_ns: i64, index: SocketIndex) -> Result<(), AssembleError> {
        let Some((pipeline, mut sink)) = self.pipeline(index, now_ns) else { return Ok(()) };
        let waits = pipeline.tick(now_ns, &mut sink);
        let gone_ns = pipeline.gone_ns();
        self.apply(now_ns);
        if gone_ns.is_some_and(|gone_ns| gone_ns <= now_ns) {
            return self.close(index, now_ns);
        }
        let next_ns = now_ns.saturating_add(ALARM_NS);
        if waits {
            self.alarms.push(next_ns, index);
        } else if let Some(gone_ns) = gone_ns {
            self.alarms.push(gone_ns, index);
        }
        Ok(())
    }

    /// The pipeline of a socket, new where this is its first event; None where it was closed already.
    fn pipeline(&mut self, index: SocketIndex, now_ns: i64) -> Option<(&mut SocketPipeline, Sink<'_>)> {
        let place = index as usize;
        if place >= self.pipelines.len() {
            self.pipelines.resize_with(place + 1, || Slot::Unseen);
        }
        let slot = &mut self.pipelines[place];
        if matches!(slot, Slot::Unseen) {
            *slot = Slot::Open(Box::new(SocketPipeline::new(index, &self.sockets, now_ns)));
        }
        let Slot::Open(pipeline) = slot else { return None };
        let (live, updates, dimensions) = (&mut self.live, &mut self.updates, &self.dimensions);
        let (memory, heads) = (&mut self.memory, &mut self.heads);
        Some((pipeline, Sink { live, updates, dimensions, memory, heads }))
    }

    /// Tells the later steps what became of spans.
    fn apply(&mut self, now_ns: i64) {
        for change in self.updates.drain(..) {
            match change {
                SpanUpdate::Started(span) => {
                    let had_loss = |from_ns, to_ns| self.dimensions.had_loss(from_ns, to_ns);
                    let (sockets, proxies) = (&self.sockets, &self.proxies);
                    self.links.began(span, &mut self.live, sockets, proxies, &self.regimes, had_loss);
                    self.connects.linked(span, false, &self.live, &self.sockets);
                }
                SpanUpdate::HeadParsed(span) => {
                    self.links.headed(span, &mut self.live);
                    self.connects.linked(span, false, &self.live, &self.sockets);
                }
                SpanUpdate::Responded(span) => self.links.answered(span, &self.live),
                SpanUpdate::Ended(span) => {
                    self.links.finished(span, &mut self.live, &self.sockets, &self.proxies);
                    self.connects.linked(span, true, &self.live, &self.sockets);
                    self.traces.finished(span, now_ns);
                }
            }
        }
    }

    /// A socket is gone.
    fn close(&mut self, index: SocketIndex, now_ns: i64) -> Result<(), AssembleError> {
        let Some(slot) = self.pipelines.get_mut(index as usize) else { return Ok(()) };
        if !matches!(slot, Slot::Open(_)) {
            return Ok(());
        }
        let Slot::Open(mut pipeline) = std::mem::replace(slot, Slot::Gone) else { return Ok(()) };
        let dimensions = &self.dimensions;
        let (peer, connection_id) = (self.sockets.get(index).peer, self.sockets.get(index).connection_id);
        let other = match peer.and_then(|peer| self.pipelines.get(peer as usize)) {
            Some(Slot::Open(other)) => Some(other),
            _ => self.unpaired.get(&connection_id),
        };
        let (live, updates) = (&mut self.live, &mut self.updates);
        let (memory, heads) = (&mut self.memory, &mut self.heads);
        let mut sink = Sink { live, updates, dimensions, memory, heads };
        let had_loss = |start_ns| dimensions.had_loss(start_ns, now_ns);
        pipeline.finish(now_ns, other.map(|other| &**other), had_loss, &mut sink);
        self.apply(now_ns);
        self.proxies.closed(index);
        self.summary.missing_bytes += pipeline.missing_bytes;
        match self.unpaired.remove(&connection_id) {
            Some(other) => self.connection(&[&other, &pipeline], now_ns),
            None if peer.is_some() => {
                self.unpaired.insert(connection_id, pipeline);
                Ok(())
            }
            None => self.connection(&[&pipeline], now_ns),
        }
    }

    /// A connection is over, with all ends that were recorded.
    fn connection(&mut self, ends: &[&SocketPipeline], now_ns: i64) -> Result<(), AssembleError> {
        for end in ends {
            self.connects.over(end.socket, self.traces.written_ns(now_ns));
        }
        let context = RowContext { sockets: &self.sockets, dimensions: &self.dimensions };
        table_rows::connection(&mut self.output.connections, ends, context);
        self.summary.connections += 1;
        self.output.flush(false)
    }

    /// Writes what cannot change any more.
    fn write(&mut self, now_ns: i64) -> Result<(), AssembleError> {
        let Assembly { traces, live, links, connects, sockets, dimensions, output, summary, .. } = self;
        let context = RowContext { sockets, dimensions };
        traces.settle(now_ns, live, links, connects, sockets, |finished| {
            let labels = table_rows::span(&mut output.spans, &mut output.attributes, finished, context);
            summary.spans += 1 + wait_rows::add(&mut output.spans, finished, context);
            if let Some(messages) = &mut output.messages {
                summary.messages += 1 + u64::from(finished.span.response.is_some());
                table_rows::messages(messages, finished, context);
            }
            output.flush(false)?;
            Ok::<_, AssembleError>(labels)
        })?;
        connects.written(now_ns);
        while let Some(trace) = self.traces.complete(now_ns) {
            table_rows::trace(&mut self.output.traces, &trace, &self.dimensions.clock);
            self.summary.traces += 1;
            self.output.flush(false)?;
        }
        Ok(())
    }

    fn finish(mut self, end_ns: i64) -> Result<Summary, AssembleError> {
        self.pass_time(end_ns)?;
        self.alarms.clear();
        for index in 0..self.pipelines.len() as SocketIndex {
            self.close(index, end_ns)?;
        }
        for (_, end) in std::mem::take(&mut self.unpaired) {
            self.connection(&[&end], end_ns)?;
        }
        self.write(i64::MAX)?;
        for trace in self.traces.rest() {
            table_rows::trace(&mut self.output.traces, &trace, &self.dimensions.clock);
            self.summary.traces += 1;
        }
        self.output.flush(true)?;
        self.summary.broken_pairs = self.proxies.broken;
        self.summary.clock_steps = std::mem::take(&mut self.dimensions.clock.steps);
        Ok(self.summary)
    }
}
