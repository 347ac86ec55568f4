//! Sessions of DataFusion with bounded memory, and plans that may only read.

use std::num::NonZeroUsize;
use std::sync::Arc;

use datafusion::dataframe::DataFrame;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::error::Result;
use crate::sql::literals;
use crate::sql::time_filter_rule::ShiftConstants;
use crate::sql::zone::Zone;

/// Memory given to queries where the system does not say how much is free, bytes.
const DEFAULT_MEMORY_BYTES: usize = 1 << 30;

/// A session without tables in UTC.
pub fn empty() -> Result<SessionContext> {
    empty_in(Zone::default())
}

/// A session without tables: bounded memory with spilling, one partition a core, times in that zone.
pub fn empty_in(zone: Zone) -> Result<SessionContext> {
    let pool = TrackConsumersPool::new(FairSpillPool::new(memory_limit()), NonZeroUsize::MIN);
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(pool)).build_arc()?;
    let mut config = SessionConfig::new().with_information_schema(true).with_extension(Arc::new(zone));
    let options = config.options_mut();
    options.execution.target_partitions = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    options.execution.time_zone = Some(crate::text::zone(zone.offset_s));
    // Errors tell the line and column.
    options.sql_parser.collect_spans = true;
    // Few rows of the widest columns are wanted of most scans: read them after the filters are known.
    options.execution.parquet.pushdown_filters = true;
    // With it a query of the smallest value of a column and the largest of an expression leaves out rows that it should not
    // (DataFusion 55.2, its issue 24816): the filter made of the one is taken for both.
    options.optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    options.explain.logical_plan_only = false;
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_default_features()
        .with_optimizer_rule(Arc::new(ShiftConstants))
        .build();
    Ok(SessionContext::new_with_state(state))
}

/// Plans a query that may only read; texts in it mean what [`literals`] says.
pub async fn plan(context: &SessionContext, query: &str) -> Result<DataFrame> {
    let read_only =
        SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    let plan = context.state().create_logical_plan(query).await?;
    read_only.verify_plan(&plan)?;
    let plan = literals::resolve(plan, literals::of_session(context))?;
    Ok(context.execute_logical_plan(plan).await?)
}

/// Half of what is available now, so that a query spills before the machine swaps; a quarter of the address space where that is limited.
fn memory_limit() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let addresses = limits.lines().find_map(|line| line.strip_prefix("Max address space"));
    let addresses = addresses.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    addresses.map_or(usize::MAX, |bytes| bytes / 4).min(half_of_available())
}

fn half_of_available() -> usize {
    let available = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        line.trim().trim_end_matches("kB").trim().parse::<usize>().ok()
    });
    available.map_or(DEFAULT_MEMORY_BYTES, |kib| (kib / 2).saturating_mul(1024).max(256 << 20))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use datafusion::arrow::array::{AsArray, Int64Array, RecordBatch};
    use datafusion::arrow::datatypes::Int64Type;
    use datafusion::parquet::arrow::ArrowWriter;
    use datafusion::prelude::ParquetReadOptions;

    use super::*;

    #[tokio::test]
    async fn the_ends_of_two_expressions_are_those_of_all_rows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.parquet");
        let rows = Arc::new(Int64Array::from_iter_values(1..=50_000));
        let batch = RecordBatch::try_from_iter([("n", rows as _)]).unwrap();
        let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let context = empty().unwrap();
        context.register_parquet("t", path.to_str().unwrap(), ParquetReadOptions::default()).await.unwrap();
        let query = "SELECT min(n) AS least, max(n + 1) AS most FROM t";
        let found = plan(&context, query).await.unwrap().collect().await.unwrap();
        let value = |name| found[0].column_by_name(name).unwrap().as_primitive::<Int64Type>().value(0);
        assert_eq!((value("least"), value("most")), (1, 50_001));
    }
}
