//! The fleet as a picture: one SVG file that needs nothing else, and is readable on a light and on a dark ground.
//!
//! GitHub, the receiver, then the clusters in rows: those that join no other, below them those that join these, and so on.

use super::drawing::{links, remark, routes, server_lines, summary};
use super::{Cluster, Link, LinkKind, Mark, Topology};
use std::fmt::Write as _;

const MARGIN: f64 = 32.0;
const SERVER: (f64, f64) = (216.0, 86.0);
const GAP: f64 = 16.0;
const HEAD: f64 = 44.0;
const FOOT: f64 = 26.0;
/// Between rows, with room for a link's label.
const ROW: f64 = 72.0;
/// Between clusters of a row, with room for a gateway's label.
const COLUMN: f64 = 110.0;
const BESIDE: usize = 3;
const NODE: (f64, f64) = (420.0, 66.0);
/// Roughly the width of a character of the small text, and of the same in bold.
const CHARACTER: f64 = 6.4;
const BOLD_CHARACTER: f64 = 7.6;

const STYLE: &str = "
    svg { color-scheme: light dark; --ground: #ffffff; --ink: #1a2230; --soft: #5b6678; --line: #a9b4c4; --box: #f4f6fa;
      --card: #ffffff; --good: #1f8a4c; --warn: #b26a00; --bad: #c62828; --extra: #7048c6; }
    @media (prefers-color-scheme: dark) { svg { --ground: #12161d; --ink: #e8ecf3; --soft: #9aa6b8; --line: #4b5768;
      --box: #1a2029; --card: #222a35; --good: #4cc47f; --warn: #f0ad4e; --bad: #ff7b72; --extra: #b79aff; } }
    text { font: 12px ui-sans-serif, system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; fill: var(--ink); }
    .ground { fill: var(--ground); } .title { font-size: 15px; font-weight: 600; } .name { font-size: 14px; font-weight: 600; }
    .soft { fill: var(--soft); } .halo { stroke: var(--ground); stroke-width: 5px; paint-order: stroke; }
    .cluster { fill: var(--box); stroke: var(--line); } .card { fill: var(--card); stroke: var(--line); }
    .link { fill: none; stroke: var(--soft); stroke-width: 1.6; } .head { fill: var(--soft); }
    .as-wanted { --tone: var(--good); } .impaired { --tone: var(--warn); } .down, .missing { --tone: var(--bad); }
    .extra { --tone: var(--extra); } .not-asked { --tone: var(--line); }
    .bar { fill: var(--tone); } .tone { fill: var(--tone); font-weight: 600; }
    .missing .card, .not-asked .card { stroke-dasharray: 4 4; } .down .card, .missing .card, .impaired .card, .extra .card {
      stroke: var(--tone); stroke-width: 1.6; }
    .link.down, .link.impaired, .link.missing { stroke: var(--tone); stroke-dasharray: 6 4; } .link.not-asked { stroke-dasharray: 2 4; }
    .star { fill: #e0a100; }
";

/// Draws the fleet.
#[must_use]
pub fn svg(topology: &Topology) -> String {
    let layout = Layout::of(topology);
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = draw(&mut text, topology, &layout);
    text
}

#[derive(Clone, Copy, Debug)]
struct Box2 {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

impl Box2 {
    fn middle(self) -> f64 {
        self.x + self.width / 2.0
    }
    fn bottom(self) -> f64 {
        self.y + self.height
    }
    fn right(self) -> f64 {
        self.x + self.width
    }
}

struct Layout {
    width: f64,
    height: f64,
    github: Option<Box2>,
    receiver: Option<Box2>,
    /// One for each cluster.
    clusters: Vec<Box2>,
    /// The row of each cluster.
    rows: Vec<usize>,
}

fn columns(cluster: &Cluster) -> usize {
    cluster.servers.len().clamp(1, BESIDE)
}

fn size(cluster: &Cluster) -> (f64, f64) {
    let columns = columns(cluster);
    let lines = cluster.servers.len().max(1).div_ceil(columns);
    let across = columns as f64 * (SERVER.0 + GAP) + GAP;
    let about = head(cluster).chars().count() as f64 * CHARACTER + cluster.name.chars().count() as f64 * 9.0;
    let foot = if cluster.routes.is_empty() { 0.0 } else { FOOT };
    (across.max(about + 56.0), HEAD + lines as f64 * (SERVER.1 + GAP) + foot)
}

fn head(cluster: &Cluster) -> String {
    let mut about = vec![cluster.platform.clone()];
    about.extend(cluster.notes.iter().cloned());
    about.join(" · ")
}

impl Layout {
    fn of(topology: &Topology) -> Self {
        let hub = |at: usize| {
            let link =
                links(topology, LinkKind::LeafNode).find(|link| link.from == topology.clusters[at].name)?;
            topology.clusters.iter().position(|cluster| cluster.name == link.to)
        };
        // Each cluster comes after the one that it joins.
        let mut rows: Vec<usize> = Vec::new();
        for at in 0..topology.clusters.len() {
            let row = hub(at).and_then(|hub| rows.get(hub)).map_or(0, |row| row + 1);
            rows.push(row);
        }
        let sizes: Vec<(f64, f64)> = topology.clusters.iter().map(size).collect();
        let count = rows.iter().max().map_or(0, |last| last + 1);
        let of_row = |row: usize| (0..rows.len()).filter(|at| rows[*at] == row).collect::<Vec<_>>();
        let across = |row: &[usize]| {
            row.iter().map(|at| sizes[*at].0).sum::<f64>() + row.len().saturating_sub(1) as f64 * COLUMN
        };
        let title = summary(topology).chars().count() as f64 * 8.2;
        let widest = (0..count).map(|row| across(&of_row(row))).fold(NODE.0.max(title), f64::max);
        let width = widest + 2.0 * MARGIN;
        let mut y = MARGIN + 40.0;
        let mut clusters = vec![Box2 { x: 0.0, y: 0.0, width: 0.0, height: 0.0 }; sizes.len()];
        let top_row = of_row(0);
        let mut x = (width - across(&top_row)) / 2.0;
        let mut middle = width / 2.0;
        // The receiver is above the cluster that it publishes to.
        let to = topology.receiver.as_ref().and_then(|receiver| receiver.cluster.as_deref());
        for at in &top_row {
            if Some(topology.clusters[*at].name.as_str()) == to {
                middle = x + sizes[*at].0 / 2.0;
            }
            x += sizes[*at].0 + COLUMN;
        }
        let middle = middle.max(MARGIN + NODE.0 / 2.0);
        let mut node = |wanted: bool| {
            wanted.then(|| {
                let place = Box2 { x: middle - NODE.0 / 2.0, y, width: NODE.0, height: NODE.1 };
                y += NODE.1 + ROW - 16.0;
                place
            })
        };
        let github = node(topology.github.is_some());
        let receiver = node(topology.receiver.is_some());
        // Gateways that pass over another cluster need room above.
        if top_row.len() > 2 && links(topology, LinkKind::Gateway).count() > 1 {
            y += 40.0;
        }
        for row in 0..count {
            let row = of_row(row);
            let across = across(&row);
            // Below those that they join, as far as there is room.
            let hubs: Vec<f64> = row.iter().filter_map(|at| Some(clusters[hub(*at)?].middle())).collect();
            let middle = match hubs.len() {
                0 => width / 2.0,
                count => hubs.iter().sum::<f64>() / count as f64,
            };
            let mut x = (middle - across / 2.0).clamp(MARGIN, (width - MARGIN - across).max(MARGIN));
            let mut tallest: f64 = 0.0;
            for at in row {
                let (width, height) = sizes[at];
                clusters[at] = Box2 { x, y, width, height };
                x += width + COLUMN;
                tallest = tallest.max(height);
            }
            y += tallest + ROW;
        }
        let height = y - ROW + MARGIN;
        Self { width, height, github, receiver, clusters, rows }
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            control if control.is_control() => escaped.push(' '),
            other => escaped.push(other),
        }
    }
    escaped
}

fn class(mark: Mark) -> &'static str {
    match mark {
        Mark::AsWanted => "as-wanted",
        Mark::Impaired => "impaired",
        Mark::Down => "down",
        Mark::Missing => "missing",
        Mark::Extra => "extra",
        Mark::NotAsked => "not-asked",
    }
}

fn draw(text: &mut String, topology: &Topology, layout: &Layout) -> std::fmt::Result {
    let (width, height) = (layout.width, layout.height);
    let title = escape(&summary(topology));
    writeln!(
        text,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-label=\"{title}\">
  <title>{title}</title>
  <style>{STYLE}  </style>
  <defs><marker id=\"to\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" \
         orient=\"auto-start-reverse\"><path class=\"head\" d=\"M0 0 8 4 0 8z\"/></marker></defs>
  <rect class=\"ground\" width=\"100%\" height=\"100%\"/>
  <text class=\"title\" x=\"{MARGIN:.0}\" y=\"{:.0}\">{title}</text>",
        MARGIN + 14.0
    )?;
    draw_links(text, topology, layout)?;
    if let (Some(place), Some(github)) = (layout.github, &topology.github) {
        let organization = github.organization.clone().unwrap_or_default();
        node(text, place, Mark::AsWanted, "GitHub", &organization, "")?;
    }
    if let (Some(place), Some(receiver)) = (layout.receiver, &topology.receiver) {
        let at = receiver.url.clone().unwrap_or_else(|| format!("on {}", receiver.platform));
        node(text, place, receiver.mark, "receiver", &at, &remark(receiver.mark, receiver.why.as_deref()))?;
    }
    for (cluster, place) in topology.clusters.iter().zip(&layout.clusters) {
        draw_cluster(text, cluster, *place)?;
    }
    labels(text, topology, layout)?;
    writeln!(text, "</svg>")
}

fn node(
    text: &mut String,
    place: Box2,
    mark: Mark,
    name: &str,
    line: &str,
    remark: &str,
) -> std::fmt::Result {
    let Box2 { x, y, width, height } = place;
    writeln!(
        text,
        "  <g class=\"{}\"><rect class=\"card\" x=\"{x:.0}\" y=\"{y:.0}\" width=\"{width:.0}\" height=\"{height:.0}\" rx=\"10\"/>
    <text class=\"name\" x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"middle\">{}</text>",
        class(mark),
        place.middle(),
        if line.is_empty() && remark.is_empty() { y + height / 2.0 + 5.0 } else { y + 23.0 },
        escape(name)
    )?;
    let lines = [(line, "soft"), (remark, "tone")];
    for (at, (line, class)) in lines.into_iter().filter(|(line, _)| !line.is_empty()).enumerate() {
        let (x, y) = (place.middle(), y + 40.0 + at as f64 * 16.0);
        let line = escape(&fit(line, class, width - 24.0));
        writeln!(
            text,
            "    <text class=\"{class}\" x=\"{x:.0}\" y=\"{y:.0}\" text-anchor=\"middle\">{line}</text>"
        )?;
    }
    writeln!(text, "  </g>")
}

/// What of a text has room in a width.
fn fit(text: &str, class: &str, width: f64) -> String {
    let character = if class == "tone" { BOLD_CHARACTER } else { CHARACTER };
    let room = (width / character).max(2.0) as usize;
    if text.chars().count() <= room {
        return text.to_owned();
    }
    text.chars().take(room - 1).chain(['…']).collect()
}

fn draw_cluster(text: &mut String, cluster: &Cluster, place: Box2) -> std::fmt::Result {
    let Box2 { x, y, width, height } = place;
    writeln!(
        text,
        "  <g class=\"{}\"><rect class=\"cluster\" x=\"{x:.0}\" y=\"{y:.0}\" width=\"{width:.0}\" height=\"{height:.0}\" rx=\"14\"/>
    <text class=\"name\" x=\"{:.0}\" y=\"{:.0}\">{}</text>
    <text class=\"soft\" x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{}</text></g>",
        class(cluster.mark),
        x + GAP,
        y + 27.0,
        escape(&cluster.name),
        place.right() - GAP,
        y + 27.0,
        escape(&head(cluster))
    )?;
    let columns = columns(cluster);
    let across = columns as f64 * (SERVER.0 + GAP) - GAP;
    let left = x + (width - across) / 2.0;
    for (at, server) in cluster.servers.iter().enumerate() {
        let (x, y) = (
            left + (at % columns) as f64 * (SERVER.0 + GAP),
            y + HEAD + (at / columns) as f64 * (SERVER.1 + GAP),
        );
        let star = if server.leader { " <tspan class=\"star\">★</tspan>" } else { "" };
        let (w, h) = SERVER;
        writeln!(
            text,
            "  <g class=\"{}\"><rect class=\"card\" x=\"{x:.0}\" y=\"{y:.0}\" width=\"{w:.0}\" height=\"{h:.0}\" rx=\"8\"/>\
             <rect class=\"bar\" x=\"{:.0}\" y=\"{:.0}\" width=\"4\" height=\"{:.0}\" rx=\"2\"/>
    <text class=\"name\" x=\"{:.0}\" y=\"{:.0}\">{}{star}</text>",
            class(server.mark),
            x + 8.0,
            y + 10.0,
            h - 20.0,
            x + 22.0,
            y + 25.0,
            escape(&server.name)
        )?;
        let [url, version] = server_lines(server);
        let remark = remark(server.mark, server.why.as_deref());
        let lines = [(url, "soft"), (version, "soft"), (remark, "tone")];
        for (at, (line, class)) in lines.into_iter().filter(|(line, _)| !line.is_empty()).enumerate() {
            let (x, y, line) = (x + 22.0, y + 42.0 + at as f64 * 16.0, escape(&fit(&line, class, w - 32.0)));
            writeln!(text, "    <text class=\"{class}\" x=\"{x:.0}\" y=\"{y:.0}\">{line}</text>")?;
        }
        writeln!(text, "  </g>")?;
    }
    if cluster.servers.is_empty() {
        let (x, y) = (place.middle(), y + HEAD + SERVER.1 / 2.0);
        writeln!(
            text,
            "  <text class=\"soft\" x=\"{x:.0}\" y=\"{y:.0}\" text-anchor=\"middle\">not asked</text>"
        )?;
    }
    if let Some(routes) = routes(&cluster.routes) {
        let bad = cluster.routes.iter().any(|route| route.mark == Mark::Down);
        let (class, style) = if bad { ("down", "tone") } else { ("", "soft") };
        let (x, y) = (x + GAP, place.bottom() - 11.0);
        writeln!(
            text,
            "  <g class=\"{class}\"><text class=\"{style}\" x=\"{x:.0}\" y=\"{y:.0}\">{routes}</text></g>"
        )?;
    }
    Ok(())
}

/// Where a link goes: its path, and the middle of its label.
fn way(topology: &Topology, layout: &Layout, link: &Link) -> Option<(String, (f64, f64))> {
    let place = |name: &str| {
        let at = topology.clusters.iter().position(|cluster| cluster.name == name)?;
        Some((layout.clusters[at], layout.rows[at]))
    };
    let ((from, from_row), (to, to_row)) = (place(&link.from)?, place(&link.to)?);
    if link.kind == LinkKind::LeafNode || from_row != to_row {
        let (lower, upper) = if from.y >= to.y { (from, to) } else { (to, from) };
        let (x1, y1, x2, y2) = (lower.middle(), lower.y, upper.middle(), upper.bottom() + 2.0);
        let half = f64::midpoint(y1, y2);
        let path = format!("M{x1:.0} {y1:.0}C{x1:.0} {half:.0} {x2:.0} {half:.0} {x2:.0} {y2:.0}");
        return Some((path, (f64::midpoint(x1, x2), half + 4.0)));
    }
    let (left, right) = if from.x <= to.x { (from, to) } else { (to, from) };
    let between = |other: &Box2| other.x > left.x && other.x < right.x && (other.y - left.y).abs() < 1.0;
    if layout.clusters.iter().any(between) {
        let top = left.y - 34.0;
        let (x1, x2) = (left.middle() + 60.0, right.middle() - 60.0);
        let path = format!("M{x1:.0} {:.0}C{x1:.0} {top:.0} {x2:.0} {top:.0} {x2:.0} {:.0}", left.y, right.y);
        return Some((path, (f64::midpoint(x1, x2), left.y - 22.0)));
    }
    let y = left.y + left.height.min(right.height) / 2.0;
    let path = format!("M{:.0} {y:.0}L{:.0} {y:.0}", left.right() + 2.0, right.x - 2.0);
    Some((path, (f64::midpoint(left.right(), right.x), y - 8.0)))
}

fn draw_links(text: &mut String, topology: &Topology, layout: &Layout) -> std::fmt::Result {
    let mut down = |from: Box2, to: Box2, mark: Mark| {
        let (class, x, y1, y2) = (class(mark), from.middle(), from.bottom(), to.y - 2.0);
        writeln!(
            text,
            "  <path class=\"link {class}\" d=\"M{x:.0} {y1:.0}L{x:.0} {y2:.0}\" marker-end=\"url(#to)\"/>"
        )
    };
    if let (Some(github), Some(receiver)) = (layout.github, layout.receiver) {
        down(github, receiver, Mark::AsWanted)?;
    }
    if let (Some(from), Some(to)) = (layout.receiver, receivers_cluster(topology, layout)) {
        down(from, to, topology.receiver.as_ref().map_or(Mark::AsWanted, |receiver| receiver.mark))?;
    }
    for link in &topology.links {
        let Some((path, _)) = way(topology, layout, link) else { continue };
        let start = if link.kind == LinkKind::Gateway { " marker-start=\"url(#to)\"" } else { "" };
        let class = class(link.mark);
        writeln!(text, "  <path class=\"link {class}\" d=\"{path}\" marker-end=\"url(#to)\"{start}/>")?;
    }
    Ok(())
}

fn receivers_cluster(topology: &Topology, layout: &Layout) -> Option<Box2> {
    let name = topology.receiver.as_ref()?.cluster.as_deref()?;
    let at = topology.clusters.iter().position(|cluster| cluster.name == name)?;
    layout.clusters.get(at).copied()
}

/// Labels go over everything, with a halo, so that no line runs through them.
fn labels(text: &mut String, topology: &Topology, layout: &Layout) -> std::fmt::Result {
    let mut label = |x: f64, y: f64, what: &str, mark: Mark| {
        let style = if mark.is_difference() { "tone" } else { "soft" };
        let (class, what) = (class(mark), escape(what));
        writeln!(
            text,
            "  <g class=\"{class}\"><text class=\"{style} halo\" x=\"{x:.0}\" y=\"{y:.0}\" text-anchor=\"middle\">{what}</text></g>"
        )
    };
    let middle = |from: Box2, to: Box2| (from.middle(), f64::midpoint(from.bottom(), to.y) + 2.0);
    if let (Some(github), Some(receiver)) = (layout.github, layout.receiver) {
        let (x, y) = middle(github, receiver);
        label(x, y, "webhooks", Mark::AsWanted)?;
    }
    let stream = topology.receiver.as_ref().and_then(|receiver| receiver.stream.as_deref());
    if let (Some(from), Some(to), Some(stream)) =
        (layout.receiver, receivers_cluster(topology, layout), stream)
    {
        let (x, y) = middle(from, to);
        label(x, y, &format!("stream {stream}"), Mark::AsWanted)?;
    }
    for link in &topology.links {
        let Some((_, (x, y))) = way(topology, layout, link) else { continue };
        let remark =
            if link.mark.is_difference() { format!(" {}", link.mark.as_str()) } else { String::new() };
        label(x, y, &format!("{}{remark}", link.kind.as_str()), link.mark)?;
    }
    Ok(())
}
