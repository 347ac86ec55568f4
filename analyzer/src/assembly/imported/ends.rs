//! The ends that a span names: whom it asked, or who asked it.

use std::borrow::Cow;
use std::collections::HashMap;

use retrospan_formats::tables::ImportedSpanRow;
use retrospan_protocols::semconv::Kind;
use retrospan_protocols::semconv::read::End;
use rustc_hash::FxBuildHasher;

use crate::assembly::imported::attributes::Attributes;

/// Names by number.
#[derive(Debug, Default)]
pub struct Names {
    list: Vec<Box<str>>,
    numbers: HashMap<Box<str>, u32, FxBuildHasher>,
}

/// A name by its number; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(u32);

impl Name {
    /// This one, or else the other.
    pub fn or(self, other: Name) -> Name {
        if self.0 == 0 { other } else { self }
    }
}

impl Names {
    /// The number of a name.
    pub fn number(&mut self, name: Option<&str>) -> Name {
        let Some(name) = name else { return Name::default() };
        if let Some(&number) = self.numbers.get(name) {
            return Name(number);
        }
        self.list.push(name.into());
        let number = self.list.len() as u32;
        self.numbers.insert(name.into(), number);
        Name(number)
    }

    /// The name of a number.
    pub fn name(&self, number: Name) -> Option<&str> {
        let place = (number.0 as usize).checked_sub(1)?;
        self.list.get(place).map(|name| &**name)
    }
}

/// Both ends of what a span tells of, as far as it names them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// Requesting address.
    pub src: Name,
    /// Answering address.
    pub dst: Name,
    /// Answering port; 0 is none.
    pub dst_port: u16,
    /// What is spoken.
    pub protocol: Name,
}

impl Ends {
    /// Of a row; something within a process has none.
    pub fn of(row: &ImportedSpanRow<'_>, kind: Kind, names: &mut Names) -> Ends {
        if kind == Kind::Internal {
            return Ends::default();
        }
        let attributes = Attributes::of(row.attributes);
        let told = attributes.reader().read(kind);
        let address = |end: &End<'_>| end.0.as_ref().map(|address: &Cow<'_, str>| address.to_string());
        Ends {
            src: names.number(address(&told.src).as_deref()),
            dst: names.number(address(&told.dst).as_deref()),
            dst_port: told.dst.1.unwrap_or_default(),
            protocol: names.number(told.protocol.as_deref()),
        }
    }

    /// Each part of this, or else of the other.
    pub fn or(self, other: Ends) -> Ends {
        Ends {
            src: self.src.or(other.src),
            dst: self.dst.or(other.dst),
            dst_port: if self.dst_port == 0 { other.dst_port } else { self.dst_port },
            protocol: self.protocol.or(other.protocol),
        }
    }
}
