//! Cloudflare: a Worker in front, a Durable Object for each server, the server in a container; R2 and KV beside them.

use rust_decimal::Decimal;

use super::Draft;
use crate::Error;
use crate::money::{counted, quantity};
use crate::workload::{Servers, Workload, n};

/// What a Durable Object counts as, whatever it uses.
const OBJECT_GB: (i64, u32) = (128, 3);
/// So many incoming WebSocket messages are one request of a Durable Object.
const MESSAGES_A_REQUEST: u64 = 20;
/// Rows of the outbox that a webhook writes: it is put in, and taken out.
const ROWS_A_WEBHOOK: u64 = 2;

pub(super) fn fill(draft: &mut Draft<'_>, workload: &Workload) -> Result<(), Error> {
    // A container has the size of an instance type, and is billed for all of it.
    let mut sized = workload.clone();
    let mut names = Vec::new();
    for servers in sized.servers.iter_mut().filter(|servers| !servers.count.is_zero()) {
        let (vcpu, memory) = (quantity(servers.size.vcpu), quantity(servers.size.memory_gib));
        let Some((name, size)) = servers.size.instance() else {
            draft.give_up(format!("no instance type is large enough for {vcpu} vCPU and {memory} GiB"));
            return Ok(());
        };
        servers.size = size;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let (workload, instances) = (&sized, names.join(", "));
    let assumed = &workload.assumptions;
    draft.line(
        "cloudflare.plan.workers-paid",
        Decimal::ONE,
        "one account, whole even for a part of a month".into(),
    )?;

    let awake = |servers: &Servers| servers.count * servers.awake_percent / n(100) * workload.seconds;
    let seconds: Decimal = workload.servers.iter().map(awake).sum();
    let (busy, most) = (workload.busy(), workload.capacity());
    let handled = workload.messages * (Decimal::ONE + workload.fan_out);
    if busy > most {
        draft.give_up(format!(
            "the servers are too small: {} messages in and out × {} µs are {} vCPU-seconds, and they have {} while awake",
            quantity(handled),
            quantity(assumed.cpu_micros_per_message),
            quantity(busy),
            quantity(most)
        ));
        return Ok(());
    }
    draft.line(
        "cloudflare.containers.vcpu",
        // Between messages a server idles; none can use more than it has.
        (seconds * assumed.idle_cpu_percent / n(100) + busy).min(most),
        format!(
            "{} s awake × {} % of a vCPU + {} messages in and out × {} µs",
            quantity(seconds),
            quantity(assumed.idle_cpu_percent),
            quantity(handled),
            quantity(assumed.cpu_micros_per_message)
        ),
    )?;
    let of_each = |what: fn(&Servers) -> Decimal, unit: &str| {
        let parts = workload.servers.iter().filter(|servers| !servers.count.is_zero()).map(|servers| {
            format!(
                "{} × {} {unit} × {} s × {} % awake",
                quantity(servers.count),
                quantity(what(servers)),
                quantity(workload.seconds),
                quantity(servers.awake_percent)
            )
        });
        let sum: Decimal = workload.servers.iter().map(|servers| awake(servers) * what(servers)).sum();
        (sum, format!("{instances}: {}", parts.collect::<Vec<_>>().join(" + ")))
    };
    let (memory, basis) = of_each(|servers| servers.size.memory_gib, "GiB");
    draft.line("cloudflare.containers.memory", memory, basis)?;
    let (disk, basis) = of_each(|servers| servers.size.disk_gb, "GB");
    draft.line("cloudflare.containers.disk", disk, basis)?;
    for (zone, gb) in &workload.egress_gb {
        let id = format!("cloudflare.containers.egress.{}", zone.as_str());
        draft.line(&id, *gb, format!("{} GB leave the servers there", quantity(*gb)))?;
    }

    let connects = workload.connects();
    let requests = workload.webhooks + connects;
    let arrive =
        format!("{} + {} opened", counted(workload.webhooks, "webhook"), counted(connects, "connection"));
    draft.line("cloudflare.workers.requests", requests, arrive.clone())?;
    draft.line(
        "cloudflare.workers.cpu",
        requests * assumed.worker_ms,
        format!("({arrive}) × {} ms", quantity(assumed.worker_ms)),
    )?;
    let of_messages = workload.messages / n(MESSAGES_A_REQUEST);
    draft.line(
        "cloudflare.durable-objects.requests",
        requests + of_messages,
        format!("{arrive} + {} in ÷ {MESSAGES_A_REQUEST}", counted(workload.messages, "message")),
    )?;
    let object = Decimal::new(OBJECT_GB.0, OBJECT_GB.1);
    draft.line(
        "cloudflare.durable-objects.duration",
        seconds * object,
        format!("{} s awake, one object a server, × {object} GB", quantity(seconds)),
    )?;
    let rows = workload.webhooks * n(ROWS_A_WEBHOOK);
    let basis =
        format!("{} × {ROWS_A_WEBHOOK}, in and out of the outbox", counted(workload.webhooks, "webhook"));
    draft.line("cloudflare.durable-objects.rows-written", rows, basis.clone())?;
    draft.line("cloudflare.durable-objects.rows-read", rows, basis)?;
    draft.line("cloudflare.kv.reads", requests, format!("a look-up of the routes each: {arrive}"))?;

    let objects = &workload.objects;
    let of_month = workload.of_month();
    let stored = format!("{} GB × {} of a month", quantity(objects.gb), quantity(of_month));
    draft.line("cloudflare.r2.storage", objects.gb * of_month, stored)?;
    draft.line("cloudflare.r2.class-a", objects.writes, counted(objects.writes, "write"))?;
    draft.line("cloudflare.r2.class-b", objects.reads, counted(objects.reads, "read"))?;
    draft.line("cloudflare.r2.egress", objects.egress_gb, format!("{} GB", quantity(objects.egress_gb)))?;

    if !workload.stored_gb.is_zero() {
        draft.leaves_out(&format!(
            "a hub elsewhere that holds the {} GB of the streams: a container's disk is gone when it sleeps",
            quantity(workload.stored_gb)
        ));
    }
    if !workload.server_count().is_zero() {
        draft.leaves_out("what the servers send to a hub as leaf nodes");
    }
    draft.leaves_out("writes to KV (a few each change), Workers Logs above what the plan includes");
    Ok(())
}
