//! The two ways to see what is done with sockets: at every system call, or in the kernel's own functions for sockets.

use super::btf::{Btf, BtfError};
use super::error::{ProbeError, explain, missing_map};
use super::hooks::{Hooked, Place, program};
use super::kinds::ANY_UNIX;
use super::syscall;
use aya::Ebpf;
use aya::maps::ProgramArray;
use aya::programs::FExit;
use retrospan_formats::config::{Config, Offsets};

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeSet {
    /// The entry and exit of every system call.
    Syscalls,
    /// The functions for sockets (fentry, fexit): nothing else pays, and io_uring and the kernel's own senders are seen.
    Sockets,
}

impl ProbeSet {
    /// The word on the command line and in the manifest.
    pub const fn name(self) -> &'static str {
        match self {
            ProbeSet::Syscalls => "syscalls",
            ProbeSet::Sockets => "sockets",
        }
    }
}

/// The exit of system calls comes before their entry: a call noted at its entry whose exit nobody sees would be taken for
/// the next one.
const SYSCALLS: [Hooked; 2] = [SYSCALL_EXIT, Hooked::tracepoint("sys_enter", "sys_enter")];

/// Where the calls end that were under way when the recording began.
pub const SYSCALL_EXIT: Hooked = Hooked::tracepoint("sys_exit", "sys_exit");

/// A function that is hooked at its exit and entry.
struct Function {
    name: &'static str,
    /// Its programs.
    exit: &'static str,
    entry: &'static str,
    /// Kernels without it have another way to the same end.
    optional: bool,
}

impl Function {
    fn is_unix(&self) -> bool {
        self.name.starts_with("unix_")
    }
}

const fn function(name: &'static str, exit: &'static str, entry: &'static str) -> Function {
    Function { name, exit, entry, optional: false }
}

const fn optional(name: &'static str, exit: &'static str, entry: &'static str) -> Function {
    Function { name, exit, entry, optional: true }
}

/// In the order of attaching.
const FUNCTIONS: [Function; 25] = [
    function("inet_shutdown", "inet_shutdown_exit", "inet_shutdown_enter"),
    function("inet_listen", "inet_listen_exit", "inet_listen_enter"),
    optional("mptcp_listen", "mptcp_listen_exit", "mptcp_listen_enter"),
    function("inet_stream_connect", "inet_stream_connect_exit", "inet_stream_connect_enter"),
    function("inet_accept", "inet_accept_exit", "inet_accept_enter"),
    optional("mptcp_stream_accept", "mptcp_stream_accept_exit", "mptcp_stream_accept_enter"),
    function("inet_release", "inet_release_exit", "inet_release_enter"),
    function("tcp_splice_read", "tcp_splice_read_exit", "tcp_splice_read_enter"),
    optional("unix_shutdown", "unix_shutdown_exit", "unix_shutdown_enter"),
    optional("unix_listen", "unix_listen_exit", "unix_listen_enter"),
    optional("unix_stream_connect", "unix_stream_connect_exit", "unix_stream_connect_enter"),
    optional("unix_accept", "unix_accept_exit", "unix_accept_enter"),
    optional("unix_release", "unix_release_exit", "unix_release_enter"),
    optional("unix_stream_splice_read", "unix_stream_splice_read_exit", "unix_stream_splice_read_enter"),
    optional("unix_stream_sendpage", "unix_stream_sendpage_exit", "unix_stream_sendpage_enter"),
    optional("unix_stream_recvmsg", "unix_stream_recvmsg_exit", "unix_stream_recvmsg_enter"),
    optional("unix_stream_sendmsg", "unix_stream_sendmsg_exit", "unix_stream_sendmsg_enter"),
    // Until Linux 6.4 ...
    optional("generic_splice_sendpage", "splice_to_socket_exit", "splice_to_socket_enter"),
    optional("inet_sendpage", "inet_sendpage_exit", "inet_sendpage_enter"),
    // ... and since 6.5.
    optional("splice_to_socket", "splice_to_socket_exit", "splice_to_socket_enter"),
    // sendfile, which goes through those in several steps.
    optional("do_splice_direct", "do_splice_direct_exit", "do_splice_direct_enter"),
    function("inet_recvmsg", "inet_recvmsg_exit", "inet_recvmsg_enter"),
    function("inet6_recvmsg", "inet6_recvmsg_exit", "inet6_recvmsg_enter"),
    function("inet_sendmsg", "inet_sendmsg_exit", "inet_sendmsg_enter"),
    function("inet6_sendmsg", "inet6_sendmsg_exit", "inet6_sendmsg_enter"),
];

