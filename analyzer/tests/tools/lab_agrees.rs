//! The witnesses of the other tests agree with each other: clients, proxies and
//! servers, without any recording.

use crate::lab::chain::Chain;
use crate::lab::client::{Connection, Request};
use crate::lab::envoy::{Envoy, Mode};
use crate::lab::{folder, lab_or_skip, load, servers};

#[test]
fn raw_client_and_nginx_count_the_same_bytes() {
    let Some(_turn) = lab_or_skip("raw_client_and_nginx_count_the_same_bytes") else { return };
    let dir = folder();
    let nginx = servers::nginx(dir.path(), None);
    let mut connection = Connection::open(nginx.port);
    let requests = [
        Request::new("GET", "/size-8192"),
        Request::new("HEAD", "/size-8192"),
        Request::new("GET", "/status/204"),
        Request::new("GET", "/size-1000000"),
        Request::new("GET", "/none"),
    ];
    let exchanges: Vec<_> = requests.iter().map(|request| connection.exchange(request)).collect();
    for (row, exchange) in nginx.wait_served(requests.len()).iter().zip(&exchanges) {
        assert_eq!(
            (row.remote_port, &row.method, &row.path),
            (exchange.client_port, &exchange.method, &exchange.path)
        );
        assert_eq!(Some(row.status), exchange.status);
        assert_eq!(row.request_bytes, Some(exchange.request_bytes), "{row:?}");
        assert_eq!(row.response_bytes, Some(exchange.response_bytes), "{row:?}");
        assert_eq!(row.body_bytes, Some(exchange.response_body_bytes), "{row:?}");
    }
}

#[test]
fn curl_and_nginx_count_the_same_bytes() {
    let Some(_turn) = lab_or_skip("curl_and_nginx_count_the_same_bytes") else { return };
    let dir = folder();
    let nginx = servers::nginx(dir.path(), None);
    let curled = load::curl(nginx.port, &["/size-1", "/size-65536"], &[]);
    for (row, curled) in nginx.wait_served(2).iter().zip(&curled) {
        assert_eq!((row.remote_port, &row.path), (curled.exchange.client_port, &curled.exchange.path));
        assert_eq!(row.request_bytes, Some(curled.exchange.request_bytes));
        assert_eq!(row.response_bytes, Some(curled.exchange.response_bytes));
    }
    assert_eq!(curled[0].exchange.client_port, curled[1].exchange.client_port, "curl kept its connection");
}

#[test]
fn the_go_server_answers_in_every_way() {
    let Some(_turn) = lab_or_skip("the_go_server_answers_in_every_way") else { return };
    let dir = folder();
    let go = servers::go(dir.path(), 300_000);
    let mut connection = Connection::open(go.port);
    let mut get = |path: &str| {
        connection.send(&Request::new("GET", path).bytes());
        connection.response("GET")
    };
    assert_eq!(get("/size/16384").body_bytes, 16_384);
    assert_eq!(get("/chunked/4500").body_bytes, 4_500);
    assert_eq!(get("/hints").interim, [103]);
    assert_eq!(get("/status/304").status, 304);
    assert_eq!(get("/file").body_bytes, 300_000);
    let echo = Request::new("POST", "/echo").header("Expect", "100-continue").body(vec![b'x'; 5000]);
    connection.send(&echo.head());
    connection.send(&echo.body);
    let response = connection.response("POST");
    assert_eq!((response.status, response.body_bytes), (200, 5_000));
    let rows = go.wait_served(6);
    assert!(rows.iter().all(|row| row.remote_port == connection.local_port));
    assert_eq!(rows[4].body_bytes, Some(300_000));
}

#[test]
fn python_logs_what_curl_fetched() {
    let Some(_turn) = lab_or_skip("python_logs_what_curl_fetched") else { return };
    let dir = folder();
    let python = servers::python(dir.path(), "HTTP/1.0");
    let curled = load::curl(python.port, &["/size-8191", "/none"], &[]);
    let rows = python.wait_served(2);
    let seen: Vec<_> = rows.iter().map(|row| (row.remote_port, Some(row.status), row.path.clone())).collect();
    let made = curled.into_iter().map(|c| (c.exchange.client_port, c.exchange.status, c.exchange.path));
    assert_eq!(seen, made.collect::<Vec<_>>());
}

#[test]
fn the_chain_names_the_way_of_every_connection() {
    let Some(_turn) = lab_or_skip("the_chain_names_the_way_of_every_connection") else { return };
    let chain = Chain::start();
    load::ab(chain.port(), "/size/100", 200, 16, true);
    load::ab(chain.port(), "/size/100", 40, 4, false);
    let rows = chain.server.wait_served(240);
    // Idle keep-alive connections of ab's are closed by its end.
    let ways = chain.ways(56);
    assert!(ways.len() >= 56, "16 kept and 40 single connections: {}", ways.len());
    assert!(rows.iter().all(|row| ways.iter().any(|way| way.ports[2] == row.remote_port)));
}

#[test]
fn an_http_envoy_logs_each_request() {
    let Some(_turn) = lab_or_skip("an_http_envoy_logs_each_request") else { return };
    let dir = folder();
    let go = servers::go(dir.path(), 1);
    let envoy = Envoy::start("http", dir.path(), Mode::Http, go.port);
    let given_up = load::curl(envoy.port, &["/sleep/1500"], &["--max-time", "0.3"]);
    assert_eq!(given_up[0].exit_code, 28);
    load::curl(envoy.port, &["/size/10"], &[]);
    let rows = envoy.wait_carried(2);
    assert_eq!((rows[0].code, rows[0].flags.as_str()), (0, "DC"), "the client that gave up");
    assert_eq!((rows[1].code, rows[1].sent_bytes), (200, 10));
}
