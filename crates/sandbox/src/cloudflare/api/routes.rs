//! Which operation a path is.

use super::answer::{Outcome, Refusal};
use super::request::Request;
use super::state::Token;
use super::{Api, containers, graphql, kv, r2, user, workers, zones};
use http::Method;

/// Answers a request whose token, with this id, may make it.
pub fn route(api: &Api, request: &Request, id: &str, token: &Token) -> Outcome {
    let segments: Vec<&str> = request.segments.iter().map(String::as_str).collect();
    match (&request.method, segments.as_slice()) {
        (&Method::GET, ["user", "tokens", "verify"] | ["accounts", _, "tokens", "verify"]) => {
            user::verify(id, token)
        }
        (_, ["user", "tokens", rest @ ..] | ["accounts", _, "tokens", rest @ ..]) => {
            user::tokens(api, request, rest)
        }
        (&Method::GET, ["user"]) => user::user(),
        (&Method::GET, ["memberships"]) => user::memberships(api, request),
        (&Method::GET, ["accounts"]) => user::accounts(api, request),
        (&Method::GET, ["accounts", _]) => user::one_account(api),
        (_, ["accounts", _, "r2", rest @ ..]) => r2::route(api, request, rest),
        (_, ["accounts", _, "workers", rest @ ..]) => workers::route(api, request, rest),
        (_, ["accounts", _, "storage", "kv", "namespaces", rest @ ..]) => kv::route(api, request, rest),
        (_, ["accounts", _, "containers", rest @ ..]) => containers::route(api, request, rest),
        (_, ["zones", rest @ ..]) => zones::route(api, request, rest),
        (&Method::POST, ["graphql"]) => graphql::answer(api, request),
        _ => Err(Refusal::no_route(&request.path)),
    }
}
