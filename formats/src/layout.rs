//! What a Parquet file says about itself, looked at before a library decodes it.
//!
//! Whoever makes a small file can have a decoder need any memory: values of a megabyte in a dictionary that every row names, pages that
//! say they are gigabytes, lists of a milliard of nothing, structs in structs until the stack ends. So the footer, the indexes and the header of every
//! page are read here first, and what no recorder writes is refused: nested columns, foreign encodings, pages that hold more than
//! their rows may.

pub mod thrift;

use std::sync::Arc;

use parquet::basic::Type as Physical;
use parquet::column::page::{Page, PageReader};
use parquet::file::metadata::{
    ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData,
};
use parquet::file::reader::{Length, SerializedPageReader};

use self::thrift::{Malformed, Thrift};
use crate::reader::PartBytes;
use crate::table::{Column, Table, Type};

/// Footers and indexes are never larger.
const MOST_FOOTER_BYTES: u64 = 8 << 20;
/// A page that is being decoded is in memory as a whole.
const MOST_PAGE_BYTES: i64 = 32 << 20;
/// Values of a page.
const MOST_PAGE_VALUES: i64 = 1 << 20;
/// A page header is hardly ever longer.
const HEADER_BYTES: usize = 256;
/// And never longer.
const MOST_HEADER_BYTES: usize = 1 << 16;
/// Length of the footer's length and of the mark that ends the file.
const END_BYTES: u64 = 8;
/// What a page may have besides its values: levels, and what an encoding begins with.
const OVERHEAD_BYTES: i64 = 1 << 12;
/// Rows that a file may have whatever its size.
const FEW_ROWS: u64 = 1 << 17;

/// Reads the footer and checks the whole file. `table`: what the file is said to be, where that is a table we know. The
/// error is the reason.
pub fn check(bytes: &PartBytes, table: Option<&Table>) -> Result<ParquetMetaData, String> {
    let footer_at = check_footer(bytes)?;
    let metadata = ParquetMetaDataReader::new().parse_and_finish(bytes).map_err(|e| e.to_string())?;
    let Some(table) = table else { return Ok(metadata) };
    let rows = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(u64::MAX);
    if rows > FEW_ROWS + bytes.len().saturating_mul(table.most_rows_a_byte()) {
        return Err(format!("{rows} rows in {} bytes", bytes.len()));
    }
    for group in metadata.row_groups() {
        for column in group.columns() {
            let name = column.column_descr().name();
            let known = table.columns.iter().find(|c| c.name == name);
            check_column(bytes, footer_at, group, column, known)
                .map_err(|reason| format!("{name}: {reason}"))?;
        }
    }
    Ok(metadata)
}

/// Checks the thrift of the footer and that its columns are flat. Where it begins.
fn check_footer(bytes: &PartBytes) -> Result<u64, String> {
    let file_bytes = bytes.len();
    let end_at = file_bytes.checked_sub(END_BYTES).ok_or("it is too short")?;
    let mut end = [0; END_BYTES as usize];
    bytes.read_exact_at(&mut end, end_at).map_err(|e| e.to_string())?;
    let [a, b, c, d, mark @ ..] = end;
    let length = u64::from(u32::from_le_bytes([a, b, c, d]));
    if &mark != b"PAR1" || length > end_at.min(MOST_FOOTER_BYTES) {
        return Err("it has no footer".to_owned());
    }
    let footer = read(bytes, end_at - length, length)?;
    let mut nested = false;
    let schema = |thrift: &mut Thrift<'_>, index: usize| {
        let mut children = None;
        thrift.fields(|thrift, field| Ok(field.id == 5 && thrift.integer(field, &mut children)?))?;
        nested |= index > 0 && children.unwrap_or(0) != 0;
        Ok(())
    };
    let mut schema = schema;
    let fields =
        Thrift::new(&footer).fields(|thrift, field| Ok(field.id == 2 && thrift.structs(field, &mut schema)?));
    fields.map_err(|_| "its footer is malformed")?;
    if nested {
        return Err("it has a column of columns".to_owned());
    }
    Ok(end_at - length)
}

