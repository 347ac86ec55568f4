//! Opens the capture that a command names: whole, or with `--salvage` what is left of it.

use std::path::Path;

use retrospan_formats::error::CaptureError;
use retrospan_formats::manifest::Manifest;
use retrospan_formats::reader::{Capture, Hole};

use crate::cli::CaptureArgs;
use crate::error::{Error, Result};
use crate::print::note;
use crate::text::{count, time};

impl CaptureArgs {
    /// Opens it.
    pub fn open(&self) -> Result<Capture> {
        open(&self.path, self.salvage)
    }
}

/// Opens a capture. With `salvage`, files that are damaged are left out, and the user is told which.
pub fn open(path: &Path, salvage: bool) -> Result<Capture> {
    if !salvage {
        return Capture::open(path).map_err(|error| match error {
            CaptureError::Damaged { .. } => Error::Damaged(error),
            other => Error::Capture(other),
        });
    }
    let capture = Capture::salvage(path)?;
    for hole in &capture.holes {
        note(&format!("retrospan: {}", description(hole, &capture.manifest)));
    }
    if !capture.holes.is_empty() {
        note("retrospan: losses are counted for these times: nothing is concluded from what is missing");
    }
    Ok(capture)
}

/// What is gone, in the zone of the recording host. The clock samples may be gone too.
fn description(hole: &Hole, manifest: &Manifest) -> String {
    let file = &hole.file;
    let offset_ns = manifest.started_wall_ns.saturating_sub(manifest.started_boot_ns);
    let at = |boot_ns: i64| time(boot_ns.saturating_add(offset_ns), manifest.host.utc_offset_s, 3);
    format!(
        "{}: left out: {}; gone: {} rows of {}, part {}, from {} to {}",
        file.path,
        hole.error,
        count(file.rows),
        file.table,
        file.part,
        at(hole.from_boot_ns),
        at(hole.to_boot_ns)
    )
}
