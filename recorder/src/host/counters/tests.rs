use super::*;

#[test]
fn growth_is_told_from_the_second_reading_on() {
    let mut before = Before::default();
    assert_eq!(before.grow("a", 5), None);
    assert_eq!(before.grow("a", 12), Some(7));
    assert_eq!(before.grow("a", 12), Some(0));
    // A disk that was taken away and put back counts anew.
    assert_eq!(before.grow("a", 3), None);
    assert_eq!(before.grow("a", 4), Some(1));
    assert_eq!(before.grow("a", u64::MAX), Some(u64::MAX - 4));
}

#[test]
fn names_and_instances_cannot_be_mistaken_for_each_other() {
    let mut one = String::new();
    let mut other = String::new();
    key(&mut one, "io", Some("sda"));
    key(&mut other, "iosda", None);
    assert_ne!(one, other);
}

#[test]
fn a_short_time_of_one_cpu_is_no_row_and_of_all_it_is() {
    assert_eq!(Source::Stat.least(Some("3"), 1_000_000_000), 50);
    assert_eq!(Source::Stat.least(None, 1_000_000_000), 1);
    assert_eq!(Source::Pressure("io").least(Some("io"), 1), 1_000);
    assert_eq!(Source::Diskstats.least(Some("sda"), 1), 1);
}

#[test]
fn partitions_and_disks_in_memory_are_no_disks() {
    let mut disks = Disks::default();
    assert!(!disks.has("loop0") && !disks.has("zram0") && !disks.has("../etc") && !disks.has("no-such-disk"));
}

/// A resend to a port that nobody listens on is refused and counted, in this process's namespace alone.
#[test]
fn what_this_process_does_is_counted_in_its_namespace() {
    let own = std::process::id();
    let mut counters = Counters::start(1, Duration::from_secs(1));
    let first = counters.sample(2, &[own]);
    assert!(counters.left() > Duration::from_millis(500), "the next one is due in about a second");
    assert!(first.iter().all(|change| change.netns.is_none()), "no growth at first sight: {first:?}");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let closed = listener.local_addr().expect("bound");
    drop(listener);
    for _ in 0..3 {
        std::net::TcpStream::connect(closed).expect_err("nobody listens");
    }
    let changes = counters.sample(1_002, &[own]);
    let fails = changes.iter().find(|change| change.name == "Tcp.AttemptFails").expect("refused connects");
    assert!(fails.delta >= 3 && fails.value >= fails.delta, "{fails:?}");
    assert_eq!((fails.netns, fails.interval_ns), (netns_of(own), 1_000));
    assert_eq!((fails.source, fails.instance.as_deref(), fails.pid), ("snmp", None, None));
    // Of a process that is gone nothing is read, and nothing remembered.
    counters.sample(2_002, &[u32::MAX]);
    let again = counters.sample(3_002, &[own]);
    assert!(again.iter().all(|change| change.source != "snmp"), "{again:?}");
}
