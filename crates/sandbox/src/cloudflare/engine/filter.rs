//! Docker's `filters`: `{"label":["a=b"],"name":["x"]}`, or with objects in the place of lists, as older clients send it.

use serde_json::Value;
use std::collections::BTreeMap;

/// Which containers are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    labels: Vec<(String, Option<String>)>,
    names: Vec<String>,
    statuses: Vec<String>,
}

fn list(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Array(values) => values.iter().map(|value| value.as_str().map(str::to_owned)).collect(),
        Value::Object(values) => Some(values.keys().cloned().collect()),
        _ => None,
    }
}

impl Filter {
    /// Reads the parameter; an empty one asks for everything.
    ///
    /// # Errors
    /// What is wrong with it: a filter that is ignored would make a client delete what it did not mean.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut filter = Self::default();
        if text.is_empty() {
            return Ok(filter);
        }
        let wrong = || format!("invalid filters: {text}");
        let given: BTreeMap<String, Value> = serde_json::from_str(text).map_err(|_| wrong())?;
        for (key, value) in given {
            let values = list(&value).ok_or_else(wrong)?;
            match key.as_str() {
                "label" => {
                    filter.labels.extend(values.into_iter().map(|label| match label.split_once('=') {
                        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                        None => (label, None),
                    }));
                }
                "name" => filter.names.extend(values),
                "status" => filter.statuses.extend(values),
                other => return Err(format!("invalid filter '{other}'")),
            }
        }
        Ok(filter)
    }

    /// Whether a container is asked for: every label, one of the names (as a part), one of the statuses.
    pub fn matches(&self, name: &str, labels: &BTreeMap<String, String>, status: &str) -> bool {
        self.labels.iter().all(|(label, wanted)| {
            labels.get(label).is_some_and(|value| wanted.as_ref().is_none_or(|wanted| wanted == value))
        }) && (self.names.is_empty()
            || self.names.iter().any(|part| name.contains(part.trim_start_matches('/'))))
            && (self.statuses.is_empty() || self.statuses.iter().any(|wanted| wanted == status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_met(filter: &str) -> bool {
        let labels =
            BTreeMap::from([("session".to_owned(), "a=b".to_owned()), ("x".to_owned(), String::new())]);
        Filter::parse(filter).unwrap().matches("workerd-one", &labels, "running")
    }

    #[test]
    fn all_labels_and_one_of_the_names() {
        for filter in [
            "",
            "{}",
            r#"{"label":["session=a=b"]}"#,
            r#"{"label":["session","x="]}"#,
            r#"{"label":{"session=a=b":true}}"#,
            r#"{"name":["none","one"]}"#,
            r#"{"status":["exited","running"]}"#,
        ] {
            assert!(is_met(filter), "{filter}");
        }
        for filter in [
            r#"{"label":["session=a"]}"#,
            r#"{"label":["session=a=b","y"]}"#,
            r#"{"name":["two"]}"#,
            r#"{"status":["exited"],"label":["x"]}"#,
        ] {
            assert!(!is_met(filter), "{filter}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for filter in ["[", "[]", r#"{"label":"a"}"#, r#"{"label":[1]}"#, r#"{"until":["1h"]}"#] {
            assert!(Filter::parse(filter).is_err(), "{filter}");
        }
    }
}
