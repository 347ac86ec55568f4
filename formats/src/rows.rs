//! Typed rows of tables: what [`table!`](crate::table!) makes of a definition beside its [`Table`].
//!
//! A row is a plain struct with a field a column, which borrows its texts. [`Writer`] turns rows into record batches,
//! [`Columns`] turns batches into rows. Both follow the definition, so a column is named in one place alone and a value
//! of a wrong type does not compile.

mod making;
mod values;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::error::ArrowError;

use crate::table::{Table, Type};

pub use making::{Names, Numbers};
pub use values::{Bool, Bytes, F64, I32, I64, Name, NameArray, Text, Time, U8, U16, U32};

/// The type of a column's values, by a name that stands for it in definitions.
pub trait Value {
    /// What the schema says.
    const TYPE: Type;
    /// A value in memory.
    type Of<'a>: Copy;
    /// Values of a batch in the making.
    type Builder;
    /// Values of a batch.
    type Array;

    /// Nothing yet, with room for that many values.
    fn builder(rows: usize) -> Self::Builder;
    /// Adds a value or null.
    fn append(builder: &mut Self::Builder, value: Option<Self::Of<'_>>);
    /// Hands out the values so far, and makes room for as many others.
    fn finish(builder: &mut Self::Builder) -> ArrayRef;
    /// The values of a column, where it has this type.
    fn array(column: &ArrayRef) -> Option<Self::Array>;
    /// The value of a row; what it is where that is null is not said.
    fn value(array: &Self::Array, row: usize) -> Self::Of<'_>;
    /// Whether the row has a value.
    fn is_valid(array: &Self::Array, row: usize) -> bool;
}

/// A column: a [`Value`], or an [`Option`] of one where it may be null.
pub trait Cell {
    /// The type of its values.
    type Value: Value;
    /// It may be null.
    const NULLABLE: bool;
    /// The field of a row.
    type Of<'a>: Copy;

    /// Adds the field of a row.
    fn append(builder: &mut <Self::Value as Value>::Builder, field: Self::Of<'_>);
    /// The field of a row.
    fn field(array: &<Self::Value as Value>::Array, row: usize) -> Self::Of<'_>;
}

impl<T: Value> Cell for T {
    type Value = T;
    const NULLABLE: bool = false;
    type Of<'a> = T::Of<'a>;

    #[inline]
    fn append(builder: &mut T::Builder, field: T::Of<'_>) {
        T::append(builder, Some(field));
    }

    #[inline]
    fn field(array: &T::Array, row: usize) -> T::Of<'_> {
        T::value(array, row)
    }
}

impl<T: Value> Cell for Option<T> {
    type Value = T;
    const NULLABLE: bool = true;
    type Of<'a> = Option<T::Of<'a>>;

    #[inline]
    fn append(builder: &mut T::Builder, field: Option<T::Of<'_>>) {
        T::append(builder, field);
    }

    #[inline]
    fn field(array: &T::Array, row: usize) -> Option<T::Of<'_>> {
        T::is_valid(array, row).then(|| T::value(array, row))
    }
}

/// A row of a table. Implemented by [`table!`](crate::table!) alone.
pub trait Row {
    /// Its table.
    const TABLE: &'static Table;
    /// The same row, borrowing from elsewhere.
    type Of<'a>;
    /// The columns of a batch in the making.
    type Builders;
    /// The columns of a batch, each a field by its name.
    type Arrays;

    /// Nothing yet, with room for that many rows.
    fn builders(rows: usize) -> Self::Builders;
    /// Adds a row.
    fn append(builders: &mut Self::Builders, row: &Self::Of<'_>);
    /// Hands out the columns so far, in the table's order.
    fn finish(builders: &mut Self::Builders) -> Vec<ArrayRef>;
    /// The columns of a batch, whatever their order.
    ///
    /// # Errors
    ///
    /// A column is missing or of another type.
    fn arrays(batch: &RecordBatch) -> Result<Self::Arrays, ArrowError>;
    /// One row of the columns.
    fn row(arrays: &Self::Arrays, row: usize) -> Self::Of<'_>;
}

/// Rows on their way into record batches.
pub struct Writer<R: Row> {
    builders: R::Builders,
    rows: usize,
}

impl<R: Row> Writer<R> {
    /// Rows of a batch that is full.
    pub const BATCH_ROWS: usize = 8192;

    /// No row yet; has room for a full batch.
    pub fn new() -> Writer<R> {
        Writer { builders: R::builders(Self::BATCH_ROWS), rows: 0 }
    }

    /// Adds a row.
    pub fn push(&mut self, row: &R::Of<'_>) {
        R::append(&mut self.builders, row);
        self.rows += 1;
    }

    /// Whether it is time to take the batch.
    pub fn is_full(&self) -> bool {
        self.rows >= Self::BATCH_ROWS
    }

