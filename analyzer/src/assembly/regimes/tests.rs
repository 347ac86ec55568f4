//! Programs that work in different ways, many requests at once, and what is told of who called for whom.

use std::collections::VecDeque;

use retrospan_formats::secrets::SecretHash;

use crate::assembly::regimes::belief::choose;
use crate::assembly::regimes::identity::{Mark, Marks, of_head};
use crate::assembly::regimes::regime::{Choice, Regime, Rule};
use crate::assembly::regimes::turns::{Call, Moved, NONE, Process, Socket};
use crate::hashing::IntMap;

/// A socket, and a sequence number on it.
type Key = (u32, Option<u32>);

/// A program that is watched: who does what, one thing after the other.
#[derive(Default)]
struct World {
    process: Process<u16>,
    marks: Marks,
    sockets: IntMap<u32, Socket>,
    seqs: IntMap<u32, u32>,
    now_ns: i64,
    chance: u64,
    /// The request that each call was made for; its own otherwise.
    truth: IntMap<Key, Option<Key>>,
}

/// A request on its way through the program.
#[derive(Clone, Copy)]
struct Job {
    client: u32,
    key: Key,
}

impl World {
    fn moved(&mut self, socket: u32, thread: u32) -> Moved {
        let seq = self.seqs.entry(socket).or_default();
        *seq += 100;
        self.now_ns += 10_000;
        Moved { socket, seq: Some(*seq), thread, enter_ns: self.now_ns - 1_000, exit_ns: self.now_ns }
    }

    fn receive(&mut self, client: u32, thread: u32) -> Job {
        let moved = self.moved(client, thread);
        if self.process.received(self.sockets.entry(client).or_default(), moved) {
            self.marks.request(&[]);
        }
        Job { client, key: (moved.socket, moved.seq) }
    }

    fn answer(&mut self, job: Job, thread: u32) {
        let moved = self.moved(job.client, thread);
        self.process.answered(self.sockets.entry(job.client).or_default(), moved);
    }

    fn call(&mut self, connection: u32, thread: u32, to: u16, job: Option<Job>) {
        let moved = self.moved(connection, thread);
        if self.process.called(self.sockets.entry(connection).or_default(), moved, to) {
            self.marks.call(&[]);
        }
        self.truth.insert((moved.socket, moved.seq), job.map(|job| job.key));
    }

    fn back(&mut self, connection: u32, thread: u32) {
        let moved = self.moved(connection, thread);
        self.process.back(self.sockets.entry(connection).or_default(), moved);
    }

    fn wait(&mut self) {
        self.now_ns += 1_000_000;
    }

    fn below(&mut self, limit: usize) -> usize {
        self.chance =
            self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.chance >> 33) as usize % limit
    }

    /// Right, wrong and missing parents, wrong ones of calls of its own, and the rules that are believed.
    fn judged(&self) -> ([usize; 4], Vec<Rule>) {
        let (choices, regimes) = choose(&self.process, &self.marks);
        let mut counts = [0; 4];
        for (call, Choice { parent, .. }) in self.process.calls.iter().zip(&choices) {
            let request = |place: u32| {
                let request = &self.process.requests[place as usize];
                (request.socket, request.seq)
            };
            let told = (*parent != NONE).then(|| request(*parent));
            counts[match (told, self.truth[&(call.socket, call.seq)]) {
                (Some(_), None) => 3,
                (None, None) => continue,
                (None, Some(_)) => 2,
                (told, truth) => usize::from(told != truth),
            }] += 1;
        }
        let is_believed = |regime: &&Regime| regime.is_believed;
        (counts, regimes.iter().filter(is_believed).map(|regime| regime.rule).collect())
    }
}

const CLIENTS: u32 = 8;
const BACKEND: u16 = 80;
const OTHER: u16 = 81;

/// Connections to the backend.
#[derive(Default)]
struct Pool {
    idle: VecDeque<u32>,
    made: u32,
}

impl Pool {
    fn take_last(&mut self) -> u32 {
        self.idle.pop_back().unwrap_or_else(|| {
            self.made += 1;
            1_000 + self.made
        })
    }
}

