//! A fleet file to begin with: the same answers give the same file, which says to a newcomer what each of its lines is for.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

/// What a new fleet is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answers {
    /// Its name.
    pub name: String,
    /// How many servers its cluster has: 1, 3 or 5.
    pub servers: u32,
    /// The IP address that they listen on.
    pub host: IpAddr,
    /// Whether GitHub's events are taken.
    pub github: bool,
    /// The organization that they come from, if it is known yet.
    pub organization: Option<String>,
    /// Its environments.
    pub environments: Vec<String>,
}

impl Default for Answers {
    fn default() -> Self {
        Self {
            name: "acme".to_owned(),
            servers: 1,
            host: Ipv4Addr::LOCALHOST.into(),
            github: true,
            organization: None,
            environments: vec!["development".to_owned(), "production".to_owned()],
        }
    }
}

/// The file. Whether what was answered may stand in it, [`parse`](crate::parse) says.
#[must_use]
pub fn starter(answers: &Answers) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut text, answers);
    text
}

fn write(text: &mut String, answers: &Answers) -> std::fmt::Result {
    let quoted = |word: &str| toml::Value::from(word).to_string();
    let (name, servers) = (&answers.name, answers.servers);
    writeln!(
        text,
        "# The fleet {name}: what NATS is to be, in one file.
#
#     windlass validate        is this file right?
#     windlass plan            what would change, why, and at what risk
#     windlass up --detach     make it so, and keep it running
#     windlass topology        the fleet, drawn
#
# Every key there is: docs/fleet-file.md, and `windlass show` prints this fleet with every default.
# Durations are \"250ms\", \"2m\", \"1h30m\", \"30d\". Sizes are \"512KiB\", \"10GiB\" (of 1024), \"1MB\" (of 1000), or bytes.

[fleet]
# Lower-case letters, digits and '-'. It becomes a part of whatever is created for the fleet.
name = {}

# Where clusters run. \"local\" is the machine that windlass runs on.
[platforms.self-hosted]
hosts = [\"local\"]
",
        quoted(name)
    )?;
    let majority = match servers {
        1 => {
            "1, 3 or 5. With 1, nothing is stored while it is being restarted; with 3 one may fail, with 5 two."
        }
        3 => "1, 3 or 5. With 3, one may fail and everything goes on; a change restarts one at a time.",
        _ => "1, 3 or 5. With 5, two may fail and everything goes on; a change restarts one at a time.",
    };
    let reach = if answers.host.is_loopback() {
        "Only this machine reaches the servers. \"0.0.0.0\" opens them to the network."
    } else {
        "Other machines reach the servers here. \"127.0.0.1\" keeps them to this one."
    };
    writeln!(
        text,
        "# A cluster: servers that act as one.
[clusters.hub]
platform = \"self-hosted\"

# {majority}
servers = {servers}

# {reach}
host = {}

# The ports of the first server; each further one uses the next higher ones. One that is taken gives way to the next free
# one, and `windlass up` says so.
# ports = {{ client = 4222, websocket = 9222, monitor = 8222 }}

# The most that streams may have on disk, for each server; and the name of this JetStream among those that may join it.
jetstream = {{ storage = \"10GiB\", domain = \"hub\" }}
",
        quoted(&answers.host.to_string())
    )?;
    let replicas = format!(
        "# Copies of each message, on as many servers: 1, 3 or 5, and no more than the cluster has.\nreplicas = {}",
        servers.min(3)
    );
    if answers.github {
        github(text, answers, &replicas)?;
    } else {
        writeln!(
            text,
            "# An account: users, streams and subjects of its own, that no other account sees. Its user `admin`, who may do everything
# in it, is always there; `windlass creds` says where the credentials are.
[accounts.APP]
users = {{ worker = {{ publish = [\"orders.>\"], subscribe = [\"orders.>\"], jetstream = \"read\" }} }}

# A stream keeps what is published to its subjects.
[streams.ORDERS]
account = \"APP\"
subjects = [\"orders.>\"]
{replicas}

# Its limits. Without one, it keeps everything that the disk takes.
max_age = \"30d\"
# max_bytes = \"5GiB\"
"
        )?;
    }
    environments(text, answers)
}

fn github(text: &mut String, answers: &Answers, replicas: &str) -> std::fmt::Result {
    let organization = match &answers.organization {
        Some(name) => format!("organization = {}", toml::Value::from(name.as_str())),
        None => "# organization = \"acme\"".to_owned(),
    };
    writeln!(
        text,
        "# An account: users, streams and subjects of its own, that no other account sees. Its user `admin`, who may do everything
# in it, is always there; `windlass creds` says where the credentials are.
[accounts.GITHUB]
users = {{ worker = {{ subscribe = [\"github.>\"], jetstream = \"read\" }} }}

# GitHub's events, as github.<owner>.<repository>.<event>.<action>.
[streams.GITHUB]
account = \"GITHUB\"
subjects = [\"github.>\"]
{replicas}

# Its limits. Without one, it keeps everything that the disk takes.
max_age = \"30d\"
# max_bytes = \"5GiB\"

# The receiver of GitHub's webhooks: POST http://{listen}/github
[github]
# Whose events they are.
{organization}
stream = \"GITHUB\"
listen = \"{listen}\"

# A secret is never written in this file, only where it comes from. Without this key, `windlass up` takes
# GITHUB_WEBHOOK_SECRET from its environment, or makes a secret and keeps it.
# secret = {{ env = \"GITHUB_WEBHOOK_SECRET\" }}
",
        listen = "127.0.0.1:8080"
    )
}

fn environments(text: &mut String, answers: &Answers) -> std::fmt::Result {
    if answers.environments.is_empty() {
        return writeln!(
            text,
            "# Environments are parts that are laid over the rest of this file: windlass up --environment development
#
# [environments.development]
# clusters.hub.servers = 1"
        );
    }
    let first = &answers.environments[0];
    writeln!(
        text,
        "# Environments: parts that are laid over the rest of this file. Each has a directory of its own.
#
#     windlass up --environment {first} --directory .windlass-{first}"
    )?;
    let stream = if answers.github { "GITHUB" } else { "ORDERS" };
    for name in &answers.environments {
        writeln!(text, "\n[environments.{name}]")?;
        match name.as_str() {
            "development" if answers.servers > 1 => writeln!(
                text,
                "# Small, since nobody relies on it.
clusters.hub.servers = 1
streams.{stream}.replicas = 1
streams.{stream}.max_age = \"7d\""
            )?,
            "development" => {
                writeln!(text, "# Small, since nobody relies on it.\nstreams.{stream}.max_age = \"7d\"")?;
            }
            "production" if answers.servers == 1 => writeln!(
                text,
                "# One server is a risk where others rely on it. With three, one may fail:
# clusters.hub.servers = 3
# streams.{stream}.replicas = 3"
            )?,
            _ => writeln!(
                text,
                "# As the rest of this file says. What is different here, for example:\n# streams.{stream}.max_age = \"90d\""
            )?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn golden(name: &str, answers: &Answers) {
        let text = starter(answers);
        let path = format!("{}/tests/golden/starter-{name}.toml", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), text, "{path}");
    }

    #[test]
    fn the_same_answers_give_the_same_file() {
        golden("default", &Answers::default());
        golden(
            "three-servers",
            &Answers { servers: 3, organization: Some("acme-inc".into()), ..Answers::default() },
        );
        let no_github = Answers {
            name: "plant-7".into(),
            servers: 5,
            host: Ipv4Addr::UNSPECIFIED.into(),
            github: false,
            environments: Vec::new(),
            ..Answers::default()
        };
        golden("no-github", &no_github);
    }

    #[test]
    fn every_answer_gives_a_valid_file_in_every_environment() {
        for servers in [1, 3, 5] {
            for github in [true, false] {
                for environments in
                    [vec![], vec!["development"], vec!["staging", "production", "development"]]
                {
                    let environments: Vec<String> = environments.into_iter().map(str::to_owned).collect();
                    let answers = Answers { servers, github, environments, ..Answers::default() };
                    let text = starter(&answers);
                    crate::parse(&text, "x").unwrap_or_else(|mistakes| panic!("{mistakes}\n{text}"));
                    for name in &answers.environments {
                        let fleet = crate::parse_environment(&text, "x", Some(name));
                        let fleet = fleet.unwrap_or_else(|mistakes| panic!("{mistakes}"));
                        let expected = if name == "development" { 1 } else { servers };
                        assert_eq!(fleet.only_cluster().unwrap().1.servers, expected);
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_commented_out_is_valid_too() {
        for github in [true, false] {
            for servers in [1, 3] {
                let text = starter(&Answers { servers, github, ..Answers::default() });
                let shown = |line: &str| match line.strip_prefix("# ") {
                    Some(rest) if rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')) => {
                        rest.to_owned()
                    }
                    _ => line.to_owned(),
                };
                let text: String = text.lines().map(|line| shown(line) + "\n").collect();
                crate::parse(&text, "x").unwrap_or_else(|mistakes| panic!("{mistakes}"));
            }
        }
    }

    #[test]
    fn an_answer_cannot_break_out_of_its_place() {
        let answers = Answers { organization: Some("a\"\n[x]".into()), ..Answers::default() };
        assert!(crate::parse(&starter(&answers), "x").is_err());
    }
}
