//! Accounts, users, consumers and buckets of the file: made, changed and taken away on real servers, and tried by real
//! clients with the credentials that each user got.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use async_nats::jetstream;
use async_nats::{Client, ConnectOptions, Event};
use futures::StreamExt;
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;
use windlass_tests::Fleet;
use windlass_tests::engine::{self, apply, plan};
use windlass_tests::furniture::FURNITURE;

fn furnished() -> Fleet {
    let fleet = Fleet::with().prepare();
    fleet.edit("[github]", &format!("{FURNITURE}\n[github]"));
    let output = apply(&fleet, &[]);
    assert!(output.status.success(), "{output:?}");
    fleet
}

/// What is to be done, by address.
fn actions(fleet: &Fleet) -> Vec<(String, String)> {
    engine::actions(&plan(fleet))
}

async fn try_connect(fleet: &Fleet, creds: &PathBuf) -> Result<Client, String> {
    fleet.try_connect("hub-0", creds).await
}

async fn client(fleet: &Fleet, account: &str, user: &str) -> Client {
    fleet.client("hub-0", account, user).await
}

fn creds(fleet: &Fleet, account: &str, user: &str) -> PathBuf {
    fleet.creds(account, user)
}

/// Who may publish what, in the account SHOP.
const PUBLISH: &[(&str, &str, bool)] = &[
    ("till", "orders.new", true),
    ("till", "orders.void.1", false),
    ("till", "rates.eur", false),
    ("till", "$JS.API.STREAM.INFO.ORDERS", false),
    ("reader", "orders.new", false),
    ("reader", "$JS.API.STREAM.INFO.ORDERS", true),
    ("reader", "$JS.API.CONSUMER.CREATE.ORDERS.x", true),
    ("reader", "$JS.ACK.ORDERS.x.1.1.1.1.0", true),
    ("reader", "$JS.API.STREAM.DELETE.ORDERS", false),
    ("reader", "$JS.API.STREAM.PURGE.ORDERS", false),
    ("reader", "$JS.API.STREAM.CREATE.X", false),
    ("reader", "$JS.API.STREAM.UPDATE.ORDERS", false),
    ("reader", "$JS.API.CONSUMER.DELETE.ORDERS.billing", false),
    ("reader", "$KV.SETTINGS.a", false),
    ("keeper", "orders.new", true),
    ("keeper", "$JS.API.STREAM.PURGE.NONE", true),
    ("keeper", "rates.eur", false),
    ("quoter", "orders.new", false),
    ("rater", "rates.eur", true),
    ("rater", "orders.new", false),
    ("nobody", "orders.new", false),
    ("nobody", "_INBOX.x", false),
    ("admin", "orders.void.1", true),
    ("admin", "anything", true),
];

/// Who may subscribe to what.
const SUBSCRIBE: &[(&str, &str, bool)] = &[
    ("till", "rates.>", true),
    ("till", "rates.eur", true),
    ("till", "_INBOX.x.>", true),
    ("till", "orders.>", false),
    ("till", ">", false),
    ("reader", "_INBOX.x.>", true),
    ("reader", "orders.>", false),
    ("quoter", "quote", true),
    ("quoter", "_INBOX.x.>", false),
    ("nobody", "_INBOX.x.>", false),
    ("nobody", "rates.>", false),
    ("admin", ">", true),
];

#[tokio::test]
async fn users_may_do_what_the_file_says_and_nothing_else() {
    let fleet = furnished();
    let account: std::collections::BTreeSet<&str> = PUBLISH.iter().map(|(user, ..)| *user).collect();
    for user in account {
        let (refusals, mut refused) = tokio::sync::mpsc::unbounded_channel();
        let options = ConnectOptions::with_credentials_file(creds(&fleet, "SHOP", user)).await.unwrap();
        let options = options.event_callback(move |event| {
            if let Event::ServerError(error) = event {
                let _ = refusals.send(error.to_string());
            }
            async {}
        });
        let client = options.connect(fleet.status()["nats"]["url"].as_str().unwrap()).await.unwrap();
        // The server says what it refused; a round trip later it has said all of it.
        let mut was_refused = async |client: &Client| {
            client.flush().await.unwrap();
            let _ =
                tokio::time::timeout(Duration::from_millis(200), client.request("nobody.answers", "".into()))
                    .await;
            let mut all = Vec::new();
            while let Ok(one) = refused.try_recv() {
                all.push(one);
            }
            all
        };
        for (_, subject, allowed) in PUBLISH.iter().filter(|(name, ..)| *name == user) {
            client.publish(*subject, "".into()).await.unwrap();
            let refused = was_refused(&client).await;
            let hit = refused.iter().any(|error| {
                error.to_lowercase().contains(&format!("publish to \"{subject}\"").to_lowercase())
            });
            assert_eq!(!hit, *allowed, "{user} publishes to {subject}: {refused:?}");
        }
        for (_, subject, allowed) in SUBSCRIBE.iter().filter(|(name, ..)| *name == user) {
            let subscription = client.subscribe(*subject).await.unwrap();
            let refused = was_refused(&client).await;
            let hit = refused.iter().any(|error| {
                error.to_lowercase().contains(&format!("subscription to \"{subject}\"").to_lowercase())
            });
            assert_eq!(!hit, *allowed, "{user} subscribes to {subject}: {refused:?}");
            drop(subscription);
        }
    }
}

