//! The statements behind the numbers of the page: each gives the rows that a number was made of.

use crate::findings::groups::quoted;
use crate::findings::{Cycle, Spike};
use crate::report::data::Edge;
use crate::text::time;

/// What of a request is worth a column.
const REQUEST: &str = "start_time, duration_ns, own_ns, kind, process, operation, target, status, status_text, outcome, trace_id";

/// The episodes of a finding's stream and metric: its period, cycles and false-alarm probability are made of their onsets.
pub fn episodes(spike: &Spike) -> String {
    format!(
        "SELECT onset, end_time, requests, affected, excess_s FROM episodes() WHERE stream = {} AND \"by\" = {} AND metric = {} ORDER BY onset",
        quoted(&spike.stream),
        quoted(&spike.by),
        quoted(spike.metric.name())
    )
}

/// All requests of a finding's stream.
pub fn stream(spike: &Spike) -> String {
    format!("SELECT {REQUEST} FROM spans WHERE {} ORDER BY start_time", spike.condition)
}

/// The requests of a hop during a finding's spikes, those with the most time of their own first.
pub fn hop_in_spikes(spike: &Spike, hop: &str) -> String {
    let during: Vec<String> = spike
        .cycle_table
        .iter()
        .filter_map(|cycle| Some(within(cycle.onset_ns?, cycle.end_ns?)))
        .map(|condition| format!("({condition})"))
        .collect();
    let during = if during.is_empty() { "false".to_owned() } else { during.join(" OR ") };
    format!(
        "SELECT {REQUEST} FROM spans WHERE kind <> 'internal' AND {} AND ({during}) ORDER BY own_ns DESC",
        of_hop(hop)
    )
}

/// The requests of a finding's stream that began in one cycle's episode; None where there is none.
pub fn cycle(spike: &Spike, cycle: &Cycle) -> Option<String> {
    let during = within(cycle.onset_ns?, cycle.end_ns?);
    Some(format!(
        "SELECT {REQUEST} FROM spans WHERE {} AND {during} ORDER BY duration_ns DESC",
        spike.condition
    ))
}

/// All requests of an edge of the service map, as one side saw them.
pub fn edge(edge: &Edge) -> String {
    let of_side = if edge.seen_by_client { edge.sides.asking } else { edge.sides.answering };
    format!(
        "SELECT {REQUEST} FROM spans WHERE {of_side} AND {} ORDER BY duration_ns DESC",
        of_hop(&edge.name)
    )
}

fn of_hop(hop: &str) -> String {
    format!("connection_id IN (SELECT connection_id FROM connections WHERE hop = {})", quoted(hop))
}

fn within(from_ns: i64, to_ns: i64) -> String {
    let [from, to] = [from_ns, to_ns].map(|ns| time(ns, 0, 9));
    format!("start_time >= '{from}' AND start_time <= '{to}'")
}
