//! Which counters are kept.
//!
//! The rule: what rises because something was late, dropped, refused, given up or in want is kept; so are sums of waiting
//! time, and what a disk and the reclaim of memory do. What rises with every packet, connection or page on a healthy host
//! is left out, and so is what is no counter (a level such as `CurrEstab`). Of TCP's extended counters those are
//! listed that are left out, so that what a newer kernel counts is there.

/// Of /proc/net/snmp: errors, and five counters of load that others are held against.
const SNMP: [&str; 36] = [
    "Ip.InHdrErrors",
    "Ip.InAddrErrors",
    "Ip.InUnknownProtos",
    "Ip.InDiscards",
    "Ip.OutDiscards",
    "Ip.OutNoRoutes",
    "Ip.ReasmTimeout",
    "Ip.ReasmFails",
    "Ip.FragFails",
    "Icmp.InErrors",
    "Icmp.InCsumErrors",
    "Icmp.InDestUnreachs",
    "Icmp.InTimeExcds",
    "Icmp.InRedirects",
    "Icmp.OutErrors",
    "Icmp.OutRateLimitGlobal",
    "Icmp.OutRateLimitHost",
    "Icmp.OutDestUnreachs",
    "Icmp.OutTimeExcds",
    "Tcp.ActiveOpens",
    "Tcp.PassiveOpens",
    "Tcp.AttemptFails",
    "Tcp.EstabResets",
    "Tcp.OutSegs",
    "Tcp.RetransSegs",
    "Tcp.InErrs",
    "Tcp.OutRsts",
    "Tcp.InCsumErrors",
    "Udp.InDatagrams",
    "Udp.OutDatagrams",
    "Udp.NoPorts",
    "Udp.InErrors",
    "Udp.RcvbufErrors",
    "Udp.SndbufErrors",
    "Udp.InCsumErrors",
    "Udp.MemErrors",
];

/// Of `TcpExt` in /proc/net/netstat: left out.
const TCP_LEFT_OUT: [&str; 21] = [
    "TW",
    "TWRecycled",
    "DelayedACKs",
    "DelayedACKLocked",
    "TCPHPHits",
    "TCPPureAcks",
    "TCPHPAcks",
    "TCPBacklogCoalesce",
    "TCPRcvCoalesce",
    "TCPAutoCorking",
    "TCPOrigDataSent",
    "TCPDelivered",
    "TCPAckCompressed",
    "TCPHystartTrainDetect",
    "TCPHystartTrainCwnd",
    "TCPHystartDelayDetect",
    "TCPHystartDelayCwnd",
    "TCPKeepAlive",
    "TCPSackShifted",
    "TCPSackMerged",
    "BusyPollRxPackets",
];

/// Of `IpExt` there.
const IP_KEPT: [&str; 4] = ["InNoRoutes", "InTruncatedPkts", "InCsumErrors", "InCEPkts"];

/// Of /proc/net/stat/nf_conntrack. `insert`, `found` and `new` rise with packets and connections.
const CONNTRACK: [&str; 9] = [
    "invalid",
    "insert_failed",
    "drop",
    "early_drop",
    "icmp_error",
    "clashres",
    "chaintoolong",
    "chainlength",
    "search_restart",
];

/// Of /proc/net/stat/arp_cache and ndisc_cache.
const NEIGHBOURS: [&str; 4] = ["res_failed", "forced_gc_runs", "unresolved_discards", "table_fulls"];

/// Of /proc/vmstat: reclaim, compaction, swapping, writeback and pages that had to be read from disk.
const MEMORY: [&str; 30] = [
    "pgscan_direct",
    "pgscan_kswapd",
    "pgscan_khugepaged",
    "pgscan_proactive",
    "pgscan_direct_throttle",
    "pgscan_anon",
    "pgscan_file",
    "pgsteal_direct",
    "pgsteal_kswapd",
    "pgmajfault",
    "pswpin",
    "pswpout",
    "pageoutrun",
    "kswapd_low_wmark_hit_quickly",
    "kswapd_high_wmark_hit_quickly",
    "workingset_refault_anon",
    "workingset_refault_file",
    "nr_written",
    "nr_vmscan_write",
    "compact_stall",
    "compact_fail",
    "compact_success",
    "compact_daemon_wake",
    "pgmigrate_fail",
    "thp_fault_fallback",
    "thp_split_page",
    "drop_pagecache",
    "drop_slab",
    "oom_kill",
    "balloon_inflate",
];

/// Whether a counter of /proc/net/snmp is kept.
pub fn snmp(name: &str) -> bool {
    SNMP.contains(&name)
}

/// Whether a counter of /proc/net/netstat is kept.
pub fn netstat(name: &str) -> bool {
    match name.split_once('.') {
        Some(("TcpExt", name)) => !TCP_LEFT_OUT.contains(&name),
        Some(("IpExt", name)) => IP_KEPT.contains(&name),
        _ => false,
    }
}

/// Whether a counter of the table of connections is kept.
pub fn conntrack(name: &str) -> bool {
    CONNTRACK.contains(&name)
}

/// Whether a counter of a table of neighbours is kept.
pub fn neighbours(name: &str) -> bool {
    NEIGHBOURS.contains(&name)
}

/// Whether a counter of /proc/vmstat is kept.
pub fn memory(name: &str) -> bool {
    // One for each zone of memory; zones differ between machines.
    name.starts_with("allocstall_") || MEMORY.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rises_with_every_packet_is_left_out() {
        for name in
            ["TcpExt.TCPHPHits", "TcpExt.TCPDelivered", "IpExt.InOctets", "MPTcpExt.DSSNotMatching", "x"]
        {
            assert!(!netstat(name), "{name}");
        }
        for name in ["Ip.InReceives", "Tcp.InSegs", "Tcp.CurrEstab", "Udp.IgnoredMulti", "IcmpMsg.InType3"] {
            assert!(!snmp(name), "{name}");
        }
        assert!(!memory("pgfault") && !memory("nr_free_pages") && !memory("pgalloc_normal"));
        assert!(!conntrack("entries") && !conntrack("found") && !neighbours("lookups"));
    }

    #[test]
    fn what_says_that_something_is_wrong_is_kept() {
        for name in
            ["TcpExt.ListenOverflows", "TcpExt.TCPSynRetrans", "TcpExt.OfANewerKernel", "IpExt.InNoRoutes"]
        {
            assert!(netstat(name), "{name}");
        }
        assert!(snmp("Udp.RcvbufErrors") && snmp("Tcp.RetransSegs"));
        assert!(memory("pgscan_direct") && memory("allocstall_movable") && memory("compact_stall"));
        assert!(conntrack("insert_failed") && neighbours("unresolved_discards"));
    }
}