fn check_column(
    bytes: &PartBytes,
    footer_at: u64,
    group: &RowGroupMetaData,
    column: &ColumnChunkMetaData,
    known: Option<&Column>,
) -> Result<(), String> {
    let index = |offset: Option<i64>, length: Option<i32>| match (offset, length) {
        (Some(offset), Some(length)) => {
            let (offset, length) = (u64::try_from(offset), u64::try_from(length));
            let (Ok(offset), Ok(length)) = (offset, length) else { return Err("its index is nowhere") };
            if length > MOST_FOOTER_BYTES || offset.saturating_add(length) > footer_at {
                return Err("its index is nowhere");
            }
            read(bytes, offset, length).map(Some).map_err(|_| "its index cannot be read")
        }
        _ => Ok(None),
    };
    let malformed = |_: Malformed| "its index is malformed";
    if let Some(index) = index(column.column_index_offset(), column.column_index_length())? {
        Thrift::new(&index).fields(|_, _| Ok(false)).map_err(malformed)?;
    }
    let offsets = index(column.offset_index_offset(), column.offset_index_length())?;
    let listed = offsets.map(|index| locations(&index).map_err(malformed)).transpose()?;
    let Some(known) = known else { return Ok(()) };
    let description = column.column_descr();
    if description.max_rep_level() > 0 || description.max_def_level() > 1 {
        return Err("it is no plain column".to_owned());
    }
    if description.physical_type() != physical(known.ty) {
        return Err("the column is of another type".to_owned());
    }
    let pages = Pages { bytes, column, known, end: footer_at };
    let found = pages.check(group.num_rows())?;
    if listed.is_some_and(|listed| listed != found) {
        return Err("its index names other pages than there are".to_owned());
    }
    Ok(())
}

const fn physical(ty: Type) -> Physical {
    match ty {
        Type::Bool => Physical::BOOLEAN,
        Type::U8 | Type::U16 | Type::U32 | Type::I32 => Physical::INT32,
        Type::I64 | Type::Time => Physical::INT64,
        Type::F64 => Physical::DOUBLE,
        Type::Text | Type::Name | Type::Bytes => Physical::BYTE_ARRAY,
    }
}

/// Where a page of values is: offset, bytes with its header, number of its first row.
type Location = (i64, i64, i64);

fn locations(index: &[u8]) -> Result<Vec<Location>, Malformed> {
    let mut all = Vec::new();
    Thrift::new(index).fields(|thrift, field| {
        let mut one = |thrift: &mut Thrift<'_>, _| {
            let (mut offset, mut bytes, mut row) = (None, None, None);
            thrift.fields(|thrift, field| match field.id {
                1 => thrift.integer(field, &mut offset),
                2 => thrift.integer(field, &mut bytes),
                3 => thrift.integer(field, &mut row),
                _ => Ok(false),
            })?;
            let missing = Malformed::Wrong;
            all.push((offset.ok_or(missing)?, bytes.ok_or(missing)?, row.ok_or(missing)?));
            Ok(())
        };
        Ok(field.id == 1 && thrift.structs(field, &mut one)?)
    })?;
    Ok(all)
}

/// The header of a page.
#[derive(Debug, Default)]
struct Header {
    ty: Option<i64>,
    uncompressed_bytes: Option<i64>,
    compressed_bytes: Option<i64>,
    values: Option<i64>,
    encoding: Option<i64>,
}

impl Header {
    /// Source: `PageHeader` of <https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift>.
    fn read(bytes: &[u8]) -> Result<(Header, usize), Malformed> {
        let mut header = Header::default();
        let Header { ty, uncompressed_bytes, compressed_bytes, values, encoding } = &mut header;
        let mut thrift = Thrift::new(bytes);
        thrift.fields(|thrift, field| match field.id {
            1 => thrift.integer(field, ty),
            2 => thrift.integer(field, uncompressed_bytes),
            3 => thrift.integer(field, compressed_bytes),
            5 | 7 => thrift.within(field, |thrift, field| match field.id {
                1 => thrift.integer(field, values),
                2 => thrift.integer(field, encoding),
                _ => Ok(false),
            }),
            _ => Ok(false),
        })?;
        let length = thrift.position();
        Ok((header, length))
    }
}

const DATA_PAGE: i64 = 0;
const DICTIONARY_PAGE: i64 = 2;
/// PLAIN, PLAIN_DICTIONARY, RLE (truth values), DELTA_BINARY_PACKED, RLE_DICTIONARY, BYTE_STREAM_SPLIT. The encodings of text that share
/// prefixes are not among them: with those a few bytes are gigabytes.
const ENCODINGS: [i64; 6] = [0, 2, 3, 5, 8, BYTE_STREAM_SPLIT];
const BYTE_STREAM_SPLIT: i64 = 9;

/// The pages of a column in one row group.
struct Pages<'a> {
    bytes: &'a PartBytes,
    column: &'a ColumnChunkMetaData,
    known: &'a Column,
    /// Pages end before it.
    end: u64,
}

