//! What every capture says that was imported.

use retrospan_formats::manifest::{Host, Imported, Loss, Manifest, State};
use retrospan_formats::table::FORMAT_VERSION;
use retrospan_formats::tables::LossRow;

/// What the manifest says at the begin.
pub struct Begin {
    /// [`crate::import::identity::Identity`] of what is read.
    pub capture_id: String,
    /// Boot time of the begin, ns.
    pub boot_ns: i64,
    /// Wall time of the begin, ns.
    pub wall_ns: i64,
    /// What was asked for.
    pub options: serde_json::Map<String, serde_json::Value>,
    /// What is read.
    pub imported: Imported,
}

/// The manifest as it begins. `probe_set`: what stands for one.
pub fn manifest(probe_set: &str, begin: Begin) -> Manifest {
    let Begin { capture_id, boot_ns, wall_ns, options, imported } = begin;
    Manifest {
        format_version: FORMAT_VERSION,
        capture_id,
        state: State::Recording,
        host: Host::default(),
        options,
        probe_set: probe_set.to_owned(),
        probe_set_reason: None,
        recorder_version: env!("CARGO_PKG_VERSION").to_owned(),
        imported: Some(imported),
        rolled: None,
        frozen: None,
        ended_by: None,
        tls: None,
        started_boot_ns: boot_ns,
        started_wall_ns: wall_ns,
        whole_until_boot_ns: boot_ns,
        files: Vec::new(),
        losses: Vec::new(),
        cost: None,
    }
}

const LOSS_KIND: &str = "record";
const LOSS_CAUSE: &str = "file_cut";

/// What says that a file did not end where it may: as a row, and for the manifest. `until_ns`: boot time of the
/// last thing that was read; nothing before is in doubt.
pub fn cut_behind(until_ns: i64) -> (LossRow<'static>, Loss) {
    let at_ns = until_ns + 1;
    let row = LossRow {
        from_boot_ns: at_ns,
        to_boot_ns: at_ns,
        cpu: 0,
        kind: LOSS_KIND,
        cause: LOSS_CAUSE,
        count: 1,
    };
    (row, Loss { kind: LOSS_KIND.to_owned(), cause: LOSS_CAUSE.to_owned(), count: 1 })
}
