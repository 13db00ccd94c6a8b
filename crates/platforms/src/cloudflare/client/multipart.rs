//! Forms of several parts: how a Worker's modules go up, and how they come back.

/// A part of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The field's name.
    pub name: String,
    /// The file's name, if it is one.
    pub file: Option<String>,
    /// The content's type.
    pub content_type: String,
    /// The content.
    pub content: Vec<u8>,
}

impl Part {
    /// A field of JSON.
    #[must_use]
    pub fn json(name: &str, value: &serde_json::Value) -> Self {
        let content = value.to_string().into_bytes();
        Self { name: name.to_owned(), file: None, content_type: "application/json".to_owned(), content }
    }

    /// An ES module.
    #[must_use]
    pub fn module(name: &str, content: &str) -> Self {
        Self {
            name: name.to_owned(),
            file: Some(name.to_owned()),
            content_type: "application/javascript+module".to_owned(),
            content: content.as_bytes().to_vec(),
        }
    }
}

/// A form, and its content type with a boundary that is in no part.
#[must_use]
pub fn write(parts: &[Part]) -> (String, Vec<u8>) {
    let contains = |boundary: &str| {
        let bytes = boundary.as_bytes();
        parts.iter().any(|part| part.content.windows(bytes.len()).any(|window| window == bytes))
    };
    let boundary =
        (0_u64..).map(|number| format!("windlass-{number:016x}")).find(|boundary| !contains(boundary));
    let boundary = boundary.unwrap_or_default();
    let mut body = Vec::new();
    for part in parts {
        let file = part.file.as_ref().map(|file| format!("; filename=\"{file}\"")).unwrap_or_default();
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"{file}\r\nContent-Type: {}\r\n\r\n",
            part.name, part.content_type
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(&part.content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={boundary}"), body)
}

/// The parts of a form; `None` when it is none.
#[must_use]
pub fn read(content_type: &str, body: &[u8]) -> Option<Vec<Part>> {
    let boundary =
        content_type.split(';').find_map(|part| part.trim().strip_prefix("boundary="))?.trim_matches('"');
    let delimiter = format!("--{boundary}").into_bytes();
    let mut parts = Vec::new();
    let mut at = find(body, &delimiter, 0)? + delimiter.len();
    loop {
        if body.get(at..at + 2)? == b"--" {
            return Some(parts);
        }
        let head_end = find(body, b"\r\n\r\n", at)?;
        let head = std::str::from_utf8(body.get(at..head_end)?).ok()?;
        let begin = head_end + 4;
        let mut next = b"\r\n".to_vec();
        next.extend_from_slice(&delimiter);
        let end = find(body, &next, begin)?;
        let header = |wanted: &str| {
            head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim().to_owned())
            })
        };
        let disposition = header("content-disposition").unwrap_or_default();
        let field = |key: &str| {
            disposition.split(';').find_map(|part| {
                let value = part.trim().strip_prefix(key)?.strip_prefix('=')?;
                Some(value.trim_matches('"').to_owned())
            })
        };
        parts.push(Part {
            name: field("name").unwrap_or_default(),
            file: field("filename"),
            content_type: header("content-type").unwrap_or_default(),
            content: body.get(begin..end)?.to_vec(),
        });
        at = end + next.len();
    }
}

fn find(haystack: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    haystack.get(from..)?.windows(needle.len()).position(|window| window == needle).map(|at| at + from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_form_is_read_as_it_is_written() {
        let parts = [
            Part::json("metadata", &json!({ "main_module": "worker.js" })),
            Part::module("worker.js", "export default {}\r\n--windlass-0000000000000000\n"),
        ];
        let (content_type, body) = write(&parts);
        assert_eq!(content_type, "multipart/form-data; boundary=windlass-0000000000000001");
        assert_eq!(read(&content_type, &body), Some(parts.to_vec()));
        assert!(String::from_utf8_lossy(&body).contains("name=\"worker.js\"; filename=\"worker.js\""));
    }

    #[test]
    fn what_is_no_form_is_none() {
        assert_eq!(read("text/plain", b"x"), None);
        assert_eq!(read("multipart/form-data; boundary=b", b"--b\r\nno end"), None);
        assert_eq!(read("multipart/form-data; boundary=b", b""), None);
    }
}
