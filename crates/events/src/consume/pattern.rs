//! Patterns for names: `*` stands for any run of characters, `?` for one, everything else for itself.

use std::str::FromStr;

use crate::subject::ABSENT;

/// A pattern for one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "" => Err("a name or pattern may not be empty".into()),
            text => Ok(Self(text.to_owned())),
        }
    }
}

impl Pattern {
    /// The one name that it stands for; `None` when it stands for several. `Some(None)` is "no name at all", which
    /// is written `-`.
    pub fn literal(&self) -> Option<Option<&str>> {
        match self.0.as_str() {
            ABSENT => Some(None),
            text if text.contains(['*', '?']) => None,
            text => Some(Some(text)),
        }
    }

    /// Whether it stands for everything.
    pub fn is_anything(&self) -> bool {
        self.0.bytes().all(|byte| byte == b'*')
    }

    /// Whether it stands for this name; an absent name counts as an empty one.
    pub fn matches(&self, name: Option<&str>) -> bool {
        match self.literal() {
            Some(literal) => literal == name,
            None => glob(&self.0, name.unwrap_or_default()),
        }
    }

    /// Like [`Pattern::matches`], with upper and lower case taken as the same, as GitHub takes logins.
    pub fn matches_ignoring_case(&self, name: Option<&str>) -> bool {
        let lower = Self(self.0.to_lowercase());
        lower.matches(name.map(str::to_lowercase).as_deref())
    }
}

/// A pattern for a repository: `owner/name`, or `name` for the repositories of that name of every owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryPattern {
    /// The owner; `None` for any.
    pub owner: Option<Pattern>,
    /// The repository's name.
    pub name: Pattern,
}

impl FromStr for RepositoryPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split('/').collect::<Vec<_>>().as_slice() {
            [name] => Ok(Self { owner: None, name: name.parse()? }),
            [owner, name] => Ok(Self { owner: Some(owner.parse()?), name: name.parse()? }),
            _ => Err("write a repository as owner/name or as name".into()),
        }
    }
}

impl RepositoryPattern {
    /// Whether it stands for this repository.
    pub fn matches(&self, owner: Option<&str>, name: Option<&str>) -> bool {
        self.owner.as_ref().is_none_or(|pattern| pattern.matches(owner)) && self.name.matches(name)
    }
}

/// Matches greedily and goes back to the last `*` on a mismatch: linear but for the length of the run behind it.
fn glob(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&expected) if expected == '?' || expected == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star.as_mut() {
                Some((at, taken)) => {
                    *taken += 1;
                    (p, n) = (*at + 1, *taken);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap()
    }

    #[test]
    fn globs_match_as_in_a_shell() {
        for (text, name, expected) in [
            ("api", "api", true),
            ("api", "apis", false),
            ("api*", "api", true),
            ("*-api", "web-api", true),
            ("*a*b", "xaxbxb", true),
            ("*a*b", "xaxbxc", false),
            ("a?c", "aéc", true),
            ("a?c", "ac", false),
            ("?", "", false),
        ] {
            assert_eq!(pattern(text).matches(Some(name)), expected, "{text} {name}");
        }
    }

    #[test]
    fn a_hyphen_stands_for_no_name() {
        assert!(pattern("-").matches(None));
        assert!(!pattern("-").matches(Some("-")));
        assert!(pattern("*").matches(None));
        assert!(!pattern("?*").matches(None));
        assert!(!pattern("push").matches(None));
    }

    #[test]
    fn logins_are_the_same_in_either_case() {
        assert!(pattern("Octo*").matches_ignoring_case(Some("octoCAT")));
        assert!(!pattern("Octo*").matches(Some("octocat")));
    }

    #[test]
    fn repositories_have_an_owner_or_any() {
        let named: RepositoryPattern = "api".parse().unwrap();
        assert!(named.matches(Some("acme"), Some("api")) && named.matches(None, Some("api")));
        let owned: RepositoryPattern = "acme/*".parse().unwrap();
        assert!(owned.matches(Some("acme"), Some("x")) && owned.matches(Some("acme"), None));
        assert!(!owned.matches(Some("other"), Some("x")));
        for bad in ["", "/", "a/", "/b", "a/b/c"] {
            assert!(bad.parse::<RepositoryPattern>().is_err(), "{bad}");
        }
    }
}
