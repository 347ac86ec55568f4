//! Hundreds of captures that somebody changed who knows the format: each is read or refused in one line, none takes a reader down.
//! `formats/fuzz` looks for more of them; what it found is replayed here.

use std::fs;
use std::path::Path;

use crate::mutate::{InMemory, read_all};
use xxhash_rust::xxh3::xxh3_64_with_seed;

const SEEDS: u64 = 300;

fn sound(name: &str) -> InMemory {
    InMemory::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata").join(name))
}

/// Reads what becomes of the capture; true where it was refused.
fn is_refused(capture: &InMemory, data: &[u8]) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let mut capture = capture.clone();
    capture.mutate(data);
    capture.write(folder.path());
    let Err(error) = read_all(folder.path()) else { return false };
    let text = error.to_string();
    assert!(text.contains(folder.path().to_str().unwrap()) && !text.contains('\n'), "{data:?}: {text}");
    true
}

#[test]
fn every_change_is_read_or_refused() {
    let capture = sound("tutorial.cap");
    assert!(!is_refused(&capture, &[]));
    let changes = |seed: u64| -> Vec<u8> {
        let words = (0..1 + seed % 4).map(|word| xxh3_64_with_seed(&word.to_le_bytes(), seed).to_le_bytes());
        words.flat_map(|word| word[..6].to_vec()).collect()
    };
    let refused = (0..SEEDS).filter(|&seed| is_refused(&capture, &changes(seed))).count() as u64;
    // Both happen: else the changes change nothing, or nothing gets as far as the decoders.
    assert!(refused > SEEDS / 10 && refused < SEEDS, "{refused}");
}

#[test]
fn what_the_fuzzer_found_stays_found() {
    // In the order of the fuzz target: the first byte says which.
    let captures = ["golden-v1.cap", "tutorial.cap"].map(sound);
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/capture");
    let mut replayed = 0;
    for entry in fs::read_dir(corpus).unwrap() {
        let data = fs::read(entry.unwrap().path()).unwrap();
        is_refused(&captures[usize::from(data[0]) % captures.len()], &data[1..]);
        replayed += 1;
    }
    assert!(replayed > 0);
}
