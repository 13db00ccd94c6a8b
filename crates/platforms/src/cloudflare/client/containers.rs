//! Containers: applications, their instances and rollouts, and the registry of images.

use super::{Call, Client, Error, Method, encode};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Cloudflare's own registry.
pub const REGISTRY: &str = "registry.cloudflare.com";

/// An application: which image runs, how large, where, and how many at most.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Application {
    /// Its identifier.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Its name.
    pub name: String,
    /// How it is placed.
    #[serde(default)]
    pub scheduling_policy: String,
    /// What runs.
    #[serde(default)]
    pub configuration: Configuration,
    /// How many are started ahead; Durable Objects start their own.
    #[serde(default)]
    pub instances: u64,
    /// How many there may be.
    #[serde(default)]
    pub max_instances: Option<u64>,
    /// Where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constraints: Option<Constraints>,
    /// Whose containers they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durable_objects: Option<DurableObjects>,
    /// How long one that is in use has before it is replaced, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout_active_grace_period: Option<u64>,
    /// Grows with each change.
    #[serde(default, skip_serializing)]
    pub version: Option<u64>,
    /// How its instances are.
    #[serde(default, skip_serializing)]
    pub health: Value,
}

/// What runs in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// The image.
    #[serde(default)]
    pub image: String,
    /// The size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_type: Option<String>,
}

/// Where containers may run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Constraints {
    /// In these regions, such as `WEUR`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<String>,
    /// In places of these sorts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tiers: Vec<u64>,
}

/// The Durable Objects that start containers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DurableObjects {
    /// Their namespace.
    pub namespace_id: String,
}

/// One container.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Instance {
    /// Its identifier.
    pub id: String,
    /// Its image.
    #[serde(default)]
    pub image: String,
    /// How it is: `{ "state": "running" }`.
    #[serde(default)]
    pub status: Value,
}

/// A change that goes through an application.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct RolloutMade {
    /// Its identifier.
    pub id: String,
    /// How it is: `pending`, `progressing`, `completed`, … `completed` means started, not that anything works.
    #[serde(default)]
    pub status: String,
}

/// Credentials of the registry, for a while.
pub struct RegistryKeys {
    /// The user.
    pub username: String,
    /// The password.
    pub password: SecretString,
}

#[derive(Deserialize)]
struct RegistryKeysText {
    username: String,
    password: String,
}

impl std::fmt::Debug for RegistryKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegistryKeys").field("username", &self.username).finish_non_exhaustive()
    }
}

impl Client {
    /// Every application.
    ///
    /// # Errors
    /// When Cloudflare does not say.
    pub async fn applications(&self) -> Result<Vec<Application>, Error> {
        let path = self.at("containers/applications");
        self.all(Call::new(Method::Get, path, "list the container applications"), None).await
    }

    /// The application of that name, if there is one.
    ///
    /// # Errors
    /// When Cloudflare does not say.
    pub async fn application(&self, name: &str) -> Result<Option<Application>, Error> {
        Ok(self.applications().await?.into_iter().find(|one| one.name == name))
    }

    /// Makes an application; one of that name that is there already stays as it is. Gives what is there.
    ///
    /// # Errors
    /// When it can neither be made nor found.
    pub async fn ensure_application(&self, wanted: &Application) -> Result<Application, Error> {
        if let Some(there) = self.application(&wanted.name).await? {
            return Ok(there);
        }
        let what = format!("make the container application {}", wanted.name);
        let body = serde_json::to_value(wanted).unwrap_or_default();
        let call = Call::new(Method::Post, self.at("containers/applications"), what).json(body);
        match self.get(&call).await {
            Err(error) if error.is_uncertain() || matches!(error, Error::Taken { .. }) => {
                self.application(&wanted.name).await.ok().flatten().ok_or(error)
            }
            made => made,
        }
    }

