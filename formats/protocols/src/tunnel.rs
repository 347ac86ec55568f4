//! Connections that become those of another protocol: what a tunnel carries is read too, by what its first bytes tell, or, where it
//! is only encrypted, by turns.
//!
//! Such are answers 101 and 2xx to CONNECT of HTTP/1, databases that begin to encrypt, and TLS itself behind its handshake. A
//! tunnel may lead to another one.

use crate::detect;
use crate::parts::{Call, Direction, Part, What};
use crate::protocol::{Framing, Memory, Protocol};

/// Tunnels within tunnels that are read.
const MAX_DEPTH: u8 = 4;

/// Framing of a connection that begins with this protocol. `before`: as in [`Protocol::framing`].
pub fn framing(protocol: &dyn Protocol, before: Option<[u64; 2]>) -> Box<dyn Framing> {
    read_through(protocol, protocol.framing(before), before.unwrap_or_default(), 0)
}

fn read_through(
    protocol: &dyn Protocol,
    outer: Box<dyn Framing>,
    offsets: [u64; 2],
    depth: u8,
) -> Box<dyn Framing> {
    if depth == MAX_DEPTH {
        return outer;
    }
    let told = Told { name: protocol.name(), encrypts: protocol.encrypts() };
    let (begins, memory) = ([None, None], Default::default());
    Box::new(Tunnel {
        outer,
        told,
        offsets,
        within: None,
        begins,
        memory,
        depth,
        goes_on: false,
        leads_to: None,
    })
}

/// A connection, and what is within it.
#[derive(Debug)]
struct Tunnel {
    outer: Box<dyn Framing>,
    told: Told,
    /// Bytes so far, by direction.
    offsets: [u64; 2],
    within: Option<Option<Within>>,
    /// Where the tunnel begins in each direction, once it has.
    begins: [Option<u64>; 2],
    /// Of what is within, by direction.
    memory: [Memory; 2],
    depth: u8,
    /// The last answer that was read goes on within.
    goes_on: bool,
    /// What the last answer says is spoken within.
    leads_to: Option<&'static str>,
}

/// What the outer protocol says of itself.
#[derive(Clone, Copy, Debug)]
struct Told {
    name: &'static str,
    encrypts: bool,
}

#[derive(Debug)]
struct Within {
    protocol: &'static dyn Protocol,
    framing: Box<dyn Framing>,
    /// The key in it of the exchange that goes on in it, until that is told.
    takes_up: Option<u64>,
}

impl Within {
    /// What the first bytes tell that come through a tunnel; None where nobody can read it. A switch leads to something else
    /// than what was spoken: what looks like that is no proof.
    fn told(outer: Told, direction: Direction, bytes: &[u8], depth: u8, goes_on: bool) -> Option<Within> {
        let told = detect::surely(bytes, true).or_else(|| detect::perhaps(bytes, true, Some(direction)));
        let told = told.filter(|told| told.direction == direction && told.protocol.name() != outer.name);
        let protocol = match told {
            Some(told) => told.protocol,
            None if outer.encrypts => detect::unread(false),
            None => return None,
        };
        Some(Within::of(protocol, depth, goes_on))
    }

    fn of(protocol: &'static dyn Protocol, depth: u8, goes_on: bool) -> Within {
        let upgraded = protocol.framing_after_upgrade().filter(|_| goes_on);
        let (takes_up, framing) = match upgraded {
            Some((key, framing)) => (Some(key), framing),
            None => (None, protocol.framing(None)),
        };
        Within { protocol, framing: read_through(protocol, framing, [0, 0], depth + 1), takes_up }
    }
}

