//! What else happened: kernel events of the capture as series, one a kind and subject.
//!
//! A series is times with sizes; whether it coincides with a spike is decided in `coincidence`. What an event is, the
//! views in `queries/views/` say: each kind is read from one of them.

use std::collections::BTreeMap;

use datafusion::arrow::array::{Array, AsArray, Int64Array, StringViewArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::prelude::SessionContext;
use futures::StreamExt;

use super::counters::{Counter, Scope};
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
    /// A listening socket dropped handshakes.
    ListenDrop,
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
    /// A process closed many connections at once.
    ClosedTogether,
    /// The kernel counted much more of something than usual.
    Counted(Counter),
}

/// Where a kind's rows are: a view, and which of its columns say what. The begin is `time` in every view.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// The view, in `queries/views/`.
    pub view: &'static str,
    /// Whom it happened to.
    pub subject: &'static str,
    /// End.
    end: &'static str,
    /// How much; of what delays `duration_ns`.
    pub size: &'static str,
    /// Who else had to do with it.
    other: &'static str,
    /// The process that it happened to.
    pub process_id: &'static str,
    /// Its thread; 0 for all.
    tid: &'static str,
    /// The network namespace that it happened in, where that is known and its process is not.
    pub netns: &'static str,
    /// The kind, of a view that has rows of several.
    kind: &'static str,
}

impl Source {
    /// Something that takes no time, counted.
    const fn moments(view: &'static str, subject: &'static str) -> Source {
        Source {
            view,
            subject,
            end: "time",
            size: "1",
            other: "NULL",
            process_id: "NULL",
            tid: "0",
            netns: "NULL",
            kind: "NULL",
        }
    }

    /// Something that keeps a process, or all of its threads, for a while.
    const fn of_process(view: &'static str) -> Source {
        let (end, size, process_id) = ("end_time", "duration_ns", "process_id");
        Source { end, size, process_id, ..Source::moments(view, "process") }
    }

    /// Something in the opening of connections.
    const fn of_connects(view: &'static str, size: &'static str) -> Source {
        let process_id = "client_process_id";
        Source { end: "end_time", size, process_id, ..Source::moments(view, "hop") }
    }
}

/// Where bursts of counters are, of every kind.
const COUNTERS: Source = Source {
    end: "end_time",
    size: "amount",
    // What a finding says beside the number.
    other: "CASE WHEN kind = 'softirq' THEN instance ELSE counter END",
    process_id: "process_id",
    netns: "netns",
    kind: "kind",
    ..Source::moments("counter_bursts", "subject")
};

impl Kind {
    /// Every kind that has a view of its own.
    const WITH_VIEW: [Kind; 16] = [
        Kind::Stopped,
        Kind::Throttled,
        Kind::RunQueue,
        Kind::OffCpu,
        Kind::Retransmit,
        Kind::RoundTrip,
        Kind::SynAgain,
        Kind::ConnectFailed,
        Kind::ListenQueue,
        Kind::ListenDrop,
        Kind::Reset,
        Kind::Exec,
        Kind::Cpu,
        Kind::Reconnect,
        Kind::Dns,
        Kind::ClosedTogether,
    ];

    /// Where its rows are.
    pub fn source(self) -> Source {
        match self {
            Kind::Stopped => Source::of_process("stopped"),
            Kind::Throttled => Source::of_process("throttling"),
            Kind::RunQueue => {
                Source { other: "held_by", tid: "tid", ..Source::of_process("run_queue_waits") }
            }
            Kind::OffCpu => Source { tid: "tid", ..Source::of_process("off_cpu_waits") },
            Kind::Cpu => Source { size: "cpu_ns", ..Source::of_process("cpu_bursts") },
            Kind::Exec => Source::moments("program_starts", "program"),
            Kind::Retransmit => Source::moments("retransmissions", "hop"),
            Kind::RoundTrip => Source { size: "rtt_us", ..Source::moments("slow_round_trips", "hop") },
            Kind::Reset => Source::moments("resets", "hop"),
            Kind::Reconnect => Source::moments("opened_connections", "hop"),
            Kind::Dns => Source::moments("name_server_connections", "hop"),
            Kind::SynAgain => Source::of_connects("syn_retransmissions", "syn_retransmits"),
            Kind::ConnectFailed => {
                Source { other: "connect_outcome", ..Source::of_connects("failed_connects", "1") }
            }
            Kind::ListenQueue => Source::of_connects("listen_queue_waits", "duration_ns"),
            Kind::ListenDrop => Source { size: "drops", ..Source::of_process("listen_drops") },
            Kind::ClosedTogether => Source { size: "connections", ..Source::of_process("closed_together") },
            Kind::Counted(_) => COUNTERS,
        }
    }

