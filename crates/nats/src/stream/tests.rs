use std::time::Duration;

use serde_json::{Value, json};

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

fn spec() -> StreamSpec {
    StreamSpec {
        name: "GITHUB".to_owned(),
        subjects: vec!["github.>".to_owned()],
        max_age: Some(30 * DAY),
        max_bytes: Some(1 << 30),
        duplicate_window: Some(3 * DAY),
        compression: Compression::S2,
        description: "GitHub's events".to_owned(),
        ..StreamSpec::default()
    }
}

fn wanted(spec: impl Into<Spec>) -> Wanted {
    spec.into().wanted("acme").unwrap()
}

/// What the server would say of `spec`, with 1,000 messages of 2,000 bytes since ten days.
fn found(spec: impl Into<Spec>, change: impl FnOnce(&mut Value)) -> Found {
    let Decision::Create(mut config) = decide(&wanted(spec), None) else { panic!("not created") };
    config["metadata"]["_nats.ver"] = json!("2.15.1");
    config["consumer_limits"] = json!({});
    config["from_the_future"] = json!(7);
    let mut info = json!({
        "config": config,
        "state": { "messages": 1000, "bytes": 2_000_000, "first_ts": "2026-11-01T00:00:00.5Z" },
        "ts": "2026-11-11T00:00:00Z",
    });
    change(&mut info);
    Found::parse(info).unwrap()
}

fn fields(decision: &Decision) -> Vec<&str> {
    match decision {
        Decision::Update { fields, .. } => fields.iter().map(|change| change.field.as_str()).collect(),
        other => panic!("{other:?}"),
    }
}

/// Whether it is made anew, and what goes.
fn losses(decision: &Decision) -> (bool, Option<Loss>) {
    match decision {
        Decision::Update { loses, .. } => (false, *loses),
        Decision::Replace { loses, .. } => (true, *loses),
        other => panic!("{other:?}"),
    }
}

fn golden(name: &str, spec: impl Into<Spec>) {
    let Decision::Create(config) = decide(&wanted(spec), None) else { panic!("not created") };
    crate::config::tests::golden_json(name, &config);
}

#[test]
fn what_is_absent_is_created() {
    golden("stream.json", spec());
    golden("object-bucket.json", ObjectBucketSpec { name: "PAYLOADS".into(), ..ObjectBucketSpec::default() });
    let kv = KvBucketSpec { name: "FLAGS".into(), history: 5, replicas: 3, ..KvBucketSpec::default() };
    golden("kv-bucket.json", kv);
}

#[test]
fn what_is_right_is_left_alone() {
    assert_eq!(decide(&wanted(spec()), Some(&found(spec(), |_| {}))), Decision::Unchanged);
    let bare = found(spec(), |info| {
        info["config"].as_object_mut().unwrap().remove("max_msg_size");
        info["config"]["max_msgs"] = json!(0);
        info["config"]["metadata"]["somebody"] = json!("else");
    });
    assert_eq!(decide(&wanted(spec()), Some(&bare)), Decision::Unchanged);
    let mut two = spec();
    two.subjects = vec!["a".to_owned(), "b".to_owned()];
    let turned = found(two.clone(), |info| info["config"]["subjects"] = json!(["b", "a"]));
    assert_eq!(decide(&wanted(two), Some(&turned)), Decision::Unchanged);
}

#[test]
fn an_update_changes_only_what_differs() {
    let found = found(spec(), |info| info["config"]["metadata"]["somebody"] = json!("else"));
    let mut next = spec();
    next.description = "All of them".to_owned();
    next.replicas = 3;
    next.metadata.insert("team".to_owned(), "platform".to_owned());
    let decision = decide(&wanted(next), Some(&found));
    assert_eq!(fields(&decision), ["description", "metadata", "num_replicas"]);
    let Decision::Update { config, .. } = decision else { unreachable!() };
    assert_eq!(config["from_the_future"], json!(7), "what is not ours is sent back");
    let metadata =
        json!({ "_nats.ver": "2.15.1", "somebody": "else", "team": "platform", FLEET_TAG: "acme" });
    assert_eq!(config["metadata"], metadata);
}

#[test]
fn an_untagged_stream_is_adopted_and_another_fleets_is_not() {
    let untagged = found(spec(), |info| info["config"]["metadata"] = json!({}));
    assert_eq!(fields(&decide(&wanted(spec()), Some(&untagged))), ["metadata"]);
    let foreign = found(spec(), |info| info["config"]["metadata"][FLEET_TAG] = json!("other"));
    let decision = decide(&wanted(spec()), Some(&foreign));
    assert_eq!(decision, Decision::Refuse(Refusal::Foreign("other".to_owned())));
}

