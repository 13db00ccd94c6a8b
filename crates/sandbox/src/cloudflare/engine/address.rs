//! Loopback addresses for containers: 127.77.0.1 and on. Several engines on one machine take turns: an address belongs
//! to whoever has bound a port of it that nothing else uses, which the kernel undoes when that process ends.

use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};

/// The datagram port that stands for the address.
const CLAIM: u16 = 39_001;

/// An address that is this engine's for as long as this lives.
#[derive(Debug)]
pub(super) struct Address {
    pub(super) ip: Ipv4Addr,
    _claim: UdpSocket,
}

/// 127.77.0.1 to 127.77.255.254, without those that end in 0 or 255.
fn all() -> impl Iterator<Item = Ipv4Addr> {
    (0..=255).flat_map(|third| (1..255).map(move |last| Ipv4Addr::new(127, 77, third, last)))
}

/// The next free address: not claimed, and without a listener that an engine left behind when it was killed.
pub(super) fn claim() -> io::Result<Address> {
    let listening = listening();
    let mut refused = None;
    for ip in all().filter(|ip| !listening.contains(ip)) {
        match UdpSocket::bind((ip, CLAIM)) {
            Ok(claim) => return Ok(Address { ip, _claim: claim }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            // Not an address of this machine: macOS has 127.0.0.1 alone, until others are added.
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    Err(refused.unwrap_or_else(|| {
        io::Error::new(io::ErrorKind::AddrInUse, "all addresses of 127.77.0.0/16 are taken")
    }))
}

/// The addresses in 127.77.0.0/16 on which something listens. Empty where the system does not say.
fn listening() -> Vec<Ipv4Addr> {
    listening_in(&std::fs::read_to_string("/proc/net/tcp").unwrap_or_default())
}

/// From the kernel's table: the local address in hexadecimal, in the machine's byte order, and state `0A`.
fn listening_in(table: &str) -> Vec<Ipv4Addr> {
    let address = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let (address, _) = fields.nth(1)?.split_once(':')?;
        let ip = Ipv4Addr::from(u32::from_str_radix(address, 16).ok()?.to_ne_bytes());
        (fields.nth(1)? == "0A" && ip.octets().starts_with(&[127, 77])).then_some(ip)
    };
    table.lines().filter_map(address).collect()
}

/// Whether this machine has such addresses at all.
pub(super) fn are_there() -> io::Result<()> {
    TcpListener::bind((Ipv4Addr::new(127, 77, 0, 1), 0)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn reads_the_kernels_table() {
        let table = "  sl  local_address rem_address   st tx_queue\n\
                     0: 01004D7F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1\n\
                     1: 02004D7F:1F90 0100007F:9C40 01 00000000:00000000 00:00000000 00000000 0 0 2\n\
                     2: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 3\n";
        assert_eq!(listening_in(table), [Ipv4Addr::new(127, 77, 0, 1)]);
    }

    #[test]
    fn the_first_is_one() {
        let first: Vec<_> = all().take(255).collect();
        assert_eq!(first[0], Ipv4Addr::new(127, 77, 0, 1));
        assert_eq!(first[254], Ipv4Addr::new(127, 77, 1, 1));
    }
}