    /// Changes how many there may be, where, and how they are replaced.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn change_application(&self, id: &str, wanted: &Application) -> Result<(), Error> {
        let path = self.at(&format!("containers/applications/{}", encode(id)));
        let call =
            Call::new(Method::Patch, path, format!("change the container application {}", wanted.name));
        let body = json!({
            "max_instances": wanted.max_instances,
            "constraints": wanted.constraints,
            "rollout_active_grace_period": wanted.rollout_active_grace_period,
        });
        self.run(&call.json(body)).await
    }

    /// Lets an application run something else, in one step: whether it does, its nodes say themselves.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn roll_out(&self, id: &str, target: &Configuration, why: &str) -> Result<RolloutMade, Error> {
        let path = self.at(&format!("containers/applications/{}/rollouts", encode(id)));
        let body = json!({
            "description": why,
            "strategy": "rolling",
            "kind": "full_auto",
            "step_percentage": 100,
            "target_configuration": target,
        });
        // The same target twice is no other change.
        self.get(&Call::new(Method::Post, path, "roll out a container application").json(body).repeatable())
            .await
    }

    /// Deletes an application and its containers.
    ///
    /// # Errors
    /// When it cannot be deleted.
    pub async fn delete_application(&self, id: &str) -> Result<(), Error> {
        let path = self.at(&format!("containers/applications/{}", encode(id)));
        self.run_or_gone(&Call::new(Method::Delete, path, "delete a container application")).await
    }

    /// An application's containers.
    ///
    /// # Errors
    /// When Cloudflare does not say.
    pub async fn instances(&self, id: &str) -> Result<Vec<Instance>, Error> {
        let path = self.at(&format!("containers/applications/{}/instances", encode(id)));
        let call = Call::new(Method::Get, path, "list the containers of an application");
        self.all(call, Some("instances")).await
    }

    /// The versions of an application, each with its share.
    ///
    /// # Errors
    /// When Cloudflare does not say.
    pub async fn application_versions(&self, id: &str) -> Result<Vec<Value>, Error> {
        let path = self.at(&format!("containers/applications/{}/versions", encode(id)));
        self.all(Call::new(Method::Get, path, "list the versions of an application"), None).await
    }

    /// Credentials for the registry, for so many minutes.
    ///
    /// # Errors
    /// When they are refused.
    pub async fn registry_keys(&self, minutes: u64, permissions: &[&str]) -> Result<RegistryKeys, Error> {
        let path = self.at(&format!("containers/registries/{REGISTRY}/credentials"));
        let body = json!({ "expiration_minutes": minutes, "permissions": permissions });
        let call = Call::new(Method::Post, path, "get credentials for the registry").json(body).repeatable();
        let keys: RegistryKeysText = self.get(&call).await?;
        Ok(RegistryKeys { username: keys.username, password: keys.password.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_is_written_as_wrangler_writes_it() {
        let application = Application {
            id: String::new(),
            name: "acme-nats-edge".to_owned(),
            scheduling_policy: "default".to_owned(),
            configuration: Configuration {
                image: "registry.cloudflare.com/acc/windlass-nats:2.15.1".to_owned(),
                instance_type: Some("basic".to_owned()),
            },
            instances: 0,
            max_instances: Some(8),
            constraints: Some(Constraints { regions: vec!["ENAM".to_owned()], tiers: Vec::new() }),
            durable_objects: Some(DurableObjects { namespace_id: "ns".to_owned() }),
            rollout_active_grace_period: Some(60),
            version: Some(3),
            health: Value::Null,
        };
        let expected = json!({
            "name": "acme-nats-edge",
            "scheduling_policy": "default",
            "configuration": {
                "image": "registry.cloudflare.com/acc/windlass-nats:2.15.1", "instance_type": "basic",
            },
            "instances": 0,
            "max_instances": 8,
            "constraints": { "regions": ["ENAM"] },
            "durable_objects": { "namespace_id": "ns" },
            "rollout_active_grace_period": 60,
        });
        assert_eq!(serde_json::to_value(&application).unwrap(), expected);
    }

    #[test]
    fn an_application_is_read_as_the_sdk_describes_it() {
        let text = json!({
            "id": "7f2", "account_id": "acc", "configuration": { "image": "i", "instance_type": "lite", "vcpu": 1 },
            "created_at": "2026-11-25T10:00:00Z", "instances": 1, "name": "n", "scheduling_policy": "default",
            "updated_at": "2026-11-25T10:00:00Z", "version": 2,
            "health": { "errors": [], "instances": { "active": 1, "assigned": 0 } },
        });
        let application: Application = serde_json::from_value(text).unwrap();
        assert_eq!(
            (application.version, application.health["instances"]["active"].as_u64()),
            (Some(2), Some(1))
        );
    }
}
