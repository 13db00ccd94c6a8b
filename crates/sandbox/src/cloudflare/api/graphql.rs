//! placeholder
use super::Api;
use super::answer::{Outcome, Refusal};
use super::request::Request;
pub fn answer(_api: &Api, request: &Request) -> Outcome {
    Err(Refusal::no_route(&request.path))
}
