//! A Worker, as it is described to Cloudflare: modules, bindings, classes of Durable Objects.

use secrecy::SecretString;
use std::net::SocketAddr;

/// A Worker.
#[derive(Clone, Debug)]
pub struct Worker {
    /// Its name: letters, digits, hyphens and underscores.
    pub name: String,
    /// Its modules; the first is the main one.
    pub modules: Vec<Module>,
    /// As `2026-01-01`.
    pub compatibility_date: String,
    /// Flags such as `nodejs_compat`.
    pub compatibility_flags: Vec<String>,
    /// What it finds in `env`.
    pub bindings: Vec<Binding>,
    /// Its classes of Durable Objects.
    pub durable_objects: Vec<DurableObject>,
}

/// A module of a Worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// The name by which others import it.
    pub name: String,
    /// What it is.
    pub kind: ModuleKind,
    /// Its bytes.
    pub content: bytes::Bytes,
}

/// What a module is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModuleKind {
    /// JavaScript with `import` and `export`.
    EsModule,
    /// JavaScript with `require`.
    CommonJs,
    /// A text.
    Text,
    /// Bytes.
    Data,
    /// WebAssembly.
    Wasm,
    /// JSON.
    Json,
}

impl ModuleKind {
    /// From the media type under which it is uploaded.
    pub fn from_media_type(media_type: &str) -> Option<Self> {
        Some(match media_type.split(';').next().unwrap_or_default().trim() {
            "application/javascript+module" => Self::EsModule,
            "application/javascript" => Self::CommonJs,
            "text/plain" => Self::Text,
            "application/octet-stream" => Self::Data,
            "application/wasm" => Self::Wasm,
            "application/json" => Self::Json,
            _ => return None,
        })
    }
}

/// A class of Durable Objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurableObject {
    /// The class that the main module exports.
    pub class_name: String,
    /// Whether it has the SQL interface.
    pub sqlite: bool,
    /// The image of its container, if it has one.
    pub container: Option<String>,
    /// What its storage is kept under. Without it, the Worker's name and the class's: both may change all the rest and
    /// find their storage again.
    pub unique_key: Option<String>,
}

/// Something in a Worker's `env`.
#[derive(Clone, Debug)]
pub struct Binding {
    /// Its name in `env`.
    pub name: String,
    /// What it is.
    pub value: Value,
}

/// What a binding is.
#[derive(Clone, Debug)]
pub enum Value {
    /// A text.
    Text(String),
    /// A text that is told to workerd through its environment, and never written down.
    Secret(SecretString),
    /// A value.
    Json(serde_json::Value),
    /// The namespace of one of the Worker's own classes.
    DurableObject {
        /// The class.
        class_name: String,
    },
    /// A KV namespace, served at an address in the protocol of workerd's KV bindings.
    Kv(Endpoint),
    /// An R2 bucket, likewise.
    R2(Endpoint),
    /// Another service over HTTP.
    Service(Endpoint),
    /// Which version this is.
    VersionMetadata {
        /// Its id.
        id: String,
        /// Its tag, or an empty text.
        tag: String,
        /// When it was made, as RFC 3339 has it.
        timestamp: String,
    },
}

/// A server on this machine that stands behind a binding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddr,
    /// What is added to each request, so that it knows which binding asks.
    pub headers: Vec<(String, String)>,
}

impl DurableObject {
    /// A class with the SQL interface, and no container.
    pub fn new(class_name: &str) -> Self {
        Self { class_name: class_name.to_owned(), sqlite: true, container: None, unique_key: None }
    }

    /// The key of its storage.
    pub fn key(&self, worker: &str) -> String {
        self.unique_key.clone().unwrap_or_else(|| format!("{worker}-{}", self.class_name))
    }
}

impl Binding {
    /// A binding.
    pub fn new(name: &str, value: Value) -> Self {
        Self { name: name.to_owned(), value }
    }
}

