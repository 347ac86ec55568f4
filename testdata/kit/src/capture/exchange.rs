//! The client's requests, one after the other: each goes its way along the chain and back.

use std::rc::Rc;

use retrospan_formats::error::CaptureError;

use super::chain::{Chain, Held, Lane};
use super::rows::Sink;
use super::timeline::Passed;
use super::{PATIENCE, Part, Place, Shape, Speech, ns};

/// Lanes open one after the other, then the traffic begins.
const OPENING_NS: i64 = 2_000_000;
const FIRST_REQUEST_NS: i64 = 1_500_000_000;
/// Lanes at most.
const MOST_LANES: f64 = 700.0;
/// Requests between two writes.
const AT_ONCE: u64 = 2000;

const PATHS: [&str; 4] = ["/cart", "/search", "/things/7", "/users/me"];
const COMMANDS: [&[&str]; PATHS.len()] = [&["GET"], &["get"], &["HGETALL"], &["CONFIG", "GET"]];

/// Sends all requests of the plan and writes their events.
pub fn run(chain: &mut Chain<'_>, capture: &mut Sink) -> Result<(), CaptureError> {
    let plan = chain.plan;
    let afresh = plan.trouble.shape == Shape::QueueFull;
    // As many as wait at one time, and a few.
    let busy = plan.requests_per_s * (plan.trouble.width_s + 2.0 * super::SLOW_S);
    let lanes = if afresh { 0.0 } else { (1.4 * busy + 8.0).min(MOST_LANES) };
    for number in 0..lanes as usize {
        let lane = chain.open_lane(number, OPENING_NS * (1 + number as i64));
        chain.lanes.push(lane);
    }
    let mut at_ns = FIRST_REQUEST_NS;
    while at_ns < ns(plan.length_s) {
        if afresh {
            chain.request_afresh(at_ns);
        } else {
            chain.request(at_ns);
        }
        if chain.requests.is_multiple_of(AT_ONCE) {
            capture.events(chain, at_ns)?;
        }
        at_ns += ns(chain.random.exponential() / plan.requests_per_s);
    }
    capture.events(chain, ns(plan.length_s))
}