impl Tunnel {
    /// Hands the runs at the end of `parts`, from the place `from` on, that are those of a tunnel to what is within.
    fn through(&mut self, direction: Direction, call: Option<&Call<'_>>, from: usize, parts: &mut Vec<Part>) {
        if direction == Direction::Responses {
            for part in &parts[from..] {
                let What::HeadEnd(info) = &part.what else { continue };
                self.goes_on |= info.goes_on;
                self.leads_to = info.leads_to.or(self.leads_to);
            }
        }
        let is_tunnel = |part: &Part| part.what == What::Tunnel;
        let Some(first) = parts[from..].iter().position(is_tunnel).map(|at| from + at) else { return };
        let offset = parts[first].offset;
        let length: u64 = parts[first..].iter().filter(|part| is_tunnel(part)).map(|part| part.length).sum();
        let skipped = offset.saturating_sub(self.offsets[direction as usize]) as usize;
        let inner = call.map(|call| beyond(call, skipped, length));
        let within = self.within.get_or_insert_with(|| {
            let bytes = inner.map_or(&[][..], |call| &call.head[..call.head.len() - call.spare]);
            match self.leads_to.and_then(detect::named) {
                Some(protocol) => Some(Within::of(protocol, self.depth, self.goes_on)),
                None => Within::told(self.told, direction, bytes, self.depth, self.goes_on),
            }
        });
        let Some(within) = within else { return };
        let runs = parts.split_off(first);
        let begin = *self.begins[direction as usize].get_or_insert(offset);
        let is_first = begin == offset;
        if is_first {
            if let Some(key) = within.takes_up.take() {
                parts.push(Part { offset, length: 0, what: What::TakenUp(key) });
            }
            parts.push(Part { offset, length: 0, what: What::Spoken(within.protocol.name()) });
        }
        let at = parts.len();
        match inner {
            Some(call) => within.framing.call(direction, call, &mut self.memory[direction as usize], parts),
            None => within.framing.gap(direction, length, parts),
        }
        parts[at..].iter_mut().for_each(|part| part.offset += begin);
        parts.extend(runs.into_iter().filter(|part| part.what.is_marker()));
    }
}

/// What of a call follows its first `skipped` bytes.
fn beyond<'a>(call: &Call<'a>, skipped: usize, length: u64) -> Call<'a> {
    let head = call.head.get(skipped..).unwrap_or_default();
    let tail = if length >= (head.len() + call.tail.len()) as u64 { call.tail } else { &[] };
    Call {
        length,
        head,
        spare: call.spare.min(head.len()),
        tail,
        begins: call.begins && skipped == 0,
        ..*call
    }
}

impl Framing for Tunnel {
    fn call(&mut self, direction: Direction, call: Call<'_>, memory: &mut Memory, parts: &mut Vec<Part>) {
        let from = parts.len();
        self.outer.call(direction, call, memory, parts);
        self.through(direction, Some(&call), from, parts);
        self.offsets[direction as usize] += call.length;
    }

    fn gap(&mut self, direction: Direction, length: u64, parts: &mut Vec<Part>) {
        let from = parts.len();
        self.outer.gap(direction, length, parts);
        self.through(direction, None, from, parts);
        self.offsets[direction as usize] += length;
    }

