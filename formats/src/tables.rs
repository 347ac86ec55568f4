//! The raw tables of a capture. Add columns freely (nullable, at the end of the list); never change a meaning or a unit
//! without a new format version.
//!
//! Version 2: `events.flags` may say that bytes stand at the other end of the connection (`payload_at_peer`).

use crate::rows::{Bool, Bytes, I32, I64, Name, Text, U8, U16, U32};
use crate::table;
use crate::table::Table;

/// Every raw table, dimensions before facts: the order in which a part's files appear on disk.
pub const ALL: [&Table; 16] = [
    &PROCESSES,
    &CONTAINERS,
    &SOCKETS,
    &IMPORTED_RESOURCES,
    &CLOCK,
    &EVENTS,
    &TCP,
    &FLOWS,
    &SCHED,
    &WAKES,
    &EXECS,
    &USAGE,
    &COUNTERS,
    &RECORDER,
    &IMPORTED_SPANS,
    &LOSS,
];

/// The raw table of that name.
pub fn by_name(name: &str) -> Option<&'static Table> {
    ALL.into_iter().find(|t| t.name == name)
}

table! {
    /// What happened on watched sockets.
    pub const EVENTS: EventRow<'a> = Table {
        name: "events",
        doc: "One row an event on a watched socket: a system call that returned, or a change of its TCP state. The ends of Unix sockets are told as those that TCP would make.",
        order: &["boot_ns"],
        time_column: Some("boot_ns"),
        key: None,
        columns: [
            boot_ns: I64, Delta, "CLOCK_BOOTTIME of emission (the call's return, or the state change), ns.";
            duration_ns: I64, Plain, "From the entry of the call to emission, ns; 0 for `state`.";
            cpu: U16, Plain, "CPU that emitted the event.";
            seq: I64, Delta,
                "Number of the record on its CPU; gaps are losses (socket and process records and filtered rows use numbers too).";
            pid: Option<I32>, Delta,
                "Process (thread group) that made the call; null where unknown (soft interrupts).";
            tid: Option<I32>, Delta, "Thread that made the call; null where unknown.";
            process_id: Option<I64>, Delta,
                "`processes.process_id` of `pid` at that time; for a `state` row in a soft interrupt the socket's owner.";
            socket_id: I64, Delta, "`sockets.socket_id`.";
            kind: Name, Dictionary,
                "`connect` `accept` `listen` `close` `shutdown` `send` `receive` `state`.";
            asked_bytes: I64, Delta, "Bytes the caller offered (send) or had room for (receive); else 0.";
            done_bytes: I64, Delta, "Bytes moved; 0 on error.";
            tcp_seq: Option<U32>, Delta,
                "Raw 32-bit TCP sequence number of the first byte moved, the same at both ends; null where not known. Exact unless `flags` has offset_uncertain.";
            errno: I32, Plain, "Positive errno of the call; 0 for success.";
            flags: I32, Plain, "Bit set, see below.";
            sk_err: Option<I32>, Dictionary, "`state`: the socket's pending error (errno).";
            write_seq: Option<U32>, Plain, "`state`: sequence number after the last byte written.";
            snd_una: Option<U32>, Plain, "`state`: first sequence number not acknowledged.";
            copied_seq: Option<U32>, Plain,
                "`state`: first sequence number not taken by the application.";
            rcv_nxt: Option<U32>, Plain, "`state`: first sequence number not received.";
            old_state: Option<U8>, Dictionary,
                "`state`: TCP state before (1 ESTABLISHED, 2 SYN_SENT, 3 SYN_RECV, 4 FIN_WAIT1, 5 FIN_WAIT2, 6 TIME_WAIT, 7 CLOSE, 8 CLOSE_WAIT, 9 LAST_ACK, 10 LISTEN, 11 CLOSING, 12 NEW_SYN_RECV).";
            new_state: Option<U8>, Dictionary, "`state`: TCP state after.";
            payload: Option<Bytes>, Plain,
                "First bytes of the data (and its last 8 where `flags` has payload_tail), redacted: what may not be kept is `*`. Null where nothing was kept.";
            framing: Option<Bytes>, Plain,
                "Of a message head that goes on behind the first bytes in `payload`: the next bytes, up to its end, or the last chunk-size line of a chunked body behind it, as far as they were read (16 KiB of one message, over all its calls). All are `*` but what tells where the message ends: method, version and status of a start line, the lines of content-length, transfer-encoding, connection, upgrade, expect and trailer, colons and line ends, and chunk sizes. They may overlap with the last 8 bytes in `payload`. Null where there are none.";
            queued_us: Option<I32>, Plain,
                "`receive`: from when the segment with the first byte reached this host's network stack to emission, us: the time that it lay in the receive queue, that the reader took to wake, and the call. Of segments that were joined in the queue the last one's arrival counts. Null where not known. Recorded with `--evidence arrivals`.";
            secret_hashes: Option<Bytes>, Plain,
                "Of a request's head: keyed hashes of values that `payload` (or `framing`) shows as `*`, those of header lines, queries and path parameters, see above. Recorded with `--hash-secrets`. Null where there are none.";
        ]
    }
}

