//! Two registries, asked the same: ours, which is a stand-in, and Debian's `docker-registry`, which is the real one. And the
//! push of an image to both, through a network that breaks, to Cloudflare's with its short-lived credentials, and by tokens.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, StatusCode};
use rustix::process::Signal;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use windlass_sandbox::registry::{Handle, Options, Permission, Registry};
use windlass_tests::tools::{free_port, nats_server, skip_without};
use windlass_tests::{Fleet, eventually, http_client, signal};

/// What both take: the user name that Cloudflare gives, and a password whose digest is in [`HTPASSWD`].
const USER: &str = "v1";
const PASSWORD: &str = "not-a-secret";
const HTPASSWD: &str = "v1:$2y$05$abcdefghijklmnopqrstuuVPNOToLP9MHdthRCXkVoiIF0qNKnk2G\n";

/// A registry that is real, as a process that ends with it.
struct Docker {
    address: String,
    process: Child,
    _directory: TempDir,
}

impl Drop for Docker {
    fn drop(&mut self) {
        signal(i32::try_from(self.process.id()).unwrap(), Signal::KILL);
        let _ = self.process.wait();
    }
}

fn has(program: &str) -> bool {
    let works = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    if !works {
        skip_without(program);
    }
    works
}

/// Debian's registry, with this for its `auth`. `None` where it is not installed.
async fn docker(auth: &str) -> Option<Docker> {
    if !has("docker-registry") {
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    fs::write(directory.path().join("htpasswd"), HTPASSWD).unwrap();
    let place = directory.path().display();
    let auth = auth.replace("DIRECTORY", &place.to_string());
    let configuration = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: \"{place}/data\"}}\n  \
         delete: {{enabled: true}}\nhttp: {{addr: \"{address}\"}}\nauth: {auth}\n"
    );
    let file = directory.path().join("registry.yml");
    fs::write(&file, configuration).unwrap();
    let process = Command::new("docker-registry")
        .arg("serve")
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let docker = Docker { address, process, _directory: directory };
    let url = format!("http://{}/v2/", docker.address);
    eventually("docker-registry answers", async || http_client().get(&url).send().await.is_ok()).await;
    Some(docker)
}

async fn docker_with_password() -> Option<Docker> {
    docker("{htpasswd: {realm: registry, path: \"DIRECTORY/htpasswd\"}}").await
}

/// Our registry, with credentials for somebody who may do everything.
async fn ours(options: Options) -> (Registry, Handle, String) {
    let registry = Registry::open(options).unwrap();
    let handle = registry.serve(([127, 0, 0, 1], 0).into()).await.unwrap();
    let issued = registry.issue(&[Permission::Pull, Permission::Push], Duration::from_secs(600));
    (registry, handle, issued.password.expose_secret().to_owned())
}

fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// Somebody who asks a registry and writes down what it answers.
struct Asker {
    base: String,
    password: String,
    transcript: Vec<String>,
}

struct Said {
    status: StatusCode,
    location: String,
    body: Vec<u8>,
}

impl Asker {
    async fn ask(
        &mut self,
        what: &str,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Said {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.base) };
        let is_head = method == Method::HEAD;
        let mut request = http_client().request(method, url).body(body.to_vec());
        if !headers.iter().any(|(name, _)| *name == "authorization") {
            request = request.basic_auth(USER, Some(&self.password));
        }
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        let header = |name: &str| {
            answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
        };
        let mut line = format!("{what}: {}", answer.status().as_u16());
        for name in ["docker-content-digest", "range", "content-type", "docker-distribution-api-version"] {
            // What describes an error's page or an empty body says nothing.
            let counts = name != "content-type" || (answer.status() == 200 && path.contains("/manifests/"));
            let value = header(name);
            if counts && !value.is_empty() {
                line.push_str(&format!(" {name}={value}"));
            }
        }
        if is_head && answer.status() == 200 {
            line.push_str(&format!(" content-length={}", header("content-length")));
        }
        let scheme = header("www-authenticate");
        if !scheme.is_empty() {
            line.push_str(&format!(" asks={}", scheme.split(' ').next().unwrap()));
        }
        let location = header("location");
        let status = answer.status();
        let body = answer.bytes().await.unwrap().to_vec();
        if let Ok(page) = serde_json::from_slice::<Value>(&body)
            && let Some(code) = page["errors"][0]["code"].as_str()
        {
            line.push_str(&format!(" {code}"));
        }
        self.transcript.push(line);
        let location = if location.starts_with('/') { format!("{}{location}", self.base) } else { location };
        Said { status, location, body }
    }
}