    /// Which rows of its view are its own; None where all are.
    pub fn condition(self) -> Option<String> {
        match self {
            Kind::Counted(counter) => Some(counter.condition()),
            _ => None,
        }
    }

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
            Kind::ListenDrop => "listen_drop",
            Kind::Exec => "exec",
            Kind::Cpu => "cpu",
            Kind::Reset => "reset",
            Kind::Reconnect => "reconnect",
            Kind::Dns => "dns",
            Kind::ClosedTogether => "closed_together",
            Kind::Counted(counter) => counter.name(),
        }
    }

    /// It is known to lie in an interval, and not where.
    pub fn within_interval(self) -> bool {
        matches!(self, Kind::Counted(_))
    }

    /// It happens to all that live in a network namespace.
    pub fn of_namespace(self) -> bool {
        matches!(self, Kind::Counted(counter) if counter.scope() == Scope::Namespace)
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

    /// Two in a row are as much as both: not so for a level such as the round trip, and for what each process of a cgroup
    /// has a row of.
    pub fn adds_up(self) -> bool {
        let of_cgroup = matches!(self, Kind::Counted(counter) if counter.scope() == Scope::Process);
        self != Kind::RoundTrip && !of_cgroup
    }

    /// If it is of the suspected hop or process it may be how the time is lost.
    pub fn explains(self) -> bool {
        let by_itself = matches!(
            self,
            Kind::Retransmit
                | Kind::RoundTrip
                | Kind::Dns
                | Kind::ListenDrop
                | Kind::ClosedTogether
                | Kind::Counted(_)
        );
        self.delays() || self.of_connects() || by_itself
    }

    /// Its size is time in which the subject could not go on.
    pub fn delays(self) -> bool {
        matches!(self, Kind::Stopped | Kind::Throttled | Kind::RunQueue | Kind::OffCpu | Kind::ListenQueue)
    }
}

/// One time it happened.
#[derive(Clone, Copy, Debug)]
pub struct Occurrence {
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
    /// The network namespace that it happened in, where its process is not known.
    pub netns: Option<i64>,
}

/// All times that one thing happened to one subject, in order.
#[derive(Clone, Debug)]
pub struct EventSeries {
    /// What.
    pub kind: Kind,
    /// To whom: a process, a program or a hop.
    pub subject: String,
    /// Who else had to do with it most often: who had the CPU.
    pub other: Option<String>,
    /// When.
    pub times: Vec<Occurrence>,
}

/// Most rows of one kind that are read.
const MOST_ROWS: usize = 3_000_000;

/// Reads every series of the capture. Tables that an older capture does not have are empty.
pub async fn read(context: &SessionContext) -> Result<Vec<EventSeries>> {
    let mut series = Vec::new();
    for kind in Kind::WITH_VIEW {
        series.extend(read_source(context, &kind.source(), Some(kind)).await?);
    }
    series.extend(read_source(context, &COUNTERS, None).await?);
    Ok(series)
}

/// Times of one subject so far, and how much of them each other process had to do with.
type Gathered = (Vec<Occurrence>, BTreeMap<String, f64>);

/// The series of a view: of one kind, or where there is none given of those that its rows name.
async fn read_source(
    context: &SessionContext,
    source: &Source,
    kind: Option<Kind>,
) -> Result<Vec<EventSeries>> {
    let mut by_subject: BTreeMap<(Kind, String), Gathered> = BTreeMap::new();
    let mut batches = session::plan(context, &statement(source)).await?.execute_stream().await?;
    while let Some(batch) = batches.next().await.transpose()? {
        let number =
            |name| Ok::<Int64Array, Error>(typed(&batch, name, &DataType::Int64)?.as_primitive().clone());
        let text = |name| {
            Ok::<StringViewArray, Error>(typed(&batch, name, &DataType::Utf8View)?.as_string_view().clone())
        };
        let (from, to, size) = (number("from_ns")?, number("to_ns")?, number("size")?);
        let (subjects, others, kinds) = (text("subject")?, text("other")?, text("kind")?);
        let (process_ids, tids, namespaces) = (number("process_id")?, number("tid")?, number("netns")?);
        for row in 0..batch.num_rows() {
            let of_row = || Counter::by_name(kinds.value(row)).map(Kind::Counted);
            let Some(kind) = kind.or_else(of_row) else { continue };
            let occurrence = Occurrence {
                from_ns: from.value(row),
                to_ns: to.value(row),
                size: size.value(row) as f64,
                process_id: process_ids.is_valid(row).then(|| process_ids.value(row)),
                tid: tids.value(row),
                netns: namespaces.is_valid(row).then(|| namespaces.value(row)),
            };
            let entry = by_subject.entry((kind, subjects.value(row).to_owned())).or_default();
            entry.0.push(occurrence);
            if others.is_valid(row) {
                *entry.1.entry(others.value(row).to_owned()).or_default() += occurrence.size;
            }
        }
    }
    let series = |((kind, subject), (times, others)): ((Kind, String), Gathered)| EventSeries {
        kind,
        subject,
        other: others.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)).map(|(name, _)| name),
        times,
    };
    Ok(by_subject.into_iter().map(series).collect())
}

/// The rows of a source in the columns that a series needs.
fn statement(source: &Source) -> String {
    let Source { view, subject, end, size, other, process_id, tid, netns, kind } = source;
    format!(
        "SELECT CAST(time AS BIGINT) AS from_ns, CAST({end} AS BIGINT) AS to_ns, CAST({size} AS BIGINT) AS size,
                {subject} AS subject, CAST({other} AS VARCHAR) AS other,
                CAST({process_id} AS BIGINT) AS process_id, CAST({tid} AS BIGINT) AS tid,
                CAST({netns} AS BIGINT) AS netns, CAST({kind} AS VARCHAR) AS kind
         FROM {view} WHERE {subject} IS NOT NULL ORDER BY from_ns LIMIT {MOST_ROWS}"
    )
}
