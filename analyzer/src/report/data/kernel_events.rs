//! What the kernel noted while a span was under way: waits of its process, retransmissions of its connection.

use datafusion::arrow::array::Array;
use datafusion::prelude::SessionContext;
use futures::StreamExt;

use super::Mark;
use crate::error::Result;
use crate::sql::session;
use crate::tables::columns::{numbers, texts};
use crate::text::duration;

/// Rows that are read.
const MAX_ROWS: usize = 50_000;
/// Marks of one span; the longest.
const MAX_MARKS: usize = 6;

/// Something that the kernel noted of a process or a connection.
#[derive(Clone, Debug)]
pub struct Noted {
    /// `processes.process_id`.
    process_id: Option<i64>,
    /// `connections.connection_id`.
    connection_id: Option<i64>,
    /// Begin, ns since 1970.
    from_ns: i64,
    /// End.
    to_ns: i64,
    /// In words.
    words: String,
}

/// Reads what was noted in any of the ranges (ns since 1970), in order. Tables that a capture does not have are empty.
pub async fn read(context: &SessionContext, ranges: &[[i64; 2]]) -> Result<Vec<Noted>> {
    let mut noted = Vec::new();
    if ranges.is_empty() {
        return Ok(noted);
    }
    let within: Vec<String> =
        ranges.iter().map(|[from, to]| format!("(to_ns >= {from} AND from_ns <= {to})")).collect();
    let query = format!(
        "SELECT * FROM ({WAITS} UNION ALL {SEGMENTS}) WHERE {} ORDER BY from_ns, to_ns, tid LIMIT {MAX_ROWS}",
        within.join(" OR ")
    );
    let mut batches = session::plan(context, &query).await?.execute_stream().await?;
    while let Some(batch) = batches.next().await.transpose()? {
        let [from, to, process, connection, tid] =
            ["from_ns", "to_ns", "process_id", "connection_id", "tid"].map(|name| numbers(&batch, name));
        let (from, to, process, connection, tid) = (from?, to?, process?, connection?, tid?);
        let (kind, comm, other) = (texts(&batch, "kind")?, texts(&batch, "comm")?, texts(&batch, "other")?);
        for row in 0..batch.num_rows() {
            let number = |column: &datafusion::arrow::array::Int64Array| {
                column.is_valid(row).then(|| column.value(row))
            };
            let (from_ns, to_ns) = (from.value(row), to.value(row));
            noted.push(Noted {
                process_id: number(&process),
                connection_id: number(&connection),
                from_ns,
                to_ns,
                words: words(
                    kind.value(row),
                    if comm.is_valid(row) { comm.value(row) } else { "?" },
                    number(&tid),
                    other.is_valid(row).then(|| other.value(row)),
                    to_ns - from_ns,
                ),
            });
        }
    }
    Ok(noted)
}

/// Waits of threads and processes that carry traffic; `continued` is the end of a stop.
const WAITS: &str = "SELECT CAST(wall_time(s.boot_ns - s.duration_ns) AS BIGINT) AS from_ns, CAST(wall_time(s.boot_ns) AS BIGINT) AS to_ns,
            s.process_id, CAST(NULL AS BIGINT) AS connection_id, CAST(s.tid AS BIGINT) AS tid, s.kind, p.name AS comm, o.name AS other
     FROM sched s LEFT JOIN processes p ON p.process_id = s.process_id
     LEFT JOIN processes o ON o.process_id = s.other_process_id AND s.other_process_id <> s.process_id
     WHERE s.kind <> 'stopped'";

