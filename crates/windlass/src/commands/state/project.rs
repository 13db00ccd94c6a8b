//! What `terraform init` must be told beyond the environment, so that a `backend "s3"` block comes to the endpoint as it is.
//!
//! Terraform asks for a host that is named after the bucket unless it is told not to, and no resolver knows one on loopback;
//! and an endpoint in the block goes before the one in the environment. Both can be said to `init` beside the block. Terraform
//! keeps what it was told in its data directory, so an endpoint that was kept there is listened on again.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::{Error, Failure};

/// Where Terraform takes further arguments of `init` from.
pub const INIT_ARGUMENTS: &str = "TF_CLI_ARGS_init";

/// A project with a `backend "s3"`.
#[derive(Debug)]
pub struct Project {
    directory: PathBuf,
    /// Whether the block names an endpoint.
    has_endpoint: bool,
}

/// A file of further settings of the backend. It is removed with this.
#[derive(Debug)]
pub struct Init {
    path: PathBuf,
}

impl Drop for Init {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl Project {
    /// The project that a command is for: where `-chdir` says, or here. `None` where no file has the block; a backend of
    /// another kind would refuse the settings.
    pub fn find(arguments: &[OsString]) -> Option<Self> {
        let directory = directory_of(arguments);
        let blocks: Vec<String> = fs::read_dir(&directory)
            .ok()?
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|end| end == "tf" || end == "tofu"))
            .filter_map(|path| fs::read_to_string(path).ok())
            .filter(|text| has_s3_backend(text))
            .collect();
        let has_endpoint = blocks.iter().any(|text| names_an_endpoint(text));
        (!blocks.is_empty()).then_some(Self { directory, has_endpoint })
    }

    /// The port that Terraform was told at `init`, where the block names an endpoint.
    pub fn port(&self) -> Option<u16> {
        let data = std::env::var_os("TF_DATA_DIR").filter(|name| !name.is_empty());
        let data = self.directory.join(data.unwrap_or_else(|| ".terraform".into()));
        let kept = fs::read(data.join("terraform.tfstate")).ok()?;
        let kept: serde_json::Value = serde_json::from_slice(&kept).ok()?;
        let endpoint = kept["backend"]["config"]["endpoints"]["s3"].as_str()?;
        endpoint.strip_prefix("http://127.0.0.1:")?.parse().ok().filter(|_| self.has_endpoint)
    }

    /// Writes the settings.
    pub fn prepare(&self, endpoint: &str, directory: &Path) -> Result<Init, Failure> {
        let mut text = "use_path_style = true\n".to_owned();
        if self.has_endpoint {
            text.push_str(&format!("endpoints = {{ s3 = \"{endpoint}\" }}\n"));
        }
        let path = directory.join(format!("state-exec-{}.tfbackend", std::process::id()));
        let failed = |cause| Failure::from(Error::Directory { action: "write", path: path.clone(), cause });
        fs::create_dir_all(directory).map_err(failed)?;
        fs::write(&path, text).map_err(failed)?;
        Ok(Init { path })
    }
}

impl Init {
    /// The arguments, behind those that are set already.
    pub fn arguments(&self) -> String {
        let others = std::env::var(INIT_ARGUMENTS).unwrap_or_default();
        let path = self.path.display().to_string().replace('\'', "'\\''");
        format!("{others} '-backend-config={path}'").trim_start().to_owned()
    }
}

fn directory_of(arguments: &[OsString]) -> PathBuf {
    let named = arguments.iter().find_map(|argument| argument.to_str()?.strip_prefix("-chdir="));
    named.map_or_else(|| PathBuf::from("."), PathBuf::from)
}

/// The lines that are no comment, in words.
fn lines(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with(['#', '/']))
        .map(|line| line.split(['{', '}', ' ', '\t']).filter(|word| !word.is_empty()).collect())
}

fn has_s3_backend(text: &str) -> bool {
    lines(text).any(|words| words.windows(2).any(|pair| pair == ["backend", "\"s3\""]))
}

fn names_an_endpoint(text: &str) -> bool {
    lines(text).any(|words| {
        words.windows(2).any(|pair| matches!(pair, ["endpoints" | "endpoint", "="]))
            || words.iter().any(|word| word.starts_with("endpoints=") || word.starts_with("endpoint="))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_is_found_however_it_is_written() {
        for text in
            ["terraform {\n  backend \"s3\" {\n", "terraform { backend \"s3\" {} }", "  backend  \"s3\"{}"]
        {
            assert!(has_s3_backend(text), "{text}");
        }
        for text in ["", "# backend \"s3\" {}", "backend \"http\" {}", "backend_name = \"s3\""] {
            assert!(!has_s3_backend(text), "{text}");
        }
    }

    #[test]
    fn an_endpoint_is_found_however_it_is_written() {
        for text in [
            "endpoints = { s3 = \"https://a\" }",
            "endpoints={s3=\"https://a\"}",
            "  endpoint = \"https://a\"",
        ] {
            assert!(names_an_endpoint(text), "{text}");
        }
        for text in ["", "# endpoints = {}", "my_endpoints = 1"] {
            assert!(!names_an_endpoint(text), "{text}");
        }
    }

    #[test]
    fn the_project_is_where_terraform_looks() {
        assert_eq!(directory_of(&["-chdir=a/b".into(), "plan".into()]), Path::new("a/b"));
        assert_eq!(directory_of(&["plan".into()]), Path::new("."));
    }
}
