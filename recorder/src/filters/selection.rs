//! What a recording is narrowed to, or what is left out of it: one list a kind of filter.

use retrospan_formats::config::{MAX_COMMS, MAX_NETNS, MAX_NETS, MAX_PORT_RANGES, PortRange, SocketRules};

use super::FilterError;
use super::values::{Glob, Namespace, Network, Ports};

/// Values by kind; an empty list is no filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Processes with their descendants.
    pub pids: Vec<u32>,
    /// Processes without them.
    pub only_pids: Vec<u32>,
    /// Names of thread-group leaders.
    pub comms: Vec<String>,
    /// Paths of executables.
    pub exes: Vec<Glob>,
    /// Paths of cgroups.
    pub cgroups: Vec<Glob>,
    /// Ids or names of containers.
    pub containers: Vec<Glob>,
    /// Names of systemd units.
    pub units: Vec<Glob>,
    /// Pods, with their namespaces.
    pub pods: Vec<Glob>,
    /// Ports of either end.
    pub ports: Vec<Ports>,
    /// Ports of the socket's own end.
    pub local_ports: Vec<Ports>,
    /// Ports of the other end.
    pub remote_ports: Vec<Ports>,
    /// Addresses of either end.
    pub networks: Vec<Network>,
    /// Network namespaces.
    pub namespaces: Vec<Namespace>,
}

/// What `--exclude` knows, in the order of the help.
const KINDS: &str =
    "pid, comm, exe, cgroup, container, unit, pod, port, local-port, remote-port, cidr or netns";

impl Selection {
    /// `KIND=VALUE`, as `--exclude` has it.
    pub fn parse(text: &str) -> Result<Selection, String> {
        let wrong = || format!("{text:?} is not KIND=VALUE with {KINDS} as KIND");
        let (kind, value) = text.split_once('=').ok_or_else(wrong)?;
        let mut one = Selection::default();
        match kind {
            "pid" => one.pids.push(pid(value)?),
            "comm" => one.comms.push(value.to_owned()),
            "exe" => one.exes.push(Glob::parse(value)?),
            "cgroup" => one.cgroups.push(Glob::parse(value)?),
            "container" => one.containers.push(Glob::parse(value)?),
            "unit" => one.units.push(Glob::parse(value)?),
            "pod" => one.pods.push(Glob::parse(value)?),
            "port" => one.ports.push(Ports::parse(value)?),
            "local-port" => one.local_ports.push(Ports::parse(value)?),
            "remote-port" => one.remote_ports.push(Ports::parse(value)?),
            "cidr" => one.networks.push(Network::parse(value)?),
            "netns" => one.namespaces.push(Namespace::parse(value)?),
            _ => return Err(wrong()),
        }
        Ok(one)
    }

    /// Adds what another one has.
    pub fn extend(&mut self, other: Selection) {
        self.pids.extend(other.pids);
        self.only_pids.extend(other.only_pids);
        self.comms.extend(other.comms);
        self.exes.extend(other.exes);
        self.cgroups.extend(other.cgroups);
        self.containers.extend(other.containers);
        self.units.extend(other.units);
        self.pods.extend(other.pods);
        self.ports.extend(other.ports);
        self.local_ports.extend(other.local_ports);
        self.remote_ports.extend(other.remote_ports);
        self.networks.extend(other.networks);
        self.namespaces.extend(other.namespaces);
    }

