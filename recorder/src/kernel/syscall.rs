//! The few uses of bpf(2) that aya has no call for.

use aya_obj::generated::{bpf_attach_type, bpf_attr, bpf_cmd, bpf_prog_info, bpf_prog_type};
use std::io;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Loads a program that does nothing at the exit of a function, by the function's id in the kernel's type information.
pub fn load_at_exit(function: u32) -> io::Result<OwnedFd> {
    // `r0 = 0; exit`.
    let code: [u64; 2] = [0xb7, 0x95];
    // SAFETY: zero is a value of every field.
    let mut attributes = unsafe { zeroed::<bpf_attr>() };
    // SAFETY: a union of plain numbers, of which these are the fields of this command.
    let fields = unsafe { &mut attributes.__bindgen_anon_3 };
    fields.prog_type = bpf_prog_type::BPF_PROG_TYPE_TRACING as u32;
    fields.expected_attach_type = bpf_attach_type::BPF_TRACE_FEXIT as u32;
    fields.insns = code.as_ptr() as u64;
    fields.insn_cnt = code.len() as u32;
    fields.license = c"Dual MIT/GPL".as_ptr() as u64;
    fields.attach_btf_id = function;
    descriptor(bpf_cmd::BPF_PROG_LOAD, &attributes)
}

/// Attaches such a program, until the descriptor is closed.
pub fn attach(program: &OwnedFd) -> io::Result<OwnedFd> {
    // SAFETY: zero is a value of every field.
    let mut attributes = unsafe { zeroed::<bpf_attr>() };
    attributes.raw_tracepoint.prog_fd = program.as_raw_fd() as u32;
    descriptor(bpf_cmd::BPF_RAW_TRACEPOINT_OPEN, &attributes)
}

/// How often the kernel did not run a program, since it was running on that CPU already.
pub fn times_missed(program: BorrowedFd<'_>) -> io::Result<u64> {
    // SAFETY: zero is a value of every field.
    let (mut attributes, mut info) = unsafe { (zeroed::<bpf_attr>(), zeroed::<bpf_prog_info>()) };
    attributes.info.bpf_fd = program.as_raw_fd() as u32;
    attributes.info.info_len = size_of::<bpf_prog_info>() as u32;
    attributes.info.info = (&raw mut info) as u64;
    bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &attributes)?;
    Ok(info.recursion_misses)
}

fn descriptor(command: bpf_cmd, attributes: &bpf_attr) -> io::Result<OwnedFd> {
    let fd = bpf(command, attributes)?;
    // SAFETY: a descriptor that the kernel has just made; nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn bpf(command: bpf_cmd, attributes: &bpf_attr) -> io::Result<i32> {
    // SAFETY: the attributes, and what they point to, live until the call returns.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command as u32, attributes, size_of::<bpf_attr>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}
