//! What else happened: kernel events of the capture as trains, one a kind and subject.
//!
//! A train is times with sizes; whether it coincides with a spike is decided in `coincidence`.

use std::collections::BTreeMap;

use datafusion::arrow::array::{Array, AsArray, Int64Array, StringViewArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::prelude::SessionContext;
use futures::StreamExt;

use super::groups::quoted;
use crate::error::{Error, Result};
use crate::sql::session;
use crate::tables::columns::typed;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A process was stopped, and continued later.
    Stopped,
    /// A cgroup used its share of CPU up.
    Throttled,
    /// A thread waited for a CPU.
    RunQueue,
    /// A thread waited where it cannot be interrupted: mostly for a disk.
    OffCpu,
    /// Segments were sent again.
    Retransmit,
    /// The round trip took much longer than usual.
    RoundTrip,
    /// SYNs were sent again: the listener did not take them, or the network lost them.
    SynAgain,
    /// Connects failed.
    ConnectFailed,
    /// Connections lay in the listen queue.
    ListenQueue,
    /// A program was started.
    Exec,
    /// A process used much more CPU than usual.
    Cpu,
    /// A reset was sent or came.
    Reset,
    /// A connection was opened.
    Reconnect,
    /// A connection to a name server was opened.
    Dns,
}

impl Kind {
    /// The name in findings.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Stopped => "stopped",
            Kind::Throttled => "throttled",
            Kind::RunQueue => "run_queue",
            Kind::OffCpu => "off_cpu",
            Kind::Retransmit => "retransmit",
            Kind::RoundTrip => "round_trip",
            Kind::SynAgain => "syn_retransmit",
            Kind::ConnectFailed => "connect_failed",
            Kind::ListenQueue => "listen_queue",
            Kind::Exec => "exec",
            Kind::Cpu => "cpu",
            Kind::Reset => "reset",
            Kind::Reconnect => "reconnect",
            Kind::Dns => "dns",
        }
    }

    /// Its subject is a hop, not a process or program.
    pub fn of_hop(self) -> bool {
        let of_data = matches!(self, Kind::Retransmit | Kind::RoundTrip | Kind::Reset);
        of_data || self.of_connects() || matches!(self, Kind::Reconnect | Kind::Dns)
    }

    /// It is how connections of a hop come about; its process is the one that waits for them.
    pub fn of_connects(self) -> bool {
        matches!(self, Kind::SynAgain | Kind::ConnectFailed | Kind::ListenQueue)
    }

    /// Two in a row are as much as both: not so for a level such as the round trip.
    pub fn adds_up(self) -> bool {
        self != Kind::RoundTrip
    }

    /// If it is of the suspected hop or process it may be how the time is lost.
    pub fn explains(self) -> bool {
        let by_itself = matches!(self, Kind::Retransmit | Kind::RoundTrip | Kind::Dns);
        self.delays() || self.of_connects() || by_itself
    }

    /// Its size is time in which the subject could not go on.
    pub fn delays(self) -> bool {
        matches!(self, Kind::Stopped | Kind::Throttled | Kind::RunQueue | Kind::OffCpu | Kind::ListenQueue)
    }
}

/// One time it happened.
#[derive(Clone, Copy, Debug)]
pub struct Happening {
    /// Begin, ns since 1970 UTC.
    pub from_ns: i64,
    /// End.
    pub to_ns: i64,
    /// How much: ns for what delays, else a number.
    pub size: f64,
    /// The process it happened to, where it happened to one.
    pub process_id: Option<i64>,
    /// Its thread, or 0 where it happened to all of them.
    pub tid: i64,
}

/// All times that one thing happened to one subject, in order.
#[derive(Clone, Debug)]
pub struct Train {
    /// What.
    pub kind: Kind,
    /// To whom: a process, a program or a hop.
    pub subject: String,
    /// Who else had to do with it most often: who had the CPU.
    pub other: Option<String>,
    /// When.
    pub times: Vec<Happening>,
    /// A statement for its rows, to which a condition on `time`, the begin, can be added.
    pub sql: String,
}