    /// Every kind and its values as they were given.
    pub fn words(&self) -> [(&'static str, Vec<String>); 13] {
        fn texts<T: ToString>(values: &[T]) -> Vec<String> {
            values.iter().map(T::to_string).collect()
        }
        [
            ("port", texts(&self.ports)),
            ("comm", self.comms.clone()),
            ("pid", texts(&self.pids)),
            ("only-pid", texts(&self.only_pids)),
            ("exe", texts(&self.exes)),
            ("cgroup", texts(&self.cgroups)),
            ("container", texts(&self.containers)),
            ("unit", texts(&self.units)),
            ("pod", texts(&self.pods)),
            ("local-port", texts(&self.local_ports)),
            ("remote-port", texts(&self.remote_ports)),
            ("cidr", texts(&self.networks)),
            ("netns", texts(&self.namespaces)),
        ]
    }

    /// Whether nothing is selected.
    pub fn is_empty(&self) -> bool {
        *self == Selection::default()
    }

    /// Whether it takes user space to say of a process whether it is selected.
    pub fn needs_judge(&self) -> bool {
        let globs = [&self.exes, &self.cgroups, &self.containers, &self.units, &self.pods];
        globs.into_iter().any(|globs| !globs.is_empty())
    }

    /// Whether something is asked of sockets.
    pub fn asks_sockets(&self) -> bool {
        let ports = [&self.ports, &self.local_ports, &self.remote_ports];
        ports.into_iter().any(|ports| !ports.is_empty())
            || !self.networks.is_empty()
            || !self.namespaces.is_empty()
    }

    /// Checks what the kernel programs have room for, and that processes are there. `option` is what the user gave it with.
    pub fn check(&self, option: impl Fn(&str) -> String) -> Result<(), FilterError> {
        let lists = [
            ("comm", self.comms.len(), MAX_COMMS),
            ("port", self.ports.len(), MAX_PORT_RANGES),
            ("local-port", self.local_ports.len(), MAX_PORT_RANGES),
            ("remote-port", self.remote_ports.len(), MAX_PORT_RANGES),
            ("cidr", self.networks.len(), MAX_NETS),
            ("netns", self.namespaces.len(), MAX_NETNS),
        ];
        if let Some(&(kind, _, most)) = lists.iter().find(|(_, used, most)| used > most) {
            return Err(FilterError::TooMany { option: option(kind), most });
        }
        if self.comms.iter().any(String::is_empty) {
            return Err(FilterError::EmptyName(option("comm")));
        }
        for (kind, pids) in [("pid", &self.pids), ("only-pid", &self.only_pids)] {
            let is_gone = |pid: &&u32| !std::path::Path::new(&format!("/proc/{pid}")).exists();
            if let Some(&pid) = pids.iter().find(is_gone) {
                return Err(FilterError::NoProcess { option: option(kind), pid });
            }
        }
        Ok(())
    }

    /// What the kernel programs are told of sockets.
    pub fn rules(&self) -> SocketRules {
        let mut rules = SocketRules::default();
        let lists = [
            (&mut rules.either, &self.ports),
            (&mut rules.local, &self.local_ports),
            (&mut rules.remote, &self.remote_ports),
        ];
        for (list, ports) in lists {
            list.used = ports.len() as u32;
            for (range, &Ports { first, last }) in list.ranges.iter_mut().zip(ports) {
                *range = PortRange { first, last };
            }
        }
        rules.nets.used = self.networks.len() as u32;
        rules.nets.nets.iter_mut().zip(&self.networks).for_each(|(net, network)| *net = network.rule());
        rules.netns.used = self.namespaces.len() as u32;
        let namespaces = rules.netns.inodes.iter_mut().zip(&self.namespaces);
        namespaces.for_each(|(inode, namespace)| *inode = namespace.inode);
        rules
    }
}

/// The number of a process.
pub fn pid(text: &str) -> Result<u32, String> {
    text.parse().ok().filter(|&pid| pid > 0).ok_or_else(|| format!("{text:?} is not the number of a process"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_can_be_excluded() {
        let all = [
            "pid=7",
            "comm=envoy",
            "exe=*/nginx",
            "cgroup=/user.slice/*",
            "container=4bf92f",
            "unit=ssh.service",
            "pod=kube-system/*",
            "port=9090",
            "local-port=80-90",
            "remote-port=53",
            "cidr=127.0.0.0/8",
            "netns=/proc/self/ns/net",
        ];
        let mut selection = Selection::default();
        all.into_iter().for_each(|text| selection.extend(Selection::parse(text).unwrap()));
        let words: Vec<String> = selection
            .words()
            .into_iter()
            .flat_map(|(kind, values)| values.into_iter().map(move |value| format!("{kind}={value}")))
            .collect();
        assert_eq!(words.len(), all.len());
        assert!(all.iter().all(|text| words.contains(&(*text).to_owned())), "{words:?}");
        for wrong in ["envoy", "name=envoy", "pid=0", "port=0", "exe=", "cidr=ten", "=7"] {
            assert!(Selection::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_kernel_programs_are_told_what_was_selected() {
        let mut selection = Selection::parse("remote-port=80-90").unwrap();
        selection.extend(Selection::parse("cidr=10.0.0.0/8").unwrap());
        let rules = selection.rules();
        assert_eq!((rules.either.used, rules.local.used, rules.remote.used, rules.nets.used), (0, 0, 1, 1));
        assert_eq!(rules.remote.ranges[0], PortRange { first: 80, last: 90 });
        assert!(selection.asks_sockets() && !selection.needs_judge() && !selection.is_empty());
        assert!(Selection::parse("unit=a").unwrap().needs_judge());
    }
}
