//! The real Terraform, and a local R2 for it.

use secrecy::ExposeSecret;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use windlass_sandbox::r2::{Handle, Options, start};
use windlass_state::blobs::{Blobs, Bucket, Condition, Service};

/// The bucket of [`LocalR2`].
pub const BUCKET: &str = "states";

/// Whether Terraform is installed. Where it is not, the test says so and is skipped; with `CI=true` it fails.
pub fn has_terraform() -> bool {
    let works = Command::new("terraform").arg("version").output().is_ok_and(|output| output.status.success());
    if !works {
        crate::tools::skip_without("terraform");
    }
    works
}

/// A local R2 that runs until it is dropped.
pub struct LocalR2 {
    /// The server.
    pub server: Handle,
    bucket: Bucket,
    _directory: TempDir,
    runtime: Runtime,
}

fn client(variables: &[(&'static str, String)]) -> Bucket {
    // As `s3`: R2's distance between two writes is not for whoever prepares a test.
    let service = Service::from_variables("s3", "s3://states", |name| {
        variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| value.clone())
    });
    Bucket::new(&service.expect("a service"), BUCKET).expect("a bucket")
}

fn variables_of(server: &Handle) -> [(&'static str, String); 4] {
    [
        ("AWS_ENDPOINT_URL_S3", server.endpoint().to_owned()),
        ("AWS_ACCESS_KEY_ID", server.access_key_id().to_owned()),
        ("AWS_SECRET_ACCESS_KEY", server.secret_access_key().expose_secret().to_owned()),
        ("AWS_REGION", "auto".to_owned()),
    ]
}

impl LocalR2 {
    /// Starts one with the bucket [`BUCKET`].
    #[expect(clippy::new_without_default, reason = "it starts a server")]
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let runtime = Runtime::new().expect("a runtime");
        let options = Options { bucket: Some(BUCKET.to_owned()), ..Options::new(directory.path()) };
        let server = runtime.block_on(start(options)).expect("a local R2");
        let bucket = client(&variables_of(&server));
        Self { server, bucket, _directory: directory, runtime }
    }

    /// The variables with which S3 clients find it.
    pub fn variables(&self) -> [(&'static str, String); 4] {
        variables_of(&self.server)
    }

    /// A new client for the bucket, as every process has one of its own.
    pub fn client(&self) -> Bucket {
        client(&self.variables())
    }

    /// Runs something that asks it.
    pub fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// An object's bytes; `None` where there is none.
    pub fn object(&self, key: &str) -> Option<Vec<u8>> {
        let bucket = &self.bucket;
        self.block_on(bucket.get(key)).expect("an answer").map(|(_, content)| content.to_vec())
    }

    /// Writes an object, whatever is there.
    pub fn put(&self, key: &str, content: &[u8]) {
        let content = content.to_vec().into();
        let _ = self.block_on(self.bucket.put(key, content, &Condition::Always)).expect("a write");
    }

    /// Every key.
    pub fn keys(&self) -> Vec<String> {
        let bucket = &self.bucket;
        let all = self.block_on(bucket.list("")).expect("a list");
        all.into_iter().map(|meta| meta.key).collect()
    }

    /// Deletes everything.
    pub fn clear(&self) {
        let bucket = &self.bucket;
        for key in self.keys() {
            self.block_on(bucket.delete(&key, None)).expect("a deletion");
        }
    }

    /// Every object with its bytes.
    pub fn objects(&self) -> Vec<(String, Vec<u8>)> {
        self.keys().into_iter().map(|key| (key.clone(), self.object(&key).unwrap_or_default())).collect()
    }
}

/// A Terraform project in a directory of its own.
pub struct Project {
    directory: TempDir,
    variables: Vec<(String, String)>,
}

impl Project {
    /// A project of `count` resources of the built-in provider, with its state in a local file.
    pub fn new(count: usize) -> Self {
        let directory =
            tempfile::Builder::new().prefix("windlass-terraform-").tempdir().expect("a directory");
        let project = Self { directory, variables: Vec::new() };
        project.resources(count);
        project
    }

    /// Gives it another number of resources.
    pub fn resources(&self, count: usize) {
        let text = format!(
            "resource \"terraform_data\" \"web_server\" {{\n  count = {count}\n  input = \"value ${{count.index}}\"\n}}\n"
        );
        self.write("main.tf", &text);
    }

    /// With the variables of an R2.
    pub fn with(mut self, r2: &LocalR2) -> Self {
        self.variables = r2.variables().map(|(name, value)| (name.to_owned(), value)).into();
        self
    }

    /// With one more variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Writes a file.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.file(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("a file can be written");
    }

    /// Reads a file.
    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null());
        for (name, _) in
            std::env::vars().filter(|(name, _)| name.starts_with("AWS_") || name.starts_with("TF_"))
        {
            command.env_remove(name);
        }
        command
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("CHECKPOINT_DISABLE", "1")
            .env("TF_IN_AUTOMATION", "1");
        command
    }

    /// Runs Terraform.
    pub fn terraform(&self, arguments: &[&str]) -> Output {
        self.command("terraform", arguments).output().expect("terraform runs")
    }

    /// Runs Terraform, which must succeed.
    pub fn terraform_ok(&self, arguments: &[&str]) -> String {
        let output = self.terraform(arguments);
        assert!(output.status.success(), "terraform {arguments:?}: {}", said(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What `terraform plan -detailed-exitcode` answers.
    pub fn plan_code(&self) -> Option<i32> {
        self.terraform(&["plan", "-input=false", "-detailed-exitcode", "-no-color"]).status.code()
    }

    /// Runs Windlass here, with one more variable.
    pub fn windlass_with(&self, arguments: &[&str], variable: Option<(&str, &str)>) -> Output {
        let mut command = self.command(crate::tools::windlass(), arguments);
        command.envs(variable).output().expect("windlass runs")
    }

    /// Starts Windlass here.
    pub fn windlass_start(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(crate::tools::windlass(), arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("windlass runs")
    }

    /// Starts Windlass here in a terminal of its own, and gives the end at which a person types.
    pub fn windlass_at_a_terminal(&self, arguments: &[&str]) -> (Child, fs::File) {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&person).and_then(|()| unlockpt(&person)).expect("a terminal that can be used");
        let name = ptsname(&person, Vec::new()).expect("a name").into_string().expect("ASCII");
        let terminal = fs::File::options().read(true).write(true).open(name).expect("the terminal");
        // It makes the terminal that of its session, and becomes the command.
        let windlass = crate::tools::windlass().display().to_string();
        let mut command = self.command("setsid", &[&["--ctty", windlass.as_str()], arguments].concat());
        let child = command.stdin(terminal).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        (child.expect("windlass runs"), person.into())
    }

    /// Runs Windlass here.
    pub fn windlass(&self, arguments: &[&str]) -> Output {
        self.windlass_with(arguments, None)
    }

    /// Runs Windlass with `--format json`, which must succeed, and gives what it prints.
    pub fn windlass_json(&self, arguments: &[&str]) -> serde_json::Value {
        let output = self.windlass(&[arguments, &["--format", "json"]].concat());
        assert!(output.status.success(), "windlass {arguments:?}: {}", said(&output));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// Runs Windlass, which must fail, and gives the code of its error.
    pub fn windlass_code(&self, arguments: &[&str]) -> String {
        let output = self.windlass(&[arguments, &["--format", "json"]].concat());
        assert!(!output.status.success(), "windlass {arguments:?} succeeded: {}", said(&output));
        let text = String::from_utf8_lossy(&output.stderr);
        let line = text.lines().find(|line| line.starts_with("{\"error\"")).unwrap_or_default();
        let error: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|_| panic!("{}", said(&output)));
        error["error"]["code"].as_str().expect("a code").to_owned()
    }
}

/// Everything that a process said.
pub fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}{}", output.status, text(&output.stdout), text(&output.stderr))
}

/// Lineage, serial and the number of resources of a state.
pub fn identity(state: &[u8]) -> (String, u64, usize) {
    let summary = windlass_state::terraform::parse("the state", state).expect("a state");
    (summary.lineage, summary.serial, summary.resources)
}
