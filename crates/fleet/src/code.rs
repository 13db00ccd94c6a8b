//! The stable codes of the fleet file's mistakes, `WL0101` and up. Each has a page in `docs/errors/`.

macro_rules! codes {
    ($($name:ident $code:literal $title:literal;)*) => {
        $(pub(crate) const $name: &str = $code;)*

        /// Every code of this crate with the title of its page, in order.
        pub const CODES: &[(&str, &str)] = &[$(($code, $title)),*];
    };
}

codes! {
    SYNTAX "WL0101" "the file is not TOML here";
    NOT_UTF8 "WL0102" "the file is not UTF-8";
    DUPLICATE_KEY "WL0103" "a key or table is given twice";
    UNKNOWN_KEY "WL0104" "unknown key";
    WRONG_TYPE "WL0105" "wrong type of value";
    MISSING_KEY "WL0106" "a required key is missing";
    NOT_YET "WL0107" "not supported by this version";
    UNKNOWN_VALUE "WL0108" "unknown value";
    OUT_OF_RANGE "WL0109" "a value is out of its range";
    NAME "WL0110" "a name that cannot be used";
    DURATION "WL0111" "a duration that cannot be read";
    SIZE "WL0112" "a size that cannot be read";
    SUBJECT "WL0113" "a subject that NATS does not take";
    OVERLAP "WL0114" "overlapping subjects";
    DANGLING "WL0115" "a reference to something that is not there";
    EMPTY "WL0116" "an empty array or string";
    WHICH_CLUSTER "WL0117" "no cluster, or more than one to choose from";
    REPLICAS "WL0118" "more replicas than servers";
    ADDRESS "WL0119" "an address that cannot be read";
    ADDRESS_TWICE "WL0120" "an address that is wanted twice";
    SECRET_IN_FILE "WL0121" "a secret is written in the file";
    SECRET_SOURCE "WL0122" "a secret needs exactly one source";
    SECRET_USELESS "WL0123" "a source that cannot give a secret";
    WINDOW "WL0124" "the duplicate window is longer than messages live";
    NOT_COVERED "WL0125" "the stream does not take GitHub's events";
    FORGETS "WL0126" "the stream forgets deliveries too soon";
    TWICE "WL0127" "an array names the same thing twice";
    TOO_SMALL "WL0128" "the stream refuses messages that the receiver sends";
    RESERVED "WL0129" "subjects that belong to NATS itself";
    STORAGE "WL0130" "streams reserve more than the cluster has";
    TOO_LARGE "WL0131" "the file is too large";
    NOT_EXPORTED "WL0132" "an import of what is not exported";
    OTHER_PLATFORM "WL0133" "a key that another platform has";
    CIRCLE "WL0134" "leaf nodes in a circle";
    ENVIRONMENT "WL0135" "an environment that is not there, or not allowed there";
    SUPER_CLUSTER "WL0136" "clusters of a super-cluster that do not agree";
    NO_BUCKET "WL0137" "keys of a bucket, and the state is in none";
    HALF_A_KEY "WL0138" "half of an access key";
}

/// The title of a code's page, if the code is one of this crate's.
#[must_use]
pub fn title(code: &str) -> Option<&'static str> {
    CODES.iter().find(|(known, _)| *known == code).map(|(_, title)| *title)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn every_code_has_its_page() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors");
        for (code, title) in CODES {
            let page = std::fs::read_to_string(directory.join(format!("{code}.md"))).unwrap_or_default();
            let heading = format!("# {code}: {title}\n");
            let begins = page.get(..heading.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(&heading));
            assert!(begins, "docs/errors/{code}.md: {page:.60}");
            for heading in ["\n## Why\n", "\n## What to do\n"] {
                assert!(page.contains(heading), "docs/errors/{code}.md lacks {heading:?}");
            }
        }
    }
}
