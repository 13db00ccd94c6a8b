//! `POST /graphql`: the analytics that Windlass asks for. What Workers did is told from what really ran; R2 tells what lies
//! in its buckets; the rest is empty, as with an account that did nothing.
//!
//! The language is read as far as such questions use it: one operation, fields with aliases and arguments, variables.

mod language;

use super::Api;
use super::answer::{Answer, Outcome, Refusal};
use super::invocations::Row;
use super::request::Request;
use super::time::rfc3339;
use language::Field;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The datasets that there are. Others are refused, as Cloudflare refuses what it does not know.
const DATASETS: &[&str] = &[
    "containersMetricsAdaptiveGroups",
    "containersUsageAdaptiveGroups",
    "durableObjectsInvocationsAdaptiveGroups",
    "durableObjectsPeriodicGroups",
    "durableObjectsStorageGroups",
    "durableObjectsSubrequestsAdaptiveGroups",
    "kvOperationsAdaptiveGroups",
    "kvStorageAdaptiveGroups",
    "r2OperationsAdaptiveGroups",
    "r2StorageAdaptiveGroups",
    "workersInvocationsAdaptive",
];

fn wrong(message: impl Into<String>) -> Value {
    json!({ "data": null, "errors": [{ "message": message.into(), "path": null, "extensions": { "code": "error" } }] })
}

/// Answers a question. Mistakes in it are told with status 200, as GraphQL does.
pub fn answer(api: &Api, request: &Request) -> Outcome {
    let body: Value = request.json()?;
    let query = body["query"].as_str().ok_or_else(|| Refusal::malformed("query is missing"))?;
    let told = match language::parse(query, &body["variables"]) {
        Err(why) => wrong(why),
        Ok(fields) => match root(api, &fields) {
            Ok(data) => json!({ "data": data, "errors": null }),
            Err(why) => wrong(why),
        },
    };
    Ok(Answer::raw(told.to_string(), "application/json"))
}

fn root(api: &Api, fields: &[Field]) -> Result<Value, String> {
    let mut data = Map::new();
    for field in fields {
        if field.name != "viewer" {
            return Err(format!("unknown field \"{}\"", field.name));
        }
        let mut viewer = Map::new();
        for accounts in &field.fields {
            if accounts.name != "accounts" {
                return Err(format!("unknown field \"{}\"", accounts.name));
            }
            viewer.insert(accounts.alias.clone(), account(api, accounts)?);
        }
        data.insert(field.alias.clone(), Value::Object(viewer));
    }
    Ok(Value::Object(data))
}

fn account(api: &Api, field: &Field) -> Result<Value, String> {
    let wanted = field.argument("filter")["accountTag"].as_str().unwrap_or_default();
    if api.disk.read(|state| state.account_id != wanted) {
        return Err("not authorized for that account".to_owned());
    }
    let mut told = Map::new();
    for dataset in &field.fields {
        let groups = match dataset.name.as_str() {
            "__typename" => json!("account"),
            "workersInvocationsAdaptive" => grouped(dataset, invocations(api))?,
            "r2StorageAdaptiveGroups" => grouped(dataset, storage(api))?,
            name if DATASETS.contains(&name) => json!([]),
            name => return Err(format!("unknown field \"{name}\"")),
        };
        told.insert(dataset.alias.clone(), groups);
    }
    Ok(json!([told]))
}

