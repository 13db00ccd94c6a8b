import assert from "node:assert/strict";
import { test } from "node:test";
import { messages, outbox, startEdge } from "../edge.mjs";
import { delivery, post, until } from "../harness.mjs";

const LONG = process.env.WINDLASS_LONG !== undefined;

/** Delivers to several repositories, each one's events one after the other, until it is told to stop. */
function load(t, worker, repositories, pause) {
    const accepted = new Map();
    const refused = [];
    let go = true;
    t.after(() => {
        go = false;
    });
    const lanes = Array.from({ length: repositories }, async (_, lane) => {
        const name = `repository-${lane}`;
        accepted.set(name, []);
        for (let number = 0; go; number += 1) {
            const one = delivery(
                JSON.stringify({
                    number,
                    repository: { name, owner: { login: "acme" } },
                    text: "x".repeat(6_900),
                }),
            );
            const answer = await post(worker, one).catch((error) => ({ status: 0, error }));
            if (answer.status === 200 || answer.status === 202) accepted.get(name).push(one.id);
            else refused.push(answer);
            if (pause > 0) await new Promise((resolve) => setTimeout(resolve, pause));
        }
    });
    return {
        accepted,
        refused,
        count: () => [...accepted.values()].reduce((sum, ids) => sum + ids.length, 0),
        async stop() {
            go = false;
            await Promise.all(lanes);
        },
    };
}

async function assertAllInOrder(edge, accepted) {
    await until("an empty Outbox", async () => (await outbox(edge)).events === 0, 60_000);
    const found = new Map([...accepted.keys()].map((name) => [name, []]));
    for (const message of await messages(edge)) {
        found.get(message.subject.split(".")[2]).push(message.header("Nats-Msg-Id"));
    }
    for (const [name, ids] of accepted) {
        // What got no 2xx may be there, too: nobody promised anything about it.
        const known = new Set(ids);
        assert.deepEqual(
            found.get(name).filter((id) => known.has(id)),
            ids,
            name,
        );
        assert.equal(
            new Set(found.get(name)).size,
            found.get(name).length,
            `${name}: something is there twice`,
        );
    }
}

test("the hub is away under load: all that got a 2xx arrives, in order, once", async (t) => {
    const edge = await startEdge(t);
    const running = load(t, edge.worker, 16, 2);
    await until("some events", () => running.count() > 200);
    await edge.hub.stop("SIGKILL");
    const before = running.count();
    await new Promise((resolve) => setTimeout(resolve, LONG ? 30_000 : 3_000));
    assert.ok(running.count() > before + 200, "events are taken while the hub is away");
    assert.ok((await outbox(edge)).events > 100);
    await edge.hub.up();
    const after = running.count();
    await until("more events", () => running.count() > after + 200);
    await running.stop();
    assert.deepEqual(running.refused, []);
    await assertAllInOrder(edge, running.accepted);
});

test("the hub is stopped and started several times under load", async (t) => {
    const edge = await startEdge(t);
    const running = load(t, edge.worker, 8, 1);
    for (let round = 0; round < (LONG ? 10 : 3); round += 1) {
        const count = running.count();
        await until("some events", () => running.count() > count + 100);
        await edge.hub.stop(round % 2 ? "SIGKILL" : "SIGTERM");
        await new Promise((resolve) => setTimeout(resolve, 200 * round));
        await edge.hub.up();
    }
    await running.stop();
    assert.deepEqual(running.refused, []);
    await assertAllInOrder(edge, running.accepted);
});

test("workerd is killed with events in the Outbox: none is lost", async (t) => {
    const edge = await startEdge(t);
    await edge.hub.stop("SIGKILL");
    const running = load(t, edge.worker, 8, 0);
    await until("many events", () => running.count() > 400);
    await edge.worker.stop("SIGKILL");
    await running.stop();
    await edge.worker.up();
    await edge.hub.up();
    await assertAllInOrder(edge, running.accepted);
});

test("what waits goes to the stream by the alarm alone, after workerd was killed", async (t) => {
    const edge = await startEdge(t);
    await edge.hub.stop("SIGKILL");
    const one = delivery("{}");
    assert.equal((await post(edge.worker, one)).status, 202);
    await edge.worker.stop("SIGKILL");
    await edge.hub.up();
    await edge.worker.up();
    const found = await until("the event", async () => {
        const all = await messages(edge);
        return all.length > 0 ? all : undefined;
    });
    assert.equal(found[0].header("Nats-Msg-Id"), one.id);
});

