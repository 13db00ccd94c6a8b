//! The ways in which Cloudflare hands out a list in parts. Pure.

use serde_json::Value;

/// What the next request says to get the next part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// A query parameter and its value.
    Query(&'static str, String),
    /// That was all.
    End,
}

/// The next part's query, by the `result_info` of the last answer. `got` is how many items it had, `page` its number from
/// 1.
#[must_use]
pub fn next(info: &Value, got: usize, page: u64) -> Next {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    if let Some(token) = text(&info["next_page_token"]) {
        return Next::Query("page_token", token);
    }
    if let Some(cursor) = text(&info["cursors"]["after"]).or_else(|| text(&info["cursor"])) {
        return Next::Query("cursor", cursor);
    }
    // Pages say how many there are, or at least how long each is.
    let more = match (info["total_pages"].as_u64(), info["total_count"].as_u64(), info["per_page"].as_u64()) {
        (Some(pages), ..) => page < pages,
        (None, Some(total), Some(per_page)) => page.saturating_mul(per_page) < total,
        (None, None, Some(per_page)) if info["page"].is_u64() => per_page > 0 && got as u64 >= per_page,
        _ => false,
    };
    if more && got > 0 { Next::Query("page", (page + 1).to_string()) } else { Next::End }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_way_is_followed_to_its_end() {
        let query = |key, value: &str| Next::Query(key, value.to_owned());
        for (info, got, page, expected) in [
            (json!({ "page": 1, "per_page": 20, "total_pages": 3, "count": 20 }), 20, 1, query("page", "2")),
            (json!({ "page": 3, "per_page": 20, "total_pages": 3 }), 4, 3, Next::End),
            (json!({ "page": 1, "per_page": 20, "total_count": 21 }), 20, 1, query("page", "2")),
            (json!({ "page": 1, "per_page": 20 }), 20, 1, query("page", "2")),
            (json!({ "page": 2, "per_page": 20 }), 3, 2, Next::End),
            (json!({ "cursor": "abc", "per_page": 20 }), 20, 1, query("cursor", "abc")),
            (json!({ "cursor": "", "count": 3 }), 3, 1, Next::End),
            (json!({ "cursors": { "after": "x" } }), 3, 1, query("cursor", "x")),
            (json!({ "next_page_token": "t", "per_page": 50 }), 50, 1, query("page_token", "t")),
            (json!({ "is_truncated": false }), 50, 1, Next::End),
            (Value::Null, 50, 1, Next::End),
        ] {
            assert_eq!(next(&info, got, page), expected, "{info}");
        }
    }
}
