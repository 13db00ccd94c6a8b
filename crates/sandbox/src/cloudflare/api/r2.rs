//! `/accounts/{a}/r2`: buckets. They are those of the local R2, so an S3 client sees what is made here, and the other way
//! round.

use super::Api;
use super::answer::{Answer, Outcome, Refusal};
use super::request::{Request, cut_after};
use super::state::Bucket;
use super::switches::Quota;
use super::time::rfc3339;
use crate::r2::condition::Conditions;
use crate::r2::object::{Checksums, Headers, Object};
use crate::r2::store::{Receiving, Store};
use http::Method;
use s3s::checksum::ChecksumHasher;
use serde_json::{Value, json};
use std::time::UNIX_EPOCH;

/// The jurisdictions that there are. Buckets of two of them may have one name.
pub const JURISDICTIONS: &[&str] = &["default", "eu", "us", "fedramp"];

const LOCATIONS: &[&str] = &["apac", "eeur", "enam", "weur", "wnam", "oc"];

const CLASSES: &[&str] = &["Standard", "InfrequentAccess"];

/// The operations.
pub fn route(api: &Api, request: &Request, rest: &[&str]) -> Outcome {
    let jurisdiction = request.header("cf-r2-jurisdiction").unwrap_or("default");
    let place = Place {
        api,
        store: api
            .buckets(jurisdiction)
            .ok_or_else(|| Refusal::new(400, 10052, "The jurisdiction you specified is not valid."))?,
        jurisdiction,
    };
    match (&request.method, rest) {
        (&Method::GET, ["buckets"]) => place.list(request),
        (&Method::POST, ["buckets"]) => place.create(request),
        (&Method::GET, ["buckets", bucket]) => place.get(bucket),
        (&Method::PATCH, ["buckets", bucket]) => place.edit(bucket, request),
        (&Method::DELETE, ["buckets", bucket]) => place.delete(bucket),
        (method, ["buckets", bucket, kind @ ("lifecycle" | "lock" | "cors")]) => {
            place.rules(method, bucket, kind, request)
        }
        (&Method::GET, ["buckets", bucket, "objects"]) => place.objects(bucket, request),
        (&Method::PUT, ["buckets", bucket, "objects", key @ ..]) if !key.is_empty() => {
            place.put_object(bucket, &key.join("/"), &request.body)
        }
        (&Method::DELETE, ["buckets", bucket, "objects", key @ ..]) if !key.is_empty() => {
            place.delete_object(bucket, &key.join("/"))
        }
        (&Method::POST, ["temp-access-credentials"]) => place.temporary(request),
        _ => Err(Refusal::no_route(&request.path)),
    }
}

struct Place<'api> {
    api: &'api Api,
    store: &'api Store,
    jurisdiction: &'api str,
}

fn one_of(value: &str, allowed: &[&str], what: &str) -> Result<String, Refusal> {
    if allowed.contains(&value) {
        return Ok(value.to_owned());
    }
    Err(Refusal::new(400, 10029, format!("{value:?} is not a {what}: {}", allowed.join(", "))))
}

/// What a client sent for a bucket.
fn text<'body>(
    body: &'body serde_json::Map<String, Value>,
    name: &str,
) -> Result<Option<&'body str>, Refusal> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Refusal::malformed(format!("{name} is not a string"))),
    }
}