fn with_digest(location: &str, digest: &str) -> String {
    format!("{location}{}digest={digest}", if location.contains('?') { '&' } else { '?' })
}

/// Everything that a client of a registry relies on, in one life of a repository.
async fn life(address: &str, password: &str) -> Vec<String> {
    let mut asker =
        Asker { base: format!("http://{address}"), password: password.to_owned(), transcript: Vec::new() };
    let wrong = format!("Basic {}", STANDARD.encode("v1:wrong"));
    let octets: &[(&str, &str)] = &[("content-type", "application/octet-stream")];
    let (get, head, put, post) = (Method::GET, Method::HEAD, Method::PUT, Method::POST);
    let layer: Vec<u8> = (0..200_000_u32).map(|number| number.wrapping_mul(31).to_le_bytes()[1]).collect();
    let (layer_digest, nothing) = (digest_of(&layer), digest_of(b"nobody has this"));
    let uploads = "/v2/acme/nats/blobs/uploads/";

    asker.ask("without credentials", get.clone(), "/v2/", &[("authorization", "")], b"").await;
    asker.ask("with a wrong password", get.clone(), "/v2/", &[("authorization", &wrong)], b"").await;
    asker.ask("an upload without credentials", post.clone(), uploads, &[("authorization", "")], b"").await;
    asker.ask("with the right one", get.clone(), "/v2/", &[], b"").await;
    asker.ask("no blob yet", head.clone(), &format!("/v2/acme/nats/blobs/{nothing}"), &[], b"").await;
    asker.ask("no repository yet", get.clone(), "/v2/acme/nats/tags/list", &[], b"").await;
    asker.ask("no manifest yet", get.clone(), "/v2/acme/nats/manifests/1", &[], b"").await;

    // In parts.
    let mut upload = asker.ask("an upload begins", post.clone(), uploads, &[], b"").await.location;
    upload = asker.ask("a part", Method::PATCH, &upload, octets, &layer[..70_000]).await.location;
    upload = asker.ask("how far is it", get.clone(), &upload, &[], b"").await.location;
    upload =
        asker.ask("the next part", Method::PATCH, &upload, octets, &layer[70_000..150_000]).await.location;
    let end = with_digest(&upload, &layer_digest);
    asker.ask("the rest, and the end", put.clone(), &end, octets, &layer[150_000..]).await;
    let blob = format!("/v2/acme/nats/blobs/{layer_digest}");
    asker.ask("the blob is there", head.clone(), &blob, &[], b"").await;
    assert_eq!(asker.ask("and can be read", get.clone(), &blob, &[], b"").await.body, layer);
    asker
        .ask("not from elsewhere", head.clone(), &format!("/v2/acme/other/blobs/{layer_digest}"), &[], b"")
        .await;

    // In one, and wrong.
    let upload = asker.ask("an upload begins", post.clone(), uploads, &[], b"").await.location;
    let end = with_digest(&upload, &nothing);
    asker.ask("bytes of another digest", put.clone(), &end, octets, b"not what was said").await;
    asker.ask("are nowhere", head.clone(), &format!("/v2/acme/nats/blobs/{nothing}"), &[], b"").await;
    let upload = asker.ask("an upload begins", post.clone(), uploads, &[], b"").await.location;
    asker.ask("an end without a digest", put.clone(), &upload, octets, b"x").await;
    let config = br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
    let config_digest = digest_of(config);
    let upload = asker.ask("an upload begins", post.clone(), uploads, &[], b"").await.location;
    asker.ask("all in one", put.clone(), &with_digest(&upload, &config_digest), octets, config).await;
    let upload = asker.ask("an upload begins", post.clone(), uploads, &[], b"").await.location;
    asker.ask("and is given up", Method::DELETE, &upload, &[], b"").await;
    asker.ask("so that it is gone", get.clone(), &upload, &[], b"").await;

    // From another repository.
    let mount = |digest: &str| format!("/v2/acme/other/blobs/uploads/?mount={digest}&from=acme/nats");
    asker.ask("a blob of another repository", post.clone(), &mount(&layer_digest), &[], b"").await;
    let other = format!("/v2/acme/other/blobs/{layer_digest}");
    asker.ask("is there, too", head.clone(), &other, &[], b"").await;
    asker.ask("what it has not becomes an upload", post.clone(), &mount(&nothing), &[], b"").await;

    // Manifests.
    let media = "application/vnd.oci.image.manifest.v1+json";
    let manifest = |layer: &str| {
        json!({
            "schemaVersion": 2, "mediaType": media,
            "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config_digest, "size": config.len() },
            "layers": [{ "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": 200_000 }],
        })
        .to_string()
    };
    let typed: &[(&str, &str)] = &[("content-type", media)];
    let accepts: &[(&str, &str)] = &[("accept", media)];
    let right = manifest(&layer_digest);
    let digest = digest_of(right.as_bytes());
    let tag = |tag: &str| format!("/v2/acme/nats/manifests/{tag}");
    asker.ask("a manifest that is none", put.clone(), &tag("1"), typed, b"{").await;
    asker
        .ask("of a blob that is not there", put.clone(), &tag("1"), typed, manifest(&nothing).as_bytes())
        .await;
    asker.ask("under another's digest", put.clone(), &tag(&nothing), typed, right.as_bytes()).await;
    asker.ask("a manifest", put.clone(), &tag("1"), typed, right.as_bytes()).await;
    asker.ask("again", put.clone(), &tag("1"), typed, right.as_bytes()).await;
    asker.ask("another tag", put.clone(), &tag("2"), typed, right.as_bytes()).await;
    asker.ask("by its tag", head.clone(), &tag("1"), accepts, b"").await;
    asker.ask("by its digest", head.clone(), &tag(&digest), accepts, b"").await;
    let read = asker.ask("as it was pushed", get.clone(), &tag(&digest), accepts, b"").await;
    assert_eq!(read.body, right.as_bytes());
    asker.ask("a tag that nobody gave", get.clone(), &tag("3"), accepts, b"").await;
    let list = asker.ask("its tags", get.clone(), "/v2/acme/nats/tags/list", &[], b"").await;
    let mut list: Value = serde_json::from_slice(&list.body).unwrap();
    // The specification wants them in order; the real one has them in any.
    list["tags"].as_array_mut().unwrap().sort_by_key(Value::to_string);
    assert_eq!(list, json!({ "name": "acme/nats", "tags": ["1", "2"] }));
    let catalog = asker.ask("every repository", get.clone(), "/v2/_catalog", &[], b"").await;
    let catalog: Value = serde_json::from_slice(&catalog.body).unwrap();
    assert!(catalog["repositories"].as_array().unwrap().contains(&json!("acme/nats")), "{catalog}");

    // And the end.
    asker.ask("deleted by digest", Method::DELETE, &tag(&digest), &[], b"").await;
    asker.ask("it is gone", get.clone(), &tag(&digest), accepts, b"").await;
    asker.ask("and so is its tag", get.clone(), &tag("1"), accepts, b"").await;
    asker.ask("the blob is deleted", Method::DELETE, &blob, &[], b"").await;
    asker.ask("and gone", head.clone(), &blob, &[], b"").await;
    asker.ask("but not elsewhere", head, &other, &[], b"").await;
    let outside = asker.ask("a path that climbs", get, "/v2/acme/%2e%2e/%2e%2e/blobs/x", &[], b"").await;
    assert!(outside.status.is_client_error());
    asker.transcript.pop();
    asker.transcript
}

