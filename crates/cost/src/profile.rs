//! Workloads to begin with, each spelled out.

use std::collections::BTreeMap;

use crate::Workload;
use crate::workload::{Objects, Servers, Size, Zone, n};

/// A workload to begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// One small server for a team.
    Small,
    /// Three servers for an organization.
    Organization,
    /// Nine large ones.
    Large,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Self; 3] = [Self::Small, Self::Organization, Self::Large];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Organization => "organization",
            Self::Large => "large",
        }
    }

    /// For what it stands.
    #[must_use]
    pub const fn what(self) -> &'static str {
        match self {
            Self::Small => "one small server for a team, asleep most of the time",
            Self::Organization => "three servers for an organization, busy in working hours",
            Self::Large => "nine large servers that never sleep",
        }
    }

    /// Its name and for what it stands: `Profile small: one small server …`. What is before the colon is enough of a name.
    #[must_use]
    pub fn title(self) -> String {
        format!("Profile {}: {}", self.as_str(), self.what())
    }

    /// What it is, in full.
    #[must_use]
    pub fn workload(self) -> Workload {
        struct Figures {
            servers: u64,
            size: Size,
            awake: u64,
            connections: u64,
            leaf_nodes: u64,
            messages: u64,
            fan_out: u64,
            webhooks: u64,
            stored_gb: u64,
            objects: [u64; 4],
        }
        let figures = match self {
            Self::Small => Figures {
                servers: 1,
                size: Size::new(4, 1024, 4),
                awake: 25,
                connections: 20,
                leaf_nodes: 1,
                messages: 5_000_000,
                fan_out: 2,
                webhooks: 30_000,
                stored_gb: 5,
                objects: [10, 50_000, 500_000, 5],
            },
            Self::Organization => Figures {
                servers: 3,
                size: Size::new(8, 4096, 8),
                awake: 60,
                connections: 500,
                leaf_nodes: 5,
                messages: 250_000_000,
                fan_out: 2,
                webhooks: 1_000_000,
                stored_gb: 45,
                objects: [100, 1_000_000, 10_000_000, 100],
            },
            Self::Large => Figures {
                servers: 9,
                size: Size::new(32, 8192, 16),
                awake: 100,
                connections: 5_000,
                leaf_nodes: 20,
                messages: 5_000_000_000,
                fan_out: 3,
                webhooks: 20_000_000,
                stored_gb: 1_000,
                objects: [2_000, 20_000_000, 200_000_000, 2_000],
            },
        };
        let [gb, writes, reads, egress_gb] = figures.objects.map(n);
        let mut workload = Workload {
            servers: vec![Servers {
                count: n(figures.servers),
                size: figures.size,
                awake_percent: n(figures.awake),
            }],
            connections: n(figures.connections),
            leaf_nodes: n(figures.leaf_nodes),
            messages: n(figures.messages),
            fan_out: n(figures.fan_out),
            webhooks: n(figures.webhooks),
            stored_gb: n(figures.stored_gb),
            objects: Objects { gb, writes, reads, egress_gb },
            ..Workload::nothing()
        };
        // None of these figures is too large for a decimal.
        workload.egress_gb =
            BTreeMap::from([(Zone::NaEu, workload.egress_of_messages().unwrap_or_default())]);
        workload
    }
}
