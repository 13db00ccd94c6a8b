//! The webhook secret: where it comes from, and the one file in which the parts of a run find it.
//!
//! `GITHUB_WEBHOOK_SECRET` comes first, then the fleet file's sources, then one that is generated once and kept.
//! Whatever the origin, the effective secrets are in one file, one a line, readable by the owner alone: the receiver
//! reads it, scripts find it by `receiver.secret_file`, and no secret is ever an argument of a process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use data_encoding::HEXLOWER;
use rand::TryRngCore;
use secrecy::{ExposeSecret, SecretString};
use windlass_fleet::SecretSource;

use crate::failure::Error;
use crate::run_directory::{RunDirectory, replace};

/// The environment variable that goes before every other source.
pub const VARIABLE: &str = "GITHUB_WEBHOOK_SECRET";

/// The file of a generated secret, in the directory of secrets.
const GENERATED: &str = "github-webhook";
/// The file of secrets that came from elsewhere. Another file, so that the generated one is still there afterwards.
const CONFIGURED: &str = "github-webhook-configured";

/// Where the effective secrets came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// [`VARIABLE`].
    Variable,
    /// The fleet file's sources.
    Fleet,
    /// Generated, now or by an earlier run.
    Generated,
}

/// The secret in the environment, if there is one that is not empty.
pub fn from_variable() -> Result<Option<SecretString>, Error> {
    match std::env::var(VARIABLE) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => Ok(Some(value.into())),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(Error::Secret {
            source_name: format!("the environment variable {VARIABLE}"),
            cause: "it is not UTF-8".into(),
        }),
    }
}

/// What the fleet file's sources give, in their order. An environment variable that is not set gives nothing; a file or
/// a command that fails is an error. Paths and commands are relative to `base`.
pub fn from_sources(sources: &[SecretSource], base: Option<&Path>) -> Result<Vec<SecretString>, Error> {
    let mut secrets = Vec::new();
    for source in sources {
        secrets.extend(from_source(source, base)?);
    }
    Ok(secrets)
}

fn from_source(source: &SecretSource, base: Option<&Path>) -> Result<Option<SecretString>, Error> {
    let base = base.unwrap_or(Path::new(""));
    let (source_name, text) = match source {
        SecretSource::Env(name) => {
            let source_name = format!("the environment variable {name}");
            match std::env::var(name) {
                Ok(value) if value.is_empty() => return Ok(None),
                Ok(value) => (source_name, Ok(value)),
                Err(std::env::VarError::NotPresent) => return Ok(None),
                Err(std::env::VarError::NotUnicode(_)) => (source_name, Err("it is not UTF-8".to_owned())),
            }
        }
        SecretSource::File(path) => {
            let path = base.join(path);
            let text = fs::read_to_string(&path).map_err(|cause| cause.to_string());
            (format!("the file {}", path.display()), text)
        }
        SecretSource::Command(words) => {
            let program = words.first().map_or("", String::as_str);
            (format!("the command {program}"), output_of(words, base))
        }
    };
    let text = text.map_err(|cause| Error::Secret { source_name, cause })?;
    // Editors and programs end their last line; the break is no part of the secret.
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(Some(text.strip_suffix('\r').unwrap_or(text).into()))
}

fn output_of(words: &[String], base: &Path) -> Result<String, String> {
    let (program, arguments) = words.split_first().ok_or("it is empty")?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stderr(Stdio::inherit());
    if base.is_dir() {
        command.current_dir(base);
    }
    let output = command.output().map_err(|cause| cause.to_string())?;
    if !output.status.success() {
        return Err(output.status.to_string());
    }
    String::from_utf8(output.stdout).map_err(|_| "it did not print UTF-8".to_owned())
}

/// Writes the effective secrets to their file and gives its path. `configured` is asked only when the environment
/// has none; when it gives none either, one is generated or found again.
pub fn settle(
    directory: &RunDirectory,
    variable: Option<SecretString>,
    configured: impl FnOnce() -> Result<Vec<SecretString>, Error>,
) -> Result<(PathBuf, Origin), Error> {
    let (secrets, origin) = match variable {
        Some(secret) => (vec![secret], Origin::Variable),
        None => (configured()?, Origin::Fleet),
    };
    if secrets.is_empty() {
        return generated(directory).map(|path| (path, Origin::Generated));
    }
    let path = directory.secrets().join(CONFIGURED);
    let text = join(&secrets).ok_or_else(|| Error::Secret {
        source_name: match origin {
            Origin::Variable => format!("the environment variable {VARIABLE}"),
            _ => "the source in the fleet file".to_owned(),
        },
        cause: "it is empty, or has a line break in it".into(),
    })?;
    replace(&path, text.expose_secret().as_bytes(), 0o600)?;
    Ok((path, origin))
}

