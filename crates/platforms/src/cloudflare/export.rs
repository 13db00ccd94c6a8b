//! The same as an apply would make, as files: for wrangler, and for Terraform. Pure.
//!
//! Secrets are in none of them: wrangler is told them with `wrangler secret put`, Terraform by variables.

use super::client::containers::Application;
use super::edge::{self, CLASSES, COMPATIBILITY_DATE, COMPATIBILITY_FLAGS, MIGRATION, MODULE, NODE_CLASS};
use serde_json::{Value, json};
use windlass_engine::wanted;
use windlass_fleet::{Cluster, Fleet};

/// What is written about an edge.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The fleet.
    pub fleet: &'a Fleet,
    /// The cluster's name.
    pub name: &'a str,
    /// The cluster.
    pub cluster: &'a Cluster,
    /// The account's identifier.
    pub account: &'a str,
    /// The settings that the Worker is to have.
    pub settings: &'a Value,
    /// The KV namespace's identifier, if it is there already.
    pub namespace: Option<&'a str>,
}

/// A file to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its path within the directory.
    pub path: &'static str,
    /// Its content.
    pub content: String,
}

/// Every file.
#[must_use]
pub fn files(subject: Subject<'_>, worker: &str) -> Vec<File> {
    let settings = format!("{:#}\n", subject.settings);
    vec![
        File { path: "wrangler.jsonc", content: wrangler(subject) },
        File { path: MODULE, content: worker.to_owned() },
        File { path: "terraform/cloudflare-containers.tf", content: terraform(subject) },
        File { path: "terraform/settings.json", content: settings },
    ]
}

impl Subject<'_> {
    fn application(&self) -> Application {
        edge::application(self.fleet, self.name, self.cluster, self.account, "")
    }

    fn secrets(&self) -> Vec<&'static str> {
        wanted::edge::secrets(self.fleet)
    }
}

/// The configuration of wrangler.
#[must_use]
pub fn wrangler(subject: Subject<'_>) -> String {
    let application = subject.application();
    let mut namespace = json!({ "binding": "ROUTES" });
    if let Some(id) = subject.namespace {
        namespace["id"] = id.into();
    }
    let configuration = json!({
        "$schema": "node_modules/wrangler/config-schema.json",
        "name": wanted::edge::script(subject.fleet),
        "account_id": subject.account,
        "main": MODULE,
        "no_bundle": true,
        "compatibility_date": COMPATIBILITY_DATE,
        "compatibility_flags": COMPATIBILITY_FLAGS,
        "workers_dev": true,
        "preview_urls": false,
        "observability": { "enabled": true },
        "durable_objects": {
            "bindings": CLASSES.map(|(name, class)| json!({ "name": name, "class_name": class })),
        },
        "migrations": [{ "tag": MIGRATION, "new_sqlite_classes": CLASSES.map(|(_, class)| class) }],
        "containers": [{
            "name": application.name,
            "class_name": NODE_CLASS,
            "image": application.configuration.image,
            "instance_type": application.configuration.instance_type,
            "max_instances": application.max_instances,
            "constraints": { "regions": edge::regions(subject.cluster) },
            "rollout_active_grace_period": application.rollout_active_grace_period,
        }],
        "kv_namespaces": [namespace],
        "r2_buckets": [{ "binding": "PAYLOADS", "bucket_name": wanted::edge::payloads(subject.fleet) }],
        "version_metadata": { "binding": "VERSION" },
        "vars": { "SETTINGS": subject.settings },
    });
    let secrets: String =
        subject.secrets().iter().map(|name| format!("//   wrangler secret put {name}\n")).collect();
    format!(
        "// Written by Windlass from the fleet {:?}: what `windlass apply` would make. Change the fleet file instead.\n\
         //\n\
         // `wrangler deploy` here uploads the Worker beside this file. Its secrets are in no file; set each once:\n\
         {secrets}\
         // or let `windlass apply` do all of it, secrets included.\n{configuration:#}\n",
        subject.fleet.name()
    )
}

