//! The views of the query library, as tables of a session.
//!
//! A view is planned when a query names it. Registering the views plans none of them and reads nothing.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::datasource::ViewTable;
use datafusion::execution::SessionState;
use datafusion::logical_expr::TableType;
use datafusion::prelude::SessionContext;

use crate::sql::library;

/// Adds the views to the tables of a session, also to those that are registered later.
pub fn register(context: &SessionContext) -> Result<()> {
    let names = context.copied_config().options().catalog.clone();
    let catalog = context.catalog(&names.default_catalog);
    let tables = catalog.as_ref().and_then(|catalog| catalog.schema(&names.default_schema));
    let (Some(catalog), Some(tables)) = (catalog, tables) else {
        return internal_err!("a session without tables can have no views");
    };
    // The session owns the catalog, so the catalog must not own the session.
    let session = context.state_weak_ref();
    let state = Box::new(move || session.upgrade().map(|state| state.read().clone()));
    catalog.register_schema(&names.default_schema, Arc::new(Views { tables, state }))?;
    Ok(())
}

/// The tables of a session, and the views over them.
struct Views {
    tables: Arc<dyn SchemaProvider>,
    /// What the session knows; None where it has ended.
    state: Box<dyn Fn() -> Option<SessionState> + Send + Sync>,
}

impl Views {
    async fn planned(&self, sql: &str) -> Result<Arc<dyn TableProvider>> {
        let Some(state) = (self.state)() else {
            return internal_err!("the session of a view has ended");
        };
        let plan = state.create_logical_plan(sql).await?;
        Ok(Arc::new(ViewTable::new(plan, Some(sql.to_owned()))))
    }
}

impl fmt::Debug for Views {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Views").field("tables", &self.tables).finish_non_exhaustive()
    }
}

#[async_trait]
impl SchemaProvider for Views {
    fn table_names(&self) -> Vec<String> {
        let views = library::VIEWS.iter().map(|(name, _)| (*name).to_owned());
        self.tables.table_names().into_iter().chain(views).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        match library::view(name) {
            Some(sql) => self.planned(sql).await.map(Some),
            None => self.tables.table(name).await,
        }
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        match library::view(name) {
            Some(_) => Ok(Some(TableType::View)),
            None => self.tables.table_type(name).await,
        }
    }

    fn register_table(
        &self,
        name: String,
        table: Arc<dyn TableProvider>,
    ) -> Result<Option<Arc<dyn TableProvider>>> {
        self.tables.register_table(name, table)
    }

    fn deregister_table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        self.tables.deregister_table(name)
    }

    fn table_exist(&self, name: &str) -> bool {
        library::view(name).is_some() || self.tables.table_exist(name)
    }
}

#[cfg(test)]
mod tests;
