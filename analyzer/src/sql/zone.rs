//! The zone of a session's times, and what a text means that is compared with a time.
//!
//! Files hold UTC. A session shows times in the zone of the recording host (or UTC), and takes every text
//! without an offset for a time in that zone: what was read off a table can be written into the next query.

use std::sync::Arc;

use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::compute::kernels::cast_utils::string_to_datetime;
use datafusion::arrow::datatypes::{DataType, TimeUnit};

use crate::text;

/// Nanoseconds of a day.
const DAY_NS: i64 = 86_400_000_000_000;

/// The zone of a session, and the recording that a time of day is looked for in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Zone {
    /// Seconds east of UTC.
    pub offset_s: i32,
    /// Begin of the recording, ns since 1970 UTC.
    pub begin_ns: i64,
    /// Its end.
    pub end_ns: i64,
}

impl Zone {
    /// Its name as Arrow and SQL write it: `+01:00`; UTC has that name.
    pub fn name(self) -> Arc<str> {
        if self.offset_s == 0 { "UTC".into() } else { text::zone(self.offset_s).into() }
    }

    /// The type of times in it.
    pub fn time_type(self) -> DataType {
        DataType::Timestamp(TimeUnit::Nanosecond, Some(self.name()))
    }

    /// A time as people write it: `2026-11-20 18:22`, with seconds, a fraction and an offset or without, a
    /// day alone, or `18:22` on that day of the recording.
    ///
    /// # Errors
    /// A sentence that says what to write.
    pub fn parse(self, text: &str) -> Result<i64, String> {
        let wrong = || {
            format!("'{text}' is not a time such as '{}' or '{}'", self.example(19), &self.example(19)[11..])
        };
        let text = text.trim();
        if let Some((of_day_ns, offset_s)) = time_of_day(text) {
            return self
                .on_a_day(of_day_ns - i64::from(offset_s.unwrap_or(self.offset_s)) * 1_000_000_000, text);
        }
        let (day, rest) = text.split_at_checked(10).ok_or_else(wrong)?;
        let midnight_ns = utc_ns(day).ok_or_else(wrong)?;
        let (of_day_ns, offset_s) = match rest.strip_prefix(['T', 't', ' ']) {
            Some(of_day) => time_of_day(of_day).ok_or_else(wrong)?,
            None if rest.is_empty() => (0, None),
            None => return Err(wrong()),
        };
        let offset_ns = i64::from(offset_s.unwrap_or(self.offset_s)) * 1_000_000_000;
        midnight_ns.checked_add(of_day_ns - offset_ns).ok_or_else(wrong)
    }

    /// The first characters of the begin of the recording.
    fn example(self, characters: usize) -> String {
        text::time(self.begin_ns, self.offset_s, 0).chars().take(characters).collect()
    }

    /// The moment of the recording at which a clock shows that time (ns since midnight UTC): the one nearest
    /// to it where it lies outside.
    fn on_a_day(self, of_day_ns: i64, text: &str) -> Result<i64, String> {
        let first_day = (self.begin_ns - of_day_ns).div_euclid(DAY_NS);
        let last_day = (self.end_ns - of_day_ns).div_euclid(DAY_NS) + 1;
        let moments = || (first_day..=last_day).map(|day| day * DAY_NS + of_day_ns);
        let within = moments().filter(|ns| (self.begin_ns..=self.end_ns).contains(ns));
        match within.collect::<Vec<_>>()[..] {
            [one] => Ok(one),
            [] => {
                let away = |ns: &i64| (self.begin_ns - ns).max(ns - self.end_ns);
                moments().min_by_key(away).ok_or_else(|| format!("'{text}' is not a time"))
            }
            _ => Err(format!(
                "the recording has several days with a '{text}': write the day too, as in '{}'",
                self.example(16)
            )),
        }
    }
}

fn utc_ns(text: &str) -> Option<i64> {
    let utc: Tz = "+00:00".parse().ok()?;
    string_to_datetime(&utc, text).ok()?.timestamp_nanos_opt()
}