table! {
    /// Watched sockets.
    pub const SOCKETS: SocketRow<'a> = Table {
        name: "sockets",
        doc: "One row a watched socket. In an interrupted capture a socket that lived in several parts has a row in each; the last holds.",
        order: &[],
        time_column: None,
        key: Some("socket_id"),
        columns: [
            socket_id: I64, Delta, "Given at first sight; never repeats within a capture.";
            process_id: Option<I64>, Dictionary,
                "Owner: the process that connected, accepted or listened, or that held it when it was discovered.";
            netns: I64, Dictionary, "Inode number of the network namespace.";
            family: Name, Dictionary, "`inet` or `inet6` (of the socket; addresses are normalised), or `unix`.";
            protocol: Name, Dictionary, "`tcp`, `mptcp`, `udp` (one row a pair of ends), `unix` (a stream) or `tls` (a session of a TLS library: its plaintext, and the addresses of the socket that it is on).";
            role: Name, Dictionary,
                "`client` (it connected), `server` (it was accepted), `listener`, `unknown`.";
            local_addr: Text, Dictionary,
                "Local address; v4-mapped IPv6 is written as IPv4. Of a Unix socket the path that it, or the listener that accepted it, was bound to: a name that is no path begins with `@`, and where there is none it is empty.";
            local_port: I32, Dictionary, "Local port; 0 of a Unix socket.";
            remote_addr: Option<Text>, Dictionary,
                "Remote address; null for a listener. Of a Unix socket that connected the path that it connected to, else null.";
            remote_port: Option<I32>, Dictionary, "Remote port; null for a listener and a Unix socket.";
            inode: Option<I64>, Plain, "Inode of the socket's file; null where it never had one.";
            discovered: Bool, Plain, "Existed before the recording.";
            opened_boot_ns: Option<I64>, Delta, "CLOCK_BOOTTIME of its opening, ns; null where discovered.";
            closed_boot_ns: Option<I64>, Delta,
                "CLOCK_BOOTTIME of its change to TCP_CLOSE, ns; null where it was open at the end. Of UDP when it was closed, or its last datagram where none came for a minute.";
            first_send_seq: Option<U32>, Plain,
                "Sequence number of the first byte sent; discovered: of the next one at first sight.";
            first_receive_seq: Option<U32>, Plain,
                "Sequence number of the first byte received; discovered: of the next one at first sight.";
            peer_socket_id: Option<I64>, Delta,
                "The connection's other end, where it was recorded too and the recorder knew that: each byte of the connection is kept once, by the end that moved it first. Null elsewhere, and in captures of format version 1.";
            carrier_socket_id: Option<I64>, Delta,
                "Of a TLS session (`protocol` is `tls`; recorded with `--tls`) the socket that its records travel on: the one that its calls have moved data on. Null where they moved none (the program moves the records itself), or on several, and of every other socket.";
        ]
    }
}

