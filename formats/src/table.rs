//! THE definition of every raw table: columns, meaning, unit, encoding, order.
//!
//! Arrow schemas, Parquet writer properties and docs/format.md all come from here. The analyzer
//! defines its derived tables with the same types.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use parquet::basic::{Compression, Encoding as ParquetEncoding, ZstdLevel};
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;

use crate::event::MAX_SNAP_BYTES;

/// Version of the capture format that this code writes; older ones stay readable.
pub const FORMAT_VERSION: u32 = 2;

/// No time or length is beyond it, ns, 73 years, from boot or from 1970 either way: sums and differences of a few are safe.
pub const MOST_NS: i64 = 1 << 61;

/// Rows of a full row group: few enough that readers can share the groups of one file out evenly among cores.
const ROW_GROUP_ROWS: usize = 1 << 17;

/// A file of `events` with that many rows is large enough: it is not put together with others.
pub const GROWN_ROWS: u64 = ROW_GROUP_ROWS as u64 / 2;

/// The value type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Boolean.
    Bool,
    /// Unsigned 8-bit integer.
    U8,
    /// Unsigned 16-bit integer.
    U16,
    /// Unsigned 32-bit integer.
    U32,
    /// Signed 32-bit integer.
    I32,
    /// Signed 64-bit integer: times, sizes and ids, so that differences are safe in SQL.
    I64,
    /// Double.
    F64,
    /// UTF-8 text.
    Text,
    /// UTF-8 text with few values (dictionary-encoded in memory too).
    Name,
    /// Bytes.
    Bytes,
    /// Nanoseconds since 1970-01-01 UTC.
    Time,
}

impl Type {
    /// The Arrow type.
    pub fn arrow(self) -> DataType {
        match self {
            Type::Bool => DataType::Boolean,
            Type::U8 => DataType::UInt8,
            Type::U16 => DataType::UInt16,
            Type::U32 => DataType::UInt32,
            Type::I32 => DataType::Int32,
            Type::I64 => DataType::Int64,
            Type::F64 => DataType::Float64,
            Type::Text => DataType::Utf8,
            Type::Name => DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
            Type::Bytes => DataType::Binary,
            Type::Time => DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
        }
    }

    /// Whether its values are of varying length.
    pub const fn is_of_bytes(self) -> bool {
        matches!(self, Type::Text | Type::Name | Type::Bytes)
    }

    fn describe(self) -> &'static str {
        match self {
            Type::Bool => "boolean",
            Type::U8 => "uint8",
            Type::U16 => "uint16",
            Type::U32 => "uint32",
            Type::I32 => "int32",
            Type::I64 => "int64",
            Type::F64 => "double",
            Type::Text | Type::Name => "text",
            Type::Bytes => "bytes",
            Type::Time => "timestamp (ns, UTC)",
        }
    }
}

/// How Parquet stores a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Dictionary: few distinct values.
    Dictionary,
    /// DELTA_BINARY_PACKED: integers near those before them, and such as leave zstd half of its work that way.
    Delta,
    /// As they are; zstd does the rest. (BYTE_STREAM_SPLIT would be a little smaller, and few readers know it for integers.)
    Plain,
}

/// One column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Name in Parquet and SQL.
    pub name: &'static str,
    /// Value type.
    pub ty: Type,
    /// May hold null.
    pub nullable: bool,
    /// Storage.
    pub encoding: Encoding,
    /// Meaning in one or two sentences, units and null included.
    pub doc: &'static str,
}

/// One table.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Name of the folder and of the SQL table.
    pub name: &'static str,
    /// What a row is.
    pub doc: &'static str,
    /// Columns in order.
    pub columns: &'static [Column],
    /// Order of the rows of each whole file, ascending; declared to readers because it is kept.
    pub order: &'static [&'static str],
    /// Time column by which a file's time range is given in the manifest, if there is one.
    pub time_column: Option<&'static str>,
    /// The key of a dimension: a later row of the same key replaces the earlier. None for facts.
    pub key: Option<&'static str>,
}

/// Bytes of the longest text that a column of [`Type::Text`] may hold; who writes longer ones cuts them. A path of the kernel
/// is at most 4 KiB, and three times that where none of it is UTF-8.
pub const MOST_TEXT_BYTES: usize = (16 << 10) - 4;

impl Column {
    /// Bytes of its longest value as a file holds it, the length before text and bytes included. Readers refuse files with longer ones,
    /// so that a small file cannot need much memory.
    pub const fn most_bytes(&self) -> usize {
        match self.ty {
            Type::Bool => 1,
            Type::U8 | Type::U16 | Type::U32 | Type::I32 => 4,
            Type::I64 | Type::F64 | Type::Time => 8,
            Type::Name => 1 << 10,
            Type::Text => 4 + MOST_TEXT_BYTES,
            Type::Bytes => 2 * MAX_SNAP_BYTES,
        }
    }

