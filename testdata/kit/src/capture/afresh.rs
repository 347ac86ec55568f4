//! Requests with connections of their own: each proxy accepts, opens the next connection, and reads only when it has that.

use super::chain::{Chain, Held, US, WORKERS};
use super::{CONNECT_PATIENCE_S, Part, Place, Shape, ns};

impl Chain<'_> {
    /// One request from the first SYN to the last FIN.
    pub fn request_afresh(&mut self, at_ns: i64) {
        self.requests += 1;
        let worker = self.requests as usize % WORKERS;
        let first = self.sockets.len();
        let request = self.request_bytes();
        let gone_ns = at_ns + ns(CONNECT_PATIENCE_S);
        let mut at_ns = at_ns;
        for hop in 0..3 {
            let place = Place { hop, part: Part::Network };
            let trouble = self.plan.trouble;
            let drops = hop > 0 && trouble.shape == Shape::QueueFull && place == trouble.place;
            let dropped = if drops { self.timeline.syn(at_ns) } else { None };
            let wait_ns = dropped.as_ref().and_then(|(_, again)| again.last()).map_or(0, |last| last - at_ns);
            let socket = self.sockets.len();
            if let Some((window, again)) = dropped {
                let to_ns = (at_ns + wait_ns).min(gone_ns);
                self.held.push(Held { window, socket, from_ns: at_ns, to_ns });
                self.syns.extend(again.into_iter().filter(|&at| at < gone_ns).map(|at| (at, socket)));
            }
            if at_ns + wait_ns >= gone_ns {
                self.syn(hop, worker, at_ns, true);
                return self.give_up(first, hop, &request, gone_ns);
            }
            at_ns = self.connect(hop, worker, at_ns, wait_ns);
            // Who waited for this one reads now.
            if hop > 0 {
                at_ns = self.pass_on(first + 2 * hop - 1, Some(first + 2 * hop), at_ns, &request);
            } else {
                self.send(first, at_ns, &request);
            }
            at_ns += 20 * US;
        }
        at_ns = self.pass_on(first + 5, None, at_ns, &request);
        let response = self.response_bytes(false);
        for hop in (0..3).rev() {
            let client = first + 2 * hop;
            self.send(client + 1, at_ns, &response);
            at_ns += self.wire_ns();
            self.receive(client, at_ns, &response);
            at_ns += 10 * US;
        }
        for hop in 0..3 {
            at_ns = self.close(first + 2 * hop, at_ns + 30 * US);
        }
    }

    /// A process takes the request, works, and sends it on.
    fn pass_on(
        &mut self,
        server: usize,
        next: Option<usize>,
        at_ns: i64,
        request: &std::rc::Rc<[u8]>,
    ) -> i64 {
        let at_ns = at_ns + 10 * US;
        self.receive(server, at_ns, request);
        let hop = self.sockets[server].process - 1;
        let at_ns = at_ns + self.own_ns(hop);
        if let Some(next) = next {
            self.send(next, at_ns, request);
        }
        at_ns + 10 * US
    }

    /// The client leaves while a process waits for the connection of `hop`, and so does everybody behind it.
    fn give_up(&mut self, first: usize, hop: usize, request: &[u8], at_ns: i64) {
        let mut at_ns = at_ns;
        for before in 0..hop {
            let client = first + 2 * before;
            // Who waits for a connection has not read.
            let taken = if before + 1 < hop { request.len() as u32 } else { 0 };
            self.leave(client, at_ns, taken);
            at_ns += 50 * US;
        }
        self.abandon(first + 2 * hop, at_ns);
        for before in (0..hop).rev() {
            self.close_after(first + 2 * before + 1, at_ns + 20 * US);
            at_ns += 50 * US;
        }
    }
}
