//! Where derived tables are kept, and that the capture itself is left alone.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::assembly_support::{World, new_capture};
use crate::cli_support::*;

const COUNT: &str = "SELECT count(*) AS n, count(DISTINCT trace_id) AS t FROM spans";
const RIGHT: &str = "n,t\n20,10\n";

fn ask(directory: &Path, capture: &Path) -> String {
    stdout(directory, &["sql", capture.to_str().unwrap(), COUNT, "--format", "csv"])
}

/// Every file below, with its content.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

fn sets(place: &Path) -> Vec<PathBuf> {
    let mut sets: Vec<PathBuf> =
        fs::read_dir(place).into_iter().flatten().map(|e| e.unwrap().path()).collect();
    sets.sort();
    sets
}

#[test]
fn the_capture_keeps_them_and_is_not_changed() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    let before = files(&path);
    assert_eq!(ask(directory.path(), &path), RIGHT);
    let set = sets(&path.join("derived"));
    assert_eq!(set.len(), 1);
    for (file, _) in files(&set[0]) {
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
    assert_eq!(fs::metadata(&set[0]).unwrap().permissions().mode() & 0o777, 0o700);
    let written = files(&path);
    assert_eq!(ask(directory.path(), &path), RIGHT);
    assert_eq!(files(&path), written);
    fs::remove_dir_all(path.join("derived")).unwrap();
    assert_eq!(files(&path), before);
    // The user's key, and nothing else.
    let kept: Vec<PathBuf> = files(&directory.path().join("cache")).into_keys().collect();
    assert_eq!(kept, [directory.path().join("cache/retrospan/key")]);
    let info = stdout(directory.path(), &["info", path.to_str().unwrap()]);
    assert!(info.contains("state     complete"), "{info}");
}

#[test]
fn raw_tables_need_no_cache() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    stdout(directory.path(), &["sql", path.to_str().unwrap(), "SELECT count(*) FROM events"]);
    stdout(directory.path(), &["sql", path.to_str().unwrap(), "DESCRIBE spans"]);
    assert!(!path.join("derived").exists());
}

#[test]
fn a_capture_that_cannot_be_written_uses_the_users_cache_or_memory() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    // A file where the folder should be stops root too.
    fs::write(path.join("derived"), "").unwrap();
    assert_eq!(ask(directory.path(), &path), RIGHT);
    assert_eq!(sets(&directory.path().join("cache/retrospan/00112233445566778899aabbccddeeff")).len(), 1);
    fs::remove_dir_all(directory.path().join("cache")).unwrap();
    fs::write(directory.path().join("cache"), "").unwrap();
    assert_eq!(ask(directory.path(), &path), RIGHT);
    // Then, and without a home, each command assembles them: who waits is told why.
    let told = |command: &mut std::process::Command| {
        let run = command.args(["sql", path.to_str().unwrap(), COUNT]).output().unwrap();
        assert!(run.status.success());
        String::from_utf8(run.stderr).unwrap()
    };
    let full = told(&mut command(directory.path()));
    assert!(full.contains("derived nor in ") && full.contains("assembled anew by each command"), "{full}");
    let homeless = told(command(directory.path()).env_remove("XDG_CACHE_HOME").env_remove("HOME"));
    assert!(
        homeless.contains("HOME is not set") && homeless.contains("assembled anew by each"),
        "{homeless}"
    );
    assert_eq!(homeless.lines().count(), 1, "{homeless}");
    fs::remove_file(path.join("derived")).unwrap();
    let no_key = told(command(directory.path()).env_remove("XDG_CACHE_HOME").env_remove("HOME"));
    assert!(no_key.contains("no key can be kept") && no_key.lines().count() == 1, "{no_key}");
}

#[test]
fn the_tables_have_one_path_whatever_came_before() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    assert_eq!(ask(directory.path(), &path), RIGHT);
    let current = path.join("derived/current");
    // As an earlier version left it.
    let old = path.join("derived/0123456789abcdef-0123456789abcdef");
    fs::create_dir(&old).unwrap();
    for (file, content) in files(&current) {
        fs::write(old.join(file.file_name().unwrap()), content).unwrap();
    }
    assert_eq!(ask(directory.path(), &path), RIGHT);
    assert_eq!(sets(&path.join("derived")), [current]);
}

