//! `table!` and `choice!`: one definition of a table or an enumeration, from which everything else follows.
//!
//! A field is one line:
//!
//! ```text
//! /// What it is for. (documentation of the struct, of the schema and of the reference)
//! servers: u32 = 1, in 1..=64, check one_server;
//! ```
//!
//! Its type is any [`Value`](crate::value::Value). `= …` is the default; without one the key is required, unless the
//! type can be absent (`Option`, tables of which every key can be left out). `in …` is a range, `check …` a function
//! `fn(&T) -> Result<(), Invalid>`, `as "…"` the key where it is no Rust name. `later { … }` names keys that the design
//! knows and this version does not, so that they are no "unknown key". `finish …` is a function that sees the whole
//! table, for what two keys say together.

use crate::print::Written;
use crate::types::{Bytes, Invalid, Period};
use crate::value::Shape;
use std::fmt::Display;
use std::ops::RangeInclusive;

/// A table of the file.
pub(crate) struct Table {
    /// The Rust type's name, which is the definition's name in the JSON Schema.
    pub(crate) name: &'static str,
    pub(crate) doc: &'static [&'static str],
    /// It is written on one line, as a part of the table around it.
    #[allow(dead_code, reason = "only the reference asks")]
    pub(crate) inline: bool,
    pub(crate) fields: &'static [Field],
    pub(crate) later: &'static [(&'static str, &'static str)],
}

/// A key of a table.
pub(crate) struct Field {
    pub(crate) key: &'static str,
    pub(crate) doc: &'static [&'static str],
    pub(crate) shape: fn() -> Shape,
    pub(crate) required: fn() -> bool,
    pub(crate) default: fn() -> Option<Written>,
    /// The range's ends as they are written.
    pub(crate) range: fn() -> Option<(String, String)>,
}

/// A value of an enumeration.
pub(crate) struct Choice {
    pub(crate) text: &'static str,
    pub(crate) doc: &'static [&'static str],
}

/// Lines of documentation as one text.
pub(crate) fn doc_text(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ").trim().to_owned()
}

/// What can be held against a range.
pub(crate) trait Bounded {
    type Bound: PartialOrd + Display;
    fn bound(&self) -> Option<&Self::Bound>;
}

macro_rules! bounded {
    ($($name:ty),*) => {$(
        impl Bounded for $name {
            type Bound = Self;
            fn bound(&self) -> Option<&Self> {
                Some(self)
            }
        }
    )*};
}
bounded!(u16, u32, u64, Bytes, Period);

impl<T: Bounded> Bounded for Option<T> {
    type Bound = T::Bound;
    fn bound(&self) -> Option<&T::Bound> {
        self.as_ref().and_then(Bounded::bound)
    }
}

pub(crate) fn check_range<T: Bounded>(value: &T, range: &RangeInclusive<T::Bound>) -> Result<(), Invalid> {
    let (least, most) = (range.start(), range.end());
    match value.bound() {
        Some(bound) if !range.contains(bound) => {
            Err(outside(&bound.to_string(), &(least.to_string(), most.to_string())))
        }
        _ => Ok(()),
    }
}

/// A range in words; an end that only the type sets is not worth saying.
pub(crate) fn range_text(least: &str, most: &str) -> String {
    let unlimited = most == Bytes::MAX.to_string() || most == Period::MAX.to_string();
    if unlimited { format!("{least} or more") } else { format!("{least} to {most}") }
}

/// A value that is not between the two.
pub(crate) fn outside(value: &str, (least, most): &(String, String)) -> Invalid {
    let remedy = format!("write {}", range_text(least, most));
    Invalid::new(
        crate::code::OUT_OF_RANGE,
        format!("{} is out of range", crate::suggest::echo(value)),
        remedy,
    )
}

/// Makes the type of a range's ends follow from the field's type.
pub(crate) fn range_ends<T: Bounded>(range: &RangeInclusive<T::Bound>) -> (String, String) {
    (range.start().to_string(), range.end().to_string())
}