table! {
    /// Processes of the host.
    pub const PROCESSES: ProcessRow<'a> = Table {
        name: "processes",
        doc: "One row a process that lived during the recording. In an interrupted capture a process that lived in several parts may have a row in each; the last holds.",
        order: &[],
        time_column: None,
        key: Some("process_id"),
        columns: [
            process_id: I64, Delta, "Start time in ms since boot, times 2^22, plus pid: never repeats. (Of imported traces: `imported_resources.process_id`.)";
            pid: I32, Dictionary, "Thread group id.";
            parent_process_id: Option<I64>, Dictionary, "The parent when it was born; null where not known.";
            exe: Option<Text>, Dictionary,
                "Path of the executable, as /proc/PID/exe has it; of a program started during the recording as it was given to exec: perhaps relative, a link, or a script, whose executable is its interpreter. Null for kernel threads and where it could not be read.";
            comm: Text, Dictionary,
                "Name of the thread-group leader; the last it had, where it gave itself others.";
            argv: Option<Text>, Dictionary,
                "Arguments, shell-quoted. Unless recorded with `--args` argv[0] alone, and of that the first word (some processes write all their arguments there); whole where it is the same as `exe`. The first 16 KiB; of a program started during the recording the first KiB.";
            cgroup: Option<Text>, Dictionary, "Path of the cgroup (v2, else the first v1 hierarchy; one that names a container before one that does not).";
            start_boot_ns: I64, Delta, "CLOCK_BOOTTIME of its start, ns.";
            end_boot_ns: Option<I64>, Delta, "CLOCK_BOOTTIME of its end, ns; null where it lived at the end.";
            exit_code: Option<I32>, Dictionary,
                "Wait status: exit status * 256, or signal; null where it lived at the end.";
            script: Option<Text>, Dictionary,
                "Of an interpreter (python, node, java, ruby, perl, php, a shell) the base name of the script or jar that it runs, or the module of `python -m`; null else.";
            service: Option<Text>, Dictionary,
                "Name of the service, where something names it: the process's environment, its systemd unit, its container or its pod, in this order (docs/names.md). Null where its program alone does.";
            service_from: Option<Name>, Dictionary,
                "What named it: `otel_service_name` (the variable OTEL_SERVICE_NAME), `otel_resource_attributes` (service.name in OTEL_RESOURCE_ATTRIBUTES), `unit`, `container` or `pod`. Null where `service` is.";
            service_namespace: Option<Text>, Dictionary,
                "service.namespace in OTEL_RESOURCE_ATTRIBUTES; null where it is not there, or the environment could not be read any more.";
            service_version: Option<Text>, Dictionary, "service.version there; null likewise.";
        ]
    }
}

table! {
    /// Cgroups, and who runs in them.
    pub const CONTAINERS: ContainerRow<'a> = Table {
        name: "containers",
        doc: "One row a cgroup that a process in `processes` is in: its container, pod and systemd unit, by its path and by the names of kubelet's logs (/var/log/pods, /var/log/containers). Join `cgroup` with `processes.cgroup`. In an interrupted capture a cgroup may have a row in several parts; the last holds.",
        order: &[],
        time_column: None,
        key: Some("number"),
        columns: [
            number: I64, Delta, "Number of the cgroup, given at first sight; counts from 1.";
            cgroup: Text, Plain, "Path, as in `processes.cgroup`.";
            container_id: Option<Text>, Plain,
                "The innermost container: its id, 64 hexadecimal digits; of LXC and systemd-nspawn its name. Null outside of containers.";
            runtime: Option<Name>, Dictionary,
                "Who runs it: `docker` `containerd` `cri-o` `podman` `lxc` `systemd-nspawn`; null where the path does not tell.";
            unit: Option<Text>, Plain,
                "The innermost systemd service or scope (`billing.service`), without escapes such as `\\x2d`; null where there is none.";
            pod_uid: Option<Text>, Dictionary, "Uid of the Kubernetes pod, the outermost; null outside of pods.";
            pod: Option<Text>, Dictionary, "Name of the pod; null where no log tells.";
            namespace: Option<Text>, Dictionary, "Kubernetes namespace of the pod; null where no log tells.";
            container: Option<Text>, Dictionary,
                "Name of the container: in its pod (null where no log tells), or of LXC and systemd-nspawn.";
        ]
    }
}

table! {
    /// Who made the spans that were imported.
    pub const IMPORTED_RESOURCES: ImportedResourceRow<'a> = Table {
        name: "imported_resources",
        doc: "One row a resource (an instance of a service) of the spans in `imported_spans`. Each has a row in `processes`, too, whose `comm` is the service's name and whose `pid` is 0 where it is not known.",
        order: &[],
        time_column: None,
        key: Some("process_id"),
        columns: [
            process_id: I64, Delta, "`processes.process_id`; counts from 1.";
            service: Option<Text>, Dictionary,
                "`service.name`, else the first that there is of the names of its program, deployment and container; null where nothing names it.";
            attributes: Text, Plain,
                "JSON object of the resource's attributes, as far as they are kept (docs/import.md).";
        ]
    }
}

