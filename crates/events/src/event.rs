//! An event on its way: verified, named, and ready to be stored, be it in JetStream or in the spool.

use crate::headers::{self, Delivery, Encoding, Header};
use crate::payload::{Names, form_payload};
use crate::refusal::Refusal;
use crate::subject::subject;
use bytes::Bytes;
use jiff::Timestamp;
use std::borrow::Cow;

/// One delivery, as it will be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The delivery GUID, by which every store recognizes a repetition.
    pub delivery: String,
    /// Where it goes in JetStream.
    pub subject: String,
    /// Its headers, without those of a claim check.
    pub headers: Vec<(Cow<'static, str>, String)>,
    /// The exact bytes that GitHub sent.
    pub body: Bytes,
}

impl Event {
    /// Names a delivery whose signature has been verified.
    ///
    /// # Errors
    /// A [`Refusal`] when the payload cannot be read or cannot be named.
    pub fn new(
        prefix: &str,
        delivery: &Delivery<'_>,
        body: Bytes,
        received: Timestamp,
    ) -> Result<Self, Refusal> {
        let decoded;
        let json: &[u8] = match delivery.encoding {
            Encoding::Json => &body,
            Encoding::Form => {
                decoded = form_payload(&body)?;
                &decoded
            }
        };
        let names = Names::parse(json)?;
        let subject = subject(prefix, delivery.event, &names)?;
        let headers = headers::headers(delivery, &names, received)
            .into_iter()
            .map(|(name, value): Header| (Cow::Borrowed(name), value))
            .collect();
        Ok(Self { delivery: delivery.id.to_owned(), subject, headers, body })
    }

    /// About how many bytes it takes in a message or in the spool.
    pub fn size(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        self.subject.len() + headers + self.body.len() + 64
    }
}
