//! What a Parquet file says about itself, looked at before a library decodes it.
//!
//! Whoever makes a small file can have a decoder need any memory: values of a megabyte in a dictionary that every row names, pages that
//! say they are gigabytes, lists of a milliard of nothing, structs in structs until the stack ends. So the footer, the indexes and the header of every
//! page are read here first, and what no recorder writes is refused: nested columns, foreign encodings, pages that hold more than
//! their rows may.

pub mod thrift;

use std::borrow::Cow;
use std::iter::Peekable;
use std::sync::Arc;
use std::vec::IntoIter;

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
/// A page header is never longer.
const MOST_HEADER_BYTES: u64 = 1 << 16;
/// Footer and indexes are hardly ever longer together.
const LIKELY_END_BYTES: u64 = 1 << 16;
/// Length of the footer's length and of the mark that ends the file.
const END_BYTES: u64 = 8;
/// What a page may have besides its values: levels, and what an encoding begins with.
const OVERHEAD_BYTES: i64 = 1 << 12;
/// Rows that a file may have whatever its size.
const FEW_ROWS: u64 = 1 << 17;

/// What is known of a file before its pages are looked at.
pub struct Layout {
    metadata: ParquetMetaData,
    footer_at: u64,
    /// The table that the file is said to be of, where it is one that we know.
    table: Option<&'static Table>,
    bytes: PartBytes,
    /// The end of the file, where footer and indexes are.
    end: End,
}

impl Layout {
    /// Reads the footer and the indexes. The error is the reason.
    pub fn read(bytes: &PartBytes, table: Option<&'static Table>) -> Result<Layout, String> {
        let end = End::read(bytes)?;
        let footer_at = check_footer(&end)?;
        let metadata = ParquetMetaDataReader::new().parse_and_finish(bytes).map_err(|e| e.to_string())?;
        let rows = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(u64::MAX);
        let most = table.map(|table| FEW_ROWS + bytes.len().saturating_mul(table.most_rows_a_byte()));
        if most.is_some_and(|most| rows > most) {
            return Err(format!("{rows} rows in {} bytes", bytes.len()));
        }
        Ok(Layout { metadata, footer_at, table, bytes: bytes.clone(), end })
    }

    /// The footer.
    pub fn into_metadata(self) -> ParquetMetaData {
        self.metadata
    }

    /// A check of every page, which is fed the file's bytes as they are read for another reason.
    pub fn walk(&self) -> Result<Walk<'_>, String> {
        let mut columns = Vec::new();
        for group in self.metadata.row_groups() {
            for column in group.columns() {
                let known = self
                    .table
                    .and_then(|t| t.columns.iter().find(|c| c.name == column.column_descr().name()));
                let checked = self.column(group, column, known);
                columns.extend(checked.map_err(|reason| named(column, reason))?);
            }
        }
        columns.sort_by_key(|column| column.begin);
        Ok(Walk { layout: self, columns: columns.into_iter().peekable(), reached: 0 })
    }

    /// Checks the indexes of a column; None where it is none that we read.
    fn column<'a>(
        &'a self,
        group: &RowGroupMetaData,
        column: &'a ColumnChunkMetaData,
        known: Option<&'static Column>,
    ) -> Result<Option<Pages<'a>>, String> {
        let index = |offset: Option<i64>, length: Option<i32>| {
            let (Some(offset), Some(length)) = (offset, length) else { return Ok(None) };
            let (Ok(offset), Ok(length)) = (u64::try_from(offset), u64::try_from(length)) else {
                return Err("its index is nowhere".to_owned());
            };
            if length > MOST_FOOTER_BYTES || offset.saturating_add(length) > self.footer_at {
                return Err("its index is nowhere".to_owned());
            }
            self.end.get(offset, length).map(Some)
        };
        let malformed = |_: Malformed| "its index is malformed".to_owned();
        if let Some(index) = index(column.column_index_offset(), column.column_index_length())? {
            Thrift::new(&index).fields(|_, _| Ok(false)).map_err(malformed)?;
        }
        let offsets = index(column.offset_index_offset(), column.offset_index_length())?;
        let listed = offsets.map(|index| locations(&index).map_err(malformed)).transpose()?;
        let Some(known) = known else { return Ok(None) };
        let description = column.column_descr();
        if description.max_rep_level() > 0 || description.max_def_level() > 1 {
            return Err("it is no plain column".to_owned());
        }
        if description.physical_type() != physical(known.ty) {
            return Err("the column is of another type".to_owned());
        }
        Pages::new(self, column, known, group.num_rows(), listed).map(Some)
    }
}

fn named(column: &ColumnChunkMetaData, reason: String) -> String {
    format!("{}: {reason}", column.column_descr().name())
}

/// The check of all pages, as far as it came.
pub struct Walk<'a> {
    layout: &'a Layout,
    columns: Peekable<IntoIter<Pages<'a>>>,
    reached: u64,
}

impl Walk<'_> {
    /// Looks at those headers that begin in a block of the file; blocks come in order and without gaps.
    pub fn feed(&mut self, block_at: u64, block: &[u8]) -> Result<(), String> {
        let block = Block { at: block_at, bytes: block };
        while let Some(column) = self.columns.peek_mut() {
            if column.at == column.begin && column.begin < self.reached {
                return Err(named(column.column, "it lies over another".to_owned()));
            }
            let whole =
                column.pass(&self.layout.bytes, &block).map_err(|reason| named(column.column, reason))?;
            if !whole {
                return Ok(());
            }
            self.reached = column.end;
            self.columns.next();
        }
        Ok(())
    }

    /// All of the file was fed.
    pub fn finish(mut self) -> Result<(), String> {
        match self.columns.next() {
            Some(column) => Err(named(column.column, "its pages are nowhere".to_owned())),
            None => Ok(()),
        }
    }
}

