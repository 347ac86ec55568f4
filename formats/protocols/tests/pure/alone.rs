//! No other crate knows a protocol by name: what it has to tell, it tells through the interface.

use std::fs;
use std::path::{Path, PathBuf};

use retrospan_protocols::PROTOCOLS;

/// Names that mean something else, too, with the folder in which they do: there the module alone is looked for. HTTP has columns
/// of its own, and is what OTLP is sent by; DNS is asked before a connection is opened, which is a cause of delays, and its ports are
/// those of the datagrams that are recorded unless more is asked for; Parquet says
/// how long its columns are in Thrift; TLS protects what is exported, and its libraries hand out plaintext, whose sessions are
/// sockets of their own; nats are a unit of likelihoods.
const OTHER_MEANINGS: [(&str, &str, &str); 11] = [
    ("http", "", "protocols::http1"),
    ("dns", "analyzer/src/findings", "protocols::dns"),
    ("dns", "formats/src", "protocols::dns"),
    ("dns", "recorder-ebpf/src", "protocols::dns"),
    ("dns", "recorder/src", "protocols::dns"),
    ("thrift", "formats/src/reader", "protocols::thrift"),
    ("tls", "formats/src", "protocols::tls"),
    ("tls", "recorder-ebpf/src", "protocols::tls"),
    ("tls", "recorder/src", "protocols::tls"),
    ("tls", "analyzer/src", "protocols::tls"),
    ("nats", "analyzer/src", "protocols::nats"),
];

/// All sources in a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(folder).expect("a folder of sources").map(|entry| entry.expect("an entry").path());
    let nested = entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    nested.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// Whether the text has this word, not as a part of another.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    text.match_indices(word).any(|(at, _)| {
        let bytes = text.as_bytes();
        !is_part(at.checked_sub(1).and_then(|before| bytes.get(before)))
            && !is_part(bytes.get(at + word.len()))
    })
}

#[test]
fn adding_a_protocol_changes_no_other_crate() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let crates = ["formats/src", "recorder-ebpf/src", "recorder/src", "analyzer/src"];
    let files: Vec<PathBuf> = crates.iter().flat_map(|folder| sources(&root.join(folder))).collect();
    assert!(files.len() > 200, "where are the sources?");
    for file in files {
        // Made data and tests speak some protocol.
        if file
            .components()
            .any(|part| ["synthetic", "tests", "tests.rs"].iter().any(|name| part.as_os_str() == *name))
        {
            continue;
        }
        let text = fs::read_to_string(&file).expect("a source");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for name in PROTOCOLS.iter().map(|protocol| protocol.name()) {
            let means_other = |(other, folder, _): &&(&str, &str, &str)| {
                *other == name && file.starts_with(root.join(folder))
            };
            let knows = match OTHER_MEANINGS.iter().find(means_other) {
                Some((_, _, module)) => code.contains(module),
                None => has_word(&code.to_lowercase(), name),
            };
            assert!(!knows, "{} knows {name}", file.display());
        }
    }
}
