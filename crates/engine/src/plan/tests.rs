use super::*;
use crate::apply::{Event, Options, World, apply};
use crate::conformance::{self, Fixture};
use crate::error::Trouble;
use crate::journal::Probe;
use crate::platform::{Data, Scope, Step};
use crate::store::{self, Directory};
use crate::{Kind, Recorded};
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A platform in memory, for what the engine decides.
#[derive(Default)]
struct Memory {
    things: Mutex<BTreeMap<Address, Value>>,
    fails: Mutex<BTreeSet<Address>>,
    order: Mutex<Vec<String>>,
    /// It deletes what it must not.
    careless: bool,
    /// It reports what it was not asked for.
    talkative: bool,
    /// While it is true nothing can be seen.
    down: AtomicBool,
    /// Once it is true nothing changes any more, as when the process is dead.
    dead: Arc<AtomicBool>,
}

impl Memory {
    fn put(&self, address: &Address, body: &Value) -> Result<(), Trouble> {
        if self.fails.lock().contains(address) {
            return Err(Trouble::new("X1", "it does not want to", "be kind"));
        }
        if !self.dead.load(Ordering::Relaxed) {
            self.things.lock().insert(address.clone(), body.clone());
        }
        Ok(())
    }
}

impl Platform for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn supports(&self, resource: &Resource) -> Result<(), String> {
        if resource.body["impossible"] == true { Err("it is impossible".to_owned()) } else { Ok(()) }
    }

    fn find<'a>(&'a self, scope: Scope<'a>) -> BoxFuture<'a, Result<Vec<Found>, Trouble>> {
        let asked: BTreeSet<&Address> = scope
            .wanted
            .iter()
            .map(|one| &one.address)
            .chain(scope.recorded.iter().map(|(address, _)| *address))
            .collect();
        let things = self.things.lock();
        let found = things.iter().filter(|(address, _)| self.talkative || asked.contains(address)).map(
            |(address, body)| Found {
                address: address.clone(),
                body: body.clone(),
                data: Data { messages: body["messages"].as_u64().unwrap_or(0), bytes: 10 },
                trouble: self.down.load(Ordering::Relaxed).then(|| "it is down".to_owned()),
                unseen: self.down.load(Ordering::Relaxed),
            },
        );
        futures::future::ready(Ok(found.collect())).boxed()
    }

    fn compare(&self, wanted: &Resource, found: &Found) -> Result<Option<Difference>, String> {
        if found.body["owner"] == "somebody" {
            return Err("it is somebody else's".to_owned());
        }
        let value = |body: &Value| body["value"].to_string();
        let (from, to) = (value(&found.body), value(&wanted.body));
        if from == to {
            return Ok(None);
        }
        let replace = wanted.body["value"].as_i64().is_some_and(|value| value < 0);
        let (how, risk) = if replace { (How::Replace, Risk::LosesData) } else { (How::InPlace, Risk::None) };
        let fields = vec![FieldChange::new("value", from, to)];
        Ok(Some(Difference { how, fields, risk, why: None }))
    }

    fn apply<'a>(&'a self, step: Step<'a>) -> BoxFuture<'a, Result<(), Trouble>> {
        async move {
            tokio::task::yield_now().await;
            match step {
                Step::Create(wanted) | Step::Change { wanted, .. } => {
                    self.order.lock().push(format!("+{}", wanted.address));
                    if let Step::Change { how: How::Replace, .. } = step
                        && !self.dead.load(Ordering::Relaxed)
                    {
                        // What is inside it goes with it.
                        let inside = |body: &Value| body["of"] == wanted.address.name.as_str();
                        self.things.lock().retain(|_, body| !inside(body));
                    }
                    let mut body = wanted.body.clone();
                    if let (Step::Change { found, how: How::InPlace, .. }, false) =
                        (step, body["messages"].is_u64())
                        && found.body["messages"].is_u64()
                    {
                        body["messages"] = found.body["messages"].clone();
                    }
                    self.put(&wanted.address, &body)
                }
                Step::Delete { address, allow_data_loss, .. } => {
                    let holds = self.things.lock().get(address).is_some_and(|body| body["messages"].is_u64());
                    if holds && !allow_data_loss && !self.careless {
                        return Err(Trouble::new("X2", "it holds something", "allow it"));
                    }
                    let with = if allow_data_loss { " with data" } else { "" };
                    self.order.lock().push(format!("-{address}{with}"));
                    if !self.dead.load(Ordering::Relaxed) {
                        self.things.lock().remove(address);
                    }
                    Ok(())
                }
            }
        }
        .boxed()
    }
}

