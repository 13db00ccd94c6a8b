//! Platforms other than your own machines.

use crate::types::{Line, SecretSource};

table! {
    /// Synadia Cloud.
    pub struct Synadia {
        /// The system that accounts are made in.
        system: Line = Line::unchecked("NGS");
        /// The token of a service account or a person.
        token: SecretSource;
    }
}

table! {
    /// Cloudflare.
    pub struct Cloudflare {
        /// The account's id.
        account_id: SecretSource;
        /// A token for its API.
        api_token: SecretSource;
    }
}

table! {
    /// How many servers a region has.
    pub struct Region (inline) {
        /// At least.
        min: u32 = 0, in 0..=1000;
        /// At most.
        max: u32 = 1, in 1..=1000;
    }
}

choice! {
    /// How large a server at Cloudflare is.
    pub enum Instance {
        /// 1/16 vCPU, 256 MiB of memory.
        Lite = "lite",
        /// 1/4 vCPU, 1 GiB of memory.
        Basic = "basic",
        /// 1/2 vCPU, 4 GiB of memory.
        Standard1 = "standard-1",
        /// 1 vCPU, 6 GiB of memory.
        Standard2 = "standard-2",
        /// 2 vCPU, 8 GiB of memory.
        Standard3 = "standard-3",
        /// 4 vCPU, 12 GiB of memory.
        Standard4 = "standard-4",
    }
}
