import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { wsconnect } from "@nats-io/nats-core";
import { connect } from "@nats-io/transport-node";
import { startEdge } from "../edge.mjs";
import { directory, freePort, natsServer, start, until } from "../harness.mjs";

/** A client through the Worker, which comes back by itself unless it is told not to. */
async function clientOf(t, edge, region, options = {}) {
    const servers = `${edge.worker.url.replace("http", "ws")}/nats/${region}`;
    const client = await wsconnect({
        servers,
        authenticator: edge.authenticator,
        maxReconnectAttempts: -1,
        reconnectTimeWait: 100,
        ignoreClusterUpdates: true,
        timeout: 10_000,
        ...options,
    });
    t.after(() => client.close());
    return client;
}

async function nodesOf(edge, region) {
    const response = await edge.worker.api("/status");
    return (await response.json()).regions[region].nodes;
}

async function command(edge, path) {
    const response = await edge.worker.api(`/nodes/${path}`, { method: "POST" });
    return { status: response.status, ...(await response.json()) };
}

/** Whether a message goes from one client to the other and an answer back. */
async function talk(one, other, subject) {
    const subscription = other.subscribe(subject, {
        callback: (_, message) => message.respond(message.data),
    });
    await other.flush();
    await until(
        `an answer on ${subject}`,
        async () => (await one.request(subject, "hello", { timeout: 500 })).string() === "hello",
    );
    subscription.unsubscribe();
}

test("clients and a leaf node meet through the Worker, and the hub is there, too", async (t) => {
    const edge = await startEdge(t, { containers: true });
    const client = await clientOf(t, edge, "weur");
    assert.equal(client.info.server_name, "acme-edge-weur-0");
    const atHub = await edge.client();
    t.after(() => atHub.close());
    await talk(client, atHub, "from.edge.to.hub");
    await talk(atHub, client, "from.hub.to.edge");

    const home = directory();
    t.after(() => home.remove());
    const port = await freePort();
    writeFileSync(join(home.path, "creds"), edge.identities.creds);
    const { operatorMode } = await import("../identities.mjs");
    writeFileSync(
        join(home.path, "leaf.conf"),
        `listen: "127.0.0.1:${port}"\nserver_name: leaf\n${operatorMode(edge.identities)}
         leafnodes { reconnect: 1s, remotes: [{ url: "ws://127.0.0.1:${edge.worker.port}/leaf/weur",
           account: ${edge.identities.account}, credentials: "${home.path}/creds" }] }`,
    );
    const leaf = start(natsServer, ["-c", join(home.path, "leaf.conf")]);
    t.after(() => leaf.stop());
    const servers = `nats://127.0.0.1:${port}`;
    const atLeaf = await until("the leaf node", () =>
        connect({ servers, authenticator: edge.authenticator }),
    );
    t.after(() => atLeaf.close());
    await talk(atLeaf, atHub, "from.leaf.to.hub");
    await talk(atHub, atLeaf, "from.hub.to.leaf");

    const [node] = await nodesOf(edge, "weur");
    assert.equal(node.state, "running");
    assert.match(node.running_version, /^2\.\d+\.\d+/);
    assert.equal(node.config_hash, edge.worker.env.SETTINGS.config_hash);
    assert.deepEqual([node.connections, node.hub_connected, node.restarts], [2, true, 0]);
});

test("a server that is killed comes back, and its clients with it", async (t) => {
    const edge = await startEdge(t, { containers: true });
    const client = await clientOf(t, edge, "weur");
    for (let round = 1; round <= 3; round += 1) {
        edge.engine.server("acme-edge-weur-0").process.kill("SIGKILL");
        await until("a server again", async () => {
            const nodes = await nodesOf(edge, "weur");
            // The third time in a row the server has to wait, and the client is sent to another node meanwhile.
            const connections = nodes.reduce((sum, node) => sum + node.connections, 0);
            return nodes[0].state === "running" && nodes[0].restarts === round && connections === 1;
        });
        await client.flush();
    }
    const [node] = await nodesOf(edge, "weur");
    assert.match(node.last_error, /137/);
});

