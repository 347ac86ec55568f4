//! The files of /proc that hold counters, read into names and values. Pure functions of the text.
//!
//! Kernels add columns and lines at the end, and older ones have fewer: what is there is read, what is not understood is
//! passed over. Nothing is added up that the kernel keeps apart, but the CPUs' shares of a sum.

/// Takes a counter: its name, which one of its kind it is, and its value.
pub type Sink<'a> = dyn FnMut(&str, Option<&str>, u64) + 'a;

/// Length of a tick of /proc/stat, ms (USER_HZ is 100 on every architecture we run on).
const TICK_MS: u64 = 10;

/// /proc/net/snmp and /proc/net/netstat: pairs of lines, names above values, both after the protocol's name.
pub fn protocols(text: &str, sink: &mut Sink<'_>) {
    let mut lines = text.lines();
    let mut full = String::new();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let (Some((protocol, names)), Some((of, values))) = (names.split_once(':'), values.split_once(':'))
        else {
            continue;
        };
        if protocol != of {
            continue;
        }
        for (name, value) in names.split_ascii_whitespace().zip(values.split_ascii_whitespace()) {
            let Ok(value) = value.parse() else { continue };
            full.clear();
            full.extend([protocol, ".", name]);
            sink(&full, None, value);
        }
    }
}

/// The files of /proc/net/stat: a line of names, then one line of hexadecimal numbers a CPU, which are added up.
pub fn per_cpu(text: &str, sink: &mut Sink<'_>) {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split_ascii_whitespace().collect();
    let mut sums = vec![None; names.len()];
    for line in lines {
        for (sum, value) in sums.iter_mut().zip(line.split_ascii_whitespace()) {
            let Ok(value) = u64::from_str_radix(value, 16) else { continue };
            *sum = Some(sum.unwrap_or(0_u64).saturating_add(value));
        }
    }
    for (name, sum) in names.into_iter().zip(sums) {
        sum.into_iter().for_each(|sum| sink(name, None, sum));
    }
}

/// Columns of /proc/net/softnet_stat, by their names in the kernel (`softnet_seq_show`).
const SOFTNET: [(usize, &str); 3] = [(1, "dropped"), (2, "time_squeeze"), (10, "flow_limit_count")];
/// Column with the CPU's number (since Linux 5.10); before it the lines are those of the CPUs that are on.
const SOFTNET_CPU: usize = 12;

/// /proc/net/softnet_stat: one line of hexadecimal numbers a CPU.
pub fn softnet(text: &str, sink: &mut Sink<'_>) {
    for (line, columns) in text.lines().enumerate() {
        let columns: Vec<&str> = columns.split_ascii_whitespace().collect();
        let number = |index: usize| u64::from_str_radix(columns.get(index)?, 16).ok();
        let cpu = number(SOFTNET_CPU).unwrap_or(line as u64).to_string();
        for (index, name) in SOFTNET {
            number(index).into_iter().for_each(|value| sink(name, Some(&cpu), value));
        }
    }
}

/// Lines of a name and a number: /proc/vmstat, and files of cgroups.
pub fn lines(text: &str, sink: &mut Sink<'_>) {
    for line in text.lines() {
        let Some((name, value)) = line.split_once(' ') else { continue };
        if let Ok(value) = value.trim().parse() {
            sink(name, None, value);
        }
    }
}

/// A file of /proc/pressure: `some avg10=0.00 avg60=0.00 avg300=0.00 total=12`, and `full`; totals are microseconds.
pub fn pressure(text: &str, sink: &mut Sink<'_>) {
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let name = match words.next() {
            Some("some") => "some_total_us",
            Some("full") => "full_total_us",
            _ => continue,
        };
        let total = words.find_map(|word| word.strip_prefix("total=")?.parse().ok());
        total.into_iter().for_each(|total| sink(name, None, total));
    }
}

/// Columns of /proc/diskstats behind the disk's name (Documentation/admin-guide/iostats.rst); before Linux 5.5 there are 11.
const DISK: [(usize, &str); 8] = [
    (0, "read_ios"),
    (2, "read_sectors"),
    (3, "read_ticks_ms"),
    (4, "write_ios"),
    (6, "write_sectors"),
    (7, "write_ticks_ms"),
    (9, "io_ticks_ms"),
    (16, "flush_ticks_ms"),
];

/// /proc/diskstats: one line a disk or partition.
pub fn disks(text: &str, is_disk: &mut dyn FnMut(&str) -> bool, sink: &mut Sink<'_>) {
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace().skip(2);
        let Some(disk) = words.next() else { continue };
        if !is_disk(disk) {
            continue;
        }
        let columns: Vec<&str> = words.collect();
        for (index, name) in DISK {
            let value = columns.get(index).and_then(|value| value.parse().ok());
            value.into_iter().for_each(|value| sink(name, Some(disk), value));
        }
    }
}

/// Columns of the CPU lines of /proc/stat (proc_stat(5)).
const CPU_TIMES: [(usize, &str); 3] = [(5, "irq_ms"), (6, "softirq_ms"), (7, "steal_ms")];

/// The CPU lines of /proc/stat: `cpu` has the sum of all, `cpu3` is one.
pub fn cpus(text: &str, sink: &mut Sink<'_>) {
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(cpu) = words.next().and_then(|word| word.strip_prefix("cpu")) else { continue };
        let instance = (!cpu.is_empty()).then_some(cpu);
        let columns: Vec<&str> = words.collect();
        for (index, name) in CPU_TIMES {
            let Some(ticks) = columns.get(index).and_then(|ticks| ticks.parse::<u64>().ok()) else {
                continue;
            };
            sink(name, instance, ticks.saturating_mul(TICK_MS));
        }
    }
}

#[cfg(test)]
mod tests;
