//! When our own code, or a library that we trust with somebody else's bytes, panics: one line and an exit code instead of a trace.

use std::any::Any;
use std::cell::Cell;
use std::io::Write;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// The capture that was opened last.
static READING: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Notes what is being read, so that a panic can say so.
pub(crate) fn reading(capture: &Path) {
    if let Ok(mut reading) = READING.lock() {
        *reading = Some(capture.to_owned());
    }
}

/// The capture that was opened last in this process.
pub fn last_read() -> Option<PathBuf> {
    READING.try_lock().ok().and_then(|reading| reading.clone())
}

/// Runs a step that may panic over what it reads. The error is the panic's message.
pub fn guarded<T>(step: impl FnOnce() -> T) -> Result<T, String> {
    let before = GUARDED.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(step));
    GUARDED.set(before);
    result.map_err(|payload| message(payload.as_ref()))
}

/// Whether this thread is within a [`guarded`] step.
pub fn is_guarded() -> bool {
    GUARDED.get()
}

/// From now on a panic of any thread, unless it is [`guarded`], says one line on stderr and ends the program with exit code 2.
pub fn install(program: &'static str) {
    panic::set_hook(Box::new(move |panic| {
        if is_guarded() {
            return;
        }
        // Where stderr is closed nobody wants it.
        let _ = writeln!(std::io::stderr(), "{}", line(program, panic));
        std::process::exit(2);
    }));
}

fn line(program: &str, panic: &PanicHookInfo<'_>) -> String {
    let place = panic.location().map(|l| format!(" ({}:{})", l.file(), l.line())).unwrap_or_default();
    let reading = last_read().map(|path| format!(" while {} was read", path.display())).unwrap_or_default();
    let text = format!(
        "{program}: this should not have happened{reading}: {}{place}; please report it",
        message(panic.payload())
    );
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().filter(|c| !c.is_control()).collect()
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no reason".to_owned())
}

/// How many files this process may have open.
pub(crate) fn descriptors() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(256)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guarded_panic_is_an_error() {
        assert_eq!(guarded(|| 1), Ok(1));
        let error = guarded(|| panic!("byte {} of {}", 3, 2)).unwrap_err();
        assert_eq!(error, "byte 3 of 2");
        assert!(!GUARDED.get());
    }
}