fn stream(name: &str, value: i64) -> Resource {
    Resource::new(Address::new(Kind::Stream, name), "memory", json!({ "value": value }))
}

fn consumer(name: &str, of: &str) -> Resource {
    Resource::new(Address::new(Kind::Consumer, name), "memory", json!({ "value": 1, "of": of }))
        .after([Address::new(Kind::Stream, of)])
}

struct Bench {
    platform: Memory,
    directory: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { platform: Memory::default(), directory: tempfile::tempdir().unwrap() }
    }

    fn store(&self) -> Directory {
        Directory::new(self.directory.path().join("state"))
    }

    fn platforms(&self) -> BTreeMap<String, &dyn Platform> {
        BTreeMap::from([("memory".to_owned(), &self.platform as &dyn Platform)])
    }

    async fn plan(&self, wanted: &[Resource], wish: &Wish) -> Result<Plan, Error> {
        let (state, _) = store::read(&self.store(), "acme").await?;
        let platforms = self.platforms();
        let found = crate::find(wanted, &state, &platforms).await?;
        make(wanted, &state, &found, &platforms, wish)
    }

    async fn apply_with(
        &self,
        wanted: &[Resource],
        wish: &Wish,
        allow_data_loss: bool,
        probe: Option<Probe>,
    ) -> Result<(Plan, crate::apply::Report), Error> {
        let store = self.store();
        let mut locked = store::open(&store, "acme", "apply", Duration::ZERO).await?;
        let platforms = self.platforms();
        let found = crate::find(wanted, &locked.state, &platforms).await?;
        let plan = make(wanted, &locked.state, &found, &platforms, wish)?;
        let world = World { wanted, found: &found, platforms: &platforms, store: &store };
        let (_keep, stop) = tokio::sync::watch::channel(false);
        let options = Options { parallelism: 4, allow_data_loss, stop, probe };
        let report = apply(&plan, &mut locked.state, &world, &options, &|_: Event<'_>| {}).await?;
        Ok((plan, report))
    }

    async fn apply(&self, wanted: &[Resource]) -> Result<(Plan, crate::apply::Report), Error> {
        self.apply_with(wanted, &Wish::default(), true, None).await
    }

    fn state(&self) -> State {
        store::read(&self.store(), "acme").now_or_never().unwrap().unwrap().0
    }
}

#[tokio::test]
async fn a_platform_that_is_right_passes_the_suite_and_one_that_is_not_fails() {
    let impossible = Resource::new(Address::new(Kind::Stream, "X"), "memory", json!({ "impossible": true }));
    let fixture = Fixture {
        wanted: vec![stream("A", 1), consumer("C", "A")],
        changed: vec![stream("A", 2), consumer("C", "A")],
        impossible: Some(impossible),
        fill: None,
    };
    let check = async |platform: &Memory, fixture: &Fixture<'_>| {
        let fill = |resource: &Resource| {
            if let Some(body) = platform.things.lock().get_mut(&resource.address) {
                body["messages"] = 1.into();
            }
            futures::future::ready(Ok(true)).boxed()
        };
        let fixture = Fixture { fill: Some(&fill), ..fixture.clone() };
        conformance::check(platform, platform, &fixture).await
    };
    check(&Memory::default(), &fixture).await.unwrap();
    let unchanged = Fixture { changed: fixture.wanted.clone(), ..fixture.clone() };
    assert!(check(&Memory::default(), &unchanged).await.unwrap_err().contains("differ in nothing"));
    let possible = Fixture { impossible: Some(stream("X", 1)), ..fixture.clone() };
    assert!(check(&Memory::default(), &possible).await.unwrap_err().contains("not refused"));
    let careless = Memory { careless: true, ..Memory::default() };
    assert!(check(&careless, &fixture).await.unwrap_err().contains("which was not allowed"));
    let talkative = Memory { talkative: true, ..Memory::default() };
    assert!(check(&talkative, &fixture).await.unwrap_err().contains("nothing was asked for"));
}

