//! The row of one datagram.

use bytemuck::pod_read_unaligned;
use retrospan_formats::event::{self, Ends, Header, Kind, flags};
use retrospan_protocols::redact::Payload;

use crate::pipeline::Pipeline;
use crate::pipeline::datagrams::Datagram;
use crate::rows::events::Event;

/// Where the bytes of the datagram begin.
const DATA: usize = size_of::<event::Call>() + size_of::<Ends>();

impl Pipeline {
    /// Takes the record of a datagram.
    pub(super) fn datagram(&mut self, header: &Header, body: &[u8]) {
        let Some(kind) = Kind::from_number(header.kind) else { return };
        let Some((fixed, data)) = body.split_at_checked(DATA) else { return };
        let (call, ends) = fixed.split_at(size_of::<event::Call>());
        let (call, ends): (event::Call, Ends) = (pod_read_unaligned(call), pod_read_unaligned(ends));
        let known = &data[..data.len().min(call.head_bytes.into())];
        let process_id = self.processes.id_of(header.pid);
        self.carries_traffic(header.pid);
        let times_ns = [header.boot_ns.saturating_sub(call.duration_ns), header.boot_ns];
        let sent = kind == Kind::Send;
        let of = Datagram { socket_id: call.socket_id, ends, sent, times_ns, process_id };
        let flow = self.datagrams.flow(&of);
        let (socket_id, owner) = (flow.socket_id(), flow.owner());
        let mut kept_flags = call.flags & !(flags::PAYLOAD_CUT | flags::TURN);
        let out = self.columns.payload();
        let before = out.len();
        match self.payload {
            Payload::Full => {
                if self.redactor.keep_datagram(known, [ends.local_port, ends.remote_port], out) {
                    kept_flags |= flags::REDACTED;
                }
            }
            Payload::Heads if !known.is_empty() => {
                if flow.redacted.keep(sent, call.done_bytes, known, out).blanked {
                    kept_flags |= flags::REDACTED;
                }
            }
            Payload::Heads | Payload::None => {}
        }
        let kept = (out.len() - before) as u64;
        if kept < call.done_bytes {
            kept_flags |= flags::PAYLOAD_CUT;
        }
        self.part_payload_bytes += kept;
        let event = Event {
            kind,
            socket_id,
            process_id: process_id.or(owner),
            duration_ns: call.duration_ns,
            asked_bytes: call.asked_bytes,
            done_bytes: call.done_bytes,
            tcp_seq: None,
            errno: call.errno.into(),
            flags: kept_flags,
            queued_us: self.queued_us(header.boot_ns, call.arrived_wall_ns),
            state: None,
        };
        self.push(header, &event);
    }
}