/// Retransmissions and resets.
const SEGMENTS: &str = "SELECT CAST(wall_time(t.boot_ns) AS BIGINT) AS from_ns, CAST(wall_time(t.boot_ns) AS BIGINT) AS to_ns,
            CAST(NULL AS BIGINT) AS process_id, coalesce(a.connection_id, b.connection_id) AS connection_id,
            CAST(NULL AS BIGINT) AS tid, t.kind, CAST(NULL AS VARCHAR) AS comm, CAST(NULL AS VARCHAR) AS other
     FROM tcp t LEFT JOIN connections a ON a.client_socket_id = t.socket_id LEFT JOIN connections b ON b.server_socket_id = t.socket_id
     WHERE t.kind <> 'rtt'";

fn words(kind: &str, comm: &str, tid: Option<i64>, other: Option<&str>, took_ns: i64) -> String {
    let thread = tid.map_or_else(|| comm.to_owned(), |tid| format!("thread {tid} of {comm}"));
    let took = duration(took_ns);
    match kind {
        "continued" => format!("{comm} was stopped for {took}"),
        "throttled" => format!("the cgroup of {comm} was throttled for {took}"),
        "run_queue" => {
            let holder = other.map(|other| format!(", which {other} had")).unwrap_or_default();
            format!("{thread} waited {took} for a CPU{holder}")
        }
        "off_cpu" => format!("{thread} was blocked {took} in uninterruptible sleep (disk)"),
        "retransmit" => "a segment was retransmitted".to_owned(),
        "listen_drop" => "its listener had dropped handshakes".to_owned(),
        "reset_sent" => "a reset was sent".to_owned(),
        "reset_received" => "a reset came in".to_owned(),
        other => other.replace('_', " "),
    }
}

/// What was noted of these processes and this connection between two times, the longest first; places from `origin_ns`.
pub fn during(
    noted: &[Noted],
    (processes, connection_id): (&[i64], Option<i64>),
    [from_ns, to_ns]: [i64; 2],
    origin_ns: i64,
) -> Vec<Mark> {
    let concerns = |noted: &&Noted| {
        let of_process = noted.process_id.is_some_and(|id| processes.contains(&id));
        let of_connection = noted.connection_id.is_some() && noted.connection_id == connection_id;
        (of_process || of_connection) && noted.to_ns >= from_ns && noted.from_ns <= to_ns
    };
    let mut marks: Vec<Mark> = noted
        .iter()
        .filter(concerns)
        .map(|noted| Mark {
            from_ns: noted.from_ns.max(from_ns) - origin_ns,
            to_ns: noted.to_ns.min(to_ns) - origin_ns,
            words: noted.words.clone(),
        })
        .collect();
    marks.sort_by_key(|mark| std::cmp::Reverse(mark.to_ns - mark.from_ns));
    marks.truncate(MAX_MARKS);
    marks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(process_id: Option<i64>, connection_id: Option<i64>, from_ns: i64, to_ns: i64) -> Noted {
        Noted { process_id, connection_id, from_ns, to_ns, words: format!("{from_ns}") }
    }

    #[test]
    fn only_what_concerns_a_span_is_marked_within_it() {
        let all = [
            noted(Some(1), None, 0, 150),
            noted(Some(2), None, 110, 120),
            noted(None, Some(7), 160, 160),
            noted(None, Some(8), 160, 160),
            noted(Some(1), None, 210, 220),
            noted(None, None, 150, 160),
        ];
        let marks = during(&all, (&[1], Some(7)), [100, 200], 90);
        let places: Vec<(i64, i64)> = marks.iter().map(|mark| (mark.from_ns, mark.to_ns)).collect();
        assert_eq!(places, [(10, 60), (70, 70)]);
        assert!(during(&all, (&[], None), [0, 300], 0).is_empty(), "what is not known is not the same");
    }

    #[test]
    fn waits_are_said_in_words() {
        let said = words("run_queue", "shop", Some(12), Some("log-compressor"), 30_000_000);
        assert_eq!(said, "thread 12 of shop waited 30.0 ms for a CPU, which log-compressor had");
        assert_eq!(words("continued", "shop", Some(12), None, 1_000_000_000), "shop was stopped for 1.00 s");
    }
}