#[tokio::test(flavor = "multi_thread")]
async fn both_registries_answer_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let (_registry, handle, password) = ours(Options::new(directory.path())).await;
    let found = life(&handle.address().to_string(), &password).await;
    let golden = windlass_tests::repository().join("tests/vectors/registry.txt");
    let Some(docker) = docker_with_password().await else {
        // What the real one said when it was there.
        let said = fs::read_to_string(golden).unwrap();
        assert_eq!(found, said.lines().collect::<Vec<_>>());
        return;
    };
    let real = life(&docker.address, PASSWORD).await;
    assert_eq!(found, real);
    let text: String = real.iter().map(|line| format!("{line}\n")).collect();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, &text).unwrap();
    }
    assert_eq!(fs::read_to_string(golden).unwrap(), text);
}

/// What only ours has: credentials that are over, that only read, and a namespace; and parts that do not follow.
#[tokio::test(flavor = "multi_thread")]
async fn credentials_end_and_parts_follow_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { namespace: Some("abc".into()), ..Options::new(directory.path()) };
    let (registry, handle, password) = ours(options).await;
    let base = format!("http://{}", handle.address());
    let status = async |method: Method, path: &str, password: &str, range: &str| {
        let mut request =
            http_client().request(method, format!("{base}{path}")).basic_auth(USER, Some(password));
        if !range.is_empty() {
            request = request.header("content-range", range).body("x");
        }
        let answer = request.send().await.unwrap();
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        (
            answer.status().as_u16(),
            header("location").unwrap_or_default(),
            header("range").unwrap_or_default(),
        )
    };
    let reads = registry.issue(&[Permission::Pull], Duration::from_secs(600));
    let over = registry.issue(&[Permission::Pull, Permission::Push], Duration::ZERO);
    let uploads = "/v2/abc/nats/blobs/uploads/";
    assert_eq!(status(Method::POST, uploads, reads.password.expose_secret(), "").await.0, 403);
    assert_eq!(status(Method::POST, uploads, over.password.expose_secret(), "").await.0, 401);
    assert_eq!(status(Method::POST, "/v2/xyz/nats/blobs/uploads/", &password, "").await.0, 403);
    assert_eq!(status(Method::POST, "/v2/abcd/nats/blobs/uploads/", &password, "").await.0, 403);
    let (code, upload, _) = status(Method::POST, uploads, &password, "").await;
    assert_eq!(code, 202);
    assert_eq!(status(Method::PATCH, &upload, &password, "0-0").await.0, 202);
    let (code, _, range) = status(Method::PATCH, &upload, &password, "0-0").await;
    assert_eq!((code, range.as_str()), (416, "0-0"));
    assert_eq!(status(Method::PATCH, &upload, &password, "1-1").await.0, 202);

    let exposed = Registry::open(Options::new(directory.path())).unwrap();
    let error = exposed.serve(([0, 0, 0, 0], 0).into()).await.unwrap_err();
    assert_eq!(error.code(), "WL0832");
}

