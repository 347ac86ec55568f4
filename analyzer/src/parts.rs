//! Parquet files that are known beforehand, as a table for DataFusion: no listing, no inference.
//!
//! In: the files with their rows, bytes and time range, as a manifest gives them. Out: a plan that scans
//! them. A declared order is the order of each file; files that overlap in time never share a group,
//! so the order holds for each group and a query that needs it merges instead of sorting.

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
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::object_store::path::Path as ObjectPath;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use retrospan_formats::table::{Table, Type};

/// Name of the column that [`PartsTable::numbered`] adds.
pub const PART: &str = "part";

/// One file of a table.
#[derive(Clone, Debug)]
pub struct Part {
    /// Where it is; absolute.
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
    schema: TableSchema,
    parts: Vec<Part>,
}

impl PartsTable {
    /// A table of `definition`'s columns over `parts`.
    pub fn new(definition: &Table, parts: Vec<Part>) -> PartsTable {
        let schema = TableSchema::from(sql_schema(definition));
        PartsTable { definition: *definition, schema, parts }
    }

    /// The same with a last column, [`PART`], that tells which part a row came from.
    pub fn numbered(definition: &Table, parts: Vec<Part>) -> PartsTable {
        let part = Arc::new(Field::new(PART, DataType::UInt32, false));
        let schema =
            TableSchema::builder(sql_schema(definition)).with_table_partition_cols(vec![part]).build();
        PartsTable { definition: *definition, schema, parts }
    }

    /// At most `target` groups of about equal size, more where files overlap in time and have an order:
    /// then no two files of a group overlap.
    fn groups(&self, target: usize) -> Result<Vec<FileGroup>> {
        let ordered = self.is_ordered();
        let mut parts: Vec<&Part> = self.parts.iter().collect();
        parts.sort_by_key(|p| (p.range, p.number));
        let mut groups: Vec<Group> = Vec::new();
        for part in parts {
            let (first, last) = part.range.unwrap_or_default();
            let file = self.file(part)?;
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
        Ok(groups.into_iter().map(|group| FileGroup::new(group.files)).collect())
    }

    fn file(&self, part: &Part) -> Result<PartitionedFile> {
        let location =
            ObjectPath::from_absolute_path(&part.path).map_err(|e| DataFusionError::External(Box::new(e)))?;
        let mut file = PartitionedFile::new(String::new(), part.bytes);
        file.object_meta.location = location;
        if !self.schema.table_partition_cols().is_empty() {
            file = file.with_partition_values(vec![ScalarValue::UInt32(Some(part.number))]);
        }
        Ok(file.with_statistics(Arc::new(self.statistics_of(part))))
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
            Type::Time => ScalarValue::TimestampNanosecond(Some(value), Some("UTC".into())),
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

/// The schema in which SQL sees a table: text and bytes as views, which DataFusion handles best.
pub fn sql_schema(definition: &Table) -> SchemaRef {
    let field = |column: &retrospan_formats::table::Column| {
        let ty = match column.ty {
            Type::Text | Type::Name => DataType::Utf8View,
            Type::Bytes => DataType::BinaryView,
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
        let source = ParquetSource::new(self.schema.clone()).with_table_parquet_options(self.options(state));
        let limit = if filters.is_empty() { limit } else { None };
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), Arc::new(source))
            .with_file_groups(self.groups(state.config().target_partitions())?)
            .with_statistics(self.statistics().unwrap_or_default())
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .with_output_ordering(self.ordering())
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}
