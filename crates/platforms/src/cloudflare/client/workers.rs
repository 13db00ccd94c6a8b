//! Workers: scripts, their versions and deployments, secrets, routes, and the namespaces of their Durable Objects.

use super::multipart::{self, Part};
use super::{Call, Client, Error, Method, encode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

/// A script in the list of all.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Script {
    /// Its name.
    pub id: String,
    /// Which changes of its Durable Objects' classes were made.
    #[serde(default)]
    pub migration_tag: Option<String>,
    /// Changes with its content.
    #[serde(default)]
    pub etag: Option<String>,
}

/// What a script is bound to and runs with.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Its bindings; of secrets only the name.
    pub bindings: Vec<Value>,
    /// From which day on the runtime does not change for it.
    pub compatibility_date: Option<String>,
    /// Switches of the runtime.
    pub compatibility_flags: Vec<String>,
    /// Whether it logs.
    pub observability: Value,
}

/// A namespace of Durable Objects.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ObjectNamespace {
    /// Its identifier.
    pub id: String,
    /// The class.
    #[serde(default)]
    pub class: Option<String>,
    /// The script that has the class.
    #[serde(default)]
    pub script: Option<String>,
    /// Whether its objects have SQLite.
    #[serde(default)]
    pub use_sqlite: bool,
}

/// A deployment: which versions answer, each for how much of the traffic.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Deployment {
    /// Its identifier.
    pub id: String,
    /// The versions.
    #[serde(default)]
    pub versions: Vec<Share>,
    /// Who made it, and why.
    #[serde(default)]
    pub annotations: Value,
}

/// A version's share of the traffic.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Share {
    /// In percent.
    pub percentage: f64,
    /// The version.
    pub version_id: String,
}

/// Which Worker answers for what, in a zone.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Route {
    /// Its identifier.
    pub id: String,
    /// Such as `nats.acme.example/*`.
    pub pattern: String,
    /// The script.
    #[serde(default)]
    pub script: Option<String>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Enabled {
    #[serde(default)]
    enabled: bool,
}

#[derive(Deserialize)]
struct Subdomain {
    subdomain: String,
}

impl Client {
    fn script_path(&self, script: &str, rest: &str) -> String {
        self.at(&format!("workers/scripts/{}{rest}", encode(script)))
    }

    /// Every script.
    ///
    /// # Errors
    /// When Cloudflare does not say.
    pub async fn scripts(&self) -> Result<Vec<Script>, Error> {
        self.all(Call::new(Method::Get, self.at("workers/scripts"), "list the Workers"), None).await
    }

    /// The script of that name, if there is one.
    ///
    /// # Errors
    /// When Cloudflare does not say.
    pub async fn script(&self, name: &str) -> Result<Option<Script>, Error> {
        Ok(self.scripts().await?.into_iter().find(|one| one.id == name))
    }

