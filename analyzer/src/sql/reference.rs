//! Reference pages that are written from the code; a test fails where one is stale.

use crate::sql::library::{self, Query};
use crate::tables;

/// The page of all tables that a capture does not hold itself: derived tables and views, in Markdown.
pub fn tables_page() -> Result<String, String> {
    let mut page = String::from(
        "# Derived tables and views\n\n\
         Written by `ACCEPT=1 cargo test` from `analyzer/src/tables/mod.rs` and the headers in `queries/views/`; \
         do not edit.\n\n\
         Derived tables are assembled from the raw tables (docs/format.md) when a query first asks for one, and \
         kept in `CAPTURE/derived/current/`, or in the user's cache folder where the capture cannot be written; \
         [reading.md](reading.md) reads them with other programs. In SQL, `events` has one column more than its \
         files: `time`, a timestamp, first. `wall_time(boot_ns)` turns any boot time into such a timestamp. \
         `processes` has `name`, last: what a process is called everywhere (docs/names.md). Times in files are UTC; \
         SQL has them in the zone of the recording host, or with `--utc` in UTC.\n\n",
    );
    for table in tables::ALL {
        page.push_str(&table.markdown());
        page.push('\n');
    }
    page.push_str(
        "# Views\n\n\
         `retrospan sql friday.cap \"SELECT * FROM stopped WHERE process = 'shop'\"` reads a view as any table. \
         `retrospan spikes` looks for causes in these views, and the statement that it prints with a finding reads \
         one of them. A view computes its rows when it is asked; one whose evidence was not recorded is empty. \
         `retrospan query show stopped` prints its SQL.\n\n\
         | view | what it holds |\n|---|---|\n",
    );
    let views = library::views()?;
    for view in &views {
        page.push_str(&format!("| [`{0}`](#{0}) | {1} |\n", view.name, view.summary));
    }
    for view in &views {
        page.push_str(&heading(view));
        page.push_str(&columns(view));
    }
    Ok(page)
}

/// The page of all queries, in Markdown.
pub fn queries_page() -> Result<String, String> {
    let mut page = String::from(
        "# The query library\n\n\
         Written by `ACCEPT=1 cargo test` from the headers in `queries/`; do not edit.\n\n\
         `retrospan query run NAME CAPTURE --parameter value` runs one, `retrospan query show NAME` prints its SQL.\n",
    );
    for query in library::all()? {
        page.push_str(&heading(&query));
        page.push_str(&parameters(&query));
        page.push_str(&columns(&query));
    }
    Ok(page)
}

fn heading(query: &Query) -> String {
    let mut text = format!("\n## `{}`\n\n{}\n", query.name, query.summary);
    if !query.doc.is_empty() {
        text.push_str(&format!("\n{}\n", query.doc.join("\n")));
    }
    text
}

fn parameters(query: &Query) -> String {
    let mut text = String::new();
    if !query.parameters.is_empty() {
        text.push_str("\n| parameter | type | default | meaning |\n|---|---|---|---|\n");
    }
    for p in &query.parameters {
        let option = p.name.replace('_', "-");
        let allowed = match p.allowed.words() {
            words if words.is_empty() => words,
            words => format!(", {words}"),
        };
        let ty = p.ty.name();
        text.push_str(&format!("| `--{option}` | {ty}{allowed} | `{}` | {} |\n", p.default, p.doc));
    }
    text
}

fn columns(query: &Query) -> String {
    let mut text = String::from("\n| column | type | meaning |\n|---|---|---|\n");
    for c in &query.columns {
        text.push_str(&format!("| `{}` | {} | {} |\n", c.name, c.ty.name(), c.doc));
    }
    text
}

#[cfg(test)]
mod tests {
    /// Compares a page under docs/ with what it should be; with `ACCEPT` set, rewrites it.
    fn check(name: &str, expected: &str) {
        let path = format!("{}/../docs/{name}", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("ACCEPT").is_some() {
            std::fs::write(&path, expected).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(found == expected, "docs/{name} is stale: run ACCEPT=1 cargo test");
    }

    #[test]
    fn the_tables_page_is_up_to_date() {
        check("tables.md", &super::tables_page().unwrap());
    }

    #[test]
    fn the_queries_page_is_up_to_date() {
        check("queries.md", &super::queries_page().unwrap());
    }
}
