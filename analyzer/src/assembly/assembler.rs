//! Events in, spans and connections that cannot change any more out.
//!
//! Runs the steps, one module each, and holds what is between them: one [`SocketPipeline`] a socket that is open, the spans that
//! are not finished yet, and the alarms of pipelines that wait.

use std::collections::BTreeMap;

use retrospan_formats::event::Kind;
use retrospan_formats::reader::Capture;
use retrospan_protocols::Memory;

use crate::assembly::connections::{Role, SocketIndex, Sockets};
use crate::assembly::connects::Connects;
use crate::assembly::conversation::Sink;
use crate::assembly::due::Due;
use crate::assembly::events::{Event, StateChange};
use crate::assembly::exchanges::SpanUpdate;
use crate::assembly::heads::Heads;
use crate::assembly::links::Links;
use crate::assembly::output::{AssembleError, Done, Outbox};
use crate::assembly::passing::Message;
use crate::assembly::proxies::Proxies;
use crate::assembly::regimes::Regimes;
use crate::assembly::settling::Settling;
use crate::assembly::socket_pipeline::SocketPipeline;
use crate::assembly::span::OpenSpans;
use crate::assembly::summary::{Options, Summary};
use crate::assembly::table_rows::RowContext;
use crate::tables::dimensions::Dimensions;

/// What is between the steps.
pub(super) struct Assembler<'a> {
    sockets: &'a Sockets,
    dimensions: &'a Dimensions,
    pipelines: Vec<Slot>,
    alarms: Due<SocketIndex>,
    live: OpenSpans,
    /// What protocols remember of the last heads, by direction: those of different connections resemble each other too.
    memory: [Memory; 2],
    heads: Heads,
    updates: Vec<SpanUpdate>,
    passed: Vec<Message>,
    proxies: Proxies,
    connects: Connects,
    links: Links,
    regimes: Regimes<'a>,
    settling: Settling,
    /// Time of the event before, boot time ns.
    before_ns: i64,
    /// Ends of connections whose other end is not finished yet.
    unpaired: BTreeMap<i64, Box<SocketPipeline>>,
    /// Messages are asked for.
    messages: bool,
    outbox: Outbox,
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