/// An event loop. In each round some clients have sent a request and some calls have come back. `in_turn`: it goes on with each at
/// once; else it reads all, then writes all, which `shuffled` does in another order.
fn event_loop(rounds: usize, in_turn: bool, shuffled: bool, timer: bool) -> World {
    let mut world = World { chance: 7, ..World::default() };
    let mut pool = Pool::default();
    let mut waiting: VecDeque<u32> = (0..CLIENTS).collect();
    let mut under_way: Vec<(u32, Job)> = Vec::new();
    for round in 0..rounds {
        world.wait();
        if timer && round % 10 == 0 {
            world.call(5_000, 1, OTHER, None);
        }
        let mut to_send = Vec::new();
        for _ in 0..world.below(4) {
            let Some(client) = waiting.pop_front() else { break };
            let job = world.receive(client, 1);
            let connection = pool.take_last();
            if in_turn {
                world.call(connection, 1, BACKEND, Some(job));
            }
            to_send.push((connection, job));
        }
        let mut to_answer = Vec::new();
        for _ in 0..world.below(4).min(under_way.len()) {
            let at = world.below(under_way.len());
            let (connection, job) = under_way.remove(at);
            world.back(connection, 1);
            pool.idle.push_back(connection);
            if in_turn {
                world.answer(job, 1);
                waiting.push_back(job.client);
            } else {
                to_answer.push(job);
            }
        }
        if shuffled {
            to_send.reverse();
            to_answer.reverse();
        }
        for job in to_answer {
            world.answer(job, 1);
            waiting.push_back(job.client);
        }
        for &(connection, job) in to_send.iter().filter(|_| !in_turn) {
            world.call(connection, 1, BACKEND, Some(job));
        }
        if timer && round % 10 == 5 {
            world.back(5_000, 1);
        }
        under_way.extend(to_send);
    }
    world
}

#[test]
fn a_loop_that_goes_on_at_once_is_told_by_turns() {
    let ([right, wrong, missing, own], believed) = event_loop(500, true, false, false).judged();
    assert_eq!((wrong, own), (0, 0));
    assert!(right > 400 && missing * 50 < right, "{right} right, {missing} missing");
    assert!(believed.contains(&Rule::Turn), "{believed:?}");
}

#[test]
fn a_loop_that_reads_all_then_writes_all_is_told_by_order() {
    let ([right, wrong, missing, own], believed) = event_loop(500, false, false, false).judged();
    assert_eq!((wrong, own), (0, 0));
    assert!(right > 400 && missing * 20 < right, "{right} right, {missing} missing; {believed:?}");
    assert!(believed.contains(&Rule::Order), "{believed:?}");
}

#[test]
fn a_loop_that_writes_in_another_order_is_told_by_its_pool() {
    let ([right, wrong, missing, own], believed) = event_loop(500, false, true, false).judged();
    assert!(wrong * 100 <= right && own == 0, "{wrong} wrong of {right}");
    assert!(right > 300, "{right} right, {missing} missing; {believed:?}");
    assert!(matches!(believed[..], [Rule::Pool(..), ..]), "{believed:?}");
}

#[test]
fn calls_of_a_timer_are_nobodys() {
    let ([right, wrong, _, own], _) = event_loop(500, true, false, true).judged();
    assert_eq!((wrong, own), (0, 0));
    assert!(right > 400, "{right}");
}

/// Threads that each have one request in hand; `handed_over`: other threads make the calls.
fn threads(rounds: usize, handed_over: bool) -> World {
    let mut world = World { chance: 3, ..World::default() };
    let mut under_way: Vec<(u32, u32, Job)> = Vec::new();
    let mut free: Vec<u32> = (0..CLIENTS).collect();
    for _ in 0..rounds {
        world.wait();
        if !free.is_empty() && world.below(2) == 0 {
            let at = world.below(free.len());
            let client = free.swap_remove(at);
            let job = world.receive(client, 10 + client);
            let worker = if handed_over { 50 + world.below(4) as u32 } else { 10 + client };
            world.call(1_000 + client, worker, BACKEND, Some(job));
            under_way.push((client, worker, job));
        }
        if !under_way.is_empty() && world.below(2) == 0 {
            let at = world.below(under_way.len());
            let (client, worker, job) = under_way.swap_remove(at);
            world.back(1_000 + client, worker);
            let by = if handed_over { 60 + world.below(4) as u32 } else { worker };
            world.answer(job, by);
            free.push(client);
        }
    }
    world
}

#[test]
fn a_thread_with_one_request_in_hand_calls_for_it() {
    let ([right, wrong, missing, _], believed) = threads(500, false).judged();
    assert_eq!((wrong, missing), (0, 0));
    assert!(right > 100 && believed.contains(&Rule::Exclusive), "{right}; {believed:?}");
}

#[test]
fn nothing_is_told_where_threads_hand_over() {
    let ([right, wrong, missing, _], believed) = threads(500, true).judged();
    assert_eq!(wrong, 0, "{right} right, {missing} missing; {believed:?}");
    assert!(missing > 100, "{missing}");
}

