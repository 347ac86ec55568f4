use datafusion::arrow::array::AsArray;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int64Type};

use super::*;
use crate::sql::zone::Zone;
use crate::sql::{capture, session};

const PROCESSES: &str = "CREATE TABLE processes AS SELECT * FROM (VALUES
    (1, 'shop', 'shop', '/shop.slice'), (2, 'batch', 'batch', '/'), (3, 'retrospan-recor', 'recorder', '/')) AS t (process_id, comm, name, cgroup)";

/// A session with these tables, of which wall time is boot time.
async fn with(tables: &[&str]) -> SessionContext {
    let context = session::empty().unwrap();
    context.register_udf(capture::wall_time(0, Zone::default()));
    register(&context).unwrap();
    for table in tables {
        context.sql(table).await.unwrap().collect().await.unwrap();
    }
    context
}

/// The rows of a query as integers.
async fn rows(context: &SessionContext, query: &str) -> Vec<Vec<i64>> {
    let batches = session::plan(context, query).await.unwrap().collect().await.unwrap();
    let mut rows = Vec::new();
    for batch in batches {
        let columns = batch.columns().iter().map(|column| cast(column, &DataType::Int64).unwrap());
        let columns: Vec<_> = columns.collect();
        let value = |row| columns.iter().map(move |c| c.as_primitive::<Int64Type>().value(row)).collect();
        rows.extend((0..batch.num_rows()).map(value));
    }
    rows
}

#[tokio::test]
async fn nothing_is_planned_before_it_is_asked_for() {
    // No view could be planned here: there are no tables.
    let context = with(&[]).await;
    let listed =
        rows(&context, "SELECT count(*) FROM information_schema.tables WHERE table_type = 'VIEW'").await;
    assert!(listed[0][0] >= library::VIEWS.len() as i64, "{listed:?}");
    assert!(session::plan(&context, "SELECT * FROM stopped").await.is_err());
    let session = context.state_weak_ref();
    drop(context);
    assert!(session.upgrade().is_none(), "its views keep a session alive");
}

#[tokio::test]
async fn throttling_begins_with_the_long_waits_that_make_it_up() {
    let sched = "CREATE TABLE sched AS SELECT * FROM (VALUES
        (9600000000, 400000000, 'run_queue', 11, 1), (10000000000, 600000000, 'throttled', 11, 1),
        (19700000000, 200000000, 'run_queue', 11, 1), (20000000000, 600000000, 'throttled', 11, 1),
        (29300000000, 50000000, 'run_queue', 11, 1), (29900000000, 400000000, 'run_queue', 11, 1),
        (29950000000, 400000000, 'run_queue', 22, 2), (30000000000, 600000000, 'throttled', 11, 1))
        AS t (boot_ns, duration_ns, kind, pid, process_id)";
    let context = with(&[PROCESSES, sched]).await;
    let query =
        "SELECT CAST(time AS BIGINT) / 1000000, CAST(end_time AS BIGINT) / 1000000, pid FROM throttling
                 WHERE process = 'shop' AND cgroup = '/shop.slice' ORDER BY time";
    // The second one's waits are too short to make it up, the third one's first wait too short to belong to it.
    let expected = [[9_200, 9_800, 11], [19_400, 20_000, 11], [29_500, 30_100, 11]];
    assert_eq!(rows(&context, query).await, expected);
}

#[tokio::test]
async fn a_round_trip_is_slow_where_it_rises_far_above_the_usual() {
    let connections = "CREATE TABLE connections AS SELECT 7 AS connection_id, 1 AS client_socket_id,
                       2 AS server_socket_id, 'a -> b:1' AS hop";
    let usual: Vec<String> = (0..40).map(|at| format!("({at}, 0, 'rtt', 2, 1000)")).collect();
    let tcp = format!(
        "CREATE TABLE tcp AS SELECT * FROM (VALUES {}, (50, 0, 'rtt', 2, 9000), (51, 0, 'rtt', 2, 8000),
         (52, 0, 'rtt', 2, 5900), (53, 0, 'rtt', 2, 6100), (60, 0, 'rtt', 1, 50000), (61, 0, 'reset_sent', 2, NULL))
         AS t (boot_ns, seq, kind, socket_id, rtt_us)",
        usual.join(", ")
    );
    let context = with(&[connections, &tcp]).await;
    let query = "SELECT time, rtt_us, usual_rtt_us, connection_id FROM slow_round_trips ORDER BY time";
    assert_eq!(rows(&context, query).await, [[50, 9_000, 1_000, 7], [53, 6_100, 1_000, 7]]);
}

