//! The admin endpoint, for tests in other processes. It asks for no token: whoever reaches it is on this machine.
//!
//! | call | |
//! | --- | --- |
//! | `POST`, `GET`, `DELETE /faults` | orders a fault, tells those to come, forgets them |
//! | `POST`, `GET`, `DELETE /container-faults` | the same of the container engine |
//! | `GET`, `PATCH /switches` | what is switched on |
//! | `POST /tokens` | a token with these `permissions`: `{id, value}` |
//! | `GET`, `DELETE /requests` | the log of requests |

use super::answer::{Answer, Outcome, Refusal};
use super::request::Request;
use super::server::Shared;
use super::user;
use crate::cloudflare::engine;
use bytes::Bytes;
use http::Method;
use http_body_util::Full;
use serde::Deserialize;
use serde_json::{Value, json};

/// Answers a request.
pub fn answer(shared: &Shared, request: &Request) -> http::Response<Full<Bytes>> {
    route(shared, request).map_or_else(Refusal::into_http, Answer::into_http)
}

fn told(value: &impl serde::Serialize) -> Outcome {
    Answer::ok(serde_json::to_value(value).map_err(Refusal::malformed)?)
}

#[derive(Deserialize)]
struct Permissions {
    permissions: Vec<String>,
}

fn route(shared: &Shared, request: &Request) -> Outcome {
    let segments: Vec<_> = request.segments.iter().map(String::as_str).collect();
    match (&request.method, segments.as_slice()) {
        (&Method::POST, ["faults"]) => {
            shared.faults.lock().add(request.json()?);
            Answer::ok(Value::Null)
        }
        (&Method::GET, ["faults"]) => told(&shared.faults.lock().waiting()),
        (&Method::DELETE, ["faults"]) => {
            shared.faults.lock().clear();
            Answer::ok(Value::Null)
        }
        (method, ["container-faults"]) => {
            let engine = shared.api.engine.lock();
            let engine = engine
                .as_ref()
                .ok_or_else(|| Refusal::new(409, 1, "no Workers are run, and so no containers"))?;
            match *method {
                Method::POST => engine.inject(request.json::<engine::Fault>()?),
                Method::DELETE => engine.clear_faults(),
                _ => return Err(Refusal::no_route(&request.path)),
            }
            Answer::ok(Value::Null)
        }
        (&Method::GET, ["switches"]) => told(&shared.api.switches()),
        (&Method::PATCH, ["switches"]) => {
            let mut now = serde_json::to_value(shared.api.switches()).map_err(Refusal::malformed)?;
            if let Value::Object(fields) = &mut now {
                fields.extend(request.object()?);
            }
            let next: super::Switches = serde_json::from_value(now).map_err(Refusal::malformed)?;
            *shared.api.switches.lock() = next.clone();
            told(&next)
        }
        (&Method::POST, ["tokens"]) => {
            let (id, value, _) =
                user::add(&shared.api, "limited", request.json::<Permissions>()?.permissions)?;
            Answer::ok(json!({ "id": id, "value": value }))
        }
        (&Method::GET, ["requests"]) => told(&*shared.requests.lock()),
        (&Method::DELETE, ["requests"]) => {
            shared.requests.lock().clear();
            Answer::ok(Value::Null)
        }
        _ => Err(Refusal::no_route(&request.path)),
    }
}
