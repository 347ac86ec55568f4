//! Who runs in a cgroup: container, pod and systemd unit, as far as the cgroup's path tells.
//!
//! Container runtimes put a container's id, 64 hex digits, into the name of its cgroup. kubelet puts the pod's
//! uid into the cgroup around it. systemd names the cgroup of a unit after the unit. Both ways in which runtimes
//! make cgroups ("cgroupfs" and "systemd") are known.

/// What a path tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The innermost container: its id, or the name that is its id (LXC, systemd-nspawn).
    pub container_id: Option<String>,
    /// Who runs that container: `docker` `containerd` `cri-o` `podman` `lxc` `systemd-nspawn`.
    pub runtime: Option<&'static str>,
    /// The container's name, where the path has it (LXC, systemd-nspawn).
    pub container: Option<String>,
    /// The innermost systemd service or scope, whole, without escapes.
    pub unit: Option<String>,
    /// Uid of the outermost pod, with `-`.
    pub pod_uid: Option<String>,
    /// The unit's name, where that is the name of a service.
    service: Option<String>,
}

impl Place {
    /// From the path of a cgroup. `..`, which stands in paths that are seen from within a cgroup namespace, tells
    /// nothing.
    pub fn of(path: &str) -> Place {
        let mut place = Place::default();
        let of_kubelet = path.contains("kubepods");
        let mut before = "";
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            let mut found = None;
            // Runtimes that were told to use systemd and cannot write `slice:prefix:name` as it is.
            for word in segment.split(':') {
                if of_kubelet && place.pod_uid.is_none() {
                    place.pod_uid = pod_uid(word);
                }
                found = container(word, before).or(found);
                before = word;
            }
            place.enter_unit(segment, found.as_ref());
            if let Some(container) = found {
                // A unit around a container is mostly that of the runtime.
                if !container.is_of_unit {
                    place.service = None;
                }
                place.container_id = Some(container.id);
                place.runtime = container.runtime;
                place.container = container.name;
            }
        }
        place
    }

    /// The name of the systemd service, where the path has one that names what runs there: none of a scope, of a
    /// login, of a runtime around a container, and of others that only start what somebody wants.
    pub fn service(&self) -> Option<&str> {
        self.service.as_deref()
    }

    fn enter_unit(&mut self, segment: &str, container: Option<&Container>) {
        let service = segment.strip_suffix(".service").filter(|stem| !stem.is_empty());
        let is_scope = segment.strip_suffix(".scope").is_some_and(|stem| !stem.is_empty());
        if service.is_none() && !is_scope || container.is_some_and(|container| container.is_folder) {
            return;
        }
        self.unit = Some(unescape(segment));
        let names = service.filter(|_| container.is_none()).map(unescape);
        self.service = names.filter(|name| !starts_others(name));
    }
}

/// A container that a word of a path names.
struct Container {
    id: String,
    name: Option<String>,
    runtime: Option<&'static str>,
    /// A unit was made for it alone, and is around it.
    is_of_unit: bool,
    /// Its cgroup is no unit's, whatever it is called.
    is_folder: bool,
}

/// What stands before the id, and whose container it is.
const PREFIXES: [(&str, &str); 7] = [
    ("docker-", "docker"),
    ("cri-containerd-", "containerd"),
    ("nerdctl-", "containerd"),
    ("crio-", "cri-o"),
    ("libpod-", "podman"),
    ("libpod-payload-", "podman"),
    ("lxc-", "lxc"),
];
/// What the word before a bare id is, and whose container it is.
const FOLDERS: [(&str, &str); 7] = [
    ("docker", "docker"),
    ("cri-containerd", "containerd"),
    // Namespaces of containerd.
    ("k8s.io", "containerd"),
    ("default", "containerd"),
    ("crio", "cri-o"),
    ("libpod", "podman"),
    ("libpod_parent", "podman"),
];
/// Digits of a container's id.
const ID_DIGITS: usize = 64;

