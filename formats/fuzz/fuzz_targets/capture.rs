//! Captures that were changed by somebody who knows the format, with every checksum made to fit again: each is read or refused.

#![no_main]

#[path = "../../tests/support/mutate.rs"]
mod mutate;

use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mutate::{InMemory, read_all};

static CAPTURES: LazyLock<Vec<InMemory>> = LazyLock::new(|| {
    // libFuzzer ends the program at any panic; those that are errors of the reader are none.
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !retrospan_formats::fault::is_guarded() {
            tell(panic);
        }
    }));
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata");
    ["golden-v1.cap", "tutorial.cap"].map(|name| InMemory::read(&testdata.join(name))).into()
});

static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    folder.expect("a folder")
});

fuzz_target!(|data: &[u8]| {
    let Some((&which, changes)) = data.split_first() else { return };
    let mut capture = CAPTURES[usize::from(which) % CAPTURES.len()].clone();
    capture.mutate(changes);
    capture.write(FOLDER.path());
    if let Err(error) = read_all(FOLDER.path()) {
        assert!(!error.to_string().contains('\n'), "{error}");
    }
});