#[tokio::test]
async fn what_is_applied_is_not_planned_again() {
    let bench = Bench::new();
    let wanted = [stream("A", 1), stream("B", 1), consumer("C", "B")];
    let (plan, report) = bench.apply(&wanted).await.unwrap();
    assert_eq!(plan.counts().create, 3);
    assert_eq!(report.done.len(), 3);
    let again = bench.plan(&wanted, &Wish::default()).await.unwrap();
    assert!(again.is_empty());
    assert_eq!(again.unchanged, 3);
    assert_eq!(bench.state().resources.len(), 3);
    assert!(bench.state().resources.values().all(|recorded| !recorded.uncertain));
    // Nothing to do writes nothing.
    let serial = bench.state().serial;
    bench.apply(&wanted).await.unwrap();
    assert_eq!(bench.state().serial, serial);
}

#[tokio::test]
async fn reasons_tell_the_file_from_somebody_else() {
    let bench = Bench::new();
    bench.apply(&[stream("A", 1), stream("B", 1)]).await.unwrap();
    bench.platform.things.lock().insert(Address::new(Kind::Stream, "A"), json!({ "value": 9 }));
    bench.platform.things.lock().insert(Address::new(Kind::Stream, "N"), json!({ "value": 9 }));
    let wanted = [stream("A", 1), stream("B", 2), stream("N", 1)];
    let plan = bench.plan(&wanted, &Wish::default()).await.unwrap();
    let reasons: Vec<&str> = plan.actions.iter().map(|action| action.reason.as_str()).collect();
    assert!(reasons[0].contains("somebody else since the last apply"), "{reasons:?}");
    assert_eq!(reasons[1], "the fleet file has changed");
    assert!(reasons[2].contains("made by somebody else"));
    bench.platform.things.lock().remove(&Address::new(Kind::Stream, "A"));
    let plan = bench.plan(&wanted, &Wish::default()).await.unwrap();
    assert!(plan.actions[0].reason.contains("somebody deleted it"));
}

#[tokio::test]
async fn data_is_lost_only_when_that_is_allowed() {
    let bench = Bench::new();
    let holds =
        Resource::new(Address::new(Kind::Stream, "A"), "memory", json!({ "value": 1, "messages": 1234 }));
    bench.apply(&[holds]).await.unwrap();
    for wanted in [vec![stream("A", -1)], vec![]] {
        let error = bench.apply_with(&wanted, &Wish::default(), false, None).await.unwrap_err();
        assert_eq!(error.code(), "WL0506");
        assert!(error.to_string().contains("stream.A (1,234 messages"), "{error}");
        assert_eq!(bench.platform.things.lock().len(), 1);
    }
    bench.apply(&[]).await.unwrap();
    assert!(bench.platform.things.lock().is_empty());
}