/// What [`settle`] would give, without making or writing anything: the file, and what it would hold. `None` where a
/// secret would have to be generated.
pub fn look(
    directory: &RunDirectory,
    variable: Option<SecretString>,
    configured: impl FnOnce() -> Result<Vec<SecretString>, Error>,
) -> Result<Option<(PathBuf, Vec<u8>)>, Error> {
    let secrets = match variable {
        Some(secret) => vec![secret],
        None => configured()?,
    };
    if let Some(text) = join(&secrets).filter(|_| !secrets.is_empty()) {
        return Ok(Some((directory.secrets().join(CONFIGURED), text.expose_secret().as_bytes().to_vec())));
    }
    let path = directory.secrets().join(GENERATED);
    Ok(fs::read(&path).ok().filter(|text| !text.is_empty()).map(|text| (path, text)))
}

/// The secrets of a file: one a line, empty lines left out.
pub fn read(path: &Path) -> Result<Vec<SecretString>, Error> {
    let text: SecretString =
        fs::read_to_string(path).map_err(|cause| Error::Unreadable { path: path.to_owned(), cause })?.into();
    let lines = text.expose_secret().lines().filter(|line| !line.is_empty());
    Ok(lines.map(SecretString::from).collect())
}

/// One a line, without a line break at the end: who reads a file with a single secret gets the secret and no more.
fn join(secrets: &[SecretString]) -> Option<SecretString> {
    let lines: Vec<&str> = secrets.iter().map(ExposeSecret::expose_secret).collect();
    let usable = lines.iter().all(|line| !line.is_empty() && !line.contains(['\n', '\r']));
    usable.then(|| lines.join("\n").into())
}

fn generated(directory: &RunDirectory) -> Result<PathBuf, Error> {
    let path = directory.secrets().join(GENERATED);
    let kept = read(&path).is_ok_and(|secrets| !secrets.is_empty());
    if !kept {
        let mut bytes = [0; 32];
        rand::rngs::OsRng.try_fill_bytes(&mut bytes).map_err(|cause| Error::Environment {
            what: "a source of randomness",
            cause: cause.to_string(),
        })?;
        replace(&path, HEXLOWER.encode(&bytes).as_bytes(), 0o600)?;
        // GitHub is told this secret: it must outlive a power cut.
        let _ = fs::File::open(&path).and_then(|file| file.sync_all());
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_give_their_secret_without_the_line_break() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("old"), "old one\r\n").unwrap();
        let sources = [
            SecretSource::Env("WINDLASS_TEST_A_VARIABLE_THAT_IS_NOT_SET".into()),
            SecretSource::File("old".into()),
        ];
        let secrets = from_sources(&sources, Some(directory.path())).unwrap();
        assert_eq!(secrets.iter().map(ExposeSecret::expose_secret).collect::<Vec<_>>(), ["old one"]);
        let missing = [SecretSource::File("absent".into())];
        assert_eq!(from_sources(&missing, Some(directory.path())).unwrap_err().code(), "WL0408");
    }

    fn directory() -> (tempfile::TempDir, RunDirectory) {
        let temporary = tempfile::tempdir().unwrap();
        let directory = RunDirectory::at(temporary.path());
        directory.create().unwrap();
        (temporary, directory)
    }

    #[test]
    fn a_generated_secret_stays_the_same() {
        let (_temporary, directory) = directory();
        let none = || Ok(Vec::new());
        let (path, origin) = settle(&directory, None, none).unwrap();
        assert_eq!(origin, Origin::Generated);
        let first = fs::read_to_string(&path).unwrap();
        assert_eq!(first.len(), 64);
        let (other, _) = settle(&directory, Some("from outside".into()), none).unwrap();
        assert_eq!(fs::read_to_string(other).unwrap(), "from outside");
        settle(&directory, None, none).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), first);
    }

    #[test]
    fn several_secrets_are_lines() {
        let (_temporary, directory) = directory();
        let configured = || Ok(vec!["new".into(), "old".into()]);
        let (path, origin) = settle(&directory, None, configured).unwrap();
        assert_eq!(origin, Origin::Fleet);
        let secrets = read(&path).unwrap();
        assert_eq!(secrets.iter().map(ExposeSecret::expose_secret).collect::<Vec<_>>(), ["new", "old"]);
    }

    #[test]
    fn a_secret_with_a_line_break_is_refused() {
        let (_temporary, directory) = directory();
        let error = settle(&directory, Some("a\nb".into()), || Ok(Vec::new())).unwrap_err();
        assert_eq!(error.code(), "WL0408");
    }
}
