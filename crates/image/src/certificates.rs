//! The authorities that the image trusts: Mozilla's, as a crate carries them, unless a file is named.
//!
//! A system's own bundle would differ from machine to machine, and with it the image's digest. The crate is pinned in
//! `Cargo.lock`: the same Windlass makes the same image everywhere, and newer authorities come with a newer Windlass.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::Error;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Certificates as PEM, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificates(String);

impl Certificates {
    /// Mozilla's authorities.
    pub fn mozilla() -> Self {
        let mut text = String::new();
        for certificate in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
            write_pem(&mut text, certificate);
        }
        Self(text)
    }

    /// What a file holds. Only the certificates are taken, so comments in it do not change the image.
    ///
    /// # Errors
    /// When it cannot be read, or there is something wrong in it.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
        Self::from_pem(&text).map_err(|why| Error::Certificates { path: path.to_owned(), why })
    }

    /// The certificates in a text. `Err` says what is wrong with it.
    ///
    /// # Errors
    /// When there is none, or one that is no PEM.
    pub fn from_pem(text: &str) -> Result<Self, String> {
        let mut found = String::new();
        for (number, part) in text.split(BEGIN).skip(1).enumerate() {
            let (body, _) =
                part.split_once(END).ok_or_else(|| format!("certificate {} has no end", number + 1))?;
            let body: String = body.split_whitespace().collect();
            let bytes =
                STANDARD.decode(body).map_err(|error| format!("certificate {}: {error}", number + 1))?;
            // A certificate is a SEQUENCE of DER: anything else is a key or a mistake.
            if bytes.first() != Some(&0x30) {
                return Err(format!("certificate {} is no certificate", number + 1));
            }
            write_pem(&mut found, &bytes);
        }
        if text.contains("PRIVATE KEY-----") {
            return Err("it holds a private key, which has no place in an image".into());
        }
        if found.is_empty() { Err("nothing in it begins as one".into()) } else { Ok(Self(found)) }
    }

    /// As PEM.
    pub fn as_pem(&self) -> &str {
        &self.0
    }
}

fn write_pem(text: &mut String, certificate: &[u8]) {
    let encoded = STANDARD.encode(certificate);
    text.push_str(BEGIN);
    text.push('\n');
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    text.push_str(END);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mozillas_are_many_and_read_back_the_same() {
        let mozilla = Certificates::mozilla();
        assert!(mozilla.as_pem().matches(BEGIN).count() > 100);
        assert_eq!(Certificates::from_pem(mozilla.as_pem()), Ok(mozilla));
    }

    #[test]
    fn only_certificates_are_taken() {
        let one = format!("# a comment\r\n{BEGIN}\r\nMAMC\r\nAQU=\r\n{END}\r\nrest");
        assert_eq!(Certificates::from_pem(&one).unwrap().as_pem(), format!("{BEGIN}\nMAMCAQU=\n{END}\n"));
        let why = |text: &str| Certificates::from_pem(text).unwrap_err();
        assert_eq!(why("hello"), "nothing in it begins as one");
        assert_eq!(why(&format!("{BEGIN}\nMAMC")), "certificate 1 has no end");
        assert!(why(&format!("{BEGIN}\n!!\n{END}")).starts_with("certificate 1: "));
        assert_eq!(why(&format!("{BEGIN}\nAAAA\n{END}")), "certificate 1 is no certificate");
        assert!(why(&format!("{one}\n-----BEGIN PRIVATE KEY-----\n")).contains("private key"));
    }
}
