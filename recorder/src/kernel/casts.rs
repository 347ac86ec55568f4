//! Reading kernel memory by loads instead of helper calls, where the kernel has `bpf_rdonly_cast` (Linux 6.2).
//!
//! A kernel function is called by its number in the running kernel's type information, so the object holds
//! [`CAST_CALL`] in its place, and the number is written over it before loading.

use retrospan_formats::config::CAST_CALL;

use crate::kernel::btf::{Btf, BtfError};

/// `BPF_JMP | BPF_CALL`, and the source register's values for a helper and for a kernel function (`linux/bpf.h`).
const CALL: u8 = 0x85;
const OF_HELPER: u8 = 0;
const OF_KERNEL_FUNCTION: u8 = 2 << 4;
/// Bytes of an instruction; sections begin at multiples of them.
const INSTRUCTION_BYTES: usize = 8;
/// A struct of two 64-bit numbers: a read of up to 16 bytes through it gives a number and never a pointer.
const WORDS: &str = "timespec64";
/// 0: programs are interpreted, and kernel functions cannot be called.
const JIT: &str = "/proc/sys/net/core/bpf_jit_enable";

/// What the running kernel reads its own memory by.
#[derive(Clone, Copy, Debug)]
pub struct Cast {
    /// Number of `bpf_rdonly_cast`.
    function: u32,
    /// Number of the struct that addresses are cast to.
    pub words_type: u32,
}

impl Cast {
    /// `None`: this kernel has none, or cannot use it.
    ///
    /// # Errors
    /// The type information is damaged.
    pub fn find(types: &Btf) -> Result<Option<Cast>, BtfError> {
        if std::fs::read_to_string(JIT).is_ok_and(|value| value.trim() == "0") {
            return Ok(None);
        }
        let (function, words) = (types.function("bpf_rdonly_cast")?, types.structure(WORDS)?);
        Ok(function.zip(words).map(|(function, words_type)| Cast { function, words_type }))
    }

    /// Writes the function's number into an object.
    pub fn write(self, object: &mut [u8]) {
        for instruction in object.chunks_exact_mut(INSTRUCTION_BYTES) {
            if instruction[..4] == [CALL, OF_HELPER, 0, 0] && instruction[4..] == CAST_CALL.to_le_bytes() {
                instruction[1] = OF_KERNEL_FUNCTION;
                instruction[4..].copy_from_slice(&self.function.to_le_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_calls_of_the_placeholder_are_written_over() {
        let call = |number: i32| [&[CALL, OF_HELPER, 0, 0][..], &number.to_le_bytes()].concat();
        let constant = [&[0xb7, 1, 0, 0][..], &CAST_CALL.to_le_bytes()].concat();
        let mut object = [call(113), call(CAST_CALL), constant.clone(), b"tail".to_vec()].concat();
        Cast { function: 65_477, words_type: 1 }.write(&mut object);
        let cast = [&[CALL, OF_KERNEL_FUNCTION, 0, 0][..], &65_477_u32.to_le_bytes()].concat();
        assert_eq!(object, [call(113), cast, constant, b"tail".to_vec()].concat());
    }
}
