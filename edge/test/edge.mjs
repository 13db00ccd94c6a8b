// The whole edge for a test: a hub in operator mode with the stream, the store, and the Worker in workerd.

import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { credsAuthenticator } from "@nats-io/nats-core";
import { Objm } from "@nats-io/obj";
import { connect } from "@nats-io/transport-node";
import { startEngine } from "./engine.mjs";
import { API_TOKEN, freePort, SECRET, settings, startHub, startWorker } from "./harness.mjs";
import { makeIdentities, operatorMode } from "./identities.mjs";
import { startStore } from "./store.mjs";

const encoder = new TextEncoder();

/** Starts it; `containers` brings the engine along. Everything ends with the test. */
export async function startEdge(t, { containers = false, more = {}, bucket = true } = {}) {
    const identities = await makeIdentities();
    const leaves = await freePort();
    const extra = `${operatorMode(identities)}leafnodes { host: "127.0.0.1", port: ${leaves} }\n`;
    const hub = await startHub({ extra });
    t.after(() => hub.remove());
    const store = await startStore();
    t.after(() => store.stop());
    const engine = containers ? await startEngine() : undefined;
    const authenticator = credsAuthenticator(encoder.encode(identities.creds));
    const client = () =>
        connect({ servers: hub.url, authenticator, maxReconnectAttempts: -1, reconnectTimeWait: 50 });
    const first = await client();
    const manager = await jetstreamManager(first);
    const nanos = 1_000_000_000;
    await manager.streams.add({
        name: "GITHUB",
        subjects: ["github.>"],
        duplicate_window: 3 * 86_400 * nanos,
    });
    if (bucket) await new Objm(first).create("GITHUB_PAYLOADS");
    await first.close();
    const node = {
        operator: identities.operator,
        system_account: identities.systemAccount,
        accounts: identities.accounts,
        account: identities.account,
        max_file: 1_000_000_000,
        max_memory: 100_000_000,
        max_payload: 1_048_576,
        nats_version: "2.15.1",
    };
    const worker = await startWorker({
        store,
        engine,
        env: {
            SETTINGS: { ...settings(hub), node, ...more },
            WEBHOOK_SECRET: `${SECRET}\nthe secret before\n`,
            API_TOKEN,
            HUB_CREDS: identities.receiver,
            LEAF_CREDS: identities.creds,
        },
    });
    // The Worker goes before its containers, so that nothing is started again meanwhile.
    t.after(async () => {
        await worker.remove();
        await engine?.stop();
    });
    return { hub, store, engine, worker, identities, client, authenticator };
}

/** Everything in the stream, oldest first. */
export async function messages(edge) {
    const nats = await edge.client();
    try {
        const manager = await jetstreamManager(nats);
        const { state } = await manager.streams.info("GITHUB");
        if (state.messages === 0) return [];
        await manager.consumers.add("GITHUB", { name: "tests", ack_policy: "none", mem_storage: true });
        const consumer = await jetstream(nats).consumers.get("GITHUB", "tests");
        const found = [];
        while (found.length < state.messages) {
            const batch = await consumer.fetch({ max_messages: 500, expires: 5_000 });
            const before = found.length;
            for await (const message of batch) {
                found.push({
                    subject: message.subject,
                    header: (name) => message.headers?.get(name),
                    body: Buffer.from(message.data),
                });
                if (found.length === state.messages) break;
            }
            if (found.length === before) break;
        }
        await manager.consumers.delete("GITHUB", "tests");
        return found;
    } finally {
        await nats.close();
    }
}

/** The Outbox as the API shows it. */
export async function outbox(edge) {
    const response = await edge.worker.api("/status");
    return (await response.json()).outbox;
}