#[tokio::test]
async fn what_is_inside_what_is_made_anew_is_made_anew_too() {
    let bench = Bench::new();
    let holds =
        Resource::new(Address::new(Kind::Stream, "A"), "memory", json!({ "value": 1, "messages": 12 }));
    let bucket = Resource::new(Address::new(Kind::Kv, "K"), "memory", json!({ "value": 1 }))
        .after([Address::new(Kind::Stream, "A")]);
    let others = [consumer("C", "A"), bucket, stream("B", 1), consumer("CB", "B")];
    bench.apply(&[&[holds][..], &others].concat()).await.unwrap();
    let wanted = [&[stream("A", -1)][..], &others].concat();
    let only = Wish { targets: vec![Address::new(Kind::Stream, "A")], ..Wish::default() };
    for wish in [Wish::default(), only] {
        let plan = bench.plan(&wanted, &wish).await.unwrap();
        let told: Vec<_> =
            plan.actions.iter().map(|one| (one.address.to_string(), one.what, one.risk)).collect();
        let (replace, loses) = (Do::Replace, Risk::LosesData);
        let expected =
            [("stream.A".to_owned(), replace, loses), ("consumer.C".to_owned(), replace, Risk::Irreversible)];
        assert_eq!(told, expected, "what only needs it, and what is inside another, stays");
        assert!(plan.actions[1].reason.contains("it is in stream.A"), "{plan:?}");
        assert_eq!(plan.losses(), ["stream.A (12 messages, 10 B)", "consumer.C (irreversible)"]);
    }
    let error = bench.apply_with(&wanted, &Wish::default(), false, None).await.unwrap_err();
    assert_eq!(error.code(), "WL0506");
    bench.apply(&wanted).await.unwrap();
    let again = bench.plan(&wanted, &Wish::default()).await.unwrap();
    assert!(again.is_empty(), "{again:?}");
    assert_eq!(again.unchanged, 5);
}

#[tokio::test]
async fn the_permission_to_lose_data_is_for_what_the_plan_has_named() {
    let bench = Bench::new();
    bench.apply(&[stream("A", 1), stream("B", 1)]).await.unwrap();
    let full = |name| (Address::new(Kind::Stream, name), json!({ "value": 1, "messages": 3 }));
    bench.platform.things.lock().extend([full("B")]);
    bench.platform.order.lock().clear();
    bench.apply(&[]).await.unwrap();
    let mut order = bench.platform.order.lock().clone();
    order.sort();
    assert_eq!(order, ["-stream.A", "-stream.B with data"]);
}

#[tokio::test]
async fn what_needs_a_failed_one_is_not_begun_and_the_rest_is() {
    let bench = Bench::new();
    bench.platform.fails.lock().insert(Address::new(Kind::Stream, "A"));
    let wanted = [stream("A", 1), consumer("CA", "A"), stream("B", 1), consumer("CB", "B")];
    let (_, report) = bench.apply(&wanted).await.unwrap();
    assert_eq!(report.failed.len(), 1);
    assert_eq!(report.failed[0].code, "X1");
    assert_eq!(report.skipped, [Address::new(Kind::Consumer, "CA")]);
    assert_eq!(report.done.len(), 2);
    bench.platform.fails.lock().clear();
    let (plan, report) = bench.apply(&wanted).await.unwrap();
    assert_eq!((plan.actions.len(), report.done.len()), (2, 2));
}

#[tokio::test]
async fn deletions_go_from_the_leaves_and_before_what_takes_over() {
    let bench = Bench::new();
    bench.apply(&[stream("A", 1), consumer("C", "A")]).await.unwrap();
    bench.platform.order.lock().clear();
    bench.apply(&[stream("B", 1)]).await.unwrap();
    assert_eq!(*bench.platform.order.lock(), ["-consumer.C", "-stream.A", "+stream.B"]);
}

