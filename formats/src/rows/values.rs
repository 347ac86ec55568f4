//! The types that columns have, each with its way into a batch and out of it.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayBuilder, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, BinaryBuilder, BooleanArray,
    BooleanBuilder, DictionaryArray, Int32Array, PrimitiveArray, StringArray, StringBuilder,
};
use arrow::datatypes::{
    Float64Type, Int32Type, Int64Type, TimestampNanosecondType, UInt8Type, UInt16Type, UInt32Type,
};

use super::Value;
use super::making::{Names, Numbers};
use crate::table::Type;

/// A type whose values Arrow keeps as they are.
macro_rules! numbers {
    ($($(#[$meta:meta])* $name:ident = $arrow:ty;)+) => {$(
        $(#[$meta])*
        pub enum $name {}

        impl Value for $name {
            const TYPE: Type = Type::$name;
            type Of<'a> = <$arrow as ArrowPrimitiveType>::Native;
            type Builder = Numbers<Self::Of<'static>>;
            type Array = PrimitiveArray<$arrow>;

            fn builder(rows: usize) -> Self::Builder {
                Numbers::with_capacity(rows)
            }

            #[inline]
            fn append(builder: &mut Self::Builder, value: Option<Self::Of<'_>>) {
                builder.push(value);
            }

            fn finish(builder: &mut Self::Builder) -> ArrayRef {
                let (values, nulls) = builder.take();
                Arc::new(Self::Array::new(values.into(), nulls).with_data_type(Self::TYPE.arrow()))
            }

            fn array(column: &ArrayRef) -> Option<Self::Array> {
                column.as_primitive_opt().cloned()
            }

            #[inline]
            fn value(array: &Self::Array, row: usize) -> Self::Of<'_> {
                array.value(row)
            }

            #[inline]
            fn is_valid(array: &Self::Array, row: usize) -> bool {
                array.is_valid(row)
            }
        }
    )+};
}

numbers! {
    /// [`Type::U8`].
    U8 = UInt8Type;
    /// [`Type::U16`].
    U16 = UInt16Type;
    /// [`Type::U32`].
    U32 = UInt32Type;
    /// [`Type::I32`].
    I32 = Int32Type;
    /// [`Type::I64`].
    I64 = Int64Type;
    /// [`Type::F64`].
    F64 = Float64Type;
    /// [`Type::Time`].
    Time = TimestampNanosecondType;
}

/// [`Type::Bool`].
pub enum Bool {}

impl Value for Bool {
    const TYPE: Type = Type::Bool;
    type Of<'a> = bool;
    type Builder = BooleanBuilder;
    type Array = BooleanArray;

    fn builder(rows: usize) -> BooleanBuilder {
        BooleanBuilder::with_capacity(rows)
    }

    #[inline]
    fn append(builder: &mut BooleanBuilder, value: Option<bool>) {
        builder.append_option(value);
    }

    fn finish(builder: &mut BooleanBuilder) -> ArrayRef {
        let next = Bool::builder(builder.len());
        Arc::new(std::mem::replace(builder, next).finish())
    }

    fn array(column: &ArrayRef) -> Option<BooleanArray> {
        column.as_boolean_opt().cloned()
    }

    #[inline]
    fn value(array: &BooleanArray, row: usize) -> bool {
        array.value(row)
    }

    #[inline]
    fn is_valid(array: &BooleanArray, row: usize) -> bool {
        array.is_valid(row)
    }
}

/// Bytes that a text or a run of bytes is expected to have, for the first allocation.
const EXPECTED_BYTES: usize = 32;

/// Room for the bytes of a batch that comes after one with these.
fn room(values: &[u8]) -> usize {
    values.len() + values.len() / 8
}

/// [`Type::Text`].
pub enum Text {}

impl Value for Text {
    const TYPE: Type = Type::Text;
    type Of<'a> = &'a str;
    type Builder = StringBuilder;
    type Array = StringArray;

    fn builder(rows: usize) -> StringBuilder {
        StringBuilder::with_capacity(rows, rows * EXPECTED_BYTES)
    }

    #[inline]
    fn append(builder: &mut StringBuilder, value: Option<&str>) {
        builder.append_option(value);
    }

    fn finish(builder: &mut StringBuilder) -> ArrayRef {
        let next = StringBuilder::with_capacity(builder.len(), room(builder.values_slice()));
        Arc::new(std::mem::replace(builder, next).finish())
    }

    fn array(column: &ArrayRef) -> Option<StringArray> {
        column.as_string_opt().cloned()
    }

    #[inline]
    fn value(array: &StringArray, row: usize) -> &str {
        array.value(row)
    }

    #[inline]
    fn is_valid(array: &StringArray, row: usize) -> bool {
        array.is_valid(row)
    }
}

/// [`Type::Bytes`].
pub enum Bytes {}

impl Value for Bytes {
    const TYPE: Type = Type::Bytes;
    type Of<'a> = &'a [u8];
    type Builder = BinaryBuilder;
    type Array = BinaryArray;

    fn builder(rows: usize) -> BinaryBuilder {
        BinaryBuilder::with_capacity(rows, rows * EXPECTED_BYTES)
    }

    #[inline]
    fn append(builder: &mut BinaryBuilder, value: Option<&[u8]>) {
        builder.append_option(value);
    }

    fn finish(builder: &mut BinaryBuilder) -> ArrayRef {
        let next = BinaryBuilder::with_capacity(builder.len(), room(builder.values_slice()));
        Arc::new(std::mem::replace(builder, next).finish())
    }

    fn array(column: &ArrayRef) -> Option<BinaryArray> {
        column.as_binary_opt().cloned()
    }

    #[inline]
    fn value(array: &BinaryArray, row: usize) -> &[u8] {
        array.value(row)
    }

    #[inline]
    fn is_valid(array: &BinaryArray, row: usize) -> bool {
        array.is_valid(row)
    }
}

/// [`Type::Name`].
pub enum Name {}

impl Value for Name {
    const TYPE: Type = Type::Name;
    type Of<'a> = &'a str;
    type Builder = Names;
    type Array = NameArray;

    fn builder(rows: usize) -> Names {
        Names::with_capacity(rows)
    }

    #[inline]
    fn append(builder: &mut Names, value: Option<&str>) {
        builder.push(value);
    }

    fn finish(builder: &mut Names) -> ArrayRef {
        let (keys, nulls, names) = builder.take();
        let keys = Int32Array::new(keys.into(), nulls);
        Arc::new(DictionaryArray::new(keys, Arc::new(StringArray::from_iter_values(names))))
    }

    fn array(column: &ArrayRef) -> Option<NameArray> {
        let column = column.as_dictionary_opt::<Int32Type>()?;
        Some(NameArray { keys: column.keys().clone(), names: column.values().as_string_opt()?.clone() })
    }

    #[inline]
    fn value(array: &NameArray, row: usize) -> &str {
        array.names.value(array.keys.value(row) as usize)
    }

    #[inline]
    fn is_valid(array: &NameArray, row: usize) -> bool {
        array.keys.is_valid(row)
    }
}

/// A dictionary column.
#[derive(Clone, Debug)]
pub struct NameArray {
    /// Position in `names`, by row; null where the row has none.
    pub keys: Int32Array,
    /// Each different name.
    pub names: StringArray,
}
