//! The walk through the parsed file: where we are, what was found, and what must never be shown.

use crate::code;
use crate::definition::{Field, Table};
use crate::mask;
use crate::mistake::{Found, Mistakes};
use crate::suggest::{echo, list, nearest, with_article};
use crate::syntax::{Errors, Lines};
use crate::types::Invalid;
use crate::value::{Node, Shape, Value};
use std::ops::Range;
use toml::de::{DeTable, DeValue};

pub(crate) struct Reader<'s> {
    source: &'s str,
    path: Vec<String>,
    /// The range of the field at hand, for values that do not even fit their type.
    range: Option<(String, String)>,
    found: Vec<Found>,
    masked: Vec<Range<usize>>,
    /// Values that were read as secrets' sources, of which it is known what may be shown.
    sources: Vec<Range<usize>>,
    damaged: Vec<usize>,
    /// See [`Errors::broken`].
    pub(crate) broken: bool,
    /// See [`Errors::headers_lost`].
    pub(crate) headers_lost: bool,
}

impl<'s> Reader<'s> {
    pub(crate) fn new(source: &'s str, errors: Errors) -> Self {
        let Errors { found, damaged, broken, headers_lost } = errors;
        Self {
            source,
            path: Vec::new(),
            range: None,
            found,
            masked: Vec::new(),
            sources: Vec::new(),
            damaged,
            broken,
            headers_lost,
        }
    }

    /// Takes over what was found while the file was read with an environment laid over it, but for what is wrong without
    /// it too.
    pub(crate) fn add(&mut self, environment: Self, name: &str) {
        for mut found in environment.found {
            let known = |known: &Found| known.code == found.code && known.span == found.span;
            if !self.found.iter().any(known) {
                found.problem = format!("{} (in the environment {name})", found.problem);
                self.found.push(found);
            }
        }
        self.masked.extend(environment.masked);
        self.sources.extend(environment.sources);
    }

    /// All mistakes, if there are any.
    pub(crate) fn finish(self, file_name: &str) -> Option<Mistakes> {
        let Self { source, mut found, mut masked, sources, damaged, broken, .. } = self;
        let lines = Lines::of(source);
        // The parser puts a value that it made up at the very beginning.
        found.retain(|found| !broken || found.code == code::SYNTAX || found.span != (0..0));
        // On a line that is not TOML, whatever else was made of it is a consequence.
        let in_damage = |found: &Found| {
            let line = lines.around(found.span.start).start;
            damaged.binary_search(&line).is_ok()
        };
        found.retain(|found| found.code == code::SYNTAX || !in_damage(found));
        // What follows a key that sounds like a secret is masked on suspicion. Only in a file that parsed as a whole
        // it is certain which of it are sources; of a key that is given twice the second value was not even read.
        let certain = !found.iter().any(|found| matches!(found.code, code::SYNTAX | code::DUPLICATE_KEY));
        let is_source = |range: &Range<usize>| {
            sources.iter().any(|source| range.start < source.end && source.start < range.end)
        };
        masked.extend(mask::lexical(source).into_iter().filter(|range| !(certain && is_source(range))));
        Mistakes::new(file_name, source, found, masked)
    }

    pub(crate) fn report(&mut self, code: &'static str, span: Range<usize>, problem: String, remedy: String) {
        self.found.push(Found { code, span, problem, remedy });
    }

    /// Reports what is wrong with the value at hand, by its path.
    pub(crate) fn invalid(&mut self, span: Range<usize>, invalid: Invalid) {
        let Invalid { code, problem, remedy } = invalid;
        let problem = format!("{}: {problem}", self.here());
        self.report(code, span, problem, remedy);
    }

    pub(crate) fn wrong_type(&mut self, node: &Node<'_>, shape: &Shape) {
        let kind = node.get_ref().type_str();
        let given = with_article(kind);
        let wanted = shape.wanted();
        let quoted_number = matches!((shape, node.get_ref()), (Shape::Integer | Shape::Boolean, DeValue::String(text))
            if text.parse::<i64>().is_ok() || matches!(&**text, "true" | "false"));
        let remedy = match (shape, node.get_ref()) {
            _ if quoted_number => "write it without the quotes".to_owned(),
            (Shape::Table(_) | Shape::Map(_), DeValue::Array(_)) => {
                format!("write {wanted}; a table's header has single brackets")
            }
            (Shape::Array(_), DeValue::String(_)) => "put it in brackets: [\"…\"]".to_owned(),
            (Shape::Text { .. } | Shape::Choice(_), DeValue::Integer(_) | DeValue::Boolean(_)) => {
                format!("write {wanted}, in double quotes")
            }
            _ => format!("write {wanted}"),
        };
        let problem = format!("{}: {given} stands where {wanted} belongs", self.here());
        self.report(code::WRONG_TYPE, node.span(), problem, remedy);
    }

    /// The path of what is being read, as a key is written: `clusters.hub.ports`.
    pub(crate) fn here(&self) -> String {
        written_path(self.path.iter().map(String::as_str))
    }

    /// The table that is being read, as its header is written: `in [clusters.hub]`.
    pub(crate) fn in_table(&self) -> String {
        if self.path.is_empty() { "at the top level".to_owned() } else { format!("in [{}]", self.here()) }
    }

    /// The range of the field at hand, or of its type.
    pub(crate) fn range_or(&self, least: &impl ToString, most: &impl ToString) -> (String, String) {
        self.range.clone().unwrap_or_else(|| (least.to_string(), most.to_string()))
    }

