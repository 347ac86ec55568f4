//! What has to be done later, earliest first.
//!
//! Whether anything is due is asked before every event, and mostly nothing is: that must cost a look at one number.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// See the module. What is due at the same time comes in its own order.
#[derive(Clone, Debug)]
pub struct Due<T: Ord>(BinaryHeap<Reverse<(i64, T)>>);

impl<T: Ord> Default for Due<T> {
    fn default() -> Due<T> {
        Due(BinaryHeap::new())
    }
}

impl<T: Ord> Due<T> {
    /// `what` is to be done at `due_ns`. The same at the same time is done once.
    pub fn push(&mut self, due_ns: i64, what: T) {
        self.0.push(Reverse((due_ns, what)));
    }

    /// Whether anything is due at `now_ns`.
    #[inline]
    pub fn is_any(&self, now_ns: i64) -> bool {
        self.0.peek().is_some_and(|Reverse((due_ns, _))| *due_ns <= now_ns)
    }

    /// Takes out the first that is due at `now_ns`, and when that was.
    pub fn pop(&mut self, now_ns: i64) -> Option<(i64, T)> {
        if !self.is_any(now_ns) {
            return None;
        }
        let Reverse(first) = self.0.pop()?;
        while self.0.peek().is_some_and(|Reverse(next)| *next == first) {
            self.0.pop();
        }
        Some(first)
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_comes_in_order_and_once() {
        let mut due = Due::default();
        for (due_ns, what) in [(7, 'b'), (5, 'z'), (7, 'a'), (7, 'b'), (9, 'c')] {
            due.push(due_ns, what);
        }
        assert!(!due.is_any(4));
        let by_eight: Vec<_> = std::iter::from_fn(|| due.pop(8)).collect();
        assert_eq!(by_eight, [(5, 'z'), (7, 'a'), (7, 'b')]);
        due.clear();
        assert_eq!(due.pop(i64::MAX), None);
    }
}
