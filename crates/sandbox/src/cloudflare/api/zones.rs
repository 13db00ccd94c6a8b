//! `/zones`: domain names, and the routes on them that Workers answer.

use super::Api;
use super::answer::{Answer, Outcome, Refusal};
use super::request::Request;
use super::state::{State, Zone, new_id};
use http::Method;
use serde_json::{Value, json};

/// The operations.
pub fn route(api: &Api, request: &Request, rest: &[&str]) -> Outcome {
    match (&request.method, rest) {
        (&Method::GET, []) => list(api, request),
        (&Method::POST, []) => create(api, request),
        (&Method::GET, [id]) => {
            let zone = api.disk.read(|state| find(state, id).cloned())?;
            Answer::ok(told(api, id, &zone))
        }
        (&Method::DELETE, [id]) => api.disk.change(|state| {
            find(state, id)?;
            state.zones.remove(*id);
            Answer::ok(json!({ "id": id }))
        }),
        (_, [id, "workers", "routes", rest @ ..]) => routes(api, request, id, rest),
        _ => Err(Refusal::no_route(&request.path)),
    }
}

fn unknown(id: &str) -> Refusal {
    Refusal::no_route(&format!("/client/v4/zones/{id}"))
}

fn find<'state>(state: &'state State, id: &str) -> Result<&'state Zone, Refusal> {
    state.zones.get(id).ok_or_else(|| unknown(id))
}

fn told(api: &Api, id: &str, zone: &Zone) -> Value {
    json!({
        "id": id,
        "name": zone.name,
        "status": "active",
        "paused": false,
        "type": "full",
        "account": { "id": api.disk.read(|state| state.account_id.clone()), "name": "sandbox" },
        "name_servers": ["a.ns.example.com", "b.ns.example.com"],
    })
}

fn list(api: &Api, request: &Request) -> Outcome {
    let all = api.disk.read(|state| state.zones.clone());
    let wanted = request.query("name");
    let found = all.iter().filter(|(_, zone)| wanted.is_none_or(|name| zone.name == name));
    let found = found.map(|(id, zone)| told(api, id, zone)).collect();
    let (page, info) = request.page(20, 50)?.cut(found);
    Ok(Answer::new(json!(page)).info(info))
}

fn create(api: &Api, request: &Request) -> Outcome {
    let name = request.object()?.remove("name").and_then(|name| name.as_str().map(str::to_lowercase));
    let name = name.filter(|name| name.contains('.') && !name.contains(['/', ' ', ':']));
    let name = name.ok_or_else(|| Refusal::new(400, 1001, "Invalid zone name"))?;
    let (id, zone) = (new_id(), Zone { name, ..Zone::default() });
    api.disk.change(|state| {
        if state.zones.values().any(|other| other.name == zone.name) {
            return Err(Refusal::new(400, 1061, format!("{} already exists", zone.name)));
        }
        state.zones.insert(id.clone(), zone.clone());
        Ok(())
    })?;
    Answer::ok(told(api, &id, &zone))
}

fn routes(api: &Api, request: &Request, id: &str, rest: &[&str]) -> Outcome {
    let missing = || Refusal::new(404, 10_020, "The route was not found.");
    match (&request.method, rest) {
        (&Method::GET, []) => {
            api.disk.read(|state| Answer::ok(find(state, id)?.routes.values().cloned().collect()))
        }
        (&Method::POST, []) => {
            let route = new_id();
            write(api, request, id, &route)
        }
        (&Method::PUT, []) => {
            // All routes at once, as wrangler writes them.
            let wanted: Vec<Value> = request.json()?;
            api.disk.change(|state| {
                let mut told = Vec::new();
                for one in wanted {
                    told.push(take(state, id, &new_id(), &one)?);
                }
                Answer::ok(json!(told))
            })
        }
        (&Method::GET, [route]) => {
            let found =
                api.disk.read(|state| find(state, id).map(|zone| zone.routes.get(*route).cloned()))?;
            Answer::ok(found.ok_or_else(missing)?)
        }
        (&Method::PUT, [route]) => {
            api.disk.read(|state| find(state, id)?.routes.get(*route).map(drop).ok_or_else(missing))?;
            write(api, request, id, route)
        }
        (&Method::DELETE, [route]) => api.disk.change(|state| {
            find(state, id)?;
            let zone = state.zones.get_mut(id).ok_or_else(|| unknown(id))?;
            zone.routes.remove(*route).ok_or_else(missing)?;
            Answer::ok(json!({ "id": route }))
        }),
        _ => Err(Refusal::no_route(&request.path)),
    }
}

