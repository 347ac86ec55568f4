//! Captures as a crash, a disk or somebody else left them.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::*;
use arrow::array::Array;
use proptest::prelude::*;
use retrospan_formats::error::CaptureError;
use retrospan_formats::manifest::{Cost, MANIFEST, Rolled, State};
use retrospan_formats::reader::Capture;
use retrospan_formats::table::Table;
use retrospan_formats::tables;
use retrospan_formats::writer::{CaptureWriter, check_unused};

#[test]
fn what_was_written_is_read_in_time_order() {
    let capture = Written::complete().open().unwrap();
    assert_eq!(capture.state, State::Complete);
    let written = Written::complete();
    let capture = written.open().unwrap();
    assert_eq!(numbers(capture.events()), [1, 2, 4, 5, 6, 7]);
    assert_eq!(numbers(capture.read(&tables::SOCKETS)), [1]);
    assert_eq!(capture.files("clock")[0].part, 0);
    assert_eq!(capture.manifest.files[0].table, "clock", "dimensions stand before facts");
}

#[test]
fn every_file_is_the_owners_alone() {
    let written = Written::complete();
    for (file, _) in tree(&written.path) {
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
}

#[test]
fn a_directory_in_use_is_refused_and_left_alone() {
    let written = Written::complete();
    let before = tree(&written.path);
    assert!(matches!(CaptureWriter::create(&written.path, manifest()), Err(CaptureError::NotEmpty(_))));
    assert!(matches!(check_unused(&written.path.join(MANIFEST)), Err(CaptureError::NotEmpty(_))));
    assert_eq!(tree(&written.path), before);
    assert!(!check_unused(&written.path.join("new")).unwrap());
}

#[test]
fn a_recording_that_lives_is_read_up_to_its_last_part() {
    let written = Written::empty();
    let mut writer = written.write();
    writer.append(&tables::EVENTS, &batch(&tables::EVENTS, &[8, 9])).unwrap();
    let capture = written.open().unwrap();
    assert_eq!((capture.state, capture.manifest.whole_until_boot_ns), (State::Recording, 7));
    assert_eq!(numbers(capture.events()), [1, 2, 4, 5, 6, 7]);
    // Killed: its lock goes with it, its unfinished files stay.
    drop(writer);
    let capture = written.open().unwrap();
    assert_eq!(capture.state, State::Interrupted);
    assert_eq!(numbers(capture.events()), [1, 2, 4, 5, 6, 7]);
}

#[test]
fn a_frozen_capture_stays_whole_whatever_the_recording_lets_go_of() {
    let written = Written::empty();
    let mut writer = written.write();
    let place = written.path.with_extension("frozen");
    writer.freeze(&place, "SIGUSR1", Cost::default()).unwrap();
    let frozen = Capture::open(&place).unwrap();
    assert_eq!((frozen.state, frozen.manifest.frozen.as_deref()), (State::Complete, Some("SIGUSR1")));
    let first: Vec<_> = writer.manifest().files.iter().filter(|f| f.part == 0).cloned().collect();
    assert!(!first.is_empty());
    let rolled = Rolled { events: 3, ..Rolled::default() };
    writer.began(6, 1_000);
    writer.let_go(&first, rolled.clone(), Vec::new()).unwrap();
    drop(writer);
    let capture = written.open().unwrap();
    assert_eq!((&capture.manifest.rolled, capture.manifest.started_boot_ns), (&Some(rolled), 6));
    let kept = numbers(capture.events());
    assert!(!kept.is_empty() && kept.len() < 6, "{kept:?}");
    assert!(first.iter().all(|f| !written.path.join(&f.path).exists()), "removed");
    assert_eq!(numbers(Capture::open(&place).unwrap().events()), [1, 2, 4, 5, 6, 7]);
    for (file, _) in tree(&place) {
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
    fs::remove_dir_all(&place).unwrap();
}

#[test]
fn a_copy_that_cannot_be_made_leaves_no_capture() {
    let written = Written::empty();
    let writer = written.write();
    let place = written.path.with_extension("cut");
    fs::remove_file(written.path.join(&writer.manifest().files[1].path)).unwrap();
    assert!(writer.freeze(&place, "SIGUSR1", Cost::default()).is_err());
    assert_eq!(fs::read_dir(&place).unwrap().count(), 0);
    fs::remove_dir_all(&place).unwrap();
    assert!(matches!(
        writer.freeze(&written.path, "SIGUSR1", Cost::default()),
        Err(CaptureError::NotEmpty(_))
    ));
}

#[test]
fn a_kill_between_rename_and_manifest_loses_only_that_part() {
    let written = Written::empty();
    drop(written.write());
    fs::write(written.path.join("events/000002.parquet"), b"not in the manifest").unwrap();
    fs::write(written.path.join("manifest.json.tmp"), b"{").unwrap();
    let capture = written.open().unwrap();
    assert_eq!(capture.state, State::Interrupted);
    assert_eq!(numbers(capture.events()), [1, 2, 4, 5, 6, 7]);
}

#[test]
fn a_kill_before_the_first_part_leaves_an_empty_capture() {
    let written = Written::empty();
    drop(CaptureWriter::create(&written.path, manifest()).unwrap());
    let capture = written.open().unwrap();
    assert_eq!(capture.state, State::Interrupted);
    assert_eq!(numbers(capture.events()), [0; 0]);
}

#[test]
fn files_that_are_put_together_take_the_place_of_theirs() {
    let written = Written::empty();
    let mut writer = written.write();
    writer.append(&tables::EVENTS, &batch(&tables::EVENTS, &[8, 9])).unwrap();
    writer.rotate(9, Vec::new()).unwrap();
    let listed = |writer: &CaptureWriter, table: &str| {
        writer.view().unwrap().files(table).into_iter().cloned().collect::<Vec<_>>()
    };
    let old = listed(&writer, "events");
    let parts = writer.view().unwrap().only(&old[..2]);
    writer.replace(&tables::EVENTS, &old[..2], parts.in_order(&tables::EVENTS)).unwrap();
    writer.splice(&tables::EVENTS, &listed(&writer, "events")).unwrap();
    let spliced = listed(&writer, "events");
    assert_eq!((spliced[0].rows, spliced[0].first_boot_ns, spliced[0].last_boot_ns), (8, Some(1), Some(9)));
    writer.append(&tables::EVENTS, &batch(&tables::EVENTS, &[9])).unwrap();
    writer.rotate(9, Vec::new()).unwrap();
    let files = listed(&writer, "events");
    let places: Vec<_> = files.iter().map(|f| (f.first_part(), f.part, f.path.as_str())).collect();
    assert_eq!(places, [(0, 2, "events/000000-000002.parquet"), (3, 3, "events/000003.parquet")]);
    writer.complete(Cost::default()).unwrap();
    let capture = written.open().unwrap();
    assert_eq!(capture.state, State::Complete);
    assert_eq!(numbers(capture.events()), [1, 2, 4, 5, 6, 7, 8, 9, 9]);
    assert_eq!(fs::read_dir(written.path.join("events")).unwrap().count(), 2);
}

#[test]
fn files_that_cannot_be_put_together_stay() {
    let written = Written::empty();
    let mut writer = written.write();
    let old: Vec<_> = writer.view().unwrap().files("events").into_iter().cloned().collect();
    let failing = [Ok(batch(&tables::EVENTS, &[1])), Err(CaptureError::Missing("x".into()))];
    assert!(writer.replace(&tables::EVENTS, &old, failing.into_iter()).is_err());
    writer.complete(Cost::default()).unwrap();
    let capture = written.open().unwrap();
    assert_eq!(capture.state, State::Complete);
    assert_eq!(numbers(capture.events()), [1, 2, 4, 5, 6, 7]);
}

#[test]
fn what_is_not_there_or_no_capture_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let open = |name: &str| Capture::open(&folder.path().join(name)).unwrap_err();
    assert!(matches!(open("none.cap"), CaptureError::Missing(_)));
    fs::create_dir(folder.path().join("empty.cap")).unwrap();
    assert!(matches!(open("empty.cap"), CaptureError::NotACapture { .. }));
    fs::write(folder.path().join("file.cap"), b"x").unwrap();
    assert!(matches!(open("file.cap"), CaptureError::NotACapture { .. }));
}

#[test]
fn a_manifest_that_cannot_be_read_is_refused() {
    let written = Written::complete();
    let path = written.path.join(MANIFEST);
    let good = fs::read_to_string(&path).unwrap();
    for bad in
        ["", "{", "[]", "{}", &good[..good.len() / 2], "\u{1b}[31m", &good.replace("\"files\"", "\"f\"")]
    {
        fs::write(&path, bad).unwrap();
        assert!(matches!(written.refuses(MANIFEST), CaptureError::BadManifest { .. }), "{bad}");
    }
    for (from, to) in [
        ("\"format_version\": 2", "\"format_version\": 3"),
        ("\"format_version\": 2", "\"format_version\": 0"),
    ] {
        fs::write(&path, good.replace(from, to)).unwrap();
        assert!(matches!(written.refuses(MANIFEST), CaptureError::Version { .. }));
    }
    for outside in ["../x.parquet", "/etc/passwd", "events/../../x"] {
        fs::write(&path, without_checksum(&good).replace("events/000000.parquet", outside)).unwrap();
        let error = written.refuses(MANIFEST).to_string();
        assert!(error.contains("leaves the capture"), "{outside}: {error}");
    }
}

#[test]
fn no_flipped_bit_of_a_manifest_goes_unseen() {
    let written = Written::complete();
    let path = written.path.join(MANIFEST);
    let good = fs::read(&path).unwrap();
    for bit in (0..good.len() * 8).step_by(3) {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, bad).unwrap();
        let error = written.open().map(|_| ()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(MANIFEST) && !text.contains('\n'), "bit {bit}: {text}");
        assert!(
            matches!(error, CaptureError::BadManifest { .. } | CaptureError::Version { .. }),
            "bit {bit}"
        );
    }
}