test("a node sleeps when nobody is connected, and wakes for the next one", async (t) => {
    const edge = await startEdge(t, { containers: true, more: { sleep_after_seconds: 1 } });
    for (let round = 0; round < 2; round += 1) {
        const client = await clientOf(t, edge, "enam", { reconnect: false });
        await client.flush();
        await client.close();
        await until("a node that sleeps", async () => (await nodesOf(edge, "enam"))[0].state === "asleep");
        assert.equal(edge.engine.servers().length, 0);
    }
    assert.equal(edge.engine.started.length, 2);
});

test("a region's warm minimum runs without anybody there, and goes on running", async (t) => {
    const regions = { weur: { min: 2, max: 3 } };
    const edge = await startEdge(t, { containers: true, more: { regions, sleep_after_seconds: 1 } });
    const running = async () => (await nodesOf(edge, "weur")).map((node) => node.state);
    await until("two nodes", async () => (await running()).join() === "running,running,asleep");
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    assert.deepEqual(await running(), ["running", "running", "asleep"]);
});

test("a drained node sends its clients to another one, and nothing that was acknowledged is lost", async (t) => {
    const edge = await startEdge(t, { containers: true });
    const client = await clientOf(t, edge, "weur");
    await until("the hub's connection", async () => (await nodesOf(edge, "weur"))[0].hub_connected);
    const { jetstream, jetstreamManager } = await import("@nats-io/jetstream");
    const acknowledged = new Set();
    let go = true;
    t.after(() => {
        go = false;
    });
    const publishing = (async () => {
        // The stream is the hub's; the edge has a JetStream of its own.
        const stream = jetstream(client, { domain: "hub" });
        for (let number = 0; go; number += 1) {
            const id = `message-${number}`;
            const ack = await stream
                .publish("github.a.b.push.-", id, { msgID: id, timeout: 1_000 })
                .catch(() => undefined);
            if (ack !== undefined) acknowledged.add(id);
        }
    })();
    await until("some messages", () => acknowledged.size > 20);
    const answer = await command(edge, "weur/0/drain");
    assert.deepEqual([answer.status, answer.state], [200, "draining"]);
    await until("the client at another node", () => client.info?.server_name === "acme-edge-weur-1");
    const before = acknowledged.size;
    await until("more messages", () => acknowledged.size > before + 20);
    go = false;
    await publishing;
    await until("the end of the drain", async () => (await nodesOf(edge, "weur"))[0].state === "asleep");
    const atHub = await edge.client();
    t.after(() => atHub.close());
    const { state } = await (await jetstreamManager(atHub)).streams.info("GITHUB");
    assert.ok(state.messages >= acknowledged.size);
});

test("workerd is killed: the server and its clients' new connections are found again, and a restart takes new settings", async (t) => {
    const edge = await startEdge(t, { containers: true });
    const client = await clientOf(t, edge, "weur");
    const old = edge.worker.env.SETTINGS.config_hash;
    await edge.worker.stop("SIGKILL");
    const hash = createHash("sha256").update("two").digest("hex");
    edge.worker.env.SETTINGS.config_hash = hash;
    await edge.worker.up();
    await until("the same server", async () => {
        const [node] = await nodesOf(edge, "weur");
        return node.state === "running" && node.config_hash === old && node.connections === 1;
    });
    assert.equal(edge.engine.started.length, 1);
    await client.flush();
    assert.equal((await command(edge, "weur/0/restart")).state, "draining");
    await until("the new settings", async () => {
        const [node] = await nodesOf(edge, "weur");
        return node.state === "running" && node.config_hash === hash && node.restarts === 0;
    });
    assert.equal((await command(edge, "enam/1/wake")).state, "running");
});

test("a server that does not start is told of, and is tried again", async (t) => {
    const edge = await startEdge(t, { containers: true });
    edge.engine.failing = true;
    const answer = await command(edge, "weur/0/wake");
    assert.deepEqual([answer.status, answer.state], [200, "failed"]);
    assert.ok(answer.last_error);
    edge.engine.failing = false;
    await until("a server", async () => (await nodesOf(edge, "weur"))[0].state === "running");
    const client = await clientOf(t, edge, "weur");
    await client.flush();
});
