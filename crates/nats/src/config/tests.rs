use std::path::Path;

use super::*;

/// Compares with a file in `tests/golden/`; with `UPDATE_GOLDEN=1` writes it instead.
pub(crate) fn golden(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == wanted, "{} differs; UPDATE_GOLDEN=1 accepts this:\n{found}", path.display());
}

/// As [`golden`], for JSON, with its keys in order whatever order the JSON library keeps.
pub(crate) fn golden_json(name: &str, found: &serde_json::Value) {
    golden(name, &(serde_json::to_string_pretty(&sorted(found)).unwrap() + "\n"));
}

fn sorted(value: &serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().map(|(key, value)| (key.clone(), sorted(value))).collect();
            entries.sort_by(|one, other| one.0.cmp(&other.0));
            entries.into_iter().collect()
        }
        other => other.clone(),
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn trust() -> Trust {
    Trust {
        operator: Operator::Inline("eyJvcGVyYXRvciJ9.e30.c2ln".to_owned()),
        system_account: "ASYSTEM".to_owned(),
        resolver: Resolver::Memory,
        preload: vec![
            Preload { name: "SYS".into(), public_key: "ASYSTEM".into(), token: "eyJzeXMifQ.e30.c2ln".into() },
            Preload {
                name: "GITHUB".into(),
                public_key: "AGITHUB".into(),
                token: "eyJnaCJ9.e30.c2ln".into(),
            },
        ],
    }
}

#[test]
fn the_least() {
    golden("least.conf", &ServerConfig::new("one").render());
}

#[test]
fn a_hub() {
    let mut config = ServerConfig::new("acme-hub-0");
    config.comment = vec!["Written by Windlass\nport: 1".to_owned()];
    config.monitor = Some(address("127.0.0.1:8222"));
    config.max_payload = Some(1 << 20);
    config.write_deadline = Some(Duration::from_secs(10));
    config.lame_duck_duration = Some(Duration::from_secs(30));
    config.lame_duck_grace_period = Some(Duration::from_millis(2500));
    config.pid_file = Some("/srv/.windlass/nats/hub/nats-server.pid".into());
    config.log = Some(Log {
        file: "/srv/.windlass/log/nats-hub.log".into(),
        size_limit: Some(64 << 20),
        keep: Some(4),
    });
    config.jetstream = Some(JetStream {
        store_dir: "/srv/it's a \"place\" \\ here".into(),
        max_file_store: 10 << 30,
        max_memory_store: 256 << 20,
        domain: Some("hub".to_owned()),
        sync: Some(Sync::Every(Duration::from_secs(120))),
    });
    config.websocket = Some(Websocket {
        listen: address("127.0.0.1:8080"),
        tls: None,
        same_origin: false,
        allowed_origins: Vec::new(),
        compression: true,
    });
    config.trust = Some(trust());
    golden("hub.conf", &config.render());
}

#[test]
fn a_clustered_server_with_everything() {
    let tls = Tls {
        certificate: "/etc/nats/server.pem".into(),
        key: "/etc/nats/server-key.pem".into(),
        authority: Some("/etc/nats/ca.pem".into()),
        verify: true,
    };
    let mut config = ServerConfig::new("acme-weur-1");
    config.tags = vec!["region:weur".to_owned(), "platform:self-hosted".to_owned()];
    config.listen = address("[::1]:4222");
    config.tls = Some(tls.clone());
    config.jetstream = Some(JetStream {
        store_dir: "/var/lib/nats".into(),
        max_file_store: 1 << 40,
        max_memory_store: 0,
        domain: None,
        sync: Some(Sync::Always),
    });
    config.websocket = Some(Websocket {
        listen: address("0.0.0.0:443"),
        tls: Some(tls.clone()),
        same_origin: true,
        allowed_origins: vec!["https://acme.example".to_owned()],
        compression: false,
    });
    config.cluster = Some(Cluster {
        name: "weur".to_owned(),
        listen: address("10.0.0.5:6222"),
        advertise: Some("nats-1.acme.example:6222".to_owned()),
        routes: vec!["nats://10.0.0.6:6222".to_owned(), "nats://10.0.0.7:6222".to_owned()],
        tls: Some(tls.clone()),
    });
    config.gateway = Some(Gateway {
        name: "weur".to_owned(),
        listen: address("10.0.0.5:7222"),
        remotes: vec![("enam".to_owned(), vec!["nats://192.0.2.1:7222".to_owned()])],
        tls: None,
    });
    config.leafnodes = Some(LeafNodes {
        listen: Some(address("10.0.0.5:7422")),
        tls: None,
        remotes: vec![LeafRemote {
            urls: vec!["wss://edge.acme.example:443/leaf/weur".to_owned()],
            account: Some("AGITHUB".to_owned()),
            credentials: Some("/etc/nats/leaf.creds".into()),
            tls: None,
        }],
        reconnect: Some(Duration::from_secs(1)),
    });
    let full = Resolver::Full {
        directory: "/var/lib/nats/jwt".into(),
        allow_delete: false,
        interval: Duration::from_secs(120),
    };
    config.trust =
        Some(Trust { operator: Operator::File("/etc/nats/operator.jwt".into()), resolver: full, ..trust() });
    config.max_pending = Some(64 << 20);
    config.max_connections = Some(10_000);
    config.ping_interval = Some(Duration::from_secs(20));
    golden("everything.conf", &config.render());
}

#[test]
fn the_digest_is_read_from_what_the_check_prints() {
    let hash = "5".repeat(64);
    let text = format!("nats-server: configuration file a (b) (sha256:x) is valid (sha256:{hash})\n");
    assert_eq!(digest(&text), Some(format!("sha256:{hash}").as_str()));
    for bad in ["", "is valid", "(sha256:12)", "(sha256:", "is valid (sha256)"] {
        assert_eq!(digest(bad), None, "{bad}");
    }
}
