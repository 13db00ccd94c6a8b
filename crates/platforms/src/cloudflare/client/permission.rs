//! Which permission each call needs, in the words of Cloudflare's dashboard.

use std::fmt;

/// A permission of an API token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// Workers, their versions, secrets and Durable Objects.
    Scripts,
    /// KV namespaces and their values.
    Kv,
    /// R2 buckets.
    R2,
    /// Container applications and the registry of their images.
    Containers,
    /// Which Worker answers for a host name.
    Routes,
    /// Usage.
    Analytics,
    /// The account itself.
    Account,
}

impl Permission {
    /// Those that a fleet at the edge needs, with what for.
    pub const NEEDED: [(Self, &'static str); 4] = [
        (Self::Scripts, "the Worker, its secrets and its Durable Objects"),
        (Self::Kv, "the routing table and the flags"),
        (Self::R2, "payloads that are too large for a message, and state"),
        (Self::Containers, "the containers of nats-server, and their image"),
    ];

    /// As the dashboard shows it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scripts => "Account · Workers Scripts · Edit",
            Self::Kv => "Account · Workers KV Storage · Edit",
            Self::R2 => "Account · Workers R2 Storage · Edit",
            Self::Containers => "Account · Containers · Edit",
            Self::Routes => "Zone · Workers Routes · Edit",
            Self::Analytics => "Account · Account Analytics · Read",
            Self::Account => "Account · Account Settings · Read",
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The permission that a call needs, by its path below `/client/v4`.
#[must_use]
pub fn needed(path: &str) -> Permission {
    let mut parts = path.trim_start_matches('/').split(['/', '?']);
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("graphql"), ..) => Permission::Analytics,
        (Some("zones"), ..) => Permission::Routes,
        (Some("accounts"), _, Some("r2"), _) => Permission::R2,
        (Some("accounts"), _, Some("storage"), _) => Permission::Kv,
        (Some("accounts"), _, Some("containers"), _) => Permission::Containers,
        (Some("accounts"), _, Some("workers"), _) => Permission::Scripts,
        _ => Permission::Account,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_what_it_needs() {
        for (path, permission) in [
            ("/accounts/a/r2/buckets", Permission::R2),
            ("/accounts/a/storage/kv/namespaces?page=1", Permission::Kv),
            ("/accounts/a/workers/scripts/s", Permission::Scripts),
            ("/accounts/a/workers/durable_objects/namespaces", Permission::Scripts),
            ("/accounts/a/containers/applications", Permission::Containers),
            ("/zones/z/workers/routes", Permission::Routes),
            ("/graphql", Permission::Analytics),
            ("/accounts/a", Permission::Account),
        ] {
            assert_eq!(needed(path), permission, "{path}");
        }
    }
}
