//! Who listens on this host: what to say to somebody whose filters no socket matched.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::host::procfs;

/// State TCP_LISTEN in /proc/net/tcp (include/net/tcp_states.h).
const LISTEN: &str = "0A";
/// Most listeners that are named.
const MAX_NAMED: usize = 10;

/// Ports and names of the processes that listen on them, in any network namespace, because filters see all of them:
/// `80 nginx, 8080 java`. Where there are many, those with ports near the wanted ones (closed ranges) are named.
pub fn named(wanted: &[(u16, u16)]) -> String {
    let owners = procfs::socket_owners();
    let mut found = BTreeSet::new();
    for pid in procfs::one_of_each_network() {
        for file in ["tcp", "tcp6"] {
            let table = fs::read_to_string(format!("/proc/{pid}/net/{file}")).unwrap_or_default();
            for (port, inode) in listening(&table) {
                let name = owners.get(&inode).and_then(|&pid| procfs::comm(pid));
                found.insert((port, name.unwrap_or_else(|| "(unknown)".to_owned())));
            }
        }
    }
    text(found.into_iter().collect(), wanted)
}

/// Every port that something listens on, with the network namespace's inode number before it.
pub fn ports() -> BTreeSet<(u32, u16)> {
    let mut found = BTreeSet::new();
    for pid in procfs::one_of_each_network() {
        let Ok(namespace) = fs::metadata(format!("/proc/{pid}/ns/net")) else { continue };
        for file in ["tcp", "tcp6"] {
            let table = fs::read_to_string(format!("/proc/{pid}/net/{file}")).unwrap_or_default();
            found.extend(listening(&table).into_iter().map(|(port, _)| (namespace.ino() as u32, port)));
        }
    }
    found
}

/// The nearest of them, by port.
fn text(mut found: Vec<(u16, String)>, wanted: &[(u16, u16)]) -> String {
    let all = found.len();
    found.sort_by_key(|&(port, _)| distance(port, wanted));
    found.truncate(MAX_NAMED);
    found.sort();
    let mut names: Vec<String> = found.iter().map(|(port, name)| format!("{port} {name}")).collect();
    if all > MAX_NAMED {
        names.push(format!("and {} more", all - MAX_NAMED));
    }
    names.join(", ")
}

/// How far a port is from the nearest of some ranges; 0 where there are none.
fn distance(port: u16, ranges: &[(u16, u16)]) -> u16 {
    let to = |&(first, last): &(u16, u16)| first.saturating_sub(port).max(port.saturating_sub(last));
    ranges.iter().map(to).min().unwrap_or_default()
}

/// Port and inode of each listening socket in the text of /proc/net/tcp (proc(5)).
fn listening(table: &str) -> Vec<(u16, u64)> {
    let line = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let port = u16::from_str_radix(fields.get(1)?.rsplit_once(':')?.1, 16).ok()?;
        (*fields.get(3)? == LISTEN).then_some((port, fields.get(9)?.parse().ok()?))
    };
    table.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_read_and_others_are_not() {
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 71 1 0000000000000000 100 0 0 10 0
   1: 0100007F:D2A4 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 72 1 0000000000000000 20 4 30 10 -1
  garbage
";
        assert_eq!(listening(table), [(8080, 71)]);
    }

    #[test]
    fn a_listener_is_named_by_its_process() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let own = procfs::comm(std::process::id()).unwrap();
        let named = named(&[(port, port)]);
        assert!(named.split(", ").any(|one| one == format!("{port} {own}")), "{named}");
        let netns = fs::metadata("/proc/self/ns/net").unwrap().ino() as u32;
        assert!(ports().contains(&(netns, port)));
    }

    #[test]
    fn of_many_those_near_the_wanted_ports_are_named() {
        let found = || (1..=30).map(|n| (n * 100, "x".to_owned())).collect::<Vec<_>>();
        let named = text(found(), &[(1, 5), (2890, 2899)]);
        assert!(named.starts_with("100 x, 200 x, "), "{named}");
        assert!(named.ends_with("2900 x, 3000 x, and 20 more"), "{named}");
        assert!(text(found(), &[]).starts_with("100 x, 200 x, 300 x, "));
        assert_eq!(text(found()[..1].to_vec(), &[(9, 9)]), "100 x");
        assert_eq!(text(Vec::new(), &[]), "");
    }
}
