import assert from "node:assert/strict";
import { test } from "node:test";
import { backoff } from "../../src/backoff.ts";
import { assign, decide, pick, type Seen, TARGET } from "../../src/fleet/decide.ts";
import { differs } from "../../src/fleet/routing.ts";
import { environment } from "../../src/node/environment.ts";
import {
    drainStep,
    ended,
    LONGEST_DRAIN,
    type Memory,
    maySleep,
    newMemory,
} from "../../src/node/lifecycle.ts";
import { readVitals } from "../../src/node/monitoring.ts";
import { SHARDS, shardOf } from "../../src/outbox/shards.ts";
import { routeOf } from "../../src/routes.ts";
import type { Settings } from "../../src/settings.ts";

const seen = (number: number, state: Seen["state"], connections = 0): Seen => ({
    number,
    state,
    connections,
});

test("a region has its minimum, grows when it is full and shrinks when that lasts", () => {
    const region = { min: 1, max: 3 };
    assert.deepEqual(decide(region, [], false), { wake: [0], drain: [], low: false });
    assert.deepEqual(decide({ min: 0, max: 3 }, [], false), { wake: [], drain: [], low: false });
    assert.deepEqual(decide(region, [seen(0, "running", TARGET)], false), {
        wake: [1],
        drain: [],
        low: false,
    });
    assert.deepEqual(decide(region, [seen(0, "running", 9 * TARGET)], false), {
        wake: [1, 2],
        drain: [],
        low: false,
    });
    const two = [seen(0, "running", 100), seen(1, "running", 10)];
    assert.deepEqual(decide(region, two, false), { wake: [], drain: [], low: true });
    assert.deepEqual(decide(region, two, true), { wake: [], drain: [1], low: true });
    assert.deepEqual(decide({ min: 2, max: 3 }, two, true), { wake: [], drain: [], low: false });
});

test("nodes that the settings allow no more are drained", () => {
    const nodes = [seen(0, "running", 1), seen(1, "running", 1), seen(2, "running", 1)];
    assert.deepEqual(decide({ min: 0, max: 1 }, nodes, false).drain, [2, 1]);
    assert.deepEqual(decide({ min: 0, max: 0 }, nodes, false).drain, [2, 1, 0]);
});

test("what is drained or failed is not woken; another one is", () => {
    const nodes = [seen(0, "draining"), seen(1, "failed")];
    assert.deepEqual(decide({ min: 1, max: 3 }, nodes, false).wake, [2]);
    assert.equal(assign({ min: 0, max: 3 }, nodes, undefined), 2);
    assert.equal(assign({ min: 0, max: 2 }, nodes, undefined), 1, "one that failed may be well again");
    assert.equal(assign({ min: 0, max: 1 }, nodes, undefined), undefined);
});

test("a connection goes to the least loaded, to another one when all are full, and not where it was refused", () => {
    const region = { min: 0, max: 2 };
    assert.equal(assign(region, [], undefined), 0);
    assert.equal(assign(region, [seen(0, "running", 9), seen(1, "running", 3)], undefined), 1);
    assert.equal(assign(region, [seen(0, "running", TARGET)], undefined), 1);
    assert.equal(assign(region, [seen(0, "running"), seen(1, "running", 3)], 0), 1);
    assert.equal(assign({ min: 0, max: 1 }, [seen(0, "running", TARGET)], undefined), 0);
    assert.equal(assign({ min: 0, max: 1 }, [seen(0, "running")], 0), undefined);
});

test("routers spread connections without asking anybody", () => {
    assert.equal(pick([], Math.random), undefined);
    const draws = [0.1, 0.9];
    assert.equal(
        pick([seen(4, "running", 10), seen(7, "running", 5)], () => draws.shift() ?? 0),
        7,
    );
});

test("the table is written when it says something new", () => {
    const table = (...nodes: Seen[]) => ({ regions: { weur: nodes } });
    assert.ok(differs(undefined, table()));
    assert.ok(!differs(table(seen(0, "running", 5)), table(seen(0, "running", 20))));
    assert.ok(differs(table(seen(0, "running", 5)), table(seen(0, "running", 50))));
    assert.ok(differs(table(seen(0, "running")), table(seen(1, "running"))));
    assert.ok(differs(table(seen(0, "running")), table()));
});

const running: Memory = { ...newMemory("weur", 0), phase: "running", startedAt: 1_000, activeAt: 1_000 };