table! {
    /// Clock samples.
    pub const CLOCK: ClockRow = Table {
        name: "clock",
        doc: "Boot-time and wall clock read together: at the start, with every part and at the end.",
        order: &["boot_ns"],
        time_column: Some("boot_ns"),
        key: None,
        columns: [
            boot_ns: I64, Delta, "CLOCK_BOOTTIME, ns.";
            wall_ns: I64, Plain, "CLOCK_REALTIME at the same moment, ns since 1970 UTC.";
        ]
    }
}

table! {
    /// What TCP did outside of system calls.
    pub const TCP: TcpRow<'a> = Table {
        name: "tcp",
        doc: "One row a thing that TCP did on a watched socket outside of system calls. Round-trip times are samples: at most one a socket and second, taken when data is moved, so that a socket at rest has none. Recorded with `--evidence tcp`.",
        order: &["boot_ns"],
        time_column: Some("boot_ns"),
        key: None,
        columns: [
            boot_ns: I64, Delta, "CLOCK_BOOTTIME when it happened, ns.";
            cpu: U16, Plain, "CPU that it happened on.";
            seq: I64, Delta, "Number of the record on its CPU, as `events.seq`.";
            kind: Name, Dictionary,
                "`retransmit` (a segment was sent again; probes for a lost tail too), `reset_sent`, `reset_received`, `rtt` (the kernel's estimate), `listen_drop` (a listening socket had dropped segments of handshakes since an accept on it returned before: mostly its listen queue was full; what it dropped before the first one is not known).";
            socket_id: Option<I64>, Plain, "`sockets.socket_id`.";
            process_id: Option<I64>, Delta, "Owner of the socket; null where not known.";
            tcp_seq: Option<U32>, Delta,
                "`retransmit`: raw sequence number of the first byte sent again, as `events.tcp_seq`.";
            bytes: Option<I32>, Plain,
                "`retransmit`: sequence numbers sent again; a SYN or FIN takes one, as a byte does.";
            rtt_us: Option<I32>, Plain,
                "`rtt`: smoothed round-trip time, us; one row a socket when it first moves data, then where it has changed by half and by 0.5 ms (looked at once a second), and every ten seconds.";
            rttvar_us: Option<I32>, Plain, "`rtt`: mean deviation of the round-trip time, us.";
            tcp_state: Option<U8>, Dictionary, "TCP state at that moment, numbered as in `events.old_state`.";
            drops: Option<I64>, Plain,
                "`listen_drop`: segments that this listening socket dropped since the last look. A SYN that is sent again and dropped again counts twice.";
            total_drops: Option<I64>, Plain, "`listen_drop`: the same since it began to listen.";
            since_ns: Option<I64>, Plain,
                "`listen_drop`: time since the last look, which was an accept on that socket, ns, to 1 ms.";
        ]
    }
}

table! {
    /// What the kernel counted on connections.
    pub const FLOWS: FlowRow<'a> = Table {
        name: "flows",
        doc: "One row a time that the kernel's own counters of a connection's end were read: at its end, and while it moves data where its round-trip time changed or every ten seconds. All count from the connection's begin, be it before the recording; the last row of a socket holds. TCP alone. Recorded with `--evidence tcp`.",
        order: &["boot_ns"],
        time_column: Some("boot_ns"),
        key: None,
        columns: [
            boot_ns: I64, Delta, "CLOCK_BOOTTIME when they were read, ns.";
            cpu: U16, Plain, "CPU that it happened on.";
            seq: I64, Delta, "Number of the record on its CPU, as `events.seq`.";
            kind: Name, Dictionary, "`end` (the change to TCP_CLOSE) or `sample`.";
            socket_id: I64, Plain, "`sockets.socket_id`.";
            process_id: Option<I64>, Delta, "Owner of the socket; null where not known.";
            sent_bytes: I64, Plain, "Bytes of data sent, those sent again counted again.";
            retransmitted_bytes: I64, Plain, "Bytes of data sent again.";
            received_bytes: I64, Plain, "Bytes received in order; a FIN counts as one.";
            sent_segments: I64, Plain, "Segments sent, those without data and those sent again included.";
            received_segments: I64, Plain, "Segments received, those without data and repeated ones included.";
            retransmitted_segments: I64, Plain, "Segments sent again.";
            rtt_us: Option<I32>, Plain, "Smoothed round-trip time, us; null before the first sample.";
            min_rtt_us: Option<I32>, Plain, "Least round-trip time of the last minutes, us; null before the first sample.";
            busy_ns: Option<I64>, Plain,
                "Time in which data was sent, or waited to be sent or acknowledged, ns, in steps of the kernel's tick (1 to 10 ms). Null where the tick's length is not known, as in the next two.";
            receiver_limited_ns: Option<I64>, Plain,
                "That part of `busy_ns` in which the receiver's window was full: whoever answers for the other end did not read, ns.";
            buffer_limited_ns: Option<I64>, Plain,
                "That part of `busy_ns` in which the send buffer of this end was full, ns.";
            tcp_state: U8, Dictionary, "TCP state at that moment, numbered as in `events.old_state`.";
        ]
    }
}

