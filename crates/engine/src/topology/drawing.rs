//! What every form of the drawing says in the same words.

use super::{Link, LinkKind, Mark, Server, Topology};

/// The first line: what there is, and whether it is as it should be.
pub(super) fn summary(topology: &Topology) -> String {
    let counted = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let servers = topology.clusters.iter().map(|cluster| cluster.servers.len()).sum();
    let name = match &topology.environment {
        Some(environment) => format!("fleet {} ({environment})", topology.fleet),
        None => format!("fleet {}", topology.fleet),
    };
    let differences = match topology.differences.len() {
        _ if !topology.asked => "as the file has it; nothing that runs was asked".to_owned(),
        0 => "what runs is what the file says".to_owned(),
        count => format!("{} from the file", counted(count, "difference")),
    };
    format!(
        "{name}: {}, {}; {differences}",
        counted(topology.clusters.len(), "cluster"),
        counted(servers, "server")
    )
}

/// A mark with its reason: `down: no process`. Nothing where there is nothing to say.
pub(super) fn remark(mark: Mark, why: Option<&str>) -> String {
    match (mark.is_difference(), why) {
        (false, _) => String::new(),
        (true, None) => mark.as_str().to_owned(),
        (true, Some(why)) => format!("{}: {why}", mark.as_str()),
    }
}

/// What is said of a server beside its name.
pub(super) fn server_lines(server: &Server) -> [String; 2] {
    let address = server.url.clone().unwrap_or_default();
    let version = server.version.as_ref().map(|version| format!("nats-server {version}"));
    [address, version.unwrap_or_default()]
}

/// The routes of a cluster: `routes: 2 of 3`. Nothing where none are wanted.
pub(super) fn routes(routes: &[Link]) -> Option<String> {
    let up = routes.iter().filter(|route| route.mark == Mark::AsWanted).count();
    match routes.len() {
        0 => None,
        all if routes.iter().all(|route| route.mark == Mark::NotAsked) => Some(format!("routes: {all}")),
        all => Some(format!("routes: {up} of {all}")),
    }
}

/// Links of one kind.
pub(super) fn links(topology: &Topology, kind: LinkKind) -> impl Iterator<Item = &Link> {
    topology.links.iter().filter(move |link| link.kind == kind)
}
