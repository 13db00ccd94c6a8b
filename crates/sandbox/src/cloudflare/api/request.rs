//! A request as the operations see it. Pure.

use super::answer::Refusal;
use bytes::Bytes;
use http::{HeaderMap, Method};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::str::FromStr;

/// A request whose body has arrived.
#[derive(Clone, Debug)]
pub struct Request {
    /// The HTTP method.
    pub method: Method,
    /// The path as it was sent.
    pub path: String,
    /// The path's segments behind `/client/v4/`, decoded.
    pub segments: Vec<String>,
    /// The query's pairs, decoded.
    pub query: Vec<(String, String)>,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// What stands before every path.
pub const BASE: &str = "/client/v4";

/// A page, where pages are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paged {
    /// Counts from 1.
    pub page: usize,
    /// Entries on a page.
    pub per_page: usize,
}

impl Request {
    /// A request's parts.
    pub fn new(head: http::request::Parts, body: Bytes) -> Self {
        let path = head.uri.path().to_owned();
        let rest = path.strip_prefix(BASE).unwrap_or(&path).trim_matches('/');
        let decoded = |segment: &str| percent_decode_str(segment).decode_utf8_lossy().into_owned();
        let segments = rest.split('/').map(decoded).collect();
        let query = form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes());
        let query = query.map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        Self { method: head.method, path, segments, query, headers: head.headers, body }
    }

    /// A value of the query.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A value of the query, as something else than text; what cannot be read is refused.
    pub fn query_as<T: FromStr>(&self, name: &str) -> Result<Option<T>, Refusal> {
        self.query(name)
            .map(|value| {
                value.parse().map_err(|_| {
                    Refusal::new(400, 7400, format!("Invalid value for the query parameter {name:?}"))
                })
            })
            .transpose()
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        serde_json::from_slice(&self.body).map_err(Refusal::malformed)
    }

    /// The body as a JSON object.
    pub fn object(&self) -> Result<serde_json::Map<String, Value>, Refusal> {
        self.json()
    }

    /// Which page is asked for.
    pub fn page(&self, usual: usize, most: usize) -> Result<Paged, Refusal> {
        let page = self.query_as("page")?.unwrap_or(1).max(1);
        let per_page = self.query_as("per_page")?.unwrap_or(usual).clamp(1, most);
        Ok(Paged { page, per_page })
    }
}

impl Paged {
    /// The page's entries, and the `result_info` beside them.
    pub fn cut(self, all: Vec<Value>) -> (Vec<Value>, Value) {
        let total = all.len();
        let first = (self.page - 1).saturating_mul(self.per_page);
        let entries: Vec<_> = all.into_iter().skip(first).take(self.per_page).collect();
        let info = serde_json::json!({
            "page": self.page,
            "per_page": self.per_page,
            "count": entries.len(),
            "total_count": total,
            "total_pages": total.div_ceil(self.per_page),
        });
        (entries, info)
    }
}

/// A page after a token, where pages are not counted: the entries, and the token of the next page. Entries are in the
/// order of their names.
pub fn cut_after(
    all: Vec<(String, Value)>,
    after: Option<&str>,
    most: usize,
) -> (Vec<Value>, Option<String>) {
    let mut rest = all.into_iter().filter(|(name, _)| after.is_none_or(|after| name.as_str() > after));
    let mut last = None;
    let mut page = Vec::new();
    for (name, value) in rest.by_ref().take(most) {
        last = Some(name);
        page.push(value);
    }
    let more = rest.next().is_some();
    (page, last.filter(|_| more))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn request(uri: &str) -> Request {
        let (head, ()) = http::Request::builder().uri(uri).body(()).unwrap().into_parts();
        Request::new(head, Bytes::new())
    }

    #[test]
    fn segments_are_decoded_one_by_one() {
        let request = request("/client/v4/accounts/a/storage/kv/namespaces/n/values/a%2Fb%20c?x=%C3%A9&x=2");
        assert_eq!(request.segments[7], "a/b c");
        assert_eq!(request.query("x"), Some("é"));
        assert!(request.query_as::<u32>("x").is_err());
    }

    #[test]
    fn pages_add_up() {
        let all: Vec<_> = (0..7).map(|number| json!(number)).collect();
        let request = request("/client/v4/x?page=3&per_page=3");
        let (entries, info) = request.page(20, 100).unwrap().cut(all);
        assert_eq!(entries, [json!(6)]);
        assert_eq!((info["total_count"].as_u64(), info["total_pages"].as_u64()), (Some(7), Some(3)));
    }

    #[test]
    fn pages_after_a_name() {
        let all: Vec<_> = ["a", "b", "c"].map(|name| (name.to_owned(), json!(name))).into();
        let (first, next) = cut_after(all.clone(), None, 2);
        assert_eq!((first.len(), next.as_deref()), (2, Some("b")));
        let (second, next) = cut_after(all, next.as_deref(), 2);
        assert_eq!((second, next), (vec![json!("c")], None));
    }
}
