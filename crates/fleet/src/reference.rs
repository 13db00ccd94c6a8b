//! The tables of `docs/fleet-file.md`, from the definitions, and the test that the page has them as they are.
//!
//! `UPDATE_GOLDEN=1 cargo test -p windlass-fleet reference` writes them anew.

use crate::definition::{Field, Table, doc_text};
use crate::model::Fleet;
use crate::value::{Shape, Value};
use std::path::{Path, PathBuf};

/// Tables with a header of their own, by path, with their rows.
fn sections() -> Vec<(String, String)> {
    let mut sections = Vec::new();
    if let Shape::Table(table) = Fleet::shape() {
        collect(&mut sections, "", table);
    }
    sections
}

fn collect(sections: &mut Vec<(String, String)>, path: &str, table: &'static Table) {
    let mut rows = String::new();
    for field in table.fields {
        row(&mut rows, "", field);
    }
    if !rows.is_empty() {
        sections.push((
            path.to_owned(),
            format!("| key | type | default | meaning |\n| --- | --- | --- | --- |\n{rows}"),
        ));
    }
    for field in table.fields {
        let path = if path.is_empty() { field.key.to_owned() } else { format!("{path}.{}", field.key) };
        match (field.shape)() {
            Shape::Table(inner) if !is_inline(inner) => collect(sections, &path, inner),
            Shape::Map(item) => {
                if let Shape::Table(inner) = *item {
                    collect(sections, &format!("{path}.NAME"), inner);
                }
            }
            _ => {}
        }
    }
}

/// A table that is written on one line is a part of the table around it.
fn is_inline(table: &Table) -> bool {
    table.inline
}

fn row(rows: &mut String, prefix: &str, field: &Field) {
    let shape = (field.shape)();
    match &shape {
        Shape::Table(inner) if is_inline(inner) => {
            let prefix = format!("{prefix}{}.", field.key);
            return inner.fields.iter().for_each(|field| row(rows, &prefix, field));
        }
        Shape::Table(_) | Shape::Map(_) | Shape::Overlays => return,
        _ => {}
    }
    let mut kind = match &shape {
        Shape::Choice(choices) => {
            choices.iter().map(|choice| format!("`\"{}\"`", choice.text)).collect::<Vec<_>>().join(", ")
        }
        shape => shape.wanted(),
    };
    if let Some((least, most)) = (field.range)() {
        kind.push_str(&format!(", {}", crate::definition::range_text(&least, &most)));
    }
    let default = match ((field.required)(), (field.default)()) {
        (true, _) => "required".to_owned(),
        (_, Some(default)) => format!("`{}`", default.to_toml()),
        (_, None) => "none".to_owned(),
    };
    let mut meaning = doc_text(field.doc);
    if let Shape::Choice(choices) = &shape {
        for choice in choices.iter().filter(|_| choices.len() > 1) {
            meaning.push_str(&format!(" `{}`: {}", choice.text, doc_text(choice.doc)));
        }
    }
    rows.push_str(&format!("| `{prefix}{}` | {kind} | {default} | {meaning} |\n", field.key));
}

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/fleet-file.md")
}

const PAGE: &str = include_str!("../../../docs/fleet-file.md");

#[test]
fn the_reference_has_every_key_as_it_is() {
    let mut page_text = PAGE.to_owned();
    let mut headings = Vec::new();
    for (path, rows) in sections() {
        let begin = format!("<!-- keys of [{path}] -->\n");
        assert!(PAGE.contains(&format!("\n## `[{path}]`\n")), "docs/fleet-file.md has no heading [{path}]");
        let start = page_text.find(&begin).map(|at| at + begin.len());
        let start = start.unwrap_or_else(|| panic!("docs/fleet-file.md has no {begin}{rows}"));
        let end = start + page_text[start..].find("<!-- end -->").unwrap();
        page_text.replace_range(start..end, &rows);
        headings.push(path);
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(page(), &page_text).unwrap();
        return;
    }
    assert!(
        page_text == PAGE,
        "the tables of docs/fleet-file.md are not those of the definitions: {page_text}"
    );
    assert_eq!(PAGE.matches("<!-- keys of ").count(), headings.len());
}

#[test]
fn the_examples_of_the_reference_are_one_valid_file() {
    let blocks = PAGE.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    let file: String = blocks.collect::<Vec<_>>().join("\n");
    assert!(file.contains("[github]"));
    if let Err(mistakes) = crate::parse(&file, "docs/fleet-file.md") {
        panic!("{mistakes}\n{file}");
    }
}
