//! Datagrams: of each UDP socket one row a pair of ends, as if each were a socket of its own.
//!
//! In: socket records of UDP, datagrams, the close of such sockets. Out: rows of `sockets`, and for each datagram whose event it
//! is. A pair of ends begins with its first datagram and ends with its socket, or after a minute of silence.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, Ipv6Addr};

use retrospan_formats::event::{self, Ends};
use retrospan_formats::tables::SocketRow;
use retrospan_protocols::redact;

use crate::fast_map::FastMap;
use crate::pipeline::sockets::KnownSocket;

/// A pair of ends that is silent for so long has ended, ns.
const IDLE_NS: u64 = 60_000_000_000;
/// Pairs of ends that are held at most: the oldest end first.
const MOST_FLOWS: usize = 65_536;
/// Sockets that are remembered at most without any datagram of the last minute.
const MOST_SOCKETS: usize = 65_536;
/// Who is asked has a port below.
const KNOWN_PORTS: u16 = 1024;
/// The first pair of ends has the id of its socket, others count from here: far beyond those that the kernel programs give.
const MORE_IDS: u64 = 1 << 40;

/// A socket of the kernel, and a pair of ends.
type Key = (u64, Ends);

/// UDP sockets.
#[derive(Debug, Default)]
pub struct Datagrams {
    sockets: FastMap<u64, Bound>,
    flows: HashMap<Key, Flow>,
    /// In the order in which they may be silent: since when, and which.
    ages: VecDeque<(u64, Key)>,
    /// Those that answer, by the port of who asks.
    asked_by: HashMap<u16, HashSet<Key>>,
    /// Rows of those that have ended.
    ended: Vec<KnownSocket>,
    more_ids: u64,
    seen: u64,
}

/// A socket of the kernel.
#[derive(Debug)]
struct Bound {
    record: event::Socket,
    owner: Option<i64>,
    /// Its pairs of ends.
    flows: HashSet<Ends>,
    /// One of them has its id.
    is_used: bool,
    /// That of the last datagram.
    last: Option<Ends>,
}

/// What is known of a pair of ends.
#[derive(Debug)]
pub struct Flow {
    socket: KnownSocket,
    /// What redaction knows of its datagrams.
    pub redacted: redact::Datagrams,
    last_ns: u64,
    /// Datagrams that this end sent and received.
    moved: [u64; 2],
    /// Whoever asked has no socket any more: the next question is another's.
    asker_gone: bool,
    changed: bool,
}

impl Flow {
    /// `sockets.socket_id`.
    pub fn socket_id(&self) -> u64 {
        self.socket.row.socket_id as u64
    }

    /// The process that used it first.
    pub fn owner(&self) -> Option<i64> {
        self.socket.row.process_id
    }
}

/// A datagram.
#[derive(Clone, Copy, Debug)]
pub struct Datagram {
    /// The kernel's socket.
    pub socket_id: u64,
    /// Both ends.
    pub ends: Ends,
    /// It was sent, or else received.
    pub sent: bool,
    /// When the call began and ended, boot time ns.
    pub times_ns: [u64; 2],
    /// Who called.
    pub process_id: Option<i64>,
}

impl Datagrams {
    /// Takes the record of a UDP socket.
    pub fn record(&mut self, record: event::Socket, owner: Option<i64>) {
        if self.sockets.len() >= MOST_SOCKETS {
            self.sockets.retain(|_, bound| !bound.flows.is_empty());
        }
        // Whoever had this address before and was answered is another.
        self.asker_goes(record.local_addr, record.local_port, |_, _| true);
        let bound = Bound { record, owner, flows: HashSet::new(), is_used: false, last: None };
        self.sockets.insert(record.socket_id, bound);
    }

    /// Whether this is a UDP socket, which now is closed.
    pub fn closes(&mut self, socket_id: u64, boot_ns: u64) -> bool {
        let Some(bound) = self.sockets.remove(&socket_id) else { return false };
        for ends in bound.flows {
            let key = (socket_id, ends);
            // Only where all that it sent has arrived is what arrives later not its own.
            let sent = self.flows.get(&key).map_or(0, |flow| flow.moved[0]);
            self.asker_goes(ends.local_addr, ends.local_port, |(_, of), flow| {
                of.local_port == ends.remote_port && flow.moved[1] >= sent
            });
            self.end(key, Some(boot_ns));
        }
        true
    }

