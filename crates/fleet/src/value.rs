//! What can stand after a key: how it is read, written and described.

use crate::code;
use crate::definition::outside;
use crate::definition::{Choice, Table};
use crate::print::Written;
use crate::reader::Reader;
use crate::suggest::echo;
use crate::types::{Invalid, Name};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use toml::Spanned;
use toml::de::DeValue;

/// A value and where it stands.
pub(crate) type Node<'i> = Spanned<DeValue<'i>>;

/// A type that can stand in the file.
///
/// Reading never fails: a mistake is reported to the reader and [`stand_in`](Value::stand_in) takes the value's
/// place, so that the walk goes on to the next mistake. A fleet with stand-ins never leaves [`crate::parse`].
pub(crate) trait Value: Sized + Clone + PartialEq {
    /// A single one may stand where an array of them belongs.
    const ALONE: bool = false;

    fn shape() -> Shape;
    /// The value of a key that is left out; `None` where it may not be.
    fn absent() -> Option<Self> {
        None
    }
    fn stand_in() -> Self;
    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Self;
    /// `None` where the key is left out.
    fn write(&self) -> Option<Written>;
}

/// What a value looks like: for messages, the JSON Schema and the reference.
#[derive(Clone)]
pub(crate) enum Shape {
    Boolean,
    Integer,
    Text {
        what: &'static str,
        pattern: Option<&'static str>,
    },
    Size,
    Choice(&'static [Choice]),
    Array(Box<Shape>),
    OneOrMany(Box<Shape>),
    Map(Box<Shape>),
    Table(&'static Table),
    Secret,
    /// Parts of a fleet file by name.
    Overlays,
}

impl Shape {
    /// The type in words, with its article.
    pub(crate) fn wanted(&self) -> String {
        match self {
            Self::Boolean => "`true` or `false`".to_owned(),
            Self::Integer => "an integer".to_owned(),
            Self::Text { what, .. } => (*what).to_owned(),
            Self::Size => "a size such as \"10GiB\"".to_owned(),
            Self::Choice(choices) => {
                let texts: Vec<_> = choices.iter().map(|choice| format!("\"{}\"", choice.text)).collect();
                texts.join(" or ")
            }
            Self::Array(item) => format!("an array of {}", item.plural()),
            Self::OneOrMany(item) => format!("{}, or an array of them", item.wanted()),
            Self::Map(_) | Self::Table(_) | Self::Overlays => "a table".to_owned(),
            Self::Secret => "a secret's source such as { env = \"NAME\" }".to_owned(),
        }
    }

    fn plural(&self) -> String {
        match self {
            Self::Text { what, .. } => {
                let noun = what.strip_prefix("a ").or(what.strip_prefix("an ")).unwrap_or(what);
                let (noun, example) = noun.split_once(" such as ").unwrap_or((noun, ""));
                let example = if example.is_empty() { String::new() } else { format!(" such as {example}") };
                if noun == "address" { format!("addresses{example}") } else { format!("{noun}s{example}") }
            }
            _ => "values".to_owned(),
        }
    }

    pub(crate) fn is_secret(&self) -> bool {
        match self {
            Self::Secret => true,
            Self::Array(item) | Self::OneOrMany(item) => item.is_secret(),
            _ => false,
        }
    }
}

/// A value that is written as a string.
pub(crate) trait Text: Sized {
    /// With its article and an example: `a duration such as "30d"`.
    const WHAT: &'static str;
    const PATTERN: Option<&'static str> = None;
    fn from_text(text: &str) -> Result<Self, Invalid>;
    fn to_text(&self) -> String;
    fn stand_in() -> Self;
}

macro_rules! text_values {
    ($($name:ty),*) => {$(
        impl Value for $name {
            fn shape() -> Shape {
                Shape::Text { what: <$name as Text>::WHAT, pattern: <$name as Text>::PATTERN }
            }
            fn stand_in() -> Self {
                <$name as Text>::stand_in()
            }
            fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Self {
                let Some(text) = node.get_ref().as_str() else {
                    reader.wrong_type(node, &Self::shape());
                    return <$name as Text>::stand_in();
                };
                <$name as Text>::from_text(text).unwrap_or_else(|invalid| {
                    reader.invalid(node.span(), invalid);
                    <$name as Text>::stand_in()
                })
            }
            fn write(&self) -> Option<Written> {
                Some(Written::Text(self.to_text()))
            }
        }
    )*};
}
use crate::types::{
    Endpoint, EventName, FleetName, Host, HostName, Line, Organization, Period, StoreAddress, Subject,
    SubjectPattern, Sync, Version, WebSocketUrl,
};
text_values!(
    FleetName,
    Name,
    Organization,
    Subject,
    SubjectPattern,
    Line,
    StoreAddress,
    Endpoint,
    HostName,
    Version,
    WebSocketUrl,
    Period,
    Sync,
    Host,
    EventName,
    IpAddr,
    SocketAddr
);

macro_rules! integer_values {
    ($($name:ty),*) => {$(
        impl Value for $name {
            fn shape() -> Shape {
                Shape::Integer
            }
            fn stand_in() -> Self {
                1
            }
            fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Self {
                let Some(integer) = node.get_ref().as_integer() else {
                    reader.wrong_type(node, &Shape::Integer);
                    return Self::stand_in();
                };
                let value = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
                value.and_then(|value| Self::try_from(value).ok()).unwrap_or_else(|| {
                    let range = reader.range_or(&0, &i64::try_from(Self::MAX).unwrap_or(i64::MAX));
                    reader.invalid(node.span(), outside(&integer.to_string(), &range));
                    Self::stand_in()
                })
            }
            fn write(&self) -> Option<Written> {
                // What was read is within i64; what was set beyond it by hand is cut to it.
                Some(Written::Integer(i64::try_from(*self).unwrap_or(i64::MAX)))
            }
        }
    )*};
}
integer_values!(u16, u32, u64);

impl Value for bool {
    fn shape() -> Shape {
        Shape::Boolean
    }
    fn stand_in() -> Self {
        false
    }
    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Self {
        node.get_ref().as_bool().unwrap_or_else(|| {
            reader.wrong_type(node, &Shape::Boolean);
            false
        })
    }
    fn write(&self) -> Option<Written> {
        Some(Written::Boolean(*self))
    }
}

impl<T: Value> Value for Option<T> {
    fn shape() -> Shape {
        T::shape()
    }
    fn absent() -> Option<Self> {
        Some(None)
    }
    fn stand_in() -> Self {
        None
    }
    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Self {
        Some(T::read(node, reader))
    }
    fn write(&self) -> Option<Written> {
        self.as_ref().and_then(Value::write)
    }
}

impl<T: Value> Value for Vec<T> {
    fn shape() -> Shape {
        let item = Box::new(T::shape());
        if T::ALONE { Shape::OneOrMany(item) } else { Shape::Array(item) }
    }
    fn stand_in() -> Self {
        Vec::new()
    }
    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Self {
        let Some(items) = node.get_ref().as_array() else {
            if T::ALONE {
                return vec![T::read(node, reader)];
            }
            reader.wrong_type(node, &Self::shape());
            return Vec::new();
        };
        if items.is_empty() {
            let remedy =
                format!("name at least one, or leave the key out; it takes {}", Self::shape().wanted());
            reader.invalid(node.span(), Invalid::new(code::EMPTY, "the array is empty", remedy));
        }
        let mut values: Vec<T> = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let value = reader.inside(&format!("[{index}]"), |reader| {
                let value = T::read(item, reader);
                if reader.clean(&item.span()) && values.contains(&value) {
                    let problem = "the same stands earlier in the array";
                    reader.invalid(item.span(), Invalid::new(code::TWICE, problem, "remove one of the two"));
                }
                value
            });
            values.push(value);
        }
        values
    }
    fn write(&self) -> Option<Written> {
        match self.as_slice() {
            [] => None,
            [one] if T::ALONE => one.write(),
            many => Some(Written::Array(many.iter().filter_map(Value::write).collect())),
        }
    }
}

/// Tables by name: `[clusters.hub]`.
impl<T: Value> Value for BTreeMap<Name, T> {
    fn shape() -> Shape {
        Shape::Map(Box::new(T::shape()))
    }
    fn absent() -> Option<Self> {
        Some(BTreeMap::new())
    }
    fn stand_in() -> Self {
        BTreeMap::new()
    }
    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Self {
        let Some(entries) = node.get_ref().as_table() else {
            reader.wrong_type(node, &Self::shape());
            return BTreeMap::new();
        };
        let read = |(key, value): (&Spanned<std::borrow::Cow<'_, str>>, &Node<'_>)| {
            let name = Name::from_text(key.get_ref()).unwrap_or_else(|invalid| {
                reader.invalid(key.span(), invalid);
                Name::unchecked(key.get_ref())
            });
            let value = reader.inside(key.get_ref(), |reader| T::read(value, reader));
            (name, value)
        };
        entries.iter().map(read).collect()
    }
    fn write(&self) -> Option<Written> {
        if self.is_empty() {
            return None;
        }
        let write = |(name, value): (&Name, &T)| value.write().map(|written| (name.to_string(), written));
        Some(Written::Table { inline: false, entries: self.iter().filter_map(write).collect() })
    }
}

/// The key `environments`. What is in it was laid over the file before the file is read, so there is nothing to keep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Environments(());

impl Value for Environments {
    fn shape() -> Shape {
        Shape::Overlays
    }
    fn absent() -> Option<Self> {
        Some(Self(()))
    }
    fn stand_in() -> Self {
        Self(())
    }
    fn read(_node: &Node<'_>, _reader: &mut Reader<'_>) -> Self {
        Self(())
    }
    fn write(&self) -> Option<Written> {
        None
    }
}

impl Text for IpAddr {
    const WHAT: &'static str = "an IP address such as \"127.0.0.1\"";
    fn from_text(text: &str) -> Result<Self, Invalid> {
        text.parse().map_err(|_| {
            let problem = format!("{} is not an IP address", echo(text));
            let remedy = match text {
                "localhost" => "write \"127.0.0.1\"",
                "*" | "" => "write \"0.0.0.0\" for every interface, \"127.0.0.1\" for this machine alone",
                _ => "write one such as \"127.0.0.1\" or \"::1\", without a port",
            };
            Invalid::new(code::ADDRESS, problem, remedy)
        })
    }
    fn to_text(&self) -> String {
        self.to_string()
    }
    fn stand_in() -> Self {
        Ipv4Addr::LOCALHOST.into()
    }
}

impl Text for SocketAddr {
    const WHAT: &'static str = "an address and port such as \"127.0.0.1:8080\"";
    fn from_text(text: &str) -> Result<Self, Invalid> {
        let invalid = |problem: String, remedy: String| Err(Invalid::new(code::ADDRESS, problem, remedy));
        match text.parse::<SocketAddr>() {
            Ok(address) if address.port() == 0 => {
                let remedy = "write a port between 1 and 65535; if it is taken, the next free one is used";
                invalid(format!("{} has no port that others could know", echo(text)), remedy.to_owned())
            }
            Ok(address) => Ok(address),
            Err(_) => {
                let port = text.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
                let remedy = match (port, text.parse::<IpAddr>()) {
                    (_, Ok(IpAddr::V4(ip))) => format!("add a port: \"{ip}:8080\""),
                    (_, Ok(IpAddr::V6(ip))) => format!("add a port: \"[{ip}]:8080\""),
                    (Some(port), _) => format!("write an IP address before the port: \"127.0.0.1:{port}\""),
                    _ => "write an IP address and a port: \"127.0.0.1:8080\" or \"[::1]:8080\"".to_owned(),
                };
                invalid(format!("{} is not an IP address and a port", echo(text)), remedy)
            }
        }
    }
    fn to_text(&self) -> String {
        self.to_string()
    }
    fn stand_in() -> Self {
        (Ipv4Addr::LOCALHOST, 8080).into()
    }
}
