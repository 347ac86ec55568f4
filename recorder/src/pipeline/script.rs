//! Which script an interpreter runs: the part of an argument vector that names the program and is no secret.

/// Programs that are named after what they run.
const INTERPRETERS: [&str; 9] = ["python", "pypy", "node", "java", "ruby", "perl", "php", "bash", "sh"];
/// Ends of the names of what they run.
const ENDS: [&str; 12] =
    [".py", ".pyz", ".js", ".mjs", ".cjs", ".ts", ".jar", ".war", ".rb", ".pl", ".php", ".sh"];
/// Longer names are none.
const MOST_BYTES: usize = 64;

/// The base name of the script or jar, or the module of `python -m`, in a NUL-separated argument vector; None where `argv[0]` is no
/// interpreter or runs something else. Nothing else of the arguments is looked at: what comes after may be a secret.
pub fn script(argv: &[u8]) -> Option<&str> {
    let mut arguments =
        argv.split(|&byte| byte == 0).map(|argument| std::str::from_utf8(argument).unwrap_or_default());
    let program = base_name(arguments.next()?);
    let stem = program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    if !INTERPRETERS.contains(&stem) {
        return None;
    }
    while let Some(argument) = arguments.next() {
        if argument == "-m" && stem == "python" {
            return arguments.next().filter(|module| is_name(module));
        }
        // A program in the arguments themselves has no name.
        if argument == "-c" || argument == "-e" {
            return None;
        }
        let name = base_name(argument);
        if !argument.starts_with('-') && ENDS.iter().any(|end| name.len() > end.len() && name.ends_with(end))
        {
            return Some(name).filter(|name| is_name(name));
        }
    }
    None
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Whether it is such as files and modules are called.
fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    !name.is_empty() && name.len() <= MOST_BYTES && name.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(arguments: &[&str]) -> Option<String> {
        script(arguments.join("\0").as_bytes()).map(str::to_owned)
    }

    #[test]
    fn the_script_is_named_and_nothing_after_it() {
        assert_eq!(
            of(&["python3", "-u", "/srv/server.py", "--password", "hunter2.py"]).as_deref(),
            Some("server.py")
        );
        assert_eq!(of(&["/usr/bin/python3.11", "-m", "http.server", "80"]).as_deref(), Some("http.server"));
        assert_eq!(of(&["java", "-Xmx1g", "-jar", "/opt/shop-1.2.jar"]).as_deref(), Some("shop-1.2.jar"));
        assert_eq!(of(&["node", "--inspect", "app.mjs"]).as_deref(), Some("app.mjs"));
    }

    #[test]
    fn what_is_no_script_is_not_named() {
        for arguments in [
            &["curl", "https://host/secret.py"][..],
            &["python3", "-c", "open('token.py')"],
            &["node", "-e", "secret.js"],
            &["python3", "-m", "a b"],
            &["python3", "pass word.py"],
            &["python3", ".py"],
            &["sh", "-x"],
            &["python3"],
            &[""],
        ] {
            assert_eq!(of(arguments), None, "{arguments:?}");
        }
        assert_eq!(of(&["python3", &format!("{}.py", "x".repeat(70))]), None);
        assert_eq!(script(b"python3\0\xff\xfe.py"), None);
    }
}
