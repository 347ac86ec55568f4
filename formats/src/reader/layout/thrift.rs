//! Thrift's compact protocol, as far as a Parquet file is looked at before a library decodes it: whether it is well-formed, how
//! deep and how long its lists are, and a few numbers.
//!
//! Source: <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>.

/// Structs within structs at most; Parquet needs seven.
const DEEPEST: usize = 12;
/// Elements of a list at most: a decoder makes room for them before it has seen one.
const LONGEST_LIST: usize = 1 << 16;

/// Types of fields and elements.
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;

/// It is not thrift, or more of it than a file of ours has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The bytes end before it does.
    Ends,
    /// Something that is not in the protocol, or too much.
    Wrong,
}

type Result<T> = std::result::Result<T, Malformed>;

/// A place in thrift.
pub struct Thrift<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// A field of a struct: its number and its type.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Number in the definition.
    pub id: i16,
    ty: u8,
}

impl<'a> Thrift<'a> {
    /// Begins at the first byte.
    pub fn new(bytes: &'a [u8]) -> Thrift<'a> {
        Thrift { bytes, at: 0 }
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Reads a struct: `each` takes those fields that it wants and returns true, others are skipped.
    pub fn fields(&mut self, mut each: impl FnMut(&mut Self, Field) -> Result<bool>) -> Result<()> {
        let mut id = 0i16;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Ok(());
            }
            id = match head >> 4 {
                0 => i16::try_from(self.signed()?).map_err(|_| Malformed::Wrong)?,
                more => id.checked_add(i16::from(more)).ok_or(Malformed::Wrong)?,
            };
            let field = Field { id, ty: head & 15 };
            if !each(self, field)? {
                self.skip(field.ty, 0)?;
            }
        }
    }

    /// Reads a list of structs: `each` is called at the begin of each.
    pub fn structs(
        &mut self,
        field: Field,
        mut each: impl FnMut(&mut Self, usize) -> Result<()>,
    ) -> Result<bool> {
        if field.ty != LIST {
            return Err(Malformed::Wrong);
        }
        let (length, ty) = self.list()?;
        if ty != STRUCT && length > 0 {
            return Err(Malformed::Wrong);
        }
        (0..length).try_for_each(|index| each(self, index))?;
        Ok(true)
    }

    /// Reads a struct within.
    pub fn within(
        &mut self,
        field: Field,
        each: impl FnMut(&mut Self, Field) -> Result<bool>,
    ) -> Result<bool> {
        if field.ty != STRUCT {
            return Err(Malformed::Wrong);
        }
        self.fields(each)?;
        Ok(true)
    }

    /// Reads an integer.
    pub fn integer(&mut self, field: Field, into: &mut Option<i64>) -> Result<bool> {
        if !matches!(field.ty, I16 | I32 | I64) {
            return Err(Malformed::Wrong);
        }
        *into = Some(self.signed()?);
        Ok(true)
    }

    fn skip(&mut self, ty: u8, depth: usize) -> Result<()> {
        if depth > DEEPEST {
            return Err(Malformed::Wrong);
        }
        match ty {
            TRUE | FALSE => Ok(()),
            BYTE => self.pass(1),
            I16 | I32 | I64 => self.unsigned().map(|_| ()),
            DOUBLE => self.pass(8),
            BINARY => {
                let length = usize::try_from(self.unsigned()?).map_err(|_| Malformed::Wrong)?;
                self.pass(length)
            }
            LIST | SET => {
                let (length, ty) = self.list()?;
                (0..length).try_for_each(|_| self.skip_element(ty, depth + 1))
            }
            MAP => self.skip_map(depth + 1),
            STRUCT => self.skip_struct(depth + 1),
            _ => Err(Malformed::Wrong),
        }
    }

    fn skip_struct(&mut self, depth: usize) -> Result<()> {
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Ok(());
            }
            if head >> 4 == 0 {
                self.signed()?;
            }
            self.skip(head & 15, depth)?;
        }
    }

    fn skip_map(&mut self, depth: usize) -> Result<()> {
        let length = self.length()?;
        if length == 0 {
            return Ok(());
        }
        let types = self.byte()?;
        (0..length).try_for_each(|_| {
            self.skip_element(types >> 4, depth)?;
            self.skip_element(types & 15, depth)
        })
    }

    /// A truth value has a byte of its own in a list, and none as a field.
    fn skip_element(&mut self, ty: u8, depth: usize) -> Result<()> {
        if matches!(ty, TRUE | FALSE) { self.pass(1) } else { self.skip(ty, depth) }
    }

    fn list(&mut self) -> Result<(usize, u8)> {
        let head = self.byte()?;
        let length = if head >> 4 == 15 { self.length()? } else { usize::from(head >> 4) };
        Ok((length, head & 15))
    }

    fn length(&mut self) -> Result<usize> {
        let length = self.unsigned()?;
        usize::try_from(length).ok().filter(|&length| length <= LONGEST_LIST).ok_or(Malformed::Wrong)
    }

    fn signed(&mut self) -> Result<i64> {
        let value = self.unsigned()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn unsigned(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed::Wrong)
    }

    fn byte(&mut self) -> Result<u8> {
        let byte = *self.bytes.get(self.at).ok_or(Malformed::Ends)?;
        self.at += 1;
        Ok(byte)
    }

    fn pass(&mut self, bytes: usize) -> Result<()> {
        if bytes > self.bytes.len() - self.at {
            return Err(Malformed::Ends);
        }
        self.at += bytes;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(bytes: &[u8]) -> Result<usize> {
        let mut thrift = Thrift::new(bytes);
        thrift.fields(|_, _| Ok(false)).map(|()| thrift.position())
    }

    #[test]
    fn what_is_well_formed_is_passed_over() {
        // 1: i32 -3; 2: list of two structs {1: true}, {}; 20: binary "ab"; 21: map {1: "x"}.
        let bytes = [0x15, 5, 0x19, 0x2c, 0x11, 0, 0, 0x08, 40, 2, b'a', b'b', 0x1b, 1, 0x58, 2, 1, b'x', 0];
        assert_eq!(whole(&bytes), Ok(bytes.len()));
        for end in 0..bytes.len() {
            assert_eq!(whole(&bytes[..end]), Err(Malformed::Ends), "{end}");
        }
        let mut numbers = Vec::new();
        let taken = Thrift::new(&bytes).fields(|thrift, field| {
            let mut value = None;
            let taken = field.id == 1 && thrift.integer(field, &mut value)?;
            numbers.extend(value);
            Ok(taken)
        });
        assert_eq!((taken, numbers), (Ok(()), vec![-3]));
    }

    #[test]
    fn depth_and_length_are_bounded() {
        let deep = [[0x1c; 1_000].as_slice(), &[0; 1_001]].concat();
        assert_eq!(whole(&deep), Err(Malformed::Wrong));
        assert_eq!(whole(&[0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x0f, 0]), Err(Malformed::Wrong));
        assert_eq!(whole(&[0x18, 0xff, 0xff, 0xff, 0xff, 0x0f]), Err(Malformed::Ends));
        assert_eq!(
            whole(&[0x15, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            Err(Malformed::Wrong)
        );
    }
}
