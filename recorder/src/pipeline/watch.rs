//! Looks for what a copy is to be made on (`--dump-on`) in the records as they pass: no more than needed to notice it.
//!
//! In: calls, state changes and ends of processes. Out: once a second, what was noticed. How it was really is for the analyzer to say,
//! from the copy.

use std::collections::VecDeque;

use retrospan_formats::event::{self, Kind, role};
use retrospan_formats::tcp::{errno, state};

use crate::fast_map::FastMap;
use crate::triggers::DumpOn;

/// Seconds that a rate or a quantile is of.
const WINDOW_S: usize = 10;
/// A quantile of fewer answers says nothing.
const FEWEST_ANSWERS: usize = 50;
/// More connections than that are not open: the ends of some were lost.
const MOST_SOCKETS: usize = 1 << 18;

/// A call on a socket.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// What was called.
    pub kind: Kind,
    /// The socket.
    pub socket_id: u64,
    /// Its role.
    pub role: u8,
    /// Its own port.
    pub local_port: u16,
    /// Bytes that were moved.
    pub done_bytes: u64,
    /// When the call began and ended, boot time ns.
    pub times_ns: [u64; 2],
}

/// Where a connection stands.
#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    /// When a request was there that is not answered.
    asked_ns: Option<u64>,
    /// Its client left meanwhile.
    left: bool,
}

/// What happened within one second.
#[derive(Clone, Debug, Default)]
struct Second {
    left: u64,
    /// Port and time until an answer began, ns.
    answers: Vec<(u16, u64)>,
}

/// What is looked for, and what was seen of it.
#[derive(Clone, Debug)]
pub struct Watch {
    on: Vec<DumpOn>,
    turns: FastMap<u64, Turn>,
    seconds: VecDeque<Second>,
    noticed: Vec<String>,
}

impl Watch {
    /// Looks for these; `None` where nothing is to be looked for.
    pub fn of(on: &[DumpOn]) -> Option<Watch> {
        let on: Vec<DumpOn> = on.iter().filter(|on| on.is_watched()).cloned().collect();
        let seconds = VecDeque::from([Second::default()]);
        (!on.is_empty()).then(|| Watch { on, turns: FastMap::default(), seconds, noticed: Vec::new() })
    }

    /// A process with this name ended.
    pub fn ended(&mut self, comm: &str) {
        let named = |on: &&DumpOn| matches!(on, DumpOn::Exit(name) if name == comm);
        self.noticed.extend(self.on.iter().find(named).map(DumpOn::to_string));
    }

    /// A call returned.
    pub fn call(&mut self, call: Call) {
        let is_slow = |on: &DumpOn| matches!(on, DumpOn::Slow(port, _) if *port == call.local_port);
        let is_watched = self.on.iter().any(is_slow);
        let is_server = call.role == role::SERVER || (call.role == role::UNKNOWN && is_watched);
        if !is_server || call.done_bytes == 0 {
            return;
        }
        if self.turns.len() >= MOST_SOCKETS {
            self.turns.clear();
        }
        let turn = self.turns.entry(call.socket_id).or_default();
        match call.kind {
            Kind::Receive => {
                turn.asked_ns.get_or_insert(call.times_ns[1]);
            }
            Kind::Send => {
                let (asked_ns, second) = (turn.asked_ns.take(), self.seconds.back_mut());
                if let (Some(asked_ns), Some(second), true) = (asked_ns, second, is_watched) {
                    second.answers.push((call.local_port, call.times_ns[0].saturating_sub(asked_ns)));
                }
            }
            _ => {}
        }
    }

    /// A connection is in another state.
    pub fn state(&mut self, change: &event::State) {
        let Some(turn) = self.turns.get_mut(&change.socket_id) else { return };
        match change.new_state {
            state::CLOSE_WAIT => turn.left = turn.asked_ns.is_some(),
            state::CLOSE => {
                let refused = matches!(change.sk_err, errno::EPIPE | errno::ECONNRESET);
                // Whoever shut down its sending half only took its answer.
                let unanswered = turn.asked_ns.is_some() && (turn.left || refused);
                if let (true, Some(second)) = (unanswered || (turn.left && refused), self.seconds.back_mut())
                {
                    second.left += 1;
                }
                self.turns.remove(&change.socket_id);
            }
            _ => {}
        }
    }

