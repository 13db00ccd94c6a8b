//! Certificates of one fleet: an authority of its own, and a certificate for each server.
//!
//! ```text
//! <directory>/tls/authority.json       which authorities are trusted, and which one signs
//! <directory>/tls/ca.crt               the trusted ones, for servers and clients: derived from the above
//! <directory>/tls/ca/1.crt   1.key     an authority each, by number
//! <directory>/tls/servers/hub-0.pem    certificate and key in one file, so that they always fit;  hub-0.json
//! ```
//!
//! A server's certificate lives for 90 days and is made anew in the last 30 of them. An authority lives for ten years.
//! Another one takes its place in three stages, so that at any moment each side trusts what the other shows: first both
//! are trusted, then the new one signs, then the old one is trusted no more ([`Authorities::next`]).
//!
//! What each certificate says is kept beside it, so nothing here has to read one back; that a file was changed by hand
//! shows in its digest.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

use crate::{Error, files};

const DAY: SignedDuration = SignedDuration::from_hours(24);
/// How long a server's certificate is good.
const SERVER_DAYS: i32 = 90;
/// With less than this left it is made anew.
const RENEW_DAYS: i32 = 30;
/// How long an authority is good.
const AUTHORITY_DAYS: i32 = 3650;
/// Clocks of other machines may be behind by this much.
const SKEW: SignedDuration = SignedDuration::from_hours(1);

/// Which authorities there are, by number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorities {
    /// Those that are trusted, the oldest first.
    pub trusted: Vec<u32>,
    /// The one that signs.
    pub signs: u32,
}

/// Where the change from one authority to another is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// No change is under way.
    Settled,
    /// Both are trusted, and the old one signs.
    BothTrusted,
    /// Both are trusted, and the new one signs.
    NewSigns,
}

impl Authorities {
    /// Where a change is.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match self.trusted.last() {
            Some(newest) if *newest != self.signs => Stage::BothTrusted,
            _ if self.trusted.len() > 1 => Stage::NewSigns,
            _ => Stage::Settled,
        }
    }

    /// The next stage of a change; from [`Stage::Settled`] it begins one.
    #[must_use]
    pub fn next(&self) -> Self {
        let newest = self.trusted.last().copied().unwrap_or(self.signs);
        match self.stage() {
            Stage::Settled => Self { trusted: vec![self.signs, newest + 1], signs: self.signs },
            Stage::BothTrusted => Self { trusted: self.trusted.clone(), signs: newest },
            Stage::NewSigns => Self { trusted: vec![self.signs], signs: self.signs },
        }
    }
}

/// What is known of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The number of the authority that signed it.
    pub signed_by: u32,
    /// The names and addresses that it is for.
    pub names: Vec<String>,
    /// Up to when it is good.
    pub good_until: Timestamp,
    /// The digest of the file.
    pub sha256: String,
}

/// The certificates of the fleet in one directory.
#[derive(Debug, Clone)]
pub struct Certificates {
    root: PathBuf,
    fleet: String,
}

impl Certificates {
    /// Those in `directory`, usually `.windlass`.
    #[must_use]
    pub fn at(directory: &Path, fleet: &str) -> Self {
        Self { root: directory.join("tls"), fleet: fleet.to_owned() }
    }

    /// Who is trusted: what a client has to be given.
    #[must_use]
    pub fn authority_file(&self) -> PathBuf {
        self.root.join("ca.crt")
    }

    /// Where a server's certificate is, with its key.
    #[must_use]
    pub fn server_file(&self, server: &str) -> PathBuf {
        self.root.join("servers").join(format!("{server}.pem"))
    }

    fn authority(&self, number: u32, ending: &str) -> PathBuf {
        self.root.join("ca").join(format!("{number}.{ending}"))
    }

