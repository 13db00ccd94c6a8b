//! R2: buckets, how long they keep objects, and keys for a while.

use super::{Call, Client, Error, Method, encode};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// Where it is.
    #[serde(default)]
    pub location: Option<String>,
    /// How new objects are stored.
    #[serde(default)]
    pub storage_class: Option<String>,
}

/// An object in a list.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    #[serde(default)]
    pub size: u64,
}

/// What happens to objects after a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleRule {
    /// Its name.
    pub id: String,
    /// Whether it counts.
    pub enabled: bool,
    /// Which objects it is for.
    pub conditions: Prefix,
    /// Objects are deleted.
    #[serde(rename = "deleteObjectsTransition", default, skip_serializing_if = "Option::is_none")]
    pub delete: Option<After>,
    /// Uploads that were not completed are given up.
    #[serde(rename = "abortMultipartUploadsTransition", default, skip_serializing_if = "Option::is_none")]
    pub abort_uploads: Option<After>,
}

/// Objects whose key begins so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prefix {
    /// The beginning; all of them, when empty.
    #[serde(default)]
    pub prefix: String,
}

/// After a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct After {
    /// When.
    pub condition: Age,
}

/// At an age.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Age {
    /// In seconds.
    #[serde(rename = "maxAge", default)]
    pub max_age: u64,
    /// `Age`.
    pub r#type: String,
}

impl After {
    /// So many seconds after an object was written.
    #[must_use]
    pub fn seconds(max_age: u64) -> Self {
        Self { condition: Age { max_age, r#type: "Age".to_owned() } }
    }
}

/// Objects that cannot be deleted or written over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockRule {
    /// Its name.
    pub id: String,
    /// Whether it counts.
    pub enabled: bool,
    /// Which objects it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// For how long: `{ "type": "Age", "maxAgeSeconds": 86400 }`, `{ "type": "Indefinite" }`.
    pub condition: Value,
}

/// The keys of an S3 client for a while.
pub struct TemporaryKeys {
    /// The access key's identifier.
    pub access_key_id: String,
    /// The secret access key.
    pub secret_access_key: SecretString,
    /// The session's token.
    pub session_token: SecretString,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TemporaryKeysText {
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
}

impl std::fmt::Debug for TemporaryKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TemporaryKeys").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

impl Client {
    /// A bucket, if there is one of that name.
    ///
    /// # Errors
    /// When Cloudflare does not say.
    pub async fn bucket(&self, name: &str) -> Result<Option<Bucket>, Error> {
        let path = self.at(&format!("r2/buckets/{}", encode(name)));
        self.find(&Call::new(Method::Get, path, format!("look at the bucket {name}"))).await
    }

    /// Every bucket.
    ///
    /// # Errors
    /// When Cloudflare does not say.
    pub async fn buckets(&self) -> Result<Vec<Bucket>, Error> {
        let call =
            Call::new(Method::Get, self.at("r2/buckets"), "list the buckets").query("per_page", "1000");
        self.all(call, Some("buckets")).await
    }

    /// Makes a bucket, unless it is there.
    ///
    /// # Errors
    /// When it can neither be made nor found.
    pub async fn ensure_bucket(&self, name: &str) -> Result<(), Error> {
        if self.bucket(name).await?.is_some() {
            return Ok(());
        }
        let call = Call::new(Method::Post, self.at("r2/buckets"), format!("make the bucket {name}"));
        match self.run(&call.json(json!({ "name": name }))).await {
            // The answer may have been lost, or somebody was faster.
            Err(error) if error.is_uncertain() || matches!(error, Error::Taken { .. }) => {
                match self.bucket(name).await {
                    Ok(Some(_)) => Ok(()),
                    _ => Err(error),
                }
            }
            made => made,
        }
    }

    /// Deletes a bucket; it must be empty.
    ///
    /// # Errors
    /// When it cannot be deleted.
    pub async fn delete_bucket(&self, name: &str) -> Result<(), Error> {
        let path = self.at(&format!("r2/buckets/{}", encode(name)));
        self.run_or_gone(&Call::new(Method::Delete, path, format!("delete the bucket {name}"))).await
    }

