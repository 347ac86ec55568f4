use retrospan_formats::manifest::Host;

use super::*;
use crate::rows::aging;

const SECOND_NS: i64 = 1_000_000_000;

fn file(table: &str, parts: (u32, u32), bytes: u64) -> File {
    File {
        table: table.to_owned(),
        part: parts.1,
        first_part: (parts.0 != parts.1).then_some(parts.0),
        path: String::new(),
        rows: 10 * u64::from(parts.1 - parts.0 + 1),
        bytes,
        first_boot_ns: None,
        last_boot_ns: None,
        xxh3: String::new(),
    }
}

fn loss(count: u64) -> Vec<Loss> {
    vec![Loss { kind: "send".to_owned(), cause: "ring_full".to_owned(), count }]
}

/// A recording with a part a second, each with 1,000 bytes of events, 100 of clocks and 100 of sockets, and a loss.
struct Recording {
    roll: Roll,
    manifest: Manifest,
    joins: bool,
}

impl Recording {
    fn of(keep: Keep) -> Recording {
        let manifest = serde_json::json!({
            "format_version": 2, "capture_id": "", "state": "recording", "host": Host::default(), "options": {},
            "probe_set": "", "recorder_version": "", "started_boot_ns": 0, "started_wall_ns": 7,
            "whole_until_boot_ns": 0, "files": [], "losses": [],
        });
        let manifest = serde_json::from_value(manifest).unwrap();
        Recording { roll: Roll::new(keep, 7), manifest, joins: false }
    }

    fn part(&mut self, number: u32) -> Option<Cut> {
        for (table, bytes) in [("events", 1000), ("clock", 100), ("sockets", 100)] {
            self.manifest.files.push(file(table, (number, number), bytes));
        }
        let ended = i64::from(number + 1) * SECOND_NS;
        self.roll.part_ended(number, (ended, ended + 5), loss(u64::from(number) + 1));
        while self.joins
            && let Some((table, run)) = aging::due(&self.manifest, self.roll.most_parts_a_file())
        {
            self.manifest.files.retain(|f| !run.contains(f));
            let bytes = run.iter().map(|f| f.bytes).sum();
            let parts = (run[0].first_part(), run[run.len() - 1].part);
            self.manifest.files.push(file(table.name, parts, bytes));
        }
        let cut = self.roll.due(&self.manifest, 0)?;
        self.manifest.files.retain(|f| !cut.files.contains(f));
        Some(cut)
    }

    fn first_event_part(&self) -> u32 {
        let events = self.manifest.files.iter().filter(|f| f.table == "events");
        events.map(File::first_part).min().unwrap()
    }
}

#[test]
fn a_recording_that_keeps_all_lets_go_of_nothing() {
    let mut recording = Recording::of(Keep::default());
    assert!((0..100).all(|number| recording.part(number).is_none()));
    assert_eq!(recording.roll.losses(&loss(3)), loss(3));
}

#[test]
fn what_is_older_goes_and_what_stays_has_its_own_beginning_and_losses() {
    let keep = Keep { time_ns: Some(5 * SECOND_NS as u64), bytes: None };
    let mut recording = Recording::of(keep);
    assert!((0..5).all(|number| recording.part(number).is_none()));
    // Six parts: the first one ended five seconds before the last.
    let cut = recording.part(5).unwrap();
    assert_eq!(cut.files.iter().map(|f| &*f.table).collect::<Vec<_>>(), ["events", "clock"]);
    assert_eq!(cut.began, (SECOND_NS, SECOND_NS + 5));
    assert_eq!(cut.rolled, Rolled { recording_started_wall_ns: 7, events: 10, bytes: 1100 });
    assert_eq!(cut.losses, loss(5), "six less the one that is gone");
    let cut = recording.part(6).unwrap();
    assert_eq!((cut.rolled.events, cut.losses), (20, loss(5)));
    assert_eq!(recording.roll.losses(&loss(9)), loss(7));
}

#[test]
fn what_takes_too_much_room_goes_but_never_the_last_part() {
    let mut recording = Recording::of(Keep { time_ns: None, bytes: Some(5000) });
    for number in 0..50 {
        recording.part(number);
        let all: u64 = recording.manifest.files.iter().map(|f| f.bytes).sum();
        // Sockets are not cut by parts.
        assert!(all <= 5000 || recording.first_event_part() == number, "{all} after {number}");
        assert!(recording.manifest.files.iter().any(|f| f.table == "events" && f.part == number));
    }
}

#[test]
fn files_that_are_put_together_make_the_cut_no_coarser_than_its_share() {
    let keep = Keep { time_ns: Some(640 * SECOND_NS as u64), bytes: None };
    let mut recording = Recording { joins: true, ..Recording::of(keep) };
    for number in 0..3000 {
        recording.part(number);
        let held = number - recording.first_event_part() + 1;
        assert!(held >= 640.min(number + 1) && held <= 641 + 640 / 8, "{held} after {number}");
        assert!(recording.manifest.files.len() < 300);
    }
}

#[test]
fn want_of_room_takes_as_many_parts_as_it_needs() {
    let mut recording = Recording::of(Keep { time_ns: Some(1 << 60), bytes: None });
    (0..10).for_each(|number| assert!(recording.part(number).is_none()));
    let cut = recording.roll.due(&recording.manifest, 2500).unwrap();
    assert_eq!(cut.files.iter().map(|f| f.bytes).sum::<u64>(), 3300);
}