/// Some bytes of the file.
struct Block<'a> {
    at: u64,
    bytes: &'a [u8],
}

/// The last bytes of a file: read once, asked often.
struct End {
    bytes: PartBytes,
    at: u64,
    read: Vec<u8>,
}

impl End {
    fn read(bytes: &PartBytes) -> Result<End, String> {
        let at = bytes.len().saturating_sub(LIKELY_END_BYTES);
        Ok(End { bytes: bytes.clone(), at, read: read(bytes, at, bytes.len() - at)? })
    }

    fn get(&self, offset: u64, length: u64) -> Result<Cow<'_, [u8]>, String> {
        let Some(skip) = offset.checked_sub(self.at) else {
            return read(&self.bytes, offset, length).map(Cow::Owned);
        };
        let range = skip as usize..(skip + length) as usize;
        self.read.get(range).map(Cow::Borrowed).ok_or_else(|| "the file ends before".to_owned())
    }
}

/// Checks the thrift of the footer and that its columns are flat. Where it begins.
fn check_footer(file_end: &End) -> Result<u64, String> {
    let end_at = file_end.bytes.len().checked_sub(END_BYTES).ok_or("it is too short")?;
    let end = file_end.get(end_at, END_BYTES)?;
    let Some((&[a, b, c, d], mark)) = end.split_first_chunk() else {
        return Err("it is too short".to_owned());
    };
    let length = u64::from(u32::from_le_bytes([a, b, c, d]));
    if mark != b"PAR1" || length > end_at.min(MOST_FOOTER_BYTES) {
        return Err("it has no footer".to_owned());
    }
    let footer = file_end.get(end_at - length, length)?;
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

/// The pages of a column in one row group, and how far they were looked at.
struct Pages<'a> {
    bytes: &'a PartBytes,
    column: &'a ColumnChunkMetaData,
    known: &'static Column,
    begin: u64,
    end: u64,
    rows: i64,
    /// Where those of values are, by the index.
    listed: Option<Vec<Location>>,
    /// The next page.
    at: u64,
    values: i64,
    found: Vec<Location>,
}

impl<'a> Pages<'a> {
    fn new(
        layout: &'a Layout,
        column: &'a ColumnChunkMetaData,
        known: &'static Column,
        rows: i64,
        listed: Option<Vec<Location>>,
    ) -> Result<Pages<'a>, String> {
        let nowhere = "its pages are nowhere";
        let begin = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
        let (begin, length) = (u64::try_from(begin), u64::try_from(column.compressed_size()));
        let (Ok(begin), Ok(length)) = (begin, length) else { return Err(nowhere.to_owned()) };
        let end = begin.checked_add(length).filter(|&end| end <= layout.footer_at).ok_or(nowhere)?;
        let (bytes, at, values, found) = (&layout.bytes, begin, 0, Vec::new());
        Ok(Pages { bytes, column, known, begin, end, rows, listed, at, values, found })
    }

    /// Checks the pages whose headers begin in the block; true at the end of the last.
    fn pass(&mut self, bytes: &PartBytes, block: &Block<'_>) -> Result<bool, String> {
        let block_end = block.at + block.bytes.len() as u64;
        while self.at < self.end {
            if self.at >= block_end {
                return Ok(false);
            }
            let (header, header_bytes) = self.header(bytes, block)?;
            let compressed = header.compressed_bytes.and_then(|n| u64::try_from(n).ok());
            let next = compressed.and_then(|n| (self.at + header_bytes).checked_add(n));
            let next = next.filter(|&next| next <= self.end).ok_or("a page goes beyond its column")?;
            match header.ty {
                Some(DATA_PAGE) => {
                    self.found.push((self.at as i64, (next - self.at) as i64, self.values));
                    self.values += self.data_page(&header)?;
                }
                Some(DICTIONARY_PAGE) if self.at == self.begin => self.dictionary_page(&header)?,
                _ => return Err("it has a page that is not of this format".to_owned()),
            }
            self.at = next;
        }
        self.all().map(|()| true)
    }

    /// What must hold of all of them together.
    fn all(&self) -> Result<(), String> {
        if self.values != self.rows || self.column.num_values() != self.rows {
            return Err(format!("{} values in {} rows", self.values, self.rows));
        }
        if self.found.first().is_some_and(|first| first.0 != self.column.data_page_offset()) {
            return Err("its pages are nowhere".to_owned());
        }
        if self.listed.as_ref().is_some_and(|listed| *listed != self.found) {
            return Err("its index names other pages than there are".to_owned());
        }
        Ok(())
    }

    /// The header at the next page, from the block where all of it is there.
    fn header(&self, bytes: &PartBytes, block: &Block<'_>) -> Result<(Header, u64), String> {
        // Columns come in order, so nothing before the block is asked for.
        let skip = self.at.checked_sub(block.at).ok_or("its pages are nowhere")? as usize;
        let mut header = Header::read(&block.bytes[skip.min(block.bytes.len())..]);
        if header.as_ref().is_err_and(|e| *e == Malformed::Ends) {
            let length = (self.end - self.at).min(MOST_HEADER_BYTES);
            header = Header::read(&read(bytes, self.at, length)?);
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
