//! What outcomes need as proof: conversations whose truth is known, told whole and then with parts of them hidden. Told whole,
//! every span says the truth. Whatever is cut, lost or unknown, nobody is said to have closed or reset who did not, and the
//! idle time after an answer never becomes its duration.

use crate::assembly_support::{Cells, Connection, MS, Row, US, World, line, pair, socket_id};
use proptest::prelude::*;
use retrospan_formats::event::{Kind, flags};

/// How the last exchange of a conversation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Whole; the connection stays open.
    Idle,
    /// Whole; some time later somebody closes or resets the connection.
    Later { client: bool, reset: bool },
    /// The client closes or resets before any answer; the server writes one or not.
    GiveUp { reset: bool, late: bool },
    /// The client closes or resets in the middle of the answer, and the server goes on.
    GiveUpWithin { reset: bool },
    /// The client shuts down its sending half and takes the answer.
    HalfClose,
    /// It does so and then resets.
    HalfCloseThenReset,
    /// It does so, and the server closes in the middle of the answer.
    HalfCloseCutOff,
    /// The server closes or resets before its answer or in the middle of it.
    ServerLeaves { reset: bool, within: bool },
    /// An answer that lasts until the server closes.
    UntilClose,
    /// The server resets in the middle of such an answer.
    UntilCloseReset,
    /// The client leaves in the middle of such an answer, and the server goes on.
    UntilCloseGiveUp { reset: bool },
    /// The client leaves when it has all of such an answer, and the server closes.
    UntilCloseLeft,
    /// Bytes that are no HTTP.
    Unparsed,
}

const ENDS: [End; 24] = [
    End::Idle,
    End::Later { client: true, reset: false },
    End::Later { client: true, reset: true },
    End::Later { client: false, reset: false },
    End::Later { client: false, reset: true },
    End::GiveUp { reset: false, late: false },
    End::GiveUp { reset: false, late: true },
    End::GiveUp { reset: true, late: false },
    End::GiveUpWithin { reset: false },
    End::GiveUpWithin { reset: true },
    End::HalfClose,
    End::HalfCloseThenReset,
    End::HalfCloseCutOff,
    End::ServerLeaves { reset: false, within: false },
    End::ServerLeaves { reset: false, within: true },
    End::ServerLeaves { reset: true, within: false },
    End::ServerLeaves { reset: true, within: true },
    End::UntilClose,
    End::UntilCloseReset,
    End::UntilCloseGiveUp { reset: false },
    End::UntilCloseGiveUp { reset: true },
    End::UntilCloseLeft,
    End::Unparsed,
    End::Idle,
];

/// A conversation: exchanges with whole answers, and one that ends somehow.
#[derive(Clone, Debug)]
struct Plan {
    /// Method and answer of each exchange.
    exchanges: Vec<(u8, u8)>,
    end: End,
    /// How long the connection is idle before it ends, ms.
    idle_ms: i64,
}

/// What is true of an exchange.
#[derive(Clone, Debug)]
struct Truth {
    from_ns: i64,
    outcome: &'static str,
    /// Nothing of it is later than this.
    until_ns: i64,
}

/// A conversation that was told: its rows are these of the world.
#[derive(Clone, Debug)]
struct Told {
    connection: Connection,
    rows: std::ops::Range<usize>,
    truths: Vec<Truth>,
}

fn request(method: u8, number: usize) -> Vec<u8> {
    match method % 4 {
        0 => format!("GET /{number} HTTP/1.1\r\nHost: h\r\nAccept: text/plain\r\n\r\n"),
        1 => format!("HEAD /{number} HTTP/1.1\r\nHost: h\r\n\r\n"),
        2 => format!("POST /{number} HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\nhello world"),
        _ => format!("PURGE /{number} HTTP/1.1\r\nHost: h\r\n\r\n"),
    }
    .into_bytes()
}

fn answer(method: u8, answer: u8) -> (Vec<u8>, &'static str) {
    let (head, body, outcome) = match answer % 4 {
        0 => ("200 OK\r\nContent-Length: 12", "hello, world", "ok"),
        1 => ("200 OK\r\nTransfer-Encoding: chunked", "5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\n", "ok"),
        2 => ("204 No Content\r\nServer: s", "", "ok"),
        _ => ("503 Busy\r\nContent-Length: 4", "busy", "error"),
    };
    let body = if method % 4 == 1 { "" } else { body };
    (format!("HTTP/1.1 {head}\r\nDate: now\r\n\r\n{body}").into_bytes(), outcome)
}

