//! Rollouts of an application's image.

use super::{check, find_mut, image, invalid, not_found, script_of, text};
use crate::cloudflare::api::Api;
use crate::cloudflare::api::answer::{Answer, Outcome, Refusal};
use crate::cloudflare::api::request::Request;
use crate::cloudflare::api::state::{new_uuid, timestamp};
use serde_json::{Map, Value, json};

/// The steps of a rollout: those that were sent, or of one size until all is done.
fn steps(sent: &Map<String, Value>) -> Result<Vec<u64>, Refusal> {
    let last = |percentages: &[u64]| percentages.last() == Some(&100);
    if let Some(steps) = sent.get("steps").and_then(Value::as_array) {
        let percentages: Vec<_> =
            steps.iter().filter_map(|step| step["step_size"]["percentage"].as_u64()).collect();
        let rising = percentages.windows(2).all(|pair| pair[0] < pair[1]);
        if percentages.len() != steps.len() || !rising || !last(&percentages) {
            return Err(invalid("the steps' percentages rise to 100"));
        }
        return Ok(percentages);
    }
    match sent.get("step_percentage").and_then(Value::as_u64).unwrap_or(100) {
        size @ (5 | 10 | 20 | 25 | 50 | 100) => Ok((1..=100 / size).map(|number| number * size).collect()),
        _ => Err(invalid("step_percentage is 5, 10, 20, 25, 50 or 100")),
    }
}

/// `POST …/rollouts`
pub fn roll_out(api: &Api, request: &Request, id: &str) -> Outcome {
    let sent = request.object()?;
    let steps = steps(&sent)?;
    let strategy = text(&sent, "strategy")?.to_owned();
    let target = sent.get("target_configuration").and_then(Value::as_object).cloned();
    let target = target.ok_or_else(|| invalid("target_configuration is missing"))?;
    let stale = api.switches().stale_rollouts;
    let (rollout, script) = api.disk.change(|state| {
        let application = find_mut(state, id)?;
        let current = application.fields.get("configuration").cloned().unwrap_or_default();
        let mut next = current.clone();
        if let Value::Object(fields) = &mut next {
            fields.extend(target);
        }
        let now = timestamp();
        let done = steps.iter().enumerate().map(|(number, percentage)| {
            json!({
                "id": number + 1,
                "description": sent.get("description").cloned().unwrap_or_default(),
                "step_size": { "percentage": percentage },
                "status": "completed",
                "started_at": now,
                "completed_at": now,
            })
        });
        let rollout = json!({
            "id": new_uuid(),
            "created_at": now,
            "started_at": now,
            "last_updated_at": now,
            "description": sent.get("description").cloned().unwrap_or(json!("")),
            "kind": sent.get("kind").cloned().unwrap_or(json!("full_auto")),
            "strategy": strategy,
            "status": "completed",
            "current_version": application.version,
            "target_version": application.version + 1,
            "current_configuration": current,
            "target_configuration": next,
            "health": { "errors": [], "instances": { "active": 0, "assigned": 0 }, "summary": "healthy" },
            "steps": done.collect::<Vec<_>>(),
            "progress": {
                "current_step": steps.len(), "total_steps": steps.len(),
                "total_instances": 0, "updated_instances": 0,
            },
            "version_distribution": { "current_version_percentage": 0, "target_version_percentage": 100 },
        });
        application.fields.insert("configuration".into(), next);
        check(&application.fields)?;
        application.version += 1;
        application.updated = now;
        if !stale {
            application.running_image = image(&application.fields).unwrap_or_default().to_owned();
        }
        application.rollouts.push(rollout.clone());
        let known = application.clone();
        Ok((rollout, script_of(state, &known)))
    })?;
    if let Some(script) = script {
        api.workers.reconcile(api, &script);
    }
    Answer::ok(rollout)
}

/// A rollout is done when it is answered, so all that can be wanted of it is to go back.
pub fn act(api: &Api, request: &Request, id: &str, rollout: &str) -> Outcome {
    let action = request.object()?.remove("action").unwrap_or_default();
    if action != "revert" {
        return Err(invalid("the rollout is completed: the one action that there is is \"revert\""));
    }
    let (told, script) = api.disk.change(|state| {
        let application = find_mut(state, id)?;
        let at = application.rollouts.iter().position(|one| one["id"] == rollout);
        let at = at.ok_or_else(|| not_found("ROLLOUT_NOT_FOUND"))?;
        if at + 1 != application.rollouts.len() {
            return Err(invalid("only the last rollout can be reverted"));
        }
        let now = timestamp();
        let Some(last) = application.rollouts.last_mut() else {
            return Err(not_found("ROLLOUT_NOT_FOUND"));
        };
        last["status"] = json!("reverted");
        last["last_updated_at"] = json!(now);
        let (told, configuration) = (last.clone(), last["current_configuration"].clone());
        application.fields.insert("configuration".into(), configuration);
        application.version += 1;
        application.updated = now;
        application.running_image = image(&application.fields).unwrap_or_default().to_owned();
        let known = application.clone();
        Ok((told, script_of(state, &known)))
    })?;
    if let Some(script) = script {
        api.workers.reconcile(api, &script);
    }
    Answer::ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &Value) -> Result<Vec<u64>, u32> {
        steps(value.as_object().unwrap()).map_err(|refusal| refusal.code)
    }

    #[test]
    fn steps_of_a_rollout() {
        let step = |percentage: u64| json!({ "step_size": { "percentage": percentage } });
        assert_eq!(of(&json!({ "steps": [step(10), step(100)] })), Ok(vec![10, 100]));
        assert_eq!(of(&json!({ "step_percentage": 25 })), Ok(vec![25, 50, 75, 100]));
        assert_eq!(of(&json!({})), Ok(vec![100]));
        assert_eq!(of(&json!({ "steps": [step(100), step(10)] })), Err(1000));
        assert_eq!(of(&json!({ "steps": [step(10)] })), Err(1000));
        assert_eq!(of(&json!({ "step_percentage": 7 })), Err(1000));
    }
}