fn write(api: &Api, request: &Request, zone: &str, id: &str) -> Outcome {
    let sent: Value = request.json()?;
    api.disk.change(|state| Answer::ok(take(state, zone, id, &sent)?))
}

fn take(state: &mut State, zone: &str, id: &str, sent: &Value) -> Result<Value, Refusal> {
    let pattern = sent["pattern"].as_str().ok_or_else(|| Refusal::malformed("pattern is missing"))?;
    let name = &find(state, zone)?.name;
    let host = pattern.split('/').next().unwrap_or_default();
    if host.trim_start_matches(['*', '.']) != name && !host.ends_with(&format!(".{name}")) {
        let text = format!("Invalid pattern: {pattern:?} is not within the zone {name}");
        return Err(Refusal::new(400, 10_022, text));
    }
    let script = sent["script"].as_str().filter(|script| !script.is_empty());
    if let Some(script) = script.filter(|script| !state.scripts.contains_key(*script)) {
        return Err(Refusal::new(400, 10_019, format!("The script {script:?} was not found.")));
    }
    let zone = state.zones.get_mut(zone).ok_or_else(|| unknown(zone))?;
    if zone.routes.iter().any(|(other, route)| other != id && route["pattern"] == pattern) {
        let text = "A route with the same pattern already exists.";
        return Err(Refusal::new(409, 10_020, text));
    }
    let route = json!({ "id": id, "pattern": pattern, "script": script });
    zone.routes.insert(id.to_owned(), route.clone());
    Ok(route)
}

/// Whether a route's pattern takes this address. The longest one that does is the one that counts.
pub fn fits(pattern: &str, host: &str, path: &str) -> bool {
    fn matches(pattern: &str, text: &str) -> bool {
        let Some((head, tail)) = pattern.split_once('*') else {
            return pattern == text;
        };
        let Some(rest) = text.strip_prefix(head) else {
            return false;
        };
        let mut starts = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
        starts.any(|at| matches(tail, &rest[at..]))
    }
    let pattern = pattern.split_once("://").map_or(pattern, |(_, rest)| rest);
    let whole = if pattern.contains('/') { pattern.to_owned() } else { format!("{pattern}/") };
    matches(&whole, &format!("{host}{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        assert!(fits("example.com/*", "example.com", "/a/b"));
        assert!(fits("*.example.com/github*", "nats.example.com", "/github"));
        assert!(fits("https://example.com/*", "example.com", "/"));
        assert!(!fits("example.com/a*", "example.com", "/b"));
        assert!(!fits("example.com/*", "example.org", "/"));
    }

    #[test]
    fn routes_are_of_their_zone() {
        let mut state = State::default();
        state.zones.insert("z".into(), Zone { name: "example.com".into(), ..Zone::default() });
        let mut code = |pattern: &str| {
            let sent = json!({ "pattern": pattern });
            take(&mut state, "z", &new_id(), &sent).map(drop).map_err(|refusal| refusal.code)
        };
        assert_eq!(code("*.example.com/*"), Ok(()));
        assert_eq!(code("*.example.com/*"), Err(10_020));
        assert_eq!(code("example.org/*"), Err(10_022));
        assert_eq!(code("badexample.com/*"), Err(10_022));
    }
}
