//! One page of a listing: prefix, delimiter, where to go on. Pure.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::collections::BTreeSet;

/// The most entries of one page.
pub const MAX_KEYS: usize = 1000;

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Only keys that begin so.
    pub prefix: String,
    /// Keys that have this after the prefix are rolled up to what stands before it.
    pub delimiter: Option<String>,
    /// Where the page begins.
    pub after: Option<After>,
    /// The most entries, keys and common prefixes together.
    pub max_keys: usize,
}

/// Where a page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum After {
    /// Behind this key.
    Key(String),
    /// Behind every key that begins so: a common prefix was the last entry of the former page.
    Prefix(String),
}

/// A page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Keys, in the order of their bytes.
    pub keys: Vec<String>,
    /// Common prefixes, likewise.
    pub prefixes: Vec<String>,
    /// Whether there is more.
    pub truncated: bool,
    /// Where the next page begins, when there is more and this one is not empty.
    pub next: Option<After>,
}

impl Page {
    /// Keys and common prefixes together.
    pub fn entries(&self) -> usize {
        self.keys.len() + self.prefixes.len()
    }
}

impl After {
    /// The form that clients hand back as a continuation token. They make nothing of it.
    pub fn to_token(&self) -> String {
        let text = match self {
            Self::Key(key) => format!("k{key}"),
            Self::Prefix(prefix) => format!("p{prefix}"),
        };
        URL_SAFE_NO_PAD.encode(text)
    }

    /// What a continuation token means; `None` for one that was not made here.
    pub fn from_token(token: &str) -> Option<Self> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
        match text.split_at_checked(1)? {
            ("k", key) => Some(Self::Key(key.to_owned())),
            ("p", prefix) => Some(Self::Prefix(prefix.to_owned())),
            _ => None,
        }
    }

    /// The marker of the first version of the operation: a key, or a common prefix when it ends with the delimiter.
    pub fn from_marker(marker: &str, delimiter: Option<&str>) -> Self {
        match delimiter {
            Some(delimiter) if !delimiter.is_empty() && marker.ends_with(delimiter) => {
                Self::Prefix(marker.to_owned())
            }
            _ => Self::Key(marker.to_owned()),
        }
    }

    /// The key or the common prefix.
    pub fn name(&self) -> &str {
        match self {
            Self::Key(name) | Self::Prefix(name) => name,
        }
    }

    fn passed(&self, key: &str) -> bool {
        match self {
            Self::Key(last) => key > last.as_str(),
            Self::Prefix(prefix) => key > prefix.as_str() && !key.starts_with(prefix.as_str()),
        }
    }
}

/// The page of these keys that the query asks for.
pub fn page(keys: &BTreeSet<String>, query: &Query) -> Page {
    let mut page = Page::default();
    if query.max_keys == 0 {
        // R2 says that there is more when there is any, and leaves it at that.
        page.truncated = self::page(keys, &Query { max_keys: 1, ..query.clone() }).entries() > 0;
        return page;
    }
    let mut last: Option<After> = None;
    for key in keys.range(query.prefix.clone()..) {
        let Some(rest) = key.strip_prefix(&query.prefix) else {
            break;
        };
        if query.after.as_ref().is_some_and(|after| !after.passed(key)) {
            continue;
        }
        if matches!(&last, Some(After::Prefix(prefix)) if key.starts_with(prefix)) {
            continue;
        }
        if page.entries() == query.max_keys {
            page.truncated = true;
            page.next = last;
            return page;
        }
        let delimiter = query.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty());
        let common = delimiter.and_then(|delimiter| rest.find(delimiter).map(|at| at + delimiter.len()));
        if let Some(end) = common {
            let prefix = key[..query.prefix.len() + end].to_owned();
            page.prefixes.push(prefix.clone());
            last = Some(After::Prefix(prefix));
        } else {
            page.keys.push(key.clone());
            last = Some(After::Key(key.clone()));
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn query(prefix: &str, delimiter: Option<&str>, max_keys: usize) -> Query {
        Query { prefix: prefix.into(), delimiter: delimiter.map(Into::into), after: None, max_keys }
    }

    #[test]
    fn prefix_and_delimiter() {
        let keys = keys(&["a", "env:/prod/x", "env:/test/x", "env:/y", "f"]);
        let found = page(&keys, &query("env:/", Some("/"), 1000));
        assert_eq!(found.keys, ["env:/y"]);
        assert_eq!(found.prefixes, ["env:/prod/", "env:/test/"]);
        assert_eq!(found.next, None);
    }

    #[test]
    fn a_full_last_page_has_no_next() {
        let keys = keys(&["a", "b"]);
        let first = page(&keys, &query("", None, 1));
        assert_eq!(first.next, Some(After::Key("a".into())));
        let second = page(&keys, &Query { after: first.next, ..query("", None, 1) });
        assert_eq!((second.keys, second.next), (vec!["b".to_owned()], None));
    }

    #[test]
    fn nothing_is_asked_for() {
        assert_eq!(page(&keys(&[]), &query("", None, 0)), Page::default());
        let found = page(&keys(&["a"]), &query("", None, 0));
        assert_eq!((found.entries(), found.truncated, found.next), (0, true, None));
    }

    proptest! {
        /// However small the pages: together they are what one page would have been.
        #[test]
        fn pages_add_up(
            names in prop::collection::btree_set("[ab/]{1,5}", 0..40),
            prefix in "[ab/]{0,2}",
            delimiter in prop::option::of(Just("/".to_owned())),
            size in 1_usize..7,
        ) {
            let all = Query { prefix, delimiter, after: None, max_keys: usize::MAX };
            let whole = page(&names, &all);
            let mut sum = Page::default();
            let mut after = None;
            loop {
                let next = page(&names, &Query { after, max_keys: size, ..all.clone() });
                sum.keys.extend(next.keys);
                sum.prefixes.extend(next.prefixes);
                after = next.next.map(|next| After::from_token(&next.to_token()).unwrap());
                if after.is_none() {
                    break;
                }
            }
            prop_assert_eq!(sum, whole);
        }
    }
}