/// A directory with an image of each environment.
fn images() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for environment in ["production", "staging"] {
        let output = windlass(directory.path(), &["image", "build", "--environment", environment], &[]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    directory
}

fn windlass(directory: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Fleet::command_in(directory, arguments);
    command.env("WINDLASS_NATS_SERVER", nats_server());
    for name in ["CLOUDFLARE_ACCOUNT_ID", "CLOUDFLARE_API_TOKEN", "CLOUDFLARE_API_BASE_URL"] {
        command.env_remove(name);
    }
    command.envs(environment.iter().copied()).output().unwrap()
}

/// Pushes, off the threads that serve.
async fn push(directory: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Value, Value> {
    let arguments: Vec<String> = ["image", "push", "--format", "json"]
        .iter()
        .chain(arguments)
        .map(|text| (*text).to_owned())
        .collect();
    let environment: Vec<(String, String)> =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let directory = directory.to_owned();
    let output = tokio::task::spawn_blocking(move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let environment: Vec<(&str, &str)> =
            environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        windlass(&directory, &arguments, &environment)
    })
    .await
    .unwrap();
    let all = [output.stdout.as_slice(), &output.stderr].concat();
    assert!(!String::from_utf8_lossy(&all).contains(PASSWORD), "a secret was printed");
    if output.status.success() {
        Ok(serde_json::from_slice(&output.stdout).unwrap())
    } else {
        let text = String::from_utf8_lossy(&output.stderr);
        Err(serde_json::from_str::<Value>(text.lines().last().unwrap()).unwrap()["error"].clone())
    }
}

fn credentials(password: &str) -> [(&'static str, &str); 2] {
    [("WINDLASS_REGISTRY_USERNAME", USER), ("WINDLASS_REGISTRY_PASSWORD", password)]
}

const PRODUCTION: &str = "windlass-nats:2.15.1-production";
const STAGING: &str = "windlass-nats:2.15.1-staging";

/// What a person does with a registry: push, push again, push the next one; and a client that nobody here wrote reads it.
async fn pushes(address: &str, password: &str) {
    let directory = images();
    let reference = format!("{address}/acme/nats:1");
    let wrong = push(directory.path(), &[&reference, "--image", PRODUCTION], &credentials("wrong")).await;
    assert_eq!(wrong.unwrap_err()["code"], "WL1040");
    assert_eq!(
        push(directory.path(), &[&reference, "--image", PRODUCTION], &[]).await.unwrap_err()["code"],
        "WL1040"
    );
    assert_eq!(
        push(directory.path(), &[&reference], &credentials(password)).await.unwrap_err()["code"],
        "WL0447"
    );

    let first =
        push(directory.path(), &[&reference, "--image", PRODUCTION], &credentials(password)).await.unwrap();
    let inspected = windlass(directory.path(), &["image", "inspect", PRODUCTION, "--format", "json"], &[]);
    let inspected: Value = serde_json::from_slice(&inspected.stdout).unwrap();
    assert_eq!(first["digest"], inspected[0]["digest"]);
    assert_eq!(first["sent"], inspected[0]["size"]);
    assert_eq!(first["pinned"], format!("{address}/acme/nats@{}", first["digest"].as_str().unwrap()));
    let again =
        push(directory.path(), &[&reference, "--image", PRODUCTION], &credentials(password)).await.unwrap();
    assert_eq!(
        (&again["digest"], &again["sent"], &again["present"]),
        (&first["digest"], &json!(0), &json!(3))
    );
    let other = format!("{address}/acme/nats:2");
    let staging =
        push(directory.path(), &[&other, "--image", STAGING], &credentials(password)).await.unwrap();
    assert_eq!(staging["present"], 2, "the layers are shared");
    assert!(staging["sent"].as_u64().unwrap() < 4_000, "{staging}");

    if !has("skopeo") {
        return;
    }
    let creds = format!("{USER}:{password}");
    let from = format!("docker://{reference}");
    let to = format!("oci:{}:copied", directory.path().join("copied").display());
    let back = format!("docker://{address}/acme/copied:1");
    for (source, target) in [(&from, &to), (&to, &back)] {
        let mut command = Command::new("skopeo");
        command.args([
            "--insecure-policy",
            "copy",
            "--preserve-digests",
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
        ]);
        command.args(["--src-creds", &creds, "--dest-creds", &creds, source, target]);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let layout = directory.path().join("copied");
    let arguments = ["image", "verify", "--format", "json", "--layout", layout.to_str().unwrap()];
    let verified = windlass(directory.path(), &arguments, &[]);
    let verified: Value = serde_json::from_slice(&verified.stdout).unwrap();
    assert_eq!(verified[0]["digest"], first["digest"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_pushed_to_ours() {
    let directory = tempfile::tempdir().unwrap();
    let (_registry, handle, password) = ours(Options::new(directory.path())).await;
    pushes(&handle.address().to_string(), &password).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_pushed_to_dockers() {
    if let Some(docker) = docker_with_password().await {
        pushes(&docker.address, PASSWORD).await;
    }
}

/// The token flow, against the real registry: it names who gives tokens, and that is asked with the password.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_asked_for_where_the_registry_wants_one() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let tokens = Router::new().route(
        "/token",
        get(move |headers: axum::http::HeaderMap| async move {
            let expected = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
            if headers.get("authorization").is_none_or(|value| value != expected.as_str()) {
                return Err(axum::http::StatusCode::UNAUTHORIZED);
            }
            count.fetch_add(1, Ordering::Relaxed);
            Ok(Json(json!({ "token": "a-token" })))
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let realm = format!("http://{}/token", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move { axum::serve(listener, tokens).await });
    if let Some(docker) = docker(&format!("{{silly: {{realm: \"{realm}\", service: registry}}}}")).await {
        let directory = images();
        let reference = format!("{}/acme/nats:1", docker.address);
        let pushed = push(directory.path(), &[&reference, "--image", STAGING], &credentials(PASSWORD)).await;
        assert!(pushed.is_ok(), "{pushed:?}");
        assert!(asked.load(Ordering::Relaxed) > 0);
        let wrong = push(directory.path(), &[&reference, "--image", STAGING], &credentials("wrong")).await;
        assert_eq!(wrong.unwrap_err()["code"], "WL1040");
    }
    serving.abort();
}

/// A way to a server on which the first connections break, each after so many bytes of the client's.
async fn breaking(to: String, limits: Vec<usize>) -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let task = tokio::spawn(async move {
        let mut limits = limits.into_iter();
        while let Ok((mut client, _)) = listener.accept().await {
            let (to, limit) = (to.clone(), limits.next());
            tokio::spawn(async move {
                let mut server = TcpStream::connect(to).await.unwrap();
                let Some(limit) = limit else {
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                    return;
                };
                let (mut from_server, mut to_server) = server.into_split();
                let (mut from_client, mut to_client) = client.into_split();
                let answers =
                    tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
                let _ = tokio::io::copy(&mut (&mut from_client).take(limit as u64), &mut to_server).await;
                answers.abort();
                let _ = to_server.shutdown().await;
            });
        }
    });
    (address, task)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_connection_is_tried_again_and_an_end_of_patience_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let (_registry, handle, password) = ours(Options::new(directory.path())).await;
    let (address, task) = breaking(handle.address().to_string(), vec![0, 100, 1_000_000]).await;
    let images = images();
    let reference = format!("{address}/acme/nats:1");
    let pushed =
        push(images.path(), &[&reference, "--image", PRODUCTION], &credentials(&password)).await.unwrap();
    let direct = format!("{}/acme/nats:1", handle.address());
    let again =
        push(images.path(), &[&direct, "--image", PRODUCTION], &credentials(&password)).await.unwrap();
    assert_eq!((&again["digest"], &again["sent"]), (&pushed["digest"], &json!(0)));
    task.abort();

    let nobody = format!("127.0.0.1:{}/acme/nats:1", free_port());
    let error =
        push(images.path(), &[&nobody, "--image", PRODUCTION], &credentials(&password)).await.unwrap_err();
    assert_eq!(error["code"], "WL1042");
}

/// Cloudflare's registry is ours here, and its API one route that gives our registry's credentials.
#[tokio::test(flavor = "multi_thread")]
async fn cloudflare_gives_credentials_for_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { namespace: Some("acc0".into()), ..Options::new(directory.path()) };
    let (registry, handle, _) = ours(options).await;
    let host = handle.address().to_string();
    let path = format!("/accounts/acc0/containers/registries/{host}/credentials");
    let api = Router::new().route(
        &path,
        post(move |headers: axum::http::HeaderMap, Json(wanted): Json<Value>| async move {
            if headers.get("authorization").is_none_or(|value| value != "Bearer the-token") {
                let errors = json!({ "success": false, "errors": [{ "code": 10000, "message": "Authentication error" }], "result": null });
                return (axum::http::StatusCode::FORBIDDEN, Json(errors));
            }
            assert_eq!(wanted["permissions"], json!(["push", "pull"]));
            let lasts = Duration::from_secs(60 * wanted["expiration_minutes"].as_u64().unwrap());
            let issued = registry.issue(&[Permission::Push, Permission::Pull], lasts);
            let result = json!({ "username": issued.username, "password": issued.password.expose_secret() });
            (axum::http::StatusCode::OK, Json(json!({ "success": true, "errors": [], "result": result })))
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move { axum::serve(listener, api).await });

    let images = images();
    let reference = format!("{host}/nats:1");
    let arguments = [reference.as_str(), "--image", PRODUCTION];
    let mut environment =
        vec![("CLOUDFLARE_CONTAINER_REGISTRY", host.as_str()), ("CLOUDFLARE_API_BASE_URL", &url)];
    assert_eq!(push(images.path(), &arguments, &environment).await.unwrap_err()["code"], "WL1045");
    // The fleet file says where they are said.
    fs::write(
        images.path().join("windlass.toml"),
        "[fleet]\nname = \"x\"\n[clusters.hub]\n[platforms.cloudflare]\naccount_id = { env = \"OUR_ACCOUNT\" }\napi_token = { env = \"OUR_TOKEN\" }\n",
    )
    .unwrap();
    environment.push(("OUR_ACCOUNT", "acc0"));
    let refused = [environment.as_slice(), &[("OUR_TOKEN", "wrong")]].concat();
    let error = push(images.path(), &arguments, &refused).await.unwrap_err();
    assert_eq!(error["code"], "WL1044");
    assert!(error["message"].as_str().unwrap().contains("Authentication error (code 10000)"), "{error}");
    environment.push(("OUR_TOKEN", "the-token"));
    let pushed = push(images.path(), &arguments, &environment).await.unwrap();
    assert_eq!(pushed["reference"], format!("{host}/acc0/nats:1"));
    serving.abort();
}