/// Tells the programs what those of this set need, and says which they are, in the order of attaching.
pub fn configure(set: ProbeSet, types: &Btf, config: &mut Config) -> Result<Vec<Hooked>, BtfError> {
    config.sockets = u32::from(set == ProbeSet::Sockets);
    if set == ProbeSet::Syscalls {
        return Ok(SYSCALLS.to_vec());
    }
    config.offsets = Offsets {
        task_flags: types.offset("task_struct", "flags")?,
        msg_flags: types.offset("msghdr", "msg_flags")?,
        msg_name: types.offset("msghdr", "msg_name")?,
        iter_type: types.offset("msghdr", "msg_iter.iter_type")?,
        iter_offset: types.offset("msghdr", "msg_iter.iov_offset")?,
        iter_pieces: types.offset("msghdr", "msg_iter.kvec")?,
        iter_count: types.offset("msghdr", "msg_iter.nr_segs")?,
        ..config.offsets
    };
    let over = |name: &str| types.enumerator("iter_type", name);
    // Since Linux 6.0; before it one piece is an array of one.
    config.iter_ubuf = over("ITER_UBUF").unwrap_or(u32::MAX);
    config.iter_iovec = over("ITER_IOVEC")?;
    config.accept_arguments = types.parameters("inet_accept")?.len() as u32;
    let mut hooks = Vec::new();
    let with_unix = config.kinds & ANY_UNIX != 0;
    for function in FUNCTIONS.iter().filter(|function| with_unix || !function.is_unix()) {
        if types.function(function.name)?.is_none() {
            if function.optional {
                continue;
            }
            return Err(BtfError::NoFunction(function.name.to_owned()));
        }
        hooks.push(Hooked { program: function.exit, place: Place::Exit(function.name) });
        hooks.push(Hooked { program: function.entry, place: Place::Entry(function.name) });
    }
    Ok(hooks)
}

/// The long programs that others go on as: each by its map.
const ENDS: [(&str, &str); 2] = [("SEND_END", "inet_sendmsg_exit"), ("RECEIVE_END", "inet_recvmsg_exit")];

/// Puts the long programs, which are loaded, where those go on that share them.
pub fn join(ebpf: &mut Ebpf) -> Result<(), ProbeError> {
    for (name, end) in ENDS {
        let what = format!("map {name}");
        let fd = program::<FExit>(ebpf, end)?.fd().and_then(|fd| Ok(fd.try_clone()?));
        let fd = fd.map_err(|error| explain(&what, &error))?;
        let map = ebpf.map_mut(name).ok_or_else(|| missing_map(name))?;
        ProgramArray::try_from(map)
            .and_then(|mut map| map.set(0, &fd, 0))
            .map_err(|error| explain(&what, &error))?;
    }
    Ok(())
}

/// Asks the kernel for the smallest program at the exit of a function, attached for a moment: some take none at all.
pub fn try_function(types: &Btf) -> Result<(), ProbeError> {
    let function = "inet_listen";
    let missing = |error: BtfError| ProbeError::Kernel(error.to_string());
    let id = types.function(function).map_err(missing)?;
    let id = id.ok_or_else(|| missing(BtfError::NoFunction(function.to_owned())))?;
    // Privileges were checked before.
    let refused = |error: std::io::Error| {
        ProbeError::Kernel(format!("this kernel takes no program at the exit of a function (fexit): {error}"))
    };
    let program = syscall::load_at_exit(id).map_err(refused)?;
    syscall::attach(&program).map(drop).map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use retrospan_formats::config::kinds;

    #[test]
    fn the_running_kernel_has_the_functions() {
        if !std::path::Path::new(crate::kernel::btf::VMLINUX).exists() {
            eprintln!("skipped: this kernel has no {}", crate::kernel::btf::VMLINUX);
            return;
        }
        let types = Btf::of_running_kernel().expect("readable");
        let mut config = Config { kinds: kinds::TCP | kinds::UNIX, ..Config::default() };
        let hooks = configure(ProbeSet::Sockets, &types, &mut config).expect("every function");
        assert_eq!(config.sockets, 1);
        assert_ne!(config.iter_iovec, config.iter_ubuf);
        assert!(matches!(config.accept_arguments, 3 | 4));
        // A call that was noted at its entry must be seen at its exit, too: that comes first.
        for pair in hooks.chunks(2) {
            let [exit, entry] = pair else { panic!("an exit without an entry") };
            let (Place::Exit(one), Place::Entry(other)) = (exit.place, entry.place) else {
                panic!("{pair:?}");
            };
            assert_eq!(one, other);
        }
        let splices = hooks.iter().filter(|hooked| hooked.program == "splice_to_socket_exit");
        assert_eq!(splices.count(), 1, "one of two names");
        assert!(hooks.iter().any(|hooked| hooked.program == "unix_release_exit"));
        config.kinds = kinds::TCP;
        let fewer = configure(ProbeSet::Sockets, &types, &mut config).expect("every function");
        assert!(fewer.iter().all(|hooked| !hooked.program.starts_with("unix_")));
        assert_eq!(configure(ProbeSet::Syscalls, &types, &mut config).expect("both"), SYSCALLS);
        assert_eq!(config.sockets, 0);
    }
}
