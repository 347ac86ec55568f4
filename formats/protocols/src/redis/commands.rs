//! The commands of Redis, which may be kept.
//!
//! All other words are blanked, also where a command should stand: a password that was sent there by mistake is one, and so is a
//! command that was renamed so that nobody finds it.

mod table;

use table::COMMANDS;

/// Longest entry of [`COMMANDS`].
pub(super) const MAX_COMMAND_BYTES: usize = 48;

/// The command of that name, upper case.
pub(super) fn command(name: &[u8]) -> Option<&'static str> {
    let at = COMMANDS.binary_search_by(|known| known.as_bytes().cmp(name)).ok()?;
    Some(COMMANDS[at])
}

/// Whether a name of `length` bytes that begins so, upper case, may be one of [`COMMANDS`].
pub(super) fn may_become_command(part: &[u8], length: usize) -> bool {
    let from = COMMANDS.partition_point(|known| known.as_bytes() < part);
    let begun = COMMANDS[from..].iter().take_while(|known| known.as_bytes().starts_with(part));
    begun.into_iter().any(|known| known.len() == length)
}

/// Whether some command begins so, upper case.
pub(super) fn begins_command(part: &[u8]) -> bool {
    let from = COMMANDS.partition_point(|known| known.as_bytes() < part);
    COMMANDS.get(from).is_some_and(|known| known.as_bytes().starts_with(part))
}

/// Whether the command's first argument may be part of its name.
pub(super) fn has_subcommands(command: &str) -> bool {
    let from = COMMANDS.partition_point(|known| *known <= command);
    let next = COMMANDS.get(from).and_then(|next| next.strip_prefix(command));
    next.is_some_and(|rest| rest.starts_with(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_in_upper_case() {
        assert!(COMMANDS.is_sorted());
        for word in COMMANDS {
            assert_eq!(word.to_uppercase(), word);
            assert!(word.len() <= MAX_COMMAND_BYTES, "{word}");
        }
    }

    #[test]
    fn commands_and_their_parts_are_known() {
        for known in COMMANDS {
            assert_eq!(command(known.as_bytes()), Some(known));
            for cut in 1..known.len() {
                assert!(may_become_command(&known.as_bytes()[..cut], known.len()), "{known}");
            }
        }
        assert_eq!(command(b"GE"), None);
        assert!(!may_become_command(b"GE", 2));
        assert!(has_subcommands("CONFIG") && has_subcommands("CLIENT REPLY") && has_subcommands("CLIENT"));
        assert!(
            !has_subcommands("GET") && !has_subcommands("ZUNIONSTORE") && !has_subcommands("COMMAND LIST")
        );
    }
}
