//! When a copy of what is held is to be made (`--dump-on`), as words and as data.

use std::fmt;
use std::time::Duration;

use retrospan_formats::units;

/// What a copy is made on.
#[derive(Clone, Debug, PartialEq)]
pub enum DumpOn {
    /// SIGUSR1.
    Signal,
    /// The end of a process with this name (15 characters at most).
    Exit(String),
    /// More connections a second whose client left before it was answered.
    ClientClosed(f64),
    /// More than a hundredth of the answers of this port begin later than this.
    Slow(u16, Duration),
}

impl DumpOn {
    /// `SIGUSR1`, `exit:NAME`, `client-closed>5/s` or `p99:8080>250ms`.
    ///
    /// # Errors
    /// A line that says what to write.
    pub fn parse(text: &str) -> Result<DumpOn, String> {
        let wrong =
            || format!("{text:?} is none of SIGUSR1, exit:NAME, client-closed>5/s and p99:8080>250ms");
        if matches!(text, "SIGUSR1" | "USR1") {
            return Ok(DumpOn::Signal);
        }
        if let Some(name) = text.strip_prefix("exit:") {
            return match name.len() {
                1..=15 => Ok(DumpOn::Exit(name.to_owned())),
                _ => Err(format!("{text:?}: a process's name has 1 to 15 characters")),
            };
        }
        let (what, limit) = text.split_once('>').ok_or_else(wrong)?;
        if what == "client-closed" {
            let per_s = limit.strip_suffix("/s").and_then(|number| number.parse::<f64>().ok());
            let per_s = per_s.filter(|per_s| per_s.is_finite() && *per_s > 0.0).ok_or_else(wrong)?;
            return Ok(DumpOn::ClientClosed(per_s));
        }
        let port = what.strip_prefix("p99:").and_then(|port| port.parse().ok()).filter(|&port| port != 0);
        Ok(DumpOn::Slow(port.ok_or_else(wrong)?, Duration::from_nanos(units::duration_ns(limit)?)))
    }

    /// Whether it is looked for in what is recorded.
    pub fn is_watched(&self) -> bool {
        *self != DumpOn::Signal
    }
}

impl fmt::Display for DumpOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DumpOn::Signal => write!(f, "SIGUSR1"),
            DumpOn::Exit(name) => write!(f, "exit:{name}"),
            DumpOn::ClientClosed(per_s) => write!(f, "client-closed>{per_s}/s"),
            DumpOn::Slow(port, limit) => write!(f, "p99:{port}>{limit:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_the_same() {
        let written = ["SIGUSR1", "exit:envoy", "client-closed>5/s", "client-closed>0.5/s", "p99:8080>250ms"];
        for text in written {
            assert_eq!(DumpOn::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(DumpOn::parse("p99:80>1.5s").unwrap(), DumpOn::Slow(80, Duration::from_millis(1500)));
    }

    #[test]
    fn nonsense_is_refused_with_what_to_write() {
        for text in ["", "SIGUSR2", "exit:", "exit:a_name_that_is_too_long", "client-closed>5"] {
            DumpOn::parse(text).unwrap_err();
        }
        for text in ["client-closed>nan/s", "client-closed>0/s", "p99>1s", "p99:0>1s", "p99:80", "p95:80>1s"]
        {
            let line = DumpOn::parse(text).unwrap_err();
            assert!(line.contains("p99:8080>250ms"), "{line}");
        }
        assert!(DumpOn::parse("p99:80>1").unwrap_err().contains("no unit"));
    }
}
