//! Which file of a crate imports which, read from the text of the files.
//!
//! A file imports what its paths name: `use` lines (groups and re-exports are followed) and paths such as
//! `crate::a::b` or `child::item` elsewhere. Comments and what follows `#[cfg(test)] mod` do not count. A file may use
//! what the heads of its own folders define (`mod.rs`, `lib.rs`, `x.rs` of `x/`): they and their folders are one thing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Module path (`""` for the crate's head) to source text.
pub type Files = BTreeMap<String, String>;

/// Each module's imports.
pub type Imports = BTreeMap<String, BTreeSet<String>>;

/// Reads the sources below a crate's `src/`. A binary beside a library sees the library from outside, so it is left out.
pub fn read(src: &Path) -> Files {
    let mut files = Files::new();
    let mut folders = vec![(src.to_path_buf(), Vec::new())];
    while let Some((folder, above)) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push((path, [above.clone(), vec![name]].concat()));
                continue;
            }
            let is_head = name == "mod" || (above.is_empty() && (name == "lib" || name == "main"));
            let beside_library = above.is_empty() && name == "main" && src.join("lib.rs").exists();
            let is_test = name == "tests" || above.iter().any(|folder| folder == "tests");
            if path.extension().is_none_or(|ending| ending != "rs") || beside_library || is_test {
                continue;
            }
            let mut module = above.clone();
            module.extend((!is_head).then_some(name));
            files.insert(module.join("::"), fs::read_to_string(&path).expect("text"));
        }
    }
    files
}

/// The imports of every file.
pub fn imports(files: &Files) -> Imports {
    let texts: BTreeMap<&String, String> = files.iter().map(|(module, text)| (module, code(text))).collect();
    let mut names: BTreeMap<&String, BTreeMap<String, Vec<String>>> = BTreeMap::new();
    for (module, text) in &texts {
        let used = used(text).into_iter().filter_map(|path| absolute(files, module, None, &path));
        let named = used.filter_map(|path| Some((path.last()?.clone(), path))).collect();
        names.insert(module, named);
    }
    let mut imports = Imports::new();
    for (module, text) in &texts {
        let own = &names[module];
        let targets = used(text).into_iter().chain(paths(text)).filter_map(|path| {
            let path = absolute(files, module, Some(own), &path)?;
            target(files, &names, path, 0)
        });
        let others = targets.filter(|other| other != *module && !is_head_of(other, module));
        imports.insert((*module).clone(), others.collect());
    }
    imports
}

/// Folds files into the folders (or files) that lie directly in `src/`.
pub fn by_folder(imports: &Imports) -> Imports {
    let top = |module: &str| module.split("::").next().unwrap_or_default().to_owned();
    let mut folded = Imports::new();
    for (module, others) in imports.iter().filter(|(module, _)| !module.is_empty()) {
        let others = others.iter().map(|other| top(other)).filter(|other| *other != top(module));
        folded.entry(top(module)).or_default().extend(others);
    }
    folded
}

/// A way from a module back to itself, if there is one: each imports the next, the last the first.
pub fn circle(imports: &Imports) -> Option<Vec<String>> {
    let mut done = BTreeSet::new();
    imports.keys().find_map(|module| walk(imports, module, &mut Vec::new(), &mut done))
}

fn walk(
    imports: &Imports,
    module: &String,
    way: &mut Vec<String>,
    done: &mut BTreeSet<String>,
) -> Option<Vec<String>> {
    if let Some(begin) = way.iter().position(|before| before == module) {
        return Some(way[begin..].to_vec());
    }
    if !done.insert(module.clone()) {
        return None;
    }
    way.push(module.clone());
    let found = imports.get(module).into_iter().flatten().find_map(|next| walk(imports, next, way, done));
    way.pop();
    found
}

/// Without comments and without the module of unit tests, which a file has at its end.
fn code(text: &str) -> String {
    let mut code = String::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        if is_test && line.starts_with("mod ") {
            break;
        }
        is_test = line == "#[cfg(test)]";
        code.push_str(line.split("//").next().unwrap_or_default());
        code.push('\n');
    }
    code
}

/// The paths of all `use` lines, groups taken apart.
fn used(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for (at, _) in code.match_indices("use ") {
        let before = code[..at].chars().next_back();
        if before.is_none_or(|c| c.is_whitespace())
            && let Some(end) = code[at..].find(';')
        {
            apart(&code[at + 4..at + end], "", &mut paths);
        }
    }
    paths
}

fn apart(tree: &str, before: &str, paths: &mut Vec<String>) {
    let tree = tree.trim();
    let Some((head, group)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default().trim();
        paths.push(format!("{before}{path}").trim_end_matches("::self").to_owned());
        return;
    };
    let head = format!("{before}{}", head.trim());
    let group = group.trim_end().strip_suffix('}').unwrap_or(group);
    let (mut depth, mut begin) = (0, 0);
    for (at, c) in group.char_indices().chain([(group.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !group[begin..at].trim().is_empty() {
                    apart(&group[begin..at], &head, paths);
                }
                begin = (at + 1).min(group.len());
            }
            _ => {}
        }
    }
}

/// Paths of two and more words outside of `use` lines.
fn paths(code: &str) -> Vec<String> {
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let words = code.split(|c: char| !is_path(c)).map(|path| path.trim_matches(':'));
    words.filter(|path| path.contains("::")).map(str::to_owned).collect()
}

/// A path as seen from the crate's head; `None` where it leads out of the crate. `own`: what the module's names stand for.
fn absolute(
    files: &Files,
    module: &str,
    own: Option<&BTreeMap<String, Vec<String>>>,
    path: &str,
) -> Option<Vec<String>> {
    let mut words = path.split("::").map(str::to_owned).peekable();
    let mut base: Vec<String> =
        module.split("::").filter(|word| !word.is_empty()).map(str::to_owned).collect();
    match words.peek()?.as_str() {
        "crate" => {
            words.next();
            base.clear();
        }
        "self" => {
            words.next();
        }
        "super" => {
            while words.next_if(|word| word == "super").is_some() {
                base.pop();
            }
        }
        first => {
            let child = if base.is_empty() { first.to_owned() } else { format!("{module}::{first}") };
            if !files.contains_key(&child) {
                base = own?.get(first)?.clone();
                words.next();
            }
        }
    }
    base.extend(words);
    Some(base)
}

/// The module that has what an absolute path names, through re-exports.
fn target(
    files: &Files,
    names: &BTreeMap<&String, BTreeMap<String, Vec<String>>>,
    path: Vec<String>,
    depth: usize,
) -> Option<String> {
    let length = (0..=path.len()).rev().find(|&length| files.contains_key(&path[..length].join("::")))?;
    let module = path[..length].join("::");
    let item = path.get(length);
    let passed_on = item.and_then(|item| names.get(&module)?.get(item));
    match passed_on {
        // A loop of re-exports does not compile; a deep one is none.
        Some(from) if depth < 8 && from[..] != path[..=length] => {
            target(files, names, [from, &path[length + 1..]].concat(), depth + 1)
        }
        _ => Some(module),
    }
}

/// Whether `head` is the head of a folder that `module` lies in.
fn is_head_of(head: &str, module: &str) -> bool {
    head.is_empty() || module.strip_prefix(head).is_some_and(|rest| rest.starts_with("::"))
}
