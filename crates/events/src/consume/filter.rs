//! Which events are wanted, and how much of that the server can decide from the subject alone.
//!
//! A subject filter knows names and `*` for a whole token; what it cannot say (globs within a name, the sender) is
//! decided here, on what the server lets through. The subjects therefore may let through too much, never too little.

use super::pattern::{Pattern, RepositoryPattern};
use super::stored::Names;
use crate::subject::{ABSENT, encode_token};

/// More subjects than this are not sent to the server: it would compare every one of them with every message.
const MOST_SUBJECTS: usize = 64;
const ANY: &str = "*";

/// Which events are wanted. In each list, one match is enough; an empty list wants everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Repositories.
    pub repositories: Vec<RepositoryPattern>,
    /// Event names.
    pub events: Vec<Pattern>,
    /// Actions; `-` is an event without one.
    pub actions: Vec<Pattern>,
    /// Logins of those who caused the event. Upper and lower case are the same.
    pub senders: Vec<Pattern>,
}

/// What of a filter the server can decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The subjects to ask for. None: every subject.
    pub subjects: Vec<String>,
    /// Whether the subjects say everything that the filter says.
    pub exact: bool,
}

impl Filter {
    /// The filter as subjects behind one of the stream's prefixes. With none, the server decides nothing.
    pub fn selection(&self, prefixes: &[String]) -> Selection {
        let unfiltered = self.repositories.is_empty() && self.events.is_empty() && self.actions.is_empty();
        let exact = self.senders.is_empty();
        if unfiltered {
            return Selection { subjects: Vec::new(), exact };
        }
        if prefixes.is_empty() {
            return Selection { subjects: Vec::new(), exact: false };
        }
        let (repositories, exact_repositories) = self.repository_tokens();
        let (events, exact_events) = tokens(&self.events);
        let (actions, exact_actions) = tokens(&self.actions);
        let mut exact = exact && exact_repositories && exact_events && exact_actions;
        let mut names: Vec<[String; 4]> = Vec::new();
        for [owner, repository] in &repositories {
            for event in &events {
                for action in &actions {
                    names.push([owner.clone(), repository.clone(), event.clone(), action.clone()]);
                }
            }
        }
        if names.len() * prefixes.len() > MOST_SUBJECTS {
            exact = false;
            names = names.into_iter().reduce(|one, other| union(&one, &other)).into_iter().collect();
        }
        exact &= make_disjoint(&mut names);
        let subjects = prefixes
            .iter()
            .flat_map(|prefix| names.iter().map(move |names| format!("{prefix}.{}", names.join("."))))
            .collect();
        Selection { subjects, exact }
    }

    /// Whether the names are wanted; says nothing about the sender.
    pub fn matches_names(&self, names: &Names) -> bool {
        let (owner, repository) = (names.owner.as_deref(), names.repository.as_deref());
        let any = |patterns: &[Pattern], name| {
            patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(name))
        };
        (self.repositories.is_empty()
            || self.repositories.iter().any(|pattern| pattern.matches(owner, repository)))
            && any(&self.events, Some(&names.event))
            && any(&self.actions, names.action.as_deref())
    }

    /// Whether the payload must be read to decide.
    pub fn asks_for_sender(&self) -> bool {
        !self.senders.is_empty()
    }

    /// Whether the sender is wanted.
    pub fn matches_sender(&self, sender: Option<&str>) -> bool {
        self.senders.is_empty() || self.senders.iter().any(|pattern| pattern.matches_ignoring_case(sender))
    }

    /// Pairs of owner and repository, and whether they say all.
    fn repository_tokens(&self) -> (Vec<[String; 2]>, bool) {
        if self.repositories.is_empty() {
            return (vec![[ANY.to_owned(), ANY.to_owned()]], true);
        }
        let mut exact = true;
        let mut one = |pattern: Option<&Pattern>| {
            let (token, says_all) = pattern.map_or_else(|| (ANY.to_owned(), true), token);
            exact &= says_all;
            token
        };
        let pairs = self
            .repositories
            .iter()
            .map(|pattern| [one(pattern.owner.as_ref()), one(Some(&pattern.name))])
            .collect();
        (pairs, exact)
    }
}

/// A pattern as a token of a subject filter, and whether that says all.
fn token(pattern: &Pattern) -> (String, bool) {
    match pattern.literal() {
        Some(Some(name)) => (encode_token(name), true),
        Some(None) => (ABSENT.to_owned(), true),
        None => (ANY.to_owned(), pattern.is_anything()),
    }
}

fn tokens(patterns: &[Pattern]) -> (Vec<String>, bool) {
    if patterns.is_empty() {
        return (vec![ANY.to_owned()], true);
    }
    let (tokens, exact): (Vec<String>, Vec<bool>) = patterns.iter().map(token).unzip();
    (tokens, exact.into_iter().all(|says_all| says_all))
}

/// The narrowest filter that lets through what either lets through.
fn union(one: &[String; 4], other: &[String; 4]) -> [String; 4] {
    std::array::from_fn(|at| if one[at] == other[at] { one[at].clone() } else { ANY.to_owned() })
}

