//! What was used, by Cloudflare's own count.

use super::{Call, Client, Error, Method, Reason};
use serde::Deserialize;
use serde_json::{Value, json};

/// What containers used in a span of time, as it is billed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ContainerUse {
    /// Seconds of a processor in use.
    pub cpu_seconds: f64,
    /// Bytes of memory, times seconds.
    pub memory_byte_seconds: f64,
    /// Bytes of disk, times seconds.
    pub disk_byte_seconds: f64,
    /// Bytes that went out.
    pub egress_bytes: f64,
}

/// What a Worker did in a span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerUse {
    /// Requests.
    pub requests: u64,
    /// Those that failed.
    pub errors: u64,
    /// Requests that it made itself.
    pub subrequests: u64,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    data: Value,
    #[serde(default)]
    errors: Option<Vec<Value>>,
}

const WORKER: &str = "query($account: string!, $script: string!, $from: Time!, $to: Time!) { viewer { accounts(filter: \
{accountTag: $account}) { workersInvocationsAdaptive(limit: 10000, filter: {scriptName: $script, datetime_geq: $from, \
datetime_leq: $to}) { sum { requests errors subrequests } } } } }";
const CONTAINERS: &str = "query($account: string!, $application: string!, $from: Time!, $to: Time!) { viewer { \
accounts(filter: {accountTag: $account}) { containersUsageAdaptiveGroups(limit: 10000, filter: {applicationId: \
$application, datetime_geq: $from, datetime_leq: $to}) { sum { cpuTimeSec memoryByteSec diskByteSec egressBytes } } } } }";

const BUCKET: &str = "query($account: string!, $bucket: string!, $from: Time!, $to: Time!) { viewer { accounts(filter: \
{accountTag: $account}) { r2StorageAdaptiveGroups(limit: 1, filter: {bucketName: $bucket, datetime_geq: $from, \
datetime_leq: $to}, orderBy: [datetime_DESC]) { max { objectCount payloadSize } } } } }";

impl Client {
    /// How many objects a bucket had last between two moments (RFC 3339), and their bytes; `None` when that was not counted.
    ///
    /// # Errors
    /// When Cloudflare does not say.
    pub async fn bucket_size(&self, bucket: &str, from: &str, to: &str) -> Result<Option<(u64, u64)>, Error> {
        let variables = json!({ "account": self.account(), "bucket": bucket, "from": from, "to": to });
        let data = self.graphql("look up a bucket's size", BUCKET, variables).await?;
        let accounts = data["viewer"]["accounts"].as_array().into_iter().flatten();
        let group =
            accounts.filter_map(|account| account["r2StorageAdaptiveGroups"][0]["max"].as_object()).next();
        Ok(group.and_then(|max| Some((max.get("objectCount")?.as_u64()?, max.get("payloadSize")?.as_u64()?))))
    }

    /// What a Worker did between two moments (RFC 3339).
    ///
    /// # Errors
    /// When Cloudflare does not say.
    pub async fn worker_use(&self, script: &str, from: &str, to: &str) -> Result<WorkerUse, Error> {
        let variables = json!({ "account": self.account(), "script": script, "from": from, "to": to });
        let call = "look up the Worker's usage";
        worker_use(&self.graphql(call, WORKER, variables).await?).map_err(|cause| unreadable(call, cause))
    }

    /// What the containers of an application used between two moments (RFC 3339).
    ///
    /// # Errors
    /// When Cloudflare does not say.
    pub async fn container_use(
        &self,
        application: &str,
        from: &str,
        to: &str,
    ) -> Result<ContainerUse, Error> {
        let variables =
            json!({ "account": self.account(), "application": application, "from": from, "to": to });
        let call = "look up the containers' usage";
        container_use(&self.graphql(call, CONTAINERS, variables).await?)
            .map_err(|cause| unreadable(call, cause))
    }

    async fn graphql(&self, what: &str, query: &str, variables: Value) -> Result<Value, Error> {
        let body = json!({ "query": query, "variables": variables });
        let call = Call::new(Method::Post, "/graphql", what).json(body).repeatable();
        let (_, bytes) = self.raw(&call).await?;
        let answer: Answer =
            serde_json::from_slice(&bytes).map_err(|error| unreadable(what, error.to_string()))?;
        match answer.errors.as_deref() {
            None | Some([]) => Ok(answer.data),
            Some([first, ..]) => {
                let message = first["message"].as_str().unwrap_or_default().to_owned();
                // GraphQL refuses with 200.
                let status = if message.contains("not authorized") || message.contains("does not have access")
                {
                    403
                } else {
                    400
                };
                Err(super::classify(what, super::Permission::Analytics, status, Reason { code: 0, message }))
            }
        }
    }
}