#[tokio::test]
async fn targets_bring_what_they_need_and_destroying_what_needs_them() {
    let bench = Bench::new();
    let wanted = [stream("A", 1), stream("B", 1), consumer("C", "B")];
    let target = |text: &str, destroy| Wish { targets: vec![text.parse().unwrap()], destroy };
    let plan = bench.plan(&wanted, &target("consumer.C", false)).await.unwrap();
    let addresses = |plan: &Plan| plan.actions.iter().map(|one| one.address.to_string()).collect::<Vec<_>>();
    assert_eq!(addresses(&plan), ["stream.B", "consumer.C"]);
    bench.apply(&wanted).await.unwrap();
    let plan = bench.plan(&wanted, &target("stream.B", true)).await.unwrap();
    assert_eq!(addresses(&plan), ["consumer.C", "stream.B"]);
    let error = bench.plan(&wanted, &target("stream.X", false)).await.unwrap_err();
    assert_eq!(error.code(), "WL0509");
}

#[tokio::test]
async fn what_cannot_be_made_is_said_and_the_rest_planned() {
    let bench = Bench::new();
    let impossible = Resource::new(Address::new(Kind::Stream, "X"), "memory", json!({ "impossible": true }));
    let elsewhere = Resource::new(Address::new(Kind::Cluster, "edge"), "cloudflare", json!({}));
    let theirs = Address::new(Kind::Stream, "T");
    bench.platform.things.lock().insert(theirs, json!({ "owner": "somebody" }));
    let plan =
        bench.plan(&[stream("A", 1), impossible, elsewhere, stream("T", 1)], &Wish::default()).await.unwrap();
    assert_eq!((plan.actions.len(), plan.blocked.len()), (1, 3));
    let text = render(&plan, Style::default());
    assert!(text.contains("✗ cluster.edge  cannot be made: this version"), "{text}");
}

#[tokio::test]
async fn what_cannot_be_seen_is_not_deleted_on_a_guess() {
    let bench = Bench::new();
    bench.apply(&[stream("A", 1), stream("OLD", 1)]).await.unwrap();
    bench.platform.down.store(true, Ordering::Relaxed);
    let (plan, report) = bench.apply(&[stream("A", 1)]).await.unwrap();
    assert_eq!((plan.actions.len(), plan.deferred.len(), report.done.len()), (0, 1, 0));
    assert!(
        render(&plan, Style::default()).contains("· stream.OLD  is to be deleted, but not now: it is down")
    );
    assert_eq!(bench.platform.things.lock().len(), 2);

    // To destroy it all the same takes the permission, whatever it holds.
    let destroy = Wish { destroy: true, ..Wish::default() };
    let error = bench.apply_with(&[], &destroy, false, None).await.unwrap_err();
    assert_eq!(error.code(), "WL0506");

    bench.platform.down.store(false, Ordering::Relaxed);
    let (plan, _) = bench.apply(&[stream("A", 1)]).await.unwrap();
    assert_eq!((plan.counts().delete, bench.platform.things.lock().len()), (1, 1));
}

#[tokio::test]
async fn what_is_gone_only_leaves_the_state() {
    let bench = Bench::new();
    bench.apply(&[stream("A", 1), stream("OLD", 1)]).await.unwrap();
    bench.platform.things.lock().remove(&Address::new(Kind::Stream, "OLD"));
    bench.platform.order.lock().clear();
    let (plan, _) = bench.apply(&[stream("A", 1)]).await.unwrap();
    assert_eq!(plan.actions[0].reason, "it is gone already, and leaves the state");
    assert!(bench.platform.order.lock().is_empty(), "nothing was deleted");
    assert_eq!(bench.state().resources.len(), 1);
}

