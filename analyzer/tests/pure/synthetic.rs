//! Made captures, looked at as the default command looks: what was put in comes out, and nothing else.

use retrospan_analyzer::findings::find::find;
use retrospan_analyzer::findings::groups::By;
use retrospan_analyzer::findings::search::Options;
use retrospan_analyzer::findings::{self, Findings, Spike};
use retrospan_analyzer::session;
use retrospan_formats::reader::Capture;
use retrospan_testkit::capture::{Cause, Comb, Part, Place, Plan, Shape, Speech, Trouble, Truth, write};

use crate::lab::pictures::wrong_pictures;

/// Five minutes at 10 requests a second.
fn plan(seed: u64) -> Plan {
    let place = Place { hop: 1, part: Part::Network };
    Plan {
        seed,
        length_s: 300.0,
        requests_per_s: 10.0,
        trouble: Trouble { place, shape: Shape::Freeze, width_s: 1.0 },
        comb: None,
        decoys: true,
        ..Plan::default()
    }
}

fn found(plan: &Plan) -> (Truth, Findings) {
    found_by(plan, &By::ALL)
}

fn found_by(plan: &Plan, by: &[By]) -> (Truth, Findings) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let directory = folder.path().join("made.cap");
    let truth = write(&directory, plan).expect("a capture");
    let capture = Capture::open(&directory).expect("the capture opens");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
    let findings = runtime.block_on(async {
        let context = session::open(&capture).expect("tables");
        let options = Options { by: by.to_vec(), ..Options::default() };
        let findings = find(&context, &capture, &options, &|_| ()).await.expect("findings");
        for cause in findings.spikes.iter().flat_map(|spike| &spike.causes) {
            let rows = context.sql(&cause.sql).await.expect(&cause.sql).count().await.expect(&cause.sql);
            assert_eq!(rows, cause.rows, "{}: {}", cause.claim, cause.sql);
            let times = cause.coincidences + cause.misses - cause.absent_in_misses;
            assert!(rows >= times, "{rows} rows: {}", cause.claim);
        }
        findings
    });
    (truth, findings)
}

/// One row for each time that it came, in cycles with an episode and in those without: what is counted is shown.
fn shows_each(spike: &Spike, kind: &str, subject: &str) {
    let named = |cause: &&findings::Cause| (cause.kind.as_str(), cause.subject.as_str()) == (kind, subject);
    let cause = spike.causes.iter().find(named).unwrap_or_else(|| panic!("{kind}: {:#?}", spike.causes));
    let counted = cause.coincidences + cause.misses - cause.absent_in_misses;
    assert_eq!((cause.rows, cause.elsewhere), (counted, 0), "{}: {}", cause.claim, cause.sql);
}

#[test]
fn a_spike_is_found_with_its_hop_and_cause() {
    let comb = Some(Comb { period_s: 23.0, jitter: 0.005, missing: 0.0 });
    let (truth, findings) = found(&Plan { comb, cause: Some(Cause::Stopped), ..plan(1) });
    assert!(findings.searched.spans >= 6 * truth.requests, "{:?}", findings.searched);
    let [spike] = &findings.spikes[..] else { panic!("one spike, but: {findings:#?}") };
    assert!((spike.period_s / 23.0 - 1.0).abs() < 0.01, "{}", spike.sentence);
    assert_eq!((&spike.hop, spike.hops[0].part.as_str()), (&truth.hop, "network"), "{}", spike.sentence);
    let cause = &spike.causes[0];
    assert_eq!((cause.kind.as_str(), cause.subject.as_str()), ("stopped", "inner-envoy"), "{}", cause.claim);
    assert!(
        cause.sql.starts_with("SELECT * FROM stopped WHERE process = 'inner-envoy' AND "),
        "{}",
        cause.sql
    );
    shows_each(spike, "stopped", "inner-envoy");
}