fn unreadable(call: &str, cause: String) -> Error {
    Error::Unreadable { call: call.to_owned(), cause }
}

/// The sums of a dataset. None is an answer: nothing was used. That the dataset is not there at all is none.
fn groups<'a>(data: &'a Value, dataset: &str) -> Result<Vec<&'a Value>, String> {
    let accounts = data["viewer"]["accounts"].as_array().filter(|accounts| !accounts.is_empty());
    let accounts = accounts.ok_or("it has no account")?;
    let mut sums = Vec::new();
    for account in accounts {
        let groups = account[dataset].as_array().ok_or_else(|| format!("it has no {dataset}"))?;
        sums.extend(groups.iter().map(|group| &group["sum"]));
    }
    Ok(sums)
}

fn added<T: std::iter::Sum>(
    sums: &[&Value],
    key: &str,
    number: impl Fn(&Value) -> Option<T>,
) -> Result<T, String> {
    let each = |sum: &&Value| number(&sum[key]).ok_or_else(|| format!("{key} is {}, no number", sum[key]));
    sums.iter().map(each).sum()
}

fn worker_use(data: &Value) -> Result<WorkerUse, String> {
    let sums = groups(data, "workersInvocationsAdaptive")?;
    let sum = |key: &str| added(&sums, key, Value::as_u64);
    Ok(WorkerUse { requests: sum("requests")?, errors: sum("errors")?, subrequests: sum("subrequests")? })
}

fn container_use(data: &Value) -> Result<ContainerUse, String> {
    let sums = groups(data, "containersUsageAdaptiveGroups")?;
    let sum = |key: &str| added(&sums, key, Value::as_f64);
    Ok(ContainerUse {
        cpu_seconds: sum("cpuTimeSec")?,
        memory_byte_seconds: sum("memoryByteSec")?,
        disk_byte_seconds: sum("diskByteSec")?,
        egress_bytes: sum("egressBytes")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(worker: &Value, containers: &Value) -> Value {
        json!({ "viewer": { "accounts": [{
            "workersInvocationsAdaptive": worker, "containersUsageAdaptiveGroups": containers,
        }] } })
    }

    #[test]
    fn groups_are_added_up() {
        let worker = json!([
            { "sum": { "requests": 10, "errors": 1, "subrequests": 3 } },
            { "sum": { "requests": 5, "errors": 0, "subrequests": 0 } },
        ]);
        let containers = json!([
            { "sum": { "cpuTimeSec": 1.5, "memoryByteSec": 10, "diskByteSec": 0, "egressBytes": 7 } },
        ]);
        let data = account(&worker, &containers);
        assert_eq!(worker_use(&data).unwrap(), WorkerUse { requests: 15, errors: 1, subrequests: 3 });
        assert_eq!(container_use(&data).unwrap().cpu_seconds, 1.5);
        // No group at all: nothing was used.
        let data = account(&json!([]), &json!([]));
        assert_eq!(worker_use(&data).unwrap(), WorkerUse::default());
        assert_eq!(container_use(&data).unwrap(), ContainerUse::default());
    }

    #[test]
    fn what_cannot_be_read_is_not_nothing() {
        for data in [
            Value::Null,
            json!({}),
            json!({ "viewer": { "accounts": [] } }),
            account(&json!(null), &json!({})),
        ] {
            assert!(worker_use(&data).is_err() && container_use(&data).is_err(), "{data}");
        }
        let one = |sum: Value| json!([{ "sum": sum }]);
        let data = account(
            &one(json!({ "requests": "many", "errors": 0, "subrequests": 0 })),
            &one(json!({ "cpuTimeSec": 1, "memoryByteSec": null, "diskByteSec": 1, "egressBytes": 1 })),
        );
        assert_eq!(worker_use(&data).unwrap_err(), "requests is \"many\", no number");
        assert_eq!(container_use(&data).unwrap_err(), "memoryByteSec is null, no number");
        assert!(container_use(&account(&json!([]), &one(json!({ "cpuTimeSec": 1 })))).is_err());
    }
}