#[test]
fn limits_shrink_only_as_far_as_what_is_stored_fits() {
    type Edit = fn(&mut StreamSpec);
    let allowed: [(&str, Edit); 9] = [
        ("max_bytes", |spec| spec.max_bytes = Some(2_000_000)),
        ("max_bytes", |spec| spec.max_bytes = None),
        ("max_msgs", |spec| spec.max_messages = Some(1000)),
        ("max_age", |spec| spec.max_age = Some(11 * DAY)),
        ("max_age", |spec| spec.max_age = None),
        ("max_msg_size", |spec| spec.max_message_size = Some(1)),
        ("duplicate_window", |spec| spec.duplicate_window = Some(DAY)),
        ("discard", |spec| spec.discard = Discard::New),
        ("compression", |spec| spec.compression = Compression::None),
    ];
    for (field, edit) in allowed {
        let mut next = spec();
        edit(&mut next);
        assert_eq!(fields(&decide(&wanted(next), Some(&found(spec(), |_| {})))), [field]);
    }
    // What the server was not asked counts as everything.
    let losing: [(Edit, bool, u64, bool); 8] = [
        (|spec| spec.max_bytes = Some(1_999_999), false, 1000, true),
        (|spec| spec.max_messages = Some(999), false, 1, false),
        (|spec| spec.max_age = Some(9 * DAY), false, 1000, true),
        (|spec| spec.max_messages_per_subject = Some(1), false, 1000, true),
        (|spec| spec.storage = Storage::Memory, true, 1000, false),
        (|spec| spec.retention = Retention::WorkQueue, true, 1000, false),
        (|spec| spec.retention = Retention::Interest, false, 1000, false),
        (|spec| (spec.max_messages, spec.max_age) = (Some(10), Some(9 * DAY)), false, 1000, true),
    ];
    for (edit, anew, messages, at_most) in losing {
        let mut next = spec();
        edit(&mut next);
        let (replaces, loss) = losses(&decide(&wanted(next), Some(&found(spec(), |_| {}))));
        let loss = loss.unwrap();
        assert_eq!((replaces, loss.messages, loss.at_most), (anew, messages, at_most), "{loss:?}");
    }
    let mut next = spec();
    next.max_messages = Some(1);
    next.max_age = Some(3 * DAY);
    let empty = found(spec(), |info| info["state"] = json!({ "messages": 0 }));
    let decision = decide(&wanted(next), Some(&empty));
    assert_eq!((fields(&decision), losses(&decision)), (vec!["max_age", "max_msgs"], (false, None)));
}

#[test]
fn a_sealed_stream_is_not_changed() {
    let sealed = found(spec(), |info| info["config"]["sealed"] = json!(true));
    assert_eq!(decide(&wanted(spec()), Some(&sealed)), Decision::Unchanged);
    let mut next = spec();
    next.description.clear();
    assert_eq!(decide(&wanted(next), Some(&sealed)), Decision::Refuse(Refusal::Sealed));
}

#[test]
fn a_buckets_history_that_shrinks_says_how_many_values_go() {
    let bucket = |history| KvBucketSpec { name: "FLAGS".to_owned(), history, ..KvBucketSpec::default() };
    assert_eq!(
        fields(&decide(&wanted(bucket(9)), Some(&found(bucket(5), |_| {})))),
        ["max_msgs_per_subject"]
    );
    let loss = losses(&decide(&wanted(bucket(1)), Some(&found(bucket(5), |_| {})))).1.unwrap();
    assert_eq!((loss.messages, loss.at_most), (1000, true));
    let asked = |beyond: u64| {
        found(bucket(5), |info| {
            let measured = json!({ "limit": 1, "messages": beyond, "at_most": false });
            info["measured"] = json!({ "max_msgs_per_subject": measured });
        })
    };
    for (beyond, expected) in [(7, Some((7, false))), (0, None)] {
        let loss = losses(&decide(&wanted(bucket(1)), Some(&asked(beyond)))).1;
        assert_eq!(loss.map(|loss| (loss.messages, loss.at_most)), expected);
    }
}

#[test]
fn several_limits_drop_the_same_oldest_messages() {
    let old = |beyond: u64| {
        found(spec(), |info| {
            let limit = u64::try_from((9 * DAY).as_nanos()).unwrap();
            info["measured"]["max_age"] = json!({ "limit": limit, "messages": beyond, "at_most": false });
        })
    };
    let mut next = spec();
    next.max_age = Some(9 * DAY);
    next.max_messages = Some(900);
    for (beyond, expected) in [(300, 300), (20, 100)] {
        let loss = losses(&decide(&wanted(next.clone()), Some(&old(beyond)))).1.unwrap();
        assert_eq!((loss.messages, loss.at_most), (expected, false));
    }
}

#[test]
fn contradictions_are_named() {
    let code = |spec: Spec| spec.wanted("acme").unwrap_err().code();
    let mut none = spec();
    none.subjects.clear();
    assert_eq!(code(none.into()), "WL0214");
    let mut window = spec();
    window.max_age = Some(DAY);
    assert_eq!(code(window.into()), "WL0214");
    let mut name = spec();
    name.name = "a.b".to_owned();
    assert_eq!(code(name.into()), "WL0204");
    let kv = KvBucketSpec { name: "A".to_owned(), history: 65, ..KvBucketSpec::default() };
    assert_eq!(code(kv.into()), "WL0214");
}