#[test]
fn a_manifest_without_checksum_is_read() {
    let written = Written::complete();
    let path = written.path.join(MANIFEST);
    let old = without_checksum(&fs::read_to_string(&path).unwrap());
    fs::write(&path, old).unwrap();
    assert_eq!(numbers(written.open().unwrap().events()), [1, 2, 4, 5, 6, 7]);
}

#[test]
fn a_manifest_that_says_what_a_file_does_not_is_refused() {
    let written = Written::complete();
    let path = written.path.join(MANIFEST);
    let old = without_checksum(&fs::read_to_string(&path).unwrap());
    for (from, to) in [
        ("\"rows\": 3", "\"rows\": 2"),
        ("\"rows\": 3", "\"rows\": 18446744073709551615"),
        ("\"first_boot_ns\": 4", "\"first_boot_ns\": 3"),
        ("\"last_boot_ns\": 7", "\"last_boot_ns\": 6"),
    ] {
        assert!(old.contains(from), "{from} in {old}");
        fs::write(&path, old.replace(from, to)).unwrap();
        let error = written.refuses(".parquet");
        assert!(matches!(error, CaptureError::Damaged { .. }), "{to}: {error}");
        assert!(error.to_string().contains("the manifest says"), "{to}: {error}");
    }
    for twice in ["events/000000.parquet", "events/./000000.parquet", "events//000000.parquet"] {
        fs::write(&path, old.replace("events/000001.parquet", twice)).unwrap();
        let error = written.refuses(MANIFEST).to_string();
        assert!(error.contains("listed twice"), "{twice}: {error}");
    }
}

