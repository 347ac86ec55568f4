//! Spans to small integers, many a second: one coder a thread, which asks the shared keys only for what it has not met.

use std::sync::{PoisonError, RwLock, RwLockWriteGuard};

use super::groups::{Coded, Keys};
use super::rows::Rows;
use crate::hashing::IntMap;

/// Codes that are remembered; beyond them all are forgotten.
const MOST_CODES: usize = 1 << 20;

/// What one thread has met.
#[derive(Debug, Default)]
pub struct Coder {
    /// By the views of operation and target: texts that repeat within a batch mostly share one view, and comparing views is
    /// quicker than texts. A view means nothing in another batch.
    routes: IntMap<(u128, u128), u32>,
    /// By connection, route and side.
    codes: IntMap<(i64, u64), Option<Coded>>,
    coded: Vec<Option<Coded>>,
}

impl Coder {
    /// The code of each row; None where its connection is unknown.
    pub fn code(&mut self, rows: &Rows, keys: &RwLock<Keys>) -> &[Option<Coded>] {
        self.routes.clear();
        self.coded.clear();
        if self.codes.len() > MOST_CODES {
            self.codes.clear();
        }
        for row in 0..rows.len() {
            let key = rows.views(row);
            let route = match self.routes.get(&key) {
                Some(&route) => route,
                None => {
                    let route = locked(keys).route(rows.operation(row), rows.target(row));
                    self.routes.insert(key, route);
                    route
                }
            };
            let (connection_id, server) = (rows.connection_id(row), rows.is_server(row));
            let key = (connection_id, u64::from(route) << 1 | u64::from(server));
            let code = match self.codes.get(&key) {
                Some(&code) => code,
                None => {
                    let code = locked(keys).of_route(connection_id, server, route);
                    self.codes.insert(key, code);
                    code
                }
            };
            self.coded.push(code);
        }
        &self.coded
    }
}

fn locked(keys: &RwLock<Keys>) -> RwLockWriteGuard<'_, Keys> {
    keys.write().unwrap_or_else(PoisonError::into_inner)
}
