//! Merged records to rows: the one place where processes, sockets, redaction and columns meet.
//!
//! In: records in order of emission. Out: batches, handed to a sink that writes them.

pub mod containers;
pub mod counters;
mod datagram;
pub mod datagrams;
pub mod flows;
pub mod judge;
pub mod long_heads;
pub mod losses;
pub mod processes;
pub mod script;
pub mod sockets;
pub mod tls;
mod unix;
pub mod usage;
pub mod watch;

use bytemuck::pod_read_unaligned;
use retrospan_formats::event::{self, Header, Kind, Record, SchedKind, TcpKind, flags, life};
use retrospan_formats::marks;
use retrospan_formats::rows::batch;
use retrospan_formats::tables::{self, ContainerRow, ExecRow, ProcessRow, SchedRow, TcpRow, WakeRow};
use retrospan_protocols::redact::{Data, Hashes, Payload, Redactor, Rules, Stream};

use crate::fast_map::FastMap;
use crate::pipeline::containers::KnownCgroup;
use crate::pipeline::datagrams::Datagrams;
use crate::pipeline::flows::Flows;
use crate::pipeline::judge::Judge;
use crate::pipeline::long_heads::{Held, Long};
use crate::pipeline::losses::{Losses, kind_name};
use crate::pipeline::processes::{KnownProcess, Processes};
use crate::pipeline::sockets::Sockets;
use crate::pipeline::watch::{Call, Watch};
use crate::rings::merge::{Arrival, Row};
use crate::rows::events::{Event, EventColumns};
use crate::rows::pending::{EvidenceRows, Exec};
use crate::rows::{RowsError, Sink};

/// The state of a recording, from records to rows.
pub struct Pipeline {
    /// Who is who.
    pub processes: Processes,
    /// What is open.
    pub sockets: Sockets,
    /// UDP sockets.
    datagrams: Datagrams,
    /// What was lost.
    pub losses: Losses,
    /// Looks for what a copy is to be made on.
    pub watch: Option<Watch>,
    /// Says whose sockets are left out, where the kernel programs do not know.
    pub judge: Option<Judge>,
    payload: Payload,
    own_pid: u32,
    redactor: Redactor,
    /// A call whose long head is not whole yet.
    held: Option<Held>,
    columns: EventColumns,
    evidence: EvidenceRows,
    flows: Flows,
    keeps_execs: bool,
    notes_programs: bool,
    begun: Vec<u32>,
    /// Wall clock less boot time, ns.
    wall_ahead_ns: Option<i64>,
    /// Processes that carry traffic: those of recorded calls.
    traffic: FastMap<u32, ()>,
    traffic_last: u32,
    events: u64,
    part_rows: u64,
    part_payload_bytes: u64,
}

impl Pipeline {
    /// Starts with what is known of processes.
    pub fn new(processes: Processes, losses: Losses, payload: Payload, own_pid: u32) -> Pipeline {
        Pipeline {
            processes,
            // Payload that is not read is not known to be at the other end.
            sockets: Sockets::new(payload == Payload::Heads),
            datagrams: Datagrams::default(),
            losses,
            watch: None,
            judge: None,
            payload,
            own_pid,
            redactor: Redactor::default(),
            held: None,
            columns: EventColumns::default(),
            evidence: EvidenceRows::default(),
            flows: Flows::default(),
            keeps_execs: true,
            notes_programs: false,
            begun: Vec::new(),
            wall_ahead_ns: None,
            traffic: FastMap::default(),
            traffic_last: 0,
            events: 0,
            part_rows: 0,
            part_payload_bytes: 0,
        }
    }

    /// Tells how far the wall clock is ahead of boot time, ns, for the records that come from now on.
    pub fn set_wall_ahead(&mut self, ns: i64) {
        self.wall_ahead_ns = Some(ns);
    }

    /// Keeps and blanks what these rules say, too.
    pub fn follow(&mut self, rules: Rules) {
        self.redactor.follow(rules);
    }

    /// Tells hashes of the secrets of requests, too, where payload is redacted.
    pub fn hash_secrets(&mut self, hashes: Hashes) {
        if self.payload == Payload::Heads {
            self.redactor = Redactor::with_hashes(hashes);
        }
    }

