//! Evidence for causes: which of it is wanted, and the rows of `tcp`, `sched` and `execs` in the making.

use retrospan_formats::table::Table;
use retrospan_formats::tables;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;

use crate::rows::evidence::{self as rows, ExecRow, SchedRow, TcpRow};

/// Rows of a full batch.
const BATCH_ROWS: usize = 8192;

/// Which evidence is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Retransmits, resets and round-trip times.
    pub tcp: bool,
    /// Waits of threads, stopped processes and throttled cgroups.
    pub sched: bool,
    /// CPU time by process.
    pub usage: bool,
    /// Programs started.
    pub execs: bool,
}

impl Evidence {
    /// None of it.
    pub const NONE: Evidence = Evidence { tcp: false, sched: false, usage: false, execs: false };
    /// All of it.
    pub const ALL: Evidence = Evidence { tcp: true, sched: true, usage: true, execs: true };

    /// A list such as `tcp,sched`, or `none`.
    pub fn parse(text: &str) -> Result<Evidence, String> {
        if text == "none" {
            return Ok(Evidence::NONE);
        }
        let mut evidence = Evidence::NONE;
        for word in text.split(',') {
            match word.trim() {
                "tcp" => evidence.tcp = true,
                "sched" => evidence.sched = true,
                "usage" => evidence.usage = true,
                "execs" => evidence.execs = true,
                other => {
                    return Err(format!("{other:?} is none of tcp, sched, usage, execs; or say none alone"));
                }
            }
        }
        Ok(evidence)
    }

    /// The words of the list.
    pub fn names(self) -> Vec<&'static str> {
        let all = [(self.tcp, "tcp"), (self.sched, "sched"), (self.usage, "usage"), (self.execs, "execs")];
        all.into_iter().filter(|(on, _)| *on).map(|(_, name)| name).collect()
    }

    /// What is left without `other`.
    pub fn without(self, other: Evidence) -> Evidence {
        Evidence {
            tcp: self.tcp && !other.tcp,
            sched: self.sched && !other.sched,
            usage: self.usage && !other.usage,
            execs: self.execs && !other.execs,
        }
    }
}

/// Rows that wait to be written.
#[derive(Debug, Default)]
pub struct EvidenceRows {
    tcp: Vec<TcpRow>,
    sched: Vec<SchedRow>,
    execs: Vec<ExecRow>,
}

impl EvidenceRows {
    /// Adds a row of `tcp`; rows come in order.
    pub fn tcp(&mut self, row: TcpRow) {
        self.tcp.push(row);
    }

    /// Adds a row of `sched`; rows come in order.
    pub fn sched(&mut self, row: SchedRow) {
        self.sched.push(row);
    }

    /// Adds a row of `execs`. They come as processes do, which late is as good as never, so that they are sorted
    /// when the part ends.
    pub fn exec(&mut self, row: ExecRow) {
        self.execs.push(row);
    }

    /// Batches that are full.
    pub fn take_full(&mut self) -> Result<Vec<(&'static Table, RecordBatch)>, ArrowError> {
        if self.tcp.len() < BATCH_ROWS && self.sched.len() < BATCH_ROWS {
            return Ok(Vec::new());
        }
        self.take_sorted()
    }

    fn take_sorted(&mut self) -> Result<Vec<(&'static Table, RecordBatch)>, ArrowError> {
        let (tcp, sched) = (std::mem::take(&mut self.tcp), std::mem::take(&mut self.sched));
        Ok(vec![(&tables::TCP, rows::tcp(&tcp)?), (&tables::SCHED, rows::sched(&sched)?)])
    }

    /// Everything, at the end of a part.
    pub fn take_all(&mut self) -> Result<Vec<(&'static Table, RecordBatch)>, ArrowError> {
        let mut execs = std::mem::take(&mut self.execs);
        execs.sort_by_key(|row| (row.boot_ns, row.cpu, row.seq));
        let mut batches = self.take_sorted()?;
        batches.push((&tables::EXECS, rows::execs(&execs)?));
        Ok(batches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_what_is_wanted() {
        assert_eq!(Evidence::parse("tcp,sched,usage,execs"), Ok(Evidence::ALL));
        assert_eq!(Evidence::parse("none"), Ok(Evidence::NONE));
        assert_eq!(Evidence::parse("usage, tcp").unwrap().names(), ["tcp", "usage"]);
        for wrong in ["", "none,tcp", "net", "tcp,"] {
            assert!(Evidence::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_left() {
        let tcp = Evidence { tcp: true, ..Evidence::NONE };
        assert_eq!(Evidence::ALL.without(tcp).names(), ["sched", "usage", "execs"]);
        assert_eq!(Evidence::NONE.without(tcp), Evidence::NONE);
    }
}