#[test]
fn a_capture_whose_derived_leads_elsewhere_touches_nothing_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    let home = directory.path().join("home");
    for kept in ["thesis", "0123456789abcdef-0123456789abcdef"] {
        fs::create_dir_all(home.join(kept)).unwrap();
        fs::write(home.join(kept).join("spans.parquet"), "mine").unwrap();
        let old = std::time::SystemTime::UNIX_EPOCH;
        fs::File::open(home.join(kept)).unwrap().set_modified(old).unwrap();
    }
    let before = files(&home);
    std::os::unix::fs::symlink(&home, path.join("derived")).unwrap();
    let run = retrospan(directory.path(), &["sql", path.to_str().unwrap(), COUNT, "--format", "csv"]);
    assert_eq!(String::from_utf8(run.stdout).unwrap(), RIGHT);
    let told = String::from_utf8(run.stderr).unwrap();
    assert!(told.contains("derived: a link") && told.lines().count() == 1, "{told}");
    assert_eq!(files(&home), before);
    assert_eq!(sets(&directory.path().join("cache/retrospan/00112233445566778899aabbccddeeff")).len(), 1);
}

#[test]
fn a_set_that_came_with_the_capture_is_not_believed() {
    let theirs = tempfile::tempdir().unwrap();
    let path = capture(theirs.path());
    assert_eq!(ask(theirs.path(), &path), RIGHT);
    let mine = tempfile::tempdir().unwrap();
    let moved = mine.path().join("moved.cap");
    fs::rename(&path, &moved).unwrap();
    let index = sets(&moved.join("derived"))[0].join("derived.json");
    fs::write(&index, r#"{"files": []}"#).unwrap();
    let before = fs::read(&index).unwrap();
    assert_eq!(ask(mine.path(), &moved), RIGHT);
    assert_ne!(fs::read(&index).unwrap(), before);
}

#[test]
fn a_damaged_set_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    assert_eq!(ask(directory.path(), &path), RIGHT);
    let spans = sets(&path.join("derived"))[0].join("spans.parquet");
    let good = fs::read(&spans).unwrap();
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    for content in [bad, good[..good.len() / 2].to_vec(), Vec::new()] {
        fs::write(&spans, content).unwrap();
        assert_eq!(ask(directory.path(), &path), RIGHT);
        assert_eq!(fs::read(&spans).unwrap(), good);
    }
    fs::remove_file(&spans).unwrap();
    assert_eq!(ask(directory.path(), &path), RIGHT);
    assert_eq!(sets(&path.join("derived")).len(), 1);
}

#[test]
fn another_manifest_is_another_set_in_place_of_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    assert_eq!(ask(directory.path(), &path), RIGHT);
    let first = sets(&path.join("derived"));
    let signature = fs::read(first[0].join("derived.mac")).unwrap();
    let manifest = fs::read_to_string(path.join("manifest.json")).unwrap();
    // Without its checksum, as the first versions wrote it: it is not damaged.
    let end = manifest.rfind(",\n  \"xxh3\": \"").unwrap();
    let other = format!("{}\n}}\n", manifest[..end].replace("web1", "web2"));
    fs::write(path.join("manifest.json"), other).unwrap();
    assert_eq!(ask(directory.path(), &path), RIGHT);
    assert_eq!(sets(&path.join("derived")), first);
    assert_ne!(fs::read(first[0].join("derived.mac")).unwrap(), signature, "it is another set");
}

#[test]
fn many_at_once_agree() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..6).map(|_| scope.spawn(|| ask(directory.path(), &path))).collect();
        for run in runs {
            assert_eq!(run.join().unwrap(), RIGHT);
        }
    });
    assert_eq!(sets(&path.join("derived")).len(), 1);
}

/// Whatever ends the program in the middle: no set is there, nothing of it is in the way, and the next command is right.
#[test]
fn a_program_that_ends_midway_leaves_no_set() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("long.cap");
    let mut world = World::new();
    let mut writer = new_capture(&path);
    let (client, server) = (world.process("client"), world.process("server"));
    let connection = world.connect(client, server, 80);
    for _ in 0..60_000 {
        world.request(connection, b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
        world.respond(connection, b"HTTP/1.1 204 **\r\n\r\n");
        if world.rows.len() > 50_000 {
            world.drain_events(&mut writer);
        }
    }
    world.drain_events(&mut writer);
    world.complete(writer);
    let derived = path.join("derived");
    let mut child = command(directory.path())
        .args(["sql", path.to_str().unwrap(), COUNT, "--format", "csv"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    while sets(&derived).is_empty() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it wrote anything");
        std::thread::sleep(Duration::from_millis(1));
    }
    // Ctrl-C has the same effect, but whoever runs tests in the background ignores it.
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    let ended = child.wait().unwrap();
    assert!(killed.success() && ended.code().is_none(), "it ended before it was ended: {ended}");
    let left = sets(&derived);
    assert!(left.iter().all(|set| !set.ends_with("current")), "{left:?}");
    assert_eq!(ask(directory.path(), &path), "n,t\n120000,60000\n");
    assert_eq!(sets(&derived), [derived.join("current")], "what was left is gone");
}
