//! The process itself: what runs is what was configured, and it leaves when it is asked to.

use std::time::Duration;

use crate::server::{NAME, Server, Setup, binary, settle};
use windlass_nats::config::Sync;
use windlass_nats::server::{Health, signal_lame_duck};
use windlass_nats::{Error, connect};

#[test]
fn nats_server_has_the_last_word_on_the_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let mut setup = Setup::new(directory.path());
    setup.config.max_payload = Some(1 << 40);
    let error = setup.write().unwrap_err();
    assert_eq!(error.code(), "WL0208", "{error}");
    assert!(error.to_string().contains("max_payload"), "{error}");
}

#[tokio::test]
async fn what_runs_is_what_was_configured() {
    let directory = tempfile::Builder::new().prefix("it's \"a\" place ä").tempdir().unwrap();
    let mut setup = Setup::new(directory.path());
    setup.config.jetstream.as_mut().unwrap().sync = Some(Sync::Always);
    let server = Server::start(setup).await;
    let varz = &server.varz;
    assert_eq!((varz.server_name.as_str(), varz.max_payload), (NAME, 1 << 20));
    assert_eq!(varz.version, binary().version.to_string());
    assert_eq!(varz.system_account.as_deref(), Some(server.setup.system.public_key.as_str()));
    let jetstream = varz.jetstream.config.as_ref().unwrap();
    assert_eq!((jetstream.domain.as_str(), jetstream.sync_always), ("hub", true));
    assert_eq!(jetstream.max_storage, 1 << 30);
    let home = directory.path().join("nats/hub");
    assert_eq!(std::path::Path::new(&jetstream.store_dir), home.join("jetstream"));
    assert_eq!(server.setup.monitor().health(Health::Everything).await.unwrap(), Ok(()));
    let pid = std::fs::read_to_string(home.join("nats-server.pid")).unwrap();
    assert_eq!(pid.trim().parse::<u32>().unwrap(), server.pid());
}

#[tokio::test]
async fn another_configuration_is_not_taken_for_ready() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(Setup::new(directory.path())).await;
    let mut changed = server.setup.clone();
    changed.config.max_payload = Some(2 << 20);
    let digest = changed.write().unwrap();
    let error = changed.ready(&digest, Duration::from_millis(200)).await.unwrap_err();
    assert!(matches!(&error, Error::NotReady { reason, .. } if reason.contains("configuration")), "{error}");
    drop(server);
    assert_eq!(changed.ready(&digest, Duration::from_millis(50)).await.unwrap_err().code(), "WL0209");
}

#[tokio::test]
async fn a_client_that_may_wait_connects_when_the_server_comes_and_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let setup = Setup::new(directory.path());
    let mut connect = connect::Options::new(&setup.url(), &setup.admin, "waiting");
    assert_eq!(connect::connect(&connect).await.unwrap_err().code(), "WL0211");
    connect.retry_on_initial_connect = true;
    let client = connect::connect(&connect).await.unwrap();
    let mut server = Server::start(setup.clone()).await;
    let mut heard = client.subscribe("hello").await.unwrap();
    for round in 0..2 {
        let said = async {
            loop {
                let admin = server.admin().await;
                admin.publish("hello", "".into()).await.unwrap();
                settle(&admin).await;
                if tokio::time::timeout(Duration::from_millis(100), futures::StreamExt::next(&mut heard))
                    .await
                    .is_ok()
                {
                    break;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), said).await.unwrap();
        if round == 0 {
            server.kill();
            server = Server::start(setup.clone()).await;
        }
    }
}

#[tokio::test]
async fn a_lame_duck_says_so_and_leaves() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = Server::start(Setup::new(directory.path())).await;
    signal_lame_duck(server.pid()).unwrap();
    let left = async {
        // Without clients it leaves at once; before that it is not healthy.
        while server.is_running() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), left).await.unwrap();
    let log = server.setup.log();
    assert!(log.contains("Entering lame duck mode"), "{log}");
}
