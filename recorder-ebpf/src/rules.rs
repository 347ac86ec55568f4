//! The decisions of the kernel programs that need no kernel: plain integers in, plain integers out,
//! so that they are tested on the host like any other code.

pub mod head_end;
pub mod kept;
pub mod ports;
pub mod request_line;
pub mod sequence;
pub mod signature;
mod words;
