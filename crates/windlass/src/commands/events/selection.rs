//! The arguments that say which events.

use windlass_events::consume::Filter;
use windlass_events::consume::pattern::{Pattern, RepositoryPattern};

/// Filters. Several values of one are alternatives; all of them together must hold.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Filters")]
pub struct FilterArgs {
    /// Repositories: `owner/name`, or `name` of any owner
    ///
    /// `*` stands for any run of characters and `?` for one, as in `acme/*` or `acme/web-?`. Names are compared as
    /// GitHub writes them, case included. `acme/-` are the events of the organization that name no repository.
    #[arg(long, short = 'r', value_name = "REPOSITORY", value_delimiter = ',')]
    repository: Vec<RepositoryPattern>,
    /// Events, as in X-GitHub-Event: `push,pull_request`, `pull_request*`
    #[arg(long, short = 'e', value_name = "EVENT", value_delimiter = ',')]
    event: Vec<Pattern>,
    /// Actions, as in the payload: `opened,closed`; `-` for events without one
    #[arg(long, short = 'a', value_name = "ACTION", value_delimiter = ',', allow_hyphen_values = true)]
    action: Vec<Pattern>,
    /// Logins of who caused the event: `octocat`, `*[bot]`
    ///
    /// Upper and lower case are the same. The subject does not name the sender: every payload that the other
    /// filters let through is read for it.
    #[arg(long, value_name = "LOGIN", value_delimiter = ',')]
    sender: Vec<Pattern>,
}

impl FilterArgs {
    /// As the library wants it.
    pub fn filter(self) -> Filter {
        Filter {
            repositories: self.repository,
            events: self.event,
            actions: self.action,
            senders: self.sender,
        }
    }
}
