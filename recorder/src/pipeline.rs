//! Merged records to rows: the one place where processes, sockets, redaction and columns meet.
//!
//! In: records in order of emission. Out: batches, handed to a sink that writes them.

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use bytemuck::pod_read_unaligned;
use retrospan_formats::event::{self, Header, Kind, Record, flags};
use retrospan_formats::table::Table;
use retrospan_formats::tables;

use crate::columns::{Event, EventColumns};
use crate::losses::Losses;
use crate::options::Payload;
use crate::order::{Place, Row};
use crate::processes::Processes;
use crate::redact::{Data, Redactor};
use crate::rows;
use crate::sockets::Sockets;

/// Why recording cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// A batch could not be built.
    #[error("rows do not fit their table: {0}")]
    Rows(#[from] ArrowError),
    /// The writer has ended; it has the reason.
    #[error("the writer has ended")]
    WriterGone,
}

/// Takes a finished batch.
pub type Sink<'a> = dyn FnMut(&'static Table, RecordBatch) -> Result<(), PipelineError> + 'a;

/// The state of a recording, from records to rows.
pub struct Pipeline {
    /// Who is who.
    pub processes: Processes,
    /// What is open.
    pub sockets: Sockets,
    /// What was lost.
    pub losses: Losses,
    payload: Payload,
    own_pid: u32,
    redactor: Redactor,
    columns: EventColumns,
    events: u64,
    part_rows: u64,
    part_payload_bytes: u64,
}

impl Pipeline {
    /// Starts with what is known of processes.
    pub fn new(processes: Processes, losses: Losses, payload: Payload, own_pid: u32) -> Pipeline {
        Pipeline {
            processes,
            sockets: Sockets::default(),
            losses,
            payload,
            own_pid,
            redactor: Redactor::default(),
            columns: EventColumns::default(),
            events: 0,
            part_rows: 0,
            part_payload_bytes: 0,
        }
    }

    /// Rows of `events` so far.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Rows of `events` in the current part, and the bytes of their payload.
    pub fn part_size(&self) -> (u64, u64) {
        (self.part_rows, self.part_payload_bytes)
    }

    /// Takes the next record.
    pub fn record(&mut self, row: Row<'_>, sink: &mut Sink<'_>) -> Result<(), PipelineError> {
        let Row { header, body, place } = row;
        if place == Place::Dropped {
            let kind = Kind::from_number(header.kind).map_or("unknown", Kind::name);
            self.losses.count(header.cpu, kind, "late", 1);
            return Ok(());
        }
        if header.record == Record::Process as u8 {
            self.processes.record(&header, body);
        } else if header.record == Record::Socket as u8 {
            self.socket(&header, body);
        } else if header.record == Record::Call as u8 {
            self.call(&header, body, place);
        } else if header.record == Record::State as u8 {
            self.state(&header, body);
        }
        if self.columns.is_full() { self.flush(sink) } else { Ok(()) }
    }

    /// Hands over the rows of `events` so far.
    pub fn flush(&mut self, sink: &mut Sink<'_>) -> Result<(), PipelineError> {
        if self.columns.is_empty() {
            return Ok(());
        }
        let batch = self.columns.take_batch()?;
        sink(&tables::EVENTS, batch)
    }

    /// Hands over everything that the part which ends now must hold.
    pub fn end_part(&mut self, sink: &mut Sink<'_>) -> Result<(), PipelineError> {
        self.flush(sink)?;
        (self.part_rows, self.part_payload_bytes) = (0, 0);
        sink(&tables::PROCESSES, rows::processes(&self.processes.take_rows())?)?;
        sink(&tables::SOCKETS, rows::sockets(&self.sockets.take_rows())?)
    }

    fn socket(&mut self, header: &Header, body: &[u8]) {
        let Some(bytes) = body.get(..size_of::<event::Socket>()) else { return };
        // The start snapshot runs in our own name.
        let pid = if header.pid == self.own_pid { 0 } else { header.pid };
        let process_id = self.processes.id_of(pid);
        self.sockets.record(pod_read_unaligned(bytes), process_id);
    }

    fn call(&mut self, header: &Header, body: &[u8], place: Place) {
        let Some(kind) = Kind::from_number(header.kind) else { return };
        let Some(fixed) = body.get(..size_of::<event::Call>()) else { return };
        let call: event::Call = pod_read_unaligned(fixed);
        let data = &body[size_of::<event::Call>()..];
        let (head, rest) = data.split_at(data.len().min(call.head_bytes.into()));
        let tail = &rest[..rest.len().min(call.tail_bytes.into())];
        let process_id = self.processes.id_of(header.pid);
        let socket = self.sockets.get(call.socket_id);
        socket.called(kind, process_id);
        let tcp_seq = (call.flags & flags::NO_SEQ == 0).then_some(call.tcp_seq);
        let mut kept_flags = call.flags;
        if matches!(kind, Kind::Send | Kind::Receive) {
            let data = Data {
                kind,
                role: socket.role(),
                done_bytes: call.done_bytes,
                tcp_seq: tcp_seq.filter(|_| call.flags & flags::OFFSET_UNCERTAIN == 0),
                flags: call.flags,
                head,
                tail,
            };
            let in_order = place == Place::InOrder;
            let before = self.columns.payload().len();
            kept_flags =
                self.redactor.keep(self.payload, &mut socket.stream, &data, in_order, self.columns.payload());
            self.part_payload_bytes += (self.columns.payload().len() - before) as u64;
        }
        let is_data = matches!(kind, Kind::Send | Kind::Receive);
        let event = Event {
            kind,
            socket_id: call.socket_id,
            process_id: process_id.or(socket.owner()),
            duration_ns: call.duration_ns,
            asked_bytes: call.asked_bytes,
            done_bytes: call.done_bytes,
            tcp_seq: tcp_seq.filter(|_| is_data),
            errno: call.errno,
            flags: kept_flags,
            state: None,
        };
        self.push(header, &event);
    }

    fn state(&mut self, header: &Header, body: &[u8]) {
        let Some(bytes) = body.get(..size_of::<event::State>()) else { return };
        let state: event::State = pod_read_unaligned(bytes);
        let socket = self.sockets.get(state.socket_id);
        socket.state(state.new_state, header.boot_ns);
        let event = Event {
            kind: Kind::State,
            socket_id: state.socket_id,
            process_id: socket.owner(),
            duration_ns: 0,
            asked_bytes: 0,
            done_bytes: 0,
            tcp_seq: None,
            errno: 0,
            flags: 0,
            state: Some(state),
        };
        self.push(header, &event);
    }

    fn push(&mut self, header: &Header, event: &Event) {
        self.columns.push(header, event);
        self.events += 1;
        self.part_rows += 1;
    }
}
