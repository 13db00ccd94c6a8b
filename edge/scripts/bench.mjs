// Measures the Worker in workerd, beside what it is compared with, in one run: webhooks a second and their times;
// connections through the Worker and straight to the same server; cold starts of a node. `--quick` shows that
// everything works; its numbers mean nothing.

import { execFileSync } from "node:child_process";
import { createHmac, randomUUID } from "node:crypto";
import { connect as dial } from "node:net";
import { fileURLToPath } from "node:url";

const self = fileURLToPath(import.meta.url);
const say = (line) => process.stdout.write(`${line}\n`);

/** The value below which a share of the others lies. */
function quantile(values, share) {
    values.sort((a, b) => a - b);
    return values[Math.min(values.length - 1, Math.floor(values.length * share))];
}

/** Sends signed webhooks of 7 KB over connections that are kept alive; runs in a process of its own. */
async function load(port, count, connections, repositories, secret) {
    const requests = Array.from({ length: count }, (_, number) => {
        const repository = { name: `repository-${number % repositories}`, owner: { login: "acme" } };
        const labels = Array.from({ length: 66 }, (_, id) => ({ id, name: "x".repeat(70), color: null }));
        const body = JSON.stringify({ action: "labeled", number, labels, repository });
        const signature = createHmac("sha256", secret).update(body).digest("hex");
        const head = [
            "POST /github HTTP/1.1",
            "Host: edge",
            "Content-Type: application/json",
            "X-GitHub-Event: issues",
            `X-GitHub-Delivery: ${randomUUID()}`,
            `X-Hub-Signature-256: sha256=${signature}`,
            `Content-Length: ${Buffer.byteLength(body)}`,
        ];
        return Buffer.from(`${head.join("\r\n")}\r\n\r\n${body}`);
    });
    let next = 0;
    const times = [];
    const statuses = {};
    const began = performance.now();
    const lane = () =>
        new Promise((resolve, reject) => {
            const socket = dial(port, "127.0.0.1");
            socket.setNoDelay(true);
            let sent = 0;
            let answer = "";
            const send = () => {
                if (next >= count) {
                    socket.end();
                    resolve();
                    return;
                }
                answer = "";
                sent = performance.now();
                socket.write(requests[next]);
                next += 1;
            };
            socket.on("connect", send);
            socket.on("error", reject);
            socket.on("data", (data) => {
                answer += data.toString("latin1");
                const end = answer.indexOf("\r\n\r\n");
                const length = /content-length: (\d+)/i.exec(answer)?.[1];
                if (end < 0 || length === undefined || answer.length < end + 4 + Number(length)) return;
                times.push(performance.now() - sent);
                const status = answer.slice(9, 12);
                statuses[status] = (statuses[status] ?? 0) + 1;
                send();
            });
        });
    await Promise.all(Array.from({ length: connections }, lane));
    const rate = (count / (performance.now() - began)) * 1_000;
    return {
        rate,
        p50: quantile(times, 0.5),
        p99: quantile(times, 0.99),
        statuses,
        bytes: requests[0].length,
    };
}

if (process.argv[2] === "load") {
    const [port, count, connections, repositories] = process.argv.slice(3, 7).map(Number);
    say(JSON.stringify(await load(port, count, connections, repositories, process.argv[7])));
    process.exit();
}

// Node 20 has no WebSocket unless it is asked for it.
if (globalThis.WebSocket === undefined) {
    execFileSync(
        process.execPath,
        ["--experimental-websocket", "--no-warnings", self, ...process.argv.slice(2)],
        {
            stdio: "inherit",
        },
    );
    process.exit();
}

const { startEdge } = await import("../test/edge.mjs");
const { SECRET } = await import("../test/harness.mjs");
const { wsconnect } = await import("@nats-io/nats-core");
const quick = process.argv.includes("--quick");
const rounds = quick ? 1 : 3;
const endings = [];
const edge = await startEdge(
    { after: (end) => endings.unshift(end) },
    { containers: true, more: { regions: { weur: { min: 0, max: 9 } } } },
);
try {
    say(
        "webhooks: 32 connections, 50 repositories; each acknowledged by JetStream on the hub before its answer",
    );
    for (let round = 0; round < rounds; round += 1) {
        const options = ["load", edge.worker.port, quick ? 500 : 20_000, 32, 50, SECRET].map(String);
        const { rate, p50, p99, statuses, bytes } = JSON.parse(
            execFileSync(process.execPath, [self, ...options]),
        );
        say(
            `  ${rate.toFixed(0)}/s of ${bytes} bytes, p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms, ${JSON.stringify(statuses)}`,
        );
    }

    const starts = [];
    for (let number = 0; number < (quick ? 2 : 8); number += 1) {
        const began = performance.now();
        const response = await edge.worker.api(`/nodes/weur/${number}/wake`, { method: "POST" });
        const { state } = await response.json();
        if (state !== "running") throw new Error(`a node is ${state}`);
        starts.push(performance.now() - began);
    }
    say(
        `cold start, from the request to the server's first answer: ${starts.map((time) => time.toFixed(0)).join(", ")} ms`,
    );

    const enter = (servers) => wsconnect({ servers, authenticator: edge.authenticator, reconnect: false });
    const through = await enter(`${edge.worker.url.replace("http", "ws")}/nats/weur`);
    const { address } = edge.engine.server(through.info.server_name);
    const [direct, responder] = [await enter(`ws://${address}:8080`), await enter(`ws://${address}:8080`)];
    responder.subscribe("echo", { callback: (_, message) => message.respond(message.data) });
    await responder.flush();
    say("connections: the same server, straight to its WebSocket and through the Worker");
    const payload = new Uint8Array(1_024);
    for (let round = 0; round < rounds; round += 1) {
        const found = [];
        for (const client of [direct, through]) {
            const times = [];
            for (let index = 0; index < (quick ? 200 : 3_000); index += 1) {
                const began = performance.now();
                await client.request("echo", "x");
                times.push(performance.now() - began);
            }
            const count = quick ? 2_000 : 100_000;
            const began = performance.now();
            for (let index = 1; index <= count; index += 1) {
                client.publish("away", payload);
                if (index % 500 === 0) await client.flush();
            }
            await client.flush();
            found.push({ p50: quantile(times, 0.5), rate: (count / (performance.now() - began)) * 1_000 });
        }
        const [one, other] = found;
        say(
            `  request and reply p50 ${one.p50.toFixed(3)} and ${other.p50.toFixed(3)} ms (+${(other.p50 - one.p50).toFixed(3)}); ` +
                `1 KiB published ${one.rate.toFixed(0)} and ${other.rate.toFixed(0)}/s (${((100 * other.rate) / one.rate).toFixed(0)} %)`,
        );
    }
} finally {
    for (const end of endings) await end();
}
process.exit();