    /// No rows.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Hands out the rows so far.
    ///
    /// # Errors
    ///
    /// A batch of them would be too large for its offsets.
    pub fn take(&mut self) -> Result<RecordBatch, ArrowError> {
        self.rows = 0;
        RecordBatch::try_new(R::TABLE.schema(), R::finish(&mut self.builders))
    }
}

impl<R: Row> Default for Writer<R> {
    fn default() -> Writer<R> {
        Writer::new()
    }
}

/// Rows as one batch.
///
/// # Errors
///
/// As [`Writer::take`].
pub fn batch<'a, R: Row>(rows: impl IntoIterator<Item = R::Of<'a>>) -> Result<RecordBatch, ArrowError> {
    let rows = rows.into_iter();
    let mut writer = Writer::<R> { builders: R::builders(rows.size_hint().0), rows: 0 };
    rows.for_each(|row| writer.push(&row));
    writer.take()
}

/// The columns of a batch of a table.
pub struct Columns<R: Row> {
    /// Each column by its name.
    pub arrays: R::Arrays,
    rows: usize,
}

impl<R: Row> Columns<R> {
    /// Those of a batch that has them all, in whatever order.
    ///
    /// # Errors
    ///
    /// A column is missing or of another type.
    pub fn of(batch: &RecordBatch) -> Result<Columns<R>, ArrowError> {
        Ok(Columns { arrays: R::arrays(batch)?, rows: batch.num_rows() })
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// One row; `row` is less than [`Columns::rows`].
    pub fn row(&self, row: usize) -> R::Of<'_> {
        R::row(&self.arrays, row)
    }

    /// The rows in order.
    pub fn iter(&self) -> impl Iterator<Item = R::Of<'_>> {
        (0..self.rows).map(|row| self.row(row))
    }
}

/// A column of a batch by its name.
///
/// # Errors
///
/// It is missing or of another type.
pub fn array<C: Cell>(batch: &RecordBatch, name: &str) -> Result<<C::Value as Value>::Array, ArrowError> {
    let column = batch.column_by_name(name);
    let column = column.ok_or_else(|| ArrowError::SchemaError(format!("no column {name}")))?;
    C::Value::array(column)
        .ok_or_else(|| ArrowError::SchemaError(format!("column {name} is of type {}", column.data_type())))
}

