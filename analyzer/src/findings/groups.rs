//! Which streams a span belongs to.
//!
//! Spans of one side, one pair of processes and one route share a [`SpanClass`]; a stream is a set of classes. So a span's texts are
//! looked at once, and everything after that counts small integers.

use std::collections::HashMap;

use datafusion::arrow::array::{Array, AsArray, Int64Array, RecordBatch, StringViewArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use serde::Serialize;

use crate::error::Result;
use crate::hashing::IntMap;
use crate::sql::session;
use crate::tables::columns::typed;
use crate::tables::spans::Sides;

/// What spans are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The answering process and its port, by server spans.
    Service,
    /// Requesting process, answering process and port, by client spans where there are any.
    Hop,
    /// Operation and target of a service (method and path); numbers and ids in the target are one.
    Route,
    /// The requesting address at a service.
    Peer,
    /// One connection.
    Connection,
}

impl By {
    /// Every grouping, in the order in which equally good findings are named.
    pub const ALL: [By; 5] = [By::Hop, By::Service, By::Route, By::Peer, By::Connection];

    /// The name used on the command line.
    pub fn name(self) -> &'static str {
        match self {
            By::Service => "service",
            By::Hop => "hop",
            By::Route => "route",
            By::Peer => "peer",
            By::Connection => "connection",
        }
    }
}

/// A value of a grouping.
#[derive(Clone, Debug)]
pub struct Group {
    /// The grouping.
    pub by: By,
    /// The value, as it is shown.
    pub label: String,
    /// A condition over the columns of `spans` that holds for its spans, and for others of the same name only.
    pub condition: String,
}

/// What spans of one kind have in common.
#[derive(Clone, Debug)]
pub struct SpanClass {
    /// Server spans.
    pub server: bool,
    /// The hop's stream.
    pub hop: u32,
    /// Streams that count these spans.
    pub streams: Vec<u32>,
    /// Requesting process.
    pub client: Box<str>,
    /// Answering process.
    pub answering: Box<str>,
    /// Process whose own time the span's is.
    pub process: Box<str>,
    /// Operation and target.
    pub route: Box<str>,
    /// Requesting address.
    pub src_addr: Box<str>,
    /// Answering port.
    pub dst_port: Option<i64>,
}

/// What is known of a connection.
#[derive(Clone, Copy, Debug)]
struct Connection {
    pair: u32,
    has_client: bool,
    stream: u32,
}

/// Processes, addresses and port that connections have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Pair {
    client: Box<str>,
    server: Box<str>,
    src_addr: Box<str>,
    hop: Box<str>,
    dst_port: Option<i64>,
}

/// Everything that has been given a number so far.
#[derive(Debug, Default)]
pub struct Keys {
    /// Streams by number.
    pub streams: Vec<Group>,
    /// Classes by number.
    pub classes: Vec<SpanClass>,
    /// What spans of either side are.
    pub sides: Sides,
    stream_numbers: HashMap<(By, String), u32>,
    class_numbers: IntMap<u128, u32>,
    pairs: Vec<Pair>,
    pair_numbers: HashMap<Pair, u32>,
    connections: IntMap<i64, Connection>,
    operations: Vec<Box<str>>,
    /// Targets to templates.
    targets: HashMap<Box<str>, u32>,
    templates: Vec<Box<str>>,
    template_numbers: HashMap<Box<str>, u32>,
    routes: Vec<Route>,
    route_numbers: IntMap<u64, u32>,
}

/// What requests of a route have in common.
#[derive(Clone, Debug)]
struct Route {
    label: Box<str>,
    condition: Box<str>,
}

/// Routes beyond these are one.
const MOST_ROUTES: usize = 500;
const OTHER_ROUTES: &str = "(others)";
/// Targets remembered with their template.
const MOST_TARGETS: usize = 1 << 18;
/// Connections with fewer requests are no stream of their own.
const FEWEST_REQUESTS_OF_A_CONNECTION: i64 = 500;
const NO_STREAM: u32 = u32::MAX;

