//! What stores messages beside plain streams, and who reads them.

use super::{Compression, SHORTEST, Storage, not_the_system_account, odd_replicas};
use crate::types::{Bytes, Line, Name, Period, Subject};

table! {
    /// A key-value bucket.
    pub struct KvBucket {
        /// The account that it belongs to.
        account: Name = Name::unchecked("GITHUB"), check not_the_system_account;
        /// The cluster that it is on. The default is the only cluster there is.
        cluster: Option<Name>;
        /// How many values of a key it keeps.
        history: u32 = 1, in 1..=64;
        /// How long it keeps a value. Without this key, for ever.
        ttl: Option<Period>, in SHORTEST..=Period::MAX;
        /// How much it keeps; when it is full, new values are refused. Without this key, as much as the cluster's storage takes.
        max_bytes: Option<Bytes>, in Bytes::new(1)..=Bytes::MAX;
        /// The largest value.
        max_value_size: Option<Bytes>, in Bytes::new(1)..=Bytes::mib(64);
        /// Where it keeps its values.
        storage: Storage = Storage::File;
        /// How many servers have a copy: 1, 3 or 5, and no more than the cluster has servers.
        replicas: u32 = 1, check odd_replicas;
        /// How its values are compressed on disk.
        compression: Compression = Compression::None;
        /// A line for the reader.
        description: Option<Line>;
    }
}

table! {
    /// An object bucket: for what is too large for a message.
    pub struct ObjectBucket {
        /// The account that it belongs to.
        account: Name = Name::unchecked("GITHUB"), check not_the_system_account;
        /// The cluster that it is on. The default is the only cluster there is.
        cluster: Option<Name>;
        /// How long it keeps an object. Without this key, for ever.
        max_age: Option<Period>, in SHORTEST..=Period::MAX;
        /// How much it keeps; when it is full, new objects are refused. Without this key, as much as the cluster's storage takes.
        max_bytes: Option<Bytes>, in Bytes::new(1)..=Bytes::MAX;
        /// Where it keeps its objects.
        storage: Storage = Storage::File;
        /// How many servers have a copy: 1, 3 or 5, and no more than the cluster has servers.
        replicas: u32 = 1, check odd_replicas;
        /// How its objects are compressed on disk.
        compression: Compression = Compression::None;
        /// A line for the reader.
        description: Option<Line>;
    }
}

choice! {
    /// Where a new consumer begins.
    pub enum Deliver {
        /// With the stream's first message.
        All = "all",
        /// With the stream's last message.
        Last = "last",
        /// With what comes after the consumer was made.
        New = "new",
        /// With the last message of each subject.
        LastPerSubject = "last_per_subject",
    }
}

choice! {
    /// What counts as done.
    pub enum Acknowledge {
        /// Each message that is acknowledged by itself.
        Explicit = "explicit",
        /// A message and all before it.
        All = "all",
        /// Everything that was delivered.
        None = "none",
    }
}

table! {
    /// A durable consumer: a place in a stream that is kept on the servers. Clients pull from it.
    pub struct Consumer {
        /// The stream that it reads.
        stream: Name;
        /// Its name in JetStream. The default is its name here, which lets two streams have a consumer of the same name.
        name: Option<Name>;
        /// Subjects that it is for. Without this key, all of the stream's.
        filter: Vec<Subject> = Vec::new();
        /// Where it begins when it is new.
        deliver: Deliver = Deliver::All;
        /// What counts as done.
        acknowledge: Acknowledge = Acknowledge::Explicit;
        /// After how long a message that was not acknowledged is delivered again.
        ack_wait: Period = Period::seconds(30), in Period::millis(1)..=Period::MAX;
        /// How often a message is delivered at most. Without this key, until it is acknowledged.
        max_deliver: Option<u64>, in 1..=i64::MAX as u64;
        /// How many messages may be under way, not yet acknowledged.
        max_ack_pending: u64 = 1000, in 1..=i64::MAX as u64;
        /// How many requests for messages may wait.
        max_waiting: u64 = 512, in 1..=i64::MAX as u64;
        /// After how long without a client it is removed. Without this key, never.
        inactive_threshold: Option<Period>, in SHORTEST..=Period::MAX;
        /// A line for the reader.
        description: Option<Line>;
    }
}
