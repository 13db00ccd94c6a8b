//! What can be switched on to make the stand-in harder: limits, quotas, and a rollout that lies. Pure: this is data.

use super::answer::Refusal;
use serde::{Deserialize, Serialize};

/// What is switched on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switches {
    /// Requests that a token may make in five minutes; `None`: as many as it likes.
    pub rate_limit: Option<u32>,
    /// The most R2 buckets.
    pub max_buckets: usize,
    /// The most KV namespaces.
    pub max_namespaces: usize,
    /// The most Workers.
    pub max_scripts: usize,
    /// The most container applications.
    pub max_applications: usize,
    /// The most instances of all container applications together.
    pub max_instances: u64,
    /// How many seconds credentials of the registry last; `None`: as long as whoever asks for them says.
    pub registry_seconds: Option<u64>,
    /// A rollout says that it is completed, and its instances keep the old image.
    pub stale_rollouts: bool,
}

impl Default for Switches {
    /// Cloudflare's own quotas for a paid account, where it publishes them.
    fn default() -> Self {
        Self {
            rate_limit: None,
            max_buckets: 1_000_000,
            max_namespaces: 1000,
            max_scripts: 500,
            max_applications: 1000,
            max_instances: 15_000,
            registry_seconds: None,
            stale_rollouts: false,
        }
    }
}

/// What a quota is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    /// R2 buckets.
    Buckets,
    /// KV namespaces.
    Namespaces,
    /// Workers.
    Scripts,
    /// Container applications.
    Applications,
    /// Instances of containers.
    Instances,
}

impl Quota {
    /// The refusal when it is used up.
    pub fn refusal(self, most: u64) -> Refusal {
        match self {
            Self::Buckets => Refusal::new(403, 10009, "You have reached the maximum number of buckets."),
            Self::Namespaces => Refusal::new(
                403,
                10047,
                format!("You have reached the maximum number of KV namespaces ({most})."),
            ),
            Self::Scripts => Refusal::new(
                403,
                10037,
                format!("You have exceeded the limit of {most} Workers on your account."),
            ),
            Self::Applications => Refusal::new(
                400,
                1102,
                format!("ACCOUNT_LIMIT_EXCEEDED: the account may have {most} container applications"),
            ),
            Self::Instances => Refusal::new(
                400,
                1102,
                format!("SURPASSED_TOTAL_LIMITS: the account may have {most} container instances"),
            ),
        }
    }
}
