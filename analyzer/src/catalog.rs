//! A capture as a DataFusion session: every raw table, ready to be asked.
//!
//! `events` gets its computed `time` first; dimensions show the last row of each id, whichever parts it
//! was written in. Derived tables are assembled when a plan first scans one.

use std::num::NonZeroUsize;
use std::sync::Arc;

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampNanosecondType};
use datafusion::catalog::TableProvider;
use datafusion::dataframe::DataFrame;
use datafusion::datasource::ViewTable;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::functions_aggregate::first_last::last_value;
use datafusion::logical_expr::{ColumnarValue, ExprFunctionExt, ScalarUDF, Volatility, create_udf};
use datafusion::prelude::{SessionConfig, SessionContext, cast, col, ident, lit};
use retrospan_formats::manifest;
use retrospan_formats::reader::Capture;
use retrospan_formats::table::Table;
use retrospan_formats::tables;

use crate::assemble::Options;
use crate::derived::{Derived, DerivedTable};
use crate::dimensions;
use crate::error::Result;
use crate::functions::{self, Recording};
use crate::held::Source;
use crate::parts::{PART, Part, PartsTable, sql_schema};
use crate::shift::ShiftConstants;
use crate::tables as derived_tables;

/// Memory given to queries where the system does not say how much is free, bytes.
const DEFAULT_MEMORY_BYTES: usize = 1 << 30;

/// Makes a session in which the capture's tables are registered.
pub fn open(capture: &Capture) -> Result<SessionContext> {
    let context = session()?;
    let clock = dimensions::read(capture)?.clock;
    let offset_ns = clock.offset_ns;
    let recording = Recording {
        begin_ns: clock.wall_ns(capture.manifest.started_boot_ns),
        end_ns: clock.wall_ns(capture.manifest.whole_until_boot_ns),
    };
    for table in tables::ALL {
        let provider = raw_table(&context, capture, table, offset_ns)?;
        context.register_table(table.name, provider)?;
    }
    let derived = Arc::new(Derived::new(capture.clone(), Options::default()));
    for table in derived_tables::ALL {
        context.register_table(table.name, Arc::new(DerivedTable::new(table, derived.clone())))?;
    }
    context.register_udf(wall_time(offset_ns));
    functions::register(&context, capture, recording);
    Ok(context)
}

/// A session without tables: bounded memory with spilling, one partition a core, UTC.
pub fn session() -> Result<SessionContext> {
    let pool = TrackConsumersPool::new(FairSpillPool::new(memory_limit()), NonZeroUsize::MIN);
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(pool)).build_arc()?;
    let mut config = SessionConfig::new().with_information_schema(true);
    let options = config.options_mut();
    options.execution.target_partitions = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    options.execution.time_zone = Some("+00:00".to_owned());
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

/// Plans a query that may only read.
pub async fn plan(context: &SessionContext, query: &str) -> Result<DataFrame> {
    let read_only =
        SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    Ok(context.sql_with_options(query, read_only).await?)
}

/// The SQL function `wall_time(boot_ns)`: boot time to a timestamp, UTC.
fn wall_time(offset_ns: i64) -> ScalarUDF {
    let utc = || DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    let convert = move |arguments: &[ColumnarValue]| {
        let arrays = ColumnarValue::values_to_arrays(arguments)?;
        let boot = arrays[0].as_primitive::<Int64Type>();
        let wall = boot.unary::<_, TimestampNanosecondType>(|ns| ns.saturating_add(offset_ns));
        Ok(ColumnarValue::Array(Arc::new(wall.with_timezone("UTC"))))
    };
    create_udf("wall_time", vec![DataType::Int64], utc(), Volatility::Immutable, Arc::new(convert))
}

fn raw_table(
    context: &SessionContext,
    capture: &Capture,
    table: &'static Table,
    offset_ns: i64,
) -> Result<Arc<dyn TableProvider>> {
    let parts = raw_parts(capture, table);
    // DataFusion takes the declared order for granted, and findings what the times say.
    let asked = capture.clone();
    let check = move || asked.check_times(table);
    if table.name == tables::EVENTS.name {
        let raw = context.read_table(Arc::new(PartsTable::new(table, parts)?.checked(check)))?;
        return with_time(raw, offset_ns);
    }
    match table.key {
        Some(key) if parts.len() > 1 => {
            let raw = context.read_table(Arc::new(PartsTable::numbered(table, parts)?.checked(check)))?;
            latest(raw, table, key)
        }
        _ => Ok(Arc::new(PartsTable::new(table, parts)?.checked(check))),
    }
}

/// The files of a raw table, as the manifest lists them.
fn raw_parts(capture: &Capture, table: &Table) -> Vec<Part> {
    let part = |file: &manifest::File| Part {
        source: Arc::new(Listed { capture: capture.clone(), file: file.clone() }),
        path: capture.directory.join(&file.path),
        number: file.part,
        bytes: file.bytes,
        rows: file.rows,
        range: file.first_boot_ns.zip(file.last_boot_ns),
    };
    capture.files(table.name).into_iter().map(part).collect()
}

/// A file that the manifest lists.
#[derive(Debug)]
struct Listed {
    capture: Capture,
    file: manifest::File,
}

impl Source for Listed {
    fn open(&self) -> std::io::Result<std::fs::File> {
        self.capture.open_file(&self.file)
    }
}

/// Puts `time` before the other columns.
fn with_time(raw: DataFrame, offset_ns: i64) -> Result<Arc<dyn TableProvider>> {
    let utc = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    let mut columns = vec![cast(col("boot_ns") + lit(offset_ns), utc).alias("time")];
    columns.extend(raw.schema().fields().iter().map(|field| ident(field.name())));
    Ok(view(raw.select(columns)?))
}

/// Keeps the last row of each key, by part.
fn latest(raw: DataFrame, table: &Table, key: &str) -> Result<Arc<dyn TableProvider>> {
    let by_part = || vec![ident(PART).sort(true, false)];
    let mut last = Vec::new();
    for column in table.columns.iter().filter(|c| c.name != key) {
        let value = last_value(ident(column.name), by_part());
        last.push(value.order_by(by_part()).build()?.alias(column.name));
    }
    let rows = raw.aggregate(vec![ident(key)], last)?;
    let order: Vec<_> = sql_schema(table).fields().iter().map(|field| ident(field.name())).collect();
    Ok(view(rows.select(order)?))
}

fn view(rows: DataFrame) -> Arc<dyn TableProvider> {
    Arc::new(ViewTable::new(rows.into_unoptimized_plan(), None))
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
        let context = session().unwrap();
        context.register_parquet("t", path.to_str().unwrap(), ParquetReadOptions::default()).await.unwrap();
        let query = "SELECT min(n) AS least, max(n + 1) AS most FROM t";
        let found = plan(&context, query).await.unwrap().collect().await.unwrap();
        let value = |name| found[0].column_by_name(name).unwrap().as_primitive::<Int64Type>().value(0);
        assert_eq!((value("least"), value("most")), (1, 50_001));
    }
}
