//! What can be wrong with a command about an image, beside what the library says.

use std::path::PathBuf;

use crate::failure::Failure;

/// Why there is nothing to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There are three kinds of image, and this is none.
    #[error("there is no image for the environment {asked:?}")]
    Environment {
        /// What was asked for.
        asked: String,
    },
    /// The program does not run here, so that it cannot be asked.
    #[error("{path} does not say its version: {cause}", path = path.display())]
    Version {
        /// The program.
        path: PathBuf,
        /// Why not.
        cause: String,
    },
    /// It is not said which image.
    #[error("the layout holds {} images, and none was named", known.len())]
    Several {
        /// Their names.
        known: Vec<String>,
    },
    /// A password without a name, or the other way round.
    #[error("credentials are a user name and a password, and there is only {have}")]
    Credentials {
        /// What is there.
        have: &'static str,
    },
}

impl Error {
    const fn code(&self) -> &'static str {
        match self {
            Self::Environment { .. } => "WL0445",
            Self::Version { .. } => "WL0446",
            Self::Several { .. } => "WL0447",
            Self::Credentials { .. } => "WL0448",
        }
    }

    fn help(&self) -> String {
        match self {
            Self::Environment { .. } => "say development, staging or production".into(),
            Self::Version { .. } => {
                "say it with --nats-version; a program for another machine cannot be asked".into()
            }
            Self::Several { known } => format!("name one with --image: {}", known.join(", ")),
            Self::Credentials { .. } => {
                "set WINDLASS_REGISTRY_USERNAME and WINDLASS_REGISTRY_PASSWORD, or neither".into()
            }
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(error.code(), error.to_string(), error.help()).bad_input()
    }
}
