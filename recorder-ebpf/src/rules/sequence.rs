//! What two readings of a sequence number say about the call between them.

/// Whether the difference of two readings of a sequence number is explained by this call alone. A
/// receive may have taken a FIN as well, which counts one.
#[inline(always)]
pub fn is_exact(before: u32, after: u32, done: u64, receives: bool) -> bool {
    let moved = after.wrapping_sub(before);
    let done = done as u32;
    moved == done || (receives && moved == done.wrapping_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fin_is_forgiven_only_on_the_receiving_side() {
        assert!(is_exact(u32::MAX - 1, 8, 10, false));
        assert!(is_exact(10, 21, 10, true));
        assert!(!is_exact(10, 21, 10, false));
        assert!(!is_exact(10, 30, 10, true));
        assert!(is_exact(10, 11, 0, true));
    }
}