const UNTIL_CLOSE: &[u8] = b"HTTP/1.0 200 OK\r\nServer: old\r\n\r\nsome bytes";
const LONG: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nthe first of a thousand bytes";

impl Plan {
    fn tell(&self, world: &mut World, connection: Connection) -> Vec<Truth> {
        let mut truths = Vec::new();
        let (last, whole) = self.exchanges.split_last().expect("an exchange");
        for (number, &(method, kind)) in whole.iter().enumerate() {
            let from_ns = world.now_ns;
            world.request(connection, &request(method, number));
            world.wait(2 * MS);
            let (bytes, outcome) = answer(method, kind);
            world.respond(connection, &bytes);
            truths.push(Truth { from_ns, outcome, until_ns: world.now_ns });
            world.wait(MS);
        }
        let from_ns = world.now_ns;
        // An answer to HEAD has no middle, and ends with its head.
        let any_method = !matches!(
            self.end,
            End::GiveUpWithin { .. }
                | End::HalfCloseCutOff
                | End::ServerLeaves { .. }
                | End::UntilClose
                | End::UntilCloseReset
                | End::UntilCloseGiveUp { .. }
                | End::UntilCloseLeft
        );
        let last = if any_method { *last } else { (0, last.1) };
        world.request(connection, &request(last.0, whole.len()));
        world.wait(2 * MS);
        let (outcome, until_ns) = self.finish(world, connection, last);
        truths.push(Truth { from_ns, outcome, until_ns });
        truths
    }

    /// Ends the last exchange; returns how, and when at the latest.
    fn finish(&self, world: &mut World, connection: Connection, last: (u8, u8)) -> (&'static str, i64) {
        let Connection { client, server } = connection;
        let idle_ns = self.idle_ms * MS;
        let (bytes, outcome) = answer(last.0, last.1);
        match self.end {
            End::Idle => {
                world.respond(connection, &bytes);
                (outcome, world.now_ns)
            }
            End::Later { client: by_client, reset } => {
                world.respond(connection, &bytes);
                let until_ns = world.now_ns;
                world.wait(idle_ns);
                match (by_client, reset) {
                    (true, false) => world.close(connection),
                    (true, true) => reset_by(world, client, server),
                    (false, true) => reset_by(world, server, client),
                    (false, false) => close_by_server(world, connection),
                }
                (outcome, until_ns)
            }
            End::GiveUp { reset, late } => {
                world.wait(idle_ns);
                give_up(world, connection, reset);
                let until_ns = world.now_ns;
                world.wait(3 * MS);
                if late {
                    world.send(server, &bytes);
                    world.gone(server, 32);
                } else if !reset {
                    world.call(server, Kind::Close, 0, US);
                    world.fin(server, client);
                    world.gone(server, 0);
                }
                ("client_closed", until_ns)
            }
            End::GiveUpWithin { reset } | End::UntilCloseGiveUp { reset } => {
                let within = matches!(self.end, End::GiveUpWithin { .. });
                world.respond(connection, if within { LONG } else { UNTIL_CLOSE });
                world.wait(idle_ns);
                if reset {
                    // More is on its way, so the close becomes a reset.
                    world.send(server, b"more");
                    let s = &mut world.sockets[client];
                    s.arrived = s.arrived.wrapping_add(4);
                    world.call(client, Kind::Close, 0, US);
                    world.gone(client, 0);
                    world.gone(server, 104);
                    world.call(server, Kind::Send, 104, US);
                } else {
                    world.call(client, Kind::Close, 0, US);
                    world.fin(client, server);
                    world.send(server, b"more");
                    world.gone(client, 0);
                    world.gone(server, 32);
                }
                world.call(server, Kind::Close, 0, US);
                ("client_closed", world.now_ns)
            }
            End::HalfClose | End::HalfCloseThenReset | End::HalfCloseCutOff => {
                world.call(client, Kind::Shutdown, 0, US).flags = flags::SHUT_WRITE;
                world.fin(client, server);
                world.wait(idle_ns);
                self.finish_half_closed(world, connection, &bytes, outcome)
            }
            End::ServerLeaves { reset, within } => {
                if within {
                    world.respond(connection, LONG);
                }
                world.wait(idle_ns);
                if reset {
                    reset_by(world, server, client)
                } else {
                    close_by_server(world, connection)
                }
                (if reset { "reset" } else { "server_closed" }, world.now_ns)
            }
            End::UntilClose => {
                world.respond(connection, UNTIL_CLOSE);
                let until_ns = world.now_ns;
                world.wait(idle_ns);
                close_by_server(world, connection);
                ("ok", until_ns)
            }
            End::UntilCloseReset => {
                world.respond(connection, UNTIL_CLOSE);
                world.wait(idle_ns);
                reset_by(world, server, client);
                ("reset", world.now_ns)
            }
            End::UntilCloseLeft => {
                world.respond(connection, UNTIL_CLOSE);
                let until_ns = world.now_ns;
                world.call(client, Kind::Close, 0, US);
                world.fin(client, server);
                world.call(server, Kind::Close, 0, US);
                world.fin(server, client);
                world.gone(server, 0);
                ("ok", until_ns)
            }
            End::Unparsed => {
                world.respond(connection, b"<html>no head at all</html>");
                let until_ns = world.now_ns;
                world.wait(idle_ns);
                close_by_server(world, connection);
                ("unparsed", until_ns)
            }
        }
    }