/// The configuration of Terraform.
#[must_use]
pub fn terraform(subject: Subject<'_>) -> String {
    let Subject { fleet, account, .. } = subject;
    let application = subject.application();
    let (script, payloads) = (wanted::edge::script(fleet), wanted::edge::payloads(fleet));
    let mut out = format!(
        r#"# Written by Windlass from the fleet "{fleet}": what `windlass apply` would make. Change the fleet file instead.
#
# The provider cannot do two things, so they are not here:
#
#   1. The container application, and that the class {NODE_CLASS} has containers. `windlass apply` and
#      `wrangler deploy` make it so:
#        name                        {name}
#        image                       {image}
#        instance_type               {instance}
#        max_instances               {most}
#        constraints.regions         {regions}
#        scheduling_policy           default
#        rollout_active_grace_period {grace}
#   2. What runs in the containers. `windlass plan` asks the nodes themselves.

terraform {{
  required_providers {{
    cloudflare = {{
      source  = "cloudflare/cloudflare"
      version = "~> 5.0"
    }}
  }}
}}

variable "account_id" {{
  description = "The account's identifier."
  type        = string
  default     = "{account}"
}}
"#,
        fleet = fleet.name(),
        name = application.name,
        image = application.configuration.image,
        instance = application.configuration.instance_type.unwrap_or_default(),
        most = application.max_instances.unwrap_or_default(),
        regions = edge::regions(subject.cluster).join(", "),
        grace = application.rollout_active_grace_period.unwrap_or_default(),
    );
    for name in subject.secrets() {
        out += &format!(
            r#"
variable "{}" {{
  description = "The Worker's secret {name}."
  type        = string
  sensitive   = true
}}
"#,
            name.to_ascii_lowercase()
        );
    }
    out += &format!(
        r#"
resource "cloudflare_r2_bucket" "payloads" {{
  account_id = var.account_id
  name       = "{payloads}"
}}
"#
    );
    let kept = fleet.github_stream().and_then(|(_, stream)| wanted::payloads_kept(stream));
    if let Some(kept) = kept {
        out += &format!(
            r#"
resource "cloudflare_r2_bucket_lifecycle" "payloads" {{
  account_id  = var.account_id
  bucket_name = cloudflare_r2_bucket.payloads.name
  rules = [{{
    id         = "windlass-payloads"
    enabled    = true
    conditions = {{ prefix = "" }}
    delete_objects_transition = {{
      condition = {{ type = "Age", max_age = {} }}
    }}
  }}]
}}
"#,
            kept.as_millis() / 1000
        );
    }
    out += &format!(
        r#"
resource "cloudflare_workers_kv_namespace" "routes" {{
  account_id = var.account_id
  title      = "{routes}"
}}

resource "cloudflare_workers_script" "nats_orchestrator" {{
  account_id          = var.account_id
  script_name         = "{script}"
  main_module         = "{MODULE}"
  content_file        = "${{path.module}}/../{MODULE}"
  content_sha256      = filesha256("${{path.module}}/../{MODULE}")
  compatibility_date  = "{COMPATIBILITY_DATE}"
  compatibility_flags = {flags}
  observability       = {{ enabled = true }}

  migrations = {{
    new_tag = "{MIGRATION}"
    steps   = [{{ new_sqlite_classes = {classes} }}]
  }}

  bindings = [
"#,
        routes = wanted::edge::routes(fleet),
        flags = list(&COMPATIBILITY_FLAGS),
        classes = list(&CLASSES.map(|(_, class)| class)),
    );
    for (name, class) in CLASSES {
        out += &format!(
            "    {{ type = \"durable_object_namespace\", name = \"{name}\", class_name = \"{class}\" }},\n"
        );
    }
    out += "    { type = \"kv_namespace\", name = \"ROUTES\", namespace_id = cloudflare_workers_kv_namespace.routes.id },\n";
    out += "    { type = \"r2_bucket\", name = \"PAYLOADS\", bucket_name = cloudflare_r2_bucket.payloads.name },\n";
    out += "    { type = \"version_metadata\", name = \"VERSION\" },\n";
    out += "    { type = \"json\", name = \"SETTINGS\", json = file(\"${path.module}/settings.json\") },\n";
    for name in subject.secrets() {
        let variable = name.to_ascii_lowercase();
        out += &format!("    {{ type = \"secret_text\", name = \"{name}\", text = var.{variable} }},\n");
    }
    out += "  ]\n}\n";
    out += r#"
resource "cloudflare_workers_script_subdomain" "nats_orchestrator" {
  account_id       = var.account_id
  script_name      = cloudflare_workers_script.nats_orchestrator.script_name
  enabled          = true
  previews_enabled = false
}
"#;
    out
}

fn list(texts: &[&str]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| format!("{text:?}")).collect();
    format!("[{}]", quoted.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::edge::tests::{FILE, fleet, hub, identity};
    use super::*;
    use std::path::Path;

    fn exported(namespace: Option<&str>) -> Vec<File> {
        let fleet = fleet(FILE);
        let (name, cluster) = wanted::edge::cluster(&fleet).unwrap();
        let account = "0123456789abcdef0123456789abcdef";
        let image = edge::image(cluster, account);
        let settings = edge::settings(&fleet, name, cluster, &identity(), &hub(), &image);
        let subject = Subject { fleet: &fleet, name, cluster, account, settings: &settings, namespace };
        files(subject, "export default {}\n")
    }

    #[test]
    fn the_files_are_the_golden_ones() {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/cloudflare");
        for file in exported(Some("06779da6940b431db6e566b4846d64db")) {
            let path = golden.join(file.path);
            if std::env::var_os("UPDATE_GOLDEN").is_some() {
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(&path, &file.content).unwrap();
            }
            let expected = std::fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(file.content, expected, "{}: UPDATE_GOLDEN=1 takes it over", path.display());
        }
    }

    #[test]
    fn no_secret_is_in_a_file() {
        for file in exported(None) {
            assert!(!file.content.contains("c0ffee"), "{}", file.path);
            assert!(!file.content.contains("PRIVATE") && !file.content.contains("SEED"), "{}", file.path);
        }
    }

    #[test]
    fn a_namespace_that_is_not_there_is_made_by_wrangler() {
        let wrangler = exported(None).swap_remove(0).content;
        let body: String = wrangler.lines().filter(|line| !line.starts_with("//")).collect();
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["kv_namespaces"], json!([{ "binding": "ROUTES" }]));
        // The name that wrangler gives one is the one that is looked for.
        let script = body["name"].as_str().unwrap();
        assert_eq!(wanted::edge::routes(&fleet(FILE)), format!("{script}-routes"));
    }
}