/// One span, as numbers.
#[derive(Clone, Copy, Debug)]
pub struct Coded {
    /// Its class.
    pub class: u32,
    /// Its connection's stream; None where it has too few requests.
    pub connection: Option<u32>,
    /// Counts for its hop: a client span, or a server span whose client was not recorded.
    pub of_hop: bool,
}

impl Keys {
    /// Reads who talks to whom from `connections` and `processes`.
    pub async fn read(context: &SessionContext, sides: Sides) -> Result<Keys> {
        let query = "SELECT c.connection_id, c.requests, c.client_socket_id, c.src_addr, c.src_port, c.dst_port, c.hop,
                coalesce(client.name, c.src_addr) AS client, coalesce(server.name, c.dst_addr) AS server
             FROM connections c
             LEFT JOIN processes client ON client.process_id = c.client_process_id
             LEFT JOIN processes server ON server.process_id = c.server_process_id
             WHERE c.requests > 0 ORDER BY c.connection_id";
        let mut keys = Keys { sides, ..Keys::default() };
        let mut batches = session::plan(context, query).await?.execute_stream().await?;
        while let Some(batch) = batches.next().await.transpose()? {
            keys.connections(&batch)?;
        }
        Ok(keys)
    }

    fn connections(&mut self, batch: &RecordBatch) -> Result<()> {
        let number = |name| {
            Ok::<Int64Array, crate::error::Error>(
                typed(batch, name, &DataType::Int64)?.as_primitive().clone(),
            )
        };
        let text = |name| {
            Ok::<StringViewArray, crate::error::Error>(
                typed(batch, name, &DataType::Utf8View)?.as_string_view().clone(),
            )
        };
        let (ids, requests, client_sockets) =
            (number("connection_id")?, number("requests")?, number("client_socket_id")?);
        let (src_ports, dst_ports) = (number("src_port")?, number("dst_port")?);
        let (src, hops) = (text("src_addr")?, text("hop")?);
        let (clients, servers) = (text("client")?, text("server")?);
        let of = |column: &StringViewArray, row| {
            if column.is_valid(row) { column.value(row).into() } else { Box::from("") }
        };
        for row in 0..batch.num_rows() {
            let pair = Pair {
                client: of(&clients, row),
                server: of(&servers, row),
                src_addr: of(&src, row),
                hop: of(&hops, row),
                dst_port: dst_ports.is_valid(row).then(|| dst_ports.value(row)),
            };
            let has_client = client_sockets.is_valid(row);
            let mut stream = NO_STREAM;
            // Without a port it is a lost one, or stands for all between two processes.
            if requests.value(row) >= FEWEST_REQUESTS_OF_A_CONNECTION && src_ports.is_valid(row) {
                let src_port = src_ports.value(row);
                let label = format!("{} (from {}:{src_port})", pair.hop, pair.src_addr);
                let condition = format!("kind <> 'internal' AND connection_id = {}", ids.value(row));
                stream = self.stream(By::Connection, label, condition);
            }
            let pair = match self.pair_numbers.get(&pair) {
                Some(&number) => number,
                None => {
                    let number = self.pairs.len() as u32;
                    self.pairs.push(pair.clone());
                    self.pair_numbers.insert(pair, number);
                    number
                }
            };
            self.connections.insert(ids.value(row), Connection { pair, has_client, stream });
        }
        Ok(())
    }

    /// The numbers of a span; None where its connection is unknown.
    pub fn code(&mut self, connection_id: i64, server: bool, operation: &str, target: &str) -> Option<Coded> {
        let route = self.route(operation, target);
        self.of_route(connection_id, server, route)
    }

    /// The numbers of a span whose route has one.
    pub fn of_route(&mut self, connection_id: i64, server: bool, route: u32) -> Option<Coded> {
        let connection = *self.connections.get(&connection_id)?;
        let key = u128::from(connection.pair) << 64
            | u128::from(route) << 2
            | u128::from(server) << 1
            | u128::from(connection.has_client);
        let class = match self.class_numbers.get(&key) {
            Some(&class) => class,
            None => {
                let class = self.classes.len() as u32;
                let new = self.class(connection, server, route);
                self.classes.push(new);
                self.class_numbers.insert(key, class);
                class
            }
        };
        let of_hop = !server || !connection.has_client;
        let stream = (of_hop && connection.stream != NO_STREAM).then_some(connection.stream);
        Some(Coded { class, connection: stream, of_hop })
    }