    /// The least and the greatest value of a column of nanoseconds (its name ends in `_ns`), where `latest_ns` is the latest
    /// boot time that may be.
    pub fn bounds_ns(&self, latest_ns: i64) -> (i64, i64) {
        match self.name {
            "wall_ns" => (-MOST_NS, MOST_NS),
            // Of several threads at once.
            "cpu_ns" => (0, MOST_NS),
            _ => (0, latest_ns.min(MOST_NS)),
        }
    }
}

impl Table {
    /// Rows that a byte of a file may stand for at most, where there are many. Rows of a dimension stay in memory and each has an id
    /// of its own.
    pub const fn most_rows_a_byte(&self) -> u64 {
        if self.key.is_some() { 8 } else { 64 }
    }

    /// Position of the time column where a whole file is sorted by it.
    pub fn sorted_by(&self) -> Option<usize> {
        let first = self.order.first().copied()?;
        self.time_column.filter(|&time| time == first).and_then(|time| self.index_of(time))
    }

    /// The Arrow schema.
    pub fn schema(&self) -> SchemaRef {
        let fields: Vec<Field> =
            self.columns.iter().map(|c| Field::new(c.name, c.ty.arrow(), c.nullable)).collect();
        Arc::new(Schema::new(fields))
    }

    /// Position of a column.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == name)
    }

    /// Writer properties: zstd of that level or none, one declared order a file, encodings per column, page index.
    /// `metadata` goes into the file's key-value metadata.
    pub fn writer_properties(&self, zstd_level: Option<i32>, metadata: Vec<KeyValue>) -> WriterProperties {
        let compression = zstd_level.map_or(Compression::UNCOMPRESSED, |level| {
            Compression::ZSTD(ZstdLevel::try_new(level).unwrap_or_default())
        });
        let mut builder = WriterProperties::builder()
            .set_writer_version(WriterVersion::PARQUET_1_0)
            .set_compression(compression)
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_data_page_row_count_limit(20_000)
            .set_created_by(concat!("retrospan ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_key_value_metadata(Some(metadata))
            .set_sorting_columns(self.sorting_columns());
        for column in self.columns {
            let path = ColumnPath::from(column.name);
            builder = match column.encoding {
                Encoding::Dictionary => builder.set_column_dictionary_enabled(path, true),
                other => builder
                    .set_column_dictionary_enabled(path.clone(), false)
                    .set_column_encoding(path, other.parquet()),
            };
            // Readers skip by order and time; elsewhere the bounds of unsorted values skip nothing.
            if !self.order.contains(&column.name) && self.time_column != Some(column.name) {
                builder = builder
                    .set_column_statistics_enabled(ColumnPath::from(column.name), EnabledStatistics::None);
            }
        }
        builder.build()
    }

    fn sorting_columns(&self) -> Option<Vec<SortingColumn>> {
        if self.order.is_empty() {
            return None;
        }
        let columns = self.order.iter().filter_map(|name| self.index_of(name));
        let sorting =
            |index: usize| SortingColumn { column_idx: index as i32, descending: false, nulls_first: false };
        Some(columns.map(sorting).collect())
    }

    /// The table's section of a generated reference page, in Markdown.
    pub fn markdown(&self) -> String {
        let mut text = format!("## `{}`\n\n{}\n\n", self.name, self.doc);
        if !self.order.is_empty() {
            text.push_str(&format!("Each file is sorted by {}.\n\n", self.order.join(", ")));
        }
        text.push_str("| column | type | null | stored | meaning |\n|---|---|---|---|---|\n");
        for c in self.columns {
            let null = if c.nullable { "yes" } else { "no" };
            text.push_str(&format!(
                "| `{}` | {} | {null} | {} | {} |\n",
                c.name,
                c.ty.describe(),
                c.encoding.describe(),
                c.doc
            ));
        }
        text
    }
}

impl Encoding {
    fn parquet(self) -> ParquetEncoding {
        match self {
            Encoding::Delta => ParquetEncoding::DELTA_BINARY_PACKED,
            Encoding::Plain | Encoding::Dictionary => ParquetEncoding::PLAIN,
        }
    }

    fn describe(self) -> &'static str {
        match self {
            Encoding::Dictionary => "dictionary",
            Encoding::Delta => "delta",
            Encoding::Plain => "plain",
        }
    }
}