/// A kind of happening: the statement that lists it and the one that shows its rows.
struct Source {
    kind: Kind,
    /// Gives from_ns, to_ns (since 1970), size, subject, other, process_id, tid.
    list: String,
    /// Gives the rows of one subject; `{}` stands for the subject as a SQL string.
    show: String,
}

/// Most rows of one kind that are read.
const MOST_ROWS: usize = 3_000_000;

/// Reads every train of the capture. Tables that an older capture does not have are empty.
pub async fn read(context: &SessionContext) -> Result<Vec<Train>> {
    let mut trains = Vec::new();
    for source in sources() {
        trains.extend(read_kind(context, &source).await?);
    }
    Ok(trains)
}

async fn read_kind(context: &SessionContext, source: &Source) -> Result<Vec<Train>> {
    let list = format!(
        "SELECT CAST(from_ns AS BIGINT) AS from_ns, CAST(to_ns AS BIGINT) AS to_ns, CAST(size AS BIGINT) AS size, subject, other,
                CAST(process_id AS BIGINT) AS process_id, CAST(tid AS BIGINT) AS tid
         FROM ({}) WHERE subject IS NOT NULL ORDER BY from_ns LIMIT {MOST_ROWS}",
        source.list
    );
    let mut by_subject: BTreeMap<String, (Vec<Happening>, BTreeMap<String, f64>)> = BTreeMap::new();
    let mut batches = session::plan(context, &list).await?.execute_stream().await?;
    while let Some(batch) = batches.next().await.transpose()? {
        let number =
            |name| Ok::<Int64Array, Error>(typed(&batch, name, &DataType::Int64)?.as_primitive().clone());
        let text = |name| {
            Ok::<StringViewArray, Error>(typed(&batch, name, &DataType::Utf8View)?.as_string_view().clone())
        };
        let (from, to, size) = (number("from_ns")?, number("to_ns")?, number("size")?);
        let (subjects, others) = (text("subject")?, text("other")?);
        let (process_ids, tids) = (number("process_id")?, number("tid")?);
        for row in 0..batch.num_rows() {
            let happening = Happening {
                from_ns: from.value(row),
                to_ns: to.value(row),
                size: size.value(row) as f64,
                process_id: process_ids.is_valid(row).then(|| process_ids.value(row)),
                tid: tids.value(row),
            };
            let entry = by_subject.entry(subjects.value(row).to_owned()).or_default();
            entry.0.push(happening);
            if others.is_valid(row) {
                *entry.1.entry(others.value(row).to_owned()).or_default() += happening.size;
            }
        }
    }
    let train = |(subject, (times, others)): (String, (Vec<Happening>, BTreeMap<String, f64>))| Train {
        kind: source.kind,
        other: others.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)).map(|(name, _)| name),
        sql: source.show.replace("{}", &quoted(&subject)),
        subject,
        times,
    };
    Ok(by_subject.into_iter().map(train).collect())
}

/// Connects that came to nothing, and not because their caller left.
const FAILED: &str = "connect_outcome IN ('refused', 'timed_out', 'reset', 'unreachable', 'failed')";
/// Connections that lay in the listen queue for longer than a busy process takes to come to them.
const QUEUED: &str = "accept_wait_ns > 5000000";

/// What happens on a hop happens to no one process.
const OF_NO_PROCESS: &str = "CAST(NULL AS BIGINT) AS process_id, 0 AS tid";

/// A row of `tcp` with the connection of its socket.
const OF_CONNECTION: &str = "tcp t LEFT JOIN connections a ON a.client_socket_id = t.socket_id LEFT JOIN connections b ON b.server_socket_id = t.socket_id";

