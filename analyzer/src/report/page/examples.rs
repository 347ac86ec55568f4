//! The examples of all pictures as data in the page: what a click on a cell reads.
//!
//! JSON in a script element that is never run. Texts of strangers are shown as text by the script of the page.

use std::collections::HashMap;

use serde::Serialize;

use crate::report::data::examples::Example;
use crate::report::data::{PHASE_BEFORE, Report};
use crate::report::draw::markup::Markup;
use crate::text::escape_controls;

/// Everything that the script needs to know.
#[derive(Serialize)]
struct Data<'a> {
    /// The capture, as a command names it.
    capture: &'a str,
    /// The recording host's offset from UTC, ms.
    utc_offset_ms: f64,
    /// Texts that requests refer to.
    texts: Vec<String>,
    /// By name of a picture.
    sets: HashMap<String, Set>,
}

/// Begin (ms since 1970), duration (ns), outcome, what, peer, process (places in `texts`), trace id.
type Row = (f64, i64, usize, usize, usize, usize, String);

#[derive(Serialize)]
struct Set {
    /// First tooth (ms since 1970), period (ms) and the share of a period before the tooth; of a fold.
    #[serde(skip_serializing_if = "Option::is_none")]
    fold: Option<[f64; 3]>,
    requests: Vec<Row>,
}

/// Writes them, of the series that are shown (by place) and of every fold.
pub fn write(page: &mut Markup, report: &Report, shown: &[usize]) {
    let mut texts = Texts::default();
    let mut sets = HashMap::new();
    for &place in shown {
        let series = &report.timeline.series[place];
        if let Some(name) = report.series_examples(series) {
            sets.insert(name, Set { fold: None, requests: texts.requests(&series.examples) });
        }
    }
    for (place, fold) in report.folds.iter().enumerate() {
        let of_fold = [fold.first_tooth_ns as f64 / 1e6, fold.period_ns / 1e6, PHASE_BEFORE];
        let requests = texts.requests(&fold.examples);
        sets.insert(Report::fold_examples(place), Set { fold: Some(of_fold), requests });
    }
    let data = Data {
        capture: &report.name,
        utc_offset_ms: 1e3 * f64::from(report.utc_offset_s),
        texts: texts.list,
        sets,
    };
    page.data("examples", &data);
}

/// Texts by place.
#[derive(Default)]
struct Texts {
    list: Vec<String>,
    places: HashMap<String, usize>,
}

impl Texts {
    fn place(&mut self, text: &str) -> usize {
        if let Some(&place) = self.places.get(text) {
            return place;
        }
        self.list.push(escape_controls(text));
        self.places.insert(text.to_owned(), self.list.len() - 1);
        self.list.len() - 1
    }

    fn requests(&mut self, examples: &[Example]) -> Vec<Row> {
        let request = |example: &Example| {
            (
                example.start_ns as f64 / 1e6,
                example.duration_ns,
                self.place(example.outcome.name()),
                self.place(&example.what),
                self.place(&example.peer),
                self.place(&example.process),
                example.trace_id.clone(),
            )
        };
        examples.iter().map(request).collect()
    }
}