/// A row of a dataset: what it is of, and what was counted.
struct Point {
    time: u64,
    dimensions: Vec<(&'static str, Value)>,
    counts: Vec<(&'static str, f64)>,
}

fn invocations(api: &Api) -> Vec<Point> {
    api.invocations.rows().iter().map(point).collect()
}

fn point(row: &Row) -> Point {
    let failed = row.status != "success";
    let requests = row.count.requests as f64;
    Point {
        time: row.minute,
        dimensions: vec![("scriptName", json!(row.script)), ("status", json!(row.status))],
        counts: vec![
            ("requests", requests),
            ("errors", if failed { requests } else { 0.0 }),
            ("subrequests", 0.0),
            ("wallTime", row.count.micros as f64),
            ("duration", row.count.micros as f64 / 1e6 * 0.125),
        ],
    }
}

/// What lies in the buckets now.
fn storage(api: &Api) -> Vec<Point> {
    let now = super::time::now();
    let mut points = Vec::new();
    for (jurisdiction, store) in &api.stores {
        for (bucket, _) in store.buckets().unwrap_or_default() {
            let keys = store.keys(&bucket, "").unwrap_or_default();
            let objects =
                keys.iter().filter_map(|key| store.find(&bucket, key).ok()).map(|found| found.object);
            let sizes: Vec<_> = objects.map(|object| object.size).collect();
            let name = match *jurisdiction {
                "default" => bucket,
                other => format!("{other}_{bucket}"),
            };
            points.push(Point {
                time: now,
                dimensions: vec![("bucketName", json!(name)), ("storageClass", json!("Standard"))],
                counts: vec![
                    ("objectCount", sizes.len() as f64),
                    ("payloadSize", sizes.iter().sum::<u64>() as f64),
                    ("metadataSize", 0.0),
                    ("uploadCount", 0.0),
                ],
            });
        }
    }
    points
}

/// Whether a row is within what a filter says. A filter's unknown names are the caller's mistake.
fn fits(point: &Point, filter: &Map<String, Value>) -> Result<bool, String> {
    for (name, wanted) in filter {
        let (field, comparison) = match name.rsplit_once('_') {
            Some((field, comparison @ ("geq" | "leq" | "gt" | "lt" | "in" | "neq"))) => (field, comparison),
            _ => (name.as_str(), "eq"),
        };
        let found = match field {
            "datetime" | "datetimeMinute" | "datetimeHour" | "datetimeFiveMinutes" => {
                json!(rfc3339(point.time))
            }
            "date" => json!(rfc3339(point.time).get(..10)),
            "AND" => {
                for part in wanted.as_array().into_iter().flatten().filter_map(Value::as_object) {
                    if !fits(point, part)? {
                        return Ok(false);
                    }
                }
                continue;
            }
            _ => match point.dimensions.iter().find(|(dimension, _)| *dimension == field) {
                Some((_, value)) => value.clone(),
                None => return Err(format!("unknown field \"{name}\" in the filter")),
            },
        };
        let (found, text) = (found.as_str().unwrap_or_default(), wanted.as_str().unwrap_or_default());
        // Times of the same form are in the order of their texts; a date or whole seconds come before what follows them.
        let seconds =
            |text: &str| text.trim_end_matches('Z').split('.').next().unwrap_or_default().to_owned();
        let order = seconds(found).cmp(&seconds(text));
        let holds = match comparison {
            "geq" => order.is_ge(),
            "leq" => order.is_le(),
            "gt" => order.is_gt(),
            "lt" => order.is_lt(),
            "neq" => found != text,
            "in" => wanted.as_array().is_some_and(|all| all.iter().any(|one| one == found)),
            _ => found == text,
        };
        if !holds {
            return Ok(false);
        }
    }
    Ok(true)
}

fn dimension(point: &Point, name: &str) -> Result<Value, String> {
    let at = |part: u64| json!(rfc3339(point.time / part * part).replace(".000Z", "Z"));
    Ok(match name {
        "datetime" | "datetimeMinute" => at(60_000),
        "datetimeFiveMinutes" => at(300_000),
        "datetimeFifteenMinutes" => at(900_000),
        "datetimeHour" => at(3_600_000),
        "date" => json!(rfc3339(point.time).get(..10)),
        _ => match point.dimensions.iter().find(|(dimension, _)| *dimension == name) {
            Some((_, value)) => value.clone(),
            None => return Err(format!("unknown field \"{name}\"")),
        },
    })
}

/// The groups that a question asks for: one for each set of dimensions.
fn grouped(dataset: &Field, points: Vec<Point>) -> Result<Value, String> {
    let filter = dataset.argument("filter").as_object().cloned().unwrap_or_default();
    let limit = dataset.argument("limit").as_u64().unwrap_or(10_000);
    let wanted: Vec<_> = dataset.fields.iter().filter(|field| field.name == "dimensions").collect();
    let mut groups: BTreeMap<String, (Map<String, Value>, Vec<Point>)> = BTreeMap::new();
    for point in points {
        if !fits(&point, &filter)? {
            continue;
        }
        let mut dimensions = Map::new();
        for field in wanted.iter().flat_map(|field| &field.fields) {
            dimensions.insert(field.alias.clone(), dimension(&point, &field.name)?);
        }
        let key = Value::Object(dimensions.clone()).to_string();
        groups.entry(key).or_insert_with(|| (dimensions, Vec::new())).1.push(point);
    }
    let mut told = Vec::new();
    for (dimensions, points) in groups.into_values().take(usize::try_from(limit).unwrap_or(usize::MAX)) {
        told.push(group(dataset, &dimensions, &points)?);
    }
    Ok(json!(told))
}

fn group(dataset: &Field, dimensions: &Map<String, Value>, points: &[Point]) -> Result<Value, String> {
    let values = |name: &str| {
        let found = points.iter().filter_map(move |point| {
            point.counts.iter().find(|(count, _)| *count == name).map(|(_, value)| *value)
        });
        found.collect::<Vec<f64>>()
    };
    let number = |value: f64| if value.fract() == 0.0 { json!(value as i64) } else { json!(value) };
    let mut told = Map::new();
    for field in &dataset.fields {
        let value = match field.name.as_str() {
            "dimensions" => Value::Object(dimensions.clone()),
            "count" => number(values("requests").iter().sum()),
            kind @ ("sum" | "max" | "min" | "avg" | "quantiles") => {
                let mut parts = Map::new();
                for part in &field.fields {
                    let all = values(&part.name);
                    let sum: f64 = all.iter().sum();
                    let value = match kind {
                        "sum" => sum,
                        "max" => all.iter().copied().fold(0.0, f64::max),
                        "min" => all.iter().copied().fold(f64::INFINITY, f64::min).min(sum),
                        "avg" if !all.is_empty() => sum / all.len() as f64,
                        _ => 0.0,
                    };
                    parts.insert(part.alias.clone(), number(value));
                }
                Value::Object(parts)
            }
            other => return Err(format!("unknown field \"{other}\"")),
        };
        told.insert(field.alias.clone(), value);
    }
    Ok(Value::Object(told))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloudflare::api::invocations::Count;

    fn ask(query: &str) -> Result<Value, String> {
        let row = |minute: u64, script: &str, status, requests| {
            point(&Row { minute, script: script.into(), status, count: Count { requests, micros: 10 } })
        };
        let points = vec![
            row(0, "a", "success", 2),
            row(60_000, "a", "scriptThrewException", 1),
            row(60_000, "b", "success", 5),
        ];
        grouped(&language::parse(query, &json!({ "name": "a" })).unwrap()[0], points)
    }

    #[test]
    fn sums_by_dimension() {
        let all = ask("{ w { sum { requests errors } } }").unwrap();
        assert_eq!(all, json!([{ "sum": { "requests": 8, "errors": 1 } }]));
        let mine = ask(
            "query ($name: string) { w(filter: {scriptName: $name}) { dimensions { status } sum { n: requests } } }",
        );
        assert_eq!(
            mine.unwrap(),
            json!([
                { "dimensions": { "status": "scriptThrewException" }, "sum": { "n": 1 } },
                { "dimensions": { "status": "success" }, "sum": { "n": 2 } },
            ])
        );
        let late = ask(
            r#"{ w(filter: {datetime_geq: "1970-01-01T00:01:00Z", scriptName_in: ["a", "b"]}) { count } }"#,
        );
        assert_eq!(late.unwrap(), json!([{ "count": 6 }]));
        assert!(ask("{ w(filter: {nonsense: 1}) { count } }").is_err());
        assert!(ask("{ w { nonsense } }").is_err());
    }
}