macro_rules! table {
    (@key $field:ident) => { stringify!($field) };
    (@key $field:ident $key:literal) => { $key };
    (@inline) => { false };
    (@inline inline) => { true };
    (
        $(#[doc = $doc:literal])*
        pub struct $name:ident $(($style:ident))? {
            $(
                $(#[doc = $field_doc:literal])*
                $field:ident $(as $key:literal)? : $type:ty $(= $default:expr)? $(, in $range:expr)?
                    $(, check $check:path)? ;
            )*
        }
        $(later { $($later:literal: $what:literal),* $(,)? })?
        $(finish $finish:path;)?
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $($(#[doc = $field_doc])* pub $field: $type,)*
        }

        impl $name {
            /// As JSON, in the file's words and with its defaults. It names secrets' sources, never secrets.
            #[must_use]
            pub fn to_json(&self) -> serde_json::Value {
                crate::value::Value::write(self).map_or(serde_json::Value::Null, |written| written.to_json())
            }
        }

        const _: () = {
            use crate::definition::{Field, Table};
            use crate::print::Written;
            use crate::reader::Reader;
            use crate::types::Invalid;
            use crate::value::{Node, Shape, Value};

            // A default that is given wins over the type's own.
            struct Fallback;
            impl Fallback {
                $(fn $field() -> Option<$type> {
                    None::<$type>$(.or_else(|| Some($default)))?.or_else(<$type as Value>::absent)
                })*
            }
            struct Key;
            #[allow(non_upper_case_globals, reason = "constants named after the fields")]
            impl Key {
                $(const $field: Field = Field {
                    key: table!(@key $field $($key)?),
                    doc: &[$($field_doc),*],
                    shape: <$type as Value>::shape,
                    required: || Fallback::$field().is_none(),
                    default: || Fallback::$field().and_then(|value| value.write()),
                    range: || None$(.or_else(|| Some(crate::definition::range_ends::<$type>(&$range))))?,
                };)*
            }
            static TABLE: Table = Table {
                name: stringify!($name),
                doc: &[$($doc),*],
                inline: table!(@inline $($style)?),
                fields: &[$(Key::$field),*],
                later: &[$($(($later, $what)),*)?],
            };

            impl Value for $name {
                fn shape() -> Shape {
                    Shape::Table(&TABLE)
                }
                fn absent() -> Option<Self> {
                    Some(Self { $($field: Fallback::$field()?),* })
                }
                fn stand_in() -> Self {
                    Self { $($field: <$type as Value>::stand_in()),* }
                }
                fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Self {
                    let Some(entries) = reader.table(node, &TABLE) else {
                        return Self::stand_in();
                    };
                    #[allow(unused_mut, reason = "only some tables have something to finish")]
                    let mut table = Self {
                        $($field: {
                            let check = |_value: &$type| -> Result<(), Invalid> {
                                $(crate::definition::check_range::<$type>(_value, &$range)?;)?
                                $($check(_value)?;)?
                                Ok(())
                            };
                            reader.field(entries, node.span(), &Key::$field, Fallback::$field(), check)
                        }),*
                    };
                    $($finish(&mut table, entries, reader);)?
                    table
                }
                fn write(&self) -> Option<Written> {
                    let mut entries = Vec::new();
                    $(if let Some(written) = self.$field.write() {
                        entries.push((Key::$field.key.to_owned(), written));
                    })*
                    Some(Written::Table { inline: table!(@inline $($style)?), entries })
                }
            }
        };
    };
}

macro_rules! choice {
    (
        $(#[doc = $doc:literal])*
        pub enum $name:ident {
            $($(#[doc = $choice_doc:literal])* $choice:ident = $text:literal),* $(,)?
        }
        $(later { $($later:literal: $what:literal),* $(,)? })?
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[doc = $choice_doc])* $choice),*
        }

        impl $name {
            /// Every value, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$choice),*];

            /// As it is written in the file.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$choice => $text),*
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl crate::value::Value for $name {
            fn shape() -> crate::value::Shape {
                crate::value::Shape::Choice(&[
                    $(crate::definition::Choice { text: $text, doc: &[$($choice_doc),*] }),*
                ])
            }
            fn stand_in() -> Self {
                Self::ALL[0]
            }
            fn read(node: &crate::value::Node<'_>, reader: &mut crate::reader::Reader<'_>) -> Self {
                let later: &[(&str, &str)] = &[$($(($later, $what)),*)?];
                crate::definition::read_choice(Self::ALL, Self::as_str, later, node, reader, &Self::shape())
            }
            fn write(&self) -> Option<crate::print::Written> {
                Some(crate::print::Written::Text(self.as_str().to_owned()))
            }
        }
    };
}

/// What every [`choice!`] reads with.
pub(crate) fn read_choice<T: Copy>(
    all: &[T],
    text_of: fn(T) -> &'static str,
    later: &[(&str, &str)],
    node: &crate::value::Node<'_>,
    reader: &mut crate::reader::Reader<'_>,
    shape: &Shape,
) -> T {
    use crate::suggest::{echo, list, nearest};
    let Some(text) = node.get_ref().as_str() else {
        reader.wrong_type(node, shape);
        return all[0];
    };
    if let Some(known) = all.iter().find(|known| text_of(**known) == text) {
        return *known;
    }
    let known = || all.iter().map(|known| text_of(*known));
    let invalid = if let Some((_, what)) = later.iter().find(|(later, _)| *later == text) {
        let problem = format!("{} is not supported by this version: {what}", echo(text));
        Invalid::new(crate::code::NOT_YET, problem, format!("for now write {}", list(known(), "or")))
    } else {
        let remedy = match nearest(text, known()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("write {}", list(known(), "or")),
        };
        Invalid::new(crate::code::UNKNOWN_VALUE, format!("unknown value {}", echo(text)), remedy)
    };
    reader.invalid(node.span(), invalid);
    all[0]
}
