//! Parquet files that are known beforehand, as a table for DataFusion: no listing, no inference.
//!
//! In: the files with their rows, bytes and time range, as a manifest gives them. Out: a plan that scans
//! them. A declared order is the order of each file; files that overlap in time never share a group,
//! so the order holds for each group and a query that needs it merges instead of sorting.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, DataFusionError, Result, ScalarValue, Statistics};
use datafusion::config::TableParquetOptions;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use retrospan_formats::error::CaptureError;
use retrospan_formats::table::{Table, Type};
use tokio::sync::OnceCell;

use crate::sql::held::{HeldFiles, Source};
use crate::sql::zone::Zone;

/// Name of the column that [`PartsTable::numbered`] adds.
pub const PART: &str = "part";

/// One file of a table.
#[derive(Clone, Debug)]
pub struct Part {
    /// Opens it.
    pub source: Arc<dyn Source>,
    /// Where it was found, for messages.
    pub path: PathBuf,
    /// Its number among the parts.
    pub number: u32,
    /// Size in bytes.
    pub bytes: u64,
    /// Rows.
    pub rows: u64,
    /// Smallest and largest value of the table's time column.
    pub range: Option<(i64, i64)>,
}

/// A table over such files.
#[derive(Debug)]
pub struct PartsTable {
    definition: Table,
    zone: Zone,
    schema: TableSchema,
    parts: Vec<Part>,
    files: Arc<HeldFiles>,
    check: Option<Check>,
}

/// What must be true of a table before anybody scans it; asked once.
struct Check {
    ask: Arc<dyn Fn() -> std::result::Result<(), CaptureError> + Send + Sync>,
    passed: OnceCell<()>,
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").field("passed", &self.passed.initialized()).finish_non_exhaustive()
    }
}

impl Check {
    async fn pass(&self) -> Result<()> {
        let ask = self.ask.clone();
        let asked = || async move {
            let asked = tokio::task::spawn_blocking(move || ask()).await;
            let asked = asked.map_err(|e| DataFusionError::External(Box::new(e)))?;
            asked.map_err(|e| DataFusionError::External(Box::new(e)))
        };
        self.passed.get_or_try_init(asked).await.map(|_| ())
    }
}

impl PartsTable {
    /// A table of `definition`'s columns over `parts`, its times in that zone.
    pub fn new(definition: &Table, parts: Vec<Part>, zone: Zone) -> Result<PartsTable> {
        PartsTable::with_schema(definition, TableSchema::from(sql_schema(definition, zone)), parts, zone)
    }

    /// The same with a last column, [`PART`], that tells which part a row came from.
    pub fn numbered(definition: &Table, parts: Vec<Part>, zone: Zone) -> Result<PartsTable> {
        let part = Arc::new(Field::new(PART, DataType::UInt32, false));
        let schema =
            TableSchema::builder(sql_schema(definition, zone)).with_table_partition_cols(vec![part]).build();
        PartsTable::with_schema(definition, schema, parts, zone)
    }

    fn with_schema(
        definition: &Table,
        schema: TableSchema,
        parts: Vec<Part>,
        zone: Zone,
    ) -> Result<PartsTable> {
        let files = parts.iter().map(|part| (part.source.clone(), part.path.clone(), part.bytes));
        let files = Arc::new(HeldFiles::new(files)?);
        Ok(PartsTable { definition: *definition, zone, schema, parts, files, check: None })
    }

    /// The same table, which is scanned only where `ask` finds nothing wrong.
    pub fn checked(
        self,
        ask: impl Fn() -> std::result::Result<(), CaptureError> + Send + Sync + 'static,
    ) -> PartsTable {
        PartsTable { check: Some(Check { ask: Arc::new(ask), passed: OnceCell::new() }), ..self }
    }

    /// At most `target` groups of about equal size, more where files overlap in time and have an order:
    /// then no two files of a group overlap.
    fn groups(&self, target: usize) -> Vec<FileGroup> {
        let ordered = self.is_ordered();
        let mut parts: Vec<(usize, &Part)> = self.parts.iter().enumerate().collect();
        parts.sort_by_key(|(_, p)| (p.range, p.number));
        let mut groups: Vec<Group> = Vec::new();
        for (index, part) in parts {
            let (first, last) = part.range.unwrap_or_default();
            let file = self.file(index, part);
            let enough = groups.len() >= target;
            let fitting = groups.iter_mut().filter(|group| !ordered || group.last < first);
            match fitting.min_by_key(|group| group.bytes) {
                Some(group) if enough => {
                    group.bytes += part.bytes;
                    group.last = last;
                    group.files.push(file);
                }
                _ => groups.push(Group { bytes: part.bytes, last, files: vec![file] }),
            }
        }
        groups.into_iter().map(|group| FileGroup::new(group.files)).collect()
    }