#[tokio::test]
async fn a_cpu_burst_is_far_above_the_median_of_its_process() {
    let second = |end_s: i64, process_id: i64, cpu_ms: i64| {
        format!("({end_s}000000000, 1000000000, {process_id}0, {process_id}, {cpu_ms}000000)")
    };
    let mut seconds: Vec<String> = (1..6).map(|end_s| second(end_s, 1, 100)).collect();
    // Twice its median, and three times its median and more.
    seconds.extend([second(6, 1, 250), second(7, 1, 400)]);
    // A short life has no median; of it what is more than a fifth of a core.
    seconds.extend([second(2, 2, 300), second(3, 2, 300), second(4, 2, 150), second(3, 3, 900)]);
    let usage = format!(
        "CREATE TABLE usage AS SELECT * FROM (VALUES {}) AS t (boot_ns, interval_ns, pid, process_id, cpu_ns)",
        seconds.join(", ")
    );
    let context = with(&[PROCESSES, &usage]).await;
    let query = "SELECT CAST(time AS BIGINT) / 1000000000, process_id, cpu_ns / 1000000 FROM cpu_bursts
                 ORDER BY time, process_id";
    assert_eq!(rows(&context, query).await, [[1, 2, 300], [2, 2, 300], [6, 1, 400]]);
}

#[tokio::test]
async fn of_a_process_the_last_program_counts() {
    let execs = "CREATE TABLE execs AS SELECT * FROM (VALUES
        (10, 1, 5, 1, 2, '/bin/sh', 'sh', 'sh'), (20, 2, 5, 1, 2, '/bin/gzip', 'gzip', 'gzip'),
        (30, 3, 6, NULL, 2, NULL, 'true', 'true'), (40, 4, 6, NULL, 2, '/bin/true', 'true', 'true'),
        (50, 5, 7, 3, 2, '/bin/retrospan-record', 'retrospan-record', 'retrospan-recor'))
        AS t (boot_ns, seq, pid, process_id, parent_process_id, exe, argv, comm)";
    let context = with(&[PROCESSES, execs]).await;
    let query = "SELECT time FROM program_starts WHERE started_by = 'batch'
                 AND program IN ('/bin/gzip', 'true', '/bin/true') ORDER BY time";
    assert_eq!(rows(&context, query).await, [[20], [30], [40]]);
    assert_eq!(rows(&context, "SELECT count(*) FROM program_starts").await, [[3]]);
}

#[tokio::test]
async fn connections_are_placed_where_they_waited() {
    let connections = "CREATE TABLE connections AS SELECT arrow_cast(opened, 'Timestamp(Nanosecond, Some(\"UTC\"))')
            AS opened_time, hop, connect_ns, connect_outcome, syn_retransmits, accept_wait_ns, src_addr, src_port,
            dst_addr, dst_port, connection_id, client_process_id, server_process_id
        FROM (VALUES
            (1000, 'a -> b:80', 200, 'ok', 0, 6000000, 'x', 1, 'y', 80, 1, 1, 2),
            (2000, 'a -> b:80', 300, 'ok', 2, 4000000, 'x', 2, 'y', 80, 2, 1, 2),
            (3000, 'a -> b:80', 400, 'refused', 0, NULL, 'x', 3, 'y', 80, 3, 1, 2),
            (4000, 'a -> b:80', NULL, 'abandoned', 1, NULL, 'x', 4, 'y', 80, 4, 1, 2),
            (5000, 'a -> c:53', 100, 'ok', NULL, NULL, 'x', 5, 'z', 53, 5, 1, 2),
            (NULL, 'a -> b:80', NULL, NULL, 3, 9000000, 'x', 6, 'y', 80, 6, 1, 2))
        AS t (opened, hop, connect_ns, connect_outcome, syn_retransmits, accept_wait_ns, src_addr, src_port, dst_addr,
              dst_port, connection_id, client_process_id, server_process_id)";
    let context = with(&[connections]).await;
    for (view, columns, expected) in [
        ("listen_queue_waits", "time, end_time, duration_ns", vec![vec![1_200, 6_001_200, 6_000_000]]),
        (
            "syn_retransmissions",
            "time, end_time, syn_retransmits",
            vec![vec![2000, 2300, 2], vec![4000, 4000, 1]],
        ),
        ("failed_connects", "time, end_time, connection_id", vec![vec![3000, 3400, 3]]),
        ("opened_connections", "connection_id", vec![vec![1], vec![2], vec![3], vec![4]]),
        ("name_server_connections", "time, connection_id", vec![vec![5000, 5]]),
    ] {
        let query = format!("SELECT {columns} FROM {view} ORDER BY time");
        assert_eq!(rows(&context, &query).await, expected, "{view}");
    }
}

