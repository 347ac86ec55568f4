//! The decisions of the kernel programs that need no kernel: plain integers in, plain integers out,
//! so that they are tested on the host like any other code.

pub mod answer;
pub mod head_end;
pub mod kept;
pub mod nets;
pub mod ports;
pub mod request_line;
pub mod sample;
pub mod sequence;
pub mod share;
pub mod signature;
pub mod socket;
mod words;
