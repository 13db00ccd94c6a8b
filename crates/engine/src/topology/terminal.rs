//! The fleet in lines for a terminal of a hundred columns.

use super::drawing::{links, remark, routes, summary};
use super::{Cluster, LinkKind, Mark, Topology};
use std::fmt::Write as _;

const WIDTH: usize = 100;
const BOLD: &str = "1";
const DIM: &str = "2";

/// Draws the fleet; with escape codes for colour if `color`.
#[must_use]
pub fn terminal(topology: &Topology, color: bool) -> String {
    let mut drawing = Drawing { text: String::new(), color };
    // Writing to a string cannot fail.
    let _ = drawing.draw(topology);
    drawing.text
}

struct Drawing {
    text: String,
    color: bool,
}

const fn sign(mark: Mark) -> (&'static str, &'static str) {
    match mark {
        Mark::AsWanted => ("●", "32"),
        Mark::Impaired => ("◐", "33"),
        Mark::Down => ("✗", "31"),
        Mark::Missing => ("○", "31"),
        Mark::Extra => ("+", "35"),
        Mark::NotAsked => ("·", DIM),
    }
}

impl Drawing {
    fn paint(&self, style: &str, text: &str) -> String {
        if self.color && !text.is_empty() { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn sign(&self, mark: Mark) -> String {
        let (sign, style) = sign(mark);
        self.paint(style, sign)
    }

    fn remark(&self, mark: Mark, why: Option<&str>) -> String {
        self.paint(sign(mark).1, &remark(mark, why))
    }

    fn draw(&mut self, topology: &Topology) -> std::fmt::Result {
        let summary = summary(topology);
        let (name, rest) = summary.split_once(": ").unwrap_or((&summary, ""));
        let name = self.paint(BOLD, name);
        writeln!(self.text, "{name}: {rest}\n")?;
        if let Some(github) = &topology.github {
            let organization =
                github.organization.as_ref().map(|name| format!("  {name}")).unwrap_or_default();
            let name = self.paint(BOLD, "GitHub");
            writeln!(self.text, "    {name}{organization}")?;
            self.arrow("webhooks")?;
        }
        if let Some(receiver) = &topology.receiver {
            let (sign, name) = (self.sign(receiver.mark), self.paint(BOLD, "receiver"));
            let remark = self.remark(receiver.mark, receiver.why.as_deref());
            let at = receiver.url.clone().unwrap_or_else(|| format!("on {}", receiver.platform));
            let line = format!("  {sign} {name}  {at}  {remark}");
            writeln!(self.text, "{}", line.trim_end())?;
            if let Some(stream) = &receiver.stream {
                self.arrow(&format!("stream {stream}"))?;
            }
        }
        for (at, cluster) in topology.clusters.iter().enumerate() {
            let leaf = links(topology, LinkKind::LeafNode).find(|link| link.from == cluster.name);
            if let Some(leaf) = leaf {
                let remark = self.remark(leaf.mark, leaf.why.as_deref());
                let line = format!("    ▲ {} leaf node of {}  {remark}", self.sign(leaf.mark), leaf.to);
                writeln!(self.text, "{}\n    │", line.trim_end())?;
            } else if at > 0 {
                writeln!(self.text)?;
            }
            self.cluster(cluster)?;
        }
        let gateways: Vec<_> = links(topology, LinkKind::Gateway).collect();
        if !gateways.is_empty() {
            let name = self.paint(BOLD, "Gateways");
            writeln!(self.text, "\n{name}")?;
            for link in gateways {
                let remark = self.remark(link.mark, link.why.as_deref());
                let line = format!("  {} {} ⇄ {}  {remark}", self.sign(link.mark), link.from, link.to);
                writeln!(self.text, "{}", line.trim_end())?;
            }
        }
        self.differences(topology)?;
        self.legend(topology)
    }

    fn arrow(&mut self, what: &str) -> std::fmt::Result {
        let what = self.paint(DIM, what);
        writeln!(self.text, "    │ {what}\n    ▼")
    }

    fn cluster(&mut self, cluster: &Cluster) -> std::fmt::Result {
        let mut about = vec![cluster.platform.clone()];
        about.extend(cluster.notes.iter().cloned());
        let about = cut(&about.join(" · "), WIDTH - 20 - cluster.name.chars().count().min(40));
        let name = cut(&cluster.name, 40);
        let fill = WIDTH - 8 - name.chars().count() - about.chars().count();
        let bold = self.paint(BOLD, &name);
        writeln!(self.text, "╭─ {bold} {} {about} ─╮", "─".repeat(fill))?;
        let widest =
            |text: &dyn Fn(&super::Server) -> usize| cluster.servers.iter().map(text).max().unwrap_or(0);
        let names = widest(&|server| server.name.chars().count());
        let urls = widest(&|server| server.url.as_ref().map_or(0, String::len));
        let versions = widest(&|server| server.version.as_ref().map_or(0, String::len));
        for server in &cluster.servers {
            let star = if server.leader { "★" } else { " " };
            let (url, version) =
                (server.url.clone().unwrap_or_default(), server.version.clone().unwrap_or_default());
            let plain = format!("{:<names$} {star}  {url:<urls$}  {version:<versions$}  ", server.name);
            let room = (WIDTH - 8).saturating_sub(plain.chars().count());
            let remark = cut(&remark(server.mark, server.why.as_deref()), room);
            let padding = room - remark.chars().count();
            let line = format!(
                "{} {plain}{}{:padding$}",
                self.sign(server.mark),
                self.paint(sign(server.mark).1, &remark),
                ""
            );
            writeln!(self.text, "│  {line}  │")?;
        }
        if cluster.servers.is_empty() {
            let line = format!(
                "{:<width$}",
                "not asked: this version looks only at your own machines",
                width = WIDTH - 6
            );
            let line = self.paint(DIM, &line);
            writeln!(self.text, "│  {line}  │")?;
        }
        if let Some(routes) = routes(&cluster.routes) {
            let line = self.paint(DIM, &format!("{routes:<width$}", width = WIDTH - 8));
            writeln!(self.text, "│    {line}  │")?;
        }
        writeln!(self.text, "╰{}╯", "─".repeat(WIDTH - 2))
    }

    fn differences(&mut self, topology: &Topology) -> std::fmt::Result {
        if topology.differences.is_empty() {
            return Ok(());
        }
        let title = self.paint(BOLD, "Differences");
        writeln!(self.text, "\n{title}")?;
        let width = topology.differences.iter().map(|one| one.what.chars().count()).max().unwrap_or(0);
        for one in &topology.differences {
            let (sign, remark) = (self.sign(one.mark), self.remark(one.mark, one.why.as_deref()));
            writeln!(self.text, "  {sign} {:<width$}  {remark}", one.what)?;
        }
        Ok(())
    }

    fn legend(&mut self, topology: &Topology) -> std::fmt::Result {
        if topology.clusters.iter().flat_map(|cluster| &cluster.servers).any(|server| server.leader) {
            let line = self.paint(DIM, "★ leads JetStream's metadata in its cluster");
            writeln!(self.text, "\n{line}")?;
        }
        Ok(())
    }
}

/// The text, cut to a width in characters.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}