impl Place<'_> {
    fn name(&self, bucket: &str) -> String {
        format!("{}/{bucket}", self.jurisdiction)
    }

    fn described(&self, bucket: &str, created: u64) -> Value {
        let known = self.api.disk.read(|state| state.buckets.get(&self.name(bucket)).cloned());
        let known = known.unwrap_or_default();
        json!({
            "name": bucket,
            "creation_date": rfc3339(created),
            "location": known.location.as_deref().unwrap_or("WEUR").to_uppercase(),
            "jurisdiction": self.jurisdiction,
            "storage_class": known.storage_class.as_deref().unwrap_or("Standard"),
        })
    }

    fn all(&self) -> Result<Vec<(String, Value)>, Refusal> {
        let buckets = self.store.buckets()?.into_iter();
        Ok(buckets
            .map(|(name, made)| {
                let made = made.duration_since(UNIX_EPOCH).unwrap_or_default();
                let value = self.described(&name, u64::try_from(made.as_millis()).unwrap_or_default());
                (name, value)
            })
            .collect())
    }

    fn list(&self, request: &Request) -> Outcome {
        let per_page = request.query_as("per_page")?.unwrap_or(20_usize).clamp(1, 1000);
        let contains = request.query("name_contains").unwrap_or_default();
        let after = request.query("cursor").or(request.query("start_after")).filter(|name| !name.is_empty());
        let mut all = self.all()?;
        all.retain(|(name, _)| name.contains(contains));
        let (page, next) = if request.query("direction") == Some("desc") {
            all.reverse();
            let rest: Vec<_> =
                all.into_iter().filter(|(name, _)| after.is_none_or(|after| name.as_str() < after)).collect();
            let next = rest.get(per_page.saturating_sub(1)).filter(|_| rest.len() > per_page);
            let next = next.map(|(name, _)| name.clone());
            (rest.into_iter().take(per_page).map(|(_, value)| value).collect(), next)
        } else {
            cut_after(all, after, per_page)
        };
        let mut info = json!({ "per_page": per_page });
        if let Some(next) = next {
            info["cursor"] = json!(next);
        }
        Ok(Answer::new(json!({ "buckets": page })).info(info))
    }

    fn create(&self, request: &Request) -> Outcome {
        let body = request.object()?;
        let bucket = text(&body, "name")?.ok_or_else(|| Refusal::malformed("name is missing"))?;
        let location = text(&body, "locationHint")?.map(str::to_lowercase);
        let location = location.map(|hint| one_of(&hint, LOCATIONS, "location hint")).transpose()?;
        let class = text(&body, "storageClass")?;
        let storage_class = class.map(|class| one_of(class, CLASSES, "storage class")).transpose()?;
        let most = self.api.switches().max_buckets;
        if self.store.check_bucket(bucket).is_err() && self.store.buckets()?.len() >= most {
            return Err(Quota::Buckets.refusal(most as u64));
        }
        self.store.create_bucket(bucket)?;
        let made = Bucket { location, storage_class, lifecycle: vec![usual_rule()], ..Bucket::default() };
        self.api.disk.change(|state| {
            state.buckets.insert(self.name(bucket), made);
            Ok(())
        })?;
        self.get(bucket)
    }

    fn get(&self, bucket: &str) -> Outcome {
        self.store.check_bucket(bucket)?;
        let found = self.all()?.into_iter().find(|(name, _)| name == bucket);
        Answer::ok(found.ok_or(crate::r2::refusal::Refusal::NoSuchBucket)?.1)
    }

    fn edit(&self, bucket: &str, request: &Request) -> Outcome {
        self.store.check_bucket(bucket)?;
        let class = request.header("cf-r2-storage-class").or(request.query("storage_class"));
        let body = if request.body.is_empty() { serde_json::Map::new() } else { request.object()? };
        let class = class.or(text(&body, "storage_class")?);
        let class = class.ok_or_else(|| Refusal::malformed("the header cf-r2-storage-class is missing"))?;
        let class = one_of(class, CLASSES, "storage class")?;
        self.change(bucket, |known| known.storage_class = Some(class))?;
        self.get(bucket)
    }

    fn objects(&self, bucket: &str, request: &Request) -> Outcome {
        let per_page = request.query_as("per_page")?.unwrap_or(20_usize).clamp(1, 1000);
        let after = request.query("cursor").or(request.query("start_after")).filter(|key| !key.is_empty());
        let keys = self.store.keys(bucket, request.query("prefix").unwrap_or_default())?;
        let described = |key: String| {
            // One that was deleted meanwhile is not in the list.
            let object = self.store.find(bucket, &key).ok()?.object;
            let value = json!({
                "key": key,
                "size": object.size,
                "etag": object.etag,
                "last_modified": rfc3339(object.modified),
                "http_metadata": {},
                "custom_metadata": object.metadata,
                "storage_class": "Standard",
            });
            Some((key, value))
        };
        let (page, next) = cut_after(keys.into_iter().filter_map(described).collect(), after, per_page);
        let mut info = json!({ "per_page": per_page, "count": page.len(), "is_truncated": next.is_some() });
        if let Some(next) = next {
            info["cursor"] = json!(next);
        }
        Ok(Answer::new(json!(page)).info(info))
    }

    fn put_object(&self, bucket: &str, key: &str, body: &[u8]) -> Outcome {
        self.store.check_bucket(bucket)?;
        let mut receiving = Receiving::new(self.store.draft()?, ChecksumHasher::default(), None)?;
        receiving.write(body)?;
        let received = receiving.finish()?;
        let object = Object {
            key: key.to_owned(),
            size: received.segment.size,
            etag: received.etag,
            modified: 0,
            headers: Headers::default(),
            metadata: std::collections::BTreeMap::new(),
            checksums: Checksums::default(),
            customer_key_md5: None,
            segments: vec![received.segment],
        };
        let object = self.store.commit(bucket, received.draft, object, &Conditions::default())?;
        let size = object.size.to_string();
        Answer::ok(json!({ "key": key, "etag": object.etag, "size": size, "storage_class": "Standard" }))
    }

    fn delete_object(&self, bucket: &str, key: &str) -> Outcome {
        self.store.delete(bucket, key)?;
        Answer::ok(json!({ "key": key }))
    }

    fn delete(&self, bucket: &str) -> Outcome {
        let name = self.name(bucket);
        self.store.delete_bucket(bucket)?;
        self.api.disk.change(|state| {
            state.buckets.remove(&name);
            Ok(())
        })?;
        Answer::ok(json!({}))
    }

    fn change(&self, bucket: &str, work: impl FnOnce(&mut Bucket)) -> Result<(), Refusal> {
        self.api.disk.change(|state| {
            work(state.buckets.entry(self.name(bucket)).or_default());
            Ok(())
        })
    }

    fn rules(&self, method: &Method, bucket: &str, kind: &str, request: &Request) -> Outcome {
        self.store.check_bucket(bucket)?;
        match *method {
            Method::GET => {
                let known = self.api.disk.read(|state| state.buckets.get(&self.name(bucket)).cloned());
                let known = known.unwrap_or_default();
                let rules = match kind {
                    "lifecycle" => known.lifecycle,
                    "lock" => known.lock,
                    _ if known.cors.is_empty() => {
                        return Err(Refusal::new(404, 10059, "The CORS configuration does not exist."));
                    }
                    _ => known.cors,
                };
                Answer::ok(json!({ "rules": rules }))
            }
            Method::PUT => {
                let mut body = request.object()?;
                let Some(Value::Array(rules)) = body.remove("rules") else {
                    return Err(Refusal::malformed("rules is missing"));
                };
                check_rules(kind, &rules)?;
                self.change(bucket, |known| *kind_of(known, kind) = rules)?;
                Answer::ok(json!({}))
            }
            Method::DELETE if kind == "cors" => {
                self.change(bucket, |known| known.cors.clear())?;
                Answer::ok(json!({}))
            }
            _ => Err(Refusal::no_route(&request.path)),
        }
    }

    fn temporary(&self, request: &Request) -> Outcome {
        let body = request.object()?;
        let wanted = super::temporary::Wanted::read(&body)?;
        self.store.check_bucket(&wanted.bucket)?;
        let (parent, _) = self.api.r2_keys();
        if wanted.parent != *parent {
            return Err(Refusal::new(403, 10018, "The parent access key id is not one of this account."));
        }
        Answer::ok(self.api.temporary_credentials(&wanted, self.jurisdiction))
    }
}

