//! Tests of one file run together, tests of two files never.
//!
//! A test program is made of many files. Some of their tests load the machine, others record their own process or
//! measure time: each file is written so that its own tests do not disturb each other, and no file knows what the
//! others do. So such a test takes a turn first, and holds it to its end.

use std::panic::Location;
use std::sync::{Condvar, Mutex, PoisonError};

/// Whose turn it is among the tests of a program.
#[derive(Debug)]
pub struct Turns {
    now: Mutex<Now>,
    ended: Condvar,
}

#[derive(Debug)]
struct Now {
    file: &'static str,
    running: usize,
}

/// The right to run, until it is dropped.
#[derive(Debug)]
#[must_use = "the turn ends where this is dropped"]
pub struct Turn(&'static Turns);

static OF_THIS_PROGRAM: Turns = Turns::new();

/// Waits until no test of another file runs.
#[track_caller]
pub fn turn() -> Turn {
    OF_THIS_PROGRAM.take(Location::caller().file())
}

impl Turns {
    const fn new() -> Turns {
        Turns { now: Mutex::new(Now { file: "", running: 0 }), ended: Condvar::new() }
    }

    fn take(&'static self, file: &'static str) -> Turn {
        let now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let is_anothers = |now: &mut Now| now.running > 0 && now.file != file;
        let mut now = self.ended.wait_while(now, is_anothers).unwrap_or_else(PoisonError::into_inner);
        now.file = file;
        now.running += 1;
        Turn(self)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut now = self.0.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.running -= 1;
        self.0.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;

    use super::{Turns, turn};

    #[test]
    fn tests_of_one_file_run_together() {
        static TURNS: Turns = Turns::new();
        let both = Barrier::new(2);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let _turn = TURNS.take("one");
                    both.wait();
                });
            }
        });
    }

    #[test]
    fn tests_of_two_files_never_do() {
        static TURNS: Turns = Turns::new();
        let running = [const { AtomicU32::new(0) }; 2];
        thread::scope(|scope| {
            for nth in 0..8 {
                let (own, other) = (&running[nth % 2], &running[1 - nth % 2]);
                scope.spawn(move || {
                    for _ in 0..200 {
                        let _turn = TURNS.take(["one", "two"][nth % 2]);
                        own.fetch_add(1, Ordering::SeqCst);
                        thread::yield_now();
                        assert_eq!(other.load(Ordering::SeqCst), 0);
                        own.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
    }

    #[test]
    fn the_file_is_that_of_the_caller() {
        let turn = turn();
        assert_eq!(turn.0.now.lock().expect("no panic").file, file!());
    }
}
