//! The protocols that recorder and analyzer read, each behind the same interface.
//!
//! * [`protocol`]: what a protocol has to tell ([`Protocol`], [`Framing`]); [`parts`]: the runs of bytes that framing
//!   makes of calls; [`operation`]: what a message is called and what it says.
//! * [`detect`]: which protocol some bytes belong to. [`blank`]: what of a call may be stored. [`context`]: trace
//!   contexts that requests carry. `queue`: which request an answer belongs to. `frames`: framing of protocols whose messages
//!   consist of frames that say how long they are. [`redact`]: all of it together, a call at a time: what of its payload may
//!   reach the disk.
//! * [`turns`]: exchanges of what nobody can read. [`tunnel`]: connections that become those of another protocol.
//! * A file or folder a protocol: [`PROTOCOLS`] has them all.
//!
//! A new protocol is a file of its own and a line in [`PROTOCOLS`]; CONTRIBUTING.md has the steps.

pub mod amqp;
pub mod blank;
pub mod context;
pub mod cql;
pub mod detect;
pub mod dns;
pub mod dubbo;
pub mod fastcgi;
mod frames;
pub mod http1;
pub mod http2;
pub mod kafka;
pub mod memcached;
mod messaging;
pub mod mongodb;
pub mod mqtt;
pub mod mysql;
pub mod nats;
pub mod operation;
pub mod parts;
pub mod postgresql;
pub mod protocol;
mod queue;
pub mod redact;
pub mod redis;
pub mod semconv;
mod sql;
#[cfg(test)]
mod testing;
pub mod thrift;
pub mod tls;
pub mod tunnel;
pub mod turns;
pub mod websocket;

pub use operation::{Operation, Status, Title, Value, ValueRef};
pub use parts::{Call, Direction, HeadInfo, Part, What};
pub use protocol::{Framing, Keep, Memory, Protocol, Signature, Verdict};

/// Every protocol. Connections whose bytes tell nothing are read as the first one. Captures name them by their places here
/// ([`detect::number`]): new ones go to the end.
pub static PROTOCOLS: [&dyn Protocol; 18] = [
    &http1::Http1,
    &redis::Redis,
    &mysql::MySql,
    &mongodb::MongoDb,
    &dns::Dns,
    &kafka::Kafka,
    &dubbo::Dubbo,
    &thrift::Thrift,
    &http2::Http2,
    &amqp::Amqp,
    &memcached::Memcached,
    &nats::Nats,
    &postgresql::PostgreSql,
    &tls::Tls,
    &mqtt::Mqtt,
    &fastcgi::FastCgi,
    &cql::Cassandra,
    &websocket::WebSocket,
];
