//! Versions of programs, names of machines, and places where state is kept.

use super::{Invalid, as_text};
use crate::code;
use crate::suggest::echo;
use crate::value::Text;

/// A version such as `2.15.1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version(String);

impl Version {
    /// As text, without a `v`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Text for Version {
    const WHAT: &'static str = "a version such as \"2.15.1\"";
    const PATTERN: Option<&'static str> = Some("^\\d+\\.\\d+\\.\\d+$");

    fn from_text(text: &str) -> Result<Self, Invalid> {
        let parts: Vec<&str> = text.split('.').collect();
        let number = |part: &&str| {
            !part.is_empty() && part.len() <= 5 && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        if parts.len() == 3 && parts.iter().all(number) {
            return Ok(Self(text.to_owned()));
        }
        let remedy = match text.strip_prefix('v') {
            Some(rest) if Self::from_text(rest).is_ok() => format!("write it without the v: \"{rest}\""),
            _ => "write all three numbers, such as \"2.15.1\"".to_owned(),
        };
        Err(Invalid::new(code::UNKNOWN_VALUE, format!("{} is not a version", echo(text)), remedy))
    }

    fn to_text(&self) -> String {
        self.0.clone()
    }

    fn stand_in() -> Self {
        Self("0.0.0".to_owned())
    }
}
as_text!(Version);

/// A machine's name in the DNS, such as `nats.acme.example`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName(String);

impl HostName {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Text for HostName {
    const WHAT: &'static str = "a host name such as \"nats.acme.example\"";
    const PATTERN: Option<&'static str> =
        Some("^(\\*\\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$");

    fn from_text(text: &str) -> Result<Self, Invalid> {
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        // A certificate may stand for every name of one level.
        let plain = text.strip_prefix("*.").unwrap_or(text);
        if text.len() <= 253 && plain.split('.').all(label) {
            return Ok(Self(text.to_owned()));
        }
        let remedy = match text.to_ascii_lowercase() {
            lower if lower != text && Self::from_text(&lower).is_ok() => format!("write \"{lower}\""),
            _ => "write the name alone, such as \"nats.acme.example\"".to_owned(),
        };
        Err(Invalid::new(code::NAME, format!("{} is no host name", echo(text)), remedy))
    }

    fn to_text(&self) -> String {
        self.0.clone()
    }

    fn stand_in() -> Self {
        Self("localhost".to_owned())
    }
}
as_text!(HostName);

/// Where state is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreAddress {
    /// A directory of this machine.
    Directory(String),
    /// A bucket of an S3 service, with a prefix that may be empty.
    S3(String, String),
    /// A bucket of Cloudflare R2, with a prefix that may be empty.
    R2(String, String),
}

impl Text for StoreAddress {
    const WHAT: &'static str = "a place such as \"r2://acme-state\"";
    const PATTERN: Option<&'static str> = Some("^(dir:.+|(s3|r2)://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?)$");

    fn from_text(text: &str) -> Result<Self, Invalid> {
        let bad = |remedy: &str| {
            let problem = format!("{} is not a place for state", echo(text));
            Err(Invalid::new(code::ADDRESS, problem, remedy))
        };
        if let Some(path) = text.strip_prefix("dir:") {
            return match path {
                "" => bad("write the directory behind it: \"dir:state\""),
                path => Ok(Self::Directory(path.to_owned())),
            };
        }
        let Some((scheme @ ("s3" | "r2"), rest)) = text.split_once("://") else {
            return bad("write \"dir:PATH\", \"s3://BUCKET/PREFIX\" or \"r2://BUCKET/PREFIX\"");
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        // https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
        let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        let mut chars = bucket.chars();
        if !(3..=63).contains(&bucket.len())
            || !bucket.chars().all(allowed)
            || !ends(chars.next())
            || !ends(chars.next_back())
        {
            return bad("a bucket's name has 3 to 63 lower-case letters, digits, '-' and '.'");
        }
        let (bucket, prefix) = (bucket.to_owned(), prefix.trim_end_matches('/').to_owned());
        Ok(if scheme == "s3" { Self::S3(bucket, prefix) } else { Self::R2(bucket, prefix) })
    }

    fn to_text(&self) -> String {
        let place = |scheme: &str, bucket: &str, prefix: &str| match prefix {
            "" => format!("{scheme}://{bucket}"),
            prefix => format!("{scheme}://{bucket}/{prefix}"),
        };
        match self {
            Self::Directory(path) => format!("dir:{path}"),
            Self::S3(bucket, prefix) => place("s3", bucket, prefix),
            Self::R2(bucket, prefix) => place("r2", bucket, prefix),
        }
    }

    fn stand_in() -> Self {
        Self::Directory(".".to_owned())
    }
}
as_text!(StoreAddress);

/// Where an S3 service is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(String);

impl Endpoint {
    /// As text, without a `/` at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Text for Endpoint {
    const WHAT: &'static str = "an address such as \"https://s3.acme.example\"";
    const PATTERN: Option<&'static str> = Some("^https?://[^/?#@\\s]+(/[^?#\\s]*)?$");

