//! nats-server reads what is written: every block, and strings that try to become syntax.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use windlass_nats::authority::{AccountTerms, Authority};
use windlass_nats::config::{
    Cluster, Gateway, JetStream, LeafNodes, LeafRemote, Operator, Preload, Resolver, ServerConfig, Sync,
    Trust, Websocket, check,
};
use windlass_nats::jwt::Permissions;
use windlass_nats::server::Binary;

use crate::server::binary;

fn write(directory: &Path, config: &ServerConfig) -> std::path::PathBuf {
    let path = directory.join("nats-server.conf");
    std::fs::write(&path, config.render()).unwrap();
    path
}

#[test]
fn every_block_is_accepted() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::open(directory.path(), "acme", 1).unwrap();
    let operator = authority.operator().unwrap();
    let operator_file = directory.path().join("jwt/operator.jwt");
    let system = authority.account("SYS", &AccountTerms::default()).unwrap();
    let account = authority.account("GITHUB", &AccountTerms::default()).unwrap();
    let creds = authority.user("GITHUB", "leaf", &Permissions::everything()).unwrap();
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));

    let mut config = ServerConfig::new("acme-weur-1");
    config.tags = vec!["region:weur".to_owned()];
    config.monitor = Some(at(8222));
    config.jetstream = Some(JetStream {
        store_dir: directory.path().join("a \"b\" \\c\n}"),
        max_file_store: 1 << 30,
        max_memory_store: 1 << 20,
        domain: Some("hub".to_owned()),
        sync: Some(Sync::Every(Duration::from_millis(1500))),
    });
    config.websocket = Some(Websocket {
        listen: at(8080),
        tls: None,
        same_origin: true,
        allowed_origins: vec!["https://acme.example".to_owned()],
        compression: true,
    });
    config.cluster = Some(Cluster {
        name: "weur".to_owned(),
        listen: at(6222),
        advertise: Some("nats.acme.example:6222".to_owned()),
        routes: vec!["nats://127.0.0.1:6223".to_owned()],
        tls: None,
    });
    config.gateway = Some(Gateway {
        name: "weur".to_owned(),
        listen: at(7222),
        remotes: vec![("enam".to_owned(), vec!["nats://127.0.0.1:7223".to_owned()])],
        tls: None,
    });
    config.leafnodes = Some(LeafNodes {
        listen: Some(at(7422)),
        tls: None,
        remotes: vec![LeafRemote {
            urls: vec!["ws://127.0.0.1:9000/leaf/weur".to_owned()],
            account: Some(account.public_key.clone()),
            credentials: Some(creds),
            tls: None,
        }],
        reconnect: Some(Duration::from_secs(1)),
    });
    config.max_pending = Some(64 << 20);
    config.max_connections = Some(1000);
    config.write_deadline = Some(Duration::from_secs(10));
    config.ping_interval = Some(Duration::from_secs(20));
    config.lame_duck_duration = Some(Duration::from_secs(60));
    config.lame_duck_grace_period = Some(Duration::from_millis(2500));
    let preload = [("SYS", &system), ("GITHUB", &account)].map(|(name, issued)| Preload {
        name: name.to_owned(),
        public_key: issued.public_key.clone(),
        token: issued.token.clone(),
    });
    let full = Resolver::Full {
        directory: directory.path().join("accounts"),
        allow_delete: false,
        interval: Duration::from_secs(120),
    };
    for (operator, resolver) in
        [(Operator::Inline(operator.token.clone()), Resolver::Memory), (Operator::File(operator_file), full)]
    {
        let system_account = system.public_key.clone();
        config.trust = Some(Trust { operator, system_account, resolver, preload: preload.to_vec() });
        let digest = check(&binary(), &write(directory.path(), &config)).unwrap();
        assert!(digest.starts_with("sha256:"), "{digest}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let path = write(directory.path(), &ServerConfig::new("two words"));
    let error = check(&binary(), &path).unwrap_err();
    assert_eq!(error.code(), "WL0208");
    assert!(error.to_string().contains("cannot contain spaces"), "{error}");
}

#[test]
fn a_program_that_will_not_do_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nats-server");
    assert_eq!(Binary::at(&path).unwrap_err().code(), "WL0206");
    for (line, code) in [
        ("echo nats-server: v2.11.9", "WL0207"),
        ("echo nats-server: v1.4.1", "WL0207"),
        ("echo hello", "WL0206"),
        ("exit 1", "WL0206"),
    ] {
        // Another process writes it: a program that is open for writing here could not be run yet.
        let script = format!("printf '#!/bin/sh\\n{line}\\n' > {0} && chmod 755 {0}", path.display());
        assert!(Command::new("sh").arg("-c").arg(script).status().unwrap().success());
        let error = Binary::at(&path).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
    }
}