#[test]
fn the_statement_of_a_cause_shows_the_rows_that_it_counts() {
    let comb = Some(Comb { period_s: 23.0, jitter: 0.005, missing: 0.2 });
    for (seed, cause, shape, kind) in [
        (11, Cause::Stopped, Shape::Freeze, "stopped"),
        (12, Cause::RunQueue, Shape::Slow, "run_queue"),
        (13, Cause::Exec, Shape::Freeze, "exec"),
        (14, Cause::Retransmit, Shape::Slow, "retransmit"),
    ] {
        let part = if cause == Cause::Retransmit { Part::Network } else { Part::Server };
        let trouble = Trouble { place: Place { hop: 2, part }, shape, width_s: 1.0 };
        let (truth, findings) = found(&Plan { comb, trouble, cause: Some(cause), ..plan(seed) });
        let [spike, ..] = &findings.spikes[..] else { panic!("no spike, but: {findings:#?}") };
        let named = spike.causes.iter().find(|cause| cause.kind == kind);
        assert!(named.is_some(), "{kind}: {:#?}", spike.causes);
        if let Some(("stopped" | "exec", subject)) = truth.cause {
            shows_each(spike, kind, &subject);
        }
    }
}

#[test]
fn requests_that_lie_unread_are_told_from_those_on_the_way() {
    let comb = Some(Comb { period_s: 23.0, jitter: 0.005, missing: 0.0 });
    let trouble = Trouble { place: Place { hop: 2, part: Part::Queue }, shape: Shape::Freeze, width_s: 1.0 };
    let (truth, findings) = found(&Plan { comb, trouble, cause: Some(Cause::Stopped), ..plan(15) });
    let [spike] = &findings.spikes[..] else { panic!("one spike, but: {findings:#?}") };
    let top = &spike.hops[0];
    assert_eq!((&top.hop, top.part.as_str()), (&truth.hop, "queue"), "{}", spike.sentence);
    assert!(top.share > 0.9, "{top:?}");
    assert!(spike.sentence.contains("is requests that lie unread at shop"), "{}", spike.sentence);
    assert_eq!((spike.causes[0].kind.as_str(), spike.causes[0].subject.as_str()), ("stopped", "shop"));
}

#[test]
fn a_stall_of_redis_is_found_as_one_of_http_is() {
    let comb = Some(Comb { period_s: 23.0, jitter: 0.005, missing: 0.0 });
    let place = Place { hop: 2, part: Part::Server };
    let trouble = Trouble { place, shape: Shape::Freeze, width_s: 1.0 };
    let plan = Plan { comb, trouble, speech: Speech::Redis, cause: Some(Cause::Stopped), ..plan(6) };
    let (truth, findings) = found(&plan);
    assert!(findings.searched.spans >= 6 * truth.requests, "{:?}", findings.searched);
    let [spike] = &findings.spikes[..] else { panic!("one spike, but: {findings:#?}") };
    assert!((spike.period_s / 23.0 - 1.0).abs() < 0.01, "{}", spike.sentence);
    assert_eq!((&spike.hop, spike.hops[0].part.as_str()), (&truth.hop, "server"), "{}", spike.sentence);
    assert_eq!((spike.causes[0].kind.as_str(), spike.causes[0].subject.as_str()), ("stopped", "shop"));
    // By route, each of its commands is a group, whoever wrote it in which case.
    let (_, findings) = found_by(&Plan { cause: None, ..plan }, &[By::Route]);
    let [spike] = &findings.spikes[..] else { panic!("one spike, but: {findings:#?}") };
    let commands = ["GET on ", "HGETALL on ", "CONFIG GET on "];
    assert!(commands.iter().any(|command| spike.stream.starts_with(command)), "{}", spike.stream);
    assert!(spike.sql.contains("operation = '") && !spike.sql.contains("method"), "{}", spike.sql);
}

#[test]
fn errors_of_redis_are_failures() {
    let comb = Some(Comb { period_s: 23.0, jitter: 0.005, missing: 0.0 });
    let place = Place { hop: 2, part: Part::Server };
    let trouble = Trouble { place, shape: Shape::Errors, width_s: 1.0 };
    let (truth, findings) = found(&Plan { comb, trouble, speech: Speech::Redis, ..plan(4) });
    let [spike] = &findings.spikes[..] else { panic!("one spike, but: {findings:#?}") };
    let top = &spike.hops[0];
    assert_eq!((&top.hop, top.part.as_str()), (&truth.hop, "server"), "{}", spike.sentence);
    assert!(top.failures > 50 && top.share > 0.99, "{top:?}");
}

