//! The configuration's text: blocks, quoted strings, durations and byte counts.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::{
    Cluster, Gateway, JetStream, LeafNodes, LeafRemote, Log, Operator, Resolver, ServerConfig, Sync, Tls,
    Trust, Websocket,
};

pub(super) fn render(config: &ServerConfig) -> String {
    let mut text = Text::default();
    for line in &config.comment {
        text.comment(line);
    }
    text.string("server_name", &config.server_name);
    text.strings("server_tags", &config.tags);
    text.address("listen", config.listen);
    text.tls(config.tls.as_ref());
    text.optional(config.monitor, |text, address| text.address("http", address));
    text.optional(config.max_payload, |text, bytes| text.raw("max_payload", bytes));
    text.optional(config.max_pending, |text, bytes| text.raw("max_pending", bytes));
    text.optional(config.max_connections, |text, number| text.raw("max_connections", number));
    text.optional(config.write_deadline, |text, time| text.duration("write_deadline", time));
    text.optional(config.ping_interval, |text, time| text.duration("ping_interval", time));
    text.optional(config.lame_duck_duration, |text, time| text.duration("lame_duck_duration", time));
    text.optional(config.lame_duck_grace_period, |text, time| text.duration("lame_duck_grace_period", time));
    text.optional(config.pid_file.as_deref(), |text, path| text.path("pid_file", path));
    text.optional(config.log.as_ref(), log);
    text.optional(config.jetstream.as_ref(), jetstream);
    text.optional(config.websocket.as_ref(), websocket);
    text.optional(config.cluster.as_ref(), cluster);
    text.optional(config.gateway.as_ref(), gateway);
    text.optional(config.leafnodes.as_ref(), leafnodes);
    text.optional(config.trust.as_ref(), trust);
    text.out
}

fn log(text: &mut Text, log: &Log) {
    text.path("log_file", &log.file);
    text.raw("logtime_utc", true);
    text.optional(log.size_limit, |text, bytes| text.raw("logfile_size_limit", bytes));
    text.optional(log.keep, |text, number| text.raw("logfile_max_num", number));
}

fn jetstream(text: &mut Text, jetstream: &JetStream) {
    text.block("jetstream", |text| {
        text.path("store_dir", &jetstream.store_dir);
        text.raw("max_file_store", jetstream.max_file_store);
        text.raw("max_memory_store", jetstream.max_memory_store);
        text.optional(jetstream.domain.as_deref(), |text, domain| text.string("domain", domain));
        text.optional(jetstream.sync, |text, sync| match sync {
            Sync::Every(interval) => text.duration("sync_interval", interval),
            Sync::Always => text.string("sync_interval", "always"),
        });
    });
}

fn websocket(text: &mut Text, websocket: &Websocket) {
    text.block("websocket", |text| {
        text.address("listen", websocket.listen);
        if websocket.tls.is_none() {
            text.raw("no_tls", true);
        }
        text.tls(websocket.tls.as_ref());
        text.raw("same_origin", websocket.same_origin);
        text.strings("allowed_origins", &websocket.allowed_origins);
        text.raw("compression", websocket.compression);
    });
}

fn cluster(text: &mut Text, cluster: &Cluster) {
    text.block("cluster", |text| {
        text.string("name", &cluster.name);
        text.address("listen", cluster.listen);
        text.optional(cluster.advertise.as_deref(), |text, address| {
            text.string("cluster_advertise", address);
        });
        text.tls(cluster.tls.as_ref());
        text.strings("routes", &cluster.routes);
    });
}

fn gateway(text: &mut Text, gateway: &Gateway) {
    text.block("gateway", |text| {
        text.string("name", &gateway.name);
        text.address("listen", gateway.listen);
        text.tls(gateway.tls.as_ref());
        text.list("gateways", &gateway.remotes, |text, (name, urls)| {
            text.string("name", name);
            text.strings("urls", urls);
        });
    });
}

fn leafnodes(text: &mut Text, leafnodes: &LeafNodes) {
    text.block("leafnodes", |text| {
        text.optional(leafnodes.listen, |text, address| text.address("listen", address));
        text.tls(leafnodes.tls.as_ref());
        text.optional(leafnodes.reconnect, |text, time| text.duration("reconnect", time));
        text.list("remotes", &leafnodes.remotes, |text, remote: &LeafRemote| {
            text.strings("urls", &remote.urls);
            text.optional(remote.account.as_deref(), |text, account| text.string("account", account));
            text.optional(remote.credentials.as_deref(), |text, path| text.path("credentials", path));
            text.tls(remote.tls.as_ref());
        });
    });
}