fn overlap(one: &[String; 4], other: &[String; 4]) -> bool {
    one.iter().zip(other).all(|(one, other)| one == other || one == ANY || other == ANY)
}

/// JetStream refuses filters that overlap: joins those that do. False when that lets through more than before.
fn make_disjoint(names: &mut Vec<[String; 4]>) -> bool {
    let mut exact = true;
    let mut at = 0;
    while at < names.len() {
        let Some(offset) = names[at + 1..].iter().position(|other| overlap(&names[at], other)) else {
            at += 1;
            continue;
        };
        let other = names.remove(at + 1 + offset);
        let joined = union(&names[at], &other);
        exact &= joined == names[at] || joined == other;
        names[at] = joined;
        // The joined one is wider, so earlier ones may overlap it now.
        at = 0;
    }
    exact
}

/// What stands before the four names in each of a stream's subjects; empty when that cannot be told.
pub fn prefixes(subjects: &[String]) -> Vec<String> {
    let prefix = |subject: &String| {
        let prefix = subject.strip_suffix(".>").or_else(|| subject.strip_suffix(".*.*.*.*"))?;
        (!prefix.contains(['*', '>'])).then(|| prefix.to_owned())
    };
    subjects.iter().map(prefix).collect::<Option<Vec<_>>>().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(repositories: &str, events: &str, actions: &str) -> Filter {
        let split = |text: &str| {
            text.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>()
        };
        Filter {
            repositories: split(repositories).iter().map(|text| text.parse().unwrap()).collect(),
            events: split(events).iter().map(|text| text.parse().unwrap()).collect(),
            actions: split(actions).iter().map(|text| text.parse().unwrap()).collect(),
            senders: Vec::new(),
        }
    }

    fn subjects(filter: &Filter) -> (Vec<String>, bool) {
        let Selection { subjects, exact } = filter.selection(&["github".to_owned()]);
        (subjects, exact)
    }

    #[test]
    fn filters_become_subjects() {
        for (repositories, events, actions, expected, exact) in [
            ("", "", "", vec![], true),
            ("acme/api", "", "", vec!["github.acme.api.*.*"], true),
            ("api", "push", "", vec!["github.*.api.push.*"], true),
            ("acme/api.v2", "push", "-", vec!["github.acme.api%2Ev2.push.-"], true),
            ("acme/*", "issues", "opened", vec!["github.acme.*.issues.opened"], true),
            ("acme/-", "", "", vec!["github.acme.-.*.*"], true),
            ("acme/web-*", "push", "", vec!["github.acme.*.push.*"], false),
            ("", "push,star", "", vec!["github.*.*.push.*", "github.*.*.star.*"], true),
            ("", "pull_request*", "opened,closed", vec!["github.*.*.*.opened", "github.*.*.*.closed"], false),
        ] {
            assert_eq!(
                subjects(&filter(repositories, events, actions)),
                (expected.into_iter().map(str::to_owned).collect(), exact),
                "{repositories} {events} {actions}"
            );
        }
    }

    #[test]
    fn overlapping_subjects_are_joined() {
        let contained = filter("acme/api,acme/*", "push", "");
        assert_eq!(subjects(&contained), (vec!["github.acme.*.push.*".to_owned()], true));
        let crossing = filter("acme/*,api", "push", "");
        assert_eq!(subjects(&crossing), (vec!["github.*.*.push.*".to_owned()], false));
        let twice = filter("", "push,push", "");
        assert_eq!(subjects(&twice), (vec!["github.*.*.push.*".to_owned()], true));
    }

    #[test]
    fn too_many_subjects_become_one() {
        let repositories: Vec<String> = (0..100).map(|number| format!("acme/r{number}")).collect();
        let many = filter(&repositories.join(","), "push", "");
        assert_eq!(subjects(&many), (vec!["github.acme.*.push.*".to_owned()], false));
    }

    #[test]
    fn what_the_subject_cannot_say_is_decided_here() {
        let wanted = filter("acme/web-*,api", "push", "");
        let names = |owner: &str, repository: &str, event: &str| Names {
            owner: Some(owner.into()),
            repository: Some(repository.into()),
            event: event.into(),
            action: None,
        };
        assert!(wanted.matches_names(&names("acme", "web-shop", "push")));
        assert!(wanted.matches_names(&names("other", "api", "push")));
        assert!(!wanted.matches_names(&names("other", "web-shop", "push")));
        assert!(!wanted.matches_names(&names("acme", "web-shop", "star")));
        let mut by_sender = Filter { senders: vec!["octocat".parse().unwrap()], ..Filter::default() };
        assert!(by_sender.matches_sender(Some("Octocat")) && !by_sender.matches_sender(None));
        assert!(!by_sender.selection(&[]).exact);
        by_sender.senders.clear();
        assert!(by_sender.matches_sender(None));
    }

    #[test]
    fn prefixes_come_from_the_streams_subjects() {
        let of =
            |subjects: &[&str]| prefixes(&subjects.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["github.>"]), ["github"]);
        assert_eq!(of(&["gh.eu.>", "gh.us.*.*.*.*"]), ["gh.eu", "gh.us"]);
        assert!(of(&[">"]).is_empty() && of(&["*.>"]).is_empty() && of(&["github.>", "x"]).is_empty());
    }
}
