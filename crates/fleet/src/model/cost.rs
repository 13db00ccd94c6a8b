//! What costs are estimated with: what neither the file nor anybody else can know beforehand.

use crate::types::{Bytes, Line};

choice! {
    /// What your own machines cost.
    pub enum Machines {
        /// Nothing is counted: they are there anyway. Estimates say so.
        Uncounted = "uncounted",
        /// What they are written off by, and their electricity.
        Own = "own",
        /// Servers of Hetzner's cloud.
        Hetzner = "hetzner",
        /// Droplets of DigitalOcean.
        DigitalOcean = "digital-ocean",
        /// Machines of AWS EC2.
        AwsEc2 = "aws-ec2",
        /// Tasks of AWS Fargate.
        AwsFargate = "aws-fargate",
    }
}

table! {
    /// How large a machine is.
    pub struct Machine (inline) {
        /// Processors.
        vcpus: u32 = 2, in 1..=1024;
        /// Memory.
        memory: Bytes = Bytes::gib(2), in Bytes::mib(128)..=Bytes::MAX;
        /// Disk.
        disk: Bytes = Bytes::gib(20), in Bytes::gib(1)..=Bytes::MAX;
    }
}

table! {
    /// What is kept in an object store in a month: Terraform's state, backups, large payloads. It counts where the fleet has a store or a cluster at Cloudflare.
    pub struct Objects (inline) {
        /// How much is there, on average.
        stored: Bytes = Bytes::new(0), in Bytes::new(0)..=Bytes::MAX;
        /// Writes and lists.
        writes: u64 = 0, in 0..=i64::MAX as u64;
        /// Reads.
        reads: u64 = 0, in 0..=i64::MAX as u64;
        /// How much of it goes to the internet.
        egress: Bytes = Bytes::new(0), in Bytes::new(0)..=Bytes::MAX;
    }
}

table! {
    /// What costs are estimated with. `windlass cost estimate` and the monthly total of a plan come from it.
    pub struct Cost {
        /// What your own machines cost.
        machines: Machines = Machines::Uncounted;
        /// How large each of them is, where it is rented.
        machine: Machine;
        /// Which share of the time a server at Cloudflare is awake, in percent. As many as a region has at least are awake always.
        awake_percent: u32 = 25, in 0..=100;
        /// How many clients each cluster has at once.
        connections: u64 = 10, in 0..=1_000_000_000;
        /// How many messages come to each cluster in a second, on average.
        messages_per_second: u64 = 1, in 0..=1_000_000_000;
        /// How large a message is, on average.
        message_size: Bytes = Bytes::kib(1), in Bytes::new(1)..=Bytes::mib(64);
        /// To how many clients each message goes, on average.
        fan_out: u32 = 1, in 0..=1_000_000;
        /// How many webhooks are received in a day.
        webhooks_per_day: u64 = 1000, in 0..=1_000_000_000;
        /// What the streams of each cluster have on disk, copies included.
        stored: Bytes = Bytes::gib(1), in Bytes::new(0)..=Bytes::MAX;
        /// What is in an object store.
        objects: Objects;
        /// How long a message keeps a processor busy when it comes in or goes out, in microseconds.
        message_cpu_micros: u32 = 10, in 0..=1_000_000;
        /// How much of a processor a server takes that is awake and has nothing to do, in percent.
        idle_cpu_percent: u32 = 1, in 0..=100;
        /// How long the Worker takes for a webhook or a new connection, in milliseconds of a processor.
        worker_cpu_millis: u32 = 2, in 0..=1_000_000;
        /// Whether what vendors give without charge counts for nothing, because other things of the same account use it up.
        list_prices: bool = false;
        /// A file with prices of your own, laid over the built-in ones. It is relative to this file.
        prices: Option<Line>;
    }
}
