//! Files of real producers, cut and changed anywhere.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use retrospan_protocols::redact::Payload;

use crate::import::traces::check;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn real() -> Vec<Vec<u8>> {
    let names = ["jaeger.json", "collector.jsonl", "collector.binpb", "collector-zstd.bin", "python.binpb"];
    names.map(|name| fs::read(folder("../testdata/traces").join(name)).expect("a file")).to_vec()
}

#[test]
fn the_corpus_is_read() {
    let mut spans = Vec::new();
    for entry in fs::read_dir(folder("fuzz/corpus/traces")).expect("the corpus") {
        let path = entry.expect("an entry").path();
        let bytes = fs::read(&path).expect("a file");
        let [heads, full] = [Payload::Heads, Payload::Full].map(|payload| check(&bytes, payload).spans);
        assert_eq!(heads, full, "{}", path.display());
        spans.push(heads);
    }
    assert!(spans.len() >= 4 && spans.iter().all(|&spans| spans > 0), "{spans:?}");
}

#[test]
fn what_is_cut_gives_what_is_whole() {
    for whole in real() {
        assert_eq!(check(&whole, Payload::Heads).spans, 26);
        let step = whole.len() / 40;
        let counts: Vec<u64> =
            (0..40).map(|part| check(&whole[..part * step], Payload::Heads).spans).collect();
        assert!(counts.is_sorted() && counts[39] < 27, "{counts:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn what_is_damaged_never_matters(at in any::<prop::sample::Index>(), byte in any::<u8>(), removed in 0usize..4) {
        for mut bytes in real() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes.drain(at..(at + removed).min(bytes.len()));
            prop_assert!(check(&bytes, Payload::Full).spans <= 26);
        }
    }
}