    /// The authorities; `None` when there are none yet. Nothing is made.
    ///
    /// # Errors
    /// When what is there cannot be read.
    pub fn authorities(&self) -> Result<Option<Authorities>, Error> {
        let path = self.root.join("authority.json");
        let damaged = |reason: String| Error::Certificate { path: path.clone(), reason };
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| damaged(error.to_string())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", &path)(error)),
        }
    }

    /// Makes the first authority where there is none, and sees that `ca.crt` says who is trusted.
    ///
    /// # Errors
    /// When a file cannot be made or read.
    pub fn ensure(&self, now: Timestamp) -> Result<Authorities, Error> {
        let authorities = match self.authorities()? {
            Some(authorities) => authorities,
            None => {
                let first = Authorities { trusted: vec![1], signs: 1 };
                self.take(&first, now)?;
                first
            }
        };
        self.publish(&authorities)?;
        Ok(authorities)
    }

    /// Goes on to the next stage of a change of the authority, or begins one, and says which stage it is.
    ///
    /// # Errors
    /// When a file cannot be made or read.
    pub fn advance(&self, now: Timestamp) -> Result<Stage, Error> {
        let next = self.ensure(now)?.next();
        self.take(&next, now)?;
        self.publish(&next)?;
        Ok(next.stage())
    }

    /// Makes the authorities' keys that are not there yet, then says that they are the fleet's.
    fn take(&self, authorities: &Authorities, now: Timestamp) -> Result<(), Error> {
        files::create_directory(&self.root.join("ca"))?;
        for number in &authorities.trusted {
            let (key, certificate) = (self.authority(*number, "key"), self.authority(*number, "crt"));
            if !key.exists() {
                files::write(&key, made(&key, KeyPair::generate())?.serialize_pem().as_bytes())?;
            }
            if !certificate.exists() {
                let signer = self.key_of(*number)?;
                let signed = made(&certificate, self.params(*number, now).self_signed(&signer))?;
                files::write(&certificate, signed.pem().as_bytes())?;
            }
        }
        let text = serde_json::to_vec_pretty(authorities)
            .map_err(|error| Error::io("write", &self.root)(error.into()))?;
        files::write(&self.root.join("authority.json"), &text).map(drop)
    }

    fn publish(&self, authorities: &Authorities) -> Result<(), Error> {
        let mut bundle = String::new();
        for number in &authorities.trusted {
            let path = self.authority(*number, "crt");
            bundle.push_str(&fs::read_to_string(&path).map_err(Error::io("read", &path))?);
        }
        files::write(&self.authority_file(), bundle.as_bytes()).map(drop)
    }

    fn key_of(&self, number: u32) -> Result<KeyPair, Error> {
        let path = self.authority(number, "key");
        let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        made(&path, KeyPair::from_pem(&text))
    }

    /// An authority's certificate, as it is made. All of it but the times follows from the fleet and the number, so that
    /// it can be signed with later without being read.
    fn params(&self, number: u32, now: Timestamp) -> CertificateParams {
        let mut params = CertificateParams::default();
        let name = format!("{} certificate authority {number}", self.fleet);
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = (moment(now - SKEW), moment(after(now, AUTHORITY_DAYS)));
        params
    }

    /// What is known of a server's certificate; `None` where there is none, or it is not what was made.
    #[must_use]
    pub fn record(&self, server: &str) -> Option<Record> {
        let path = self.server_file(server);
        let record: Record = serde_json::from_slice(&fs::read(path.with_extension("json")).ok()?).ok()?;
        (record.sha256 == digest(&fs::read(&path).ok()?)).then_some(record)
    }

    /// A server's certificate on disk, to be held against the one that it shows.
    #[must_use]
    pub fn on_disk(&self, server: &str) -> Option<CertificateDer<'static>> {
        CertificateDer::from_pem_file(self.server_file(server)).ok()
    }

    /// Why a server's certificate has to be made anew, if it has to. Nothing is made.
    ///
    /// # Errors
    /// When what is there cannot be read.
    pub fn lacks(&self, server: &str, names: &[String], now: Timestamp) -> Result<Option<String>, Error> {
        let Some(authorities) = self.authorities()? else {
            return Ok(Some("the fleet has no certificate authority yet".to_owned()));
        };
        let Some(record) = self.record(server) else {
            return Ok(Some("it has no certificate yet, or not the one that was made".to_owned()));
        };
        Ok(lacks(&record, &authorities, names, now))
    }

    /// Makes a server's certificate, or leaves it if it is good.
    ///
    /// # Errors
    /// When a file cannot be made or read.
    pub fn ensure_server(&self, server: &str, names: &[String], now: Timestamp) -> Result<Record, Error> {
        let authorities = self.ensure(now)?;
        let good = |record: &Record| lacks(record, &authorities, names, now).is_none();
        if let Some(record) = self.record(server).filter(good) {
            return Ok(record);
        }
        let path = self.server_file(server);
        files::create_directory(&self.root.join("servers"))?;
        let key = made(&path, KeyPair::generate())?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("{}-{server}", self.fleet));
        for name in names {
            params.subject_alt_names.push(match name.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(made(&path, name.as_str().try_into())?),
            });
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // Servers show it to each other, too.
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let good_until = after(now, SERVER_DAYS);
        (params.not_before, params.not_after) = (moment(now - SKEW), moment(good_until));
        let issuer = Issuer::new(self.params(authorities.signs, now), self.key_of(authorities.signs)?);
        let signed = made(&path, params.signed_by(&key, &issuer))?.pem() + &key.serialize_pem();
        let record = Record {
            signed_by: authorities.signs,
            names: names.to_vec(),
            good_until,
            sha256: digest(signed.as_bytes()),
        };
        let text =
            serde_json::to_vec_pretty(&record).map_err(|error| Error::io("write", &path)(error.into()))?;
        // Between the two the digest does not fit, so that a kill leaves none that is believed.
        files::write(&path.with_extension("json"), &text)?;
        files::write(&path, signed.as_bytes())?;
        Ok(record)
    }
}

