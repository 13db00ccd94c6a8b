//! Where the hub is reached from outside.

use super::edge::Hub;
use crate::self_hosted;
use std::net::SocketAddr;
use std::path::Path;
use windlass_fleet::{Cluster, Fleet, HostName, TlsUse};
use windlass_nats::certificates::Certificates;

/// The address of the hub that the edge joins; or what of it is not made yet.
pub(super) fn address(directory: &Path, fleet: &Fleet, edge: &Cluster) -> Result<Hub, String> {
    let name = edge.leaf_of.as_ref().ok_or("leaf_of")?;
    let (name, hub) =
        fleet.clusters.get_key_value(name.as_str()).ok_or_else(|| format!("the cluster {name}"))?;
    let own = self_hosted::websocket_address(directory, fleet, name.as_str());
    let url = url(hub, own).ok_or_else(|| format!("the cluster {name}"))?;
    let ca = if needs_authority(hub) {
        let file = Certificates::at(directory, fleet.name()).authority_file();
        std::fs::read_to_string(file).map_err(|_| "the fleet's certificate authority".to_owned())?
    } else {
        String::new()
    };
    let domain = hub.jetstream.domain.as_ref().map(|domain| domain.as_str().to_owned());
    Ok(Hub { leaf_url: leaf_url(&url), websocket_url: url, domain, ca })
}

/// The hub's address: what it advertises, else its first server's own, once that is made.
fn url(hub: &Cluster, own: Option<SocketAddr>) -> Option<String> {
    if let Some(url) = &hub.advertise {
        return Some(url.as_str().to_owned());
    }
    let own = own?;
    Some(match (hub.tls, hub.host_names.first()) {
        (TlsUse::All, Some(name)) => format!("wss://{name}:{}", own.port()),
        (TlsUse::All, None) => format!("wss://{own}"),
        _ => format!("ws://{own}"),
    })
}

/// A leaf node over WebSocket needs a path.
fn leaf_url(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    if rest.contains('/') { url.to_owned() } else { format!("{url}/leafnode") }
}

/// Whether whoever connects has to trust the fleet's own authority: its servers show their own certificates.
pub(super) fn needs_authority(hub: &Cluster) -> bool {
    let advertised = hub.advertise.as_ref().map(|url| (url.as_str().starts_with("wss://"), url.host()));
    let own = |host: &str| {
        host == hub.host.to_string() || hub.host_names.iter().map(HostName::as_str).any(|name| name == host)
    };
    hub.tls == TlsUse::All && advertised.is_none_or(|(encrypted, host)| encrypted && own(host))
}

/// Whether it can be reached from other machines at all, as far as its address says.
pub(super) fn is_public(hub: &Cluster) -> bool {
    match &hub.advertise {
        Some(url) => {
            let host = url.host();
            let ip = host.parse::<std::net::IpAddr>();
            host != "localhost" && !ip.is_ok_and(|ip| ip.is_loopback() || ip.is_unspecified())
        }
        None if hub.tls == TlsUse::All && !hub.host_names.is_empty() => !hub.host.is_loopback(),
        None => !hub.host.is_loopback() && !hub.host.is_unspecified(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(keys: &str) -> Cluster {
        let file = format!("[fleet]\nname = \"x\"\n[clusters.hub]\n{keys}\n");
        windlass_fleet::parse(&file, "x").unwrap().clusters.into_values().next().unwrap()
    }

    #[test]
    fn what_is_advertised_goes_before_the_servers_own() {
        let own: SocketAddr = "127.0.0.1:9222".parse().unwrap();
        for (keys, expected, public, authority) in [
            ("", "ws://127.0.0.1:9222", false, false),
            ("advertise = \"wss://nats.acme.example\"", "wss://nats.acme.example", true, false),
            ("advertise = \"ws://127.0.0.1:80\"", "ws://127.0.0.1:80", false, false),
            (
                "tls = \"all\"\nhost = \"10.0.0.5\"\nhost_names = [\"a.example\"]",
                "wss://a.example:9222",
                true,
                true,
            ),
            (
                "tls = \"all\"\nhost_names = [\"a.example\"]\nadvertise = \"wss://a.example\"",
                "wss://a.example",
                true,
                true,
            ),
            ("tls = \"all\"\nadvertise = \"wss://proxy.example\"", "wss://proxy.example", true, false),
        ] {
            let hub = hub(keys);
            assert_eq!(url(&hub, Some(own)).as_deref(), Some(expected), "{keys}");
            assert_eq!(url(&hub, None).is_some(), keys.contains("advertise"), "{keys}");
            assert_eq!((is_public(&hub), needs_authority(&hub)), (public, authority), "{keys}");
        }
    }

    #[test]
    fn a_leaf_node_gets_a_path() {
        assert_eq!(leaf_url("wss://a.example"), "wss://a.example/leafnode");
        assert_eq!(leaf_url("wss://a.example/nats"), "wss://a.example/nats");
    }
}
