//! AWS in one region: Fargate or EC2, a load balancer, volumes for the streams, S3 for objects.

use rust_decimal::Decimal;

use super::Draft;
use crate::Error;
use crate::money::{counted, quantity};
use crate::workload::{Size, Workload, n};

/// Sizes of a task, in hundredths of a vCPU, with the least and the most memory in MiB that go with it.
const FARGATE: [(i64, u32, u32, u32); 5] = [
    (25, 512, 2_048, 512),
    (50, 1_024, 4_096, 1_024),
    (100, 2_048, 8_192, 1_024),
    (200, 4_096, 16_384, 1_024),
    (400, 8_192, 30_720, 1_024),
];
/// What a task has without charge: 20 GiB, which AWS calls 20 GB, in GB of 10⁹ bytes.
const FREE_DISK: Decimal = Decimal::from_parts(2_147_483_648, 0, 0, false, 8);
/// A machine's own disk, for the system.
const SYSTEM_GB: u64 = 8;
/// Connections that one capacity unit carries.
const CONNECTIONS_A_UNIT: u64 = 100_000;

/// The smallest size of a task that a server fits in.
fn task(size: Size) -> Option<(Decimal, Decimal)> {
    FARGATE.iter().find_map(|&(vcpu, least, most, step)| {
        let vcpu = Decimal::new(vcpu, 2);
        let steps = (least..=most).step_by(step as usize);
        // Of the smallest task there are 0.5, 1 and 2 GB, not 1.5.
        let sizes = steps.filter(|mib| *mib != 1_536 || vcpu > Decimal::new(25, 2));
        let memory =
            sizes.map(|mib| Decimal::from(mib) / n(1024)).find(|memory| *memory >= size.memory_gib)?;
        (vcpu >= size.vcpu).then_some((vcpu, memory))
    })
}

pub(super) fn fargate(draft: &mut Draft<'_>, workload: &Workload) -> Result<(), Error> {
    let hours = workload.hours();
    let (mut vcpu, mut memory, mut disk) = (Decimal::ZERO, Decimal::ZERO, Decimal::ZERO);
    let (mut vcpu_basis, mut memory_basis) = (Vec::new(), Vec::new());
    for servers in workload.servers.iter().filter(|servers| !servers.count.is_zero()) {
        let Some((cpus, gib)) = task(servers.size) else {
            let (vcpu, memory) = (quantity(servers.size.vcpu), quantity(servers.size.memory_gib));
            draft.give_up(format!("no task is large enough for {vcpu} vCPU and {memory} GiB"));
            return Ok(());
        };
        let time = servers.count * hours;
        vcpu += time * cpus;
        memory += time * gib;
        disk += time * (servers.size.disk_gb - FREE_DISK).max(Decimal::ZERO);
        let each = |what: Decimal, unit: &str| {
            format!("{} × {} {unit} × {} h", quantity(servers.count), quantity(what), quantity(hours))
        };
        vcpu_basis.push(each(cpus, "vCPU"));
        memory_basis.push(each(gib, "GB"));
    }
    draft.line("aws.fargate.vcpu", vcpu, format!("{}; it does not sleep", vcpu_basis.join(" + ")))?;
    draft.line("aws.fargate.memory", memory, memory_basis.join(" + "))?;
    draft.line(
        "aws.fargate.storage",
        disk,
        format!("disk above {} GB (20 GiB) a server", quantity(FREE_DISK)),
    )?;
    around(draft, workload, Decimal::ZERO)
}

pub(super) fn ec2(draft: &mut Draft<'_>, workload: &Workload) -> Result<(), Error> {
    let hours = workload.hours();
    for servers in workload.servers.iter().filter(|servers| !servers.count.is_zero()) {
        let fits = super::machines::smallest(draft.prices, "aws.ec2.t4g.", servers.size)
            .map(|price| price.id.clone());
        let Some(id) = fits else {
            let (vcpu, memory) = (quantity(servers.size.vcpu), quantity(servers.size.memory_gib));
            draft.give_up(format!("no machine of the list is large enough for {vcpu} vCPU and {memory} GiB"));
            return Ok(());
        };
        let basis = format!("{} × {} h; it does not sleep", quantity(servers.count), quantity(hours));
        draft.line(&id, servers.count * hours, basis)?;
    }
    draft.leaves_out("processor time of t4g machines above their baseline");
    around(draft, workload, n(SYSTEM_GB))
}

