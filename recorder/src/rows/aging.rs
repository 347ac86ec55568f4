//! Which files of a capture are put together, so that an hour is dozens of files and not thousands.
//!
//! Parts are short because a kill loses the last one. When they are old they become larger ones: eight neighbours of one
//! size become one of the next size, as digits carry, so that a row is written three times in an hour at most. Files of
//! [`GROWN_ROWS`] stay as they are.

use retrospan_formats::manifest::{File, Manifest};
use retrospan_formats::table::{GROWN_ROWS, Table};
use retrospan_formats::tables;

/// Files of one size that become one of the next.
const CARRY: usize = 8;

/// Neighbouring files of a table that are to become one, in order of their parts.
pub type Run = (&'static Table, Vec<File>);

/// What to put together next while recording, of files of `most_parts` parts at most; `None` where nothing is due.
pub fn due(manifest: &Manifest, most_parts: u64) -> Option<Run> {
    tables::ALL.into_iter().find_map(|table| {
        let files = files(manifest, table);
        let alike = |run: &[&File]| size(run[0]).is_some() && run.iter().all(|f| size(f) == size(run[0]));
        // Rows of a table with a key are let go of one by one.
        let small = |run: &[&File]| table.key.is_some() || parts(run[0]) * CARRY as u64 <= most_parts;
        let first = files.windows(CARRY).position(|run| small(run) && alike(run))?;
        Some((table, files[first..first + CARRY].iter().map(|&f| f.clone()).collect()))
    })
}

/// What to put together at a clean end: all files of a table with a key, so that each id has one row, and of others what is small.
pub fn rest(manifest: &Manifest) -> Vec<Run> {
    let mut runs = Vec::new();
    for table in tables::ALL {
        let mut run: Vec<File> = Vec::new();
        for file in files(manifest, table) {
            let rows = run.iter().map(|f| f.rows).sum::<u64>();
            if table.key.is_none() && rows.max(file.rows) >= GROWN_ROWS {
                runs.push((table, std::mem::take(&mut run)));
            }
            run.push(file.clone());
        }
        runs.push((table, run));
    }
    runs.retain(|(_, run)| run.len() > 1);
    runs
}

/// How many parts it holds, in powers of [`CARRY`]; `None` where it is large enough.
fn size(file: &File) -> Option<u32> {
    (file.rows < GROWN_ROWS).then(|| parts(file).ilog(CARRY as u64))
}

fn parts(file: &File) -> u64 {
    u64::from(file.part - file.first_part()) + 1
}

fn files<'a>(manifest: &'a Manifest, table: &Table) -> Vec<&'a File> {
    let mut files: Vec<_> = manifest.files.iter().filter(|f| f.table == table.name).collect();
    files.sort_by_key(|f| f.part);
    files
}

#[cfg(test)]
mod tests;