    fn finish_half_closed(
        &self,
        world: &mut World,
        connection: Connection,
        bytes: &[u8],
        outcome: &'static str,
    ) -> (&'static str, i64) {
        let Connection { client, server } = connection;
        if self.end == End::HalfCloseThenReset {
            world.call(client, Kind::Close, 0, US);
            world.gone(client, 0);
            world.gone(server, 32);
            return ("client_closed", world.now_ns);
        }
        let whole = self.end == End::HalfClose;
        world.respond(connection, if whole { bytes } else { LONG });
        let until_ns = world.now_ns;
        world.wait(5 * MS);
        world.call(server, Kind::Close, 0, US);
        world.fin(server, client);
        world.gone(server, 0);
        world.receive_end(client);
        world.call(client, Kind::Close, 0, US);
        if whole { (outcome, until_ns) } else { ("server_closed", world.now_ns) }
    }
}

fn reset_by(world: &mut World, from: usize, to: usize) {
    world.call(from, Kind::Close, 0, US);
    world.gone(from, 0);
    world.gone(to, 104);
    world.call(to, Kind::Receive, 104, US);
    world.call(to, Kind::Close, 0, US);
}

fn close_by_server(world: &mut World, Connection { client, server }: Connection) {
    world.call(server, Kind::Close, 0, US);
    world.fin(server, client);
    world.receive_end(client);
    world.call(client, Kind::Close, 0, US);
    world.fin(client, server);
    world.gone(client, 0);
}

fn give_up(world: &mut World, Connection { client, server }: Connection, reset: bool) {
    world.call(client, Kind::Close, 0, US);
    if reset {
        world.gone(client, 0);
        world.gone(server, 104);
        world.call(server, Kind::Send, 32, US);
    } else {
        world.fin(client, server);
    }
}

/// What is hidden of a conversation.
#[derive(Clone, Debug)]
enum Hidden {
    /// All but the first bytes of a call's payload; `tail`: and its last ones.
    Payload { row: usize, kept: u8, tail: bool },
    /// The same of all calls, which makes long heads of all.
    Payloads { kept: u8, tail: bool },
    /// A row, which the recorder counted as lost.
    Row(usize),
    /// The bytes or the change of state of a row that nobody counted.
    Uncounted(usize),
    /// One side.
    Side { client: bool },
    /// What came before a row: the connection is older than the recording.
    Before(usize),
    /// What came after a row.
    After(usize),
}

fn hidden() -> impl Strategy<Value = Hidden> {
    let index = any::<usize>;
    prop_oneof![
        (index(), 0u8..60, any::<bool>()).prop_map(|(row, kept, tail)| Hidden::Payload { row, kept, tail }),
        (10u8..70, any::<bool>()).prop_map(|(kept, tail)| Hidden::Payloads { kept, tail }),
        index().prop_map(Hidden::Row),
        index().prop_map(Hidden::Uncounted),
        any::<bool>().prop_map(|client| Hidden::Side { client }),
        index().prop_map(Hidden::Before),
        index().prop_map(Hidden::After),
    ]
}