impl Worker {
    /// A Worker of one module, with nothing bound.
    pub fn new(name: &str, compatibility_date: &str, source: impl Into<String>) -> Self {
        let main = Module {
            name: "worker.js".to_owned(),
            kind: ModuleKind::EsModule,
            content: bytes::Bytes::from(source.into()),
        };
        Self {
            name: name.to_owned(),
            modules: vec![main],
            compatibility_date: compatibility_date.to_owned(),
            compatibility_flags: Vec::new(),
            bindings: Vec::new(),
            durable_objects: Vec::new(),
        }
    }

    /// What answers where no Worker is deployed.
    pub fn nothing() -> Self {
        let source = "export default { fetch() { return new Response(\"No Worker is deployed here.\\n\", { status: 404 }); } };\n";
        Self::new("nothing", "2026-01-01", source)
    }

    /// With one more binding.
    #[must_use]
    pub fn bind(mut self, name: &str, value: Value) -> Self {
        self.bindings.push(Binding::new(name, value));
        self
    }

    /// With one more class of Durable Objects, bound under a name.
    #[must_use]
    pub fn durable_object(self, name: &str, object: DurableObject) -> Self {
        let value = Value::DurableObject { class_name: object.class_name.clone() };
        let mut worker = self.bind(name, value);
        worker.durable_objects.push(object);
        worker
    }

    /// What is wrong with the description, as far as it can be seen without running it.
    pub fn mistake(&self) -> Option<String> {
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
        };
        if !is_name(&self.name) {
            return Some(format!(
                "its name {:?} has other characters than letters, digits, - and _",
                self.name
            ));
        }
        if self.modules.is_empty() {
            return Some("it has no module".to_owned());
        }
        let mut names: Vec<&str> = self.modules.iter().map(|module| module.name.as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Some(format!("two modules are named {}", twice[0]));
        }
        let mut names: Vec<&str> = self.bindings.iter().map(|binding| binding.name.as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Some(format!("two bindings are named {}", twice[0]));
        }
        for object in &self.durable_objects {
            let key = object.key(&self.name);
            // It becomes a directory's name and a part of a container's.
            if !is_name(&key) {
                return Some(format!(
                    "the key {key:?} of {} cannot be a directory's name",
                    object.class_name
                ));
            }
        }
        self.bindings.iter().find_map(|binding| {
            let known = |class: &str| self.durable_objects.iter().any(|object| object.class_name == class);
            match &binding.value {
                Value::DurableObject { class_name } if !known(class_name) => {
                    Some(format!("{} is bound to {class_name}, which is none of its classes", binding.name))
                }
                Value::Secret(secret) if secrecy::ExposeSecret::expose_secret(secret).contains('\0') => {
                    Some(format!("the secret {} has a zero byte", binding.name))
                }
                _ => None,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes() {
        let worker = || Worker::new("acme", "2026-01-01", "");
        assert_eq!(worker().mistake(), None);
        let wrong = |worker: Worker| worker.mistake().unwrap();
        assert!(wrong(Worker::new("a/b", "", "")).contains("name"));
        assert!(wrong(Worker { modules: vec![], ..worker() }).contains("no module"));
        let text = || Value::Text(String::new());
        assert!(wrong(worker().bind("A", text()).bind("A", text())).contains("two bindings"));
        let class_name = "Node".to_owned();
        assert!(
            wrong(worker().bind("A", Value::DurableObject { class_name })).contains("none of its classes")
        );
        let object = DurableObject { unique_key: Some("../x".to_owned()), ..DurableObject::new("Node") };
        assert!(wrong(worker().durable_object("A", object)).contains("directory"));
        assert!(wrong(worker().bind("S", Value::Secret("a\0".to_owned().into()))).contains("zero byte"));
    }

    #[test]
    fn keys_outlive_everything_but_names() {
        assert_eq!(DurableObject::new("Node").key("acme"), "acme-Node");
        let object = DurableObject { unique_key: Some("id".to_owned()), ..DurableObject::new("Node") };
        assert_eq!(object.key("acme"), "id");
    }
}
