//! Counters of the kernel that have risen, as rows of `counters`.

use retrospan_formats::tables::CounterRow;

use super::Pipeline;
use crate::host::counters::Change;
use crate::rows::{RowsError, Sink};

impl Pipeline {
    /// Takes what has risen in a sample that was made at that time.
    ///
    /// # Errors
    /// Rows did not get to the disk.
    pub fn counters(
        &mut self,
        boot_ns: u64,
        changes: &[Change],
        sink: &mut Sink<'_>,
    ) -> Result<(), RowsError> {
        for change in changes {
            let process_id = change.pid.and_then(|pid| self.processes.id_of(pid));
            // A process that has ended meanwhile is in no row of `processes` that could be found.
            if change.pid.is_some() && process_id.is_none() {
                continue;
            }
            self.evidence.counter(&CounterRow {
                boot_ns: boot_ns as i64,
                interval_ns: change.interval_ns as i64,
                netns: change.netns.map(|netns| netns as i64),
                process_id,
                source: change.source,
                name: &change.name,
                instance: change.instance.as_deref(),
                delta: change.delta as i64,
                value: change.value as i64,
            });
        }
        self.hand_over_evidence(sink)
    }
}
