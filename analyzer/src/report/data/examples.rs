//! Requests that the page carries itself, so that a click on a cell of a picture shows who is in it.
//!
//! Of each cell a few are kept, those whose ids have the smallest checksums: the same capture gives the same page, in whatever
//! order its spans are read.

use std::collections::BTreeMap;

use datafusion::arrow::array::{Array, RecordBatch, StringViewArray};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::error::Result;
use crate::tables::columns::texts;
use crate::tables::outcome::Outcome;

/// Requests of one cell that are kept.
pub const PER_CELL: usize = 4;
/// Requests of one picture that are kept: those that took longest where there are more.
const MOST: usize = 1_500;

/// The columns of `spans` that an example has, beside when it began and what it took.
pub const COLUMNS: &str = "trace_id, operation, target, src_addr, process, outcome";

/// A request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Example {
    /// Begin, ns since 1970.
    pub start_ns: i64,
    /// Duration, ns.
    pub duration_ns: i64,
    /// How it ended.
    pub outcome: Outcome,
    /// What was asked for.
    pub what: String,
    /// Who asked.
    pub peer: String,
    /// Which process's span it is.
    pub process: String,
    /// Its trace.
    pub trace_id: String,
}

/// The texts of a batch of `spans`.
pub struct Texts {
    trace_id: StringViewArray,
    operation: StringViewArray,
    target: StringViewArray,
    src_addr: StringViewArray,
    process: StringViewArray,
}

impl Texts {
    /// Of a batch with [`COLUMNS`].
    pub fn of(batch: &RecordBatch) -> Result<Texts> {
        Ok(Texts {
            trace_id: texts(batch, "trace_id")?,
            operation: texts(batch, "operation")?,
            target: texts(batch, "target")?,
            src_addr: texts(batch, "src_addr")?,
            process: texts(batch, "process")?,
        })
    }

    fn example(&self, row: usize, request: Request) -> Example {
        let text = |column: &StringViewArray| {
            if column.is_valid(row) { column.value(row).to_owned() } else { String::new() }
        };
        let what = format!("{} {}", text(&self.operation), text(&self.target));
        Example {
            start_ns: request.start_ns,
            duration_ns: request.duration_ns,
            outcome: request.outcome,
            what: what.trim().to_owned(),
            peer: text(&self.src_addr),
            process: text(&self.process),
            trace_id: text(&self.trace_id),
        }
    }
}

/// A request as far as it is known before its texts are read.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Begin, ns since 1970.
    pub start_ns: i64,
    /// Duration, ns.
    pub duration_ns: i64,
    /// How it ended.
    pub outcome: Outcome,
}

/// Examples by cell.
#[derive(Clone, Debug, Default)]
pub struct Examples {
    cells: BTreeMap<u32, Vec<(u64, Example)>>,
}

impl Examples {
    /// Keeps a request of a cell, if it is one of the few.
    pub fn add(&mut self, cell: usize, request: Request, texts: &Texts, row: usize) {
        let kept = self.cells.entry(cell as u32).or_default();
        let seed = request.start_ns as u64 ^ (request.duration_ns as u64).rotate_left(32);
        let rank = xxh3_64_with_seed(texts.trace_id.value(row).as_bytes(), seed);
        let place = kept.partition_point(|(other, _)| *other < rank);
        if place < PER_CELL {
            kept.insert(place, (rank, texts.example(row, request)));
            kept.truncate(PER_CELL);
        }
    }

    /// Those that are shown, by begin.
    pub fn list(self) -> Vec<Example> {
        let mut all: Vec<Example> = self.cells.into_values().flatten().map(|(_, example)| example).collect();
        all.sort_by_key(|example| std::cmp::Reverse(example.duration_ns));
        all.truncate(MOST);
        all.sort_by(|a, b| (a.start_ns, &a.trace_id).cmp(&(b.start_ns, &b.trace_id)));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(count: usize) -> Texts {
        let column = |of: &str| (0..count).map(|row| Some(format!("{of}{row}"))).collect::<StringViewArray>();
        Texts {
            trace_id: column("trace"),
            operation: column("GET"),
            target: (0..count).map(|_| None::<&str>).collect(),
            src_addr: column("10.0.0."),
            process: column("shop"),
        }
    }

    #[test]
    fn the_same_few_are_kept_in_whatever_order_they_come() {
        let texts = texts(50);
        let request = |row: usize| Request { start_ns: row as i64, duration_ns: 5, outcome: Outcome::Ok };
        let kept = |rows: &mut dyn Iterator<Item = usize>| {
            let mut examples = Examples::default();
            rows.for_each(|row| examples.add(row % 2, request(row), &texts, row));
            examples.list()
        };
        let forward = kept(&mut (0..50));
        assert_eq!(forward, kept(&mut (0..50).rev()));
        assert_eq!(forward.len(), 2 * PER_CELL);
        assert_eq!(forward[0].what, format!("GET{}", forward[0].start_ns));
    }

    #[test]
    fn of_too_many_the_longest_are_kept() {
        let texts = texts(1);
        let mut examples = Examples::default();
        for cell in 0..MOST + 10 {
            let request = Request { start_ns: 0, duration_ns: cell as i64, outcome: Outcome::Ok };
            examples.add(cell, request, &texts, 0);
        }
        let list = examples.list();
        assert_eq!((list.len(), list.iter().map(|example| example.duration_ns).min()), (MOST, Some(10)));
    }
}