fn plan() -> impl Strategy<Value = Plan> {
    let exchanges = prop::collection::vec((any::<u8>(), any::<u8>()), 1..4);
    let idle_ms = prop_oneof![Just(0), Just(5), Just(500)];
    (exchanges, prop::sample::select(&ENDS[..]), idle_ms).prop_map(|(exchanges, end, idle_ms)| Plan {
        exchanges,
        end,
        idle_ms,
    })
}

/// Conversations one after the other, each long after the one before.
fn told(plans: &[Plan]) -> (World, Vec<Told>) {
    let mut world = World::new();
    let told = plans.iter().map(|plan| {
        let first = world.rows.len();
        let connection = pair(&mut world);
        let truths = plan.tell(&mut world, connection);
        world.wait(20_000 * MS);
        Told { connection, rows: first..world.rows.len(), truths }
    });
    let told = told.collect();
    (world, told)
}

fn cut_payload(row: &mut Row, kept: usize, tail: bool) {
    if row.flags & (flags::PAYLOAD_CUT | flags::PAYLOAD_TAIL) != 0 {
        return;
    }
    let Some(payload) = row.payload.take() else { return };
    let mut short = payload[..kept.min(payload.len())].to_vec();
    if short.len() < payload.len() {
        row.flags |= flags::PAYLOAD_CUT;
        if tail && payload.len() - short.len() >= 8 {
            short.extend(&payload[payload.len() - 8..]);
            row.flags |= flags::PAYLOAD_TAIL;
        }
    }
    row.payload = (!short.is_empty()).then_some(short);
}

/// Hides parts of each conversation.
fn hide(world: &mut World, told: &[Told], all: &[Vec<Hidden>]) {
    let mut kept = vec![true; world.rows.len()];
    for (told, hidden) in told.iter().zip(all) {
        let rows = told.rows.clone();
        let older = hidden.iter().any(|hidden| matches!(hidden, Hidden::Before(_)));
        let at = |nth: &usize| rows.start + nth % rows.len();
        for hidden in hidden {
            match hidden {
                Hidden::Payload { row, kept, tail } => {
                    cut_payload(&mut world.rows[at(row)], usize::from(*kept), *tail);
                }
                Hidden::Payloads { kept, tail } => {
                    for row in &mut world.rows[rows.clone()] {
                        cut_payload(row, usize::from(*kept), *tail);
                    }
                }
                Hidden::Row(row) => {
                    let boot_ns = world.rows[at(row)].boot_ns;
                    world.losses.push((boot_ns - MS, boot_ns + MS));
                    kept[at(row)] = false;
                }
                // What an older connection moved before the first byte that was seen is not missed.
                Hidden::Uncounted(_) if older => {}
                Hidden::Uncounted(row) => {
                    let Row { kind, done, .. } = world.rows[at(row)];
                    kept[at(row)] &= kind != Kind::State && done == 0;
                }
                Hidden::Side { client } => {
                    let Connection { client: one, server: other } = told.connection;
                    world.sockets[if *client { one } else { other }].recorded = false;
                }
                Hidden::Before(row) => {
                    kept[rows.start..at(row)].fill(false);
                    for socket in [told.connection.client, told.connection.server] {
                        let socket = &mut world.sockets[socket];
                        (socket.discovered, socket.role, socket.opened_ns) = (true, "unknown", None);
                    }
                }
                Hidden::After(row) => kept[at(row) + 1..rows.end].fill(false),
            }
        }
    }
    let mut kept = kept.into_iter();
    world.rows.retain(|_| kept.next() == Some(true));
}

/// The truth about a span: that of the exchange in whose time it begins.
fn truth_of<'a>(told: &'a Told, span: &Cells) -> &'a Truth {
    let start_ns = span["start_time"].parse::<i64>().expect("a time");
    let before = told.truths.iter().rev().find(|truth| truth.from_ns <= start_ns);
    before.unwrap_or_else(|| panic!("a span before its conversation: {span:#?}"))
}