#[tokio::test]
async fn what_is_exported_reaches_who_imports_it() {
    let fleet = furnished();
    let (rater, quoter, analyst) = (
        client(&fleet, "SHOP", "rater").await,
        client(&fleet, "SHOP", "quoter").await,
        client(&fleet, "REPORTS", "analyst").await,
    );
    let mut rates = analyst.subscribe("shop.rates.>").await.unwrap();
    analyst.flush().await.unwrap();
    // The subscription reaches the other account a moment after the server has it.
    let rate = async {
        loop {
            rater.publish("rates.eur", "1.1".into()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let heard = tokio::select! {
        heard = tokio::time::timeout(Duration::from_secs(10), rates.next()) => heard.unwrap().unwrap(),
        () = rate => unreachable!(),
    };
    assert_eq!((heard.subject.as_str(), &*heard.payload), ("shop.rates.eur", &b"1.1"[..]));

    let mut questions = quoter.subscribe("quote").await.unwrap();
    quoter.flush().await.unwrap();
    let answers = tokio::spawn(async move {
        let question = questions.next().await.unwrap();
        quoter.publish(question.reply.unwrap(), "42".into()).await.unwrap();
        quoter.flush().await.unwrap();
    });
    let answer = tokio::time::timeout(Duration::from_secs(10), analyst.request("quote", "?".into())).await;
    assert_eq!(&*answer.unwrap().unwrap().payload, b"42");
    answers.await.unwrap();
}

#[tokio::test]
async fn who_leaves_the_file_is_cut_off_and_who_changes_gets_new_credentials() {
    let fleet = furnished();
    let kept = fleet.path().join("kept");
    std::fs::create_dir(&kept).unwrap();
    for user in ["till", "rater"] {
        std::fs::copy(creds(&fleet, "SHOP", user), kept.join(user)).unwrap();
    }
    let connected = client(&fleet, "SHOP", "rater").await;
    fleet.edit("rater = { publish = [\"rates.>\"] }\n", "");
    fleet.edit("till = { publish = [\"orders.>\"], ", "till = { ");
    let planned = plan(&fleet);
    let action = |address: &str| {
        let all = planned["actions"].as_array().unwrap();
        all.iter()
            .find(|one| one["address"] == address)
            .unwrap_or_else(|| panic!("{address}: {planned}"))
            .clone()
    };
    assert_eq!(action("user.SHOP/rater")["risk"], "interrupts");
    assert_eq!(action("user.SHOP/till")["fields"][0]["field"], "publish");
    assert_eq!(action("user.SHOP/till")["risk"], "interrupts");
    assert!(apply(&fleet, &[]).status.success());
    assert!(actions(&fleet).is_empty());

    for user in ["till", "rater"] {
        let refused = try_connect(&fleet, &kept.join(user)).await;
        assert!(refused.is_err(), "{user} comes in with what it had before");
    }
    let is_out = async {
        while connected.connection_state() == async_nats::connection::State::Connected {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), is_out).await.expect("who is gone is disconnected");
    client(&fleet, "SHOP", "till").await;
    assert!(!creds(&fleet, "SHOP", "rater").exists());

    // Somebody of that name is somebody else, and the old credentials stay out.
    fleet.edit("nobody = {}", "nobody = {}\nrater = { publish = [\"rates.>\"] }");
    assert!(apply(&fleet, &[]).status.success());
    client(&fleet, "SHOP", "rater").await;
    assert!(try_connect(&fleet, &kept.join("rater")).await.is_err());
}

#[tokio::test]
async fn consumers_and_buckets_are_what_the_file_says() {
    let fleet = furnished();
    let admin = jetstream::new(client(&fleet, "SHOP", "admin").await);
    let stream = admin.get_stream("ORDERS").await.unwrap();
    let found = &stream.cached_info().config;
    assert_eq!(found.max_messages_per_subject, 100);
    assert_eq!(found.description.as_deref(), Some("What the shop sold"));
    let consumer = stream.consumer_info("billing").await.unwrap().config;
    assert_eq!(consumer.filter_subject, "orders.paid");
    assert_eq!((consumer.ack_wait, consumer.max_deliver), (Duration::from_secs(60), 5));
    let settings = admin.get_key_value("SETTINGS").await.unwrap();
    let status = settings.status().await.unwrap();
    assert_eq!((status.history(), status.max_age()), (5, Duration::from_secs(10 * 24 * 3600)));
    settings.put("colour", "blue".into()).await.unwrap();
    let invoices = admin.get_object_store("INVOICES").await.unwrap();
    invoices.put("1.pdf", &mut b"paid".as_slice()).await.unwrap();

    // In place.
    fleet.edit("max_deliver = 5", "max_deliver = 9");
    fleet.edit("history = 5", "history = 8");
    let mut both = actions(&fleet);
    both.sort();
    let update = |address: &str| (address.to_owned(), "update".to_owned());
    assert_eq!(both, [update("consumer.billing"), update("kv.SETTINGS")]);
    assert!(apply(&fleet, &[]).status.success());
    assert_eq!(stream.consumer_info("billing").await.unwrap().config.max_deliver, 9);
    let settings = admin.get_key_value("SETTINGS").await.unwrap();
    assert_eq!(settings.status().await.unwrap().history(), 8);
    assert_eq!(settings.get("colour").await.unwrap().unwrap(), "blue");

    // What the server cannot change in place costs the consumer's place, and needs permission.
    admin.publish("orders.paid", "1".into()).await.unwrap().await.unwrap();
    let billing: jetstream::consumer::PullConsumer = stream.get_consumer("billing").await.unwrap();
    let message = billing.fetch().max_messages(1).messages().await.unwrap().next().await.unwrap().unwrap();
    message.double_ack().await.unwrap();
    fleet.edit("max_deliver = 9", "max_deliver = 9\ndeliver = \"new\"");
    let refused = apply(&fleet, &[]);
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("consumer.billing (irreversible)"),
        "{refused:?}"
    );
    assert_eq!(stream.consumer_info("billing").await.unwrap().ack_floor.consumer_sequence, 1, "untouched");
    assert!(apply(&fleet, &["--allow-data-loss"]).status.success());
    let now = stream.consumer_info("billing").await.unwrap();
    assert_eq!(
        (now.config.deliver_policy, now.ack_floor.consumer_sequence),
        (jetstream::consumer::DeliverPolicy::New, 0)
    );
    assert!(actions(&fleet).is_empty());

    // Drift: somebody edits one, and deletes another.
    let mut config = now.config;
    config.max_deliver = 3;
    stream
        .update_consumer(jetstream::consumer::pull::Config {
            durable_name: Some("billing".to_owned()),
            deliver_policy: config.deliver_policy,
            filter_subject: config.filter_subject,
            ack_wait: config.ack_wait,
            max_deliver: 3,
            max_ack_pending: config.max_ack_pending,
            max_waiting: config.max_waiting,
            metadata: config.metadata,
            ..Default::default()
        })
        .await
        .unwrap();
    admin.delete_object_store("INVOICES").await.unwrap();
    let drift = plan(&fleet).to_string();
    assert!(drift.contains("consumer.billing") && drift.contains("objects.INVOICES"), "{drift}");
    assert!(apply(&fleet, &[]).status.success());
    assert_eq!(stream.consumer_info("billing").await.unwrap().config.max_deliver, 9);

    // Gone from the file, gone from the server: with permission, since both hold something.
    let text = "[kv.SETTINGS]\naccount = \"SHOP\"\nhistory = 8\nttl = \"10d\"\n";
    fleet.edit(text, "");
    let refused = apply(&fleet, &[]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("kv.SETTINGS (1 message"), "{refused:?}");
    assert!(apply(&fleet, &["--allow-data-loss"]).status.success());
    assert!(admin.get_key_value("SETTINGS").await.is_err());
}

#[tokio::test]
async fn an_accounts_limits_hold() {
    let fleet = furnished();
    let keeper = jetstream::new(client(&fleet, "SHOP", "keeper").await);
    let stream = |name: &str, max_bytes| jetstream::stream::Config {
        name: name.to_owned(),
        subjects: vec![format!("{name}.>")],
        max_bytes,
        ..Default::default()
    };
    assert!(
        keeper.create_stream(stream("LARGE", 200 << 20)).await.is_err(),
        "more storage than the account has"
    );
    fleet.edit("storage = \"100MiB\"", "storage = \"300MiB\"");
    assert_eq!(actions(&fleet), [("account.SHOP".to_owned(), "update".to_owned())]);
    assert!(apply(&fleet, &[]).status.success());
    keeper.create_stream(stream("LARGE", 200 << 20)).await.unwrap();
    // What nobody wrote in the file and Windlass did not make is left alone.
    assert!(actions(&fleet).is_empty());

    fleet.edit("connections = 50", "connections = 1");
    assert!(apply(&fleet, &[]).status.success());
    let refused = try_connect(&fleet, &creds(&fleet, "SHOP", "till")).await;
    let first = try_connect(&fleet, &creds(&fleet, "SHOP", "till")).await;
    assert!(refused.is_err() || first.is_err(), "one connection at most");
    assert_eq!(json!(actions(&fleet).len()), json!(0), "and windlass still sees it");
}