/// Nanoseconds since midnight, and the offset in seconds where one is written: `18:22`, `9:05:01.25`,
/// `18:22:03+01:00`.
fn time_of_day(text: &str) -> Option<(i64, Option<i32>)> {
    let (clock, offset_s) = match text.find(['Z', 'z', '+', '-']) {
        Some(at) => (text[..at].trim_end(), Some(offset(&text[at..])?)),
        None => (text, None),
    };
    let mut pieces = clock.split(':');
    let (hour, minute) = (number(pieces.next()?, 1, 23)?, number(pieces.next()?, 2, 59)?);
    let (second, fraction) = pieces.next().map_or(Some(("00", "")), |last| match last.split_once('.') {
        Some((_, "")) => None,
        Some(parts) => Some(parts),
        None => Some((last, "")),
    })?;
    let second = number(second, 2, 59)?;
    let fraction_ns = match fraction {
        "" => 0,
        digits if digits.len() <= 9 => number(digits, 1, i64::MAX)? * 10_i64.pow(9 - digits.len() as u32),
        _ => return None,
    };
    let seconds = hour * 3600 + minute * 60 + second;
    pieces.next().is_none().then_some((seconds * 1_000_000_000 + fraction_ns, offset_s))
}

/// `Z`, `+01`, `+0100` or `+01:00`, in seconds.
fn offset(text: &str) -> Option<i32> {
    if text.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, digits) = text.split_at_checked(1)?;
    let digits = digits.replace(':', "");
    let (hours, minutes) = digits.split_at_checked(2)?;
    let minutes = if minutes.is_empty() { 0 } else { number(minutes, 2, 59)? };
    let seconds = number(hours, 2, 23)? * 3600 + minutes * 60;
    i32::try_from(if sign == "-" { -seconds } else { seconds }).ok()
}

/// A number of at least so many digits (and at most nine), up to `most`.
fn number(text: &str, digits: usize, most: i64) -> Option<i64> {
    let is_number = (digits..=9).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|number| is_number && *number <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-20 23:30 to 00:30 at +01:00.
    const NIGHT: Zone =
        Zone { offset_s: 3600, begin_ns: 1_795_213_800_000_000_000, end_ns: 1_795_217_400_000_000_000 };

    fn shown(zone: Zone, text: &str) -> String {
        zone.parse(text).map_or_else(|e| e, |ns| text::time(ns, zone.offset_s, 9))
    }

    #[test]
    fn what_was_copied_is_the_time_it_was_copied_from() {
        for text in ["2026-11-20 23:45:03.123456789+01:00", "2026-11-20T22:45:03.123456789Z"] {
            assert_eq!(shown(NIGHT, text), "2026-11-20 23:45:03.123456789+01:00");
        }
        assert_eq!(shown(NIGHT, "2026-11-20 23:45:03.5"), "2026-11-20 23:45:03.500000000+01:00");
        assert_eq!(shown(NIGHT, "2026-11-20 23:45"), "2026-11-20 23:45:00.000000000+01:00");
        assert_eq!(shown(NIGHT, "2026-11-21"), "2026-11-21 00:00:00.000000000+01:00");
        assert_eq!(shown(NIGHT, "2026-11-20 18:00-0530"), "2026-11-21 00:30:00.000000000+01:00");
    }

    #[test]
    fn a_time_of_day_is_that_of_the_recording() {
        assert_eq!(shown(NIGHT, "23:45"), "2026-11-20 23:45:00.000000000+01:00");
        assert_eq!(shown(NIGHT, "0:10:01.25"), "2026-11-21 00:10:01.250000000+01:00");
        // Outside of it: the nearest.
        assert_eq!(shown(NIGHT, "23:00"), "2026-11-20 23:00:00.000000000+01:00");
        assert_eq!(shown(NIGHT, "00:45"), "2026-11-21 00:45:00.000000000+01:00");
        assert_eq!(shown(NIGHT, "22:45Z"), "2026-11-20 23:45:00.000000000+01:00");
        let days = Zone { end_ns: NIGHT.end_ns + 2 * DAY_NS, ..NIGHT };
        assert!(
            shown(days, "23:45").contains("several days") && shown(days, "12:00").contains("write the day")
        );
    }

    #[test]
    fn what_is_no_time_says_what_to_write() {
        for bad in [
            "ok",
            "",
            "24:00",
            "18:60",
            "18",
            "18:22:",
            "18:22:1",
            "18:22:03.",
            "2026-13-01",
            "2026-11-20x",
            "é",
            "1:2",
        ] {
            let error = NIGHT.parse(bad).unwrap_err();
            assert!(error.contains("'2026-11-20 23:30:00' or '23:30:00'"), "{bad}: {error}");
        }
    }

    #[test]
    fn a_zone_has_a_name_that_arrow_knows() {
        assert_eq!(&*NIGHT.name(), "+01:00");
        assert_eq!(&*Zone::default().name(), "UTC");
    }
}