/// Every span with the place of the conversation it is of.
fn spans<'a>(told: &'a [Told], rows: &'a [Cells]) -> impl Iterator<Item = (usize, &'a Cells)> {
    rows.iter().map(|span| {
        let of = |socket: usize| socket_id(socket).to_string() == span["socket_id"];
        let at = told.iter().position(|told| of(told.connection.client) || of(told.connection.server));
        (at.expect("a conversation"), span)
    })
}

const BRIEF: &[&str] = &["kind", "method", "path", "status", "outcome", "duration_ns"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn told_whole_every_span_says_the_truth(plans in prop::collection::vec(plan(), 12)) {
        let (world, told) = told(&plans);
        let assembled = world.assembled();
        let expected: usize = told.iter().map(|told| 2 * told.truths.len()).sum();
        prop_assert_eq!(assembled.rows("spans").len(), expected);
        for (at, span) in spans(&told, assembled.rows("spans")) {
            let truth = truth_of(&told[at], span);
            prop_assert_eq!(&span["outcome"], truth.outcome, "{} of {:?}", line(span, BRIEF), plans[at]);
            let end_ns = span["end_time"].parse::<i64>().expect("a time");
            prop_assert!(end_ns <= truth.until_ns + MS, "too long: {}", line(span, BRIEF));
        }
    }
}

/// Whether a span accuses somebody who did not do that.
fn accuses(truth: &Truth, span: &Cells) -> bool {
    let outcome = span["outcome"].as_str();
    matches!(outcome, "client_closed" | "server_closed" | "reset") && outcome != truth.outcome
}

/// Whether a whole exchange lasts longer than it did.
fn is_too_long(truth: &Truth, span: &Cells) -> bool {
    let outcome = span["outcome"].as_str();
    let end_ns = span["end_time"].parse::<i64>().expect("a time");
    matches!(outcome, "ok" | "error") && outcome == truth.outcome && end_ns > truth.until_ns + MS
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_hidden_nobody_is_accused(
        plans in prop::collection::vec(plan(), 12),
        all in prop::collection::vec(prop::collection::vec(hidden(), 1..4), 12),
    ) {
        let problems = told_wrong(&plans, &all, accuses);
        prop_assert!(problems.is_empty(), "{problems:#?}");
    }
}

/// Spans of these conversations that are wrong in that way, without what is hidden of them.
fn told_wrong(plans: &[Plan], all: &[Vec<Hidden>], is_wrong: fn(&Truth, &Cells) -> bool) -> Vec<String> {
    let (mut world, told) = told(plans);
    hide(&mut world, &told, all);
    let assembled = world.assembled();
    let wrong = spans(&told, assembled.rows("spans")).filter_map(|(at, span)| {
        let of = || format!("{} of {:?} without {:?}", line(span, BRIEF), plans[at], all[at]);
        is_wrong(truth_of(&told[at], span), span).then(of)
    });
    wrong.collect()
}

#[test]
fn without_any_two_rows_nobody_is_accused() {
    let mut problems = Vec::new();
    for end in ENDS {
        let plan = Plan { exchanges: vec![(0, 0)], end, idle_ms: 5 };
        let rows = told(std::slice::from_ref(&plan)).1[0].rows.len();
        let pairs =
            (0..rows).flat_map(|one| (0..one).map(move |other| [one, other].map(Hidden::Row).to_vec()));
        let pairs: Vec<_> = pairs.collect();
        problems.extend(told_wrong(&vec![plan; pairs.len()], &pairs, accuses));
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn however_payloads_are_cut_spans_are_right_and_end_in_time() {
    let cuts = (0..70).flat_map(|kept| [false, true].map(|tail| vec![Hidden::Payloads { kept, tail }]));
    let cuts: Vec<_> = cuts.collect();
    let mut problems = Vec::new();
    for end in ENDS {
        // Every method and answer, in every place.
        for (first, second) in [(0, 3), (1, 2), (2, 1), (3, 0)] {
            let plan = Plan { exchanges: vec![(first, second), (second, first)], end, idle_ms: 0 };
            problems.extend(told_wrong(&vec![plan; cuts.len()], &cuts, |truth, span| {
                accuses(truth, span) || is_too_long(truth, span)
            }));
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}
