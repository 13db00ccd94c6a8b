//! What a path means. Names become directories, so what is no name never gets further than here.

use super::refusal::Refusal;

/// A place in the registry.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route<'a> {
    /// `/v2/`: are you there, and who am I?
    Base,
    /// All repositories.
    Catalog,
    Blob {
        name: &'a str,
        digest: &'a str,
    },
    Uploads {
        name: &'a str,
    },
    Upload {
        name: &'a str,
        id: &'a str,
    },
    Manifest {
        name: &'a str,
        reference: Reference<'a>,
    },
    Tags {
        name: &'a str,
    },
}

/// How a manifest is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reference<'a> {
    Tag(&'a str),
    /// The hexadecimal part of a SHA-256 digest.
    Digest(&'a str),
}

impl Route<'_> {
    /// The repository that it is in.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Self::Base | Self::Catalog => None,
            Self::Blob { name, .. }
            | Self::Uploads { name }
            | Self::Upload { name, .. }
            | Self::Manifest { name, .. }
            | Self::Tags { name } => Some(name),
        }
    }
}

/// Reads a path.
pub(super) fn parse(path: &str) -> Result<Route<'_>, Refusal> {
    let rest = path.strip_prefix("/v2").ok_or(Refusal::NameInvalid)?;
    let rest = match rest {
        "" | "/" => return Ok(Route::Base),
        "/_catalog" => return Ok(Route::Catalog),
        rest => rest.strip_prefix('/').ok_or(Refusal::NameInvalid)?,
    };
    let named = |name| if is_name(name) { Ok(name) } else { Err(Refusal::NameInvalid) };
    if let Some(name) = rest.strip_suffix("/tags/list") {
        return Ok(Route::Tags { name: named(name)? });
    }
    if let Some(name) = rest.strip_suffix("/blobs/uploads").or_else(|| rest.strip_suffix("/blobs/uploads/")) {
        return Ok(Route::Uploads { name: named(name)? });
    }
    let (head, last) = rest.rsplit_once('/').ok_or(Refusal::NameInvalid)?;
    if let Some(name) = head.strip_suffix("/blobs/uploads") {
        let name = named(name)?;
        let is_id = last.len() == 32 && last.bytes().all(|byte| byte.is_ascii_hexdigit());
        return if is_id { Ok(Route::Upload { name, id: last }) } else { Err(Refusal::BlobUploadUnknown) };
    }
    if let Some(name) = head.strip_suffix("/blobs") {
        let name = named(name)?;
        return hex_of(last).map(|digest| Route::Blob { name, digest }).ok_or(Refusal::DigestInvalid);
    }
    if let Some(name) = head.strip_suffix("/manifests") {
        let name = named(name)?;
        let reference = match hex_of(last) {
            Some(hex) => Reference::Digest(hex),
            None if is_tag(last) => Reference::Tag(last),
            None => return Err(Refusal::TagInvalid),
        };
        return Ok(Route::Manifest { name, reference });
    }
    Err(Refusal::NameInvalid)
}

/// Reads what follows the registry in an image's reference: `NAME:TAG`, `NAME@DIGEST`, or `NAME`, which means `latest`.
pub(super) fn parse_image(text: &str) -> Option<(&str, Reference<'_>)> {
    let (name, reference) = match text.split_once('@') {
        // What a digest says, a tag beside it says no better.
        Some((name, digest)) => {
            (name.split(':').next().unwrap_or(name), hex_of(digest).map(Reference::Digest))
        }
        None => {
            let (name, tag) = text.rsplit_once(':').unwrap_or((text, "latest"));
            (name, is_tag(tag).then_some(Reference::Tag(tag)))
        }
    };
    reference.filter(|_| is_name(name)).map(|reference| (name, reference))
}

/// The hexadecimal part of a SHA-256 digest.
pub(super) fn hex_of(digest: &str) -> Option<&str> {
    let hex = digest.strip_prefix("sha256:")?;
    let is_hex = hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_hex.then_some(hex)
}