table! {
    /// What kept threads and processes from running.
    pub const SCHED: SchedRow<'a> = Table {
        name: "sched",
        doc: "One row a time that a thread or process could not run. `run_queue`, `off_cpu` and `throttled` are of threads and processes that carry traffic (a socket call of theirs was recorded); `run_queue` and `off_cpu` only where they took 5 ms (`--sched-threshold`). `stopped` and `continued` are of every process. Recorded with `--evidence sched`.",
        order: &["boot_ns"],
        time_column: Some("boot_ns"),
        key: None,
        columns: [
            boot_ns: I64, Delta, "CLOCK_BOOTTIME when it was over, or noticed, ns.";
            duration_ns: I64, Plain,
                "How long it took up to then, ns; 0 for `stopped`; `throttled`: time throttled in the sampling interval (about a second) that ends at `boot_ns`, as the kernel counts it, which is once for each CPU.";
            cpu: U16, Plain, "CPU that noticed; 0 for `throttled`.";
            seq: I64, Delta, "Number of the record on its CPU, as `events.seq`; -1 for `throttled`.";
            kind: Name, Dictionary,
                "`run_queue` (could run, and waited for a CPU), `off_cpu` (blocked uninterruptibly: disk, page faults, some locks; until it was woken), `stopped` (a signal stopped the process), `continued` (it was woken again, or killed), `throttled` (its cgroup had used up its share of CPU time).";
            pid: I32, Plain, "Process (thread group) that could not run.";
            tid: I32, Plain, "Its thread; the leader for `stopped`, `continued` and `throttled`.";
            process_id: Option<I64>, Delta, "`processes.process_id` of `pid`.";
            other_pid: Option<I32>, Plain,
                "`run_queue`: process that had most of the CPU in the last milliseconds before (a majority of time, so that a short turn of another process in between is not blamed); null where the CPU was idle (a virtual machine's own CPU was taken away) and for other kinds.";
            other_process_id: Option<I64>, Delta, "`processes.process_id` of `other_pid`.";
        ]
    }
}

table! {
    /// Who woke the threads that send.
    pub const WAKES: WakeRow = Table {
        name: "wakes",
        doc: "One row a send of a thread that another thread of its process woke, or made, since it sent last, where that one followed from received data: it had received them itself, or was woken by a thread that had, and so on. A thread follows from the later of what it received last and what its waker followed from, so that threads which carry no traffic are passed through. Only the last wake-up counts. Wake-ups by interrupts (timers, the network), by other processes, and of threads that wait for the kernel's own locks are none. Recorded with `--evidence wakes`.",
        order: &["boot_ns"],
        time_column: Some("boot_ns"),
        key: None,
        columns: [
            boot_ns: I64, Delta, "`events.boot_ns` of the send, whose `tid` is the same too.";
            cpu: U16, Plain, "CPU of the send.";
            seq: I64, Delta, "Number of the record on its CPU, as `events.seq`.";
            pid: I32, Plain, "Process (thread group).";
            tid: I32, Plain, "Thread that sends and was woken.";
            process_id: Option<I64>, Delta, "`processes.process_id` of `pid`.";
            by_tid: I32, Plain, "Thread that woke it last.";
            woken_boot_ns: I64, Delta, "CLOCK_BOOTTIME of that, ns.";
            received_tid: I32, Plain, "Thread that received what the waker followed from; perhaps the one that sends.";
            received_boot_ns: I64, Delta, "`events.boot_ns` of that receive, ns.";
            wake_ups: I32, Plain, "Wake-ups from the receive to the send: 1 where the waker itself had received.";
        ]
    }
}