#[tokio::test]
async fn a_listener_drops_once_what_two_threads_find() {
    let tcp = "CREATE TABLE tcp AS SELECT * FROM (VALUES
        (9000, 'listen_drop', 7, 1, 3, 5, 2000), (9001, 'listen_drop', 7, 1, 3, 5, 2000), (9500, 'listen_drop', 7, NULL, 1, 6, 400),
        (9600, 'rtt', 8, 1, NULL, NULL, NULL)) AS t (boot_ns, kind, socket_id, process_id, drops, total_drops, since_ns)";
    let sockets = "CREATE TABLE sockets AS SELECT * FROM (VALUES (7, 1, '0.0.0.0', 80)) AS t
        (socket_id, process_id, local_addr, local_port)";
    let context = with(&[PROCESSES, tcp, sockets]).await;
    let query = "SELECT time, end_time, duration_ns, drops, local_port, process_id FROM listen_drops
        WHERE process = 'shop' ORDER BY time";
    let expected = [[7000, 9000, 2000, 3, 80, 1], [9100, 9500, 400, 1, 80, 1]];
    assert_eq!(rows(&context, query).await, expected);
}

#[tokio::test]
async fn a_flow_record_has_the_last_counters_of_an_end() {
    let flows = "CREATE TABLE flows AS SELECT column1 AS boot_ns, column2 AS seq, column3 AS socket_id, column4 AS process_id,
            column5 AS sent_bytes, column6 AS retransmitted_bytes, column7 AS received_bytes, column8 AS sent_segments,
            column9 AS received_segments, column10 AS retransmitted_segments, column11 AS rtt_us, column12 AS min_rtt_us,
            column13 AS busy_ns, column14 AS receiver_limited_ns, column15 AS buffer_limited_ns
        FROM (VALUES
            (500, 1, 7, 1, 10, 0, 5, 1, 1, 0, 900, 700, 40, 20, 0),
            (900, 2, 7, 1, 130, 30, 50, 4, 3, 1, 300, 700, 400, 200, 100),
            (800, 9, 8, NULL, 50, 0, 101, 3, 3, 0, NULL, NULL, NULL, NULL, NULL))";
    let tcp = "CREATE TABLE tcp AS SELECT * FROM (VALUES
        (7, 'rtt', 600), (7, 'retransmit', NULL), (9, 'rtt', 1)) AS t (socket_id, kind, rtt_us)";
    let sockets = "CREATE TABLE sockets AS SELECT column1 AS socket_id, column2 AS process_id, column3 AS role,
            column4 AS opened_boot_ns, column5 AS closed_boot_ns, 'x' AS local_addr, 1 AS local_port, 'y' AS remote_addr,
            80 AS remote_port
        FROM (VALUES (7, 1, 'client', 100, 900), (8, 2, 'server', NULL, NULL), (9, 1, 'client', 1, 2))";
    let connections = "CREATE TABLE connections AS SELECT * FROM (VALUES
        (7, 7, NULL, 'shop -> b:80', 'client', 'fin')) AS t
        (connection_id, client_socket_id, server_socket_id, hop, closed_by, close_kind)";
    let context = with(&[PROCESSES, flows, tcp, sockets, connections]).await;
    let client =
        "SELECT time, end_time, duration_ns, sent_bytes, retransmitted_bytes, received_bytes, sent_segments,
            min_rtt_us, mean_rtt_us, max_rtt_us, receiver_limited_ns, buffer_limited_ns, connection_id
        FROM flow_records WHERE process = 'shop' AND closed_by = 'client' AND side = 'client'";
    assert_eq!(rows(&context, client).await, [[100, 900, 800, 100, 30, 50, 4, 300, 600, 900, 200, 100, 7]]);
    let server = "SELECT socket_id, process_id, received_bytes FROM flow_records
        WHERE side = 'server' AND hop IS NULL AND end_time IS NULL AND max_rtt_us IS NULL AND busy_ns IS NULL";
    assert_eq!(rows(&context, server).await, [[8, 2, 101]]);
    assert_eq!(rows(&context, "SELECT count(*) FROM flow_records").await, [[2]]);
}

