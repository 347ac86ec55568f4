//! Which sockets are recorded, as the user chooses them.
//!
//! The kernel programs decide by what they can know: ports, addresses, network namespaces, sides, names and numbers of processes, and
//! the sample. What needs a pattern or a cgroup's name is decided here, once a program ([`judge`]), and told to them.

pub mod args;
pub mod judge;
pub mod selection;
pub mod values;

use retrospan_formats::config::{self, watched};
use serde_json::{Map, Value, json};

use selection::Selection;
use values::Side;

/// All filters of a recording.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// Each kind that is given must match.
    pub include: Selection,
    /// None may.
    pub exclude: Selection,
    /// One side of connections alone.
    pub side: Option<Side>,
    /// Of so many connections one is recorded; 0 and 1: each.
    pub one_in: u32,
}

/// A filter that cannot be honoured.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// More than the kernel programs have room for.
    #[error("{option}: at most {most} of them")]
    TooMany {
        /// What the user gave.
        option: String,
        /// How many there may be.
        most: usize,
    },
    /// An empty name.
    #[error("{0}: the name is empty")]
    EmptyName(String),
    /// A process that is not there.
    #[error("{option} {pid}: no such process")]
    NoProcess {
        /// What the user gave.
        option: String,
        /// The process.
        pid: u32,
    },
}

impl Filters {
    /// Checks what can be checked before anything is started.
    pub fn check(&self) -> Result<(), FilterError> {
        self.include.check(|kind| format!("--{kind}"))?;
        self.exclude.check(|kind| format!("--exclude {kind}="))
    }

    /// Whether the user chose sockets.
    pub fn is_empty(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty() && self.side.is_none() && !self.samples()
    }

    /// Whether only some connections are recorded.
    pub fn samples(&self) -> bool {
        self.one_in > 1
    }

    /// Whether processes are judged here.
    pub fn needs_judge(&self) -> bool {
        self.include.needs_judge() || self.exclude.needs_judge()
    }

    /// What the user chose, as it stands on the command line.
    pub fn words(&self) -> Vec<String> {
        let flat = |selection: &Selection, word: fn(&str, &str) -> String| {
            let words = selection.words().into_iter();
            words.flat_map(|(kind, values)| values.into_iter().map(move |value| word(kind, &value))).collect()
        };
        let mut all: Vec<String> = flat(&self.include, |kind, value| format!("--{kind} {value}"));
        all.extend(self.side.map(|side| format!("--side {}", side.name())));
        all.extend(flat(&self.exclude, |kind, value| format!("--exclude {kind}={value}")));
        all.extend(self.samples().then(|| format!("--sample 1/{}", self.one_in)));
        all
    }

    /// Ports that the user named.
    pub fn ports(&self) -> Vec<(u16, u16)> {
        let Selection { ports, local_ports, remote_ports, .. } = &self.include;
        let all = ports.iter().chain(local_ports).chain(remote_ports);
        all.map(|range| (range.first, range.last)).collect()
    }

    /// Tells the manifest's `options`: pids, names and ports in any case, the rest where it is given.
    pub fn put(&self, options: &mut Map<String, Value>) {
        for (kind, values) in self.include.words() {
            let numbers: Option<Vec<u32>> = values.iter().map(|value| value.parse().ok()).collect();
            let value = match numbers {
                Some(numbers) if kind.ends_with("pid") => json!(numbers),
                _ => json!(values),
            };
            if !values.is_empty() || ["pid", "comm", "port"].contains(&kind) {
                options.insert(kind.replace('-', "_"), value);
            }
        }
        let excluded = self.exclude.words().into_iter();
        let excluded: Vec<String> = excluded
            .flat_map(|(kind, values)| values.into_iter().map(move |value| format!("{kind}={value}")))
            .collect();
        if !excluded.is_empty() {
            options.insert("exclude".to_owned(), json!(excluded));
        }
        if let Some(side) = self.side {
            options.insert("side".to_owned(), json!(side.name()));
        }
        if self.samples() {
            options.insert("sample".to_owned(), json!(self.one_in));
        }
    }

    /// What the kernel programs are told, but for pids and names that include.
    pub fn rules(&self) -> config::Filters {
        config::Filters {
            include: self.include.rules(),
            exclude: self.exclude.rules(),
            by_socket: u32::from(
                self.include.asks_sockets()
                    || self.exclude.asks_sockets()
                    || self.side.is_some()
                    || self.samples(),
            ),
            judged: u32::from(self.needs_judge()),
            side: self.side.map_or(config::side::ANY, Side::rule),
            sample: self.one_in,
            ..config::Filters::default()
        }
    }

    /// Processes that are told apart by their numbers: which, and a constant of [`watched`].
    pub fn watched(&self) -> [(&[u32], u8); 3] {
        [
            (&self.include.pids, watched::WITH_CHILDREN),
            (&self.include.only_pids, watched::ALONE),
            (&self.exclude.pids, watched::EXCLUDED),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters() -> Filters {
        let select = |texts: &[&str]| {
            let mut selection = Selection::default();
            texts.iter().for_each(|text| selection.extend(Selection::parse(text).unwrap()));
            selection
        };
        let include = Selection { only_pids: vec![7], ..select(&["port=80", "unit=nginx.service"]) };
        Filters { include, exclude: select(&["comm=envoy"]), side: Some(Side::Server), one_in: 10 }
    }

    #[test]
    fn filters_are_told_as_they_were_given() {
        let told = filters().words().join(" ");
        let words =
            "--port 80 --only-pid 7 --unit nginx.service --side server --exclude comm=envoy --sample 1/10";
        assert_eq!(told, words);
        let mut options = Map::new();
        filters().put(&mut options);
        let expected = json!({
            "pid": [], "comm": [], "port": ["80"], "only_pid": [7], "unit": ["nginx.service"],
            "exclude": ["comm=envoy"], "side": "server", "sample": 10,
        });
        assert_eq!(Value::from(options), expected);
    }

    #[test]
    fn no_filter_asks_for_nothing() {
        let none = Filters { one_in: 1, ..Filters::default() };
        let rules = none.rules();
        assert!(none.is_empty() && none.words().is_empty());
        assert_eq!((rules.by_socket, rules.judged, rules.side), (0, 0, config::side::ANY));
        assert!(!filters().is_empty() && filters().rules().by_socket == 1 && filters().rules().judged == 1);
    }

    #[test]
    fn what_the_kernel_programs_cannot_hold_is_refused() {
        let with = |include| Filters { include, ..Filters::default() }.check().unwrap_err().to_string();
        let comms = |comms| Selection { comms, ..Selection::default() };
        assert!(with(comms(vec!["a".into(); 9])).starts_with("--comm: at most 8"));
        assert!(with(comms(vec![String::new()])).starts_with("--comm: "));
        let ports = vec![values::Ports { first: 1, last: 1 }; 17];
        assert!(with(Selection { ports, ..Selection::default() }).starts_with("--port: at most 16"));
        assert!(with(Selection { pids: vec![1 << 30], ..Selection::default() }).ends_with("no such process"));
        let exclude = comms(vec![String::new()]);
        let error = Filters { exclude, ..Filters::default() }.check().unwrap_err().to_string();
        assert!(error.starts_with("--exclude comm="), "{error}");
    }
}
