//! Between which ends spans lie, and what their rows say.

use retrospan_formats::tables::ImportedSpanRow;
use retrospan_protocols::semconv::Kind;

use super::ends::{Ends, Names};
use super::family::{Family, Node};
use super::links::{Link, Links};

/// A span: its number and its parent's, who made it, what it is, and what it says of its ends.
type Told = (u64, u64, i64, Kind, &'static str);

const CALLS_SHOP: &str = r#"{"server.address":"shop","server.port":80}"#;
const SHOP: &str = r#"{"network.peer.address":"10.0.0.1","server.port":8080}"#;

fn links(spans: &[Told]) -> (Links, Names) {
    let mut names = Names::default();
    let (mut nodes, mut ends) = (Vec::new(), Vec::new());
    for (place, &(span_id, parent_span_id, process_id, kind, attributes)) in spans.iter().enumerate() {
        let start_ns = 10 * place as i64;
        let node =
            Node { trace_id: 1, span_id, parent_span_id, process_id, kind, start_ns, end_ns: start_ns + 5 };
        let row = ImportedSpanRow { attributes, ..ImportedSpanRow::default() };
        ends.push(Ends::of(&row, kind, &mut names));
        nodes.push(node);
    }
    (Links::new(&Family::new(nodes), &ends), names)
}

/// Each pair of ends: its processes, addresses, port, whether it was asked, and its requests by side.
fn list(links: &Links, names: &Names) -> Vec<String> {
    let shown = |link: &Link| {
        let key = &link.key;
        let name = |name| names.name(name).unwrap_or("-");
        let side = if key.asked { "asked" } else { "unasked" };
        let [src, dst] = [key.src, key.dst].map(name);
        format!("{} {src} -> {} {dst}:{} {side} {:?}", key.client, key.server, key.dst_port, link.requests)
    };
    links.list.iter().map(shown).collect()
}

#[test]
fn both_sides_of_a_request_lie_between_the_same_ends() {
    let spans = [
        (1, 0, 7, Kind::Client, CALLS_SHOP),
        (2, 1, 8, Kind::Server, SHOP),
        (3, 2, 8, Kind::Internal, "{}"),
        (4, 1, 7, Kind::Internal, "{}"),
    ];
    let (links, names) = links(&spans);
    // The server's word goes before, and each fills in what the other one lacks.
    assert_eq!(list(&links, &names), ["7 10.0.0.1 -> 8 shop:8080 asked [1, 1]"]);
    let answers: Vec<bool> = links.of_span.iter().map(|place| place.answers).collect();
    assert_eq!(answers, [false, true, true, false], "what is within a process is that side's");
    assert_eq!((links.list[0].id(0), Link::side_id(0, true)), (1, 2));
    assert_eq!((links.list[0].first_ns, links.list[0].last_ns), (0, 15));
}

#[test]
fn who_has_no_span_of_the_other_side_is_called_by_its_address() {
    let (links, names) = links(&[(1, 0, 7, Kind::Client, CALLS_SHOP), (2, 9, 8, Kind::Server, SHOP)]);
    assert_eq!(
        list(&links, &names),
        ["7 - -> 0 shop:80 asked [1, 0]", "0 10.0.0.1 -> 8 -:8080 unasked [0, 1]"]
    );
    assert_eq!((links.list[0].id(0), links.list[1].id(1)), (1, 4));
}

#[test]
fn a_request_has_one_answer_and_others_are_requests_of_their_own() {
    let spans = [
        (1, 0, 7, Kind::Client, "{}"),
        (2, 1, 8, Kind::Server, "{}"),
        (3, 1, 9, Kind::Server, "{}"),
        (4, 2, 8, Kind::Server, "{}"),
        (5, 2, 9, Kind::Internal, "{}"),
    ];
    let (links, names) = links(&spans);
    let want = [
        "7 - -> 8 -:0 asked [1, 1]",
        "7 - -> 9 -:0 unasked [0, 1]",
        "8 - -> 8 -:0 unasked [0, 1]",
        "8 - -> 9 -:0 unasked [0, 1]",
    ];
    let mut found = list(&links, &names);
    found.sort();
    assert_eq!(found, want, "a span in another process, whatever its kind, answers");
}

#[test]
fn a_job_answers_somebody_and_a_message_goes_by_its_broker() {
    let broker = r#"{"messaging.system":"kafka","server.address":"broker","server.port":9092}"#;
    let spans = [
        (1, 0, 7, Kind::Internal, "{}"),
        (2, 1, 7, Kind::Internal, "{}"),
        (3, 2, 7, Kind::Producer, broker),
        (4, 3, 8, Kind::Consumer, broker),
        (5, 77, 8, Kind::Consumer, broker),
    ];
    let (links, names) = links(&spans);
    let mut found = list(&links, &names);
    found.sort();
    let want = [
        "0 - -> 7 -:0 unasked [0, 1]",
        "0 broker -> 8 -:0 unasked [0, 1]",
        "7 - -> 0 broker:9092 asked [1, 0]",
        "7 broker -> 8 -:0 unasked [0, 1]",
    ];
    assert_eq!(found, want);
    assert_eq!(links.of_span[1], links.of_span[0]);
}