    pub(crate) fn inside<T>(&mut self, key: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(key.to_owned());
        let value = read(self);
        self.path.pop();
        value
    }

    /// Keeps the value from being quoted: it may be a secret.
    pub(crate) fn mask(&mut self, node: &Node<'_>) {
        match node.get_ref() {
            DeValue::Array(items) => items.iter().for_each(|item| self.mask(item)),
            DeValue::Table(table) => table.iter().for_each(|(_, value)| self.mask(value)),
            _ => self.mask_span(node.span()),
        }
    }

    /// Notes that the value was read as a secret's source: what of it may not be shown is masked one by one.
    pub(crate) fn is_source(&mut self, node: &Node<'_>) {
        self.sources.push(node.span());
    }

    /// Masks what stands under keys that sound like secrets, in a value that nobody reads.
    fn mask_suspicious(&mut self, node: &Node<'_>) {
        match node.get_ref() {
            DeValue::Array(items) => items.iter().for_each(|item| self.mask_suspicious(item)),
            DeValue::Table(table) => table.iter().for_each(|(key, value)| {
                if mask::is_secret_key(key.get_ref()) {
                    self.mask(value);
                } else {
                    self.mask_suspicious(value);
                }
            }),
            _ => {}
        }
    }

    /// Keeps a range from being quoted.
    pub(crate) fn mask_span(&mut self, span: Range<usize>) {
        self.masked.push(span);
    }

    /// Whether nothing wrong was found within the span.
    pub(crate) fn clean(&self, span: &Range<usize>) -> bool {
        !self.found.iter().any(|found| found.span.start < span.end && span.start < found.span.end)
    }

    /// The value as a table, with its unknown keys reported.
    pub(crate) fn table<'n, 'i>(
        &mut self,
        node: &'n Node<'i>,
        table: &'static Table,
    ) -> Option<&'n DeTable<'i>> {
        let Some(entries) = node.get_ref().as_table() else {
            self.wrong_type(node, &Shape::Table(table));
            return None;
        };
        for (key, value) in entries.iter() {
            if table.fields.iter().all(|field| field.key != &**key.get_ref()) {
                self.unknown_key(table, key.get_ref(), key.span(), value);
            }
        }
        Some(entries)
    }

    pub(crate) fn unknown_key(
        &mut self,
        table: &'static Table,
        key: &str,
        span: Range<usize>,
        value: &Node<'_>,
    ) {
        let known = || table.fields.iter().map(|field| field.key);
        let place = self.in_table();
        self.mask_suspicious(value);
        if let Some((_, what)) = table.later.iter().find(|(later, _)| *later == key) {
            let problem = format!("{} {place} is not supported by this version: {what}", echo(key));
            self.report(code::NOT_YET, span, problem, "remove it for now".to_owned());
            return;
        }
        let meant = nearest(key, known());
        let holds_secret =
            |field: &Field| field.key == meant.unwrap_or_default() && (field.shape)().is_secret();
        if mask::is_secret_key(key) || table.fields.iter().any(holds_secret) {
            self.mask(value);
        }
        let remedy = match meant {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("known here: {}", list(known(), "and")),
        };
        self.report(code::UNKNOWN_KEY, span, format!("unknown key {} {place}", echo(key)), remedy);
    }

    /// One field of a table. `fallback` is its value where the key is left out; `None` makes the key required.
    /// `check` is asked once the value was read without a mistake.
    pub(crate) fn field<T: Value>(
        &mut self,
        table: &DeTable<'_>,
        header: Range<usize>,
        field: &Field,
        fallback: Option<T>,
        check: impl Fn(&T) -> Result<(), Invalid>,
    ) -> T {
        let Some(node) = table.get(field.key) else {
            if fallback.is_none() && !self.broken {
                let shape = (field.shape)();
                let (what, add) = match shape {
                    Shape::Table(_) | Shape::Map(_) => {
                        let path = self.inside(field.key, |reader| reader.here());
                        (format!("the table [{path}]"), format!("add [{path}]"))
                    }
                    _ => (
                        format!("the key `{}`", field.key),
                        format!("add `{}`: {}", field.key, shape.wanted()),
                    ),
                };
                let problem = format!("{what} is missing {}", self.in_table());
                self.report(code::MISSING_KEY, header, problem, add);
            }
            return fallback.unwrap_or_else(T::stand_in);
        };
        self.inside(field.key, |reader| {
            let before = reader.found.len();
            let outer = std::mem::replace(&mut reader.range, (field.range)());
            let value = T::read(node, reader);
            reader.range = outer;
            if reader.found.len() == before
                && let Err(invalid) = check(&value)
            {
                reader.invalid(node.span(), invalid);
            }
            value
        })
    }
}

/// Keys joined by dots, quoted where TOML needs it.
pub(crate) fn written_path<'k>(keys: impl Iterator<Item = &'k str>) -> String {
    let mut path = String::new();
    for key in keys {
        // A position in an array is no key of its own: `subjects[0]`.
        if !path.is_empty() && !key.starts_with('[') {
            path.push('.');
        }
        match key.is_empty() || key.chars().any(|c| !c.is_ascii_alphanumeric() && !"_-[]".contains(c)) {
            true => path.push_str(&echo(key).replace('`', "\"")),
            false => path.push_str(key),
        }
    }
    path
}