#[test]
fn a_listed_file_that_is_missing_short_or_long_is_refused() {
    let written = Written::complete();
    let path = written.path.join("events/000001.parquet");
    let good = fs::read(&path).unwrap();
    for bad in
        [None, Some(good[..good.len() / 2].to_vec()), Some(Vec::new()), Some([&good[..], b"x"].concat())]
    {
        match bad {
            None => fs::remove_file(&path).unwrap(),
            Some(bytes) => fs::write(&path, bytes).unwrap(),
        }
        assert!(matches!(written.refuses("000001.parquet"), CaptureError::Damaged { .. }));
    }
}

#[test]
fn no_flipped_bit_goes_unseen() {
    let written = Written::complete();
    let path = written.path.join("events/000000.parquet");
    let good = fs::read(&path).unwrap();
    for at in (0..good.len()).step_by(97) {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        fs::write(&path, bad).unwrap();
        assert!(matches!(written.refuses("000000.parquet"), CaptureError::Damaged { .. }), "byte {at}");
    }
}

#[test]
fn a_foreign_table_of_the_right_name_is_refused() {
    let written = Written::empty();
    let mut writer = CaptureWriter::create(&written.path, manifest()).unwrap();
    writer.append(&tables::CLOCK, &batch(&tables::CLOCK, &[1])).unwrap();
    writer.rotate(1, Vec::new()).unwrap();
    writer.complete(Cost::default()).unwrap();
    let path = written.path.join(MANIFEST);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, without_checksum(&text).replace("\"table\": \"clock\"", "\"table\": \"events\""))
        .unwrap();
    let error = written.open().unwrap().events().next().unwrap().unwrap_err().to_string();
    assert!(error.contains("000000.parquet") && error.contains("column"), "{error}");
}