/// Whether it is a repository's name: parts of small letters and digits, with single separators within.
pub(super) fn is_name(name: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_part = |part: &str| {
        part.bytes().next().is_some_and(is_word)
            && part.bytes().last().is_some_and(is_word)
            && part.bytes().all(|byte| is_word(byte) || matches!(byte, b'.' | b'_' | b'-'))
            && !part.contains("..")
    };
    name.len() <= 255 && name.split('/').all(is_part)
}

fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= 128
        && tag.bytes().next().is_some_and(is_word)
        && tag.bytes().all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_has_its_path() {
        let hex = "a".repeat(64);
        let ok = |path: &str, expected: Route<'_>| assert_eq!(parse(path).unwrap(), expected, "{path}");
        ok("/v2/", Route::Base);
        ok("/v2", Route::Base);
        ok("/v2/_catalog", Route::Catalog);
        ok("/v2/acme/nats/tags/list", Route::Tags { name: "acme/nats" });
        ok("/v2/nats/blobs/uploads/", Route::Uploads { name: "nats" });
        ok("/v2/nats/blobs/uploads", Route::Uploads { name: "nats" });
        let id = "0123456789abcdef0123456789abcdef";
        ok(&format!("/v2/a/b/c/blobs/uploads/{id}"), Route::Upload { name: "a/b/c", id });
        ok(&format!("/v2/n/blobs/sha256:{hex}"), Route::Blob { name: "n", digest: &hex });
        let reference = Reference::Digest(&hex);
        ok(&format!("/v2/n/manifests/sha256:{hex}"), Route::Manifest { name: "n", reference });
        let reference = Reference::Tag("2.15.1-production");
        ok("/v2/n/manifests/2.15.1-production", Route::Manifest { name: "n", reference });
        // A repository may be called as a page is.
        ok("/v2/tags/list/tags/list", Route::Tags { name: "tags/list" });
    }

    #[test]
    fn images_are_named_by_tags_and_digests() {
        let hex = "a".repeat(64);
        let digest = format!("acc/nats@sha256:{hex}");
        assert_eq!(parse_image(&digest), Some(("acc/nats", Reference::Digest(&hex))));
        let both = format!("acc/nats:1@sha256:{hex}");
        assert_eq!(parse_image(&both), Some(("acc/nats", Reference::Digest(&hex))));
        assert_eq!(parse_image("acc/nats:2.15.1"), Some(("acc/nats", Reference::Tag("2.15.1"))));
        assert_eq!(parse_image("acc/nats"), Some(("acc/nats", Reference::Tag("latest"))));
        for wrong in ["", "acc/../nats:1", "acc/nats:../1", "acc/nats:", "acc/nats@sha256:1", "acc:1/nats"] {
            assert_eq!(parse_image(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_no_name_gets_no_further() {
        for path in [
            "/",
            "/v1/",
            "/v2x",
            "/v2/nats",
            "/v2//tags/list",
            "/v2/../etc/tags/list",
            "/v2/a/../b/tags/list",
            "/v2/A/tags/list",
            "/v2/a//b/tags/list",
            "/v2/.a/tags/list",
            "/v2/_blobs/tags/list",
            "/v2/a%2fb/tags/list",
            "/v2/n/manifests/",
            "/v2/n/manifests/..",
            "/v2/n/manifests/.x",
            "/v2/n/manifests/sha256:abc",
            "/v2/n/blobs/sha256:../../x",
            "/v2/n/blobs/sha512:aa",
            "/v2/n/blobs/uploads/../../x",
            "/v2/n/blobs/uploads/0123456789abcdef0123456789abcdeg",
            "/v2/n\0/tags/list",
        ] {
            assert!(parse(path).is_err(), "{path}");
        }
        assert!(!is_name(&"a".repeat(256)) && is_name(&"a".repeat(255)));
    }
}
