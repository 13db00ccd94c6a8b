//! What differs between development, staging and production, as variables of the image.

use std::str::FromStr;

/// One of the three kinds of image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Environment {
    /// Says everything, and ends fast.
    Development,
    /// As production, with a short farewell.
    Staging,
    /// What serves.
    #[default]
    Production,
}

impl Environment {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Development, Self::Staging, Self::Production];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Staging => "staging",
            Self::Production => "production",
        }
    }

    const fn file(self) -> &'static str {
        match self {
            Self::Development => include_str!("../../../containers/nats/environments/development.env"),
            Self::Staging => include_str!("../../../containers/nats/environments/staging.env"),
            Self::Production => include_str!("../../../containers/nats/environments/production.env"),
        }
    }

    /// The image's variables, as `NAME=value`, in order: those of every image, and its own.
    pub(crate) fn variables(self) -> Vec<String> {
        let lines = include_str!("../../../containers/nats/environments/every.env")
            .lines()
            .chain(self.file().lines());
        lines.filter(|line| !line.starts_with('#') && !line.is_empty()).map(str::to_owned).collect()
    }
}

impl FromStr for Environment {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|one| one.name() == text).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// nats-server reads each as a value of its language, and would take a text without quotes for something else.
    #[test]
    fn each_sets_the_same_variables_in_a_form_that_is_read() {
        let names = |one: Environment| -> Vec<String> {
            let variables = one.variables();
            variables.iter().map(|line| line.split_once('=').unwrap().0.to_owned()).collect()
        };
        for environment in Environment::ALL {
            assert_eq!(names(environment), names(Environment::Production));
            assert_eq!(environment.name().parse(), Ok(environment));
            for line in environment.variables() {
                let (name, value) = line.split_once('=').unwrap();
                let quoted = value.len() > 2 && value.starts_with('"') && value.ends_with('"');
                // The one that is not for nats-server's configuration.
                let plain = name == "SSL_CERT_FILE" || value == "true" || value == "false";
                assert!(quoted || plain, "{line}");
            }
        }
    }

    /// Docker cannot read the files, so it has them again.
    #[test]
    fn the_dockerfile_says_the_same() {
        let dockerfile = include_str!("../../../containers/nats/Dockerfile");
        let stage = |name: &str| -> Vec<String> {
            let part =
                dockerfile.split("FROM ").find(|part| part.lines().next().unwrap().ends_with(name)).unwrap();
            let instructions = part.replace("\\\n", " ");
            let line = instructions.lines().find_map(|line| line.strip_prefix("ENV ")).unwrap();
            let unquote = |word: &str| word.replacen("=\"\\\"", "=\"", 1).replace("\\\"\"", "\"");
            line.split_whitespace().map(unquote).collect()
        };
        for environment in Environment::ALL {
            let both = [stage("AS every"), stage(environment.name())].concat();
            assert_eq!(both, environment.variables(), "{}", environment.name());
        }
        assert!(dockerfile.trim_end().split("FROM ").last().unwrap().starts_with("every AS production"));
    }
}