#[test]
fn columns_that_an_older_version_did_not_write_are_null() {
    let old = Table { columns: &tables::CLOCK.columns[..1], ..tables::CLOCK };
    let old: &'static Table = Box::leak(Box::new(old));
    let written = Written::empty();
    let mut writer = CaptureWriter::create(&written.path, manifest()).unwrap();
    writer.append(old, &batch(old, &[1, 2])).unwrap();
    writer.rotate(2, Vec::new()).unwrap();
    writer.complete(Cost::default()).unwrap();
    let newer = [retrospan_formats::table::Column { nullable: true, ..tables::CLOCK.columns[1] }];
    let newer = Table { columns: Box::leak(Box::new([tables::CLOCK.columns[0], newer[0]])), ..tables::CLOCK };
    let newer: &'static Table = Box::leak(Box::new(newer));
    let rows = written.open().unwrap().read(newer).next().unwrap().unwrap();
    assert_eq!((rows.num_rows(), rows.column(1).null_count()), (2, 2));
}

#[test]
fn the_declared_order_is_in_the_file_and_holds() {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    let written = Written::complete();
    let capture = written.open().unwrap();
    for path in capture.paths("events") {
        let reader = SerializedFileReader::new(fs::File::open(&path).unwrap()).unwrap();
        let group = reader.metadata().row_group(0);
        assert_eq!(group.sorting_columns().unwrap()[0].column_idx, 0);
        let keys = reader.metadata().file_metadata().key_value_metadata().unwrap().clone();
        assert!(keys.iter().any(|k| k.key == "retrospan.format" && k.value.as_deref() == Some("2")));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    /// Parts that overlap only their neighbours are merged into one sorted run with every row once.
    #[test]
    fn parts_are_merged_in_order(mut parts in prop::collection::vec(prop::collection::vec(0i64..150, 0..40), 0..6)) {
        for (index, part) in parts.iter_mut().enumerate() {
            // A part begins where the one before the previous one has ended.
            part.iter_mut().for_each(|time| *time += 100 * index as i64);
            part.sort_unstable();
        }
        let written = Written::empty();
        let mut writer = CaptureWriter::create(&written.path, manifest()).unwrap();
        for part in &parts {
            writer.append(&tables::EVENTS, &batch(&tables::EVENTS, part)).unwrap();
            writer.rotate(0, Vec::new()).unwrap();
        }
        writer.complete(Cost::default()).unwrap();
        let mut all = parts.concat();
        all.sort_unstable();
        prop_assert_eq!(numbers(written.open().unwrap().events()), all);
    }

    /// Whatever stands where a manifest is expected, opening it fails or works, and never panics.
    #[test]
    fn any_manifest_is_taken(text in "[\\PC\\n]{0,200}") {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(MANIFEST), text).unwrap();
        prop_assert!(Capture::open(folder.path()).is_err());
    }
}
