//! Numbers, times and errors as a person reads them, and the line that goes to stderr.

use std::io::{Write as _, stderr};
use std::time::Duration;

/// Writes a line to stderr. One that nobody reads any more must not end a recording.
pub fn line(text: &str) {
    let _ = writeln!(stderr().lock(), "{text}");
}

/// An error on one line: where it has several (the verifier tells a million instructions), the first and the last.
pub fn one_line(error: &str) -> String {
    const MOST: usize = 400;
    let cut = |line: &str| line.trim_end().chars().take(MOST).collect::<String>();
    let mut lines = error.lines().filter(|line| !line.trim().is_empty());
    let first = lines.next().map(cut).unwrap_or_default();
    match lines.next_back() {
        Some(last) => format!("{first} ... {}", cut(last)),
        None => first,
    }
}

/// A number with what it counts.
pub fn counted(number: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// Bytes as they are written on the command line.
pub fn size(bytes: u64) -> String {
    let units = [(30, "g"), (20, "m"), (10, "k")];
    let unit = units.into_iter().find(|(shift, _)| bytes != 0 && bytes.trailing_zeros() >= *shift);
    unit.map_or_else(|| format!("{bytes}b"), |(shift, unit)| format!("{}{unit}", bytes >> shift))
}

/// Hours, minutes and seconds.
pub fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// Time of day in a zone, given in seconds east of UTC.
pub fn time_of_day(wall_ns: i64, utc_offset_s: i32) -> String {
    let local_ms = wall_ns.div_euclid(1_000_000) + i64::from(utc_offset_s) * 1000;
    let (ms, seconds) = (local_ms.rem_euclid(1000), local_ms.div_euclid(1000).rem_euclid(86_400));
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let (sign, offset) = (if utc_offset_s < 0 { '-' } else { '+' }, utc_offset_s.unsigned_abs() / 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}.{ms:03}{sign}{:02}:{:02}", offset / 60, offset % 60)
}

/// Digits in groups of three.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_easy_to_read() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1234567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(time_of_day(86_399_999_000_000, 0), "23:59:59.999+00:00");
        assert_eq!(time_of_day(0, -12_600), "20:30:00.000-03:30");
        assert_eq!(time_of_day(5_000_000, 7200), "02:00:00.005+02:00");
        assert_eq!([0, 1 << 10, 5 << 20, 3 << 29].map(size), ["0b", "1k", "5m", "1536m"]);
        assert_eq!(clock(Duration::from_secs(59)), "0:59");
        assert_eq!(clock(Duration::from_secs(3661)), "1:01:01");
    }

    #[test]
    fn an_error_is_one_line() {
        assert_eq!(one_line("a: b"), "a: b");
        assert_eq!(one_line("a\nb\nc\n\n"), "a ... c");
        assert_eq!(one_line(&"x".repeat(10_000)).len(), 400);
    }
}