    /// Leaves `execs` empty; processes stay known.
    pub fn leave_out_execs(&mut self) {
        self.keeps_execs = false;
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
    pub fn record(&mut self, row: Row<'_>, sink: &mut Sink<'_>) -> Result<(), RowsError> {
        let Row { header, body, arrival } = row;
        if header.record == Record::More as u8 {
            self.more(&header, body);
            return if self.columns.is_full() { self.flush(sink) } else { Ok(()) };
        }
        // Its records have its time, and all of them were there with it.
        if self.held.as_ref().is_some_and(|held| header.boot_ns != held.header.boot_ns) {
            self.release_held();
        }
        if arrival == Arrival::TooLate {
            self.losses.count(header.cpu, kind_name(header.kind), "late", 1);
            return Ok(());
        }
        if let Some(judge) = &mut self.judge
            && judge.leaves_out(&header, body, &self.sockets)
        {
            return Ok(());
        }
        if header.record == Record::Process as u8 {
            self.process(&header, body);
            if let Some(judge) = &mut self.judge {
                judge.process(&header, body, &self.processes);
            }
        } else if header.record == Record::Socket as u8 {
            self.socket(&header, body);
        } else if header.record == Record::Call as u8 {
            self.begin_call(&header, body, arrival);
        } else if header.record == Record::Datagram as u8 {
            self.datagram(&header, body);
        } else if header.record == Record::State as u8 {
            self.state(&header, body);
        } else if header.record == Record::Tcp as u8 {
            self.tcp(&header, body);
            return self.hand_over_evidence(sink);
        } else if header.record == Record::Flow as u8 {
            self.flow(&header, body);
            return self.hand_over_evidence(sink);
        } else if header.record == Record::Sched as u8 {
            self.sched(&header, body);
            return self.hand_over_evidence(sink);
        } else if header.record == Record::Wake as u8 {
            self.wake(&header, body);
            return self.hand_over_evidence(sink);
        }
        if self.columns.is_full() { self.flush(sink) } else { Ok(()) }
    }

    /// Processes that carry traffic and have not ended.
    pub fn traffic(&mut self) -> impl Iterator<Item = u32> {
        self.traffic_last = 0;
        self.traffic.retain(|&pid, ()| self.processes.lives(pid));
        self.traffic.keys().copied()
    }

    /// Hands over what is full of evidence.
    fn hand_over_evidence(&mut self, sink: &mut Sink<'_>) -> Result<(), RowsError> {
        self.evidence.take_full()?.into_iter().try_for_each(|(table, batch)| sink(table, batch))
    }

    /// Hands over the rows of `events` so far.
    pub fn flush(&mut self, sink: &mut Sink<'_>) -> Result<(), RowsError> {
        self.release_held();
        if self.columns.is_empty() {
            return Ok(());
        }
        let batch = self.columns.take_batch()?;
        sink(&tables::EVENTS, batch)
    }

    /// Hands over everything that the part which ends now must hold.
    pub fn end_part(&mut self, sink: &mut Sink<'_>) -> Result<(), RowsError> {
        self.flush(sink)?;
        for (table, batch) in self.evidence.take_all()? {
            sink(table, batch)?;
        }
        (self.part_rows, self.part_payload_bytes) = (0, 0);
        let processes = self.processes.take_changed();
        sink(&tables::PROCESSES, batch::<ProcessRow>(processes.iter().map(KnownProcess::row))?)?;
        if let Some(judge) = &mut self.judge {
            judge.end_part(&self.processes);
        }
        let cgroups = self.processes.containers.take_changed();
        sink(&tables::CONTAINERS, batch::<ContainerRow>(cgroups.iter().map(KnownCgroup::row))?)?;
        let mut sockets = self.sockets.take_changed();
        sockets.extend(self.datagrams.take_changed());
        sockets.sort_by_key(|socket| socket.row.socket_id);
        sink(&tables::SOCKETS, sockets::batch(&sockets)?)
    }

    fn socket(&mut self, header: &Header, body: &[u8]) {
        let Some(bytes) = body.get(..size_of::<event::Socket>()) else { return };
        // The start snapshot runs in our own name.
        let pid = if header.pid == self.own_pid { 0 } else { header.pid };
        let process_id = self.processes.id_of(pid);
        let socket: event::Socket = pod_read_unaligned(bytes);
        if i32::from(socket.protocol) == libc::IPPROTO_UDP {
            return self.datagrams.record(socket, process_id);
        }
        if i32::from(socket.family) == libc::AF_UNIX {
            return self.sockets.record_unix(socket, &body[size_of::<event::Socket>()..], process_id);
        }
        if socket.protocol == event::PROTOCOL_TLS {
            return self.sockets.record_tls(
                socket,
                &body[size_of::<event::Socket>()..],
                header.pid,
                process_id,
            );
        }
        self.sockets.record(socket, process_id);
    }

    fn process(&mut self, header: &Header, body: &[u8]) {
        let lived = self.processes.lives(header.pid);
        self.sessions(header, body);
        let Some(program) = self.processes.record(header, body) else {
            return if lived {
                self.watch_end(header.pid)
            };
        };
        if !self.keeps_execs {
            return;
        }
        let row = ExecRow {
            boot_ns: header.boot_ns as i64,
            cpu: header.cpu,
            seq: header.seq as i64,
            pid: header.pid as i32,
            process_id: Some(program.process_id),
            parent_process_id: program.parent_process_id,
            ..ExecRow::default()
        };
        self.evidence.exec(Exec {
            row,
            exe: program.exe.clone(),
            argv: program.argv.clone(),
            comm: program.comm.clone(),
        });
    }

    /// With its program a process leaves its TLS sessions.
    fn sessions(&mut self, header: &Header, body: &[u8]) {
        let Some(bytes) = body.get(..size_of::<event::Process>()) else { return };
        let what = pod_read_unaligned::<event::Process>(bytes).what;
        if matches!(what, life::EXEC | life::EXIT) {
            self.sockets.end_tls(header.pid, header.boot_ns);
        }
        if what == life::EXEC && self.notes_programs {
            self.begun.push(header.pid);
        }
    }

    /// Notes which processes begin a program, for [`Pipeline::take_begun`].
    pub fn note_programs(&mut self) {
        self.notes_programs = true;
    }

    /// Processes that have begun a program since the last call.
    pub fn take_begun(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.begun)
    }