    /// The objects of a bucket, until there are `most`, or no more; a few more come along.
    ///
    /// # Errors
    /// When Cloudflare does not say.
    pub async fn objects(&self, bucket: &str, most: usize) -> Result<Vec<Object>, Error> {
        let path = self.at(&format!("r2/buckets/{}/objects", encode(bucket)));
        let call = Call::new(Method::Get, path, format!("list the objects of the bucket {bucket}"));
        self.some(call.query("per_page", "1000"), None, most).await
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// When it cannot be deleted.
    pub async fn delete_object(&self, bucket: &str, key: &str) -> Result<(), Error> {
        // A key may have slashes, which stay.
        let key_path: Vec<String> = key.split('/').map(encode).collect();
        let path = self.at(&format!("r2/buckets/{}/objects/{}", encode(bucket), key_path.join("/")));
        self.run_or_gone(&Call::new(Method::Delete, path, format!("delete {key} of the bucket {bucket}")))
            .await
    }

    /// What happens to a bucket's objects after a while.
    ///
    /// # Errors
    /// When Cloudflare does not say.
    pub async fn lifecycle(&self, bucket: &str) -> Result<Vec<LifecycleRule>, Error> {
        let path = self.at(&format!("r2/buckets/{}/lifecycle", encode(bucket)));
        let call = Call::new(Method::Get, path, format!("look at the lifecycle of the bucket {bucket}"));
        let result: Option<Value> = self.find(&call).await?;
        let rules = result.map(|mut result| result["rules"].take()).filter(|rules| !rules.is_null());
        let rules = rules.unwrap_or_else(|| json!([]));
        serde_json::from_value(rules).map_err(|error| Error::Unreadable {
            call: "look at a lifecycle".to_owned(),
            cause: error.to_string(),
        })
    }

    /// Sets what happens to a bucket's objects after a while.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn set_lifecycle(&self, bucket: &str, rules: &[LifecycleRule]) -> Result<(), Error> {
        let path = self.at(&format!("r2/buckets/{}/lifecycle", encode(bucket)));
        let call = Call::new(Method::Put, path, format!("set the lifecycle of the bucket {bucket}"));
        self.run(&call.json(json!({ "rules": rules }))).await
    }

    /// Which objects of a bucket are locked.
    ///
    /// # Errors
    /// When Cloudflare does not say.
    pub async fn locks(&self, bucket: &str) -> Result<Vec<LockRule>, Error> {
        let path = self.at(&format!("r2/buckets/{}/lock", encode(bucket)));
        let call = Call::new(Method::Get, path, format!("look at the locks of the bucket {bucket}"));
        let result: Option<Value> = self.find(&call).await?;
        let rules = result.map(|mut result| result["rules"].take()).filter(|rules| !rules.is_null());
        serde_json::from_value(rules.unwrap_or_else(|| json!([])))
            .map_err(|error| Error::Unreadable { call: "look at locks".to_owned(), cause: error.to_string() })
    }

    /// Sets which objects of a bucket are locked.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn set_locks(&self, bucket: &str, rules: &[LockRule]) -> Result<(), Error> {
        let path = self.at(&format!("r2/buckets/{}/lock", encode(bucket)));
        let call = Call::new(Method::Put, path, format!("set the locks of the bucket {bucket}"));
        self.run(&call.json(json!({ "rules": rules }))).await
    }

    /// Keys for one bucket for a while, derived from the token `parent`.
    ///
    /// # Errors
    /// When they are refused.
    pub async fn temporary_keys(
        &self,
        bucket: &str,
        parent: &str,
        permission: &str,
        seconds: u64,
    ) -> Result<TemporaryKeys, Error> {
        let call =
            Call::new(Method::Post, self.at("r2/temp-access-credentials"), format!("get keys for {bucket}"));
        let body = json!({
            "bucket": bucket, "parentAccessKeyId": parent, "permission": permission, "ttlSeconds": seconds,
        });
        let keys: TemporaryKeysText = self.get(&call.json(body).repeatable()).await?;
        Ok(TemporaryKeys {
            access_key_id: keys.access_key_id,
            secret_access_key: keys.secret_access_key.into(),
            session_token: keys.session_token.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_written_as_cloudflare_reads_them() {
        let rule = LifecycleRule {
            id: "expire".to_owned(),
            enabled: true,
            conditions: Prefix::default(),
            delete: Some(After::seconds(86_400)),
            abort_uploads: None,
        };
        let text = json!({
            "id": "expire", "enabled": true, "conditions": { "prefix": "" },
            "deleteObjectsTransition": { "condition": { "maxAge": 86400, "type": "Age" } },
        });
        assert_eq!(serde_json::to_value(&rule).unwrap(), text);
        assert_eq!(serde_json::from_value::<LifecycleRule>(text).unwrap(), rule);
        // The rule that Cloudflare gives every new bucket.
        let given = json!({
            "id": "Default Multipart Abort Rule", "enabled": true, "conditions": {},
            "abortMultipartUploadsTransition": { "condition": { "type": "Age", "maxAge": 604_800 } },
        });
        assert_eq!(
            serde_json::from_value::<LifecycleRule>(given).unwrap().abort_uploads,
            Some(After::seconds(604_800))
        );
    }

    #[test]
    fn a_bucket_is_read() {
        let text = json!({
            "creation_date": "2026-11-25T10:00:00Z", "location": "weur", "name": "acme", "storage_class": "Standard",
        });
        assert_eq!(serde_json::from_value::<Bucket>(text).unwrap().name, "acme");
    }
}
