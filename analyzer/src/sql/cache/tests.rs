//! What is removed and what is not, whatever stands in the place.

use std::os::unix::fs::symlink;

use super::*;

const OLD: &str = "0123456789abcdef-0123456789abcdef";

fn key() -> Key {
    Key { capture: "f".repeat(16), rest: "f".repeat(16) }
}

/// A set as this module leaves it.
fn set(place: &Path, name: &str) -> PathBuf {
    let folder = place.join(name);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(LOCK), MARK).unwrap();
    fs::write(folder.join(INDEX), "{}").unwrap();
    fs::write(folder.join("spans.parquet"), "rows").unwrap();
    folder
}

fn pruned(place: &Path) {
    prune(&open_place(place).unwrap());
}

/// Files that `*.parquet` in any folder of the place finds, hidden folders too, as some readers do.
fn tables_of_all_folders(place: &Path) -> usize {
    let folders = fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path());
    let files = folders.flat_map(|folder| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
    files.filter(|file| file.extension().is_some_and(|ending| ending == "parquet")).count()
}

fn write(place: &Path, key: &Key, secret: &Arc<Secret>) -> SetWriter {
    let mut set = SetWriter::create(place, key, secret).unwrap();
    set.append(&tables::SPANS, &RecordBatch::new_empty(tables::SPANS.schema())).unwrap();
    set
}

#[test]
fn a_place_never_has_tables_of_two_sets() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("derived");
    let secret = Arc::new(Secret::of_user(Some(folder.path())).unwrap());
    let (old, new) = (Key { rest: "e".repeat(16), ..key() }, key());
    write(&place, &old, &secret).finish().unwrap();
    let held = find(&place, &old, &secret).unwrap();
    assert_eq!((tables_of_all_folders(&place), held.files.len()), (1, 1));
    let writing = write(&place, &new, &secret);
    assert_eq!(tables_of_all_folders(&place), 1, "what is being written has other names");
    writing.finish().unwrap();
    assert_eq!(tables_of_all_folders(&place), 1);
    assert!(find(&place, &old, &secret).is_none() && find(&place, &new, &secret).is_some());
    assert!(place.join("current/spans.parquet").exists());
    // Whoever had found the old one reads on.
    let (_, part) = &held.files[0];
    let mut bytes = Vec::new();
    part.source.open().unwrap().read_to_end(&mut bytes).unwrap();
    assert!(hash(&part.source.open().unwrap(), part.bytes, 0).is_ok());
}

#[test]
fn a_writer_that_ends_midway_leaves_nothing_that_looks_whole() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("derived");
    let secret = Arc::new(Secret::of_user(Some(folder.path())).unwrap());
    // Killed while it wrote, and after the old set was gone: nobody holds the lock then.
    let killed = set(&place, &format!(".{}.12.unfinished", key().name()));
    fs::rename(killed.join("spans.parquet"), killed.join("spans.parquet.unfinished")).unwrap();
    let later = set(&place, &format!(".{}.13.unfinished", key().name()));
    assert!(find(&place, &key(), &secret).is_none());
    write(&place, &key(), &secret).finish().unwrap();
    assert!(!killed.exists() && !later.exists());
    // One that is cut short under its name is made anew.
    fs::remove_file(place.join("current/spans.parquet")).unwrap();
    assert!(find(&place, &key(), &secret).is_none());
    write(&place, &key(), &secret).finish().unwrap();
    assert!(find(&place, &key(), &secret).is_some());
}

#[test]
fn sets_of_earlier_versions_go_but_not_while_they_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("derived");
    let old = set(&place, OLD);
    let left = [set(&place, &format!("{OLD}.12.unfinished")), set(&place, &format!("{OLD}.12.damaged"))];
    let current = set(&place, CURRENT);
    let reader = File::open(old.join(LOCK)).unwrap();
    reader.try_lock_shared().unwrap();
    pruned(&place);
    assert!(old.join("spans.parquet").exists() && current.join(INDEX).exists());
    assert!(left.iter().all(|left| !left.exists()));
    drop(reader);
    pruned(&place);
    assert!(!old.exists() && current.join(INDEX).exists());
}