    fn file(&self, index: usize, part: &Part) -> PartitionedFile {
        let mut file = self.files.file(index, part.bytes);
        if !self.schema.table_partition_cols().is_empty() {
            file = file.with_partition_values(vec![ScalarValue::UInt32(Some(part.number))]);
        }
        file.with_statistics(Arc::new(self.statistics_of(part)))
    }

    fn statistics_of(&self, part: &Part) -> Statistics {
        let mut statistics = Statistics::new_unknown(self.schema.file_schema());
        statistics.num_rows = Precision::Exact(part.rows as usize);
        let time = self.definition.time_column.and_then(|name| self.definition.index_of(name));
        if let (Some(index), Some((first, last))) = (time, part.range) {
            let value = |v| Precision::Exact(self.time_value(index, v));
            statistics.column_statistics[index] = ColumnStatistics {
                null_count: Precision::Exact(0),
                min_value: value(first),
                max_value: value(last),
                ..ColumnStatistics::new_unknown()
            };
        }
        statistics
    }

    fn time_value(&self, column: usize, value: i64) -> ScalarValue {
        match self.definition.columns[column].ty {
            Type::Time => ScalarValue::TimestampNanosecond(Some(value), Some(self.zone.name())),
            _ => ScalarValue::Int64(Some(value)),
        }
    }

    /// Whether files can be put in order: the first column of the order is the one whose range is known.
    fn is_ordered(&self) -> bool {
        self.definition.order.first().copied() == self.definition.time_column
            && self.definition.time_column.is_some()
            && self.parts.iter().all(|p| p.range.is_some())
    }

    fn ordering(&self) -> Vec<LexOrdering> {
        if !self.is_ordered() && self.parts.len() != 1 {
            return Vec::new();
        }
        let column = |name: &&str| {
            let index = self.definition.index_of(name)?;
            let options = SortOptions { descending: false, nulls_first: false };
            Some(PhysicalSortExpr::new(Arc::new(Column::new(name, index)), options))
        };
        LexOrdering::new(self.definition.order.iter().filter_map(column)).into_iter().collect()
    }

    /// Filters run inside the scan where rows are wide: a payload is then read only for rows that match.
    fn options(&self, state: &dyn Session) -> TableParquetOptions {
        let mut options = state.default_table_options().parquet;
        let wide = self.definition.columns.iter().any(|c| c.ty == Type::Bytes);
        options.global.pushdown_filters = wide;
        options.global.reorder_filters = wide;
        options
    }
}

/// Files that one partition of a plan reads one after the other.
struct Group {
    bytes: u64,
    last: i64,
    files: Vec<PartitionedFile>,
}

/// The schema in which SQL sees a table: text and bytes as views, which DataFusion handles best, and times in that zone.
pub fn sql_schema(definition: &Table, zone: Zone) -> SchemaRef {
    let field = |column: &retrospan_formats::table::Column| {
        let ty = match column.ty {
            Type::Text | Type::Name => DataType::Utf8View,
            Type::Bytes => DataType::BinaryView,
            Type::Time => zone.time_type(),
            other => other.arrow(),
        };
        Field::new(column.name, ty, column.nullable)
    };
    Arc::new(Schema::new(definition.columns.iter().map(field).collect::<Vec<_>>()))
}

#[async_trait]
impl TableProvider for PartsTable {
    fn schema(&self) -> SchemaRef {
        self.schema.table_schema().clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    fn statistics(&self) -> Option<Statistics> {
        let mut statistics = Statistics::new_unknown(self.schema.table_schema());
        statistics.num_rows =
            Precision::Exact(self.parts.iter().fold(0, |rows, p| rows.saturating_add(p.rows as usize)));
        Some(statistics)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if self.parts.is_empty() {
            let schema = datafusion::physical_plan::project_schema(&self.schema(), projection)?;
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        if let Some(check) = &self.check {
            check.pass().await?;
        }
        state.runtime_env().register_object_store(self.files.url().as_ref(), self.files.clone());
        let source = ParquetSource::new(self.schema.clone()).with_table_parquet_options(self.options(state));
        let limit = if filters.is_empty() { limit } else { None };
        let config = FileScanConfigBuilder::new(self.files.url().clone(), Arc::new(source))
            .with_file_groups(self.groups(state.config().target_partitions()))
            .with_statistics(self.statistics().unwrap_or_default())
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .with_output_ordering(self.ordering())
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}
