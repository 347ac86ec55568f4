//! Text for people: durations, sizes, times in a host's zone, and harmless copies of hostile strings.
//!
//! Captured traffic is written by strangers. Whatever a terminal may show goes through [`harmless`].

use std::fmt::Write;

/// A copy in which nothing acts on a terminal: control characters, line ends and characters that
/// change the direction of writing are written as escapes.
pub fn escape_controls(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            '\t' => safe.push_str("\\t"),
            c if !is_control_like(c) => safe.push(c),
            c if (c as u32) < 0x100 => push(&mut safe, format_args!("\\x{:02x}", c as u32)),
            c => push(&mut safe, format_args!("\\u{{{:x}}}", c as u32)),
        }
    }
    safe
}

/// As [`harmless`], but for line ends and tabs, which stay: for files.
pub fn harmless_lines(text: &str) -> String {
    text.split_inclusive(['\n', '\r', '\t'])
        .map(|piece| match piece.char_indices().next_back() {
            Some((at, end @ ('\n' | '\r' | '\t'))) => format!("{}{end}", escape_controls(&piece[..at])),
            _ => escape_controls(piece),
        })
        .collect()
}

/// Whether a terminal may do something else than show the character.
pub fn is_control_like(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Bytes as text: printable ASCII as it is, all else (the backslash too, so that it can be undone)
/// as `\xNN`.
pub fn bytes_as_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'\\' => text.push_str("\\x5c"),
            0x20..=0x7e => text.push(char::from(byte)),
            _ => push(&mut text, format_args!("\\x{byte:02x}")),
        }
    }
    text
}

/// As one word of a shell command.
pub fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// A duration with three or more significant digits: `870 ns`, `12.3 µs`, `1.24 ms`, `600 s`.
pub fn duration(ns: i64) -> String {
    let sign = if ns < 0 { "-" } else { "" };
    let value = ns.unsigned_abs() as f64;
    let (scaled, unit) = match value {
        v if v < 1e3 => return format!("{sign}{} ns", ns.unsigned_abs()),
        v if v < 999_500.0 => (v / 1e3, "µs"),
        v if v < 999_500_000.0 => (v / 1e6, "ms"),
        v => (v / 1e9, "s"),
    };
    format!("{sign}{} {unit}", three_digits(scaled))
}

/// A size: `812 B`, `3.40 KiB`, `12.0 MiB`.
pub fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut scaled = bytes as f64;
    let mut unit = "B";
    for next in units {
        if scaled < 999.5 {
            break;
        }
        scaled /= 1024.0;
        unit = next;
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{} {unit}", three_digits(scaled)) }
}

/// A count with thin groups: `12 345 678`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A count of something: `1 span`, `12 345 spans`.
pub fn counted(many: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(many), if many == 1 { "" } else { "s" })
}

fn three_digits(value: f64) -> String {
    match value {
        v if v < 9.995 => format!("{v:.2}"),
        v if v < 99.95 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}

/// A point in time in a zone `offset_s` seconds east of UTC, with `digits` (0 to 9) of the fraction:
/// `2026-11-20 17:03:04.123456+01:00`.
pub fn time(wall_ns: i64, offset_s: i32, digits: usize) -> String {
    let local = i128::from(wall_ns) + i128::from(offset_s) * 1_000_000_000;
    let seconds = local.div_euclid(1_000_000_000) as i64;
    let fraction = format!("{:09}", local.rem_euclid(1_000_000_000));
    let (year, month, day) = civil(seconds.div_euclid(86_400));
    let second = seconds.rem_euclid(86_400);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let mut text = format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}");
    if digits > 0 {
        push(&mut text, format_args!(".{}", &fraction[..digits.min(9)]));
    }
    text.push_str(&zone(offset_s));
    text
}

/// `+01:00`.
pub fn zone(offset_s: i32) -> String {
    let sign = if offset_s < 0 { '-' } else { '+' };
    let minutes = offset_s.unsigned_abs() / 60;
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

/// Year, month and day of a day counted from 1970-01-01 in the proleptic Gregorian calendar: eras of
/// 400 years that begin on 1 March, so that the leap day comes last.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// Appends; writing to a `String` cannot fail.
fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    let _ = text.write_fmt(arguments);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        let cases = [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.00 µs"),
            (12_345, "12.3 µs"),
            (999_499, "999 µs"),
            (999_500, "1.00 ms"),
            (-1_500_000, "-1.50 ms"),
            (600_200_000_000, "600 s"),
            (i64::MIN, "-9223372037 s"),
        ];
        for (ns, text) in cases {
            assert_eq!(duration(ns), text);
        }
    }

    #[test]
    fn times_agree_with_the_calendar() {
        assert_eq!(time(0, 0, 0), "1970-01-01 00:00:00+00:00");
        assert_eq!(time(951_782_400_000_000_001, 3600, 9), "2000-02-29 01:00:00.000000001+01:00");
        assert_eq!(time(-1, -19_800, 3), "1969-12-31 18:29:59.999-05:30");
        assert_eq!(time(i64::MAX, 0, 0), "2262-04-11 23:47:16+00:00");
        assert_eq!(time(1_709_164_800_000_000_000, 0, 0), "2024-02-29 00:00:00+00:00");
    }

    #[test]
    fn sizes_and_counts() {
        assert_eq!(size(999), "999 B");
        assert_eq!(size(3482), "3.40 KiB");
        assert_eq!(size(12 << 20), "12.0 MiB");
        assert_eq!(count(0), "0");
        assert_eq!(count(12_345_678), "12 345 678");
        assert_eq!(count(123), "123");
    }

    #[test]
    fn hostile_text_is_harmless() {
        assert_eq!(escape_controls("a\x1b[31m\n\u{9b}\u{202e}\u{7f}é"), "a\\x1b[31m\\n\\x9b\\u{202e}\\x7fé");
        assert_eq!(bytes_as_text(b"a\\\xff\r\n"), "a\\x5c\\xff\\x0d\\x0a");
    }
}
