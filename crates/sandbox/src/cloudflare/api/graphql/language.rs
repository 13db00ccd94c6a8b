//! The language of questions, as far as it is used. Pure.

use serde_json::{Map, Value};

/// A field that is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// What it is to be called in the answer.
    pub alias: String,
    /// What it is.
    pub name: String,
    /// What it is asked with, variables in their place.
    pub arguments: Map<String, Value>,
    /// What is asked of it.
    pub fields: Vec<Field>,
}

impl Field {
    /// An argument, or null.
    pub fn argument(&self, name: &str) -> &Value {
        self.arguments.get(name).unwrap_or(&Value::Null)
    }
}

/// How deep a question may go.
const DEEPEST: usize = 32;

/// The fields of a question.
pub fn parse(text: &str, variables: &Value) -> Result<Vec<Field>, String> {
    let mut reader = Reader { rest: text, variables };
    if matches!(reader.word(), Some("query")) {
        reader.word();
        if reader.take('(') {
            // What types the variables have, their values show.
            let end = reader.rest.find(')').ok_or("the list of variables does not end")?;
            reader.rest = &reader.rest[end + 1..];
        }
    }
    let fields = reader.fields(0)?;
    reader.space();
    if reader.rest.is_empty() { Ok(fields) } else { Err(format!("unexpected {:?}", start(reader.rest))) }
}

fn start(text: &str) -> String {
    text.chars().take(20).collect()
}

struct Reader<'text> {
    rest: &'text str,
    variables: &'text Value,
}

impl<'text> Reader<'text> {
    fn space(&mut self) {
        loop {
            self.rest = self.rest.trim_start_matches(|one: char| one.is_whitespace() || one == ',');
            match self.rest.strip_prefix('#') {
                Some(comment) => self.rest = comment.split_once('\n').map_or("", |(_, rest)| rest),
                None => return,
            }
        }
    }

    fn take(&mut self, wanted: char) -> bool {
        self.space();
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn word(&mut self) -> Option<&'text str> {
        self.space();
        let end = self.rest.find(|one: char| !one.is_alphanumeric() && one != '_').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!word.is_empty()).then_some(word)
    }

    fn expected(&self, what: &str) -> String {
        format!("{what} is expected before {:?}", start(self.rest))
    }

    fn fields(&mut self, depth: usize) -> Result<Vec<Field>, String> {
        if depth > DEEPEST {
            return Err("the question is too deep".to_owned());
        }
        if !self.take('{') {
            return Err(self.expected("{"));
        }
        let mut fields = Vec::new();
        while !self.take('}') {
            let first = self.word().ok_or_else(|| self.expected("a name"))?;
            let name =
                if self.take(':') { self.word().ok_or_else(|| self.expected("a name"))? } else { first };
            let mut arguments = Map::new();
            if self.take('(') {
                arguments = self.pairs(')', depth)?;
            }
            self.space();
            let inner = if self.rest.starts_with('{') { self.fields(depth + 1)? } else { Vec::new() };
            fields.push(Field { alias: first.to_owned(), name: name.to_owned(), arguments, fields: inner });
        }
        Ok(fields)
    }

    fn pairs(&mut self, end: char, depth: usize) -> Result<Map<String, Value>, String> {
        let mut pairs = Map::new();
        while !self.take(end) {
            let name = self.word().ok_or_else(|| self.expected("a name"))?;
            if !self.take(':') {
                return Err(self.expected(":"));
            }
            pairs.insert(name.to_owned(), self.value(depth + 1)?);
        }
        Ok(pairs)
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        if depth > DEEPEST {
            return Err("the question is too deep".to_owned());
        }
        if self.take('$') {
            let name = self.word().ok_or_else(|| self.expected("a name"))?;
            return Ok(self.variables[name].clone());
        }
        if self.take('{') {
            return Ok(Value::Object(self.pairs('}', depth)?));
        }
        if self.take('[') {
            let mut all = Vec::new();
            while !self.take(']') {
                all.push(self.value(depth + 1)?);
            }
            return Ok(Value::Array(all));
        }
        self.space();
        if self.rest.starts_with('"') {
            let mut values = serde_json::Deserializer::from_str(self.rest).into_iter::<Value>();
            let value = values.next().and_then(Result::ok).ok_or_else(|| self.expected("a text"))?;
            self.rest = self.rest.get(values.byte_offset()..).unwrap_or_default();
            return Ok(value);
        }
        if self.rest.starts_with(|one: char| one == '-' || one.is_ascii_digit()) {
            let is_part = |one: char| one.is_ascii_digit() || "+-.eE".contains(one);
            let end = self.rest.find(|one| !is_part(one)).unwrap_or(self.rest.len());
            let (number, rest) = self.rest.split_at(end);
            let value = serde_json::from_str(number).map_err(|_| self.expected("a number"))?;
            self.rest = rest;
            return Ok(value);
        }
        match self.word().ok_or_else(|| self.expected("a value"))? {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            "null" => Ok(Value::Null),
            // A word of an enumeration.
            word => Ok(Value::String(word.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn a_question() {
        let text = "query Usage($tag: string!, $from: Time) { # all\n viewer { accounts(filter: {accountTag: $tag}) {\n\
                    used: workersInvocationsAdaptive(limit: 10, orderBy: [datetime_ASC],\n\
                    filter: {datetime_geq: $from, status: \"success\", x: {y: [1, -2.5, true, null]}}) { sum { requests } } } } }";
        let fields = parse(text, &json!({ "tag": "a", "from": "2026" })).unwrap();
        let accounts = &fields[0].fields[0];
        assert_eq!(accounts.argument("filter"), &json!({ "accountTag": "a" }));
        let used = &accounts.fields[0];
        assert_eq!((used.alias.as_str(), used.name.as_str()), ("used", "workersInvocationsAdaptive"));
        assert_eq!(used.argument("orderBy"), &json!(["datetime_ASC"]));
        assert_eq!(used.argument("filter")["x"]["y"], json!([1, -2.5, true, null]));
        assert_eq!(used.argument("filter")["datetime_geq"], "2026");
        assert_eq!(used.fields[0].fields[0].name, "requests");
    }

    #[test]
    fn what_is_none() {
        for text in ["", "{", "{ a(b) }", "{ a(b: ) }", "{ a } b", "query (x { a }", &"{a".repeat(100)] {
            assert!(parse(text, &Value::Null).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_it_is_it_ends(text in "[{}()a:$\"\\[\\]#, \n0-9-]{0,40}") {
            let _ = parse(&text, &Value::Null);
        }
    }
}