#[test]
fn delays_tell_the_rest_where_rules_tell_most_calls() {
    // Of three users in four cookies tell.
    let cookie = |n: usize| if n.is_multiple_of(4) { head("") } else { head(&format!("cookie: {n}\r\n")) };
    let world = with_heads(threads(2_000, true), cookie, |_, of| cookie(of.unwrap_or_default()));
    let ([right, wrong, missing, _], believed) = world.judged();
    assert_eq!((wrong, believed), (0, vec![Rule::Identity, Rule::Assignment]), "{right} right");
    assert!(right > 10 * missing, "{right} right, {missing} missing");
}

#[test]
fn a_process_without_requests_or_calls_has_no_regimes() {
    let (choices, regimes) = choose(&Process::<u16>::default(), &Marks::default());
    assert!(choices.is_empty() && regimes.is_empty());
}

/// Gives each request of the world a head, by its number, and each call one, by its number and that of its request.
fn with_heads(
    mut world: World,
    request: impl Fn(usize) -> String,
    call: impl Fn(usize, Option<usize>) -> String,
) -> World {
    let marks = |head: String| of_head(head.as_bytes(), std::iter::empty());
    let place = |key: Key| world.process.requests.iter().position(|r| (r.socket, r.seq) == key);
    let requests: Vec<Vec<Mark>> = (0..world.process.requests.len()).map(|n| marks(request(n))).collect();
    let of_call = |(n, c): (usize, &Call)| marks(call(n, world.truth[&(c.socket, c.seq)].and_then(place)));
    let calls: Vec<Vec<Mark>> = world.process.calls.iter().enumerate().map(of_call).collect();
    world.marks = Marks::default();
    // All requests first: when each came stands with it.
    requests.iter().for_each(|marks| world.marks.request(marks));
    calls.iter().for_each(|marks| world.marks.call(marks));
    world
}

fn head(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\nhost: shop\r\nuser-agent: app\r\n{lines}\r\n")
}

#[test]
fn a_line_that_is_passed_on_tells_whose_call_it_is() {
    // Fifty users, of whom some have two requests in hand at once.
    let cookie = |n: usize| head(&format!("cookie: {}\r\n", n * 7 % 50));
    let world = with_heads(threads(3_000, true), cookie, |_, of| cookie(of.unwrap_or_default()));
    let ([right, wrong, missing, _], believed) = world.judged();
    assert_eq!(wrong, 0);
    assert!(right > 9 * missing && believed == [Rule::Identity], "{right}, {missing}; {believed:?}");
}

#[test]
fn a_line_that_calls_have_of_their_own_tells_nothing() {
    let number = |n: usize| head(&format!("x-number: {}\r\n", n % 50));
    // Numbers of their own, which requests have brought too, but not these.
    let world = with_heads(threads(1_000, true), number, |n, _| number(n + 25));
    let ([_, wrong, _, _], believed) = world.judged();
    assert!(wrong == 0 && !believed.contains(&Rule::Identity), "{wrong} wrong; {believed:?}");
    // What all have tells nothing either.
    let world = with_heads(threads(1_000, true), |_| head(""), |_, _| head(""));
    assert!(!world.judged().1.contains(&Rule::Identity));
}

#[test]
fn marks_are_paths_lines_lengths_and_hashes() {
    let marks = |head: &str, hashes: &[(u16, u32)]| {
        let hashes = hashes.iter().map(|&(offset, hash)| SecretHash { offset, hash });
        of_head(head.as_bytes(), hashes)
    };
    let head = "GET /a?b=* HTTP/1.1\r\nHost: x\r\ncookie: ***\r\n\r\n";
    assert_eq!(marks(head, &[]).len(), 3);
    assert_eq!(marks(head, &[(9, 1), (39, 2)]).len(), 5);
    // Names without regard to case, values without the space around them, a path without its query.
    assert_eq!(marks(head, &[]), marks("PUT /a HTTP/1.0\r\nHOST:x \r\nCookie:***\r\n\r\nbody: 1\r\n", &[]));
    assert_ne!(marks(head, &[(39, 2)]), marks(head, &[(39, 3)]));
    assert_ne!(marks(head, &[(9, 2)]), marks(head, &[(39, 2)]));
    // A line that is cut is none, nor is what begins no request.
    assert_eq!(marks("GET /a HTTP/1.1\r\nhost: x", &[]).len(), 1);
    for other in ["", "*1\r\n$4\r\nPING\r\n", "HTTP/1.1 200 OK\r\nhost: x\r\n\r\n"] {
        assert_eq!(marks(other, &[(0, 1)]), [], "{other}");
    }
}