    /// A process that lived may have ended.
    fn watch_end(&mut self, pid: u32) {
        if !self.processes.lives(pid)
            && let (Some(watch), Some(comm)) = (&mut self.watch, self.processes.comm(pid))
        {
            watch.ended(comm);
        }
    }

    fn tcp(&mut self, header: &Header, body: &[u8]) {
        let Some(kind) = TcpKind::from_number(header.kind) else { return };
        let Some(bytes) = body.get(..size_of::<event::Tcp>()) else { return };
        let tcp: event::Tcp = pod_read_unaligned(bytes);
        let (again, rtt) = (kind == TcpKind::Retransmit, kind == TcpKind::Rtt);
        let listen = kind == TcpKind::ListenDrop;
        self.evidence.tcp(&TcpRow {
            boot_ns: header.boot_ns as i64,
            cpu: header.cpu,
            seq: header.seq as i64,
            kind: kind.name(),
            socket_id: Some(tcp.socket_id as i64),
            process_id: self.sockets.get(tcp.socket_id).owner(),
            tcp_seq: again.then_some(tcp.tcp_seq),
            bytes: again.then_some(tcp.bytes as i32),
            rtt_us: rtt.then_some(tcp.rtt_us as i32),
            rttvar_us: rtt.then_some(tcp.rttvar_us as i32),
            tcp_state: Some(tcp.state),
            drops: listen.then_some(tcp.bytes.into()),
            total_drops: listen.then_some(tcp.tcp_seq.into()),
            since_ns: listen.then_some(i64::from(tcp.rtt_us) << 20),
        });
        self.part_rows += 1;
    }

    fn flow(&mut self, header: &Header, body: &[u8]) {
        let Some(bytes) = body.get(..size_of::<event::Flow>()) else { return };
        let flow: event::Flow = pod_read_unaligned(bytes);
        let owner = self.sockets.get(flow.socket_id).owner();
        self.evidence.flow(&self.flows.row(header, &flow, owner));
        self.part_rows += 1;
    }

