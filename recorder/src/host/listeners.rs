//! Who listens on this host: what to say to somebody whose filters no socket matched.

use std::collections::BTreeSet;
use std::fs;

use crate::host::procfs;

/// State TCP_LISTEN in /proc/net/tcp (include/net/tcp_states.h).
const LISTEN: &str = "0A";
/// Most listeners that are named.
const MAX_NAMED: usize = 20;

/// Ports and names of the processes that listen on them, in this network namespace: `80 nginx, 8080 java`.
pub fn named() -> String {
    let owners = procfs::socket_owners();
    let mut found = BTreeSet::new();
    for file in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for (port, inode) in listening(&fs::read_to_string(file).unwrap_or_default()) {
            let owner = owners.get(&inode).and_then(|&pid| procfs::process(pid));
            found.insert((
                port,
                owner.map_or("?".to_owned(), |process| process.comm.replace(char::is_control, "?")),
            ));
        }
    }
    let mut names: Vec<String> =
        found.iter().take(MAX_NAMED).map(|(port, name)| format!("{port} {name}")).collect();
    if found.len() > MAX_NAMED {
        names.push(format!("and {} more", found.len() - MAX_NAMED));
    }
    names.join(", ")
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
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(named().contains("more") || named().contains(&format!("{port} ")), "{}", named());
    }
}
