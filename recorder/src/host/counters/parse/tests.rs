use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

type Found = BTreeMap<(String, String), u64>;

fn found(parse: impl FnOnce(&mut Sink<'_>)) -> Found {
    let mut found = Found::new();
    parse(&mut |name, instance, value| {
        found.insert((name.to_owned(), instance.unwrap_or("-").to_owned()), value);
    });
    found
}

/// What is expected, and nothing else.
fn exactly(expected: &[(&str, &str, u64)]) -> Found {
    expected.iter().map(|&(name, instance, n)| ((name.to_owned(), instance.to_owned()), n)).collect()
}

/// Of Linux 6.18, shortened.
const SNMP: &str = "\
Ip: Forwarding DefaultTTL InReceives InHdrErrors
Ip: 2 64 123721540 0
Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens RetransSegs
Tcp: 1 200 120000 -1 506751 2410
Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors
Udp: 10129 5 0 10289 7 0 0 0 0
";

#[test]
fn names_stand_above_their_values() {
    let snmp = found(|sink| protocols(SNMP, sink));
    let value = |name: &str| snmp.get(&(name.to_owned(), "-".to_owned())).copied();
    assert_eq!(value("Tcp.RetransSegs"), Some(2410));
    assert_eq!(value("Udp.RcvbufErrors"), Some(7));
    // Minus one stands for "no limit".
    assert_eq!(value("Tcp.MaxConn"), None);
    assert_eq!(snmp.len(), 4 + 5 + 9);
    // Of Linux 3.10: fewer of UDP.
    let old = "Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors\nUdp: 1 2 3 4 5 6\n";
    assert_eq!(found(|sink| protocols(old, sink)).len(), 6);
    let netstat = "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 28 3 4\n";
    let expected = [
        ("TcpExt.SyncookiesSent", "-", 28),
        ("TcpExt.ListenOverflows", "-", 3),
        ("TcpExt.ListenDrops", "-", 4),
    ];
    assert_eq!(found(|sink| protocols(netstat, sink)), exactly(&expected));
}

#[test]
fn lines_that_do_not_belong_together_are_passed_over() {
    let text = "Tcp: a b\nUdp: 1 2\nIp: c d\nIp: 3\nno colon\nIp: 5\n";
    assert_eq!(found(|sink| protocols(text, sink)), exactly(&[("Ip.c", "-", 3)]));
}

/// Of Linux 6.18 with two CPUs.
const CONNTRACK: &str = "\
entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error  expect_new expect_create expect_delete search_restart
00000003  00000000 00000000 00000000 00000001 00000000 00000000 00000000 00000000 0000000a 00000000 00000000 00000000  00000000 00000000 00000000 00000000
00000003  00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000001 00000000 00000000 00000000  00000000 00000000 00000000 00000000
";

#[test]
fn the_shares_of_the_cpus_are_added_up() {
    let conntrack = found(|sink| per_cpu(CONNTRACK, sink));
    assert_eq!(conntrack.len(), 17);
    assert_eq!(conntrack[&("insert_failed".to_owned(), "-".to_owned())], 11);
    assert_eq!(conntrack[&("invalid".to_owned(), "-".to_owned())], 1);
    // Of Linux 3.10, without the last columns, and one CPU.
    let arp = "entries  allocs destroys hash_grows  lookups hits  res_failed  rcv_probes_mcast rcv_probes_ucast  periodic_gc_runs forced_gc_runs unresolved_discards\n\
               00000002  0000009d 00000088 00000000  00000193 0000002f  0000000c  00000000 00000000  00001225 00000000 00000002\n";
    let arp = found(|sink| per_cpu(arp, sink));
    assert_eq!(arp[&("res_failed".to_owned(), "-".to_owned())], 12);
    assert_eq!(arp[&("unresolved_discards".to_owned(), "-".to_owned())], 2);
    assert_eq!(found(|sink| per_cpu("entries drop\n", sink)), Found::new());
}

#[test]
fn softnet_has_a_line_for_each_cpu() {
    // Of Linux 6.18 (15 columns, the CPU in the 13th), with CPU 1 off.
    let new = "03e3230b 00000001 0000000d 0 0 0 0 0 0 00000000 00000002 00000000 00000000 00000000 00000000\n\
               03c84099 00000000 00000010 0 0 0 0 0 0 00000000 00000000 00000000 00000002 00000000 00000000\n";
    let of = |cpu, dropped, squeezed, limited| {
        [("dropped", cpu, dropped), ("time_squeeze", cpu, squeezed), ("flow_limit_count", cpu, limited)]
    };
    assert_eq!(found(|sink| softnet(new, sink)), exactly(&[of("0", 1, 13, 2), of("2", 0, 16, 0)].concat()));
    // Of Linux 2.6.32 (9 columns) and 3.10 (11).
    let old = "0001 0002 0003 0 0 0 0 0 0\n";
    assert_eq!(found(|sink| softnet(old, sink)), exactly(&[("dropped", "0", 2), ("time_squeeze", "0", 3)]));
    let middle = "0001 0002 0003 0 0 0 0 0 0 0 0\n0001 0002 0003 0 0 0 0 0 0 0 1\n";
    assert_eq!(found(|sink| softnet(middle, sink)), exactly(&[of("0", 2, 3, 0), of("1", 2, 3, 1)].concat()));
}

#[test]
fn totals_of_pressure_are_read() {
    let text = "some avg10=1.33 avg60=1.89 avg300=1.15 total=1047784622\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=445509763\n";
    let expected = [("some_total_us", "-", 1_047_784_622), ("full_total_us", "-", 445_509_763)];
    assert_eq!(found(|sink| pressure(text, sink)), exactly(&expected));
    // Before Linux 5.13 /proc/pressure/cpu has no second line.
    assert_eq!(found(|sink| pressure(&text[..text.find('\n').unwrap()], sink)), exactly(&expected[..1]));
}

#[test]
fn disks_are_read_and_partitions_are_not() {
    let text = " 254       0 vda 8364418 218988 379882426 59550005 5194293 1116471 840465960 4472659 0 1727500 64478648 1926382 307 749887816 361468 1176175 94514\n \
                254       1 vda1 1 2 3 4 5 6 7 8 9 10 11\n   8       0 sda 1 2 3 4 5 6 7 8 9 10 11\n   8      16 sdb 1 2 3\n";
    let mut is_disk = |name: &str| !name.ends_with('1');
    let disks = found(|sink| disks(text, &mut is_disk, sink));
    let expected = [
        ("read_ios", "vda", 8_364_418),
        ("read_sectors", "vda", 379_882_426),
        ("read_ticks_ms", "vda", 59_550_005),
        ("write_ios", "vda", 5_194_293),
        ("write_sectors", "vda", 840_465_960),
        ("write_ticks_ms", "vda", 4_472_659),
        ("io_ticks_ms", "vda", 1_727_500),
        ("flush_ticks_ms", "vda", 94_514),
        ("read_ios", "sda", 1),
        ("read_sectors", "sda", 3),
        ("read_ticks_ms", "sda", 4),
        ("write_ios", "sda", 5),
        ("write_sectors", "sda", 7),
        ("write_ticks_ms", "sda", 8),
        ("io_ticks_ms", "sda", 10),
        ("read_ios", "sdb", 1),
        ("read_sectors", "sdb", 3),
    ];
    assert_eq!(disks, exactly(&expected));
}

#[test]
fn times_of_cpus_are_read_in_milliseconds() {
    let text = "cpu  7082262 1629188 1529696 3620485 72241 4 51147 11898 0 0\ncpu0 3498173 801585 742596 1900051 25926 1 22434 5887 0 0\nintr 101719372 0\nctxt 231083580\ncpufreq 1\n";
    let expected = [
        ("irq_ms", "-", 40),
        ("softirq_ms", "-", 511_470),
        ("steal_ms", "-", 118_980),
        ("irq_ms", "0", 10),
        ("softirq_ms", "0", 224_340),
        ("steal_ms", "0", 58_870),
    ];
    assert_eq!(found(|sink| cpus(text, sink)), exactly(&expected));
    // Before Linux 2.6.11 there is no steal.
    let old = "cpu  1 2 3 4 5 6 7\n";
    assert_eq!(found(|sink| cpus(old, sink)), exactly(&[("irq_ms", "-", 60), ("softirq_ms", "-", 70)]));
}

#[test]
fn names_and_numbers_are_read() {
    let text = "nr_free_pages 5\nallocstall_normal 2\npgscan_direct 18446744073709551615\nbroken\nworse x\n";
    let expected =
        [("nr_free_pages", "-", 5), ("allocstall_normal", "-", 2), ("pgscan_direct", "-", u64::MAX)];
    assert_eq!(found(|sink| lines(text, sink)), exactly(&expected));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_file_holds_is_read_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        words in "([a-z:=.]{0,6}[0-9a-f]{0,20}[ \n]){0,60}",
    ) {
        for text in [String::from_utf8_lossy(&bytes).into_owned(), words] {
            let mut values = 0_u64;
            let mut sink = |_: &str, _: Option<&str>, value: u64| values = values.wrapping_add(value);
            protocols(&text, &mut sink);
            per_cpu(&text, &mut sink);
            softnet(&text, &mut sink);
            lines(&text, &mut sink);
            pressure(&text, &mut sink);
            disks(&text, &mut |_| true, &mut sink);
            cpus(&text, &mut sink);
        }
    }
}