impl<'a> Assembler<'a> {
    /// Before the first event.
    pub(super) fn new(
        capture: &'a Capture,
        options: &Options,
        RowContext { sockets, dimensions }: RowContext<'a>,
        outbox: Outbox,
    ) -> Assembler<'a> {
        Assembler {
            sockets,
            dimensions,
            pipelines: Vec::new(),
            alarms: Due::default(),
            live: OpenSpans::default(),
            memory: Default::default(),
            heads: Heads::default(),
            updates: Vec::new(),
            passed: Vec::new(),
            proxies: Proxies::default(),
            connects: Connects::new(!dimensions.is_sampled()),
            links: Links::new(options.min_confidence),
            regimes: Regimes::new(capture),
            settling: Settling::new(&capture.manifest.capture_id, options.settle_ns),
            before_ns: 0,
            unpaired: BTreeMap::new(),
            messages: options.messages,
            outbox,
            summary: Summary::default(),
        }
    }

    /// Takes in an event, which is of this socket. Must get every one, in order of emission.
    pub(super) fn event(
        &mut self,
        socket: Option<SocketIndex>,
        event: &Event<'_>,
    ) -> Result<(), AssembleError> {
        self.pass_time(event.boot_ns)?;
        let Some(index) = socket else { return Ok(()) };
        // Of a sample the connection that would be the right one may be missing, and another be just like it.
        if !self.dimensions.is_sampled() {
            self.proxies.call(index, event, self.sockets);
        }
        self.connects.event(index, event, self.sockets);
        if event.kind == Kind::Listen || self.sockets.get(index).role == Role::Listener {
            return Ok(());
        }
        if let Some(change) = &event.state
            && let Some(Slot::Open(pipeline)) = self.pipelines.get(index as usize)
            && pipeline.is_over(change)
        {
            self.close(index, event.boot_ns)?;
            let pipeline = SocketPipeline::reborn(index, self.sockets, event.boot_ns, change);
            self.pipelines[index as usize] = Slot::Open(Box::new(pipeline));
        }
        if let Some(change) = &event.state {
            self.tell_sessions(index, event.boot_ns, change)?;
        }
        let Some((pipeline, mut sink)) = self.pipeline(index, event.boot_ns) else { return Ok(()) };
        let waits = pipeline.event(event, &mut sink);
        let gone_ns = pipeline.gone_ns().filter(|_| pipeline.may_be_gone(event));
        if waits {
            self.alarms.push(event.boot_ns + ALARM_NS, index);
        } else if let Some(gone_ns) = gone_ns {
            self.alarms.push(gone_ns, index);
        }
        self.apply(event.boot_ns)
    }

    /// Tells the TLS sessions on a socket that its state changed.
    fn tell_sessions(
        &mut self,
        carrier: SocketIndex,
        now_ns: i64,
        change: &StateChange,
    ) -> Result<(), AssembleError> {
        let sockets = self.sockets;
        for &session in sockets.sessions(carrier) {
            if !matches!(self.pipelines.get(session as usize), Some(Slot::Open(_))) {
                continue;
            }
            let Some((pipeline, mut sink)) = self.pipeline(session, now_ns) else { continue };
            pipeline.carrier_changed(now_ns, change, &mut sink);
            if let Some(gone_ns) = pipeline.gone_ns() {
                self.alarms.push(gone_ns, session);
            }
        }
        Ok(())
    }

    /// Does what is due before an event of this time.
    fn pass_time(&mut self, now_ns: i64) -> Result<(), AssembleError> {
        while let Some((due_ns, index)) = self.alarms.pop(now_ns) {
            self.alarm(due_ns, index)?;
        }
        if self.settling.is_due(now_ns) || self.connects.is_due(now_ns) {
            self.write(now_ns)?;
        }
        self.before_ns = now_ns;
        Ok(())
    }

    fn alarm(&mut self, now_ns: i64, index: SocketIndex) -> Result<(), AssembleError> {
        let Some((pipeline, mut sink)) = self.pipeline(index, now_ns) else { return Ok(()) };
        let waits = pipeline.tick(now_ns, &mut sink);
        let gone_ns = pipeline.gone_ns();
        self.apply(now_ns)?;
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
            *slot = Slot::Open(Box::new(SocketPipeline::new(index, self.sockets, now_ns)));
        }
        let Slot::Open(pipeline) = slot else { return None };
        let (live, updates, dimensions) = (&mut self.live, &mut self.updates, self.dimensions);
        let (passed, memory, heads) = (&mut self.passed, &mut self.memory, &mut self.heads);
        Some((pipeline, Sink { live, updates, passed, dimensions, memory, heads }))
    }

    /// Tells the later steps what became of spans.
    fn apply(&mut self, now_ns: i64) -> Result<(), AssembleError> {
        for change in self.updates.drain(..) {
            match change {
                SpanUpdate::Started(span) => {
                    let had_loss = |from_ns, to_ns| {
                        self.dimensions.is_sampled() || self.dimensions.had_loss(from_ns, to_ns)
                    };
                    let (sockets, proxies) = (self.sockets, &self.proxies);
                    self.links.began(span, &mut self.live, sockets, proxies, &self.regimes, had_loss);
                    self.connects.linked(span, false, &self.live, self.sockets);
                }
                SpanUpdate::HeadParsed(span) => {
                    self.links.headed(span, &mut self.live);
                    self.connects.linked(span, false, &self.live, self.sockets);
                }
                SpanUpdate::Responded(span) => self.links.answered(span, &self.live),
                SpanUpdate::Ended(span) => {
                    self.links.finished(span, &mut self.live, self.sockets, &self.proxies);
                    self.connects.linked(span, true, &self.live, self.sockets);
                    self.settling.finished(span, now_ns);
                }
            }
        }
        if self.passed.is_empty() { Ok(()) } else { self.pass() }
    }

    /// Writes messages that are no exchanges.
    #[cold]
    fn pass(&mut self) -> Result<(), AssembleError> {
        for message in self.passed.drain(..).filter(|_| self.messages) {
            let span_id = self.settling.id_of(message.origin, self.sockets);
            self.summary.messages += 1;
            self.outbox.push(Done::Message(message, span_id))?;
        }
        Ok(())
    }

    /// A socket is gone.
    fn close(&mut self, index: SocketIndex, now_ns: i64) -> Result<(), AssembleError> {
        let Some(slot) = self.pipelines.get_mut(index as usize) else { return Ok(()) };
        if !matches!(slot, Slot::Open(_)) {
            return Ok(());
        }
        let Slot::Open(mut pipeline) = std::mem::replace(slot, Slot::Gone) else { return Ok(()) };
        let dimensions = self.dimensions;
        let (peer, connection_id) = (self.sockets.get(index).peer, self.sockets.get(index).connection_id);
        let other = match peer.and_then(|peer| self.pipelines.get(peer as usize)) {
            Some(Slot::Open(other)) => Some(other),
            _ => self.unpaired.get(&connection_id),
        };
        let (live, updates) = (&mut self.live, &mut self.updates);
        let (passed, memory, heads) = (&mut self.passed, &mut self.memory, &mut self.heads);
        let mut sink = Sink { live, updates, passed, dimensions, memory, heads };
        let had_loss = |start_ns| dimensions.had_loss(start_ns, now_ns);
        pipeline.finish(now_ns, other.map(|other| &**other), had_loss, &mut sink);
        self.apply(now_ns)?;
        self.proxies.closed(index);
        self.summary.missing_bytes += pipeline.missing_bytes;
        match self.unpaired.remove(&connection_id) {
            Some(other) => self.connection(other, Some(pipeline), now_ns),
            None if peer.is_some() => {
                self.unpaired.insert(connection_id, pipeline);
                Ok(())
            }
            None => self.connection(pipeline, None, now_ns),
        }
    }

    /// A connection is over, with all ends that were recorded.
    fn connection(
        &mut self,
        first: Box<SocketPipeline>,
        second: Option<Box<SocketPipeline>>,
        now_ns: i64,
    ) -> Result<(), AssembleError> {
        for end in [&first].into_iter().chain(&second) {
            self.connects.over(end.socket, self.settling.written_ns(now_ns));
        }
        self.summary.connections += 1;
        self.outbox.push(Done::Connection(first, second))
    }

    /// Writes what cannot change any more.
    fn write(&mut self, now_ns: i64) -> Result<(), AssembleError> {
        let Assembler { settling, live, links, connects, sockets, outbox, summary, messages, .. } = self;
        settling.settle([self.before_ns, now_ns], live, links, connects, sockets, |finished| {
            summary.spans += 1 + finished.waited.as_ref().map_or(0, |waited| waited.parts.len() as u64);
            if *messages {
                summary.messages += 1 + u64::from(finished.span.response.is_some());
            }
            outbox.push(Done::Span(finished))
        })?;
        connects.written(now_ns);
        Ok(())
    }

    /// After the last event.
    pub(super) fn finish(mut self, end_ns: i64) -> Result<Summary, AssembleError> {
        self.pass_time(end_ns)?;
        self.alarms.clear();
        for index in 0..self.pipelines.len() as SocketIndex {
            self.close(index, end_ns)?;
        }
        for (_, end) in std::mem::take(&mut self.unpaired) {
            self.connection(end, None, end_ns)?;
        }
        self.write(i64::MAX)?;
        for &(process_id, regime) in self.regimes.all() {
            self.outbox.push(Done::Regime(process_id, regime))?;
        }
        self.outbox.flush()?;
        self.summary.broken_pairs = self.proxies.broken;
        self.summary.clock_steps = self.dimensions.clock.steps.clone();
        Ok(self.summary)
    }
}