fn sources() -> Vec<Source> {
    let sched = |kind: &str| {
        format!(
            "SELECT wall_time(s.boot_ns - s.duration_ns) AS from_ns, wall_time(s.boot_ns) AS to_ns, s.duration_ns AS size,
                    p.comm AS subject, o.comm AS other, s.process_id, s.tid
             FROM sched s JOIN processes p ON p.process_id = s.process_id
             LEFT JOIN processes o ON o.process_id = s.other_process_id AND s.other_process_id <> s.process_id
             WHERE s.kind = '{kind}'"
        )
    };
    let tcp = |condition: &str| {
        format!(
            "SELECT wall_time(t.boot_ns) AS from_ns, wall_time(t.boot_ns) AS to_ns, 1 AS size, coalesce(a.hop, b.hop) AS subject,
                    CAST(NULL AS VARCHAR) AS other, {OF_NO_PROCESS}
             FROM {OF_CONNECTION} WHERE {condition}"
        )
    };
    let opened = |condition: &str| {
        format!(
            "SELECT opened_time AS from_ns, opened_time AS to_ns, 1 AS size, hop AS subject, CAST(NULL AS VARCHAR) AS other, {OF_NO_PROCESS}
             FROM connections WHERE opened_time IS NOT NULL AND {condition}"
        )
    };
    // What happens to a connection while it is opened: how much of what, from how long after the SYN on and for how long.
    let connects = |size: &str, other: &str, after_ns: &str, length_ns: &str, condition: &str| {
        let from_ns = format!("CAST(opened_time AS BIGINT) + {after_ns}");
        format!(
            "SELECT {from_ns} AS from_ns, {from_ns} + coalesce({length_ns}, 0) AS to_ns, {size} AS size, hop AS subject,
                    {other} AS other, client_process_id AS process_id, 0 AS tid
             FROM connections WHERE opened_time IS NOT NULL AND {condition}"
        )
    };
    vec![
        Source { kind: Kind::Stopped, list: sched("continued"), show: SHOW_CONTINUED.to_owned() },
        Source { kind: Kind::Throttled, list: throttles(), show: show_throttles() },
        Source { kind: Kind::RunQueue, list: sched("run_queue"), show: SHOW_RUN_QUEUE.to_owned() },
        Source { kind: Kind::OffCpu, list: sched("off_cpu"), show: SHOW_OFF_CPU.to_owned() },
        Source {
            kind: Kind::Retransmit,
            list: tcp("t.kind = 'retransmit' AND coalesce(t.tcp_state, 0) <> 2"),
            show: SHOW_RETRANSMIT.to_owned(),
        },
        Source { kind: Kind::RoundTrip, list: slow_round_trips(), show: SHOW_ROUND_TRIP.to_owned() },
        Source {
            kind: Kind::SynAgain,
            list: connects(
                "syn_retransmits",
                "CAST(NULL AS VARCHAR)",
                "0",
                "connect_ns",
                "syn_retransmits > 0",
            ),
            show: SHOW_SYN_AGAIN.to_owned(),
        },
        Source {
            kind: Kind::ConnectFailed,
            list: connects("1", "connect_outcome", "0", "connect_ns", FAILED),
            show: format!("{SHOW_CONNECTS} WHERE {FAILED} AND hop = {{}}"),
        },
        Source {
            kind: Kind::ListenQueue,
            list: connects(
                "accept_wait_ns",
                "CAST(NULL AS VARCHAR)",
                "coalesce(connect_ns, 0)",
                "accept_wait_ns",
                QUEUED,
            ),
            show: format!("{SHOW_CONNECTS} WHERE {QUEUED} AND hop = {{}}"),
        },
        Source {
            kind: Kind::Reset,
            list: tcp("t.kind IN ('reset_sent', 'reset_received')"),
            show: SHOW_RESET.to_owned(),
        },
        Source { kind: Kind::Exec, list: EXECS.to_owned(), show: SHOW_EXEC.to_owned() },
        Source { kind: Kind::Cpu, list: BUSY.to_owned(), show: SHOW_CPU.to_owned() },
        Source { kind: Kind::Reconnect, list: opened("dst_port <> 53"), show: SHOW_OPENED.to_owned() },
        Source { kind: Kind::Dns, list: opened("dst_port = 53"), show: SHOW_OPENED.to_owned() },
    ]
}

