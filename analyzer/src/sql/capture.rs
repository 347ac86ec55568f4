//! The tables of a capture, registered in a session.
//!
//! `events` gets its computed `time` first and `processes` its `name` last; dimensions show the last row of each id, whichever parts it
//! was written in. `loss` has a row for each hole of a salvaged capture. Derived tables are assembled when a plan first scans one.

use std::sync::Arc;

use datafusion::arrow::array::{AsArray, StringViewArray};
use datafusion::arrow::datatypes::{DataType, Int64Type, TimestampNanosecondType};
use datafusion::catalog::TableProvider;
use datafusion::dataframe::DataFrame;
use datafusion::datasource::ViewTable;
use datafusion::error::DataFusionError;
use datafusion::functions_aggregate::first_last::last_value;
use datafusion::logical_expr::{ColumnarValue, ExprFunctionExt, ScalarUDF, Volatility, create_udf};
use datafusion::prelude::{SessionContext, cast, col, ident, lit};
use retrospan_formats::manifest;
use retrospan_formats::reader::Capture;
use retrospan_formats::table::Table;
use retrospan_formats::tables;

use crate::assembly::Options;
use crate::error::Result;
use crate::sql::derived::{Derived, DerivedTable, for_sql};
use crate::sql::held::Source;
use crate::sql::parquet_table::{PART, Part, PartsTable, sql_schema};
use crate::sql::zone::Zone;
use crate::tables as derived_tables;
use crate::tables::dimensions::LazyProcesses;
use crate::tables::names::Given;

/// Registers the raw and derived tables, and `wall_time`. `offset_ns`: wall time minus boot time. Nothing but that is read
/// before a statement names it. `options`: how spans are made.
pub fn register(
    context: &SessionContext,
    capture: &Capture,
    names: Given,
    (offset_ns, zone): (i64, Zone),
    options: Options,
) -> Result<()> {
    let processes = Arc::new(LazyProcesses::new(capture.clone(), names.clone()));
    for table in tables::ALL {
        let mut provider = raw_table(context, capture, table, (offset_ns, zone))?;
        if table.name == tables::PROCESSES.name {
            provider = with_name(context.read_table(provider)?, &processes)?;
        }
        context.register_table(table.name, provider)?;
    }
    let derived = Arc::new(Derived::new(capture.clone(), options, names, zone));
    for table in derived_tables::ALL {
        context.register_table(table.name, Arc::new(DerivedTable::new(table, derived.clone())))?;
    }
    context.register_udf(wall_time(offset_ns, zone));
    Ok(())
}

/// The SQL function `wall_time(boot_ns)`: boot time to a timestamp in that zone.
pub(super) fn wall_time(offset_ns: i64, zone: Zone) -> ScalarUDF {
    let convert = move |arguments: &[ColumnarValue]| {
        let arrays = ColumnarValue::values_to_arrays(arguments)?;
        let boot = arrays[0].as_primitive::<Int64Type>();
        let wall = boot.unary::<_, TimestampNanosecondType>(|ns| ns.saturating_add(offset_ns));
        Ok(ColumnarValue::Array(Arc::new(wall.with_timezone(zone.name()))))
    };
    create_udf("wall_time", vec![DataType::Int64], zone.time_type(), Volatility::Immutable, Arc::new(convert))
}

fn raw_table(
    context: &SessionContext,
    capture: &Capture,
    table: &'static Table,
    (offset_ns, zone): (i64, Zone),
) -> Result<Arc<dyn TableProvider>> {
    let parts = raw_parts(capture, table);
    // DataFusion takes the declared order for granted, and findings what the times say.
    let asked = capture.clone();
    let check = move || asked.check_times(table);
    if table.name == tables::EVENTS.name {
        let raw = context.read_table(Arc::new(PartsTable::new(table, parts, zone)?.checked(check)))?;
        return with_time(raw, offset_ns, zone);
    }
    if table.name == tables::LOSS.name
        && let Some(holes) = capture.lost_in_holes()
    {
        let stored = context.read_table(Arc::new(PartsTable::new(table, parts, zone)?.checked(check)))?;
        let holes = for_sql(table, &holes?, zone).map_err(DataFusionError::from)?;
        return Ok(view(stored.union(context.read_batch(holes)?)?));
    }
    match table.key {
        Some(key) if parts.len() > 1 => {
            let raw =
                context.read_table(Arc::new(PartsTable::numbered(table, parts, zone)?.checked(check)))?;
            latest(raw, table, key, zone)
        }
        _ => Ok(Arc::new(PartsTable::new(table, parts, zone)?.checked(check))),
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
fn with_time(raw: DataFrame, offset_ns: i64, zone: Zone) -> Result<Arc<dyn TableProvider>> {
    let mut columns = vec![cast(col("boot_ns") + lit(offset_ns), zone.time_type()).alias("time")];
    columns.extend(raw.schema().fields().iter().map(|field| ident(field.name())));
    Ok(view(raw.select(columns)?))
}

/// Puts `name` behind the other columns.
fn with_name(raw: DataFrame, processes: &Arc<LazyProcesses>) -> Result<Arc<dyn TableProvider>> {
    let mut columns: Vec<_> = raw.schema().fields().iter().map(|field| ident(field.name())).collect();
    columns.push(process_name(processes.clone()).call(vec![col("process_id")]).alias("name"));
    Ok(view(raw.select(columns)?))
}

/// `process_name(process_id)`: what a process is called.
fn process_name(processes: Arc<LazyProcesses>) -> ScalarUDF {
    let convert = move |arguments: &[ColumnarValue]| {
        let arrays = ColumnarValue::values_to_arrays(arguments)?;
        let ids = arrays[0].as_primitive::<Int64Type>();
        let known = processes.get().map_err(|error| DataFusionError::External(Box::new(error)))?;
        let names = ids.iter().map(|id| Some(&*known.get(&id?)?.name));
        Ok(ColumnarValue::Array(Arc::new(names.collect::<StringViewArray>())))
    };
    let (from, to) = (vec![DataType::Int64], DataType::Utf8View);
    create_udf("process_name", from, to, Volatility::Immutable, Arc::new(convert))
}

/// Keeps the last row of each key, by part.
fn latest(raw: DataFrame, table: &Table, key: &str, zone: Zone) -> Result<Arc<dyn TableProvider>> {
    let by_part = || vec![ident(PART).sort(true, false)];
    let mut last = Vec::new();
    for column in table.columns.iter().filter(|c| c.name != key) {
        let value = last_value(ident(column.name), by_part());
        last.push(value.order_by(by_part()).build()?.alias(column.name));
    }
    let rows = raw.aggregate(vec![ident(key)], last)?;
    let order: Vec<_> = sql_schema(table, zone).fields().iter().map(|field| ident(field.name())).collect();
    Ok(view(rows.select(order)?))
}

fn view(rows: DataFrame) -> Arc<dyn TableProvider> {
    Arc::new(ViewTable::new(rows.into_unoptimized_plan(), None))
}