test("a server that ended is started again: at once, then with growing pauses, and not when nobody needs it", () => {
    const first = ended(running, "boom", 5_000, true, 0);
    assert.deepEqual([first.start, first.memory.phase, first.memory.failures], ["now", "failed", 1]);
    let memory: Memory = { ...first.memory, phase: "starting", startedAt: 5_000 };
    const pauses: number[] = [];
    for (let round = 0; round < 9; round += 1) {
        const next = ended(memory, "boom", 10_000, true, 0);
        assert.equal(next.start, "later");
        pauses.push((next.memory.retryAt ?? 0) - 10_000);
        memory = { ...next.memory, phase: "starting", startedAt: 10_000 };
    }
    assert.deepEqual(pauses, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
    const well = ended({ ...memory, phase: "running", startedAt: 0 }, "boom", 60_000, true, 0);
    assert.deepEqual([well.start, well.memory.failures], ["now", 1]);
    assert.deepEqual(ended(running, "boom", 5_000, false, 0).start, "no");
});

test("one that was drained stays away or comes back, as it was asked", () => {
    const drained = (next: "sleep" | "start"): Memory => ({
        ...running,
        phase: "draining",
        drain: { since: 0, next, escalated: 0 },
    });
    assert.equal(ended(drained("sleep"), "ended", 9, true, 0).start, "no");
    const again = ended(drained("start"), "ended", 9, true, 0);
    assert.deepEqual([again.start, again.memory.phase, again.memory.restarts], ["now", "asleep", 0]);
});

test("a drain that lasts is helped along, then ended", () => {
    const drain = { since: 0, next: "sleep", escalated: 0 } as const;
    const memory: Memory = { ...running, phase: "draining", drain };
    assert.equal(drainStep(memory, 1_000), "wait");
    assert.equal(drainStep(memory, LONGEST_DRAIN + 1), "terminate");
    assert.equal(drainStep({ ...memory, drain: { ...drain, escalated: 1 } }, LONGEST_DRAIN + 2), "wait");
    assert.equal(drainStep(memory, LONGEST_DRAIN + 30_001), "kill");
    assert.ok(LONGEST_DRAIN + 30_001 < 15 * 60_000, "the platform kills after 15 minutes");
});

test("a node sleeps when nobody was there for a while, unless it is to stay warm", () => {
    assert.ok(maySleep(running, false, 300, 1_300));
    assert.ok(!maySleep(running, false, 300, 1_299));
    assert.ok(!maySleep(running, true, 300, 9_999));
    assert.ok(!maySleep({ ...running, phase: "draining" }, false, 300, 9_999));
});

test("the hub's connection is not counted as somebody who is there", () => {
    const leafs = [{ is_spoke: true }, { is_spoke: false }, {}];
    assert.deepEqual(readVitals({ version: "2.15.1", connections: 3 }, { leafs }), {
        version: "2.15.1",
        connections: 5,
        hub: true,
    });
    assert.equal(readVitals({ version: "2.15.1", connections: 0 }, {}).hub, false);
    assert.throws(() => readVitals({}, {}));
});

test("a node's environment is what its server's configuration asks for", () => {
    const settings = {
        fleet: "acme",
        cluster: "edge",
        domain: "edge",
        hub: {
            leaf_url: "wss://a/leafnode, wss://b/leafnode",
            websocket_url: "",
            jetstream_domain: "hub",
            ca: "",
        },
        node: {
            operator: "op.jwt",
            system_account: "ASYS",
            accounts: { ASYS: "s.jwt", AGIT: "g.jwt" },
            account: "AGIT",
            max_file: 1,
            max_memory: 2,
            max_payload: 3,
        },
    } as unknown as Settings;
    assert.deepEqual(environment(settings, { region: "weur", number: 2 }, "-----BEGIN…\n"), {
        NODE_NAME: '"acme-edge-weur-2"',
        DOMAIN: '"edge"',
        OPERATOR: '"op.jwt"',
        SYSTEM_ACCOUNT: '"ASYS"',
        ACCOUNTS: '{ASYS: "s.jwt", AGIT: "g.jwt"}',
        HUB_REMOTES:
            '[{urls: ["wss://a/leafnode", "wss://b/leafnode"], account: "AGIT", credentials: "/proc/self/environ"}]',
        HUB_CREDS: "\n-----BEGIN…\n",
        HUB_CA: "",
        MAX_FILE: "1",
        MAX_MEMORY: "2",
        MAX_PAYLOAD: "3",
    });
});

test("paths are taken exactly", () => {
    assert.deepEqual(routeOf("/nats/weur"), { to: "clients", region: "weur" });
    assert.deepEqual(routeOf("/leaf/weur/leafnode"), { to: "leaves", region: "weur" });
    assert.deepEqual(routeOf("/api/status"), { to: "api", path: "/status" });
    for (const path of [
        "/",
        "//github",
        "/github/",
        "/GitHub",
        "/nats",
        "/nats/",
        "/nats/weur/",
        "/nats/WEUR",
        "/nats/we%75r",
        "/leaf/weur",
        "/leaf/weur/",
        "/leaf/weur/leafnode/",
        "/leaf//leafnode",
        "/api",
        "/Api/status",
        "/health/",
    ]) {
        assert.equal(routeOf(path).to, "nothing", path);
    }
});

test("pauses grow, are bounded, and differ a little", () => {
    assert.deepEqual(
        [0, 1, 2, 9, 99].map((attempt) => backoff(attempt, 250, 10_000, 0)),
        [250, 500, 1_000, 10_000, 10_000],
    );
    assert.equal(backoff(0, 400, 10_000, 1), 300);
});

test("repositories are spread over all objects", () => {
    const counts = new Map<number, number>();
    for (let index = 0; index < 4_000; index += 1) {
        const shard = shardOf(`acme.repository-${index}`);
        counts.set(shard, (counts.get(shard) ?? 0) + 1);
    }
    assert.equal(counts.size, SHARDS);
    for (const count of counts.values()) assert.ok(count > 4_000 / SHARDS / 2, `${count}`);
});
