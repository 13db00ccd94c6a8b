//! workerd's configuration, as text. Pure: the same Worker gives the same text.
//!
//! Modules lie beside the text as `module-0` and on. Secrets are not in it: they come through workerd's environment,
//! see [`secrets`].

use super::worker::{Endpoint, ModuleKind, Value, Worker};
use crate::cloudflare::engine::name::SIDE_CAR_IMAGE;
use secrecy::SecretString;
use std::fmt::Write;
use std::path::Path;

/// What a Worker's configuration depends on beside the Worker.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The directory of the Durable Objects' storage; `None` for memory.
    pub storage: Option<&'a Path>,
    /// The container engine's socket.
    pub engine: Option<&'a Path>,
    /// Certificates, as PEM, that are trusted beside those that browsers trust.
    pub trusted: &'a [String],
}

/// The name of the socket on which the Worker is reached.
pub const SOCKET: &str = "http";

/// A text of Cap'n Proto's language.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            control if u32::from(control) < 0x20 || control == '\x7f' => {
                let _ = write!(quoted, "\\x{:02x}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

fn list<T>(items: impl IntoIterator<Item = T>, text: impl Fn(T) -> String) -> String {
    items.into_iter().map(text).collect::<Vec<_>>().join(", ")
}

/// The variable in which workerd finds a secret.
fn variable(binding: &str) -> String {
    format!("WINDLASS_SECRET_{binding}")
}

/// The variables of workerd's environment that its configuration refers to.
pub fn secrets(worker: &Worker) -> Vec<(String, SecretString)> {
    worker
        .bindings
        .iter()
        .filter_map(|binding| match &binding.value {
            Value::Secret(secret) => Some((variable(&binding.name), secret.clone())),
            _ => None,
        })
        .collect()
}

/// The name of the service behind a binding.
fn service(binding: &str) -> String {
    format!("binding-{binding}")
}

fn binding(name: &str, value: &Value) -> String {
    let to_service = |kind: &str| format!("{kind} = {}", quoted(&service(name)));
    let value = match value {
        Value::Text(text) => format!("text = {}", quoted(text)),
        Value::Secret(_) => format!("fromEnvironment = {}", quoted(&variable(name))),
        Value::Json(value) => format!("json = {}", quoted(&value.to_string())),
        Value::DurableObject { class_name } => format!("durableObjectNamespace = {}", quoted(class_name)),
        Value::Kv(_) => to_service("kvNamespace"),
        Value::R2(_) => to_service("r2Bucket"),
        Value::Service(_) => to_service("service"),
        Value::VersionMetadata { id, tag, timestamp } => {
            let value = serde_json::json!({ "id": id, "tag": tag, "timestamp": timestamp });
            format!("json = {}", quoted(&value.to_string()))
        }
    };
    format!("(name = {}, {value})", quoted(name))
}

fn external(name: &str, endpoint: &Endpoint) -> String {
    let headers = list(&endpoint.headers, |(name, value)| {
        format!("(name = {}, value = {})", quoted(name), quoted(value))
    });
    let address = quoted(&endpoint.address.to_string());
    format!(
        "    (name = {}, external = (address = {address}, http = (injectRequestHeaders = [{headers}]))),\n",
        quoted(&service(name))
    )
}

/// The configuration.
pub fn text(worker: &Worker, around: &Surroundings<'_>) -> String {
    let mut text = String::from(
        "# Written by windlass; a change here is lost.\nusing Workerd = import \"/workerd/workerd.capnp\";\n\n\
         const config :Workerd.Config = (\n  services = [\n",
    );
    // Hubs and stand-ins are on loopback here.
    let trusted = list(around.trusted, |pem| quoted(pem));
    let _ = writeln!(
        text,
        "    (name = \"internet\", network = (allow = [\"public\", \"private\", \"local\"],\n      \
         tlsOptions = (trustBrowserCas = true, trustedCertificates = [{trusted}]))),"
    );
    if let Some(storage) = around.storage {
        let path = quoted(&storage.to_string_lossy());
        let _ = writeln!(text, "    (name = \"storage\", disk = (path = {path}, writable = true)),");
    }
    for binding in &worker.bindings {
        if let Value::Kv(endpoint) | Value::R2(endpoint) | Value::Service(endpoint) = &binding.value {
            text.push_str(&external(&binding.name, endpoint));
        }
    }
    let _ = writeln!(text, "    (name = {}, worker = .worker),\n  ],", quoted(&worker.name));
    let _ = writeln!(
        text,
        "  sockets = [(name = {}, http = (), service = {})],\n);\n",
        quoted(SOCKET),
        quoted(&worker.name)
    );
    text.push_str("const worker :Workerd.Worker = (\n  modules = [\n");
    for (number, module) in worker.modules.iter().enumerate() {
        let kind = match module.kind {
            ModuleKind::EsModule => "esModule",
            ModuleKind::CommonJs => "commonJsModule",
            ModuleKind::Text => "text",
            ModuleKind::Data => "data",
            ModuleKind::Wasm => "wasm",
            ModuleKind::Json => "json",
        };
        let _ = writeln!(text, "    (name = {}, {kind} = embed \"module-{number}\"),", quoted(&module.name));
    }
    let flags = list(&worker.compatibility_flags, |flag| quoted(flag));
    let _ = writeln!(text, "  ],\n  compatibilityDate = {},", quoted(&worker.compatibility_date));
    let _ = writeln!(text, "  compatibilityFlags = [{flags}],\n  bindings = [");
    for one in &worker.bindings {
        let _ = writeln!(text, "    {},", binding(&one.name, &one.value));
    }
    text.push_str("  ],\n");
    if !worker.durable_objects.is_empty() {
        text.push_str("  durableObjectNamespaces = [\n");
        for object in &worker.durable_objects {
            let container = object.container.as_ref().filter(|_| around.engine.is_some());
            let container = container
                .map(|image| format!(", container = (imageName = {})", quoted(image)))
                .unwrap_or_default();
            let _ = writeln!(
                text,
                "    (className = {}, uniqueKey = {}, enableSql = {}{container}),",
                quoted(&object.class_name),
                quoted(&object.key(&worker.name)),
                object.sqlite
            );
        }
        let storage =
            if around.storage.is_some() { "(localDisk = \"storage\")" } else { "(inMemory = void)" };
        let _ = writeln!(text, "  ],\n  durableObjectStorage = {storage},");
    }
    if let Some(engine) = around.engine {
        let socket = quoted(&format!("unix:{}", engine.display()));
        let image = quoted(&format!("{SIDE_CAR_IMAGE}:windlass"));
        let _ = writeln!(
            text,
            "  containerEngine = (localDocker = (socketPath = {socket}, containerEgressInterceptorImage = {image})),"
        );
    }
    text.push_str(");\n");
    text
}

#[cfg(test)]
mod tests {
    use super::super::worker::{Binding, DurableObject, Module};
    use super::*;

    fn worker() -> Worker {
        let address = "127.0.0.1:9000".parse().unwrap();
        let headers = vec![("x-windlass-binding".to_owned(), "one".to_owned())];
        let endpoint = || Endpoint { address, headers: headers.clone() };
        let node = DurableObject {
            container: Some("acme/nats:2.15.1".to_owned()),
            ..DurableObject::new("NatsNode")
        };
        let mut worker = Worker::new("acme-nats-orchestrator", "2026-11-01", "export default {}")
            .durable_object("NODE", node)
            .durable_object(
                "OUTBOX",
                DurableObject { unique_key: Some("0123abcd".to_owned()), ..DurableObject::new("Outbox") },
            )
            .bind("ROUTES", Value::Kv(endpoint()))
            .bind("PAYLOADS", Value::R2(endpoint()))
            .bind("SEARCH", Value::Service(Endpoint { address, headers: vec![] }))
            .bind("API_TOKEN", Value::Secret("never written down".to_owned().into()))
            .bind("MOTTO", Value::Text("a \"quoted\"\\ line\nand\ta tab\x01 é".to_owned()))
            .bind(
                "SETTINGS",
                Value::Json(serde_json::json!({ "fleet": "acme", "regions": { "weur": { "min": 1 } } })),
            );
        worker.compatibility_flags.push("nodejs_compat".to_owned());
        worker.bindings.push(Binding::new(
            "VERSION",
            Value::VersionMetadata {
                id: "v-1".into(),
                tag: String::new(),
                timestamp: "2026-11-25T00:00:00Z".into(),
            },
        ));
        worker.modules.push(Module {
            name: "a.wasm".into(),
            kind: ModuleKind::Wasm,
            content: "\0asm".into(),
        });
        worker
    }

    #[test]
    fn golden() {
        let trusted = ["-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n".to_owned()];
        let around = Surroundings {
            storage: Some(Path::new("/srv/storage")),
            engine: Some(Path::new("/srv/engine.sock")),
            trusted: &trusted,
        };
        let text = text(&worker(), &around);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cloudflare/golden/workerd.capnp");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(
            text,
            std::fs::read_to_string(&path).unwrap(),
            "UPDATE_GOLDEN=1, then look at the difference"
        );
        assert!(!text.contains("never written down"));
    }

    #[test]
    fn without_engine_and_disk_it_is_a_trial() {
        let text = text(&worker(), &Surroundings { storage: None, engine: None, trusted: &[] });
        assert!(text.contains("inMemory") && !text.contains("container") && !text.contains("localDisk"));
    }

    #[test]
    fn secrets_go_through_the_environment() {
        let secrets = secrets(&worker());
        let names: Vec<_> = secrets.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["WINDLASS_SECRET_API_TOKEN"]);
        assert!(!format!("{:?}", worker()).contains("never written down"));
    }
}