/// Round trips three times as long as the hop's twentieth (those that stay the same are seldom written down), and 5 ms more,
/// where they rise (they fall slowly), as the answering side measured them: what the requesting side measures has the
/// answering process's delayed acknowledgements in it.
fn slow_round_trips() -> String {
    format!(
        "WITH trips AS (SELECT t.boot_ns, t.rtt_us, b.hop, lag(t.rtt_us) OVER (PARTITION BY t.socket_id ORDER BY t.boot_ns, t.seq) AS before_us
                        FROM {OF_CONNECTION}
                        WHERE t.kind = 'rtt' AND t.rtt_us IS NOT NULL AND b.hop IS NOT NULL),
              usual AS (SELECT hop, percentile_cont(0.05) WITHIN GROUP (ORDER BY rtt_us) AS rtt_us FROM trips GROUP BY hop)
         SELECT wall_time(trips.boot_ns) AS from_ns, wall_time(trips.boot_ns) AS to_ns, trips.rtt_us AS size, trips.hop AS subject,
                CAST(NULL AS VARCHAR) AS other, {OF_NO_PROCESS}
         FROM trips JOIN usual ON usual.hop = trips.hop WHERE trips.rtt_us > 3 * usual.rtt_us AND trips.rtt_us > usual.rtt_us + 5000
           AND (trips.before_us IS NULL OR trips.rtt_us > trips.before_us)"
    )
}

/// Throttling is sampled once a second. A throttled thread waits for a CPU: where its long waits together make up half of the
/// throttled time or more, the first of them is the begin of that; else it is as if it had ended with the second.
const THROTTLES: &str = "SELECT t.process_id, t.kind, t.duration_ns,
            CASE WHEN 2 * sum(r.duration_ns) > t.duration_ns THEN min(r.boot_ns - r.duration_ns)
                 ELSE t.boot_ns - t.duration_ns END AS begin_boot_ns
     FROM sched t LEFT JOIN sched r ON r.process_id = t.process_id AND r.kind = 'run_queue' AND 10 * r.duration_ns > t.duration_ns
         AND r.boot_ns - r.duration_ns < t.boot_ns AND r.boot_ns > t.boot_ns - 1300000000
     WHERE t.kind = 'throttled' GROUP BY t.process_id, t.kind, t.boot_ns, t.duration_ns";

fn throttles() -> String {
    format!(
        "SELECT wall_time(s.begin_boot_ns) AS from_ns, wall_time(s.begin_boot_ns + s.duration_ns) AS to_ns, s.duration_ns AS size,
                p.comm AS subject, CAST(NULL AS VARCHAR) AS other, s.process_id, 0 AS tid
         FROM ({THROTTLES}) s JOIN processes p ON p.process_id = s.process_id"
    )
}

fn show_throttles() -> String {
    // One line: it is printed, to be copied.
    let throttles = THROTTLES.split_whitespace().collect::<Vec<_>>().join(" ");
    format!(
        "SELECT wall_time(s.begin_boot_ns) AS time, s.kind, s.duration_ns, p.comm, p.cgroup \
         FROM ({throttles}) s JOIN processes p ON p.process_id = s.process_id WHERE p.comm = {{}}"
    )
}

/// Of a process that went from program to program (a shell that became what it was told to run) the last one.
const EXECS: &str = "SELECT wall_time(e.boot_ns) AS from_ns, wall_time(e.boot_ns) AS to_ns, 1 AS size,
            coalesce(e.exe, e.comm) AS subject, p.comm AS other, CAST(NULL AS BIGINT) AS process_id, 0 AS tid
     FROM (SELECT *, lead(boot_ns) OVER (PARTITION BY process_id ORDER BY boot_ns, seq) AS next_boot_ns FROM execs) e
     LEFT JOIN processes p ON p.process_id = e.process_id
     WHERE e.comm <> 'retrospan-recor' AND (e.process_id IS NULL OR e.next_boot_ns IS NULL)";

/// Seconds in which a process used a fifth of a core, and three times its median. What the recorder used is no cause.
const BUSY: &str = "WITH usual AS (SELECT process_id, median(cpu_ns) AS cpu_ns, count(*) AS samples FROM usage GROUP BY process_id)
     SELECT wall_time(u.boot_ns - u.interval_ns) AS from_ns, wall_time(u.boot_ns) AS to_ns, u.cpu_ns AS size, p.comm AS subject,
            CAST(NULL AS VARCHAR) AS other, u.process_id, 0 AS tid
     FROM usage u JOIN processes p ON p.process_id = u.process_id JOIN usual ON usual.process_id = u.process_id
     WHERE u.cpu_ns > 0.2 * u.interval_ns AND (usual.samples <= 3 OR u.cpu_ns > 3 * usual.cpu_ns)
       AND p.comm <> 'retrospan-recor'";