#[tokio::test]
async fn a_burst_of_a_counter_is_far_above_its_median() {
    let row = |s: i64, netns: &str, source: &str, name: &str, instance: &str, delta: i64| {
        format!("({s}000000000, 1000000000, {netns}, NULL, '{source}', '{name}', {instance}, {delta}, 0)")
    };
    // A counter in every interval, so that all of them are known.
    let mut made: Vec<String> =
        (1..=10).map(|s| row(s, "NULL", "diskstats", "io_ticks_ms", "'vda'", 100)).collect();
    made.push(row(11, "NULL", "diskstats", "io_ticks_ms", "'vda'", 950));
    made.push(row(11, "NULL", "diskstats", "read_ios", "'vda'", 5000));
    // Two counters of a kind are one burst; so little of the other disk is none.
    made.push(row(5, "77", "netstat", "TcpExt.ListenOverflows", "NULL", 40));
    made.push(row(5, "77", "netstat", "TcpExt.TCPReqQFullDrop", "NULL", 2));
    made.push(row(5, "78", "netstat", "TcpExt.ListenOverflows", "NULL", 7));
    made.push(row(6, "NULL", "diskstats", "io_ticks_ms", "'vdb'", 100));
    // Of CPUs the busiest one counts.
    made.push(row(7, "NULL", "stat", "softirq_ms", "'0'", 300));
    made.push(row(7, "NULL", "stat", "softirq_ms", "'1'", 700));
    made.push(row(7, "NULL", "stat", "softirq_ms", "NULL", 1000));
    let counters = format!(
        "CREATE TABLE counters AS SELECT boot_ns, interval_ns, CAST(netns AS BIGINT) AS netns,
         CAST(process_id AS BIGINT) AS process_id, source, name, instance, delta, value FROM (VALUES {}) AS t
         (boot_ns, interval_ns, netns, process_id, source, name, instance, delta, value)",
        made.join(", ")
    );
    let sockets =
        "CREATE TABLE sockets AS SELECT * FROM (VALUES (1, 77), (1, 77), (2, 77)) AS t (process_id, netns)";
    let context = with(&[PROCESSES, sockets, &counters]).await;
    let query = "SELECT CAST(time AS BIGINT) / 1000000000, amount,
                 CASE WHEN subject IN ('batch, shop', 'namespace 78', 'the host', 'vda') THEN 1 ELSE 0 END,
                 CASE kind WHEN 'listen_overflow' THEN 1 WHEN 'softirq' THEN 2 WHEN 'disk_busy' THEN 3 END,
                 coalesce(CAST(instance = '1' AS INTEGER), 2), coalesce(netns, 0)
                 FROM counter_bursts ORDER BY time, netns";
    let expected =
        [[4, 42, 1, 1, 2, 77], [4, 7, 1, 1, 2, 78], [6, 700_000, 1, 2, 1, 0], [10, 950_000, 1, 3, 0, 0]];
    assert_eq!(rows(&context, query).await, expected);
}

#[tokio::test]
async fn connections_that_a_process_closes_at_once_are_one_row() {
    let connection = |id: i64, by: &str, closed: i64| {
        format!("({id}, {id}00, {id}01, {closed}000000, '{by}', 'fin', 1, 2, 'a', 'b', '::1', '::2')")
    };
    // The shop closes six at once, of which peers notice the last a second later; the client closes many, each by itself.
    let mut made: Vec<String> = (0..6).map(|i| connection(i, "server", 5_000 + 200 * i)).collect();
    made.extend((10..20).map(|i| connection(i, "client", 1_000 * i)));
    let connections = format!(
        "CREATE TABLE connections AS SELECT connection_id, client_socket_id, server_socket_id,
         arrow_cast(closed, 'Timestamp(Nanosecond, Some(\"UTC\"))') AS closed_time, closed_by, close_kind,
         server_process_id, client_process_id, client_service, server_service, src_addr, dst_addr FROM (VALUES {}) AS t
         (connection_id, client_socket_id, server_socket_id, closed, closed_by, close_kind, server_process_id,
          client_process_id, client_service, server_service, src_addr, dst_addr)",
        made.join(", ")
    );
    let own: Vec<String> = (0..6).map(|i| format!("({i}01, {}000000)", 4_000 + i)).collect();
    let sockets = format!(
        "CREATE TABLE sockets AS SELECT * FROM (VALUES {}) AS t (socket_id, closed_boot_ns)",
        own.join(", ")
    );
    let context = with(&[PROCESSES, &connections, &sockets]).await;
    let query =
        "SELECT CAST(time AS BIGINT) / 1000000, duration_ns / 1000000, connections, resets, peers, process_id
                 FROM closed_together";
    assert_eq!(rows(&context, query).await, [[4_000, 5, 6, 0, 1, 1]]);
}
