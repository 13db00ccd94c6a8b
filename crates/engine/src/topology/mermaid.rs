//! The fleet as a Mermaid flow chart, for a README or a wiki.

use super::drawing::{links, remark, server_lines, summary};
use super::{LinkKind, Mark, Topology};
use std::fmt::Write as _;

const CLASSES: [(Mark, &str, &str); 5] = [
    (Mark::Impaired, "impaired", "stroke:#b7791f,stroke-width:2px"),
    (Mark::Down, "down", "stroke:#c53030,stroke-width:2px,stroke-dasharray:5 3"),
    (Mark::Missing, "missing", "stroke:#c53030,stroke-width:2px,stroke-dasharray:2 3"),
    (Mark::Extra, "extra", "stroke:#805ad5,stroke-width:2px"),
    (Mark::NotAsked, "unknown", "stroke-dasharray:1 2"),
];

/// Draws the fleet.
#[must_use]
pub fn mermaid(topology: &Topology) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = draw(&mut text, topology);
    text
}

fn label(lines: &[&str]) -> String {
    let lines: Vec<String> = lines.iter().filter(|line| !line.is_empty()).map(|line| escape(line)).collect();
    format!("\"{}\"", lines.join("<br/>"))
}

/// Mermaid knows entities by `#name;`.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        match character {
            '"' => escaped.push_str("#quot;"),
            '<' => escaped.push_str("#lt;"),
            '>' => escaped.push_str("#gt;"),
            '#' => escaped.push_str("#35;"),
            '&' => escaped.push_str("#amp;"),
            control if control.is_control() => escaped.push(' '),
            other => escaped.push(other),
        }
    }
    escaped
}

fn draw(text: &mut String, topology: &Topology) -> std::fmt::Result {
    let mut classes: Vec<(String, Mark)> = Vec::new();
    writeln!(text, "%% {}\nflowchart TB", summary(topology))?;
    if let Some(github) = &topology.github {
        let organization = github.organization.as_deref().unwrap_or_default();
        writeln!(text, "  github([{}])", label(&["GitHub", organization]))?;
    }
    if let Some(receiver) = &topology.receiver {
        let at = receiver.url.clone().unwrap_or_else(|| format!("on {}", receiver.platform));
        let remark = remark(receiver.mark, receiver.why.as_deref());
        writeln!(text, "  receiver[{}]", label(&["receiver", &at, &remark]))?;
        classes.push(("receiver".to_owned(), receiver.mark));
        if topology.github.is_some() {
            writeln!(text, "  github -->|webhooks| receiver")?;
        }
    }
    let cluster_id = |name: &str| {
        let at = topology.clusters.iter().position(|cluster| cluster.name == name);
        at.map_or_else(|| "unknown".to_owned(), |at| format!("c{at}"))
    };
    for (at, cluster) in topology.clusters.iter().enumerate() {
        let mut about = vec![cluster.name.as_str(), &cluster.platform];
        about.extend(cluster.notes.iter().map(String::as_str));
        // One line: a second one would lie under the servers.
        writeln!(text, "  subgraph c{at}[{}]", label(&[&about.join(" · ")]))?;
        let id = |name: &str| {
            let server = cluster.servers.iter().position(|server| server.name == name);
            server.map_or_else(|| "unknown".to_owned(), |server| format!("c{at}s{server}"))
        };
        for server in &cluster.servers {
            let name = if server.leader { format!("{} ★", server.name) } else { server.name.clone() };
            let [url, version] = server_lines(server);
            let remark = remark(server.mark, server.why.as_deref());
            writeln!(text, "    {}[{}]", id(&server.name), label(&[&name, &url, &version, &remark]))?;
            classes.push((id(&server.name), server.mark));
        }
        if cluster.servers.is_empty() {
            writeln!(text, "    c{at}s0[{}]", label(&["not asked"]))?;
            classes.push((format!("c{at}s0"), Mark::NotAsked));
        }
        for route in &cluster.routes {
            let line = if route.mark == Mark::AsWanted { "---" } else { "-.-" };
            writeln!(text, "    {} {line} {}", id(&route.from), id(&route.to))?;
        }
        writeln!(text, "  end")?;
    }
    if let Some(receiver) = &topology.receiver
        && let (Some(stream), Some(cluster)) = (&receiver.stream, &receiver.cluster)
    {
        writeln!(text, "  receiver -->|{}| {}", label(&[stream]), cluster_id(cluster))?;
    }
    for (kind, solid, dotted) in [(LinkKind::LeafNode, "-->", "-.->"), (LinkKind::Gateway, "<-->", "<-.->")] {
        for link in links(topology, kind) {
            let line = if link.mark == Mark::AsWanted { solid } else { dotted };
            let what = label(&[kind.as_str(), &remark(link.mark, link.why.as_deref())]);
            writeln!(text, "  {} {line}|{what}| {}", cluster_id(&link.from), cluster_id(&link.to))?;
        }
    }
    for (mark, class, style) in CLASSES {
        let nodes: Vec<&str> =
            classes.iter().filter(|(_, found)| *found == mark).map(|(node, _)| node.as_str()).collect();
        if !nodes.is_empty() {
            writeln!(text, "  classDef {class} {style}\n  class {} {class}", nodes.join(","))?;
        }
    }
    Ok(())
}