/// What both need besides the servers.
fn around(draft: &mut Draft<'_>, workload: &Workload, system_gb: Decimal) -> Result<(), Error> {
    let (hours, of_month, count) = (workload.hours(), workload.of_month(), workload.server_count());
    let assumed = &workload.assumptions;
    let disk = workload.stored_gb + count * system_gb;
    let what = if system_gb.is_zero() { "streams" } else { "streams and systems" };
    let basis = format!("{} GB of {what} × {} of a month", quantity(disk), quantity(of_month));
    draft.line("aws.ebs.gp3", disk * of_month, basis)?;
    if count.is_zero() {
        return objects_and_egress(draft, workload, Decimal::ZERO);
    }
    let arrives = workload.messages * workload.message_bytes / n(1_000_000_000);
    let egress = workload.egress();
    if assumed.load_balancer {
        draft.line("aws.nlb.hour", hours, format!("one × {} h", quantity(hours)))?;
        let by_connections = workload.connections / n(CONNECTIONS_A_UNIT) * hours;
        let units = (arrives + egress).max(by_connections);
        let basis = format!(
            "the larger of {} GB in and out (1 GB an hour each) and {} connections ÷ {CONNECTIONS_A_UNIT} × {} h",
            quantity(arrives + egress),
            quantity(workload.connections),
            quantity(hours)
        );
        draft.line("aws.nlb.unit", units, basis)?;
        draft.leaves_out("public addresses of the load balancer");
    }
    if assumed.nat {
        draft.line("aws.nat.hour", hours, format!("one × {} h", quantity(hours)))?;
        draft.line("aws.nat.data", egress, format!("{} GB leave through it", quantity(egress)))?;
    } else {
        let basis = format!("{} × {} h", counted(count, "server"), quantity(hours));
        draft.line("aws.ipv4", count * hours, basis)?;
    }
    if count > Decimal::ONE {
        draft.leaves_out("traffic between availability zones");
    }
    objects_and_egress(draft, workload, egress)
}

fn objects_and_egress(draft: &mut Draft<'_>, workload: &Workload, egress: Decimal) -> Result<(), Error> {
    let objects = &workload.objects;
    let of_month = workload.of_month();
    let basis = format!("{} GB × {} of a month", quantity(objects.gb), quantity(of_month));
    draft.line("aws.s3.storage", objects.gb * of_month, basis)?;
    draft.line("aws.s3.writes", objects.writes, counted(objects.writes, "write"))?;
    draft.line("aws.s3.reads", objects.reads, counted(objects.reads, "read"))?;
    let basis = format!("{} GB of the servers + {} GB of S3", quantity(egress), quantity(objects.egress_gb));
    draft.line("aws.egress", egress + objects.egress_gb, basis)?;
    draft.leaves_out("AWS's free tier for new accounts, which ends");
    draft
        .leaves_out("that AWS's GB are of 2³⁰ bytes, for which lines by the GB are up to 7 % lower in truth");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_gets_the_smallest_task_that_it_fits_in() {
        let task_of = |sixteenths, mib| {
            task(Size::new(sixteenths, mib, 4))
                .map(|(cpu, gib)| (cpu.normalize().to_string(), gib.normalize().to_string()))
        };
        let expect = |cpu: &str, gib: &str| Some((cpu.to_owned(), gib.to_owned()));
        assert_eq!(task_of(1, 256), expect("0.25", "0.5"));
        assert_eq!(task_of(4, 1024), expect("0.25", "1"));
        assert_eq!(task_of(4, 1536), expect("0.25", "2"));
        assert_eq!(task_of(4, 3072), expect("0.5", "3"));
        assert_eq!(task_of(8, 4096), expect("0.5", "4"));
        assert_eq!(task_of(16, 6144), expect("1", "6"));
        assert_eq!(task_of(64, 12_288), expect("4", "12"));
        assert_eq!(task_of(128, 1024), None);
    }
}
