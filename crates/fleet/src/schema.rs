//! The JSON Schema of the file, for editors, from the same definitions that the reader uses.

use crate::definition::{Field, Table, doc_text};
use crate::model::Fleet;
use crate::value::{Shape, Value};
use serde_json::{Map, Value as Json, json};

/// The file's JSON Schema (2020-12).
///
/// It knows keys, types, ranges of integers and enumerations; what two keys say together only [`crate::parse`] knows.
#[must_use]
pub fn schema() -> Json {
    let mut definitions = Map::new();
    let root = of(&Fleet::shape(), &mut definitions);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "windlass.toml",
        "$ref": root["$ref"],
        "$defs": definitions,
    })
}

fn of(shape: &Shape, definitions: &mut Map<String, Json>) -> Json {
    match shape {
        Shape::Boolean => json!({ "type": "boolean" }),
        Shape::Integer => json!({ "type": "integer" }),
        Shape::Text { pattern: Some(pattern), .. } => json!({ "type": "string", "pattern": pattern }),
        Shape::Text { pattern: None, .. } => json!({ "type": "string" }),
        Shape::Size => json!({ "oneOf": [
            { "type": "string", "pattern": "^\\d+(B|KiB|MiB|GiB|TiB|KB|MB|GB|TB)?$" },
            { "type": "integer", "minimum": 0 },
        ] }),
        Shape::Choice(choices) => {
            let one = |choice: &crate::definition::Choice| json!({ "const": choice.text, "description": doc_text(choice.doc) });
            json!({ "oneOf": choices.iter().map(one).collect::<Vec<_>>() })
        }
        Shape::Array(item) => json!({ "type": "array", "minItems": 1, "items": of(item, definitions) }),
        Shape::OneOrMany(item) => {
            let item = of(item, definitions);
            json!({ "oneOf": [item, { "type": "array", "minItems": 1, "items": item }] })
        }
        Shape::Map(item) => json!({ "type": "object", "additionalProperties": of(item, definitions) }),
        Shape::Overlays => json!({ "type": "object", "additionalProperties": { "type": "object" } }),
        Shape::Secret => json!({
            "type": "object",
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": false,
            "properties": {
                "env": { "type": "string", "description": "The environment variable of this name." },
                "file": { "type": "string", "description": "The content of this file." },
                "command": {
                    "type": "array", "minItems": 1, "items": { "type": "string" },
                    "description": "What this program prints.",
                },
            },
        }),
        Shape::Table(table) => {
            if !definitions.contains_key(table.name) {
                // First a place holder, so that a table that contains itself would end.
                definitions.insert(table.name.to_owned(), Json::Null);
                let object = object(table, definitions);
                definitions.insert(table.name.to_owned(), object);
            }
            json!({ "$ref": format!("#/$defs/{}", table.name) })
        }
    }
}

fn object(table: &Table, definitions: &mut Map<String, Json>) -> Json {
    let mut properties = Map::new();
    for field in table.fields {
        properties.insert(field.key.to_owned(), property(field, definitions));
    }
    let required: Vec<_> =
        table.fields.iter().filter(|field| (field.required)()).map(|field| field.key).collect();
    json!({
        "type": "object",
        "description": doc_text(table.doc),
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn property(field: &Field, definitions: &mut Map<String, Json>) -> Json {
    let mut property = of(&(field.shape)(), definitions);
    property["description"] = doc_text(field.doc).into();
    if let Some(default) = (field.default)() {
        property["default"] = default.to_json();
    }
    if let (Shape::Integer, Some((least, most))) = ((field.shape)(), (field.range)()) {
        property["minimum"] = least.parse::<i64>().ok().into();
        property["maximum"] = most.parse::<i64>().ok().into();
    }
    property
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_follows_the_definitions() {
        let schema = schema();
        assert_eq!(schema["$ref"], "#/$defs/Fleet");
        let stream = &schema["$defs"]["Stream"];
        assert_eq!(stream["required"], json!(["subjects"]));
        assert_eq!(stream["additionalProperties"], false);
        assert_eq!(stream["properties"]["account"]["default"], "GITHUB");
        let port = &schema["$defs"]["Ports"]["properties"]["client"];
        assert_eq!(
            (&port["minimum"], &port["maximum"], &port["default"]),
            (&json!(1), &json!(65535), &json!(4222))
        );
        assert!(schema.to_string().find("null").is_none(), "{schema:#}");
    }
}