    fn class(&mut self, connection: Connection, server: bool, route: u32) -> SpanClass {
        let pair = self.pairs[connection.pair as usize].clone();
        let route = self.routes[route as usize].clone();
        let service = service_label(&pair);
        let port = pair.dst_port.map_or("dst_port IS NULL".to_owned(), |port| format!("dst_port = {port}"));
        let Sides { asking, answering, .. } = self.sides;
        let at_service = format!("{port} AND {answering}{}", process_condition(&pair.server));
        let of_side = if connection.has_client { asking } else { answering };
        let connections = format!("SELECT connection_id FROM connections WHERE hop = {}", quoted(&pair.hop));
        let hop = self.stream(
            By::Hop,
            pair.hop.to_string(),
            format!("{of_side} AND connection_id IN ({connections})"),
        );
        let mut streams = Vec::new();
        if server {
            streams.push(self.stream(By::Service, service.clone(), at_service.clone()));
            let of_route = format!("{at_service} AND {}", route.condition);
            streams.push(self.stream(By::Route, format!("{} on {service}", route.label), of_route));
            if !pair.src_addr.is_empty() {
                let from = format!("{at_service} AND src_addr = {}", quoted(&pair.src_addr));
                streams.push(self.stream(By::Peer, format!("{} at {service}", pair.src_addr), from));
            }
        }
        if !server || !connection.has_client {
            streams.push(hop);
        }
        SpanClass {
            server,
            hop,
            streams,
            process: if server { pair.server.clone() } else { pair.client.clone() },
            client: pair.client,
            answering: pair.server,
            route: route.label,
            src_addr: pair.src_addr,
            dst_port: pair.dst_port,
        }
    }

    /// The number of a hop's stream by its name; a hop to which no connection was established may have no span.
    pub fn hop(&mut self, label: &str) -> u32 {
        if let Some(&number) = self.stream_numbers.get(&(By::Hop, label.to_owned())) {
            return number;
        }
        let connections = format!("SELECT connection_id FROM connections WHERE hop = {}", quoted(label));
        self.stream(By::Hop, label.to_owned(), format!("connect_connection_id IN ({connections})"))
    }

    fn stream(&mut self, by: By, label: String, condition: String) -> u32 {
        if let Some(&number) = self.stream_numbers.get(&(by, label.clone())) {
            return number;
        }
        let number = self.streams.len() as u32;
        self.stream_numbers.insert((by, label.clone()), number);
        self.streams.push(Group { by, label, condition });
        number
    }

    /// The number of an operation and target.
    pub fn route(&mut self, operation: &str, target: &str) -> u32 {
        let template = match self.targets.get(target) {
            Some(&number) => number,
            None => {
                let number = self.template(&template(target));
                if self.targets.len() < MOST_TARGETS {
                    self.targets.insert(target.into(), number);
                }
                number
            }
        };
        // Operations are few: their position is found by comparing.
        let position = self.operations.iter().position(|known| **known == *operation);
        let operation_number = position.unwrap_or_else(|| {
            self.operations.push(operation.into());
            self.operations.len() - 1
        });
        let key = (operation_number as u64) << 32 | u64::from(template);
        *self.route_numbers.entry(key).or_insert_with(|| {
            self.routes.push(Route::of(operation, &self.templates[template as usize]));
            self.routes.len() as u32 - 1
        })
    }

    fn template(&mut self, template: &str) -> u32 {
        let template = if self.templates.len() >= MOST_ROUTES { OTHER_ROUTES } else { template };
        match self.template_numbers.get(template) {
            Some(&number) => number,
            None => {
                let number = self.templates.len() as u32;
                self.templates.push(template.into());
                self.template_numbers.insert(template.into(), number);
                number
            }
        }
    }
}

fn service_label(pair: &Pair) -> String {
    pair.dst_port.map_or(pair.server.to_string(), |port| format!("{}:{port}", pair.server))
}

fn process_condition(process: &str) -> String {
    format!(" AND process = {}", quoted(process))
}

/// As a SQL string.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