table! {
    /// Programs started.
    pub const EXECS: ExecRow<'a> = Table {
        name: "execs",
        doc: "One row a program started on the host during the recording, by any process. Recorded with `--evidence execs`.",
        order: &["boot_ns"],
        time_column: Some("boot_ns"),
        key: None,
        columns: [
            boot_ns: I64, Delta, "CLOCK_BOOTTIME of the exec, ns.";
            cpu: U16, Plain, "CPU that it happened on.";
            seq: I64, Delta, "Number of the record on its CPU, as `events.seq`.";
            pid: I32, Plain, "Process (thread group).";
            process_id: Option<I64>, Delta, "`processes.process_id` of `pid`.";
            parent_process_id: Option<I64>, Delta, "`processes.process_id` of its parent when it was born.";
            exe: Option<Text>, Dictionary,
                "Path of the program as it was given; null where it could not be read.";
            argv: Option<Text>, Dictionary,
                "Arguments, shell-quoted. Unless recorded with `--args` argv[0] alone, and of that the first word (some processes write all their arguments there); whole where it is the same as `exe`. The first KiB.";
            comm: Name, Dictionary, "Name of the thread-group leader after the exec.";
        ]
    }
}

table! {
    /// CPU time of processes.
    pub const USAGE: UsageRow = Table {
        name: "usage",
        doc: "CPU time of a process in a sampling interval of about one second (varied by 30 %): one row a process that ran for more than 1 ms in it. Interrupts count for whoever they interrupt. Recorded with `--evidence usage`.",
        order: &["boot_ns"],
        time_column: Some("boot_ns"),
        key: None,
        columns: [
            boot_ns: I64, Delta, "End of the interval, CLOCK_BOOTTIME ns.";
            interval_ns: I64, Delta, "Its length, ns.";
            process_id: Option<I64>, Delta, "`processes.process_id` of `pid`.";
            pid: I32, Plain, "Process (thread group), kernel threads too.";
            cpu_ns: I64, Plain, "CPU time of all its threads on all CPUs, ns.";
        ]
    }
}

table! {
    /// What the kernel counts by itself.
    pub const COUNTERS: CounterRow<'a> = Table {
        name: "counters",
        doc: "What the kernel counts by itself, changes only: one row a counter that rose in an interval of about one second (varied by 30 %). A counter that has no row in an interval did not rise in it, or less than its least change (docs/causes.md says which counters are read, and what is left out). A counter that is seen for the first time, or has fallen, has no row. Recorded with `--evidence counters`.",
        order: &["boot_ns"],
        time_column: Some("boot_ns"),
        key: None,
        columns: [
            boot_ns: I64, Delta, "When it was read, CLOCK_BOOTTIME ns: the end of the interval.";
            interval_ns: I64, Delta, "Time since it was read before, ns.";
            netns: Option<I64>, Dictionary,
                "Inode number of the network namespace that it is of, as `sockets.netns`; null for those of the host and of cgroups. Namespaces are read in which a process carries traffic.";
            process_id: Option<I64>, Dictionary,
                "`cgroup`: `processes.process_id` of a process in that cgroup, or below it, that carries traffic: one row for each of them. Null else.";
            source: Name, Dictionary,
                "Where it was read: `snmp` and `netstat` (/proc/net, TCP, UDP, IP and ICMP), `conntrack` (/proc/net/stat/nf_conntrack), `softnet` (/proc/net/softnet_stat), `arp_cache` and `ndisc_cache` (/proc/net/stat, neighbours), `vmstat`, `pressure`, `diskstats` and `stat` (/proc), `cgroup` (the files of its memory controller, and its pressure).";
            name: Text, Dictionary,
                "The kernel's own name, for example `TcpExt.ListenOverflows`, `pgscan_direct`, `insert_failed`; of files without names what the kernel's documentation calls it (`time_squeeze`, `io_ticks_ms`, `steal_ms`). The end says the unit where it is one: `_us`, `_ms`; sectors are 512 bytes, `pg` and `nr` pages.";
            instance: Option<Text>, Dictionary,
                "Of which one: the disk, the CPU, `cpu`, `io` or `memory` of `pressure`, the cgroup's path; null where there is one alone, or the sum of all.";
            delta: I64, Plain, "By how much it rose in the interval.";
            value: I64, Delta, "What it was at the interval's end.";
        ]
    }
}