    /// Notes that whoever asked from this address has no socket any more, at those who answered and are such.
    fn asker_goes(&mut self, address: [u8; 16], port: u16, is_such: impl Fn(&Key, &Flow) -> bool) {
        let asked = self.asked_by.get(&port).filter(|_| port != 0);
        for key in asked.into_iter().flatten() {
            if is_unspecified(address) || key.1.remote_addr == address {
                let flow = self.flows.get_mut(key);
                flow.filter(|flow| is_such(key, flow)).into_iter().for_each(|flow| flow.asker_gone = true);
            }
        }
    }

    /// The pair of ends that a datagram belongs to.
    pub fn flow(&mut self, datagram: &Datagram) -> &mut Flow {
        let [from_ns, now_ns] = datagram.times_ns;
        self.end_silent(now_ns);
        let datagram = &Datagram { ends: self.ends_of(datagram), ..*datagram };
        let key = (datagram.socket_id, datagram.ends);
        if !datagram.sent && self.flows.get(&key).is_some_and(|flow| flow.asker_gone) {
            self.end(key, None);
        }
        let mut flow = self.flows.remove(&key).unwrap_or_else(|| {
            self.ages.push_back((now_ns, key));
            self.begin(datagram, if datagram.sent { from_ns } else { now_ns })
        });
        flow.last_ns = flow.last_ns.max(now_ns);
        flow.moved[usize::from(!datagram.sent)] += 1;
        self.flows.entry(key).insert_entry(flow).into_mut()
    }

    /// The ends of a datagram. Whoever did not ask where it is from mostly waits for an answer: then it is from where the last one went.
    fn ends_of(&mut self, datagram: &Datagram) -> Ends {
        let Some(bound) = self.sockets.get_mut(&datagram.socket_id) else { return datagram.ends };
        if datagram.ends.remote_port == 0 {
            return bound.last.unwrap_or(datagram.ends);
        }
        bound.last = Some(datagram.ends);
        datagram.ends
    }

    fn begin(&mut self, datagram: &Datagram, began_ns: u64) -> Flow {
        let Datagram { socket_id, ends, sent, .. } = *datagram;
        self.seen += 1;
        let mut row = SocketRow { family: family(&ends), protocol: "udp", ..SocketRow::default() };
        row.process_id = datagram.process_id;
        let mut id = None;
        if let Some(bound) = self.sockets.get_mut(&socket_id) {
            bound.flows.insert(ends);
            id = (!std::mem::replace(&mut bound.is_used, true)).then_some(socket_id);
            row.netns = bound.record.netns.into();
            row.inode = (bound.record.inode != 0).then_some(bound.record.inode as i64);
            row.family = if i32::from(bound.record.family) == libc::AF_INET6 { "inet6" } else { "inet" };
            row.process_id = row.process_id.or(bound.owner);
        }
        let (role, discovered) = role(sent, &ends);
        row.socket_id = id.unwrap_or_else(|| {
            self.more_ids += 1;
            MORE_IDS + self.more_ids
        }) as i64;
        (row.role, row.discovered) = (role, discovered);
        row.opened_boot_ns = (!discovered).then_some(began_ns as i64);
        if role == "server" {
            self.asked_by.entry(ends.remote_port).or_default().insert((socket_id, ends));
        }
        let local = (address(ends.local_addr), ends.local_port);
        let remote = (ends.remote_port != 0).then(|| (address(ends.remote_addr), ends.remote_port));
        let socket = KnownSocket { row, local, remote, path: None };
        let redacted = redact::Datagrams::default();
        Flow { socket, redacted, last_ns: began_ns, moved: [0; 2], asker_gone: false, changed: true }
    }

    /// A pair of ends has ended: at this time, or with its last datagram.
    fn end(&mut self, key: Key, closed_ns: Option<u64>) {
        let Some(mut flow) = self.flows.remove(&key) else { return };
        let port = key.1.remote_port;
        if let Some(of_one) = self.asked_by.get_mut(&port) {
            of_one.remove(&key);
            if of_one.is_empty() {
                self.asked_by.remove(&port);
            }
        }
        if let Some(bound) = self.sockets.get_mut(&key.0) {
            bound.flows.remove(&key.1);
        }
        flow.socket.row.closed_boot_ns = Some(closed_ns.unwrap_or(flow.last_ns) as i64);
        self.ended.push(flow.socket);
    }