test("the Outbox is bounded, and says so with 503", async (t) => {
    const edge = await startEdge(t, { more: { outbox: { max_events: 40, max_bytes: 1_073_741_824 } } });
    await edge.hub.stop("SIGKILL");
    const statuses = [];
    for (let index = 0; index < 30; index += 1) {
        const answer = await post(edge.worker, delivery('{"repository":{"name":"one"}}'));
        statuses.push(answer.status);
        if (answer.status === 503) assert.equal(answer.code, "WL0311");
    }
    assert.equal(statuses.filter((status) => status === 202).length, 10);
    assert.equal(statuses.filter((status) => status === 503).length, 20);
    await edge.hub.up();
    await until("an empty Outbox", async () => (await outbox(edge)).events === 0);
    assert.equal((await messages(edge)).length, 10);
    assert.equal((await post(edge.worker, delivery('{"repository":{"name":"one"}}'))).status, 200);
});

test("a delivery that comes again while it waits is kept once", async (t) => {
    const edge = await startEdge(t);
    await edge.hub.stop("SIGKILL");
    const one = delivery("{}");
    for (let index = 0; index < 3; index += 1) assert.equal((await post(edge.worker, one)).status, 202);
    assert.equal((await outbox(edge)).events, 1);
    await edge.hub.up();
    const drained = await (await edge.worker.api("/outbox/drain", { method: "POST" })).json();
    assert.equal(drained.events, 0);
    const answer = await post(edge.worker, one);
    assert.deepEqual([answer.status, answer.duplicate], [200, true]);
});

test("a stream that takes nothing stops its events only until it does", async (t) => {
    const edge = await startEdge(t);
    const nats = await edge.client();
    const { jetstreamManager } = await import("@nats-io/jetstream");
    const manager = await jetstreamManager(nats);
    await manager.streams.update("GITHUB", { subjects: ["github.acme.>"] });
    const stranger = delivery('{"repository":{"name":"one","owner":{"login":"stranger"}}}');
    assert.equal((await post(edge.worker, stranger)).status, 202);
    const known = delivery('{"repository":{"name":"one","owner":{"login":"acme"}}}');
    assert.equal((await post(edge.worker, known)).status, 200);
    assert.match((await outbox(edge)).last_error, /no stream takes the subject/);
    await manager.streams.update("GITHUB", { subjects: ["github.>"] });
    await nats.close();
    await until("an empty Outbox", async () => (await outbox(edge)).events === 0);
    assert.equal((await messages(edge)).length, 2);
});

test("a hub that hangs is not waited for twice", async (t) => {
    const edge = await startEdge(t);
    const one = (name) => delivery(JSON.stringify({ repository: { name, owner: { login: "acme" } } }));
    const first = one("one");
    assert.equal((await post(edge.worker, first)).status, 200);
    process.kill(edge.hub.process.pid, "SIGSTOP");
    const sent = [first];
    for (let index = 0; index < 20; index += 1) {
        const next = one("one");
        sent.push(next);
        assert.equal((await post(edge.worker, next)).status, 202);
    }
    process.kill(edge.hub.process.pid, "SIGCONT");
    await until("an empty Outbox", async () => (await outbox(edge)).events === 0);
    assert.deepEqual(
        (await messages(edge)).map((message) => message.header("Nats-Msg-Id")),
        sent.map((each) => each.id),
    );
});

test("neither the hub nor R2 takes a large event: 503, and nothing is kept", async (t) => {
    const edge = await startEdge(t);
    await edge.hub.stop("SIGKILL");
    edge.store.failing = true;
    const large = delivery(JSON.stringify({ text: "x".repeat(2_000_000) }));
    const refused = await post(edge.worker, large);
    assert.deepEqual([refused.status, refused.code], [503, "WL0311"]);
    assert.equal((await outbox(edge)).events, 0);
    edge.store.failing = false;
    await edge.hub.up();
    await until("the way to the hub", async () => (await post(edge.worker, delivery("{}"))).status === 200);
    assert.equal((await post(edge.worker, large)).status, 200);
});
