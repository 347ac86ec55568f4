//! Segments of all connections in, each to the connection that it belongs to.
//!
//! The same two ends may be connected again and again: a SYN with a number of its own begins another
//! connection. One whose SYN is not in the file is taken to be opened by the end with the higher port.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;

use rustc_hash::FxHashMap;

use super::connection::{self, Connection, End};
use super::stream::{self, Counts};
use super::{Segment, bits};
use crate::import::feed::{self, Feed, Shared};
use crate::import::sockets::{Socket, Sockets};
use crate::import::stamp::Stamp;

/// Both ends, the lower one first.
type Key = (SocketAddr, SocketAddr);

/// The TCP connections of a capture.
#[derive(Debug, Default)]
pub struct Connections {
    open: FxHashMap<Key, Slot>,
    /// When to look at a connection again, ns.
    alarms: BinaryHeap<Reverse<(i64, Key, i64)>>,
    /// What became of segments.
    pub counts: Counts,
    /// Connections so far.
    pub connections: u64,
    /// Segments of no connection: what is left of one that is older than the file, or over.
    pub strays: u64,
}

#[derive(Debug)]
struct Slot {
    connection: Connection,
    feed: Feed,
    socket: Socket,
    last_ns: i64,
    /// It has rows.
    used: bool,
    /// Its end was written; what comes is a stray.
    over: bool,
    alarm_ns: i64,
}

/// A connection that has ended may yet show that what came last was taken, ns.
const LINGER_NS: i64 = 5_000_000_000;
/// Segments of a connection that is over are strays for so long; then they are another one, ns.
const STRAYS_NS: i64 = 60_000_000_000;
/// A connect that nobody answers is given up by then, ns.
const CONNECT_NS: i64 = 180_000_000_000;

impl Connections {
    /// Takes in a segment.
    pub fn segment(
        &mut self,
        stamp: Stamp,
        [from, to]: [SocketAddr; 2],
        segment: &Segment<'_>,
        sockets: &mut Sockets,
        shared: &mut Shared<'_>,
    ) {
        self.tick(stamp, sockets, shared);
        let key = if from <= to { (from, to) } else { (to, from) };
        let end = |slot: &Slot| if slot.socket.local == from { End::Client } else { End::Server };
        let known = self.open.get(&key);
        let is_new = match known {
            None => true,
            Some(slot) if segment.has(bits::SYN) => slot.connection.is_over_by(end(slot), segment),
            Some(slot) => slot.over && stamp.ns > slot.last_ns.saturating_add(STRAYS_NS),
        };
        if is_new {
            let begins = segment.has(bits::SYN);
            let goes_on = segment.has(bits::ACK) && !segment.has(bits::RST);
            if !begins && !goes_on {
                self.strays += 1;
                return;
            }
            if let Some(mut slot) = self.open.remove(&key) {
                slot.end(stamp, &mut self.counts, sockets, shared);
            }
            let slot = Slot::new(stamp, [from, to], segment, sockets, shared);
            self.connections += u64::from(begins);
            self.open.insert(key, slot);
        }
        let Some(slot) = self.open.get_mut(&key) else { return };
        if slot.over {
            self.strays += 1;
            return;
        }
        let end = if slot.socket.local == from { End::Client } else { End::Server };
        let was_used = slot.used;
        slot.segment(end, stamp, segment, &mut self.counts, shared);
        self.connections += u64::from(slot.used && !was_used && slot.socket.discovered);
        if let Some(at_ns) = slot.alarm(stamp.ns) {
            self.alarms.push(Reverse((at_ns, key, slot.socket.id)));
        }
    }

    /// Lets time pass.
    fn tick(&mut self, now: Stamp, sockets: &mut Sockets, shared: &mut Shared<'_>) {
        while let Some(Reverse((due_ns, key, id))) = self.alarms.peek().copied() {
            if due_ns > now.ns {
                return;
            }
            self.alarms.pop();
            let Some(slot) = self.open.get_mut(&key).filter(|slot| slot.socket.id == id) else { continue };
            slot.alarm_ns = i64::MAX;
            if slot.over || slot.is_vain(now.ns) {
                if now.ns >= slot.last_ns.saturating_add(STRAYS_NS) {
                    slot.end(now, &mut self.counts, sockets, shared);
                    self.open.remove(&key);
                    continue;
                }
            } else if slot.connection.is_closed() && now.ns >= slot.last_ns.saturating_add(LINGER_NS) {
                slot.end(now, &mut self.counts, sockets, shared);
            } else {
                slot.tick(now, &mut self.counts, shared);
            }
            if let Some(at_ns) = slot.alarm(now.ns) {
                self.alarms.push(Reverse((at_ns, key, id)));
            }
        }
    }

