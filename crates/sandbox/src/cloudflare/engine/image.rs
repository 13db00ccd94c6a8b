//! Images: what a reference stands for, and what is run of it.
//!
//! An image is a root file system in a directory and its configuration. It is run where it lies: no chroot (that would
//! need root) and no copy. So an absolute path in its command that exists in the image is turned into that file's path
//! here; paths inside configuration files are not, and an image for this engine takes what differs from its environment.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// What an image's configuration says of how it is run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Variables, as `NAME=value`.
    pub env: Vec<String>,
    /// The program and its first arguments.
    pub entrypoint: Vec<String>,
    /// Arguments, where whoever starts it gives none.
    pub cmd: Vec<String>,
    /// The user that it names. Processes here run as the engine's own user, whatever this says.
    pub user: String,
}

/// An image that can be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its root file system, unpacked.
    pub root: PathBuf,
    /// Its configuration.
    pub config: Config,
}

/// What a container is started with.
#[derive(Clone, PartialEq, Eq)]
pub struct Start {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its whole environment. Secrets come in it, so it is never printed.
    pub env: BTreeMap<String, String>,
}

impl std::fmt::Debug for Start {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { program, arguments, .. } = self;
        formatter
            .debug_struct("Start")
            .field("program", program)
            .field("arguments", arguments)
            .finish_non_exhaustive()
    }
}

/// What the engine gives a process in the place of the image's own.
#[derive(Clone, Debug)]
pub struct Overrides<'a> {
    /// `HOST`: the loopback address that is this container's own.
    pub host: &'a str,
    /// `STORE_DIR`: a directory that is new at each start, because a container's disk is ephemeral.
    pub store: &'a Path,
}

/// A path in the image as a path here; `None` for one that is not absolute or leaves the image by `..`.
pub fn inside(root: &Path, path: &str) -> Option<PathBuf> {
    let path = Path::new(path);
    let parts = path.is_absolute().then(|| path.components().skip(1))?;
    let mut found = root.to_owned();
    for part in parts {
        match part {
            Component::Normal(name) => found.push(name),
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(found)
}

/// A variable's value in the form that the image gives it. The configuration of nats-server takes quoted strings from
/// its environment, other programs take them bare.
fn in_the_form_of(given: Option<&String>, value: &str) -> String {
    match given {
        Some(given) if !given.starts_with('"') => value.to_owned(),
        _ => format!("\"{value}\""),
    }
}

impl Image {
    /// How to start a container of this image. `command` stands in for the image's entrypoint and arguments, where it
    /// is not empty, as it does on Cloudflare. `exists` says whether a path here exists.
    ///
    /// # Errors
    /// What Docker would say of an image that names no program, or one that is not in it.
    pub fn start(
        &self,
        command: &[String],
        env: &[String],
        overrides: &Overrides<'_>,
        exists: impl Fn(&Path) -> bool,
    ) -> Result<Start, String> {
        let own = || self.config.entrypoint.iter().chain(&self.config.cmd);
        let words: Vec<&String> = if command.is_empty() { own().collect() } else { command.iter().collect() };
        let mut start = self.command(&words, &exists)?;
        start.env = variables(&self.config.env);
        let host = in_the_form_of(start.env.get("HOST"), overrides.host);
        let store = in_the_form_of(start.env.get("STORE_DIR"), &overrides.store.to_string_lossy());
        start.env.extend(variables(env));
        start.env.insert("HOST".to_owned(), host);
        start.env.insert("STORE_DIR".to_owned(), store);
        Ok(start)
    }

    /// How to run a command of this image beside what runs already, in its environment.
    ///
    /// # Errors
    /// As [`Image::start`].
    pub fn exec(
        &self,
        command: &[String],
        of: &BTreeMap<String, String>,
        env: &[String],
        exists: impl Fn(&Path) -> bool,
    ) -> Result<Start, String> {
        let mut start = self.command(&command.iter().collect::<Vec<_>>(), &exists)?;
        start.env = of.clone();
        start.env.extend(variables(env));
        Ok(start)
    }

    fn command(&self, words: &[&String], exists: &impl Fn(&Path) -> bool) -> Result<Start, String> {
        let (program, arguments) = words.split_first().ok_or("no command specified")?;
        let missing = || format!("exec: \"{program}\": executable file not found in the image");
        let here = |word: &str| inside(&self.root, word).filter(|path| exists(path));
        let found = if program.contains('/') {
            here(program)
        } else {
            let path = variables(&self.config.env).remove("PATH");
            let path = path
                .unwrap_or_else(|| "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned());
            path.split(':').find_map(|directory| here(&format!("{directory}/{program}")))
        };
        let rewritten = |word: &&String| {
            here(word).map_or_else(|| (*word).clone(), |path| path.to_string_lossy().into_owned())
        };
        Ok(Start {
            program: found.ok_or_else(missing)?,
            // A bare `/` is more often a path of HTTP or NATS than a request for the whole disk.
            arguments: arguments
                .iter()
                .map(|word| if *word == "/" { (*word).clone() } else { rewritten(word) })
                .collect(),
            env: BTreeMap::new(),
        })
    }
}

fn variables(list: &[String]) -> BTreeMap<String, String> {
    list.iter()
        .filter_map(|entry| entry.split_once('='))
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn image() -> Image {
        Image {
            root: "/images/nats".into(),
            config: Config {
                env: words("HOST=\"0.0.0.0\" STORE_DIR=/data LEVEL=info"),
                entrypoint: words("/nats-server"),
                cmd: words("-c /etc/nats.conf"),
                user: "65532".to_owned(),
            },
        }
    }

    fn exists(path: &Path) -> bool {
        [
            "/images/nats/nats-server",
            "/images/nats/etc/nats.conf",
            "/images/nats/usr/bin/other",
            "/images/nats/",
        ]
        .iter()
        .any(|known| Path::new(known) == path)
    }

    #[test]
    fn the_images_own_command_with_what_the_engine_overrides() {
        let overrides = Overrides { host: "127.77.0.1", store: Path::new("/disks/1") };
        let start =
            image().start(&[], &words("LEVEL=debug HOST=1.2.3.4 EMPTY="), &overrides, exists).unwrap();
        assert_eq!(start.program, Path::new("/images/nats/nats-server"));
        assert_eq!(start.arguments, ["-c", "/images/nats/etc/nats.conf"]);
        let env: Vec<_> = start.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(env, ["EMPTY=", "HOST=\"127.77.0.1\"", "LEVEL=debug", "STORE_DIR=/disks/1"]);
        assert!(!format!("{start:?}").contains("LEVEL"));
    }

    #[test]
    fn a_command_that_was_given_stands_alone() {
        let overrides = Overrides { host: "h", store: Path::new("s") };
        let start =
            image().start(&words("other / /nowhere /../etc/passwd"), &[], &overrides, exists).unwrap();
        assert_eq!(start.program, Path::new("/images/nats/usr/bin/other"));
        assert_eq!(start.arguments, ["/", "/nowhere", "/../etc/passwd"]);
    }

    #[test]
    fn a_program_of_this_machine_is_never_started() {
        let overrides = Overrides { host: "h", store: Path::new("s") };
        for command in ["sh", "/bin/sh", "./nats-server", "/../../bin/sh"] {
            let refused = image()
                .start(&words(command), &[], &overrides, |path| path == Path::new("/bin/sh") || exists(path));
            assert!(refused.unwrap_err().contains("not found in the image"), "{command}");
        }
        let empty = Image { config: Config::default(), ..image() };
        assert_eq!(empty.start(&[], &[], &overrides, exists).unwrap_err(), "no command specified");
    }
}
