//! Copies of what a recording holds, made while it goes on: when one is due, where it goes, and what the user is told.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::host;
use crate::rows::files::Frozen;
use crate::rows::rolling::Keep;

/// What was noticed makes no further copy for so long, where nothing is let go of.
const PAUSE: Duration = Duration::from_secs(600);
/// Copies that what was noticed makes in one recording at most: each takes room.
const MOST_NOTICED: u32 = 10;

/// The copies of one recording.
#[derive(Debug)]
pub struct Dumps {
    output: PathBuf,
    /// A copy holds so much: another one before would hold the same again.
    pause: Duration,
    /// Why one is to be made, and what it is to hold: everything until then, boot time ns.
    asked: Option<(String, u64)>,
    last_noticed: Option<Instant>,
    noticed: u32,
}

impl Dumps {
    /// Copies go beside `output`.
    pub fn new(output: &Path, keep: Keep) -> Dumps {
        let pause = keep.time_ns.map_or(PAUSE, Duration::from_nanos);
        Dumps { output: output.to_owned(), pause, asked: None, last_noticed: None, noticed: 0 }
    }

    /// Somebody wants a copy of what happened until `boot_ns`.
    pub fn ask(&mut self, reason: String, boot_ns: u64) {
        self.asked.get_or_insert((reason, boot_ns));
    }

    /// Something was noticed by itself. As long as it lasts that makes one copy.
    pub fn notice(&mut self, reason: String, boot_ns: u64) {
        let is_new = self.last_noticed.is_none_or(|last| last.elapsed() >= self.pause);
        if is_new && self.noticed < MOST_NOTICED {
            self.last_noticed = Some(Instant::now());
            self.noticed += 1;
            self.ask(reason, boot_ns);
        }
    }

    /// Where a copy goes that is to be made now, and why; everything until `watermark_ns` is there.
    pub fn due(&mut self, watermark_ns: u64) -> Option<(PathBuf, String)> {
        let (reason, _) = self.asked.take_if(|(_, boot_ns)| *boot_ns <= watermark_ns)?;
        let (_, wall_ns) = host::clock_sample();
        let mut places = (0..100).map(|number| place(&self.output, wall_ns, number));
        Some((places.find(|path| !path.exists())?, reason))
    }
}

/// `friday.cap` becomes `friday-20260306T093005Z.cap`; the second copy of that second has `-2` behind it.
fn place(output: &Path, wall_ns: i64, number: u32) -> PathBuf {
    let stem = output.file_stem().unwrap_or(output.as_os_str()).to_string_lossy();
    let more = if number == 0 { String::new() } else { format!("-{}", number + 1) };
    let ending = output.extension().map_or_else(String::new, |e| format!(".{}", e.to_string_lossy()));
    output.with_file_name(format!("{stem}-{}{more}{ending}", host::utc_name(wall_ns)))
}

/// What is told of a copy.
pub fn line((directory, made): &Frozen) -> String {
    let at = directory.display();
    match made {
        Ok(manifest) => {
            let bytes: u64 = manifest.files.iter().map(|f| f.bytes).sum();
            let held_s = manifest.whole_until_boot_ns.saturating_sub(manifest.started_boot_ns) as f64 / 1e9;
            let reason = manifest.frozen.as_deref().unwrap_or_default();
            format!("{reason}: the last {held_s:.0} s are in {at} ({:.1} MB)", bytes as f64 / 1e6)
        }
        Err(error) => format!("retrospan-record: no copy was made in {at}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_named_after_its_moment() {
        let at =
            |wall_s: i64, number| place(Path::new("/var/tmp/friday.cap"), wall_s * 1_000_000_000, number);
        assert_eq!(at(1_772_789_405, 0), Path::new("/var/tmp/friday-20260306T093005Z.cap"));
        assert_eq!(at(951_827_696, 1), Path::new("/var/tmp/friday-20000229T123456Z-2.cap"));
        assert_eq!(place(Path::new("x"), 0, 0), Path::new("x-19700101T000000Z"));
    }

    #[test]
    fn a_copy_waits_until_all_of_it_is_there() {
        let mut dumps = Dumps::new(Path::new("no-such-folder/x.cap"), Keep::default());
        dumps.ask("SIGUSR1".to_owned(), 10);
        assert!(dumps.due(9).is_none());
        assert_eq!(dumps.due(10).unwrap().1, "SIGUSR1");
        assert!(dumps.due(11).is_none());
    }

    #[test]
    fn what_lasts_makes_one_copy() {
        let mut dumps = Dumps::new(Path::new("no-such-folder/x.cap"), Keep::default());
        for boot_ns in 0..20 {
            dumps.notice("exit:envoy".to_owned(), boot_ns);
        }
        assert!(dumps.due(100).is_some() && dumps.due(100).is_none());
        let keep = Keep { time_ns: Some(0), bytes: None };
        let mut dumps = Dumps::new(Path::new("no-such-folder/x.cap"), keep);
        let made = (0..20).filter(|&at| {
            dumps.notice("exit:envoy".to_owned(), at);
            dumps.due(at).is_some()
        });
        assert_eq!(made.count(), MOST_NOTICED as usize);
    }
}
