//! Names. They become subjects, file names, headings of configuration and arguments, and are kept to what is safe in
//! all of them.

use super::{Invalid, as_text};
use crate::code;
use crate::suggest::echo;
use crate::value::Text;
use std::borrow::Borrow;
use std::ops::Deref;

macro_rules! names {
    ($($(#[doc = $doc:literal])* $name:ident;)*) => {$(
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// For names that are known to be good, or that already have their mistake.
            #[allow(dead_code, reason = "not every kind of name has a default")]
            pub(crate) fn unchecked(name: &str) -> Self {
                Self(name.to_owned())
            }
        }

        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        as_text!($name);
    )*};
}
names! {
    /// The fleet's name: lower-case letters, digits and `-`, at most 40, beginning with a letter or digit.
    FleetName;
    /// A cluster's, stream's or account's name: letters, digits, `_` and `-`, at most 64, not beginning with `-`.
    Name;
    /// An organization's or user's login at GitHub.
    Organization;
    /// A GitHub event such as `push`, or `*` for all of them.
    EventName;
}

fn invalid<T>(text: &str, what: &str, remedy: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid::new(code::NAME, format!("{} cannot be {what}", echo(text)), remedy))
}

/// The text made to fit, as a proposal; `None` if nothing is left.
fn fitted(text: &str, allowed: fn(char) -> bool, longest: usize) -> Option<String> {
    let fit = |c: char| if allowed(c) { c } else { '-' };
    let fitted: String = text.trim().chars().map(fit).take(longest).collect();
    let fitted = fitted.trim_matches('-').to_owned();
    (!fitted.is_empty()).then_some(fitted)
}

fn with_proposal(rule: &str, proposal: Option<String>) -> String {
    match proposal {
        Some(proposal) => format!("{rule}: \"{proposal}\" would do"),
        None => rule.to_owned(),
    }
}

impl Text for FleetName {
    const WHAT: &'static str = "a name such as \"acme\"";
    const PATTERN: Option<&'static str> = Some("^[a-z0-9][a-z0-9-]{0,39}$");

    fn from_text(text: &str) -> Result<Self, Invalid> {
        fn allowed(c: char) -> bool {
            c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
        }
        if (1..=40).contains(&text.len()) && text.chars().all(allowed) && !text.starts_with('-') {
            return Ok(Self(text.to_owned()));
        }
        let rule = "use lower-case letters, digits and '-', at most 40, a letter or digit first";
        invalid(text, "a fleet's name", with_proposal(rule, fitted(&text.to_lowercase(), allowed, 40)))
    }

    fn to_text(&self) -> String {
        self.0.clone()
    }

    fn stand_in() -> Self {
        Self("fleet".to_owned())
    }
}

impl Text for Name {
    const WHAT: &'static str = "a name such as \"GITHUB\"";
    const PATTERN: Option<&'static str> = Some("^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$");

    fn from_text(text: &str) -> Result<Self, Invalid> {
        fn allowed(c: char) -> bool {
            c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
        }
        if (1..=64).contains(&text.len()) && text.chars().all(allowed) && !text.starts_with('-') {
            return Ok(Self(text.to_owned()));
        }
        let rule = "use letters, digits, '_' and '-', at most 64, not '-' first";
        invalid(text, "a name", with_proposal(rule, fitted(text, allowed, 64)))
    }

    fn to_text(&self) -> String {
        self.0.clone()
    }

    fn stand_in() -> Self {
        Self("NAME".to_owned())
    }
}

impl Text for Organization {
    const WHAT: &'static str = "a login such as \"acme\"";
    const PATTERN: Option<&'static str> = Some("^[A-Za-z0-9][A-Za-z0-9_-]{0,38}$");

    fn from_text(text: &str) -> Result<Self, Invalid> {
        fn allowed(c: char) -> bool {
            c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
        }
        if (1..=39).contains(&text.len()) && text.chars().all(allowed) && !text.starts_with(['-', '_']) {
            return Ok(Self(text.to_owned()));
        }
        // An address pasted from the browser has the login as its first segment.
        let address = text.trim_start_matches("https://").trim_start_matches("http://");
        let login = address.strip_prefix("github.com/").or(address.strip_prefix('@')).unwrap_or(address);
        let login = login.split('/').next().unwrap_or_default();
        let rule = "write the login alone: letters, digits and '-', at most 39";
        invalid(text, "an organization's login", with_proposal(rule, fitted(login, allowed, 39)))
    }

