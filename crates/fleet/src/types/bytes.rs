//! Sizes: `"10GiB"`, `"512KiB"`, `"1MB"`, or a plain integer of bytes.

use super::{Invalid, as_text};
use crate::code;
use crate::definition::outside;
use crate::print::Written;
use crate::reader::Reader;
use crate::suggest::echo;
use crate::value::{Node, Shape, Value};

/// A number of bytes. NATS counts them in signed 64 bits, so there is room for 8 EiB less one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(u64);

const MOST: u64 = i64::MAX as u64;

const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

impl Bytes {
    /// As many KiB.
    #[must_use]
    pub const fn kib(count: u64) -> Self {
        Self(count << 10)
    }

    /// As many MiB.
    #[must_use]
    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }

    /// As many GiB.
    #[must_use]
    pub const fn gib(count: u64) -> Self {
        Self(count << 30)
    }

    /// The most there can be.
    pub const MAX: Self = Self(MOST);

    /// As many bytes, cut to [`MAX`](Self::MAX).
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(if bytes > MOST { MOST } else { bytes })
    }

    /// The number of bytes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl crate::value::Text for Bytes {
    const WHAT: &'static str = "a size such as \"10GiB\"";

    fn from_text(text: &str) -> Result<Self, Invalid> {
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let known = |unit: &str| UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit));
        let not_a_size =
            |remedy: String| Err(Invalid::new(code::SIZE, format!("{} is not a size", echo(text)), remedy));
        if number.is_empty() {
            return not_a_size(
                "write a whole number and a unit: \"10GiB\", \"512KiB\", \"1MB\", or bytes: 1024".into(),
            );
        }
        let factor = match UNITS.iter().find(|(name, _)| *name == unit) {
            Some((_, factor)) => *factor,
            None if unit.is_empty() => 1,
            None => {
                let plain = unit.trim();
                let meant = known(plain).or_else(|| known(&format!("{plain}B")));
                return not_a_size(match meant {
                    Some((meant, _)) => format!("did you mean \"{number}{meant}\"?"),
                    None if unit.starts_with('.') => "write a whole number of a smaller unit".to_owned(),
                    None => "the units are B, KiB, MiB, GiB, TiB (of 1024) and KB, MB, GB, TB (of 1000)"
                        .to_owned(),
                });
            }
        };
        let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
        match bytes.filter(|bytes| *bytes <= MOST) {
            Some(bytes) => Ok(Self(bytes)),
            None => {
                let problem = format!("{} is more than {MOST} bytes", echo(text));
                Err(Invalid::new(code::OUT_OF_RANGE, problem, "write a smaller size, such as \"10GiB\""))
            }
        }
    }

    /// The largest unit of 1024 that leaves no rest, or plain bytes.
    fn to_text(&self) -> String {
        let fits = |factor: u64| self.0 >= factor && self.0.is_multiple_of(factor);
        match UNITS[..4].iter().find(|(_, factor)| fits(*factor)) {
            Some((unit, factor)) => format!("{}{unit}", self.0 / factor),
            None => self.0.to_string(),
        }
    }

    fn stand_in() -> Self {
        Self(1)
    }
}
as_text!(Bytes);

impl Value for Bytes {
    fn shape() -> Shape {
        Shape::Size
    }

    fn stand_in() -> Self {
        Self(1)
    }

    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Self {
        let value = node.get_ref();
        let parsed = match (value.as_str(), value.as_integer()) {
            (Some(text), _) => text.parse(),
            (_, Some(integer)) => {
                let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
                number
                    .and_then(|number| u64::try_from(number).ok())
                    .map(Self::new)
                    .ok_or_else(|| outside(&integer.to_string(), &reader.range_or(&0, &Self::MAX)))
            }
            _ => {
                reader.wrong_type(node, &Self::shape());
                return Self(1);
            }
        };
        parsed.unwrap_or_else(|invalid| {
            reader.invalid(node.span(), invalid);
            Self(1)
        })
    }

    fn write(&self) -> Option<Written> {
        let text = self.to_string();
        Some(match i64::try_from(self.0) {
            Ok(number) if text.bytes().all(|byte| byte.is_ascii_digit()) => Written::Integer(number),
            _ => Written::Text(text),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes, again) in [
            ("10GiB", 10 << 30, "10GiB"),
            ("512KiB", 512 << 10, "512KiB"),
            ("1MB", 1_000_000, "1000000"),
            ("1024", 1024, "1KiB"),
            ("2048KiB", 2 << 20, "2MiB"),
            ("7B", 7, "7"),
            ("0", 0, "0"),
        ] {
            let size: Bytes = text.parse().unwrap();
            assert_eq!((size.get(), size.to_string().as_str()), (bytes, again), "{text}");
            assert_eq!(size.to_string().parse(), Ok(size));
        }
    }

    #[test]
    fn what_is_no_size_says_what_would_be() {
        for (text, code, remedy) in [
            ("", code::SIZE, "whole number"),
            ("GiB", code::SIZE, "whole number"),
            ("-1KiB", code::SIZE, "whole number"),
            ("1.5GiB", code::SIZE, "smaller unit"),
            ("10gib", code::SIZE, "\"10GiB\""),
            ("10 GiB", code::SIZE, "\"10GiB\""),
            ("10G", code::SIZE, "\"10GB\""),
            ("10parsec", code::SIZE, "the units are"),
            ("8388608TiB", code::OUT_OF_RANGE, "smaller"),
            ("99999999999999999999", code::OUT_OF_RANGE, "smaller"),
        ] {
            let invalid = text.parse::<Bytes>().unwrap_err();
            assert_eq!(invalid.code, code, "{text}");
            assert!(invalid.remedy.contains(remedy), "{text}: {}", invalid.remedy);
        }
    }
}
