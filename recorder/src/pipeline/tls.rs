//! TLS sessions: what the record of one tells beyond that of a socket, and their end with their process.

use bytemuck::pod_read_unaligned;
use retrospan_formats::event::{self, Kind, TlsEnds, role};

use crate::pipeline::sockets::{Entry, Sockets};

impl Entry {
    /// Of a TLS session: the library has freed it.
    pub fn closed_tls(&mut self, kind: Kind, boot_ns: u64) {
        if kind == Kind::Close && self.record.is_some_and(|record| record.protocol == event::PROTOCOL_TLS) {
            self.closed_boot_ns = Some(boot_ns);
            self.changed = true;
        }
    }
}

impl Sockets {
    /// Takes the record of a TLS session of this process; `more`: the bytes behind it. What its carrier knows of the connection it
    /// knows, too.
    pub fn record_tls(&mut self, record: event::Socket, more: &[u8], pid: u32, process_id: Option<i64>) {
        let id = record.socket_id;
        let ends: Option<TlsEnds> = more.get(..size_of::<TlsEnds>()).map(pod_read_unaligned);
        let carrier = ends.map(|ends| ends.carrier_id).filter(|&carrier| carrier != 0);
        let found = carrier.and_then(|carrier| self.entries.get(&carrier)?.record);
        let record = match found {
            Some(carrier) => on(&record, &carrier),
            None => record,
        };
        if let Some(ends) = ends
            && !self.is_known(id)
        {
            self.tls.of_process.entry(pid).or_default().push((id, ends.key));
            self.tls.sessions += 1;
            self.tls.untied += 1;
        }
        self.record(record, process_id);
        if let Some(entry) = self.entries.get_mut(&id) {
            let before = std::mem::replace(&mut entry.carrier, carrier);
            self.tls.untied = self.tls.untied + u64::from(before.is_some()) - u64::from(carrier.is_some());
        }
    }

    /// Sessions recorded so far, and how many of them are on no socket that is known.
    pub fn tls_sessions(&self) -> (u64, u64) {
        (self.tls.sessions, self.tls.untied)
    }

    /// The sessions of a process are gone: it has ended, or begun another program.
    pub fn end_tls(&mut self, pid: u32, boot_ns: u64) {
        let sessions = self.tls.of_process.remove(&pid).unwrap_or_default();
        if !sessions.is_empty() {
            self.tls.gone_pids.push(pid);
        }
        for (id, key) in sessions {
            self.tls.gone.push(key);
            if let Some(entry) = self.entries.get_mut(&id)
                && entry.closed_boot_ns.is_none()
            {
                entry.closed_boot_ns = Some(boot_ns);
                entry.changed = true;
                self.closed.push_back((boot_ns, id));
            }
        }
    }

    /// Keys of sessions that are gone without the kernel programs having seen it, and the processes that they were of, since the last
    /// call.
    pub fn take_gone_tls(&mut self) -> (Vec<u64>, Vec<u32>) {
        (std::mem::take(&mut self.tls.gone), std::mem::take(&mut self.tls.gone_pids))
    }
}

/// A session's record with what is known of the socket that it is on.
fn on(session: &event::Socket, carrier: &event::Socket) -> event::Socket {
    event::Socket {
        netns: carrier.netns,
        family: carrier.family,
        local_addr: carrier.local_addr,
        remote_addr: carrier.remote_addr,
        local_port: carrier.local_port,
        remote_port: carrier.remote_port,
        role: if session.role == role::UNKNOWN { carrier.role } else { session.role },
        ..*session
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::{Zeroable, bytes_of};

    use super::*;

    fn session(sockets: &mut Sockets, socket_id: u64, carrier_id: u64) {
        let record = event::Socket {
            socket_id,
            protocol: event::PROTOCOL_TLS,
            first_send_seq: 1,
            first_receive_seq: 1,
            opened_boot_ns: 5,
            ..event::Socket::zeroed()
        };
        let ends = TlsEnds { carrier_id, key: 70 + socket_id, ..TlsEnds::zeroed() };
        sockets.record_tls(record, bytes_of(&ends), 42, Some(7));
    }

    #[test]
    fn a_session_has_the_addresses_of_its_carrier_and_ends_with_its_process() {
        let mut sockets = Sockets::new(true);
        let tcp = event::Socket {
            socket_id: 1,
            family: 2,
            protocol: 6,
            local_port: 50_000,
            remote_port: 443,
            role: role::CLIENT,
            ..event::Socket::zeroed()
        };
        sockets.record(tcp, Some(7));
        session(&mut sockets, 2, 0);
        session(&mut sockets, 2, 1);
        session(&mut sockets, 3, 0);
        sockets.get(3).closed_tls(Kind::Close, 80);
        assert_eq!(sockets.tls_sessions(), (2, 1));
        sockets.end_tls(42, 90);
        assert_eq!(sockets.take_gone_tls(), (vec![72, 73], vec![42]));
        let rows = sockets.take_changed();
        let told = |at: usize| (rows[at].row.protocol, rows[at].row.role, rows[at].row.carrier_socket_id);
        assert_eq!(told(1), ("tls", "client", Some(1)));
        assert_eq!(rows[1].remote.map(|(_, port)| port), Some(443));
        assert_eq!(told(2), ("tls", "unknown", None));
        let closed = |at: usize| rows[at].row.closed_boot_ns;
        assert_eq!((closed(0), closed(1), closed(2)), (None, Some(90), Some(80)));
    }

    #[test]
    fn a_session_on_several_sockets_is_tied_to_none() {
        let mut sockets = Sockets::new(true);
        session(&mut sockets, 2, 1);
        session(&mut sockets, 2, 0);
        assert_eq!(sockets.take_changed()[0].row.carrier_socket_id, None);
    }
}