#[test]
fn failures_that_take_no_time_are_placed_where_they_begin() {
    let comb = Some(Comb { period_s: 23.0, jitter: 0.005, missing: 0.0 });
    let place = Place { hop: 2, part: Part::Server };
    let trouble = Trouble { place, shape: Shape::Errors, width_s: 1.0 };
    let (truth, findings) = found(&Plan { comb, trouble, ..plan(4) });
    let [spike] = &findings.spikes[..] else { panic!("one spike, but: {findings:#?}") };
    let top = &spike.hops[0];
    assert_eq!((&top.hop, top.part.as_str()), (&truth.hop, "server"), "{}", spike.sentence);
    assert!(top.failures > 50 && top.share > 0.99, "{top:?}");
    assert!(spike.sentence.contains("failures begin in shop"), "{}", spike.sentence);
    assert!(spike.causes.is_empty(), "{:#?}", spike.causes);
}

#[test]
fn a_full_listen_queue_is_told_by_the_wait_for_connections() {
    let comb = Some(Comb { period_s: 23.0, jitter: 0.005, missing: 0.0 });
    let place = Place { hop: 2, part: Part::Network };
    let trouble = Trouble { place, shape: Shape::QueueFull, width_s: 1.6 };
    let (truth, findings) = found(&Plan { comb, trouble, cause: Some(Cause::SynAgain), ..plan(5) });
    let [spike] = &findings.spikes[..] else { panic!("one spike, but: {findings:#?}") };
    let top = &spike.hops[0];
    assert_eq!((&top.hop, top.part.as_str()), (&truth.hop, "connect"), "{}", spike.sentence);
    assert!(top.share > 0.95, "{:#?}", spike.hops);
    assert!(spike.sentence.contains("waiting for the connection to shop:8080"), "{}", spike.sentence);
    let cause = &spike.causes[0];
    assert_eq!((cause.kind.as_str(), &cause.subject), ("syn_retransmit", &truth.hop), "{}", cause.claim);
    assert!(cause.claim.contains("sent again to shop:8080"), "{}", cause.claim);
    let given_up: u64 = spike.cycle_table.iter().map(|cycle| cycle.client_closed).sum();
    assert!(given_up > 10, "clients give up: {}", spike.sentence);
}

#[test]
fn bursts_by_chance_are_no_period() {
    let (truth, findings) = found(&Plan { bursts: 5, ..plan(2) });
    assert!(truth.troubled > 20 && truth.onsets_s.is_empty(), "{truth:?}");
    assert!(findings.spikes.is_empty(), "{:#?}", findings.spikes);
    assert!(!findings.unexplained.is_empty(), "the bursts were seen");
}

#[test]
fn the_same_plan_gives_the_same_capture() {
    let plan = Plan { length_s: 30.0, bursts: 1, ..plan(3) };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let hashes = ["a.cap", "b.cap"].map(|name| {
        let directory = folder.path().join(name);
        write(&directory, &plan).expect("a capture");
        let files = Capture::open(&directory).expect("the capture opens").manifest.files;
        files.into_iter().map(|file| file.xxh3).collect::<Vec<_>>()
    });
    assert!(hashes[0].len() >= 6, "{hashes:?}");
    assert_eq!(hashes[0], hashes[1]);
}

#[test]
fn no_picture_of_a_finding_is_empty_and_it_shows_what_the_finding_counts() {
    let mut seen = Vec::new();
    for (seed, hop, part, shape) in [
        (51, 1, Part::Server, Shape::GiveUp),
        (52, 2, Part::Network, Shape::GiveUp),
        (53, 2, Part::Server, Shape::Errors),
        (54, 1, Part::Network, Shape::Freeze),
        (55, 2, Part::Server, Shape::Slow),
        (56, 2, Part::Network, Shape::QueueFull),
    ] {
        let trouble = Trouble { place: Place { hop, part }, shape, width_s: 1.0 };
        let comb = Some(Comb { period_s: 23.0, jitter: 0.005, missing: 0.1 });
        let folder = tempfile::tempdir().expect("a temporary folder");
        let directory = folder.path().join("made.cap");
        write(&directory, &Plan { comb, trouble, ..plan(seed) }).expect("a capture");
        let (wrong, pictures) = wrong_pictures(&directory, Options::default().min_period_ns);
        assert!(wrong.is_empty(), "{shape:?} at hop {hop}: {wrong:#?}");
        seen.push((shape, pictures));
    }
    assert!(seen.iter().all(|&(_, pictures)| pictures >= 1), "{seen:?}");
}