#[tokio::test]
async fn what_needs_something_that_cannot_be_made_is_not_begun() {
    let bench = Bench::new();
    let impossible = Resource::new(Address::new(Kind::Stream, "X"), "memory", json!({ "impossible": true }));
    let plan = bench.plan(&[impossible, consumer("C", "X"), stream("A", 1)], &Wish::default()).await.unwrap();
    assert_eq!((plan.actions.len(), plan.blocked.len()), (1, 2));
    assert_eq!(plan.blocked[1].reason, "it needs stream.X");

    // Neither is what needs it through something that is as wanted.
    let bench = Bench::new();
    let between = consumer("C", "X");
    let last = |value| {
        Resource::new(Address::new(Kind::Kv, "K"), "memory", json!({ "value": value }))
            .after([between.address.clone()])
    };
    bench.apply(&[stream("X", 1), between.clone(), last(1)]).await.unwrap();
    let impossible = Resource::new(Address::new(Kind::Stream, "X"), "memory", json!({ "impossible": true }));
    let plan = bench.plan(&[impossible, between.clone(), last(2)], &Wish::default()).await.unwrap();
    assert_eq!((plan.actions.len(), plan.blocked.len()), (0, 2), "{plan:?}");
    assert_eq!(plan.blocked[1].address, last(2).address);
}

#[tokio::test]
async fn a_moved_world_has_another_digest() {
    let bench = Bench::new();
    let wanted = [stream("A", 1), stream("B", 1)];
    let one = bench.plan(&wanted, &Wish::default()).await.unwrap();
    assert_eq!(one, bench.plan(&wanted, &Wish::default()).await.unwrap());
    bench.platform.things.lock().insert(Address::new(Kind::Stream, "A"), json!({ "value": 9 }));
    assert_ne!(one.world, bench.plan(&wanted, &Wish::default()).await.unwrap().world);
}

#[tokio::test]
async fn only_one_changes_the_fleet() {
    let bench = Bench::new();
    let held = store::open(&bench.store(), "acme", "apply", Duration::ZERO).await.unwrap();
    let error = store::open(&bench.store(), "acme", "destroy", Duration::from_millis(60)).await.unwrap_err();
    assert_eq!(error.code(), "WL0501");
    assert!(error.to_string().contains("to apply"), "{error}");
    drop(held);
    assert!(store::open(&bench.store(), "other", "apply", Duration::ZERO).await.is_ok());
}

#[tokio::test]
async fn another_fleets_state_is_refused() {
    let bench = Bench::new();
    bench.apply(&[stream("A", 1)]).await.unwrap();
    let error = store::open(&bench.store(), "other", "apply", Duration::ZERO).await.unwrap_err();
    assert_eq!(error.code(), "WL0503");
}

/// Ends at a write of the journal, before or after it, as a kill would: the future is dropped there and nothing
/// changes any more.
async fn killed_at(bench: &Bench, wanted: &[Resource], at: u64) -> bool {
    let dead = Arc::clone(&bench.platform.dead);
    let (sender, receiver) = tokio::sync::watch::channel(false);
    let probe: Probe = Arc::new(move |number| {
        if number == at {
            dead.store(true, Ordering::Relaxed);
            sender.send_replace(true);
        }
    });
    let mut killed = receiver.clone();
    let wish = Wish::default();
    tokio::select! {
        biased;
        _ = killed.wait_for(|killed| *killed) => {}
        _ = bench.apply_with(wanted, &wish, true, Some(probe)) => {}
    }
    let was_killed = *receiver.borrow();
    bench.platform.dead.store(false, Ordering::Relaxed);
    was_killed
}

#[tokio::test]
async fn a_kill_at_any_step_ends_in_the_same_place() {
    let first = [
        stream("A", 1),
        stream("GONE", 1),
        consumer("CG", "GONE"),
        stream("ANEW", 1),
        consumer("CA", "ANEW"),
    ];
    let second =
        [stream("A", 2), stream("B", 1), consumer("C", "B"), stream("ANEW", -1), consumer("CA", "ANEW")];
    let unbroken = Bench::new();
    unbroken.apply(&first).await.unwrap();
    unbroken.apply(&second).await.unwrap();
    let mut kills = 0;
    for at in 1.. {
        let bench = Bench::new();
        bench.apply(&first).await.unwrap();
        let killed = killed_at(&bench, &second, at).await;
        kills += usize::from(killed);
        bench.apply(&second).await.unwrap();
        assert_eq!(*bench.platform.things.lock(), *unbroken.platform.things.lock(), "killed at {at}");
        let resources = |bench: &Bench| bench.state().resources;
        assert_eq!(resources(&bench), resources(&unbroken), "killed at {at}");
        if !killed {
            break;
        }
    }
    assert!(kills >= 20, "{kills}");
}

