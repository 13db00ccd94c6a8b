//! Versions and deployments: which of the versions answer, and how many of the requests each.

use super::{described, find, find_mut, source, summary};
use crate::cloudflare::api::Api;
use crate::cloudflare::api::answer::{Answer, Outcome, Refusal};
use crate::cloudflare::api::request::Request;
use crate::cloudflare::api::state::{Deployment, Script, new_uuid, timestamp};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The most versions of one deployment.
const MOST: usize = 2;

/// The newest versions that may be deployed.
const DEPLOYABLE: usize = 100;

/// `GET …/versions`
pub fn versions(api: &Api, request: &Request, name: &str) -> Outcome {
    let script = api.disk.read(|state| find(state, name).cloned())?;
    let newest = script.versions.iter().rev().map(summary);
    let all = if request.query("deployable") == Some("true") {
        newest.take(DEPLOYABLE).collect()
    } else {
        newest.collect()
    };
    let (page, info) = request.page(10, 100)?.cut(all);
    Ok(Answer::new(json!({ "items": page })).info(info))
}

/// `GET …/versions/{id}`
pub fn version(api: &Api, name: &str, id: &str) -> Outcome {
    api.disk.read(|state| {
        let script = find(state, name)?;
        let version = script.version(id).ok_or_else(no_version)?;
        Answer::ok(described(state, name, script, version))
    })
}

fn no_version() -> Refusal {
    Refusal::new(404, 100_146, "Worker version was not found.")
}

fn value(deployment: &Deployment) -> Value {
    let shares = deployment.shares.iter();
    let versions: Vec<_> =
        shares.map(|(id, share)| json!({ "version_id": id, "percentage": share })).collect();
    json!({
        "id": deployment.id,
        "source": deployment.source,
        "strategy": "percentage",
        "author_email": crate::cloudflare::api::user::EMAIL,
        "created_on": deployment.created,
        "annotations": deployment.annotations,
        "versions": versions,
    })
}

/// `GET …/deployments`: the newest first.
pub fn list(api: &Api, name: &str) -> Outcome {
    let script = api.disk.read(|state| find(state, name).cloned())?;
    let all: Vec<_> = script.deployments.iter().rev().take(10).map(value).collect();
    Answer::ok(json!({ "deployments": all }))
}

/// `GET …/deployments/{id}`
pub fn get(api: &Api, name: &str, id: &str) -> Outcome {
    let script = api.disk.read(|state| find(state, name).cloned())?;
    let found = script.deployments.iter().find(|deployment| deployment.id == id);
    Answer::ok(value(found.ok_or_else(no_deployment)?))
}

fn no_deployment() -> Refusal {
    Refusal::new(404, 10_211, "Worker deployment was not found.")
}

#[derive(Deserialize)]
struct Wanted {
    strategy: String,
    versions: Vec<Share>,
    #[serde(default)]
    annotations: Map<String, Value>,
}

#[derive(Deserialize)]
struct Share {
    version_id: String,
    percentage: f64,
}

/// Refuses shares that are none.
fn check(script: &Script, wanted: &Wanted) -> Result<(), Refusal> {
    let wrong = |text: &str| Err(Refusal::new(400, 10_022, text));
    if wanted.strategy != "percentage" {
        return wrong("The strategy of a deployment is percentage");
    }
    if wanted.versions.is_empty() || wanted.versions.len() > MOST {
        return wrong("A deployment has one or two versions");
    }
    for share in &wanted.versions {
        if script.version(&share.version_id).is_none() {
            return Err(no_version());
        }
        if !(0.01..=100.0).contains(&share.percentage) {
            return wrong("A version's percentage is 0.01 to 100");
        }
    }
    let sum: f64 = wanted.versions.iter().map(|share| share.percentage).sum();
    if (sum - 100.0).abs() > 0.001 {
        return wrong("The percentages of a deployment add up to 100");
    }
    match wanted.versions.as_slice() {
        [one, other] if one.version_id == other.version_id => wrong("The versions of a deployment differ"),
        _ => Ok(()),
    }
}

/// `POST …/deployments`
pub fn create(api: &Api, request: &Request, name: &str) -> Outcome {
    let wanted: Wanted = request.json()?;
    let deployment = api.disk.change(|state| {
        let script = find_mut(state, name)?;
        check(script, &wanted)?;
        let mut annotations = wanted.annotations.clone();
        annotations.entry("workers/triggered_by").or_insert_with(|| json!("deployment"));
        let shares = wanted.versions.iter().map(|share| (share.version_id.clone(), share.percentage));
        let deployment = Deployment {
            id: new_uuid(),
            created: timestamp(),
            source: source(request),
            shares: shares.collect(),
            annotations,
        };
        script.modified.clone_from(&deployment.created);
        script.deployments.push(deployment.clone());
        Ok(deployment)
    })?;
    api.workers.reconcile(api, name);
    Answer::ok(value(&deployment))
}

/// `DELETE …/deployments/{id}`: any but the one in force.
pub fn delete(api: &Api, name: &str, id: &str) -> Outcome {
    api.disk.change(|state| {
        let script = find_mut(state, name)?;
        let at = script.deployments.iter().position(|deployment| deployment.id == id);
        let at = at.ok_or_else(no_deployment)?;
        if at + 1 == script.deployments.len() {
            return Err(Refusal::new(400, 10_022, "The deployment that is in force cannot be deleted"));
        }
        script.deployments.remove(at);
        Ok(())
    })?;
    super::empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloudflare::api::state::Version;

    #[test]
    fn shares_that_are_none() {
        let version = |id: &str| Version { id: id.into(), ..Version::default() };
        let script = Script { versions: vec![version("a"), version("b")], ..Script::default() };
        let refused = |versions: Value| {
            let wanted = json!({ "strategy": "percentage", "versions": versions });
            check(&script, &serde_json::from_value(wanted).unwrap()).map_err(|refusal| refusal.code)
        };
        let share = |id: &str, percentage: f64| json!({ "version_id": id, "percentage": percentage });
        assert_eq!(refused(json!([share("a", 10.0), share("b", 90.0)])), Ok(()));
        assert_eq!(refused(json!([share("a", 100.0)])), Ok(()));
        assert_eq!(refused(json!([share("a", 10.0), share("b", 80.0)])), Err(10_022));
        assert_eq!(refused(json!([share("a", 50.0), share("a", 50.0)])), Err(10_022));
        assert_eq!(refused(json!([share("c", 100.0)])), Err(100_146));
        assert_eq!(refused(json!([])), Err(10_022));
    }
}