    /// Ends those that were silent for long, or are too many.
    fn end_silent(&mut self, now_ns: u64) {
        while let Some(&(since_ns, key)) = self.ages.front() {
            let is_old = now_ns.saturating_sub(since_ns) >= IDLE_NS;
            if !is_old && self.ages.len() < MOST_FLOWS {
                return;
            }
            self.ages.pop_front();
            match self.flows.get(&key).map(|flow| flow.last_ns) {
                // Of one that began anew under the same ends there is a later entry.
                None => {}
                Some(last_ns) if last_ns > since_ns => self.ages.push_back((last_ns, key)),
                Some(_) => self.end(key, None),
            }
        }
    }

    /// Pairs of ends so far.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Those that are new or have ended since the last call.
    pub fn take_changed(&mut self) -> Vec<KnownSocket> {
        let mut changed = std::mem::take(&mut self.ended);
        for flow in self.flows.values_mut().filter(|flow| flow.changed) {
            flow.changed = false;
            changed.push(flow.socket.clone());
        }
        changed
    }
}

/// Which end this is, and whether it asked before it was seen. Who sends first asks, unless that is whom a well-known port
/// belongs to.
fn role(sent: bool, ends: &Ends) -> (&'static str, bool) {
    let [sender, receiver] =
        if sent { [ends.local_port, ends.remote_port] } else { [ends.remote_port, ends.local_port] };
    let answers = sender < KNOWN_PORTS && receiver >= KNOWN_PORTS;
    (if sent != answers { "client" } else { "server" }, answers)
}

fn address(bytes: [u8; 16]) -> IpAddr {
    Ipv6Addr::from(bytes).to_canonical()
}

/// Whether a socket with this address has any of its host's.
fn is_unspecified(bytes: [u8; 16]) -> bool {
    address(bytes).is_unspecified()
}