#[test]
fn folders_of_others_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("derived");
    // The name alone does not make it one of ours, nor do the mark and a name alike.
    let unmarked = set(&place, OLD);
    fs::remove_file(unmarked.join(LOCK)).unwrap();
    let other_mark = set(&place, &OLD.replace('0', "1"));
    fs::write(other_mark.join(LOCK), "").unwrap();
    let mut kept = vec![unmarked, other_mark];
    let short = &OLD[1..];
    let alike =
        [format!("{OLD}x"), format!("{OLD}.old"), format!("{OLD}.12.unfinished.old"), short.to_owned()];
    let alike =
        alike.into_iter().chain([OLD.to_uppercase(), format!("{OLD}.x.unfinished"), "thesis".to_owned()]);
    let alike = alike.chain([format!(".{OLD}"), "current.old".to_owned()]);
    kept.extend(alike.map(|name| set(&place, &name)));
    // Something of the user's in one of ours keeps all of it.
    let holding = set(&place, &OLD.replace('1', "2"));
    fs::write(holding.join("notes.txt"), "mine").unwrap();
    kept.push(holding);
    pruned(&place);
    for folder in kept {
        assert!(folder.join("spans.parquet").exists(), "{folder:?}");
    }
}

#[test]
fn no_link_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let theirs = set(&home, OLD);
    let secret = Arc::new(Secret::of_user(None).unwrap());
    fs::create_dir(home.join("old")).unwrap();
    let capture = folder.path().join("evil.cap");
    fs::create_dir(&capture).unwrap();
    let place = capture.join("derived");
    symlink(&home, &place).unwrap();
    assert!(open_place(&place).is_err() && SetWriter::create(&place, &key(), &secret).is_err());
    assert!(find(&place, &Key { capture: OLD[..16].into(), rest: OLD[17..].into() }, &secret).is_none());
    fs::remove_file(&place).unwrap();
    // A link in the place of a set, and links in a set.
    fs::create_dir(&place).unwrap();
    symlink(&theirs, place.join(OLD)).unwrap();
    let holding = set(&place, &OLD.replace('1', "2"));
    fs::remove_file(holding.join("spans.parquet")).unwrap();
    symlink(theirs.join("spans.parquet"), holding.join("spans.parquet")).unwrap();
    let marked_by_link = set(&place, &OLD.replace('1', "3"));
    fs::remove_file(marked_by_link.join(LOCK)).unwrap();
    symlink(theirs.join(LOCK), marked_by_link.join(LOCK)).unwrap();
    pruned(&place);
    assert!(theirs.join("spans.parquet").exists() && theirs.join(LOCK).exists() && home.join("old").exists());
    assert!(!holding.exists() && marked_by_link.exists());
    fs::create_dir(home.join(CURRENT)).unwrap();
    symlink(home.join(CURRENT), place.join(CURRENT)).unwrap();
    let set = SetWriter::create(&place, &key(), &secret).unwrap();
    assert!(set.finish().is_err() && home.join(CURRENT).exists());
    // Something of the user's in the current set keeps it, too.
    fs::remove_file(place.join(CURRENT)).unwrap();
    let theirs = super::tests::set(&place, CURRENT);
    fs::write(theirs.join("notes.txt"), "mine").unwrap();
    assert!(SetWriter::create(&place, &key(), &secret).unwrap().finish().is_err());
    assert!(theirs.join("notes.txt").exists() && theirs.join("spans.parquet").exists());
}

#[test]
fn only_what_this_user_wrote_is_believed() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("derived");
    let of = |name: &str| Arc::new(Secret::of_user(Some(&folder.path().join(name))).unwrap());
    let (mine, theirs) = (of("mine"), of("theirs"));
    SetWriter::create(&place, &key(), &theirs).unwrap().finish().unwrap();
    assert!(find(&place, &key(), &theirs).is_some() && find(&place, &key(), &mine).is_none());
    // What is not believed is replaced.
    SetWriter::create(&place, &key(), &mine).unwrap().finish().unwrap();
    assert!(find(&place, &key(), &mine).is_some() && find(&place, &key(), &theirs).is_none());
    // A set of another state under this one's name is none.
    let other = Key { rest: "e".repeat(16), ..key() };
    assert!(find(&place, &other, &mine).is_none());
}
