//! What a process is called wherever it is shown: its command, what distinguishes it from others of that command, or the name
//! that somebody gave it in `names.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use retrospan_formats::cgroup::Place;
use retrospan_formats::reader::Capture;
use retrospan_formats::tables::ProcessRow;
use toml_span::de_helpers::TableHelper;
use toml_span::{DeserError, Deserialize, ErrorKind, Value};

/// The file of given names, in the capture's directory.
pub const FILE: &str = "names.toml";
/// Digits of a container's id that are shown, as container tools do.
const ID_DIGITS: usize = 12;
/// A longer one is none.
const MOST_BYTES: u64 = 1 << 20;

/// Why given names cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NamesError {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not what it should be.
    #[error("{}: {reason}", path.display())]
    Bad {
        /// The file.
        path: PathBuf,
        /// Why, and where.
        reason: String,
    },
}

/// Names that somebody gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// Tried in this order; the first that fits names a process.
    rules: Vec<Rule>,
}

/// One name, and the processes that have it: all conditions that are there must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rule {
    name: String,
    comm: Option<String>,
    exe: Option<String>,
    script: Option<String>,
    /// A part of its path.
    cgroup: Option<String>,
    pid: Option<i32>,
}

impl Given {
    /// The names in the capture's directory; none where there is no such file.
    pub fn of(capture: &Capture) -> Result<Given, NamesError> {
        let path = capture.directory.join(FILE);
        match text(&path) {
            Ok(text) => Given::parse(&text).map_err(|reason| NamesError::Bad { path, reason }),
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(Given::default()),
            Err(source) => Err(NamesError::Read { path, source }),
        }
    }

    /// From the text of such a file; the error says what is wrong and in which line.
    fn parse(text: &str) -> Result<Given, String> {
        let line_of = |at: usize| text.get(..at).map_or(1, |before| before.matches('\n').count() + 1);
        let reason = |error: toml_span::Error| match &error.kind {
            ErrorKind::UnexpectedKeys { keys, expected } => {
                let (key, at) = keys
                    .iter()
                    .min_by_key(|(_, span)| span.start)
                    .map_or(("", 0), |(key, span)| (key.as_str(), span.start));
                format!("line {}: there is no key {key:?}, but {}", line_of(at), expected.join(", "))
            }
            _ => format!(
                "line {}: {}",
                line_of(error.span.start),
                error.to_string().lines().next().unwrap_or_default()
            ),
        };
        let mut document = toml_span::parse(text).map_err(reason)?;
        let given: Result<Given, DeserError> = Given::deserialize(&mut document);
        let given = given.map_err(|all| {
            let first = all.errors.into_iter().min_by_key(|error| error.span.start);
            first.map_or_else(String::new, reason)
        })?;
        match given.rules.iter().position(|rule| rule.name.trim().is_empty() || rule.is_without_condition()) {
            Some(place) => Err(format!(
                "[[process]] number {} needs a name, and one of comm, exe, script, cgroup and pid to know whom it is for",
                place + 1
            )),
            None => Ok(given),
        }
    }
}

impl<'de> Deserialize<'de> for Given {
    fn deserialize(value: &mut Value<'de>) -> Result<Given, DeserError> {
        let mut table = TableHelper::new(value)?;
        let rules = table.optional("process").unwrap_or_default();
        table.finalize(None)?;
        Ok(Given { rules })
    }
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize(value: &mut Value<'de>) -> Result<Rule, DeserError> {
        let mut table = TableHelper::new(value)?;
        let rule = Rule {
            name: table.optional("name").unwrap_or_default(),
            comm: table.optional("comm"),
            exe: table.optional("exe"),
            script: table.optional("script"),
            cgroup: table.optional("cgroup"),
            pid: table.optional("pid"),
        };
        table.finalize(None)?;
        Ok(rule)
    }
}

