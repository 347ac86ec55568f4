//! docs/format.md is what the definitions say.

use std::path::Path;

use retrospan_formats::marks;
use retrospan_formats::reference::{FLAGS, page};

#[test]
fn the_page_is_what_the_definitions_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/format.md");
    if std::env::var_os("ACCEPT").is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    assert!(committed == page(), "docs/format.md is stale: ACCEPT=1 cargo test --test pure");
}

#[test]
fn every_flag_is_described_once() {
    let all = FLAGS.iter().fold(0, |all, (bit, _, _)| {
        assert_eq!(all & bit, 0);
        all | bit
    });
    // The bits are given out from the lowest, so the last one tells how many there are.
    assert_eq!(all, (marks::READ - 1) | marks::MARKS);
}
