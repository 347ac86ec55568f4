//! `manifest.json` as it may come from anywhere: read within bounds, and checked before anything is believed.

use std::collections::HashSet;
use std::io::{self, Read};
use std::path::{Component, Path};

use super::not_a_capture;
use crate::directory::Directory;
use crate::error::{CaptureError, io};
use crate::manifest::{self, MANIFEST, Manifest};
use crate::table::{FORMAT_VERSION, MOST_NS};

/// The largest manifest that is read.
const MOST_MANIFEST_BYTES: u64 = 64 << 20;
/// No recording is longer: 400 days.
const LONGEST_NS: i64 = 400 * 24 * 3600 * 1_000_000_000;

/// The bytes of the manifest; sizes are looked at before anything is read.
pub(super) fn read(directory: &Directory) -> Result<Vec<u8>, CaptureError> {
    let path = directory.path().join(MANIFEST);
    let bad = |reason: String| CaptureError::BadManifest { path: path.clone(), reason };
    let file = match directory.open_file(Path::new(MANIFEST)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(not_a_capture(directory.path(), "it has no manifest.json"));
        }
        Err(e) if e.kind() == io::ErrorKind::Other => return Err(bad(e.to_string())),
        other => other.map_err(io(&path))?,
    };
    let mut text = Vec::new();
    file.take(MOST_MANIFEST_BYTES + 1).read_to_end(&mut text).map_err(io(&path))?;
    if text.len() as u64 > MOST_MANIFEST_BYTES {
        return Err(bad(format!("it has more than {MOST_MANIFEST_BYTES} bytes")));
    }
    Ok(text)
}

pub(super) fn parse(directory: &Path, text: &[u8]) -> Result<Manifest, CaptureError> {
    let path = directory.join(MANIFEST);
    let bad = |reason: String| CaptureError::BadManifest { path: path.clone(), reason };
    let value: serde_json::Value = serde_json::from_slice(text).map_err(|e| bad(e.to_string()))?;
    let Some(version) = value.get("format_version").and_then(serde_json::Value::as_u64) else {
        return Err(bad("it has no format_version".to_owned()));
    };
    if version == 0 || version > u64::from(FORMAT_VERSION) {
        return Err(CaptureError::Version { path, found: version, known: FORMAT_VERSION });
    }
    if !manifest::is_intact(text) {
        return Err(bad("it is not what was written (xxh3 differs)".to_owned()));
    }
    let manifest: Manifest = serde_json::from_value(value).map_err(|e| bad(e.to_string()))?;
    let times = [manifest.started_boot_ns, manifest.whole_until_boot_ns];
    let length_ns = manifest.whole_until_boot_ns.saturating_sub(manifest.started_boot_ns);
    if times.iter().any(|ns| !(0..=MOST_NS).contains(ns)) || length_ns > LONGEST_NS {
        return Err(bad(format!("it is not from {} to {} ns", times[0], times[1])));
    }
    if !(-MOST_NS..=MOST_NS).contains(&manifest.started_wall_ns) {
        return Err(bad(format!("it did not begin at {} ns", manifest.started_wall_ns)));
    }
    let mut paths = HashSet::new();
    for file in &manifest.files {
        if !stays_inside(&file.path) {
            return Err(bad(format!("{:?} leaves the capture", file.path)));
        }
        if !paths.insert(Path::new(&file.path)) {
            return Err(bad(format!("{:?} is listed twice", file.path)));
        }
    }
    Ok(manifest)
}

/// A manifest may come from anywhere: its paths must not.
fn stays_inside(path: &str) -> bool {
    Path::new(path).components().all(|c| matches!(c, Component::Normal(_)))
}