/// The file's text. A capture may come from anywhere: a link is not followed, and nothing but a regular file is read.
fn text(path: &Path) -> std::io::Result<String> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("no regular file"));
    }
    let mut text = String::new();
    file.take(MOST_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

impl Rule {
    fn is_without_condition(&self) -> bool {
        [&self.comm, &self.exe, &self.script, &self.cgroup].iter().all(|part| part.is_none())
            && self.pid.is_none()
    }

    fn fits(&self, row: &ProcessRow<'_>) -> bool {
        let same =
            |wanted: &Option<String>, is: Option<&str>| wanted.as_deref().is_none_or(|w| is == Some(w));
        let within = |wanted: &Option<String>, is: Option<&str>| {
            wanted.as_deref().is_none_or(|w| is.is_some_and(|path| path.contains(w)))
        };
        same(&self.comm, Some(row.comm))
            && same(&self.exe, row.exe)
            && same(&self.script, row.script)
            && within(&self.cgroup, row.cgroup)
            && self.pid.is_none_or(|pid| row.pid == pid)
    }
}

/// Names of the processes of a capture, from all rows of `processes`.
#[derive(Debug, Default)]
pub struct Namer {
    given: Given,
    /// Units in which processes of one name run.
    units: BTreeMap<String, BTreeSet<Option<String>>>,
}

/// A process before it is known which others there are.
#[derive(Clone, Debug)]
pub struct Unnamed {
    base: String,
    unit: Option<String>,
    given: bool,
}

impl Unnamed {
    /// The name that somebody gave it.
    pub fn given(&self) -> Option<&str> {
        self.given.then_some(&self.base)
    }
}

impl Namer {
    /// With names that somebody gave.
    pub fn new(given: Given) -> Namer {
        Namer { given, ..Namer::default() }
    }

    /// Takes a process into account. `pod`: what the pod and container are called that it is in.
    pub fn add(&mut self, row: &ProcessRow<'_>, pod: Option<&str>) -> Unnamed {
        if let Some(rule) = self.given.rules.iter().find(|rule| rule.fits(row)) {
            return Unnamed { base: rule.name.trim().to_owned(), unit: None, given: true };
        }
        let base = match row.script {
            // One that gave itself a name is known by it.
            Some(script) if is_interpreter(row.comm) => format!("{} {script}", row.comm),
            _ => row.comm.to_owned(),
        };
        let unit = pod.map(str::to_owned).or_else(|| row.cgroup.and_then(unit));
        self.units.entry(base.clone()).or_default().insert(unit.clone());
        Unnamed { base, unit, given: false }
    }

    /// What it is called: with its unit or container where others of that name run in another.
    pub fn name(&self, process: &Unnamed) -> String {
        let ambiguous = !process.given && self.units.get(&process.base).is_some_and(|units| units.len() > 1);
        match &process.unit {
            Some(unit) if ambiguous => format!("{}@{unit}", process.base),
            _ => process.base.clone(),
        }
    }
}

/// Programs that are named after what they run.
const INTERPRETERS: [&str; 9] = ["python", "pypy", "node", "java", "ruby", "perl", "php", "bash", "sh"];

/// Whether a command or program is an interpreter, whatever its version.
pub fn is_interpreter(program: &str) -> bool {
    INTERPRETERS.contains(&program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.'))
}

/// The container, by its name or the first digits of its id, or the service.
fn unit(cgroup: &str) -> Option<String> {
    let place = Place::of(cgroup);
    let service = place.service().map(str::to_owned);
    let digits = place.container_id.map(|id| id.chars().take(ID_DIGITS).collect());
    place.container.or(digits).or(service)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row<'a>(comm: &'a str, script: Option<&'a str>, cgroup: Option<&'a str>) -> ProcessRow<'a> {
        ProcessRow { pid: 7, comm, script, cgroup, ..ProcessRow::default() }
    }

    fn names(given: &str, rows: &[ProcessRow<'_>]) -> Vec<String> {
        let mut namer = Namer::new(Given::parse(given).expect("names"));
        let unnamed: Vec<Unnamed> = rows.iter().map(|row| namer.add(row, None)).collect();
        unnamed.iter().map(|process| namer.name(process)).collect()
    }

    #[test]
    fn an_interpreter_is_named_with_what_it_runs() {
        let rows = [
            row("python3", Some("server.py"), None),
            row("python3", Some("client.py"), None),
            row("gunicorn", Some("wsgi.py"), None),
            row("python3", None, None),
        ];
        assert_eq!(names("", &rows), ["python3 server.py", "python3 client.py", "gunicorn", "python3"]);
    }

    #[test]
    fn the_unit_is_named_only_where_it_distinguishes() {
        let docker = format!("/system.slice/docker-{}.scope", "4bf92f3577b34da6".repeat(4));
        let rows = [
            row("nginx", None, Some("/system.slice/edge.service")),
            row("nginx", None, Some(&docker)),
            row("nginx", None, Some("/user.slice/user-0.slice/session-1.scope")),
            row("redis", None, Some("/system.slice/redis.service")),
            row("redis", None, Some("/system.slice/redis.service/worker")),
            row("nginx", None, Some("/lxc.payload.web-of-a-shop/x")),
        ];
        assert_eq!(
            names("", &rows),
            ["nginx@edge", "nginx@4bf92f3577b3", "nginx", "redis", "redis", "nginx@web-of-a-shop"]
        );
        let mut namer = Namer::default();
        let pods = ["cart/web", "order/web"].map(|pod| namer.add(&rows[1], Some(pod)));
        assert_eq!(pods.map(|process| namer.name(&process)), ["nginx@cart/web", "nginx@order/web"]);
    }

    #[test]
    fn a_given_name_goes_before_all_others() {
        let given = "[[process]]\nname = 'billing'\ncomm = 'python3'\nscript = 'server.py'\n\n\
                     [[process]]\nname = 'edge'\ncgroup = 'edge.service'\n";
        let rows = [
            row("python3", Some("server.py"), None),
            row("python3", Some("client.py"), None),
            row("nginx", None, Some("/system.slice/edge.service")),
        ];
        assert_eq!(names(given, &rows), ["billing", "python3 client.py", "edge"]);
        let by_pid = "[[process]]\nname = 'it'\npid = 7\n";
        assert_eq!(names(by_pid, &rows), ["it", "it", "it"]);
    }

    #[test]
    fn what_is_wrong_with_given_names_is_said_with_its_place() {
        let error = |text: &str| Given::parse(text).expect_err("an error");
        assert!(
            error("[[process]]\nname = 'x'\n").starts_with("[[process]] number 1 needs"),
            "{}",
            error("[[process]]\nname = 'x'\n")
        );
        assert!(
            error("\n[[process]]\nnme = 'x'\n").starts_with("line 3: "),
            "{}",
            error("\n[[process]]\nnme = 'x'\n")
        );
        assert!(error("[[process]]\nname = 'x'\npid = 'y'\n").starts_with("line 3: "));
        assert!(error("[[process]]\nname = ' '\npid = 1\n").contains("number 1"));
        assert!(error("a = \u{1b}[2J").starts_with("line 1: "));
    }

    #[test]
    fn nothing_but_a_regular_file_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let [file, link] = ["names.toml", "link"].map(|name| folder.path().join(name));
        std::fs::write(&file, "x").expect("a file");
        std::os::unix::fs::symlink(&file, &link).expect("a link");
        assert_eq!(text(&file).expect("its text"), "x");
        assert!(text(&link).is_err() && text(folder.path()).is_err());
        assert_eq!(text(&folder.path().join("none")).unwrap_err().kind(), std::io::ErrorKind::NotFound);
    }
}