    fn to_text(&self) -> String {
        self.0.clone()
    }

    fn stand_in() -> Self {
        Self("acme".to_owned())
    }
}

impl EventName {
    /// Whether it stands for every event.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.0 == "*"
    }
}

impl Text for EventName {
    const WHAT: &'static str = "an event such as \"push\"";
    const PATTERN: Option<&'static str> = Some("^(\\*|[a-z0-9_]{1,64})$");

    fn from_text(text: &str) -> Result<Self, Invalid> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if text == "*" || ((1..=64).contains(&text.len()) && text.chars().all(allowed)) {
            return Ok(Self(text.to_owned()));
        }
        let plain = text.trim().to_lowercase().replace(['-', ' '], "_");
        let remedy = match plain.split_once('.') {
            Some((event, _)) if event.chars().all(allowed) && !event.is_empty() => {
                format!("name the event without its action: \"{event}\"")
            }
            _ if !plain.is_empty() && plain.len() <= 64 && plain.chars().all(allowed) => {
                format!("did you mean \"{plain}\"?")
            }
            _ => "write an event as GitHub does, such as \"pull_request\", or \"*\" for all".to_owned(),
        };
        invalid(text, "an event's name", remedy)
    }

    fn to_text(&self) -> String {
        self.0.clone()
    }

    fn stand_in() -> Self {
        Self("*".to_owned())
    }
}

/// A machine of the self-hosted platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// The machine that `windlass` itself runs on.
    Local,
}

impl Text for Host {
    const WHAT: &'static str = "a host such as \"local\"";
    const PATTERN: Option<&'static str> = Some("^local$");

    fn from_text(text: &str) -> Result<Self, Invalid> {
        let remedy = "for now write \"local\", the machine that windlass runs on";
        match text {
            "local" => Ok(Self::Local),
            _ if text.starts_with("ssh://") => {
                let problem =
                    format!("{} is not supported by this version: hosts over SSH come later", echo(text));
                Err(Invalid::new(code::NOT_YET, problem, remedy))
            }
            "localhost" | "127.0.0.1" | "::1" => Err(Invalid::new(
                code::UNKNOWN_VALUE,
                format!("unknown host {}", echo(text)),
                "did you mean `local`?",
            )),
            _ => Err(Invalid::new(code::UNKNOWN_VALUE, format!("unknown host {}", echo(text)), remedy)),
        }
    }

    fn to_text(&self) -> String {
        "local".to_owned()
    }

    fn stand_in() -> Self {
        Self::Local
    }
}
as_text!(Host);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_to_what_is_safe() {
        for good in ["GITHUB", "a", "_x", "acme-2", &"x".repeat(64)] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in ["", "..", "a/b", "a\\b", "a.b", "a b", "-x", "ä", "a\n", "*", ">", &"x".repeat(65)] {
            assert_eq!(bad.parse::<Name>().unwrap_err().code, code::NAME, "{bad}");
        }
        assert!("my stream".parse::<Name>().unwrap_err().remedy.contains("\"my-stream\""));
    }

    #[test]
    fn each_kind_has_its_own_rule() {
        assert!("acme-2".parse::<FleetName>().is_ok());
        assert!("Acme Inc.".parse::<FleetName>().unwrap_err().remedy.contains("\"acme-inc\""));
        assert!("x".repeat(41).parse::<FleetName>().is_err());
        let remedy = |text: &str| text.parse::<Organization>().unwrap_err().remedy;
        assert!(remedy("https://github.com/acme/x").contains("\"acme\""));
        let remedy = |text: &str| text.parse::<EventName>().unwrap_err().remedy;
        assert!(remedy("Pull-Request").contains("\"pull_request\""));
        assert!(remedy("issues.opened").contains("\"issues\""));
        assert!("*".parse::<EventName>().unwrap().is_all());
        assert_eq!("ssh://x".parse::<Host>().unwrap_err().code, code::NOT_YET);
    }
}
