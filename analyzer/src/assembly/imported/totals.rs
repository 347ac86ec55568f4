//! One row a trace, counted while the rows of its spans are written.

use std::collections::BTreeSet;

use crate::assembly::hex;
use crate::assembly::imported::ends::{Name, Names};
use crate::assembly::imported::family::{Family, NONE};
use crate::tables::TraceRow;
use crate::tables::dimensions::Dimensions;
use crate::tables::outcome::Outcome;

/// Most services that a row lists.
const MAX_SERVICES: usize = 64;

/// What is told of the first span of each trace, and how its spans ended.
#[derive(Debug)]
pub struct Totals {
    /// By the place of a span: the first one without a recorded parent of its trace has a number.
    roots: Vec<u32>,
    told: Vec<Root>,
    failed: Vec<bool>,
    names: Names,
}

/// What the row says of the root.
#[derive(Clone, Debug, Default)]
struct Root {
    name: Name,
    path: Option<Box<str>>,
    status: Option<i32>,
    outcome: Outcome,
}

/// What is told of a span.
pub struct Ended<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its path.
    pub path: Option<&'a str>,
    /// Its status.
    pub status: Option<i32>,
    /// How it ended.
    pub outcome: Outcome,
}

impl Totals {
    /// Nothing is told yet.
    pub fn new(family: &Family) -> Totals {
        let mut totals = Totals {
            roots: vec![NONE; family.nodes.len()],
            told: Vec::new(),
            failed: vec![false; family.nodes.len()],
            names: Names::default(),
        };
        for spans in traces(family) {
            totals.roots[root(spans, family)] = totals.told.len() as u32;
            totals.told.push(Root::default());
        }
        totals
    }

    /// Takes note of how a span ended.
    pub fn ended(&mut self, place: usize, ended: &Ended<'_>) {
        self.failed[place] = ended.outcome != Outcome::Ok;
        if let Some(told) = self.told.get_mut(self.roots[place] as usize) {
            *told = Root {
                name: self.names.number(Some(ended.name)),
                path: ended.path.map(Box::from),
                status: ended.status,
                outcome: ended.outcome,
            };
        }
    }

    /// Hands out the rows.
    pub fn each<E>(
        &self,
        family: &Family,
        dimensions: &Dimensions,
        mut write: impl FnMut(&TraceRow<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        for spans in traces(family) {
            let place = root(spans, family);
            let (root, told) = (&family.nodes[place], &self.told[self.roots[place] as usize]);
            let all = || spans.iter().map(|&place| (place as usize, &family.nodes[place as usize]));
            let requests = || all().filter(|(_, node)| node.kind.asks() || node.kind.answers());
            let service = |process_id| dimensions.process(process_id).map(|process| &*process.service);
            let services: BTreeSet<&str> = all().filter_map(|(_, node)| service(node.process_id)).collect();
            let services: Vec<&str> = services.into_iter().take(MAX_SERVICES).collect();
            let start_ns = all().map(|(_, node)| node.start_ns).min().unwrap_or_default();
            let end_ns = all().map(|(_, node)| node.end_ns).max().unwrap_or_default();
            write(&TraceRow {
                trace_id: &hex::trace_id(root.trace_id),
                root_span_id: &hex::span_id(root.span_id),
                root_service: service(root.process_id).unwrap_or_default(),
                root_name: self.names.name(told.name).unwrap_or_default(),
                root_path: told.path.as_deref(),
                root_status: told.status,
                root_outcome: told.outcome.name(),
                root_duration_ns: root.duration_ns(),
                start_time: dimensions.clock.wall_ns(start_ns),
                end_time: dimensions.clock.wall_ns(end_ns),
                duration_ns: end_ns - start_ns,
                spans: requests().count() as i64,
                errors: requests().filter(|(place, _)| self.failed[*place]).count() as i64,
                services: &services.join(","),
            })?;
        }
        Ok(())
    }
}

/// The spans of each trace.
fn traces(family: &Family) -> impl Iterator<Item = &[u32]> {
    let trace = |place: &u32| family.nodes[*place as usize].trace_id;
    family.by_id.chunk_by(move |a, b| trace(a) == trace(b))
}

/// The first span without a recorded parent: there is one, for there are no circles.
fn root(spans: &[u32], family: &Family) -> usize {
    let key = |place: &&u32| {
        let node = &family.nodes[**place as usize];
        (family.parents[**place as usize] != NONE, node.start_ns, **place)
    };
    spans.iter().min_by_key(key).map_or(0, |&place| place as usize)
}
