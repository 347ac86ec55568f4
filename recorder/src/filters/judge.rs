//! Whether a process matches the filters that need more than the kernel programs know: patterns, and names of cgroups.

use retrospan_formats::cgroup::Place;

use super::Filters;
use super::selection::Selection;
use super::values::Glob;

/// What is known of a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// Its program, as it was called or as it is found.
    pub exes: [Option<&'a str>; 2],
    /// Path of its cgroup.
    pub cgroup: Option<&'a str>,
    /// What that path tells.
    pub place: Option<&'a Place>,
    /// Name of its container.
    pub container: Option<&'a str>,
    /// Namespace and name of its pod.
    pub pod: Option<(&'a str, &'a str)>,
}

/// Least digits of a container's id that stand for it.
const LEAST_ID_DIGITS: usize = 6;

/// The filters that are asked here.
#[derive(Clone, Debug)]
pub struct Rules {
    include: Selection,
    exclude: Selection,
}

impl Rules {
    /// Of the filters of a recording; `None` where the kernel programs know enough.
    pub fn of(filters: &Filters) -> Option<Rules> {
        let rules = || Rules { include: filters.include.clone(), exclude: filters.exclude.clone() };
        filters.needs_judge().then(rules)
    }

    /// Whether the path of the program itself matters.
    pub fn ask_exe(&self) -> bool {
        !(self.include.exes.is_empty() && self.exclude.exes.is_empty())
    }

    /// Whether names of pods and containers matter, which may come to be known later.
    pub fn ask_names(&self) -> bool {
        let of = |selection: &Selection| !(selection.pods.is_empty() && selection.containers.is_empty());
        of(&self.include) || of(&self.exclude)
    }

    /// Whether sockets of such a process are recorded. What is not known does not match.
    pub fn match_process(&self, facts: &Facts<'_>) -> bool {
        let each = kinds(&self.include, facts).into_iter().flatten().all(|matches| matches);
        each && !kinds(&self.exclude, facts).into_iter().flatten().any(|matches| matches)
    }
}

/// What each kind says, if it is used.
fn kinds(selection: &Selection, facts: &Facts<'_>) -> [Option<bool>; 5] {
    let any = |globs: &[Glob], matches: &dyn Fn(&Glob) -> bool| {
        (!globs.is_empty()).then(|| globs.iter().any(matches))
    };
    let place = facts.place;
    let id = place.and_then(|place| place.container_id.as_deref());
    let unit = place.and_then(|place| place.unit.as_deref());
    [
        any(&selection.exes, &|glob| facts.exes.iter().flatten().any(|exe| is_file(glob, exe))),
        any(&selection.cgroups, &|glob| glob.matches(facts.cgroup.unwrap_or("/"))),
        any(&selection.containers, &|glob| {
            facts.container.is_some_and(|name| glob.matches(name)) || id.is_some_and(|id| is_id(glob, id))
        }),
        any(&selection.units, &|glob| unit.is_some_and(|unit| is_unit(glob, unit))),
        any(&selection.pods, &|glob| facts.pod.is_some_and(|pod| is_pod(glob, pod))),
    ]
}

fn is_file(glob: &Glob, path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    if glob.text().contains('/') { glob.matches(path) } else { glob.matches(name) }
}

fn is_id(glob: &Glob, id: &str) -> bool {
    glob.matches(id) || (glob.text().len() >= LEAST_ID_DIGITS && id.starts_with(glob.text()))
}

fn is_unit(glob: &Glob, unit: &str) -> bool {
    glob.matches(unit) || unit.strip_suffix(".service").is_some_and(|stem| glob.matches(stem))
}

fn is_pod(glob: &Glob, (namespace, name): (&str, &str)) -> bool {
    if glob.text().contains('/') { glob.matches(&format!("{namespace}/{name}")) } else { glob.matches(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e47364bf92f3577b34da6a3ce929d0e0e4736";

    fn rules(include: &[&str], exclude: &[&str]) -> Rules {
        let select = |texts: &[&str]| {
            let mut selection = Selection::default();
            texts.iter().for_each(|text| selection.extend(Selection::parse(text).unwrap()));
            selection
        };
        let filters = Filters { include: select(include), exclude: select(exclude), ..Filters::default() };
        Rules::of(&filters).unwrap()
    }

    fn matches(include: &[&str], exclude: &[&str]) -> bool {
        let path = format!("/system.slice/nginx.service/docker-{ID}.scope");
        let mut place = Place::of(&path);
        place.unit = Some("nginx.service".to_owned());
        let facts = Facts {
            exes: [Some("./nginx"), Some("/usr/sbin/nginx")],
            cgroup: Some(&path),
            place: Some(&place),
            container: Some("web"),
            pod: Some(("shop", "cart-7d9f")),
        };
        rules(include, exclude).match_process(&facts)
    }

    #[test]
    fn each_kind_has_its_ways_to_match() {
        for text in [
            "exe=nginx",
            "exe=/usr/sbin/*",
            "exe=ngin?",
            "cgroup=/system.slice/*",
            "container=web",
            "container=w*",
            "container=4bf92f",
            "unit=nginx",
            "unit=nginx.service",
            "unit=*.service",
            "pod=shop/cart-*",
            "pod=cart-*",
            "pod=*/cart-7d9f",
        ] {
            assert!(matches(&[text], &[]), "{text}");
            assert!(!matches(&[], &[text]), "{text}");
        }
        for text in [
            "exe=ngin",
            "exe=/usr/bin/*",
            "cgroup=/system.slice",
            "container=4bf92",
            "container=we",
            "unit=ngin",
            "pod=web/cart-*",
            "pod=shop",
        ] {
            assert!(!matches(&[text], &[]), "{text}");
            assert!(matches(&[], &[text]), "{text}");
        }
    }

    #[test]
    fn kinds_are_joined_and_an_exclusion_wins() {
        assert!(matches(&["exe=nginx", "exe=envoy", "unit=nginx"], &[]));
        assert!(!matches(&["exe=nginx", "unit=other"], &[]));
        assert!(!matches(&["exe=nginx"], &["pod=shop/*"]));
    }

    #[test]
    fn what_is_not_known_does_not_match() {
        let nobody = Facts::default();
        assert!(!rules(&["exe=*"], &[]).match_process(&nobody));
        assert!(rules(&[], &["exe=*"]).match_process(&nobody));
        assert!(rules(&["cgroup=/"], &[]).match_process(&nobody), "no cgroup is the root's");
    }
}
