//! The words of Redis that errors begin with: all others are blanked.

/// The first words of errors, sorted.
static ERRORS: [&str; 39] = [
    "ASK",
    "BUSY",
    "BUSYGROUP",
    "BUSYKEY",
    "CLUSTERDOWN",
    "CROSSSLOT",
    "DENIED",
    "ERR",
    "EXECABORT",
    "INPROG",
    "INVALIDOBJ",
    "IOERR",
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "MOVED",
    "NOAUTH",
    "NOGOODSLAVE",
    "NOGROUP",
    "NOKEY",
    "NOMASTERLINK",
    "NONEXT",
    "NOPERM",
    "NOPROTO",
    "NOQUORUM",
    "NOREPLICAS",
    "NOSCRIPT",
    "NOSUB",
    "NOTBUSY",
    "NOTREADY",
    "OOM",
    "READONLY",
    "SYNTAX",
    "TRYAGAIN",
    "UNBLOCKED",
    "UNKILLABLE",
    "UNSTABLE",
    "WRONGPASS",
    "WRONGTYPE",
];

/// What an error that begins with this word is called.
pub(super) fn error(word: &[u8]) -> Option<&'static str> {
    ERRORS.into_iter().find(|known| known.as_bytes() == word)
}

/// Whether a word that begins so may be one of [`ERRORS`].
pub(super) fn may_become_error(part: &[u8]) -> bool {
    ERRORS.iter().any(|known| known.as_bytes().starts_with(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_in_upper_case() {
        assert!(ERRORS.is_sorted());
        for word in ERRORS {
            assert_eq!(word.to_uppercase(), word);
        }
    }
}