fn family(ends: &Ends) -> &'static str {
    if address(ends.local_addr).is_ipv4() { "inet" } else { "inet6" }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;

    use super::*;

    const LOOPBACK: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1];

    fn ends(local_port: u16, remote_port: u16) -> Ends {
        Ends { local_addr: LOOPBACK, remote_addr: LOOPBACK, local_port, remote_port, reserved: 0 }
    }

    fn record(socket_id: u64, of: Ends) -> event::Socket {
        event::Socket {
            socket_id,
            local_addr: of.local_addr,
            local_port: of.local_port,
            remote_addr: of.remote_addr,
            remote_port: of.remote_port,
            family: 2,
            protocol: 17,
            netns: 5,
            ..event::Socket::zeroed()
        }
    }

    fn came(datagrams: &mut Datagrams, socket_id: u64, ends: Ends, sent: bool, at_ns: u64) -> u64 {
        let times_ns = [at_ns - 1, at_ns];
        datagrams.flow(&Datagram { socket_id, ends, sent, times_ns, process_id: Some(9) }).socket_id()
    }

    /// Id, role, remote port, beginning and end of a row.
    type Told = (i64, &'static str, u16, Option<i64>, Option<i64>);

    /// All rows, in the order of ids.
    fn rows(datagrams: &mut Datagrams) -> Vec<Told> {
        let mut rows: Vec<_> = datagrams.take_changed();
        rows.sort_by_key(|socket| socket.row.socket_id);
        let remote = |socket: &KnownSocket| socket.remote.map_or(0, |(_, port)| port);
        let row = |s: &KnownSocket| {
            (s.row.socket_id, s.row.role, remote(s), s.row.opened_boot_ns, s.row.closed_boot_ns)
        };
        rows.iter().map(row).collect()
    }

    #[test]
    fn a_server_has_a_row_for_each_that_asks_and_all_end_with_it() {
        let mut datagrams = Datagrams::default();
        datagrams.record(record(3, Ends { remote_port: 0, ..ends(53, 0) }), None);
        let other = MORE_IDS as i64 + 1;
        for (port, at_ns) in [(4001, 10), (4002, 20), (4001, 30)] {
            came(&mut datagrams, 3, ends(53, port), false, at_ns);
            came(&mut datagrams, 3, ends(53, port), true, at_ns + 5);
        }
        assert_eq!(
            rows(&mut datagrams),
            [(3, "server", 4001, Some(10), None), (other, "server", 4002, Some(20), None)]
        );
        assert!(rows(&mut datagrams).is_empty());
        assert!(datagrams.closes(3, 99) && !datagrams.closes(3, 99) && datagrams.asked_by.is_empty());
        assert_eq!(rows(&mut datagrams).iter().map(|row| row.4).collect::<Vec<_>>(), [Some(99); 2]);
        assert_eq!(datagrams.seen(), 2);
    }

    #[test]
    fn a_new_socket_with_the_address_of_one_that_was_answered_is_another() {
        for connected in [true, false] {
            let mut datagrams = Datagrams::default();
            datagrams.record(record(3, Ends { remote_port: 0, ..ends(53, 0) }), None);
            let first = came(&mut datagrams, 3, ends(53, 4001), false, 10);
            datagrams.record(record(7, ends(4001, if connected { 53 } else { 0 })), None);
            assert_eq!(came(&mut datagrams, 7, ends(4001, 53), true, 20), 7);
            assert_ne!(came(&mut datagrams, 3, ends(53, 4001), false, 21), first);
            assert_eq!(rows(&mut datagrams)[0], (3, "server", 4001, Some(10), Some(10)));
        }
    }

    #[test]
    fn who_asks_from_a_port_of_one_that_is_gone_is_another() {
        // Without an address or port of its own until it sends: its record tells neither.
        let any = |port| Ends { local_addr: [0; 16], ..ends(port, 53) };
        for (lost, closed_ns) in [(false, Some(12)), (true, None)] {
            let mut datagrams = Datagrams::default();
            datagrams.record(record(3, Ends { remote_port: 0, ..ends(53, 0) }), None);
            datagrams.record(record(7, any(0)), None);
            came(&mut datagrams, 7, any(4001), true, 5);
            if lost {
                came(&mut datagrams, 7, any(4001), true, 6);
            }
            let first = came(&mut datagrams, 3, ends(53, 4001), false, 10);
            assert!(datagrams.closes(7, 11));
            // It is answered although it is gone.
            assert_eq!(came(&mut datagrams, 3, ends(53, 4001), true, 12), first);
            // The server's end of the next question may be told first.
            let second = came(&mut datagrams, 3, ends(53, 4001), false, 20);
            assert_eq!(second == first, lost, "what is on its way may be that of the first");
            assert_eq!(rows(&mut datagrams)[0], (3, "server", 4001, Some(10), closed_ns));
        }
    }

    #[test]
    fn silence_ends_a_pair_of_ends_and_so_do_too_many() {
        let mut datagrams = Datagrams::default();
        datagrams.record(record(1, ends(4001, 53)), None);
        came(&mut datagrams, 1, ends(4001, 53), true, 100);
        came(&mut datagrams, 1, ends(4001, 53), false, IDLE_NS);
        came(&mut datagrams, 2, ends(4002, 53), true, IDLE_NS + 200);
        assert_eq!(datagrams.flows.len(), 2, "the first was heard of since");
        came(&mut datagrams, 2, ends(4002, 53), true, 2 * IDLE_NS + 100);
        assert_eq!(rows(&mut datagrams)[0], (1, "client", 53, Some(99), Some(IDLE_NS as i64)));
        for port in 0..=u16::MAX {
            came(&mut datagrams, 3, ends(53, port), false, 2 * IDLE_NS + 200);
        }
        assert!(datagrams.flows.len() <= MOST_FLOWS && datagrams.ages.len() <= MOST_FLOWS);
    }

    #[test]
    fn an_answer_without_its_sender_is_of_who_was_asked_last() {
        let mut datagrams = Datagrams::default();
        datagrams.record(record(3, Ends { remote_port: 0, ..ends(4001, 0) }), None);
        let unknown = Ends { remote_addr: [0; 16], remote_port: 0, ..ends(4001, 0) };
        let asked = came(&mut datagrams, 3, ends(4001, 53), true, 10);
        assert_eq!(came(&mut datagrams, 3, unknown, false, 20), asked);
        assert_ne!(came(&mut datagrams, 4, unknown, false, 30), asked);
    }

    #[test]
    fn whom_a_well_known_port_belongs_to_is_asked() {
        assert_eq!(role(true, &ends(4001, 53)), ("client", false));
        assert_eq!(role(false, &ends(4001, 53)), ("client", true));
        assert_eq!(role(true, &ends(53, 4001)), ("server", true));
        assert_eq!(role(false, &ends(53, 4001)), ("server", false));
        assert_eq!(role(false, &ends(5353, 5353)), ("server", false));
    }
}
