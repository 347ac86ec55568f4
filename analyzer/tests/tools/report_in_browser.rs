//! The page of `retrospan report` in a real browser: it works without a mouse, and hostile text stays text.

use std::path::{Path, PathBuf};

use retrospan_analyzer::report;
use retrospan_analyzer::report::page;
use serde_json::json;

use crate::lab::browser;
use crate::report_support::{beating_capture, gathered};

/// Writes a page into the folder.
fn written(directory: &Path, report: &report::data::Report) -> PathBuf {
    let file = directory.join("report.html");
    std::fs::write(&file, page::html(report)).unwrap();
    file
}

#[test]
fn the_page_opens_and_hostile_text_stays_text() {
    if !browser::browser_or_skip("the_page_opens_and_hostile_text_stays_text") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let page = written(directory.path(), &gathered(&beating_capture(directory.path()), true));
    let shown = browser::open(
        &page,
        &[
            "--eval=String(window.hostile)",
            "--eval=document.scripts.length + ' ' + document.querySelectorAll('img, iframe, object, link').length",
            "--eval=[...document.querySelectorAll('*')].filter(e => e.getAttributeNames().some(n => n.startsWith('on'))).length",
            "--eval=document.title",
            "--eval=[...document.querySelectorAll('[data-tip]')].filter(e => e.dataset.tip.includes('<script>')).length > 0",
            "--eval=document.querySelector('article code').textContent",
        ],
    );
    let values = shown["values"].as_array().unwrap();
    assert_eq!(values[0], "undefined");
    // One of the two scripts is data.
    assert_eq!(values[1], "2 0");
    assert_eq!(values[2], 0);
    assert_eq!(values[3], "beat <b>.cap · Retrospan");
    assert_eq!(values[4], true);
    assert_eq!(values[5], "SELECT *\nFROM spans\nWHERE path < 'b' AND path > 'a'");
    assert_eq!(shown["errors"], json!([]));
    assert_eq!(shown["fetched"], json!([]));
    let text = shown["text"].as_str().unwrap();
    assert!(text.contains("Every 1.00 s about one request takes 300 ms, because"), "{text}");
    assert!(text.contains("odds that this is chance: 1 in 5 000"), "{text}");
    assert!(text.contains("<script>window.hostile=1</script>"), "{text}");
    assert!(text.contains("\\u{202e}") && !text.contains('\u{202e}'), "{text}");
    assert!(text.contains("7 events in 1 interval"), "{text}");
}

#[test]
fn a_phone_and_a_keyboard_are_enough() {
    if !browser::browser_or_skip("a_phone_and_a_keyboard_are_enough") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let page = written(directory.path(), &gathered(&beating_capture(directory.path()), true));
    let phone = browser::open(&page, &["--width=360", "--height=740", "--dark"]);
    assert_eq!((&phone["width"], &phone["errors"]), (&json!(360), &json!([])));
    // Help opens; closes; the theme changes; the first finding has the focus.
    let cases = [
        (&["?"][..], "document.querySelector('#help').open", json!(true)),
        (&["?", "?"], "document.querySelector('#help').open", json!(false)),
        (&["d"], "document.documentElement.dataset.theme", json!("dark")),
        (&["1"], "document.activeElement.id", json!("finding-1")),
    ];
    for (keys, expression, expected) in cases {
        let eval = format!("--eval={expression}");
        let mut arguments = vec![eval.as_str(), "--keys"];
        arguments.extend(keys);
        assert_eq!(browser::open(&page, &arguments)["values"][0], expected, "{keys:?}");
    }
    // Arrow keys walk through traces, and a heat map says what its cells hold.
    let walk = "(() => { const group = document.querySelector('.traces'); \
        group.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight', bubbles: true })); \
        return [...group.querySelectorAll('.trace')].map(trace => trace.hidden).join(); })()";
    let cell = "(async () => { const cells = document.querySelector('article svg.wide image.cells[tabindex]'); cells.focus(); \
        const press = key => cells.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true })); \
        press('ArrowUp'); await new Promise(done => setTimeout(done, 200)); press('ArrowDown'); \
        return document.querySelector('#tip').textContent; })()";
    let shown = browser::open(&page, &[&format!("--eval={walk}"), &format!("--eval={cell}")]);
    assert_eq!(shown["values"][0], "true,false,true");
    let tip = shown["values"][1].as_str().unwrap();
    assert!(tip.contains("cycle ") && tip.contains("from the tooth"), "{tip}");
}

/// A cell shows its requests, and two cells what differs: by keyboard, as by a click.
#[test]
fn a_cell_shows_who_is_in_it_and_two_cells_what_differs() {
    if !browser::browser_or_skip("a_cell_shows_who_is_in_it_and_two_cells_what_differs") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let page = written(directory.path(), &gathered(&beating_capture(directory.path()), true));
    // Walks from the lower left corner of the latency map to a cell with requests, a slow one and an ordinary one.
    let walk = "(async () => { const cells = document.querySelector('#latency svg.wide image.cells[data-examples]'); cells.focus(); \
        const press = key => cells.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true })); \
        const tip = () => document.querySelector('#tip').textContent; \
        const rows = +cells.dataset.rows, columns = +cells.dataset.columns; \
        press('ArrowLeft'); await new Promise(done => setTimeout(done, 300)); \
        const find = async (row) => { for (let i = 0; i < rows; i++) press('ArrowDown'); for (let i = 0; i < row; i++) press('ArrowUp'); \
            for (let i = 0; i < columns; i++) press('ArrowLeft'); \
            for (let i = 0; i < columns; i++) { if (!tip().startsWith('no ')) return true; press('ArrowRight'); } return false; }; \
        const found = []; \
        for (let row = 0; row < rows && found.length < 2; row++) if (await find(row)) { \
            press('Enter'); found.push(tip()); \
            if (found.length === 1) [...document.querySelectorAll('#cell button')].find(b => b.textContent.startsWith('Compare')).click(); \
            row += 3; } \
        const lists = [...document.querySelectorAll('#cell tbody')].map(body => body.children.length); \
        return { found: found.length, lists, ids: [...document.querySelectorAll('#cell code')].every(id => /^[0-9a-f]{32}$/.test(id.textContent)), \
            differs: [...document.querySelectorAll('#cell li')].map(line => line.textContent), hostile: String(window.hostile), \
            images: document.querySelectorAll('img').length }; })()";
    let shown = browser::open(&page, &[&format!("--eval={walk}")]);
    let seen = &shown["values"][0];
    assert_eq!(
        (&seen["found"], &seen["ids"], &shown["errors"]),
        (&json!(2), &json!(true), &json!([])),
        "{shown}"
    );
    let lists = seen["lists"].as_array().unwrap();
    assert!(lists.len() == 2 && lists.iter().all(|rows| rows.as_u64() >= Some(1)), "{seen}");
    let differs = seen["differs"].as_array().unwrap();
    assert!(differs.iter().any(|line| line.as_str().unwrap().starts_with("asked for GET ")), "{seen}");
    assert_eq!((&seen["hostile"], &seen["images"]), (&json!("undefined"), &json!(0)));
}