    /// Nothing more comes.
    pub fn finish(&mut self, now: Stamp, sockets: &mut Sockets, shared: &mut Shared<'_>) {
        let mut rest: Vec<Slot> = std::mem::take(&mut self.open).into_values().collect();
        rest.sort_unstable_by_key(|slot| slot.socket.id);
        for mut slot in rest {
            slot.end(now, &mut self.counts, sockets, shared);
        }
    }
}

impl Slot {
    fn new(
        stamp: Stamp,
        [from, to]: [SocketAddr; 2],
        segment: &Segment<'_>,
        sockets: &mut Sockets,
        shared: &mut Shared<'_>,
    ) -> Slot {
        let (begins, answers) = (segment.has(bits::SYN), segment.has(bits::ACK));
        let from_client = match (begins, answers) {
            (true, answers) => !answers,
            (false, _) => from.port() >= to.port(),
        };
        let [local, remote] = if from_client { [from, to] } else { [to, from] };
        let id = sockets.new_id();
        let mut feed = Feed::new(id, feed::role_of(begins), !begins);
        let connection = if begins {
            Connection::begun(segment, stamp, &mut |stamp, what| feed.take(stamp, what, shared))
        } else {
            Connection::discovered()
        };
        let socket = Socket {
            id,
            protocol: "tcp",
            local,
            remote,
            role_known: begins,
            discovered: !begins,
            opened_ns: begins.then_some(stamp.ns),
            closed_ns: None,
            firsts: [None; 2],
        };
        Slot { connection, feed, socket, last_ns: stamp.ns, used: begins, over: false, alarm_ns: i64::MAX }
    }

    fn segment(
        &mut self,
        end: End,
        stamp: Stamp,
        segment: &Segment<'_>,
        counts: &mut Counts,
        shared: &mut Shared<'_>,
    ) {
        self.last_ns = self.last_ns.max(stamp.ns);
        let Slot { connection, feed, used, .. } = self;
        connection.segment(end, stamp, segment, counts, &mut |stamp, what| {
            *used = true;
            feed.take(stamp, what, shared);
        });
        if self.connection.is_closed() {
            self.socket.closed_ns.get_or_insert(stamp.ns);
        }
    }

    fn tick(&mut self, now: Stamp, counts: &mut Counts, shared: &mut Shared<'_>) {
        let Slot { connection, feed, used, .. } = self;
        connection.tick(now, counts, &mut |stamp, what| {
            *used = true;
            feed.take(stamp, what, shared);
        });
        feed.tick(now.ns, shared);
    }

    /// Writes what is left of it, once.
    fn end(&mut self, now: Stamp, counts: &mut Counts, sockets: &mut Sockets, shared: &mut Shared<'_>) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        let Slot { connection, feed, used, .. } = self;
        connection.finish(now, counts, &mut |stamp, what| {
            *used = true;
            feed.take(stamp, what, shared);
        });
        feed.finish(shared);
        if self.used {
            self.socket.firsts = self.connection.firsts();
            sockets.ended.push(self.socket.clone());
        }
    }

    /// It is a connect without an answer.
    fn is_vain(&self, now_ns: i64) -> bool {
        self.connection.is_connecting() && now_ns >= self.last_ns.saturating_add(CONNECT_NS)
    }

    /// When it must be looked at next, where that is sooner than was said before.
    fn alarm(&mut self, now_ns: i64) -> Option<i64> {
        let after = |is: bool, ns: i64| if is { now_ns.saturating_add(ns) } else { i64::MAX };
        let next_ns = after(self.over, STRAYS_NS)
            .min(after(self.connection.is_closed() && !self.over, LINGER_NS))
            .min(after(self.connection.waits(), stream::WAIT_NS))
            .min(after(self.connection.may_refuse(), connection::REFUSED_NS))
            .min(after(self.feed.waits(), feed::WAIT_NS))
            .min(after(self.connection.is_connecting(), CONNECT_NS));
        if next_ns >= self.alarm_ns {
            return None;
        }
        self.alarm_ns = next_ns;
        Some(next_ns)
    }
}
