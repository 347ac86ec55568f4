//! What several parts of the page are made of.

use crate::report::draw::markup::Markup;
use crate::report::draw::scene::{Scene, Size};
use crate::report::draw::svg::{Place, draw};

/// A picture for a desk and for a phone; the style sheet shows one of them.
pub fn both(page: &mut Markup, draw_at: impl Fn(Size) -> Scene) {
    page.nest(&draw(&draw_at(Size::Wide), Place::Page, "picture wide"));
    page.nest(&draw(&draw_at(Size::Narrow), Place::Page, "picture narrow"));
}

/// A table of texts. A heading that begins with `#` is of numbers, one with `~` may break its lines.
pub fn table(page: &mut Markup, columns: &[&str], rows: &[Vec<String>]) {
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
    for row in rows {
        page.raw("<tr>");
        for (cell, column) in row.iter().zip(columns) {
            page.element("td", &[("class", class(column).into())], cell);
        }
        page.raw("</tr>");
    }
    page.raw("</tbody></table></div>");
}