fn kind_of<'bucket>(known: &'bucket mut Bucket, kind: &str) -> &'bucket mut Vec<Value> {
    match kind {
        "lifecycle" => &mut known.lifecycle,
        "lock" => &mut known.lock,
        _ => &mut known.cors,
    }
}

/// A rule that every new bucket has: what was begun and not completed within seven days is given up.
fn usual_rule() -> Value {
    json!({
        "id": "Default Multipart Abort Rule",
        "enabled": true,
        "conditions": { "prefix": "" },
        "abortMultipartUploadsTransition": { "condition": { "type": "Age", "maxAge": 604_800 } },
    })
}

fn check_rules(kind: &str, rules: &[Value]) -> Result<(), Refusal> {
    let wrong = |why: String| Refusal::new(400, 10029, why);
    if rules.len() > 1000 {
        return Err(wrong("A bucket has at most 1000 rules".into()));
    }
    let mut seen = std::collections::BTreeSet::new();
    for rule in rules {
        if kind == "cors" {
            continue;
        }
        let id = rule["id"].as_str().ok_or_else(|| wrong("A rule has no id".into()))?;
        if !seen.insert(id) {
            return Err(wrong(format!("Two rules have the id {id:?}")));
        }
        if !rule["enabled"].is_boolean() {
            return Err(wrong(format!("The rule {id:?} does not say whether it is enabled")));
        }
        let condition = &rule["condition"];
        let fits = match condition["type"].as_str() {
            Some("Age") => condition["maxAgeSeconds"].as_u64().is_some_and(|age| age > 0),
            Some("Date") => condition["date"].is_string(),
            Some("Indefinite") => true,
            _ => false,
        };
        if kind == "lock" && !fits {
            return Err(wrong(format!("The rule {id:?} has no condition that there is")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_that_are_none() {
        let rule = |condition: Value| json!({ "id": "a", "enabled": true, "condition": condition });
        let age = rule(json!({ "type": "Age", "maxAgeSeconds": 60 }));
        assert!(check_rules("lock", std::slice::from_ref(&age)).is_ok());
        assert!(check_rules("lock", &[age.clone(), age]).is_err(), "two of one id");
        assert!(check_rules("lock", &[rule(json!({ "type": "Age" }))]).is_err());
        assert!(check_rules("lifecycle", &[json!({ "id": "a" })]).is_err());
        assert!(check_rules("lifecycle", &[usual_rule()]).is_ok());
    }
}