table! {
    /// What the recorder itself did.
    pub const RECORDER: RecorderRow<'a> = Table {
        name: "recorder",
        doc: "What the recorder itself did, so that it can be told from what it recorded. Work that took 2 ms or more has a row of its own; all shorter work of a kind in a sampling interval (about a second) has one row together, at the interval's end, with the sum of the times.",
        order: &["boot_ns"],
        time_column: Some("boot_ns"),
        key: None,
        columns: [
            boot_ns: I64, Delta, "CLOCK_BOOTTIME when it was over, ns.";
            duration_ns: I64, Plain, "How long it took, ns.";
            kind: Name, Dictionary,
                "`drain` (rings read, records sorted and turned into rows), `write` (rows encoded and compressed; a thread of its own), `part` (files synced and renamed; the same thread), `merge` (files of old parts put together; the same thread).";
            rows: I64, Plain, "Records read, rows written, rows of the part.";
            bytes: I64, Plain, "Bytes read from the rings, of rows in memory, of the part's files.";
        ]
    }
}

table! {
    /// Spans that were imported.
    pub const IMPORTED_SPANS: ImportedSpanRow<'a> = Table {
        name: "imported_spans",
        doc: "One row a span of the traces that a capture was made of, as far as the files tell, in their order; `spans` is derived of them. Only in captures that `retrospan import` made of traces. Their clock is the wall clock of whoever made the spans: `boot_ns` counts from 1970 UTC.",
        order: &[],
        time_column: Some("boot_ns"),
        key: None,
        columns: [
            boot_ns: I64, Delta, "Begin, ns.";
            duration_ns: I64, Plain, "Duration, ns.";
            trace_id: Text, Plain, "Trace, 32 hex digits; shorter ids have zeros before them.";
            span_id: Text, Plain, "Span, 16 hex digits; once in a trace.";
            parent_span_id: Option<Text>, Plain,
                "Parent, 16 hex digits, be it in the files or not; null where the span names none.";
            kind: Name, Dictionary,
                "`client` `server` `internal` `producer` `consumer`; `internal` too where none is named.";
            name: Text, Dictionary, "Name of the span; what may be a secret in it is `*`.";
            status: Option<Name>, Dictionary, "`ok` or `error`; null where it is not set.";
            process_id: I64, Delta, "`imported_resources.process_id` of who made it.";
            attributes: Text, Dictionary,
                "JSON object of its attributes, as far as they are kept (docs/import.md).";
        ]
    }
}

table! {
    /// What was lost.
    pub const LOSS: LossRow<'a> = Table {
        name: "loss",
        doc: "Events that could not be kept, counted per CPU, kind, cause and interval.",
        order: &[],
        time_column: Some("to_boot_ns"),
        key: None,
        columns: [
            from_boot_ns: I64, Plain, "Start of the interval, CLOCK_BOOTTIME ns.";
            to_boot_ns: I64, Plain, "End of the interval, CLOCK_BOOTTIME ns.";
            cpu: U16, Dictionary, "CPU that lost them.";
            kind: Name, Dictionary,
                "Kind of `events`, `tcp` or `sched`; `flow` or `wake` (rows of `flows` and `wakes`); `socket` or `process` (their records); `head` (bytes of a head that is longer than its call's record: it is cut there); `call` (of any kind); `sched` (of any kind); `usage`; `record` (of any type); with `damaged_part` the table that rows are missing of. What was left out because a limit was reached: `continuation` (sends and receives that begin no message and have no bytes), `bytes` (any that have none), `data` (those that are in no row).";
            cause: Name, Dictionary,
                "`ring_full` (the recorder did not keep up), `late` (it came after its part was finished), `socket_map_full`, `call_map_full` (a thread whose call and waits are not recorded), `stop_map_full` (a `stopped` without its `continued`), `usage_map_full` (a slice of CPU time that is in no row), `compat_call` (32-bit system call), `entered_before` (a call that was entered before the recording, and of which it is not certain what it did), `program_skipped` (the kernel did not run a program of the probe set `sockets` because it was running on that CPU already: at most as many calls), `unexplained` (numbers given out that are neither stored nor counted), `malformed`, `file_cut` (a file that was imported ends within a packet, or a message of spans; the interval is behind all that was read); `max_rate`, `max_cpu`, `max_disk` or `min_free_disk` (the option whose limit was reached, or nearly); `damaged_part` is in no file: an opening with `--salvage` adds it for files that are damaged or missing.";
            count: I64, Plain, "How many.";
        ]
    }
}
