//! Reference pages that are written from the code; a test fails where one is stale.

use crate::tables;

/// The page of all derived tables, in Markdown.
pub fn derived_tables() -> String {
    let mut page = String::from(
        "# The derived tables\n\n\
         Written by `ACCEPT=1 cargo test` from `analyzer/src/tables/mod.rs`; do not edit.\n\n\
         They are assembled from the raw tables (docs/format.md) when a query first asks for one, and kept in \
         `CAPTURE/derived/`, or in the user's cache folder where the capture cannot be written. In SQL, `events` has one \
         column more than its files: `time`, a UTC timestamp, first. `wall_time(boot_ns)` turns any boot time \
         into such a timestamp.\n\n",
    );
    for table in tables::ALL {
        page.push_str(&table.markdown());
        page.push('\n');
    }
    page
}

/// Compares a page under docs/ with what it should be; with `ACCEPT` set, rewrites it.
#[cfg(test)]
pub fn check(name: &str, expected: &str) {
    let path = format!("{}/../docs/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("ACCEPT").is_some() {
        std::fs::write(&path, expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "docs/{name} is stale: run ACCEPT=1 cargo test");
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_tables_page_is_up_to_date() {
        super::check("tables.md", &super::derived_tables());
    }
}
