//! No file imports itself by way of others, and no folder of a crate does: the code has one direction, which
//! docs/architecture.md shows. This test reads the sources of all crates.

mod graph;

use std::fs;
use std::path::Path;

use graph::{Files, by_folder, circle, imports, read};

/// Folders of the crates: the members of the workspace, in the order in which they stand there.
fn crates(root: &Path) -> Vec<String> {
    let workspace = fs::read_to_string(root.join("Cargo.toml")).expect("the workspace's file");
    let members = workspace.split("members = [").nth(1).and_then(|rest| rest.split(']').next());
    members.unwrap_or_default().split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn no_file_and_no_folder_imports_itself() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let crates = crates(&root);
    assert!(crates.len() >= 4, "{crates:?} are not all members of the workspace");
    for name in &crates {
        let files = read(&root.join(name).join("src"));
        assert!(!files.is_empty(), "{name}: where are its sources?");
        let imports = imports(&files);
        if files.len() == 1 {
            continue;
        }
        assert!(imports.values().any(|others| !others.is_empty()), "{name}: no import was understood");
        for (what, imports) in [("files", &imports), ("folders", &by_folder(&imports))] {
            if let Some(circle) = circle(imports) {
                panic!("{name}: {what} that import each other: {} -> {}", circle.join(" -> "), circle[0]);
            }
        }
    }
}

fn files(texts: &[(&str, &str)]) -> Files {
    texts.iter().map(|&(module, text)| (module.to_owned(), text.to_owned())).collect()
}

fn found(texts: &[(&str, &str)]) -> Option<String> {
    circle(&imports(&files(texts))).map(|circle| circle.join(" "))
}

#[test]
fn a_circle_is_found_however_it_is_written() {
    let back = ("b", "use crate::a::A;\npub struct B;");
    for there in [
        "use crate::b::B;",
        "use super::b::B;",
        "use crate::{\n    c::C,\n    b::{self, B},\n};",
        "pub use crate::b as other;",
        "fn f(b: crate::b::B) {}",
        "use crate::c;\nuse crate::b;\nfn f() { b::f() }",
    ] {
        assert_eq!(found(&[("", ""), ("a", there), back, ("c", "")]).as_deref(), Some("a b"), "{there}");
    }
    let longer = [("", ""), ("a", "use crate::b::B;"), ("b", "use crate::c::C;"), ("c", "use crate::a::A;")];
    assert_eq!(found(&longer).as_deref(), Some("a b c"));
}

#[test]
fn a_circle_by_way_of_a_re_export_or_a_child_is_found() {
    let head = ("room", "pub mod one;\nmod two;\npub use one::One;");
    let circle = [("", ""), head, ("room::one", "use super::two::Two;"), ("room::two", "use super::One;")];
    assert_eq!(found(&circle).as_deref(), Some("room::one room::two"));
    let child = [
        ("", ""),
        ("out", "use crate::room::f;"),
        ("room", "mod one;\nfn f() { one::f() }"),
        ("room::one", "use crate::out;"),
    ];
    assert_eq!(found(&child).as_deref(), Some("out room room::one"));
}

#[test]
fn what_is_no_circle_is_none() {
    let one_way = "use crate::b::B;";
    for there in [
        "//! See [`crate::a`].\n",
        "// use crate::a::A;\n",
        "use std::a::A;",
        "use other_crate::a::A;",
        "#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}\n",
        "fn f(a: u8) { let _ = (a, \"crate\"); }",
    ] {
        assert_eq!(found(&[("", ""), ("a", one_way), ("b", there)]), None, "{there}");
    }
    // A folder's head runs its files, which use what it defines.
    let own = [("", ""), ("room", "mod one;\nfn f() { one::f() }"), ("room::one", "use super::Shared;")];
    assert_eq!(found(&own), None);
}

#[test]
fn folders_have_a_direction_of_their_own() {
    let texts = [
        ("", ""),
        ("x::one", "use crate::y::one::A;"),
        ("y::one", ""),
        ("y::two", "use crate::x::two::B;"),
        ("x::two", ""),
    ];
    let imports = imports(&files(&texts));
    assert_eq!(circle(&imports), None);
    assert_eq!(circle(&by_folder(&imports)), Some(vec!["x".to_owned(), "y".to_owned()]));
}
