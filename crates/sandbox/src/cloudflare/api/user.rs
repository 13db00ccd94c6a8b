//! `/user`, `/accounts` and tokens.

use super::Api;
use super::answer::{Answer, Outcome, Refusal};
use super::permission;
use super::request::Request;
use super::state::{Token, hash, new_id};
use super::time;
use http::Method;
use serde_json::{Value, json};

/// The one user.
pub const EMAIL: &str = "sandbox@example.com";

/// The user's id.
pub const ID: &str = "00000000000000000000000000000001";

/// `/user`
pub fn user() -> Outcome {
    Answer::ok(
        json!({ "id": ID, "email": EMAIL, "username": "sandbox", "two_factor_authentication_enabled": false }),
    )
}

fn account(api: &Api) -> Value {
    json!({
        "id": api.disk.read(|state| state.account_id.clone()),
        "name": "sandbox",
        "type": "standard",
        "created_on": "2026-01-01T00:00:00.000000Z",
        "settings": { "enforce_twofactor": false },
    })
}

/// `/accounts`
pub fn accounts(api: &Api, request: &Request) -> Outcome {
    let (page, info) = request.page(20, 50)?.cut(vec![account(api)]);
    Ok(Answer::new(json!(page)).info(info))
}

/// `/accounts/{a}`
pub fn one_account(api: &Api) -> Outcome {
    Answer::ok(account(api))
}

/// `/memberships`
pub fn memberships(api: &Api, request: &Request) -> Outcome {
    let membership = json!({
        "id": ID,
        "status": "accepted",
        "roles": ["Super Administrator - All Privileges"],
        "account": account(api),
    });
    let (page, info) = request.page(20, 50)?.cut(vec![membership]);
    Ok(Answer::new(json!(page)).info(info))
}

/// `/user/tokens/verify`, `/accounts/{a}/tokens/verify`
pub fn verify(id: &str, token: &Token) -> Outcome {
    let mut value = json!({ "id": id, "status": "active" });
    if let Some(end) = token.expires {
        value["expires_on"] = json!(time::rfc3339(end));
    }
    Ok(Answer::new(value).message(10_000, "This API Token is valid and active"))
}

/// A random value as Cloudflare's tokens have it: 40 characters.
pub fn new_token_value() -> String {
    hex::encode(rand::random::<[u8; 20]>())
}

fn told(id: &str, token: &Token) -> Value {
    let groups: Vec<_> = token.permissions.iter().map(|name| group(name)).collect();
    let mut value = json!({
        "id": id,
        "name": token.name,
        "status": if token.disabled { "disabled" } else { "active" },
        "policies": [{
            "id": id,
            "effect": "allow",
            "permission_groups": groups,
            "resources": { "com.cloudflare.api.account.*": "*" },
        }],
    });
    if let Some(end) = token.expires {
        value["expires_on"] = json!(time::rfc3339(end));
    }
    value
}

/// A permission group, whose id is made of its name.
fn group(name: &str) -> Value {
    json!({ "id": hash(name.as_bytes()).get(..32), "name": name })
}

fn every_group() -> Vec<Value> {
    let names = permission::GROUPS.iter().flat_map(|name| [format!("{name} Read"), format!("{name} Write")]);
    names.map(|name| group(&name)).collect()
}

/// `/user/tokens…`, `/accounts/{a}/tokens…`
pub fn tokens(api: &Api, request: &Request, rest: &[&str]) -> Outcome {
    let unknown = || Refusal::new(404, 1001, "Token not found");
    match (&request.method, rest) {
        (&Method::GET, ["permission_groups"]) => Answer::ok(json!(every_group())),
        (&Method::GET, []) => {
            let all = api.disk.read(|state| state.tokens.clone());
            let all = all.iter().map(|(id, token)| told(id, token)).collect();
            let (page, info) = request.page(20, 50)?.cut(all);
            Ok(Answer::new(json!(page)).info(info))
        }
        (&Method::POST, []) => create(api, request),
        (&Method::GET, [id]) => {
            let found = api.disk.read(|state| state.tokens.get(*id).cloned());
            Answer::ok(told(id, &found.ok_or_else(unknown)?))
        }
        (&Method::DELETE, [id]) => api.disk.change(|state| {
            state.tokens.remove(*id).ok_or_else(unknown)?;
            Answer::ok(json!({ "id": id }))
        }),
        _ => Err(Refusal::no_route(&request.path)),
    }
}

fn create(api: &Api, request: &Request) -> Outcome {
    let sent: Value = request.json()?;
    let name = sent["name"].as_str().ok_or_else(|| Refusal::malformed("name is missing"))?;
    let groups = every_group();
    let mut permissions = Vec::new();
    for policy in sent["policies"].as_array().into_iter().flatten() {
        for wanted in policy["permission_groups"].as_array().into_iter().flatten() {
            let found =
                groups.iter().find(|group| group["id"] == wanted["id"] || group["name"] == wanted["name"]);
            let found = found.and_then(|group| group["name"].as_str());
            permissions
                .push(found.ok_or_else(|| Refusal::new(400, 1001, "Invalid permission group"))?.to_owned());
        }
    }
    let (id, value, token) = add(api, name, permissions)?;
    let mut told = told(&id, &token);
    told["value"] = json!(value);
    Answer::ok(told)
}

/// Makes a token: its id, its value, and what is kept of it.
pub fn add(api: &Api, name: &str, permissions: Vec<String>) -> Result<(String, String, Token), Refusal> {
    let (id, value) = (new_id(), new_token_value());
    let token =
        Token { name: name.to_owned(), hash: hash(value.as_bytes()), permissions, ..Token::default() };
    api.disk.change(|state| {
        state.tokens.insert(id.clone(), token.clone());
        Ok(())
    })?;
    Ok((id, value, token))
}
