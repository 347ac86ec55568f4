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
    prune(&open_place(place).unwrap(), &key());
}

#[test]
fn sets_of_earlier_states_go_but_not_while_they_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("derived");
    let old = set(&place, OLD);
    let left = [set(&place, &format!("{OLD}.12.unfinished")), set(&place, &format!("{OLD}.12.damaged"))];
    let current = set(&place, &key().folder());
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
    fs::create_dir(home.join(key().folder())).unwrap();
    symlink(home.join(key().folder()), place.join(key().folder())).unwrap();
    let set = SetWriter::create(&place, &key(), &secret).unwrap();
    assert!(set.finish().is_err() && home.join(key().folder()).exists());
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
    fs::rename(place.join(key().folder()), place.join(other.folder())).unwrap();
    assert!(find(&place, &other, &mine).is_none());
}