    fn from_text(text: &str) -> Result<Self, Invalid> {
        let bad = |remedy: &str| {
            let problem = format!("{} is not the address of an S3 service", echo(text));
            Err(Invalid::new(code::ADDRESS, problem, remedy))
        };
        let trimmed = text.trim_end_matches('/');
        let (scheme, rest) = match trimmed.split_once("://") {
            Some((scheme @ ("http" | "https"), rest)) => (scheme, rest),
            _ => return bad("write \"https://HOST\""),
        };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let useless = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '?' | '#' | '@' | '"');
        if host.is_empty() || host.contains(useless) || path.contains(useless) {
            return bad("write the scheme and the host, such as \"https://s3.acme.example\"");
        }
        let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, _)) => address,
            None => host.rsplit_once(':').map_or(host, |(name, _)| name),
        };
        let is_loopback = name == "localhost"
            || name.ends_with(".localhost")
            || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        if scheme == "http" && !is_loopback {
            return bad("write https://: only this machine is asked in clear text");
        }
        Ok(Self(trimmed.to_owned()))
    }

    fn to_text(&self) -> String {
        self.0.clone()
    }

    fn stand_in() -> Self {
        Self("https://localhost".to_owned())
    }
}
as_text!(Endpoint);

/// An address of WebSocket connections, such as `wss://nats.acme.example`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSocketUrl(String);

impl WebSocketUrl {
    /// As text, without a `/` at the end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host's name or address, without the port.
    #[must_use]
    pub fn host(&self) -> &str {
        let authority = self.0.split_once("://").map_or("", |(_, rest)| rest);
        let authority = authority.split('/').next().unwrap_or_default();
        match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, _)) => address,
            None => authority.split(':').next().unwrap_or_default(),
        }
    }
}

impl Text for WebSocketUrl {
    const WHAT: &'static str = "an address such as \"wss://nats.acme.example\"";
    const PATTERN: Option<&'static str> = Some("^wss?://[^/?#@ ]+(/[^?#@ ]*)?$");

    fn from_text(text: &str) -> Result<Self, Invalid> {
        let bad = |remedy: &str| {
            let problem = format!("{} is no address of WebSocket connections", echo(text));
            Err(Invalid::new(code::ADDRESS, problem, remedy))
        };
        let Some(rest) = text.strip_prefix("wss://").or_else(|| text.strip_prefix("ws://")) else {
            return bad("write it with wss:// in front, such as \"wss://nats.acme.example\"");
        };
        if rest.contains(['?', '#', '@', ' ', '"', '\\']) || rest.chars().any(char::is_control) {
            return bad("write the host, its port and a path, and nothing else");
        }
        let url = Self(text.trim_end_matches('/').to_owned());
        let authority = rest.split('/').next().unwrap_or_default();
        let port =
            authority.rsplit_once(':').filter(|(host, _)| !host.starts_with('[') || host.ends_with(']'));
        if url.host().is_empty()
            || port.is_some_and(|(_, port)| !port.parse::<u16>().is_ok_and(|port| port > 0))
        {
            return bad("write a host, and a port between 1 and 65535 where it is not 443");
        }
        Ok(url)
    }

    fn to_text(&self) -> String {
        self.0.clone()
    }

    fn stand_in() -> Self {
        Self("ws://localhost".to_owned())
    }
}
as_text!(WebSocketUrl);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_three_numbers() {
        assert!("2.15.1".parse::<Version>().is_ok());
        for bad in ["", "2", "2.15", "v2.15.1", "2.15.1-rc", "2..1", "a.b.c", "2.15.1.0"] {
            assert!(bad.parse::<Version>().is_err(), "{bad}");
        }
        assert!("v2.15.1".parse::<Version>().unwrap_err().remedy.contains("\"2.15.1\""));
    }

    #[test]
    fn places_are_read_as_they_are_written() {
        for good in ["dir:/var/lib/x", "r2://acme-state", "s3://acme.state/a/b"] {
            assert_eq!(good.parse::<StoreAddress>().unwrap().to_string(), good);
        }
        for bad in ["", "dir:", "r2:acme", "gs://acme", "s3://A", "s3://ab", "r2://-ab", "r2://a_b"] {
            assert_eq!(bad.parse::<StoreAddress>().unwrap_err().code, code::ADDRESS, "{bad}");
        }
    }

    #[test]
    fn websocket_addresses_are_read_as_they_are_written() {
        for (good, host) in [
            ("wss://nats.acme.example", "nats.acme.example"),
            ("ws://127.0.0.1:9222", "127.0.0.1"),
            ("wss://[2001:db8::1]:443/nats", "2001:db8::1"),
        ] {
            let url = good.parse::<WebSocketUrl>().unwrap();
            assert_eq!((url.to_string().as_str(), url.host()), (good, host));
        }
        assert_eq!("wss://a/".parse::<WebSocketUrl>().unwrap().as_str(), "wss://a");
        for bad in
            ["", "nats://a", "wss://", "wss://:443", "wss://a:0", "wss://a:99999", "wss://u@a", "wss://a?x=1"]
        {
            assert_eq!(bad.parse::<WebSocketUrl>().unwrap_err().code, code::ADDRESS, "{bad}");
        }
    }

    #[test]
    fn only_this_machine_is_asked_in_clear_text() {
        for good in ["https://s3.acme.example", "http://127.0.0.1:9000", "http://[::1]:9000", "https://a/b"] {
            assert_eq!(good.parse::<Endpoint>().unwrap().as_str(), good);
        }
        assert_eq!("https://a/".parse::<Endpoint>().unwrap().as_str(), "https://a");
        for bad in
            ["", "s3.acme.example", "ftp://a", "http://10.0.0.5", "https://", "https://u:p@a", "https://a?b"]
        {
            assert_eq!(bad.parse::<Endpoint>().unwrap_err().code, code::ADDRESS, "{bad}");
        }
    }
}
