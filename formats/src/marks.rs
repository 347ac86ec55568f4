//! Bits of `events.flags` by which redaction tells what it saw of the protocol in data as it was. The kernel programs know nothing of
//! them.

use crate::event::flags;

/// Redaction has looked for what is spoken: [`RECOGNISED`] and [`BEGINS`] tell what it saw.
pub const READ: u32 = flags::PAYLOAD_AT_PEER << 1;
/// The first byte of the data begins a message beyond doubt, behind others of which that was not known.
pub const BEGINS: u32 = READ << 1;
/// The data that told what [`RECOGNISED`] says is an answer, not a request.
pub const ANSWER: u32 = READ << 2;
/// Number of the protocol that the data told; 0: none.
pub const RECOGNISED: u32 = 0xff << RECOGNISED_SHIFT;
/// Where that number begins.
pub const RECOGNISED_SHIFT: u32 = 16;
/// All of them.
pub const MARKS: u32 = READ | BEGINS | ANSWER | RECOGNISED;