impl Route {
    /// The operation, and the target or what its template stands for; either may be empty.
    fn of(operation: &str, template: &str) -> Route {
        let name = if operation.is_empty() { "?" } else { operation };
        let label = format!("{name} {template}").trim_end().into();
        let of_operation = match operation {
            "" => "operation IS NULL".to_owned(),
            operation => format!("operation = {}", quoted(operation)),
        };
        let condition = match template {
            OTHER_ROUTES => of_operation,
            "" => format!("{of_operation} AND {TARGET} IS NULL"),
            template if template.contains("{}") => {
                let segment = |segment: &str| match segment {
                    "{}" => "([0-9]+|[0-9a-fA-F-]{8,}|[^/]{41,})".to_owned(),
                    segment => literally(segment),
                };
                let pattern = template.split('/').map(segment).collect::<Vec<_>>().join("/");
                format!("{of_operation} AND {TARGET} ~ {}", quoted(&format!("^{pattern}$")))
            }
            template => format!("{of_operation} AND {TARGET} = {}", quoted(template)),
        };
        Route { label, condition: condition.into() }
    }
}

/// By what requests of one operation are told apart.
const TARGET: &str = "coalesce(route, target)";

/// As a regular expression that matches nothing else.
fn literally(text: &str) -> String {
    let escaped = |c: char| if "\\.+*?()|[]{}^$#&-~".contains(c) { format!("\\{c}") } else { c.to_string() };
    text.chars().map(escaped).collect()
}

/// The target with numbers and ids replaced.
fn template(target: &str) -> String {
    let segment = |segment: &str| {
        let digits = segment.bytes().filter(u8::is_ascii_digit).count();
        let hexadecimal = segment.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        let id = digits > 0 && (digits == segment.len() || (segment.len() >= 8 && hexadecimal));
        if id || segment.len() > 40 { "{}".to_owned() } else { segment.to_owned() }
    };
    target.split('/').map(segment).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_ids_in_a_path_are_one() {
        assert_eq!(template("/orders/17/lines/3"), "/orders/{}/lines/{}");
        assert_eq!(template("/u/4bf92f35-77b3-4da6-a3ce-929d0e0e4736"), "/u/{}");
        assert_eq!(template("/v2/cafe/deadbeef"), "/v2/cafe/deadbeef");
        assert_eq!(template("/"), "/");
    }

    /// Which of some paths, all of GET but the last, the statement of a route selects.
    async fn selected(path: &str) -> Vec<String> {
        let condition = Route::of("GET", &template(path)).condition;
        let rows = "(VALUES ('GET', '/orders'), ('GET', '/orders/17'), ('GET', '/orders/18'), ('GET', '/orders/new'),
            ('GET', '/orders/17/lines'), ('GET', '/o''k.(a|b)/7'), ('GET', '/o''kx(a|b)/7'), ('POST', '/orders/17')) AS t(operation, target)";
        let sql = format!(
            "SELECT operation || ' ' || target AS row FROM (SELECT *, NULL AS route FROM {rows}) WHERE {condition} ORDER BY row"
        );
        let batches = SessionContext::new().sql(&sql).await.expect(&sql).collect().await.expect(&sql);
        let texts = batches.iter().map(|batch| {
            datafusion::arrow::compute::cast(batch.column(0), &DataType::Utf8View).expect("texts")
        });
        texts
            .flat_map(|t| t.as_string_view().iter().flatten().map(str::to_owned).collect::<Vec<_>>())
            .collect()
    }

    #[tokio::test]
    async fn the_statement_of_a_route_selects_its_requests_only() {
        assert_eq!(selected("/orders").await, ["GET /orders"]);
        assert_eq!(selected("/orders/99").await, ["GET /orders/17", "GET /orders/18"]);
        assert_eq!(selected("/o'k.(a|b)/9").await, ["GET /o'k.(a|b)/7"]);
        assert_eq!(selected("/o'k").await, Vec::<String>::new());
        assert_eq!(&*Route::of("GET", OTHER_ROUTES).condition, "operation = 'GET'");
        assert_eq!(&*Route::of("", "").condition, "operation IS NULL AND coalesce(route, target) IS NULL");
    }
}
