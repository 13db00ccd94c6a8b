//! Accounts and their users: who may do what.

use super::not_the_system_account;
use crate::code;
use crate::types::{Bytes, Invalid, Name, Subject, SubjectPattern};
use std::collections::BTreeMap;

table! {
    /// An account: users, streams and subjects of its own, that no other account sees.
    pub struct Account {
        /// The most that it may use. Without a key, as much as the servers have.
        limits: Limits;
        /// Users by name. Each gets a credentials file; `windlass creds` says where. The user `admin`, who may do everything in the account, is always there.
        users: BTreeMap<Name, User>, check no_admin;
        /// Subjects that other accounts may import: `{ subject = "rates.>" }`, or with `kind = "service"` for requests.
        exports: Vec<Export> = Vec::new();
        /// Subjects of other accounts: `{ account = "SHOP", subject = "rates.>" }`, under another name with `to = "shop.rates.>"`.
        imports: Vec<Import> = Vec::new();
    }
}

fn no_admin(users: &BTreeMap<Name, User>) -> Result<(), Invalid> {
    if !users.contains_key("admin") {
        return Ok(());
    }
    let problem = "`admin` is there anyway, and may do everything in the account";
    Err(Invalid::new(code::NAME, problem, "give the user another name, or leave it out"))
}

table! {
    /// The most that an account may use.
    pub struct Limits (inline) {
        /// Connections of clients.
        connections: Option<u64>, in 1..=i64::MAX as u64;
        /// Subscriptions.
        subscriptions: Option<u64>, in 1..=i64::MAX as u64;
        /// The largest message.
        max_payload: Option<Bytes>, in Bytes::new(1)..=Bytes::mib(64);
        /// Streams, buckets among them.
        streams: Option<u64>, in 1..=i64::MAX as u64;
        /// Consumers.
        consumers: Option<u64>, in 1..=i64::MAX as u64;
        /// What its streams may have on disk.
        storage: Option<Bytes>, in Bytes::new(1)..=Bytes::MAX;
        /// What its streams may have in memory.
        memory: Option<Bytes>, in Bytes::new(1)..=Bytes::MAX;
    }
}

choice! {
    /// What a user may do with the account's streams, consumers and buckets.
    pub enum JetStreamAccess {
        /// Nothing but to publish to their subjects.
        None = "none",
        /// Look at them, read them through consumers that there are or that the user makes, and acknowledge.
        Read = "read",
        /// Everything: create, change, purge and delete too.
        Manage = "manage",
    }
}

table! {
    /// A user of an account. What is not allowed is refused.
    pub struct User (inline) {
        /// Subjects that it may publish to. Who may publish anything may also receive the answers, in `_INBOX.>`.
        publish: Vec<SubjectPattern> = Vec::new();
        /// Subjects that it may subscribe to.
        subscribe: Vec<SubjectPattern> = Vec::new();
        /// Of those, subjects that it may not publish to.
        deny_publish: Vec<SubjectPattern> = Vec::new();
        /// Of those, subjects that it may not subscribe to.
        deny_subscribe: Vec<SubjectPattern> = Vec::new();
        /// What it may do with streams, consumers and buckets.
        jetstream: JetStreamAccess = JetStreamAccess::None;
        /// It may answer requests, wherever the answer goes to: for services.
        allow_responses: bool = false;
    }
}

choice! {
    /// What is exported.
    pub enum Exchange {
        /// Messages.
        Stream = "stream",
        /// Requests, and their answers.
        Service = "service",
    }
}

table! {
    /// Subjects that other accounts may import.
    pub struct Export (inline) {
        /// The subjects.
        subject: Subject;
        /// Messages, or requests.
        kind: Exchange = Exchange::Stream;
    }
}

table! {
    /// Subjects of another account.
    pub struct Import (inline) {
        /// The other account. It must export them.
        account: Name, check not_the_system_account;
        /// The subjects, as the other account has them.
        subject: Subject;
        /// Messages, or requests.
        kind: Exchange = Exchange::Stream;
        /// What they are called here. Without this key, the same.
        to: Option<Subject>;
    }
}