#[tokio::test]
async fn what_was_begun_and_then_left_the_file_is_not_forgotten() {
    let bench = Bench::new();
    // Killed after the first step was begun and before it was confirmed: the thing itself is there.
    killed_at(&bench, &[stream("A", 1)], 2).await;
    bench.platform.things.lock().insert(Address::new(Kind::Stream, "A"), json!({ "value": 1 }));
    let plan = bench.plan(&[], &Wish::default()).await.unwrap();
    assert_eq!(plan.counts().delete, 1);
    bench.apply(&[]).await.unwrap();
    assert!(bench.platform.things.lock().is_empty());
    assert!(bench.state().resources.is_empty());
}

/// Streams, of which those below zero are made anew when they change, with a consumer and a bucket that needs it.
fn fleets() -> impl Strategy<Value = Vec<Resource>> {
    let one = (-2i64..4, prop::option::of("[a-c]"), prop::option::of(0i64..2));
    prop::collection::btree_map("[A-F]", one, 0..6).prop_map(|streams| {
        let mut all = Vec::new();
        for (name, (value, reader, bucket)) in streams {
            let reader = reader.map(|reader| consumer(&format!("{name}/{reader}"), &name));
            if let Some(value) = bucket {
                let needs = reader.as_ref().map(|reader| reader.address.clone());
                let address = Address::new(Kind::Kv, name.as_str());
                all.push(Resource::new(address, "memory", json!({ "value": value })).after(needs));
            }
            all.extend(reader);
            all.push(stream(&name, value));
        }
        all
    })
}

/// A plan without a platform that does anything: `one` is recorded and found, `other` is wanted.
fn planned(one: &[Resource], other: &[Resource], destroy: bool) -> Plan {
    let platform = Memory::default();
    let platforms = BTreeMap::from([("memory".to_owned(), &platform as &dyn Platform)]);
    let mut state = State::new("acme", "l".into());
    for resource in one {
        let recorded = Recorded {
            platform: resource.platform.clone(),
            body: resource.body.clone(),
            depends_on: resource.depends_on.clone(),
            uncertain: false,
        };
        state.resources.insert(resource.address.clone(), recorded);
    }
    let found: Vec<Found> = one
        .iter()
        .map(|resource| Found {
            address: resource.address.clone(),
            body: resource.body.clone(),
            data: Data::default(),
            trouble: None,
            unseen: false,
        })
        .collect();
    make(other, &state, &found, &platforms, &Wish { destroy, ..Wish::default() }).unwrap()
}