    fn sched(&mut self, header: &Header, body: &[u8]) {
        let Some(kind) = SchedKind::from_number(header.kind) else { return };
        let Some(bytes) = body.get(..size_of::<event::Sched>()) else { return };
        let sched: event::Sched = pod_read_unaligned(bytes);
        let other_pid = (sched.other_pid != 0).then_some(sched.other_pid);
        self.evidence.sched(&SchedRow {
            boot_ns: header.boot_ns as i64,
            duration_ns: sched.duration_ns as i64,
            cpu: header.cpu,
            seq: header.seq as i64,
            kind: kind.name(),
            pid: header.pid as i32,
            tid: header.tid as i32,
            process_id: self.processes.id_of(header.pid),
            other_pid: other_pid.map(|pid| pid as i32),
            other_process_id: other_pid.and_then(|pid| self.processes.id_of(pid)),
        });
        self.part_rows += 1;
    }

    fn wake(&mut self, header: &Header, body: &[u8]) {
        let Some(bytes) = body.get(..size_of::<event::Wake>()) else { return };
        let wake: event::Wake = pod_read_unaligned(bytes);
        self.evidence.wake(&WakeRow {
            boot_ns: header.boot_ns as i64,
            cpu: header.cpu,
            seq: header.seq as i64,
            pid: header.pid as i32,
            tid: header.tid as i32,
            process_id: self.processes.id_of(header.pid),
            by_tid: wake.by_tid as i32,
            woken_boot_ns: wake.woken_ns as i64,
            received_tid: wake.received_tid as i32,
            received_boot_ns: wake.received_ns as i64,
            wake_ups: wake.wake_ups as i32,
        });
        self.part_rows += 1;
    }

    /// Takes a call's own record; where others belong to it they are waited for.
    fn begin_call(&mut self, header: &Header, body: &[u8], arrival: Arrival) {
        let Some(fixed) = body.get(..size_of::<event::Call>()) else { return };
        let call: event::Call = pod_read_unaligned(fixed);
        if call.more_records == 0 {
            return self.call(header, &call, body, &[], arrival);
        }
        self.release_held();
        self.held = Some(Held::new(*header, body, arrival, call.more_records));
    }

    fn more(&mut self, header: &Header, body: &[u8]) {
        let Some(held) = &mut self.held else { return };
        let Some(fixed) = body.get(..size_of::<event::More>()) else { return };
        held.take(header, &pod_read_unaligned(fixed), &body[size_of::<event::More>()..]);
        if held.is_whole() {
            self.release_held();
        }
    }

    fn release_held(&mut self) {
        let Some(held) = self.held.take() else { return };
        let Some(fixed) = held.body.get(..size_of::<event::Call>()) else { return };
        self.call(&held.header, &pod_read_unaligned(fixed), &held.body, &held.more, held.arrival);
    }