fn container(word: &str, before: &str) -> Option<Container> {
    let stem = word.strip_suffix(".scope").unwrap_or(word);
    let Some(at) = stem.len().checked_sub(ID_DIGITS).filter(|&at| is_hex(stem.as_bytes(), at)) else {
        return named_container(word, before);
    };
    let (prefix, id) = stem.split_at(at);
    // The monitor of a container runs beside it.
    if prefix.ends_with("conmon-") || !prefix.is_empty() && !prefix.ends_with(['-', '_']) {
        return None;
    }
    let (table, key) = if prefix.is_empty() { (&FOLDERS, before) } else { (&PREFIXES, prefix) };
    let runtime = table.iter().find(|(name, _)| *name == key).map(|&(_, runtime)| runtime);
    Some(Container {
        id: id.to_owned(),
        name: None,
        runtime,
        is_of_unit: prefix == "libpod-payload-",
        is_folder: false,
    })
}

/// Containers whose id is a name.
fn named_container(word: &str, before: &str) -> Option<Container> {
    let of = |name: String, runtime, is_folder| Container {
        id: name.clone(),
        name: Some(name),
        runtime: Some(runtime),
        is_of_unit: false,
        is_folder,
    };
    let within_lxc = matches!(before, "lxc" | "lxc.payload").then_some(word);
    let lxc = word.strip_prefix("lxc.payload.").or(within_lxc).filter(|name| !name.is_empty());
    if let Some(name) = lxc {
        return Some(of(name.to_owned(), "lxc", true));
    }
    let template = word.strip_prefix("systemd-nspawn@").and_then(|rest| rest.strip_suffix(".service"));
    let machine = word.strip_prefix("machine-").and_then(|rest| rest.strip_suffix(".scope"));
    let name = template.or(machine.filter(|_| before == "machine.slice")).map(unescape)?;
    // libvirt's: `qemu-1-db` is a virtual machine, `lxc-1234-web` a container.
    if name.is_empty() || name.starts_with("qemu-") {
        return None;
    }
    let runtime = if name.starts_with("lxc-") { "lxc" } else { "systemd-nspawn" };
    Some(of(name, runtime, false))
}

/// Whether the bytes from there on are lower-case hex digits.
fn is_hex(bytes: &[u8], from: usize) -> bool {
    bytes[from..].iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// kubelet's `pod<uid>`, or `kubepods-burstable-pod<uid>.slice` with `_` for `-`. The uid of a pod that a file on the
/// node defines is 32 hex digits.
fn pod_uid(word: &str) -> Option<String> {
    let (before, uid) = word.strip_suffix(".slice").unwrap_or(word).rsplit_once("pod")?;
    let is_uid = match uid.len() {
        36 => uid.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => matches!(byte, b'-' | b'_'),
            _ => byte.is_ascii_hexdigit(),
        }),
        32 => uid.bytes().all(|byte| byte.is_ascii_hexdigit()),
        _ => false,
    };
    let is_whole = before.is_empty() || before.ends_with('-');
    (is_whole && is_uid).then(|| uid.replace('_', "-").to_ascii_lowercase())
}

/// Services that start what somebody wants there, or at some time. Of a template (`getty@tty1`) what is before `@`.
const STARTERS: [&str; 16] = [
    "user",
    "ssh",
    "sshd",
    "dropbear",
    "login",
    "getty",
    "serial-getty",
    "console-getty",
    "container-getty",
    "autovt",
    "debug-shell",
    "cron",
    "crond",
    "cronie",
    "anacron",
    "atd",
];

/// Whether a service's name says nothing about what runs in it. Such are those of desktop programs (`app-...`) and those
/// that systemd-run makes up (`run-u12`, `run-r` or `run-p` and a number).
fn starts_others(service: &str) -> bool {
    let name = service.split('@').next().unwrap_or(service);
    let is_made_up = |rest: &str| {
        let numbers = rest.strip_prefix(['u', 'r', 'p']).unwrap_or_default();
        numbers.starts_with(|c: char| c.is_ascii_hexdigit())
            && numbers.bytes().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b'-' | b'i'))
    };
    STARTERS.contains(&name)
        || name.starts_with("app-")
        || service.starts_with("systemd-nspawn@")
        || service.strip_prefix("run-").is_some_and(is_made_up)
}

/// A unit's name as people write it: systemd writes `\x2d` for a byte that has a meaning of its own.
fn unescape(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.strip_prefix(b"x").and_then(|hex| std::str::from_utf8(hex.get(..2)?).ok());
        let escaped = digits.filter(|_| first == b'\\').and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { &after[3..] } else { after };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| name.to_owned())
}

#[cfg(test)]
mod tests;
