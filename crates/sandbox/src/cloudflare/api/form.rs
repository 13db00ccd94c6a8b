//! `multipart/form-data`, in which scripts and KV values come.

use super::answer::Refusal;
use super::request::Request;
use bytes::Bytes;
use futures::executor::block_on;
use futures::stream;
use serde_json::{Map, Value};
use std::convert::Infallible;

/// A form that has arrived as a whole.
#[derive(Clone, Debug, Default)]
pub struct Form {
    /// Its parts, in their order.
    pub parts: Vec<Part>,
}

/// A part of a form.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// The name of the file that it was.
    pub file_name: Option<String>,
    /// Its content type, if it says one.
    pub content_type: Option<String>,
    /// Its bytes.
    pub bytes: Bytes,
}

impl Form {
    /// The form that a request is; `None` when it is none.
    pub fn of(request: &Request) -> Result<Option<Self>, Refusal> {
        let Some(boundary) =
            request.header("content-type").and_then(|kind| multer::parse_boundary(kind).ok())
        else {
            return Ok(None);
        };
        // It is all there: nothing is waited for.
        block_on(Self::read(request.body.clone(), boundary)).map(Some).map_err(Refusal::malformed)
    }

    async fn read(body: Bytes, boundary: String) -> Result<Self, multer::Error> {
        let whole = stream::iter([Ok::<_, Infallible>(body)]);
        let mut fields = multer::Multipart::new(whole, boundary);
        let mut parts = Vec::new();
        while let Some(field) = fields.next_field().await? {
            parts.push(Part {
                name: field.name().unwrap_or_default().to_owned(),
                file_name: field.file_name().map(str::to_owned),
                content_type: field.content_type().map(ToString::to_string),
                bytes: field.bytes().await?,
            });
        }
        Ok(Self { parts })
    }

    /// The part with this name.
    pub fn part(&self, name: &str) -> Option<&Part> {
        self.parts.iter().find(|part| part.name == name)
    }

    /// A value that is sent as JSON in a part of this name, or as Cloudflare's own SDK sends it: `name[a][][b]`, a part for
    /// each leaf.
    pub fn value(&self, name: &str) -> Result<Option<Value>, Refusal> {
        if let Some(part) = self.part(name) {
            return serde_json::from_slice(&part.bytes).map(Some).map_err(Refusal::malformed);
        }
        let mut whole = None;
        for part in &self.parts {
            let Some(path) = part.name.strip_prefix(name).filter(|rest| rest.starts_with('[')) else {
                continue;
            };
            let keys: Vec<_> = path.split('[').skip(1).map(|key| key.trim_end_matches(']')).collect();
            let leaf = Value::String(String::from_utf8_lossy(&part.bytes).into_owned());
            enter(whole.get_or_insert(Value::Null), &keys, leaf);
        }
        Ok(whole)
    }

    /// The form as it is sent, and its content type.
    pub fn write(&self) -> (Vec<u8>, String) {
        let boundary = super::state::new_id();
        let mut bytes = Vec::new();
        for part in &self.parts {
            let quoted = |text: &str| text.replace('"', "%22").replace(['\r', '\n'], " ");
            bytes.extend_from_slice(
                format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"", quoted(&part.name))
                    .as_bytes(),
            );
            if let Some(name) = &part.file_name {
                bytes.extend_from_slice(format!("; filename=\"{}\"", quoted(name)).as_bytes());
            }
            if let Some(kind) = &part.content_type {
                bytes.extend_from_slice(format!("\r\nContent-Type: {kind}").as_bytes());
            }
            bytes.extend_from_slice(b"\r\n\r\n");
            bytes.extend_from_slice(&part.bytes);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        (bytes, format!("multipart/form-data; boundary={boundary}"))
    }
}

/// Puts a leaf in its place. An entry of a list whose name the last object has already begins the next object.
fn enter(place: &mut Value, keys: &[&str], leaf: Value) {
    let Some((key, rest)) = keys.split_first() else {
        *place = leaf;
        return;
    };
    if key.is_empty() {
        if !place.is_array() {
            *place = Value::Array(Vec::new());
        }
        let Value::Array(all) = place else { return };
        let begins = match (rest.first(), all.last()) {
            (Some(&name), Some(Value::Object(last))) if !name.is_empty() => {
                rest.len() == 1 && last.contains_key(name)
            }
            _ => true,
        };
        if begins {
            all.push(Value::Null);
        }
        if let Some(last) = all.last_mut() {
            enter(last, rest, leaf);
        }
        return;
    }
    if !place.is_object() {
        *place = Value::Object(Map::new());
    }
    if let Value::Object(fields) = place {
        enter(fields.entry(*key).or_insert(Value::Null), rest, leaf);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_in_parts() {
        let part = |name: &str, text: &str| Part {
            name: name.into(),
            file_name: None,
            content_type: None,
            bytes: text.to_owned().into(),
        };
        let form = Form {
            parts: vec![
                part("metadata[main_module]", "worker.js"),
                part("metadata[bindings][][type]", "plain_text"),
                part("metadata[bindings][][name]", "A"),
                part("metadata[bindings][][type]", "kv_namespace"),
                part("metadata[bindings][][name]", "B"),
                part("metadata[migrations][new_sqlite_classes][]", "X"),
                part("metadata[migrations][new_sqlite_classes][]", "Y"),
                part("files[]", "x"),
            ],
        };
        let wanted = serde_json::json!({
            "main_module": "worker.js",
            "bindings": [{ "type": "plain_text", "name": "A" }, { "type": "kv_namespace", "name": "B" }],
            "migrations": { "new_sqlite_classes": ["X", "Y"] },
        });
        assert_eq!(form.value("metadata").unwrap(), Some(wanted));
        assert_eq!(form.value("none").unwrap(), None);
        let form = Form { parts: vec![part("metadata", "{\"a\":1}")] };
        assert_eq!(form.value("metadata").unwrap(), Some(serde_json::json!({ "a": 1 })));
    }

    #[test]
    fn what_is_written_is_read() {
        let part = |name: &str, bytes: &'static [u8]| Part {
            name: name.into(),
            file_name: Some("worker.js".into()),
            content_type: Some("application/javascript+module".into()),
            bytes: Bytes::from_static(bytes),
        };
        let form = Form { parts: vec![part("worker.js", b"export default {}\r\n--x"), part("b", b"\0\xff")] };
        let (body, kind) = form.write();
        let (head, ()) =
            http::Request::builder().uri("/x").header("content-type", kind).body(()).unwrap().into_parts();
        let read = Form::of(&Request::new(head, body.into())).unwrap().unwrap();
        assert_eq!(read.parts.len(), 2);
        assert_eq!(read.part("b").unwrap().bytes, Bytes::from_static(b"\0\xff"));
        assert_eq!(read.parts[0].bytes, form.parts[0].bytes);
        assert_eq!(read.parts[0].content_type.as_deref(), Some("application/javascript+module"));
    }
}