proptest! {
    #[test]
    fn what_is_there_is_not_planned(fleet in fleets()) {
        let plan = planned(&fleet, &fleet, false);
        prop_assert!(plan.is_settled());
        prop_assert_eq!(plan.unchanged, fleet.len());
    }

    #[test]
    fn a_plan_is_in_an_order_in_which_it_can_be_done(one in fleets(), other in fleets(), destroy in any::<bool>()) {
        let plan = planned(&one, &other, destroy);
        prop_assert_eq!(&plan, &planned(&one, &other, destroy), "the same world, another plan");
        let place: BTreeMap<&Address, usize> =
            plan.actions.iter().enumerate().map(|(at, action)| (&action.address, at)).collect();
        prop_assert_eq!(place.len(), plan.actions.len(), "one action each");
        let what = |address: &Address| place.get(address).map(|at| plan.actions[*at].what);
        for (at, action) in plan.actions.iter().enumerate() {
            for need in &action.after {
                prop_assert!(place.get(need).is_some_and(|before| *before < at), "{} after {}", action.address, need);
            }
        }
        let deletions = plan.actions.iter().take_while(|action| action.what == Do::Delete).count();
        prop_assert!(plan.actions[deletions..].iter().all(|action| action.what != Do::Delete), "deletions are first");
        // What is made is made after what it needs; what is deleted goes before what it needed.
        for resource in if destroy { &[] } else { &other[..] } {
            for need in &resource.depends_on {
                if let (Some(at), Some(before)) = (place.get(&resource.address), place.get(need)) {
                    prop_assert!(before < at && plan.actions[*at].after.contains(need));
                }
                let anew = resource.address.kind.is_inside(need.kind) && what(need) == Some(Do::Replace);
                let there = one.iter().any(|one| one.address == resource.address);
                prop_assert!(!(anew && there) || what(&resource.address) == Some(Do::Replace));
            }
        }
        for resource in &one {
            for need in resource.depends_on.iter().filter(|need| what(need) == Some(Do::Delete)) {
                if what(&resource.address) == Some(Do::Delete) {
                    prop_assert!(place[&resource.address] < place[need]);
                }
            }
        }
        let gone = one.iter().filter(|one| destroy || other.iter().all(|other| other.address != one.address));
        for resource in gone {
            prop_assert_eq!(what(&resource.address), Some(Do::Delete));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn from_any_fleet_to_any_other_in_one_apply(one in fleets(), other in fleets()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let bench = Bench::new();
            bench.apply(&one).await.unwrap();
            prop_assert!(bench.plan(&one, &Wish::default()).await.unwrap().is_empty());
            bench.apply(&other).await.unwrap();
            prop_assert!(bench.plan(&other, &Wish::default()).await.unwrap().is_empty());
            let wanted: BTreeMap<Address, Value> =
                other.iter().map(|one| (one.address.clone(), one.body.clone())).collect();
            prop_assert_eq!(&*bench.platform.things.lock(), &wanted);
            let destroyed = bench.apply_with(&other, &Wish { destroy: true, ..Wish::default() }, true, None).await;
            destroyed.unwrap();
            prop_assert!(bench.platform.things.lock().is_empty());
            Ok(())
        })?;
    }
}

#[test]
fn a_plan_reads_like_this() {
    let platform = Memory::default();
    let platforms = BTreeMap::from([("memory".to_owned(), &platform as &dyn Platform)]);
    let mut state = State::new("acme", "l".into());
    for name in ["B", "OLD"] {
        let recorded = Recorded {
            platform: "memory".into(),
            body: json!({ "value": 1 }),
            depends_on: BTreeSet::new(),
            uncertain: false,
        };
        state.resources.insert(Address::new(Kind::Stream, name), recorded);
    }
    let there = |name: &str, messages| Found {
        address: Address::new(Kind::Stream, name),
        body: json!({ "value": 1 }),
        data: Data { messages, bytes: 3 << 20 },
        trouble: None,
        unseen: false,
    };
    let wanted = [stream("A", 1), stream("B", 2)];
    let found = [there("B", 5), there("OLD", 1_234_567)];
    let plan = make(&wanted, &state, &found, &platforms, &Wish::default()).unwrap();
    let expected = "\
Fleet acme

  - stream.OLD  delete  loses data  the fleet file no longer has it
  + stream.A    create  it is new
  ~ stream.B    change  the fleet file has changed
      value  1 → 2

+ 1 to create   ~ 1 to change   - 1 to delete   0 as wanted
Data would be lost, so apply needs --allow-data-loss:
  stream.OLD (1,234,567 messages, 3.0 MiB)
";
    assert_eq!(render(&plan, Style::default()), expected);
    let coloured = render(&plan, Style { colour: true });
    assert!(coloured.contains("\u{1b}[32m+\u{1b}[0m"));
}