impl Chain<'_> {
    /// One request of the client on the first lane that is free, as soon as one is.
    fn request(&mut self, at_ns: i64) {
        let free = |lane: &Lane| lane.free_ns <= at_ns;
        let soonest = || (0..self.lanes.len()).min_by_key(|&number| self.lanes[number].free_ns);
        let Some(number) = self.lanes.iter().position(free).or_else(soonest) else { return };
        let at_ns = at_ns.max(self.lanes[number].free_ns);
        self.requests += 1;
        let lane = self.lanes[number].clone();
        let request = self.request_bytes();
        let mut journey =
            Journey { at_ns, edge_took_ns: i64::MAX, before: self.sockets[lane.sockets[1]].taken };
        let answering = self.there(&lane, &request, &mut journey);
        let failed = answering.1;
        let last = answering.0;
        let response = self.response_bytes(failed);
        let gone_ns = at_ns + ns(PATIENCE * self.plan.trouble.width_s);
        self.back(&lane, last, &response, &mut journey);
        let gave_up = self.plan.trouble.shape == Shape::GiveUp && journey.at_ns > gone_ns;
        let broken = failed && last < 2;
        let sockets = lane.sockets;
        if gave_up {
            let taken = if journey.edge_took_ns < gone_ns {
                journey.before.wrapping_add(request.len() as u32)
            } else {
                journey.before
            };
            self.leave(sockets[0], gone_ns, taken);
            self.send(sockets[1], journey.at_ns, &response);
            self.refused(sockets[1], journey.at_ns + 9_000);
            self.renew(number, Some(2), journey.at_ns + 30_000);
        } else {
            self.send(sockets[1], journey.at_ns, &response);
            let takes_ns = self.wire_ns();
            let place = Place { hop: 0, part: Part::Network };
            let at_ns = self.pass(place, journey.at_ns, takes_ns, false, sockets[0]).at_ns;
            self.receive(sockets[0], at_ns, &response);
            self.lanes[number].free_ns = at_ns + 50_000;
            if broken {
                // A proxy that fails by itself does not go on with either connection.
                self.renew(number, None, at_ns + 50_000);
            }
        }
    }

    /// From the client to the process that answers: its hop, and whether it fails.
    fn there(&mut self, lane: &Lane, request: &Rc<[u8]>, journey: &mut Journey) -> (usize, bool) {
        for hop in 0..3 {
            let [client, server] = [lane.sockets[2 * hop], lane.sockets[2 * hop + 1]];
            self.send(client, journey.at_ns, request);
            let takes_ns = self.wire_ns();
            let on_wire = Place { hop, part: Part::Network };
            journey.at_ns = self.pass(on_wire, journey.at_ns, takes_ns, true, client).at_ns;
            if self.plan.trouble.place.part == Part::Queue {
                let arrived_ns = journey.at_ns;
                let unread = Place { hop, part: Part::Queue };
                journey.at_ns = self.pass(unread, arrived_ns, 3_000, true, client).at_ns;
                self.receive_late(server, arrived_ns, journey.at_ns, request);
            } else {
                self.receive(server, journey.at_ns, request);
            }
            if hop == 0 {
                journey.edge_took_ns = journey.at_ns;
            }
            let takes_ns = self.own_ns(hop);
            let own = Place { hop, part: Part::Server };
            let passed = self.pass(own, journey.at_ns, takes_ns, true, client);
            journey.at_ns = passed.at_ns;
            if self.plan.trouble.shape == Shape::Errors && passed.window.is_some() {
                return (hop, true);
            }
        }
        (2, false)
    }

    /// The answer, up to the moment where the edge has it.
    fn back(&mut self, lane: &Lane, last: usize, response: &Rc<[u8]>, journey: &mut Journey) {
        for hop in (1..=last).rev() {
            let [client, server] = [lane.sockets[2 * hop], lane.sockets[2 * hop + 1]];
            self.send(server, journey.at_ns, response);
            let takes_ns = self.wire_ns();
            let on_wire = Place { hop, part: Part::Network };
            journey.at_ns = self.pass(on_wire, journey.at_ns, takes_ns, false, client).at_ns;
            self.receive(client, journey.at_ns, response);
            let takes_ns = self.own_ns(hop - 1);
            let own = Place { hop: hop - 1, part: Part::Server };
            journey.at_ns = self.pass(own, journey.at_ns, takes_ns, false, lane.sockets[2 * hop - 2]).at_ns;
        }
    }

    /// Passes a place, which may be the one with the trouble. `socket`: the requesting end there.
    fn pass(&mut self, place: Place, at_ns: i64, takes_ns: i64, request: bool, socket: usize) -> Passed {
        if place != self.plan.trouble.place {
            return Passed { at_ns: at_ns + takes_ns, window: None };
        }
        let passed = self.timeline.pass(at_ns, takes_ns, request, &mut self.random);
        if let Some(window) = passed.window {
            self.held.push(Held { window, socket, from_ns: at_ns, to_ns: passed.at_ns });
        }
        passed
    }

    /// Closes what is left of a lane and opens another in its place after a while, when nothing is held any more.
    fn renew(&mut self, number: usize, first: Option<usize>, at_ns: i64) {
        let sockets = self.lanes[number].sockets;
        let mut at_ns = at_ns;
        for end in [0, 2, 4].into_iter().skip(first.map_or(0, |end| end / 2)) {
            at_ns = self.close(sockets[end], at_ns);
        }
        let next = self.timeline.windows.iter().find(|window| at_ns < window.to_ns);
        let until_ns = next.filter(|window| window.from_ns <= at_ns).map_or(at_ns, |window| window.to_ns);
        let pause_ns = ns(0.1 + 0.4 * self.random.uniform());
        self.lanes[number] = self.open_lane(number, until_ns + pause_ns);
    }

    pub fn wire_ns(&mut self) -> i64 {
        let median_ms = self.plan.latency.wire_ms;
        self.lognormal_ns(median_ms).max(10_000)
    }

    /// Own time of a process on one message; a proxy has two of them.
    pub fn own_ns(&mut self, hop: usize) -> i64 {
        let share = if hop < 2 { 0.5 } else { 1.0 };
        let median_ms = share * self.plan.latency.own_ms[hop];
        self.lognormal_ns(median_ms).max(5_000)
    }

    fn lognormal_ns(&mut self, median_ms: f64) -> i64 {
        ns(1e-3 * median_ms * (self.plan.latency.sigma * self.random.normal()).exp())
    }

    /// The bytes of the next request.
    pub fn request_bytes(&mut self) -> Rc<[u8]> {
        let choice = self.random.below(PATHS.len());
        let id = self.random.bits();
        let text = match self.plan.speech {
            Speech::Http => format!(
                "GET {} HTTP/1.1\r\nX-Order: {id:016x}\r\nHost: shop\r\nUser-Agent: made/1\r\n\r\n",
                PATHS[choice]
            ),
            Speech::Redis => {
                let words = COMMANDS[choice].len() + 1;
                let strings = COMMANDS[choice].iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
                format!("*{words}\r\n{}$16\r\n{id:016x}\r\n", strings.collect::<String>())
            }
        };
        text.into_bytes().into()
    }

    /// The bytes of the next answer.
    pub fn response_bytes(&mut self, failed: bool) -> Rc<[u8]> {
        let body_bytes = 20 + self.random.below(60);
        let id = self.random.bits();
        if self.plan.speech == Speech::Redis {
            let text = match failed {
                true => format!("-LOADING {id:016x}\r\n"),
                false => format!("*2\r\n$16\r\n{id:016x}\r\n${body_bytes}\r\n{}\r\n", "*".repeat(body_bytes)),
            };
            return text.into_bytes().into();
        }
        let status = if failed { "503 Service Unavailable" } else { "200 OK" };
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {body_bytes}\r\nX-Order: {id:016x}\r\n\r\n");
        let mut bytes = head.into_bytes();
        bytes.resize(bytes.len() + body_bytes, b'*');
        bytes.into()
    }
}

/// Where a request is.
struct Journey {
    at_ns: i64,
    /// When the first proxy took it.
    edge_took_ns: i64,
    /// Bytes that the first proxy had taken before.
    before: u32,
}
