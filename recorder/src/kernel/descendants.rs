//! The processes that descend from a given one now, from /proc.

use std::collections::BTreeSet;

/// All processes whose chain of parents reaches one of `roots`, the roots themselves included.
/// Processes that appear or end meanwhile may or may not be there.
pub fn of(roots: &[u32]) -> BTreeSet<u32> {
    let parents: Vec<(u32, u32)> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid: u32| {
            Some((pid, parent_of(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?))
        })
        .collect();
    close_over(roots, &parents)
}

/// The fourth field of a stat line. The second, the name, is in parentheses and may hold anything.
fn parent_of(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn close_over(roots: &[u32], parents: &[(u32, u32)]) -> BTreeSet<u32> {
    let mut found: BTreeSet<u32> = roots.iter().copied().collect();
    loop {
        let before = found.len();
        found.extend(
            parents
                .iter()
                .filter(|(_, parent)| found.contains(parent))
                .map(|&(pid, _)| pid)
                .collect::<Vec<_>>(),
        );
        if found.len() == before {
            return found;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_hides_nothing() {
        assert_eq!(parent_of("7 (a) b (c)) S 42 7 7 0"), Some(42));
        assert_eq!(parent_of("7 no name"), None);
        assert_eq!(parent_of(""), None);
    }

    #[test]
    fn descendants_are_found_in_any_order() {
        let parents = [(5, 4), (4, 3), (3, 1), (9, 1), (6, 5)];
        assert_eq!(close_over(&[3], &parents), BTreeSet::from([3, 4, 5, 6]));
        assert_eq!(close_over(&[8], &parents), BTreeSet::from([8]));
        assert_eq!(close_over(&[], &parents), BTreeSet::new());
    }
}