    /// A second is over: what was noticed in the last ones, one line each.
    pub fn second(&mut self) -> Vec<String> {
        let mut noticed = std::mem::take(&mut self.noticed);
        noticed.extend(self.on.iter().filter(|on| self.is_reached(on)).map(DumpOn::to_string));
        self.seconds.push_back(Second::default());
        if self.seconds.len() > WINDOW_S {
            self.seconds.pop_front();
        }
        noticed
    }

    fn is_reached(&self, on: &DumpOn) -> bool {
        match on {
            DumpOn::Signal | DumpOn::Exit(_) => false,
            DumpOn::ClientClosed(per_s) => {
                let left: u64 = self.seconds.iter().map(|second| second.left).sum();
                left as f64 > per_s * self.seconds.len() as f64
            }
            DumpOn::Slow(port, limit) => {
                let answers =
                    || self.seconds.iter().flat_map(|second| &second.answers).filter(|(p, _)| p == port);
                let all = answers().count();
                let slow = answers().filter(|&&(_, ns)| u128::from(ns) > limit.as_nanos()).count();
                // One alone is an exception, not a quantile.
                all >= FEWEST_ANSWERS && slow > 1 && slow * 100 > all
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn call(kind: Kind, socket_id: u64, times_ns: [u64; 2]) -> Call {
        Call { kind, socket_id, role: role::SERVER, local_port: 80, done_bytes: 1, times_ns }
    }

    fn becomes(socket_id: u64, new_state: u8, sk_err: u32) -> event::State {
        event::State { socket_id, new_state, sk_err, ..bytemuck::Zeroable::zeroed() }
    }

    #[test]
    fn who_left_before_the_answer_is_counted_and_nobody_else() {
        let mut watch = Watch::of(&[DumpOn::ClientClosed(0.9)]).unwrap();
        let asks = |watch: &mut Watch, socket| watch.call(call(Kind::Receive, socket, [0, 1]));
        // Answered, then closed; answered after a half-close; closed without a request.
        asks(&mut watch, 1);
        watch.call(call(Kind::Send, 1, [2, 3]));
        asks(&mut watch, 2);
        watch.state(&becomes(2, state::CLOSE_WAIT, 0));
        watch.call(call(Kind::Send, 2, [2, 3]));
        for socket in 1..4 {
            watch.state(&becomes(socket, state::CLOSE, 0));
        }
        assert!(watch.second().is_empty());
        // Left and never answered; answered in vain.
        asks(&mut watch, 4);
        watch.state(&becomes(4, state::CLOSE_WAIT, 0));
        watch.state(&becomes(4, state::CLOSE, 0));
        asks(&mut watch, 5);
        watch.state(&becomes(5, state::CLOSE_WAIT, 0));
        watch.call(call(Kind::Send, 5, [2, 3]));
        watch.state(&becomes(5, state::CLOSE, errno::EPIPE));
        assert_eq!(watch.second(), ["client-closed>0.9/s"], "two in two seconds");
        assert!(watch.second().is_empty(), "two in three");
    }

    #[test]
    fn a_hundredth_of_slow_answers_is_noticed_while_it_lasts() {
        let limit = Duration::from_millis(1);
        let mut watch = Watch::of(&[DumpOn::Slow(80, limit), DumpOn::Signal]).unwrap();
        let answer = |watch: &mut Watch, socket: u64, took_ns: u64| {
            watch.call(call(Kind::Receive, socket, [0, 1]));
            watch.call(call(Kind::Send, socket, [1 + took_ns, 9 + took_ns]));
        };
        for socket in 0..97 {
            answer(&mut watch, socket, 1_000);
        }
        answer(&mut watch, 98, 5_000_000);
        assert!(watch.second().is_empty(), "one alone");
        answer(&mut watch, 99, 5_000_000);
        assert_eq!(watch.second(), ["p99:80>1ms"]);
        for _ in 0..WINDOW_S {
            watch.second();
        }
        assert!(watch.second().is_empty(), "it is over");
    }

    #[test]
    fn the_end_of_a_process_is_noticed_by_its_name() {
        let mut watch = Watch::of(&[DumpOn::Exit("envoy".to_owned())]).unwrap();
        watch.ended("nginx");
        watch.ended("envoy");
        assert_eq!(watch.second(), ["exit:envoy"]);
        assert!(watch.second().is_empty() && Watch::of(&[DumpOn::Signal]).is_none());
    }
}
