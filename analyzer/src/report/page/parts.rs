//! What several parts of the page are made of.

use crate::report::draw::markup::Markup;
use crate::report::draw::scene::{Scene, Size};
use crate::report::draw::svg::{Place, draw};

/// A picture for a desk and for a phone; the style sheet shows one of them.
pub fn both(page: &mut Markup, draw_at: impl Fn(Size) -> Scene) {
    page.nest(&draw(&draw_at(Size::Wide), Place::Page, "picture wide"));
    page.nest(&draw(&draw_at(Size::Narrow), Place::Page, "picture narrow"));
}

/// A number that opens the rows that it was made of: those of a statement.
pub fn number(page: &mut Markup, text: &str, statement: &str) {
    let attributes = [
        ("type", "button".into()),
        ("class", "rows".into()),
        ("data-sql", statement.into()),
        ("title", "its rows".into()),
    ];
    page.element("button", &attributes, text);
}

/// A statement to copy.
pub fn sql(page: &mut Markup, statement: &str) {
    if statement.is_empty() {
        return;
    }
    page.raw("<div class=\"sql\"><pre><code>");
    // Line ends of a statement are ours to keep; everything else in it is shown as it is meant to be run.
    for (number, line) in statement.lines().enumerate() {
        if number > 0 {
            page.raw("\n");
        }
        page.text(line);
    }
    page.raw("</code></pre><button type=\"button\" class=\"copy\">Copy</button></div>");
}

/// A table of texts. A heading that begins with `#` is of numbers, one with `~` may break its lines.
pub fn table(page: &mut Markup, columns: &[&str], rows: &[Vec<String>]) {
    let rows: Vec<_> = rows.iter().map(|cells| (cells.clone(), None)).collect();
    table_of_rows(page, columns, &rows);
}

/// A table of which the numbers of a row open the rows that they were made of: those of its statement.
pub fn table_of_rows(page: &mut Markup, columns: &[&str], rows: &[(Vec<String>, Option<String>)]) {
    let class = |column: &str| match column.chars().next() {
        Some('#') => "n",
        Some('~') => "wide",
        _ => "",
    };
    page.raw("<div class=\"scroll tall\"><table class=\"rove\"><thead><tr>");
    for column in columns {
        page.element("th", &[("class", class(column).into())], column.trim_start_matches(['#', '~']));
    }
    page.raw("</tr></thead><tbody>");
    for (cells, statement) in rows {
        page.raw("<tr>");
        for (cell, column) in cells.iter().zip(columns) {
            page.open("td", &[("class", class(column).into())]);
            match statement.as_ref().filter(|_| column.starts_with('#')) {
                Some(statement) => number(page, cell, statement),
                None => {
                    page.text(cell);
                }
            }
            page.close("td");
        }
        page.raw("</tr>");
    }
    page.raw("</tbody></table></div>");
}