    fn close(&mut self, direction: Direction, parts: &mut Vec<Part>) {
        self.outer.close(direction, parts);
        if let (Some(Some(within)), Some(begin)) = (&mut self.within, self.begins[direction as usize]) {
            let at = parts.len();
            within.framing.close(direction, parts);
            parts[at..].iter_mut().for_each(|part| part.offset += begin);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::Http1;

    fn call(framing: &mut dyn Framing, direction: Direction, bytes: &[u8]) -> Vec<Part> {
        let mut parts = Vec::new();
        let call = Call { length: bytes.len() as u64, head: bytes, ..Call::default() };
        framing.call(direction, call, &mut Memory::default(), &mut parts);
        assert_eq!(parts.iter().map(|part| part.length).sum::<u64>(), bytes.len() as u64);
        parts
    }

    fn spoken(parts: &[Part]) -> Vec<(u64, &'static str)> {
        let told = |part: &Part| match part.what {
            What::Spoken(name) => Some((part.offset, name)),
            _ => None,
        };
        parts.iter().filter_map(told).collect()
    }

    #[test]
    fn what_a_tunnel_carries_is_read_as_what_it_is() {
        let mut framing = framing(&Http1, None);
        let connect = b"CONNECT a.test:80 HTTP/1.1\r\nHost: a.test:80\r\n\r\n";
        let answer = b"HTTP/1.1 200 OK\r\n\r\n";
        assert_eq!(spoken(&call(&mut *framing, Direction::Requests, connect)), []);
        assert_eq!(spoken(&call(&mut *framing, Direction::Responses, answer)), []);
        let parts = call(&mut *framing, Direction::Requests, b"*1\r\n$4\r\nPING\r\n");
        assert_eq!(spoken(&parts), [(connect.len() as u64, "redis")]);
        let begin = parts.iter().find(|part| part.what == What::Begin).expect("a request");
        assert_eq!(begin.offset, connect.len() as u64);
        let parts = call(&mut *framing, Direction::Responses, b"+PONG\r\n");
        assert_eq!(spoken(&parts), [(answer.len() as u64, "redis")]);
        assert!(parts.iter().any(|part| part.what == What::End { exact: true }));
    }

    #[test]
    fn a_request_that_asks_for_http_2_is_its_first_stream() {
        let settings = b"\0\0\0\x04\0\0\0\0\0";
        let answer = b"\0\0\x01\x01\x05\0\0\0\x01\x88";
        for (token, goes_on) in [("H2C", true), ("x, h2c", true), ("h2", false), ("h2cx", false)] {
            let mut framing = framing(&Http1, None);
            let upgrade = "GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
            call(&mut *framing, Direction::Requests, upgrade.as_bytes());
            let switch = format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: {token}\r\n\r\n");
            let begin = switch.len() as u64;
            let mut parts = Vec::new();
            for bytes in switch.as_bytes().chunks(11) {
                parts.extend(call(&mut *framing, Direction::Responses, bytes));
            }
            let within = [&settings[..], &answer[..]].concat();
            parts.extend(call(&mut *framing, Direction::Responses, &within));
            let taken_up = parts.iter().position(|part| part.what == What::TakenUp(1));
            assert_eq!(taken_up.is_some(), goes_on, "{token}");
            assert_eq!(spoken(&parts), [(begin, "http2")]);
            let last = parts.iter().rev().find_map(|part| match &part.what {
                What::HeadEnd(info) => Some((info.key, info.status.code)),
                _ => None,
            });
            assert_eq!(last, Some((Some(1), Some(200))));
        }
    }

    #[test]
    fn what_nobody_can_read_stays_a_tunnel_unless_it_is_only_encrypted() {
        let switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
        let upgrade = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
        for encrypts in [false, true] {
            let told = Told { name: "http", encrypts };
            let (begins, memory) = ([None, None], Default::default());
            let outer = Http1.framing(None);
            let mut framing = Tunnel {
                outer,
                told,
                offsets: [0, 0],
                within: None,
                begins,
                memory,
                depth: 0,
                goes_on: false,
                leads_to: None,
            };
            call(&mut framing, Direction::Requests, upgrade);
            // What is within may come with the answer.
            let parts = call(&mut framing, Direction::Responses, &[&switch[..], b"\x01hello"].concat());
            let want = encrypts.then_some((switch.len() as u64, "tcp"));
            assert_eq!(spoken(&parts), Vec::from_iter(want));
            let parts = call(&mut framing, Direction::Requests, b"\x02what");
            let want = encrypts.then_some((upgrade.len() as u64, "tcp"));
            assert_eq!(spoken(&parts), Vec::from_iter(want));
            assert_eq!(parts.iter().any(|part| part.what == What::Begin), encrypts);
            assert_eq!(parts.iter().any(|part| part.what == What::Tunnel), !encrypts);
        }
    }
}
