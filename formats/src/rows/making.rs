//! Columns of numbers and of names in the making.
//!
//! A row of spans has sixty values, so what one costs counts: nothing is asked of a column without nulls, and a name that was
//! there lately is found without looking at more of it than two words.

use std::collections::HashMap;

use arrow::buffer::{BooleanBuffer, NullBuffer};

/// A column of numbers.
#[derive(Debug)]
pub struct Numbers<T> {
    values: Vec<T>,
    /// Which of them are not null; empty as long as all are.
    valid: Vec<bool>,
}

impl<T: Copy + Default> Numbers<T> {
    pub(super) fn with_capacity(rows: usize) -> Numbers<T> {
        Numbers { values: Vec::with_capacity(rows), valid: Vec::new() }
    }

    #[inline]
    pub(super) fn push(&mut self, value: Option<T>) {
        if value.is_none() && self.valid.is_empty() {
            self.valid.reserve(self.values.capacity());
            self.valid.resize(self.values.len(), true);
        }
        if value.is_none() || !self.valid.is_empty() {
            self.valid.push(value.is_some());
        }
        self.values.push(value.unwrap_or_default());
    }

    /// Hands out the numbers so far, and makes room for as many others.
    pub(super) fn take(&mut self) -> (Vec<T>, Option<NullBuffer>) {
        let next = Vec::with_capacity(self.values.len());
        let values = std::mem::replace(&mut self.values, next);
        let nulls = (!self.valid.is_empty())
            .then(|| NullBuffer::new(BooleanBuffer::collect_bool(values.len(), |row| self.valid[row])));
        self.valid.clear();
        (values, nulls)
    }
}

/// A dictionary column. Neighbouring rows mostly have one of a few values, so those used last are tried first.
#[derive(Debug)]
pub struct Names {
    keys: Numbers<i32>,
    names: Vec<Box<str>>,
    by_name: HashMap<Box<str>, i32>,
    /// By the marks of their names.
    recent: [Recent; RECENT],
}

/// A name that was used before.
#[derive(Clone, Copy, Debug)]
struct Recent {
    mark: u64,
    length: usize,
    key: i32,
}

const RECENT: usize = 16;
/// No name is as long.
const NOBODY: Recent = Recent { mark: 0, length: usize::MAX, key: 0 };
/// So short names are told by length and mark alone.
const MARKED_BYTES: usize = 8;

impl Names {
    pub(super) fn with_capacity(rows: usize) -> Names {
        Names {
            keys: Numbers::with_capacity(rows),
            names: Vec::new(),
            by_name: HashMap::new(),
            recent: [NOBODY; RECENT],
        }
    }

    #[inline]
    pub(super) fn push(&mut self, name: Option<&str>) {
        let key = name.map(|name| self.key(name));
        self.keys.push(key);
    }

    #[inline]
    fn key(&mut self, name: &str) -> i32 {
        let (mark, length) = (mark(name.as_bytes()), name.len());
        let place = (mark.wrapping_mul(SPREAD) >> 60) as usize % RECENT;
        let recent = self.recent[place];
        let same = recent.mark == mark
            && recent.length == length
            && (length <= MARKED_BYTES || *self.names[recent.key as usize] == *name);
        if same {
            return recent.key;
        }
        let key = self.look_up(name);
        self.recent[place] = Recent { mark, length, key };
        key
    }

    fn look_up(&mut self, name: &str) -> i32 {
        if let Some(&key) = self.by_name.get(name) {
            return key;
        }
        let key = self.names.len() as i32;
        self.names.push(name.into());
        self.by_name.insert(name.into(), key);
        key
    }

    /// Hands out the keys so far, and the names that they stand for.
    pub(super) fn take(&mut self) -> (Vec<i32>, Option<NullBuffer>, Vec<Box<str>>) {
        self.by_name.clear();
        self.recent = [NOBODY; RECENT];
        let (keys, nulls) = self.keys.take();
        (keys, nulls, std::mem::take(&mut self.names))
    }
}

/// An odd number without a pattern (2^64 divided by the golden ratio), which brings all bits of a mark to the top.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// The first and the last bytes of a name: all, where there are at most [`MARKED_BYTES`].
#[inline]
fn mark(name: &[u8]) -> u64 {
    if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
        return u64::from_le_bytes(*first) ^ u64::from_le_bytes(*last).rotate_left(17) ^ name.len() as u64;
    }
    if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
        return u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32;
    }
    name.iter().fold(0, |mark, byte| mark << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_null_where_they_were() {
        let mut numbers = Numbers::with_capacity(4);
        for nulls in [&[][..], &[0], &[3, 4, 299], &[]] {
            (0..300).for_each(|row| numbers.push((!nulls.contains(&row)).then_some(row + 1)));
            let (values, valid) = numbers.take();
            let rows = 0..300i32;
            assert_eq!(valid.is_some(), !nulls.is_empty());
            let is_valid = |row: i32| valid.as_ref().is_none_or(|valid| valid.is_valid(row as usize));
            assert!(rows.clone().all(|row| is_valid(row) != nulls.contains(&row)));
            assert!(rows.filter(|&row| is_valid(row)).all(|row| values[row as usize] == row + 1));
        }
    }

    #[test]
    fn names_of_one_mark_are_told_apart() {
        let mut names = Names::with_capacity(0);
        let all = [
            "",
            "\0",
            "\0\0",
            "a",
            "aa",
            "abcd",
            "abcdefg",
            "first-1-lasts",
            "first-2-lasts",
            "abcdefgh",
            "abcdefghabcdefgh",
        ];
        let middles = ["0123456789ABCDEF", "01234567-89ABCDEF", "01234567+89ABCDEF", "01234567=89ABCDEF"];
        let all: Vec<&str> = all.into_iter().chain(middles).collect();
        for _ in 0..3 {
            for round in 1..5 {
                all.iter().step_by(round).for_each(|name| names.push(Some(name)));
            }
            let (keys, nulls, known) = names.take();
            assert!(nulls.is_none());
            let pushed = (1..5).flat_map(|round| all.iter().step_by(round));
            assert!(keys.iter().map(|&key| &*known[key as usize]).eq(pushed.copied()));
            assert_eq!(known.iter().map(|name| &**name).collect::<Vec<_>>(), all);
        }
    }
}
