//! What an import of traces has read, in words.

use crate::import::traces::skipped::Skipped;
use crate::text::{count, counted, duration};

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Spans that are in the capture.
    pub spans: u64,
    /// Services that made them.
    pub services: u64,
    /// Begin of the first and end of the last one, ns since 1970 UTC.
    pub range_ns: Option<(i64, i64)>,
    /// Spans that came again.
    pub repeated: u64,
    /// Attributes that were not kept.
    pub left_out: u64,
    /// What is not in the capture, by reason.
    skipped: [u64; Skipped::ALL.len()],
}

impl Summary {
    /// Counts what is not in the capture.
    pub fn skipped(&mut self, why: Skipped, many: u64) {
        self.skipped[why as usize] += many;
    }

    /// How much is not, for this reason.
    pub fn of(&self, why: Skipped) -> u64 {
        self.skipped[why as usize]
    }

    /// In one line.
    pub fn text(&self) -> String {
        let length_ns = self.range_ns.map_or(0, |(from, to)| to - from);
        let mut text = format!(
            "imported {} of {}, over {}",
            counted(self.spans, "span"),
            counted(self.services, "service"),
            duration(length_ns)
        );
        if self.repeated > 0 {
            text.push_str(&format!(", {} dropped", counted(self.repeated, "repeated span")));
        }
        if self.left_out > 0 {
            let attributes = counted(self.left_out, "attribute");
            text.push_str(&format!(", {attributes} left out (--payload full keeps all)"));
        }
        let skipped = self.reasons();
        if !skipped.is_empty() {
            text.push_str(&format!("; not understood: {skipped}"));
        }
        text
    }

    /// What is not in the capture and why; empty where that is nothing.
    pub fn reasons(&self) -> String {
        let known = Skipped::ALL.into_iter().filter(|why| self.of(*why) > 0);
        let words: Vec<String> = known.map(|why| format!("{} {}", count(self.of(why)), why.text())).collect();
        words.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_there_was_is_said() {
        let mut summary =
            Summary { spans: 1200, services: 1, range_ns: Some((1, 2_000_000_001)), ..Summary::default() };
        assert_eq!(summary.text(), "imported 1 200 spans of 1 service, over 2.00 s");
        summary.repeated = 1;
        summary.left_out = 2;
        summary.skipped(Skipped::Broken, 1);
        summary.skipped(Skipped::NoId, 3);
        assert!(
            summary.text().ends_with(
                ", 1 repeated span dropped, 2 attributes left out (--payload full keeps all); not understood: \
                 3 spans without ids, 1 broken documents"
            ),
            "{}",
            summary.text()
        );
    }
}
