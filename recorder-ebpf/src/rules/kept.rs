//! How much of the data of one event is kept.

/// How much of the data of one event is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// First bytes.
    pub head: u64,
    /// Last bytes: 0 or [`retrospan_formats::event::TAIL_BYTES`]. Head and tail never overlap.
    pub tail: u64,
}

const TAIL: u64 = retrospan_formats::event::TAIL_BYTES as u64;

/// Splits `done` bytes into what is kept: the first `budget` or `short` bytes, whichever is more, and
/// the tail of what is longer than that.
#[inline(always)]
pub fn keep(done: u64, budget: u64, short: u64) -> Kept {
    let most = if budget > short { budget } else { short };
    if done <= most {
        return Kept { head: done, tail: 0 };
    }
    if done < TAIL {
        return Kept { head: most, tail: 0 };
    }
    let before_tail = done - TAIL;
    Kept { head: if most < before_tail { most } else { before_tail }, tail: TAIL }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_bytes_cover_short_data_and_the_ends_of_long_data() {
        for done in 0..3000 {
            for budget in [0, 1, 3, 63, 64, 65, 100, 1024] {
                let kept = keep(done, budget, 64);
                let most = budget.max(64);
                assert!(kept.head <= most && kept.head + kept.tail <= done);
                assert_eq!(kept.head == done, done <= most);
                assert_eq!(kept.tail == TAIL, done > most);
                if done > most + TAIL {
                    assert_eq!(kept.head, most);
                }
            }
        }
        assert_eq!(keep(5, 3, 0), Kept { head: 3, tail: 0 });
    }
}