    /// A script's modules, by name.
    ///
    /// # Errors
    /// When Cloudflare does not say.
    pub async fn modules(&self, script: &str) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let what = format!("read the Worker {script}");
        let call = Call::new(Method::Get, self.script_path(script, "/content/v2"), what.clone());
        let (content_type, bytes) = self.raw(&call).await?;
        if !content_type.starts_with("multipart/") {
            return Ok(vec![(String::new(), bytes)]);
        }
        let parts = multipart::read(&content_type, &bytes);
        let parts =
            parts.ok_or_else(|| Error::Unreadable { call: what, cause: "it is no form".to_owned() })?;
        Ok(parts.into_iter().map(|part| (part.name, part.content)).collect())
    }

    /// What a script is bound to, if it is there.
    ///
    /// # Errors
    /// When Cloudflare does not say.
    pub async fn settings(&self, script: &str) -> Result<Option<Settings>, Error> {
        let call = Call::new(
            Method::Get,
            self.script_path(script, "/settings"),
            format!("look at the settings of the Worker {script}"),
        );
        self.find(&call).await
    }

    /// Uploads a script of one module, and lets it answer. With migrations it must not be done twice: look at the script's
    /// migration tag before.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn upload(
        &self,
        script: &str,
        metadata: &Value,
        module: &str,
        content: &str,
    ) -> Result<(), Error> {
        let what = format!("upload the Worker {script}");
        let parts = vec![Part::json("metadata", metadata), Part::module(module, content)];
        let call = Call::new(Method::Put, self.script_path(script, ""), what)
            .query("excludeScript", "true")
            .query("bindings_inherit", "strict")
            .form(parts);
        let migrates = metadata.get("migrations").is_some();
        self.run(&if migrates { call.once() } else { call }).await
    }

    /// Deletes a script with its Durable Objects and all that they hold.
    ///
    /// # Errors
    /// When it cannot be deleted.
    pub async fn delete_script(&self, script: &str) -> Result<(), Error> {
        let call =
            Call::new(Method::Delete, self.script_path(script, ""), format!("delete the Worker {script}"));
        self.run_or_gone(&call.query("force", "true")).await
    }

    /// The names of a script's secrets.
    ///
    /// # Errors
    /// When Cloudflare does not say.
    pub async fn secrets(&self, script: &str) -> Result<Vec<String>, Error> {
        let call = Call::new(
            Method::Get,
            self.script_path(script, "/secrets"),
            format!("list the secrets of the Worker {script}"),
        );
        match self.all::<Named>(call, None).await {
            Ok(secrets) => Ok(secrets.into_iter().map(|secret| secret.name).collect()),
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Sets a secret.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn set_secret(&self, script: &str, name: &str, value: &SecretString) -> Result<(), Error> {
        let call = Call::new(
            Method::Put,
            self.script_path(script, "/secrets"),
            format!("set the secret {name} of the Worker {script}"),
        );
        let body = json!({ "name": name, "text": value.expose_secret(), "type": "secret_text" });
        self.run(&call.json(body)).await
    }

    /// Deletes a secret.
    ///
    /// # Errors
    /// When it cannot be deleted.
    pub async fn delete_secret(&self, script: &str, name: &str) -> Result<(), Error> {
        let path = self.script_path(script, &format!("/secrets/{}", encode(name)));
        let call =
            Call::new(Method::Delete, path, format!("delete the secret {name} of the Worker {script}"));
        self.run_or_gone(&call).await
    }

    /// Whether a script answers on the account's own domain.
    ///
    /// # Errors
    /// When Cloudflare does not say.
    pub async fn is_on_subdomain(&self, script: &str) -> Result<bool, Error> {
        let path = self.script_path(script, "/subdomain");
        let call = Call::new(Method::Get, path, format!("look whether the Worker {script} answers"));
        Ok(self.find::<Enabled>(&call).await?.is_some_and(|found| found.enabled))
    }

    /// Lets a script answer on the account's own domain.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn put_on_subdomain(&self, script: &str) -> Result<(), Error> {
        let path = self.script_path(script, "/subdomain");
        let call = Call::new(Method::Post, path, format!("let the Worker {script} answer"));
        self.run(&call.json(json!({ "enabled": true, "previews_enabled": false })).repeatable()).await
    }

    /// The account's own domain below `workers.dev`, if it has one.
    ///
    /// # Errors
    /// When Cloudflare does not say.
    pub async fn subdomain(&self) -> Result<Option<String>, Error> {
        let call = Call::new(Method::Get, self.at("workers/subdomain"), "look up the account's subdomain");
        Ok(self.find::<Subdomain>(&call).await?.map(|found| found.subdomain).filter(|name| !name.is_empty()))
    }

    /// Gives the account a domain below `workers.dev`. It is the account's for good.
    ///
    /// # Errors
    /// When it is refused, or another account has it.
    pub async fn choose_subdomain(&self, name: &str) -> Result<(), Error> {
        let what = format!("take {name}.workers.dev for the account");
        let call = Call::new(Method::Put, self.at("workers/subdomain"), what);
        self.run(&call.json(json!({ "subdomain": name }))).await
    }

    /// Every namespace of Durable Objects.
    ///
    /// # Errors
    /// When Cloudflare does not say.
    pub async fn object_namespaces(&self) -> Result<Vec<ObjectNamespace>, Error> {
        let path = self.at("workers/durable_objects/namespaces");
        let call = Call::new(Method::Get, path, "list the namespaces of Durable Objects");
        self.all(call.query("per_page", "100"), None).await
    }

    /// The last deployments of a script, the newest first.
    ///
    /// # Errors
    /// When Cloudflare does not say.
    pub async fn deployments(&self, script: &str) -> Result<Vec<Deployment>, Error> {
        let path = self.script_path(script, "/deployments");
        let call = Call::new(Method::Get, path, format!("list the deployments of the Worker {script}"));
        let found: Option<Value> = self.find(&call).await?;
        let list = found.map(|mut found| found["deployments"].take()).filter(|list| !list.is_null());
        serde_json::from_value(list.unwrap_or_else(|| json!([]))).map_err(|error| Error::Unreadable {
            call: "list the deployments".to_owned(),
            cause: error.to_string(),
        })
    }

    /// Lets versions answer, each for its share: how a script goes back to what it was.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn deploy(&self, script: &str, shares: &[(String, f64)]) -> Result<(), Error> {
        let path = self.script_path(script, "/deployments");
        let call = Call::new(Method::Post, path, format!("deploy versions of the Worker {script}"));
        let share = |(id, percentage): &(String, f64)| json!({ "version_id": id, "percentage": percentage });
        let versions: Vec<Value> = shares.iter().map(share).collect();
        self.run(&call.json(json!({ "strategy": "percentage", "versions": versions })).repeatable()).await
    }

    /// The versions of a script, the newest first: `{ "id", "number", "metadata", "annotations" }`.
    ///
    /// # Errors
    /// When Cloudflare does not say.
    pub async fn versions(&self, script: &str) -> Result<Vec<Value>, Error> {
        let path = self.script_path(script, "/versions");
        let call = Call::new(Method::Get, path, format!("list the versions of the Worker {script}"));
        self.all(call, Some("items")).await
    }

    /// The bindings of a version, with the names of its secrets; `None` when there is no such version.
    ///
    /// # Errors
    /// When Cloudflare does not say.
    pub async fn version_bindings(&self, script: &str, version: &str) -> Result<Option<Vec<Value>>, Error> {
        let path = self.script_path(script, &format!("/versions/{}", encode(version)));
        let call = Call::new(Method::Get, path, format!("look at a version of the Worker {script}"));
        let found: Option<Value> = self.find(&call).await?;
        let bindings = |mut found: Value| match found["resources"]["bindings"].take() {
            Value::Array(bindings) => bindings,
            _ => Vec::new(),
        };
        Ok(found.map(bindings))
    }

    /// The routes of a zone.
    ///
    /// # Errors
    /// When Cloudflare does not say.
    pub async fn routes(&self, zone: &str) -> Result<Vec<Route>, Error> {
        let path = format!("/zones/{}/workers/routes", encode(zone));
        self.all(Call::new(Method::Get, path, "list the routes of a zone"), None).await
    }

    /// Lets a script answer for a pattern in a zone, unless it does.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn ensure_route(&self, zone: &str, pattern: &str, script: &str) -> Result<(), Error> {
        let there = self.routes(zone).await?.into_iter().find(|route| route.pattern == pattern);
        let body = json!({ "pattern": pattern, "script": script });
        let what = format!("let the Worker {script} answer for {pattern}");
        match there {
            Some(route) if route.script.as_deref() == Some(script) => Ok(()),
            Some(route) => {
                let path = format!("/zones/{}/workers/routes/{}", encode(zone), encode(&route.id));
                self.run(&Call::new(Method::Put, path, what).json(body)).await
            }
            None => {
                let path = format!("/zones/{}/workers/routes", encode(zone));
                self.run(&Call::new(Method::Post, path, what).json(body)).await
            }
        }
    }

    /// Deletes a route.
    ///
    /// # Errors
    /// When it cannot be deleted.
    pub async fn delete_route(&self, zone: &str, id: &str) -> Result<(), Error> {
        let path = format!("/zones/{}/workers/routes/{}", encode(zone), encode(id));
        self.run_or_gone(&Call::new(Method::Delete, path, "delete a route")).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_the_sdk_describes_them() {
        let settings = json!({
            "bindings": [{ "type": "secret_text", "name": "API_TOKEN" }],
            "compatibility_date": "2026-11-01", "compatibility_flags": [], "usage_model": "standard", "tags": null,
        });
        let settings: Settings = serde_json::from_value(settings).unwrap();
        assert_eq!(settings.bindings[0]["name"], "API_TOKEN");
        let namespace =
            json!({ "id": "5fd1", "class": "Fleet", "name": "s_Fleet", "script": "s", "use_sqlite": true });
        let namespace: ObjectNamespace = serde_json::from_value(namespace).unwrap();
        assert_eq!((namespace.class.as_deref(), namespace.use_sqlite), (Some("Fleet"), true));
        let deployment = json!({
            "id": "d", "created_on": "2026-11-25T10:00:00Z", "source": "api", "strategy": "percentage",
            "versions": [{ "percentage": 100, "version_id": "v" }],
            "annotations": { "workers/triggered_by": "secret" },
        });
        let deployment: Deployment = serde_json::from_value(deployment).unwrap();
        assert_eq!(
            (deployment.versions[0].percentage, deployment.versions[0].version_id.as_str()),
            (100.0, "v")
        );
    }
}