impl Pages<'_> {
    /// Checks every page, and says where those of values are.
    fn check(&self, rows: i64) -> Result<Vec<Location>, String> {
        let column = self.column;
        let begin = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
        let (Ok(begin), Ok(length)) = (u64::try_from(begin), u64::try_from(column.compressed_size())) else {
            return Err("its pages are nowhere".to_owned());
        };
        let end = begin.checked_add(length).filter(|&end| end <= self.end).ok_or("its pages are nowhere")?;
        let (mut at, mut values, mut pages) = (begin, 0, Vec::new());
        while at < end {
            let (header, header_bytes) = self.header(at, end)?;
            let compressed = header.compressed_bytes.and_then(|n| u64::try_from(n).ok());
            let next =
                compressed.and_then(|n| (at + header_bytes).checked_add(n)).filter(|&next| next <= end);
            let next = next.ok_or("a page goes beyond its column")?;
            match header.ty {
                Some(DATA_PAGE) => {
                    pages.push((at as i64, (next - at) as i64, values));
                    values += self.data_page(&header)?;
                }
                Some(DICTIONARY_PAGE) if at == begin => self.dictionary_page(&header)?,
                _ => return Err("it has a page that is not of this format".to_owned()),
            }
            at = next;
        }
        if values != rows || column.num_values() != rows {
            return Err(format!("{values} values in {rows} rows"));
        }
        if pages.first().is_some_and(|first| first.0 != column.data_page_offset()) {
            return Err("its pages are nowhere".to_owned());
        }
        Ok(pages)
    }

    fn header(&self, at: u64, end: u64) -> Result<(Header, u64), String> {
        let mut buffer = [0; HEADER_BYTES];
        let length = HEADER_BYTES.min((end - at) as usize);
        self.bytes.read_exact_at(&mut buffer[..length], at).map_err(|e| e.to_string())?;
        let mut header = Header::read(&buffer[..length]);
        if header.as_ref().is_err_and(|e| *e == Malformed::Ends) && end - at > HEADER_BYTES as u64 {
            header = Header::read(&read(self.bytes, at, (end - at).min(MOST_HEADER_BYTES as u64))?);
        }
        let (header, length) = header.map_err(|_| "a page's header is malformed")?;
        Ok((header, length as u64))
    }

    /// How many values it has.
    fn data_page(&self, header: &Header) -> Result<i64, String> {
        let (Some(values), Some(bytes), Some(encoding)) =
            (header.values, header.uncompressed_bytes, header.encoding)
        else {
            return Err("a page's header lacks something".to_owned());
        };
        if !(0..=MOST_PAGE_VALUES).contains(&values) || !ENCODINGS.contains(&encoding) {
            return Err("it has a page that is not of this format".to_owned());
        }
        let width = self.known.most_bytes() as i64;
        // Twice: an encoding may gain nothing and need more room for saying so.
        if bytes < 0 || bytes > MOST_PAGE_BYTES.min(OVERHEAD_BYTES + 2 * values * width) {
            return Err(format!("a page of {values} values has {bytes} bytes"));
        }
        let exact = encoding == BYTE_STREAM_SPLIT && self.column.column_descr().max_def_level() == 0;
        if exact && bytes != values * width {
            return Err(format!("a page of {values} values has {bytes} bytes"));
        }
        Ok(values)
    }

    fn dictionary_page(&self, header: &Header) -> Result<(), String> {
        let (values, bytes) = (header.values.unwrap_or(-1), header.uncompressed_bytes.unwrap_or(-1));
        let most = self.known.most_bytes() as i64;
        if !(0..=MOST_PAGE_VALUES).contains(&values) || !(0..=MOST_PAGE_BYTES).contains(&bytes) {
            return Err(format!("a dictionary of {values} values has {bytes} bytes"));
        }
        // Only a dictionary that is larger than the largest value can hold one that is too large.
        if self.known.ty.is_of_bytes() && bytes > most {
            return self.dictionary_values(most as usize);
        }
        Ok(())
    }

    /// Reads the dictionary's values: however few bytes they take there, every row may name the longest.
    fn dictionary_values(&self, most: usize) -> Result<(), String> {
        let bytes = Arc::new(self.bytes.clone());
        let rows = self.column.num_values().max(0) as usize;
        let page =
            SerializedPageReader::new(bytes, self.column, rows, None).and_then(|mut p| p.get_next_page());
        let Some(Page::DictionaryPage { buf, .. }) = page.map_err(|e| e.to_string())? else {
            return Err("it has no dictionary".to_owned());
        };
        let mut rest = &buf[..];
        while let Some((length, after)) = rest.split_first_chunk() {
            let length = u32::from_le_bytes(*length) as usize;
            if length > most {
                return Err(format!("a value of {length} bytes, where {most} are the most"));
            }
            rest = after.get(length..).ok_or("its dictionary is malformed")?;
        }
        Ok(())
    }
}

fn read(bytes: &PartBytes, at: u64, length: u64) -> Result<Vec<u8>, String> {
    let mut buffer = vec![0; usize::try_from(length).map_err(|e| e.to_string())?];
    bytes.read_exact_at(&mut buffer, at).map_err(|e| e.to_string())?;
    Ok(buffer)
}