fn trust(text: &mut Text, trust: &Trust) {
    match &trust.operator {
        Operator::Inline(token) => text.string("operator", token),
        Operator::File(path) => text.path("operator", path),
    }
    text.string("system_account", &trust.system_account);
    match &trust.resolver {
        Resolver::Memory => text.raw("resolver", "MEMORY"),
        Resolver::Full { directory, allow_delete, interval } => text.block("resolver", |text| {
            text.raw("type", "full");
            text.path("dir", directory);
            text.raw("allow_delete", allow_delete);
            text.duration("interval", *interval);
        }),
    }
    text.block("resolver_preload", |text| {
        for account in &trust.preload {
            text.comment(&account.name);
            text.string(&account.public_key, &account.token);
        }
    });
}

#[derive(Default)]
struct Text {
    out: String,
    depth: usize,
}

impl Text {
    fn raw(&mut self, key: &str, value: impl std::fmt::Display) {
        let indent = self.depth * 2;
        // Writing to a string cannot fail.
        _ = writeln!(self.out, "{:indent$}{key}: {value}", "");
    }

    fn comment(&mut self, line: &str) {
        let indent = self.depth * 2;
        let line: String = line.chars().map(|each| if each.is_control() { ' ' } else { each }).collect();
        _ = writeln!(self.out, "{:indent$}# {line}", "");
    }

    fn string(&mut self, key: &str, value: &str) {
        self.raw(key, quote(value));
    }

    fn path(&mut self, key: &str, value: &Path) {
        self.string(key, &value.to_string_lossy());
    }

    fn address(&mut self, key: &str, value: SocketAddr) {
        self.string(key, &value.to_string());
    }

    fn duration(&mut self, key: &str, value: Duration) {
        self.string(key, &duration(value));
    }

    fn strings(&mut self, key: &str, values: &[String]) {
        if !values.is_empty() {
            let values: Vec<String> = values.iter().map(|value| quote(value)).collect();
            self.raw(key, format_args!("[{}]", values.join(", ")));
        }
    }

    fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn block(&mut self, key: &str, write: impl FnOnce(&mut Self)) {
        let indent = self.depth * 2;
        _ = writeln!(self.out, "{:indent$}{key} {{", "");
        self.depth += 1;
        write(self);
        self.depth -= 1;
        _ = writeln!(self.out, "{:indent$}}}", "");
    }

    fn list<T>(&mut self, key: &str, items: &[T], write: impl Fn(&mut Self, &T)) {
        if items.is_empty() {
            return;
        }
        let indent = self.depth * 2;
        _ = writeln!(self.out, "{:indent$}{key}: [", "");
        self.depth += 1;
        for item in items {
            let indent = self.depth * 2;
            _ = writeln!(self.out, "{:indent$}{{", "");
            self.depth += 1;
            write(self, item);
            self.depth -= 1;
            _ = writeln!(self.out, "{:indent$}}}", "");
        }
        self.depth -= 1;
        _ = writeln!(self.out, "{:indent$}]", "");
    }

    fn tls(&mut self, tls: Option<&Tls>) {
        self.optional(tls, |text, tls| {
            text.block("tls", |text| {
                text.path("cert_file", &tls.certificate);
                text.path("key_file", &tls.key);
                text.optional(tls.authority.as_deref(), |text, path| text.path("ca_file", path));
                text.raw("verify", tls.verify);
            });
        });
    }
}

/// A double-quoted string with the escapes that nats-server's reader knows.
fn quote(value: &str) -> String {
    let mut quoted = String::with_capacity(value.len() + 2);
    quoted.push('"');
    for each in value.chars() {
        match each {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            each if each.is_ascii_control() => _ = write!(quoted, "\\x{:02x}", u32::from(each)),
            each => quoted.push(each),
        }
    }
    quoted.push('"');
    quoted
}

/// A duration as Go reads it, in the largest unit that is exact.
fn duration(value: Duration) -> String {
    let nanoseconds = value.as_nanos();
    match nanoseconds {
        _ if nanoseconds.is_multiple_of(1_000_000_000) => format!("{}s", nanoseconds / 1_000_000_000),
        _ if nanoseconds.is_multiple_of(1_000_000) => format!("{}ms", nanoseconds / 1_000_000),
        _ => format!("{nanoseconds}ns"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_cannot_become_syntax() {
        assert_eq!(quote(r#"a "b" \c"#), r#""a \"b\" \\c""#);
        assert_eq!(quote("x\n}\r\t\u{1}ä$HOME"), "\"x\\n}\\r\\t\\x01ä$HOME\"");
    }

    #[test]
    fn durations_are_exact() {
        assert_eq!(duration(Duration::from_secs(90)), "90s");
        assert_eq!(duration(Duration::from_millis(1500)), "1500ms");
        assert_eq!(duration(Duration::from_nanos(1_000_001)), "1000001ns");
        assert_eq!(duration(Duration::ZERO), "0s");
    }
}
