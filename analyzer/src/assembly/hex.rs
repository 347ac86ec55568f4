//! Ids as lower-case hex digits, on the stack: every span has two to five of them.

use std::ops::Deref;

use retrospan_protocols::context::Context;

/// So many digits, or other ASCII characters.
#[derive(Clone, Copy)]
pub struct Hex<const N: usize>([u8; N]);

impl<const N: usize> Deref for Hex<N> {
    type Target = str;

    fn deref(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// The digits of a span's id.
pub fn span_id(id: u64) -> Hex<16> {
    let mut hex = Hex([0; 16]);
    write(&id.to_be_bytes(), &mut hex.0);
    hex
}

/// The digits of a trace's id.
pub fn trace_id(id: u128) -> Hex<32> {
    let mut hex = Hex([0; 32]);
    write(&id.to_be_bytes(), &mut hex.0);
    hex
}

/// A trace context in the form of W3C Trace Context, section 3.2.
pub fn traceparent(context: &Context) -> Hex<55> {
    let mut hex = Hex(*b"00-................................-................-..");
    write(&context.trace_id.to_be_bytes(), &mut hex.0[3..35]);
    write(&context.span_id.to_be_bytes(), &mut hex.0[36..52]);
    write(&[context.flags], &mut hex.0[53..]);
    hex
}

/// Both digits of every byte.
const PAIRS: [[u8; 2]; 256] = {
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < pairs.len() {
        pairs[byte] = [b"0123456789abcdef"[byte >> 4], b"0123456789abcdef"[byte & 15]];
        byte += 1;
    }
    pairs
};

fn write(bytes: &[u8], digits: &mut [u8]) {
    for (pair, byte) in digits.as_chunks_mut().0.iter_mut().zip(bytes) {
        *pair = PAIRS[usize::from(*byte)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_of_the_formatter() {
        for id in [0, 1, 0xabc, 0x0123_4567_89ab_cdef, u128::MAX, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736] {
            assert_eq!(&*trace_id(id), format!("{id:032x}"));
            assert_eq!(&*span_id(id as u64), format!("{:016x}", id as u64));
            let context = Context { trace_id: id, span_id: id as u64, flags: id as u8 };
            assert_eq!(&*traceparent(&context), format!("00-{id:032x}-{:016x}-{:02x}", id as u64, id as u8));
        }
    }
}