/// Why it has to be made anew, if it has to.
fn lacks(record: &Record, authorities: &Authorities, names: &[String], now: Timestamp) -> Option<String> {
    if record.signed_by != authorities.signs {
        return Some(format!(
            "authority {} signed its certificate, and {} signs now",
            record.signed_by, authorities.signs
        ));
    }
    if record.names != names {
        return Some("its certificate is for other names".to_owned());
    }
    if record.good_until < after(now, RENEW_DAYS) {
        let day = record.good_until.strftime("%Y-%m-%d");
        return Some(format!("its certificate is good until {day} only"));
    }
    None
}

fn after(now: Timestamp, days: i32) -> Timestamp {
    now.checked_add(DAY * days).unwrap_or(Timestamp::MAX)
}

fn moment(time: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(time.as_second()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn digest(text: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(text))
}

/// A result of the certificate library as ours. Its messages name no secrets.
fn made<T>(path: &Path, result: Result<T, rcgen::Error>) -> Result<T, Error> {
    result.map_err(|error| Error::Certificate { path: path.to_owned(), reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn names() -> Vec<String> {
        ["localhost", "127.0.0.1"].map(str::to_owned).to_vec()
    }

    #[test]
    fn a_change_of_the_authority_has_three_stages() {
        let mut at = Authorities { trusted: vec![1], signs: 1 };
        let mut seen = Vec::new();
        for _ in 0..4 {
            at = at.next();
            seen.push((at.trusted.clone(), at.signs, at.stage()));
        }
        let expected = [
            (vec![1, 2], 1, Stage::BothTrusted),
            (vec![1, 2], 2, Stage::NewSigns),
            (vec![2], 2, Stage::Settled),
            (vec![2, 3], 2, Stage::BothTrusted),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_certificate_is_made_once_and_anew_when_it_must_be() {
        let directory = tempfile::tempdir().unwrap();
        let certificates = Certificates::at(directory.path(), "acme");
        assert!(certificates.lacks("hub-0", &names(), now()).unwrap().unwrap().contains("no certificate"));
        assert!(!certificates.root.exists(), "looking makes nothing");

        let first = certificates.ensure_server("hub-0", &names(), now()).unwrap();
        assert_eq!(certificates.lacks("hub-0", &names(), now()).unwrap(), None);
        assert_eq!(certificates.ensure_server("hub-0", &names(), now()).unwrap(), first);

        let later = after(now(), SERVER_DAYS - RENEW_DAYS + 1);
        let reason = certificates.lacks("hub-0", &names(), later).unwrap().unwrap();
        assert!(reason.contains("until 2026-04-01 only"), "{reason}");
        let second = certificates.ensure_server("hub-0", &names(), later).unwrap();
        assert_ne!(first.sha256, second.sha256);

        let more = [names(), vec!["nats.acme.example".to_owned()]].concat();
        assert!(certificates.lacks("hub-0", &more, later).unwrap().unwrap().contains("other names"));

        assert_eq!(certificates.advance(later).unwrap(), Stage::BothTrusted);
        assert_eq!(certificates.lacks("hub-0", &names(), later).unwrap(), None);
        let bundle = fs::read_to_string(certificates.authority_file()).unwrap();
        assert_eq!(bundle.matches("BEGIN CERTIFICATE").count(), 2);
        assert_eq!(certificates.advance(later).unwrap(), Stage::NewSigns);
        assert!(certificates.lacks("hub-0", &names(), later).unwrap().unwrap().contains("2 signs now"));
        certificates.ensure_server("hub-0", &names(), later).unwrap();
        assert_eq!(certificates.advance(later).unwrap(), Stage::Settled);
        let bundle = fs::read_to_string(certificates.authority_file()).unwrap();
        assert_eq!(bundle.matches("BEGIN CERTIFICATE").count(), 1);
    }

    #[test]
    fn what_was_changed_by_hand_is_not_believed() {
        let directory = tempfile::tempdir().unwrap();
        let certificates = Certificates::at(directory.path(), "acme");
        certificates.ensure_server("hub-0", &names(), now()).unwrap();
        fs::write(certificates.server_file("hub-0"), "x").unwrap();
        assert!(certificates.lacks("hub-0", &names(), now()).unwrap().is_some());
        certificates.ensure_server("hub-0", &names(), now()).unwrap();
        assert_eq!(certificates.lacks("hub-0", &names(), now()).unwrap(), None);
    }

    #[test]
    fn keys_are_for_the_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let certificates = Certificates::at(directory.path(), "acme");
        certificates.ensure_server("hub-0", &names(), now()).unwrap();
        for path in [certificates.server_file("hub-0"), certificates.authority(1, "key")] {
            assert_eq!(files::mode(&path).unwrap(), files::PRIVATE_FILE);
        }
    }
}