/// Defines a table: a [`Table`], a struct for its rows, and their [`Row`], all from one list of columns.
///
/// A column is `name: Type, Encoding, "meaning";` with a type of [`rows`](crate::rows), in an `Option` where it may be null.
#[macro_export]
macro_rules! table {
    ($(#[$meta:meta])* pub const $table:ident: $row:ident<$life:lifetime> = $($definition:tt)*) => {
        $crate::table!(@ [$(#[$meta])*] $table [$row<$life>] [$row<'static>] $row $life $($definition)*);
    };
    ($(#[$meta:meta])* pub const $table:ident: $row:ident = $($definition:tt)*) => {
        $crate::table!(@ [$(#[$meta])*] $table [$row] [$row] $row 'static $($definition)*);
    };
    (@
        [$(#[$meta:meta])*] $table:ident [$($declared:tt)+] [$($owned:tt)+] $row:ident $life:lifetime
        Table {
            name: $name:expr,
            doc: $doc:expr,
            order: $order:expr,
            time_column: $time_column:expr,
            key: $key:expr,
            columns: [$($column:ident: $cell:ty, $encoding:ident, $meaning:literal;)+]
        }
    ) => {
        $(#[$meta])*
        pub const $table: $crate::table::Table = $crate::table::Table {
            name: $name,
            doc: $doc,
            order: $order,
            time_column: $time_column,
            key: $key,
            columns: &[$($crate::table::Column {
                name: stringify!($column),
                ty: <<$cell as $crate::rows::Cell>::Value as $crate::rows::Value>::TYPE,
                nullable: <$cell as $crate::rows::Cell>::NULLABLE,
                encoding: $crate::table::Encoding::$encoding,
                doc: $meaning,
            }),+],
        };

        #[doc = concat!("A row of `", $name, "`.")]
        #[derive(Clone, Copy, Debug, Default, PartialEq)]
        pub struct $($declared)+ {
            $(#[doc = $meaning] pub $column: <$cell as $crate::rows::Cell>::Of<$life>,)+
        }

        const _: () = {
            /// The columns of a batch in the making.
            pub struct Builders {
                $($column: <<$cell as $crate::rows::Cell>::Value as $crate::rows::Value>::Builder,)+
            }

            /// The columns of a batch.
            pub struct Arrays {
                $(#[doc = $meaning]
                pub $column: <<$cell as $crate::rows::Cell>::Value as $crate::rows::Value>::Array,)+
            }

            impl $crate::rows::Row for $($owned)+ {
                const TABLE: &'static $crate::table::Table = &$table;
                type Of<'of> = $crate::table!(@of 'of $life $row);
                type Builders = Builders;
                type Arrays = Arrays;

                fn builders(rows: usize) -> Builders {
                    Builders {
                        $($column: <<$cell as $crate::rows::Cell>::Value as $crate::rows::Value>::builder(rows),)+
                    }
                }

                #[inline]
                fn append(builders: &mut Builders, row: &Self::Of<'_>) {
                    $(<$cell as $crate::rows::Cell>::append(&mut builders.$column, row.$column);)+
                }

                fn finish(builders: &mut Builders) -> Vec<::arrow::array::ArrayRef> {
                    vec![
                        $(<<$cell as $crate::rows::Cell>::Value as $crate::rows::Value>::finish(&mut builders.$column)),+
                    ]
                }

                fn arrays(
                    batch: &::arrow::array::RecordBatch,
                ) -> Result<Arrays, ::arrow::error::ArrowError> {
                    Ok(Arrays { $($column: $crate::rows::array::<$cell>(batch, stringify!($column))?,)+ })
                }

                #[inline]
                fn row(arrays: &Arrays, row: usize) -> Self::Of<'_> {
                    $row { $($column: <$cell as $crate::rows::Cell>::field(&arrays.$column, row),)+ }
                }
            }
        };
    };
    (@of $of:lifetime 'static $row:ident) => { $row };
    (@of $of:lifetime $life:lifetime $row:ident) => { $row<$of> };
}

#[cfg(test)]
mod tests {
    use super::*;

    table! {
        /// A column of each type.
        pub const EVERY: EveryRow<'a> = Table {
            name: "every",
            doc: "A row.",
            order: &[],
            time_column: None,
            key: None,
            columns: [
                truth: Bool, Plain, "A truth.";
                small: Option<U8>, Plain, "A number.";
                port: U16, Plain, "A number.";
                seq: Option<U32>, Plain, "A number.";
                status: Option<I32>, Dictionary, "A number.";
                boot_ns: I64, Delta, "A number.";
                share: Option<F64>, Plain, "A number.";
                time: Option<Time>, Plain, "A time.";
                text: Option<Text>, Plain, "A text.";
                bytes: Option<Bytes>, Plain, "Bytes.";
                name: Name, Dictionary, "A name.";
                other: Option<Name>, Dictionary, "A name.";
            ]
        }
    }

    /// Some of everything, null where it may be.
    fn row(index: usize, names: &[String]) -> EveryRow<'_> {
        let some = |n: usize| index.is_multiple_of(n);
        EveryRow {
            truth: some(2),
            small: some(3).then_some(index as u8),
            port: index as u16,
            seq: some(2).then_some(index as u32),
            status: some(5).then_some(-(index as i32)),
            boot_ns: index as i64 - 7,
            share: some(4).then_some(index as f64 / 8.0),
            time: some(3).then_some(i64::MAX - index as i64),
            text: some(2).then_some(&names[index % names.len()]),
            bytes: some(7).then_some(names[index % names.len()].as_bytes()),
            name: &names[index % names.len()],
            other: some(3).then_some(&names[index * 7 % names.len()]),
        }
    }

    #[test]
    fn what_is_written_is_read_batch_after_batch() {
        let names: Vec<String> = (0..23).map(|n| "x".repeat(n)).collect();
        let mut writer = Writer::<EveryRow>::new();
        for from in [0, 5_000, 5_001] {
            let rows = from..from + 3_000;
            rows.clone().for_each(|index| writer.push(&row(index, &names)));
            let batch = writer.take().expect("a batch");
            assert_eq!(batch.schema(), EVERY.schema());
            let columns = Columns::<EveryRow>::of(&batch).expect("its columns");
            assert!(columns.iter().eq(rows.map(|index| row(index, &names))));
            assert!(writer.is_empty());
        }
    }

    #[test]
    fn a_definition_says_what_its_rows_are() {
        let nullable: Vec<_> = EVERY.columns.iter().filter(|c| c.nullable).map(|c| c.name).collect();
        assert_eq!(nullable, ["small", "seq", "status", "share", "time", "text", "bytes", "other"]);
        assert_eq!(EVERY.columns[9].ty, Type::Bytes);
        assert_eq!(EVERY.columns[5].doc, "A number.");
    }

    #[test]
    fn other_batches_are_refused_by_the_column_that_differs() {
        let names = ["a".to_owned()];
        let batch = batch::<EveryRow>((0..3).map(|index| row(index, &names))).expect("a batch");
        let error =
            |batch: &RecordBatch| Columns::<EveryRow>::of(batch).err().expect("another batch").to_string();
        let all: Vec<usize> = (0..batch.num_columns()).collect();
        for missing in 0..all.len() {
            let kept: Vec<usize> = all.iter().copied().filter(|&index| index != missing).collect();
            let name = EVERY.columns[missing].name;
            assert!(error(&batch.project(&kept).expect("columns")).ends_with(&format!("no column {name}")));
        }
        let mut columns = batch.columns().to_vec();
        columns[2] = columns[0].clone();
        let before = batch.schema();
        let fields = before.fields().iter().zip(&columns).map(|(field, column)| {
            arrow::datatypes::Field::new(field.name(), column.data_type().clone(), field.is_nullable())
        });
        let schema = arrow::datatypes::Schema::new(fields.collect::<Vec<_>>());
        let other = RecordBatch::try_new(schema.into(), columns).expect("columns");
        assert!(error(&other).contains("column port is of type Boolean"));
    }
}
