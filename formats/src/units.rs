//! How durations and sizes are written on the command lines of both programs: `1h30m`, `1.5s`, `10ms`; `512k`, `8m`. A number
//! without a unit is none: whoever means seconds would get something else somewhere.

/// Nanoseconds of each unit of time.
const TIMES: [(&str, u64); 9] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("min", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];
/// Bytes of each unit of size.
const SIZES: [(&str, u64); 10] = [
    ("b", 1),
    ("kb", 1 << 10),
    ("mb", 1 << 20),
    ("gb", 1 << 30),
    ("k", 1 << 10),
    ("kib", 1 << 10),
    ("m", 1 << 20),
    ("mib", 1 << 20),
    ("g", 1 << 30),
    ("gib", 1 << 30),
];

/// Nanoseconds, at most `i64::MAX`.
///
/// # Errors
/// A line that says what to write.
pub fn duration_ns(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a time such as 90s, 1h30m, 1.5s or 10ms");
    if is_number(text) {
        return Err(format!("{text} has no unit: write {text}s for seconds, {text}ms for milliseconds"));
    }
    sum(text, &TIMES).ok_or_else(wrong)
}

/// Bytes; units are binary, in either case.
///
/// # Errors
/// A line that says what to write.
pub fn size_bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a size such as 64k, 8m or 1g");
    if is_number(text) {
        return Err(format!("{text} has no unit: write {text}b for bytes, {text}k for KiB"));
    }
    sum(&text.to_ascii_lowercase(), &SIZES).ok_or_else(wrong)
}

fn is_number(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(|c| c.is_ascii_digit() || c == '.')
}

/// The sum of numbers that each have a unit; none where it is something else, or more than `i64::MAX`.
fn sum(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() || text.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (_, scale) = units.iter().find(|(unit, _)| *unit == &tail[..letters])?;
        total = total.checked_add(scaled(number, *scale)?).filter(|&total| i64::try_from(total).is_ok())?;
        rest = &tail[letters..];
    }
    Some(total)
}

/// A decimal number times `scale`, what is less than one cut off.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    // More digits than there are nanoseconds in a day change nothing.
    let digits = fraction.get(..fraction.len().min(15)).filter(|_| !fraction.contains('.'))?;
    let part = u128::from(digits.parse::<u64>().ok()?) * u128::from(scale) / 10_u128.pow(digits.len() as u32);
    whole.parse::<u64>().ok()?.checked_mul(scale)?.checked_add(u64::try_from(part).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_have_units() {
        for (text, ns) in [
            ("0ns", 0),
            ("250us", 250_000),
            ("250µs", 250_000),
            ("10ms", 10_000_000),
            ("1.5s", 1_500_000_000),
            ("0.0000000019s", 1),
            ("1h30m", 5_400_000_000_000),
            ("1h30m0.5s", 5_400_500_000_000),
            ("10min", 600_000_000_000),
            ("2d", 172_800_000_000_000),
        ] {
            assert_eq!(duration_ns(text), Ok(ns), "{text}");
        }
        for (text, bytes) in [("65536b", 65_536), ("64K", 65_536), ("1.5m", 3 << 19), ("1GiB", 1 << 30)] {
            assert_eq!(size_bytes(text), Ok(bytes), "{text}");
        }
        for bad in [
            "",
            " ",
            "s",
            "ms",
            "-1s",
            "+1s",
            "1 s",
            "1S",
            "1x",
            "1.2.3s",
            ".5s",
            "1.s",
            "1s5",
            "1e3s",
            "300000000h",
            "99999999999999999999s",
            "1,5s",
        ] {
            assert!(duration_ns(bad).is_err(), "{bad}");
        }
        for bad in ["", "k", "-1k", "1t", "8 m", "9999999999999g"] {
            assert!(size_bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_number_alone_is_refused_with_what_to_write() {
        assert!(duration_ns("10").unwrap_err().contains("write 10s"));
        assert!(duration_ns("1.5").unwrap_err().contains("write 1.5s"));
        assert!(size_bytes("65536").unwrap_err().contains("write 65536b"));
    }
}