    /// `more`: bytes of its head behind those in `body`.
    fn call(&mut self, header: &Header, call: &event::Call, body: &[u8], more: &[u8], arrival: Arrival) {
        let Some(kind) = Kind::from_number(header.kind) else { return };
        if kind == Kind::Close && self.datagrams.closes(call.socket_id, header.boot_ns) {
            return;
        }
        let data = &body[size_of::<event::Call>()..];
        let (head, rest) = data.split_at(data.len().min(call.head_bytes.into()));
        let tail = &rest[..rest.len().min(call.tail_bytes.into())];
        let process_id = self.processes.id_of(header.pid);
        self.carries_traffic(header.pid);
        let socket = self.sockets.get(call.socket_id);
        socket.called(kind, process_id);
        socket.closed_tls(kind, header.boot_ns);
        let (role, owner) = (socket.role(), socket.owner());
        if let Some(watch) = &mut self.watch {
            let times_ns = [header.boot_ns.saturating_sub(call.duration_ns), header.boot_ns];
            let (socket_id, done_bytes) = (call.socket_id, call.done_bytes);
            watch.call(Call { kind, socket_id, role, local_port: socket.local_port(), done_bytes, times_ns });
        }
        let tcp_seq = (call.flags & flags::NO_SEQ == 0).then_some(call.tcp_seq);
        let mut kept_flags = call.flags;
        if matches!(kind, Kind::Send | Kind::Receive) {
            let joined = (!more.is_empty()).then(|| [head, more].concat());
            let long = joined.as_deref().map(|joined| Long {
                done_bytes: call.done_bytes,
                head: joined,
                stored: head.len(),
                tail,
            });
            let times_ns =
                [header.boot_ns.saturating_sub(call.duration_ns), header.boot_ns].map(|ns| ns as i64);
            let data = Data {
                kind,
                role,
                sent: kind == Kind::Send,
                shared: false,
                done_bytes: call.done_bytes,
                tcp_seq: tcp_seq.filter(|_| call.flags & flags::OFFSET_UNCERTAIN == 0),
                flags: call.flags,
                head: long.map_or(head, |long| long.head),
                stored: head.len(),
                tail: long.map_or(tail, |long| long.tail_beyond()),
                times_ns,
                discovered: false,
                ports: [0, 0],
            };
            let before = self.columns.payload().len();
            kept_flags = self.keep(call.socket_id, data, arrival == Arrival::InOrder);
            if let Some(long) = long {
                let kept = long.divide(&self.columns.payload()[before..], kept_flags);
                self.columns.payload().truncate(before);
                self.columns.payload().extend_from_slice(&kept.payload);
                if !kept.framing.is_empty() {
                    self.columns.framing(&kept.framing);
                    self.part_payload_bytes += kept.framing.len() as u64;
                }
                kept_flags = kept.flags;
            }
            let hashes = self.redactor.hashes();
            if !hashes.is_empty() {
                self.columns.secret_hashes(hashes);
                self.part_payload_bytes += hashes.len() as u64;
            }
            self.part_payload_bytes += (self.columns.payload().len() - before) as u64;
        }
        let is_data = matches!(kind, Kind::Send | Kind::Receive);
        let event = Event {
            kind,
            socket_id: call.socket_id,
            process_id: process_id.or(owner),
            duration_ns: call.duration_ns,
            asked_bytes: call.asked_bytes,
            done_bytes: call.done_bytes,
            tcp_seq: tcp_seq.filter(|_| is_data),
            errno: call.errno.into(),
            flags: kept_flags,
            queued_us: self.queued_us(header.boot_ns, call.arrived_wall_ns),
            state: None,
        };
        self.push(header, &event);
    }

    fn carries_traffic(&mut self, pid: u32) {
        if pid != self.traffic_last && pid != 0 {
            self.traffic_last = pid;
            self.traffic.insert(pid, ());
        }
    }

    /// Sockets recorded so far.
    pub fn sockets_seen(&self) -> u64 {
        self.sockets.seen() + self.datagrams.seen()
    }

    /// Keeps what may be kept of a call's data; returns its flags. What redaction saw of the protocol is not told: calls of both ends, in
    /// another order than their bytes, would tell of each other's.
    fn keep(&mut self, socket_id: u64, data: Data<'_>, in_order: bool) -> u32 {
        self.keep_marked(socket_id, data, in_order) & !marks::MARKS
    }

    fn keep_marked(&mut self, socket_id: u64, data: Data<'_>, in_order: bool) -> u32 {
        let (redactor, out) = (&mut self.redactor, self.columns.payload());
        let Some(of) = self.sockets.stream(socket_id) else {
            return redactor.keep(self.payload, &mut Stream::default(), &data, false, out);
        };
        let data = Data { shared: of.shared, discovered: of.discovered, ports: of.ports, ..data };
        let data = if of.mirrored { data.mirrored() } else { data };
        redactor.keep(self.payload, of.stream, &data, in_order, out)
    }

    /// From an arrival to the emission of the call that took it.
    fn queued_us(&self, boot_ns: u64, arrived_wall_ns: u64) -> Option<i32> {
        let arrived_ns = (arrived_wall_ns as i64).checked_sub(self.wall_ahead_ns?)?;
        let queued_us = (boot_ns as i64).checked_sub(arrived_ns)? / 1_000;
        // What came before the stamps were asked for, or over a step of the clock, is not known.
        i32::try_from(queued_us).ok().filter(|&us| arrived_wall_ns != 0 && us >= 0)
    }

    fn state(&mut self, header: &Header, body: &[u8]) {
        let Some(bytes) = body.get(..size_of::<event::State>()) else { return };
        let state: event::State = pod_read_unaligned(bytes);
        if let Some(watch) = &mut self.watch {
            watch.state(&state);
        }
        let socket = self.sockets.state(state.socket_id, state.new_state, header.boot_ns);
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
            queued_us: None,
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
