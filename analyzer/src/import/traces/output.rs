//! Rows in, a capture directory out.

use std::path::Path;

use arrow::array::RecordBatch;
use retrospan_formats::error::CaptureError;
use retrospan_formats::manifest::{self, Manifest};
use retrospan_formats::rows::batch;
use retrospan_formats::table::Table;
use retrospan_formats::tables::{self, ClockRow, LossRow};
use retrospan_formats::writer::CaptureWriter;

use crate::error::{Error, Result};
use crate::import::begin::{Begin, cut_behind, manifest};

/// Rows of a part at most.
const PART_ROWS: usize = 1_000_000;

/// A capture that is written. Its clock is that of the spans: boot time is wall time.
pub struct Output {
    writer: CaptureWriter,
    part_rows: usize,
}

impl Output {
    /// Makes the directory.
    pub fn create(directory: &Path, begin: Begin) -> Result<Output> {
        Ok(Output {
            writer: CaptureWriter::create(directory, manifest(Manifest::TRACES, begin))?,
            part_rows: 0,
        })
    }

    /// Writes rows.
    pub fn append(&mut self, table: &'static Table, rows: &RecordBatch) -> Result<()> {
        self.writer.append(table, rows)?;
        self.part_rows += rows.num_rows();
        if self.part_rows >= PART_ROWS {
            self.part_rows = 0;
            // Files need not be in the order of time: nothing is whole before the end.
            self.writer.rotate(0, Vec::new())?;
        }
        Ok(())
    }

    /// Completes it. `cut`: a file did not end where it may.
    pub fn finish(mut self, (from_ns, until_ns): (i64, i64), cut: bool) -> Result<Manifest> {
        let mut losses = Vec::new();
        if cut {
            let (row, loss) = cut_behind(until_ns);
            self.writer.append(&tables::LOSS, &batch::<LossRow>([row]).map_err(failed)?)?;
            losses.push(loss);
        }
        let clock = [from_ns, until_ns].map(|ns| ClockRow { boot_ns: ns, wall_ns: ns });
        self.writer.append(&tables::CLOCK, &batch::<ClockRow>(clock).map_err(failed)?)?;
        self.writer.began(from_ns, from_ns);
        self.writer.rotate(until_ns, losses)?;
        Ok(self.writer.complete(manifest::Cost::default())?)
    }
}

fn failed(error: arrow::error::ArrowError) -> Error {
    Error::Capture(CaptureError::Table { path: tables::CLOCK.name.into(), reason: error.to_string() })
}
