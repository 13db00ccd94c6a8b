//! How the fleet is run: scaled, rolled out, watched; and where its state is.

use crate::code;
use crate::types::{Endpoint, Invalid, Line, Name, Period, SecretSource, StoreAddress};

choice! {
    /// What is measured to scale by.
    pub enum ScalingMetric {
        /// Connections of clients, for each server.
        Connections = "connections",
        /// Messages a second, in and out, for each server.
        Messages = "messages",
        /// Use of the processor, in percent.
        Cpu = "cpu",
        /// Use of the memory, in percent.
        Memory = "memory",
    }
}

table! {
    /// When a cluster grows and shrinks. The table has the cluster's name.
    pub struct Scaling {
        /// What is measured.
        metric: ScalingMetric;
        /// What each server should have of it.
        target: u64, in 1..=i64::MAX as u64;
        /// The fewest servers. Without this key, what the cluster's regions say.
        min: Option<u32>, in 0..=1000;
        /// The most servers. Without this key, what the cluster's regions say.
        max: Option<u32>, in 1..=1000;
        /// How long it must be above the target before servers are added.
        scale_out_after: Period = Period::seconds(60), in Period::seconds(1)..=Period::MAX;
        /// How long it must be below before servers are taken away.
        scale_in_after: Period = Period::seconds(600), in Period::seconds(1)..=Period::MAX;
    }
}

table! {
    /// How a change goes through the fleet.
    pub struct Rollout {
        /// After which shares, in percent, it is looked at: rising, and 100 at the end.
        steps: Vec<u32> = vec![10, 50, 100], check rising;
        /// How long each step is watched.
        pause: Period = Period::seconds(60), in Period::seconds(0)..=Period::MAX;
        /// The most requests that may fail, in percent.
        max_errors_percent: u32 = 1, in 0..=100;
        /// The longest that one request of a hundred may take.
        max_p99: Option<Period>, in Period::millis(1)..=Period::MAX;
        /// Whether it is taken back by itself when a threshold is passed.
        automatic_rollback: bool = true;
    }
}

fn rising(steps: &[u32]) -> Result<(), Invalid> {
    let rises = steps.windows(2).all(|pair| pair[0] < pair[1]);
    if rises && steps.first().is_some_and(|first| *first > 0) && steps.last() == Some(&100) {
        return Ok(());
    }
    let problem = "the steps do not rise from above 0 to 100";
    Err(Invalid::new(code::OUT_OF_RANGE, problem, "write shares in percent such as [10, 50, 100]"))
}

table! {
    /// A switch that is on for a share of the traffic.
    pub struct Flag {
        /// For how much it is on, in percent.
        percent: u32 = 0, in 0..=100;
        /// An environment variable that decides instead, where it is set to `true` or `false`.
        env: Option<Name>;
        /// A line for the reader.
        description: Option<Line>;
    }
}

choice! {
    /// What is watched.
    pub enum AlertMetric {
        /// Messages that a consumer has not handled.
        Lag = "lag",
        /// Use of JetStream's storage, in percent.
        StoragePercent = "storage_percent",
        /// Use of the allowed connections, in percent.
        ConnectionsPercent = "connections_percent",
        /// Deliveries and requests that failed, in percent.
        ErrorPercent = "error_percent",
        /// Servers that do not answer.
        Unreachable = "unreachable",
    }
}

choice! {
    /// How bad it is.
    pub enum Severity {
        /// Somebody should look at it.
        Warning = "warning",
        /// Somebody must do something now.
        Critical = "critical",
    }
}

table! {
    /// When somebody is told.
    pub struct Alert {
        /// What is watched.
        metric: AlertMetric;
        /// More than this is too much.
        above: u64, in 0..=i64::MAX as u64;
        /// How long it must last.
        lasting: Period = Period::seconds(300), in Period::seconds(0)..=Period::MAX;
        /// How bad it is.
        severity: Severity = Severity::Warning;
        /// Addresses of webhooks that are told, as secrets: whoever knows one can write there.
        notify: Vec<SecretSource> = Vec::new();
    }
}

choice! {
    /// Where Cloudflare may keep a bucket of R2.
    pub enum Jurisdiction {
        /// The European Union.
        Eu = "eu",
        /// FedRAMP.
        Fedramp = "fedramp",
    }
}

table! {
    /// Where Windlass keeps what it knows of the fleet.
    pub struct State {
        /// `dir:PATH`, `s3://BUCKET/PREFIX` or `r2://BUCKET/PREFIX`. Without this key, in the directory of everything, `.windlass`.
        store: Option<StoreAddress>;
        /// Where the service of the bucket is asked. `AWS_ENDPOINT_URL_S3` goes before it; without both, R2's own address of [platforms.cloudflare].
        endpoint: Option<Endpoint>;
        /// The jurisdiction of a bucket of R2, which has an address of its own.
        jurisdiction: Option<Jurisdiction>;
        /// The ID of the access key to the bucket. `AWS_ACCESS_KEY_ID` goes before it.
        access_key_id: Option<SecretSource>;
        /// The secret of the access key. `AWS_SECRET_ACCESS_KEY` goes before it.
        secret_access_key: Option<SecretSource>;
        /// How many earlier versions are kept.
        keep: u32 = 50, in 1..=100_000;
        /// How long earlier versions are kept.
        keep_for: Period = Period::days(90), in Period::days(1)..=Period::MAX;
        /// Keys that it is encrypted with: the first one encrypts, each can decrypt.
        encrypt_with: Vec<SecretSource> = Vec::new();
    }
}