const SHOW_CONTINUED: &str = "SELECT wall_time(s.boot_ns - s.duration_ns) AS time, s.kind, s.duration_ns, p.comm, p.pid \
     FROM sched s JOIN processes p ON p.process_id = s.process_id WHERE s.kind = 'continued' AND p.comm = {}";
const SHOW_RUN_QUEUE: &str = "SELECT wall_time(s.boot_ns - s.duration_ns) AS time, s.kind, s.duration_ns, s.cpu, p.comm, s.tid, o.comm AS had_the_cpu \
     FROM sched s JOIN processes p ON p.process_id = s.process_id LEFT JOIN processes o ON o.process_id = s.other_process_id \
     WHERE s.kind = 'run_queue' AND p.comm = {}";
const SHOW_OFF_CPU: &str = "SELECT wall_time(s.boot_ns - s.duration_ns) AS time, s.kind, s.duration_ns, s.cpu, p.comm, s.tid \
     FROM sched s JOIN processes p ON p.process_id = s.process_id WHERE s.kind = 'off_cpu' AND p.comm = {}";
const SHOW_EXEC: &str = "SELECT wall_time(e.boot_ns) AS time, e.exe, e.argv, e.pid, parent.comm AS started_by \
     FROM execs e LEFT JOIN processes parent ON parent.process_id = e.parent_process_id WHERE coalesce(e.exe, e.comm) = {}";
const SHOW_CPU: &str = "SELECT wall_time(u.boot_ns - u.interval_ns) AS time, p.comm, u.pid, u.cpu_ns, u.interval_ns \
     FROM usage u JOIN processes p ON p.process_id = u.process_id WHERE p.comm = {}";
const SHOW_RETRANSMIT: &str = "SELECT wall_time(t.boot_ns) AS time, t.kind, t.tcp_seq, t.bytes, coalesce(a.hop, b.hop) AS hop \
     FROM tcp t LEFT JOIN connections a ON a.client_socket_id = t.socket_id LEFT JOIN connections b ON b.server_socket_id = t.socket_id \
     WHERE t.kind = 'retransmit' AND coalesce(t.tcp_state, 0) <> 2 AND coalesce(a.hop, b.hop) = {}";
const SHOW_CONNECTS: &str = "SELECT opened_time AS time, connection_id, src_addr, src_port, dst_addr, dst_port, connect_ns, connect_outcome, \
     syn_retransmits, accept_wait_ns, hop FROM connections";
const SHOW_SYN_AGAIN: &str = "SELECT opened_time AS time, connection_id, src_addr, src_port, dst_addr, dst_port, connect_ns, connect_outcome, \
     syn_retransmits, hop FROM connections WHERE syn_retransmits > 0 AND hop = {}";
const SHOW_ROUND_TRIP: &str = "SELECT wall_time(t.boot_ns) AS time, t.kind, t.rtt_us, coalesce(a.hop, b.hop) AS hop \
     FROM tcp t LEFT JOIN connections a ON a.client_socket_id = t.socket_id LEFT JOIN connections b ON b.server_socket_id = t.socket_id \
     WHERE t.kind = 'rtt' AND b.hop = {}";
const SHOW_RESET: &str = "SELECT wall_time(t.boot_ns) AS time, t.kind, coalesce(a.hop, b.hop) AS hop \
     FROM tcp t LEFT JOIN connections a ON a.client_socket_id = t.socket_id LEFT JOIN connections b ON b.server_socket_id = t.socket_id \
     WHERE t.kind IN ('reset_sent', 'reset_received') AND coalesce(a.hop, b.hop) = {}";
const SHOW_OPENED: &str = "SELECT opened_time AS time, connection_id, src_addr, src_port, dst_addr, dst_port, hop \
     FROM connections WHERE opened_time IS NOT NULL AND hop = {}";
