// Nothing is reachable without credentials: every route with everything that somebody may try.

import assert from "node:assert/strict";
import { createSign, generateKeyPairSync, randomBytes } from "node:crypto";
import { createServer } from "node:http";
import { connect as dial } from "node:net";
import { test } from "node:test";
import { credsAuthenticator, wsconnect } from "@nats-io/nats-core";
import { messages, outbox, startEdge } from "../edge.mjs";
import { API_TOKEN, delivery, post, send, until } from "../harness.mjs";

/** Sends bytes as they are; gives the status of the answer, 0 for none. */
function raw(port, text) {
    return new Promise((resolve) => {
        let said = "";
        const socket = dial(port, "127.0.0.1", () => socket.write(text));
        const end = () => {
            clearTimeout(late);
            socket.destroy();
            resolve(Number(/^HTTP\/1\.1 (\d+)/.exec(said)?.[1] ?? 0));
        };
        const late = setTimeout(end, 10_000);
        socket.on("data", (data) => {
            said += data;
            if (said.includes("\r\n")) end();
        });
        socket.on("error", end);
        socket.on("close", end);
    });
}

const team = generateKeyPairSync("rsa", { modulusLength: 2048 });
const stranger = generateKeyPairSync("rsa", { modulusLength: 2048 });

function assertion(claims, key = team.privateKey, head = { alg: "RS256", kid: "k" }) {
    const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const signed = `${part(head)}.${part(claims)}`;
    return `${signed}.${createSign("RSA-SHA256").update(signed).sign(key, "base64url")}`;
}

const API = [
    ["GET", "/status"],
    ["GET", "/flags"],
    ["PUT", "/flags"],
    ["POST", "/outbox/drain"],
    ["POST", "/nodes/weur/0/wake"],
    ["POST", "/nodes/weur/0/drain"],
    ["POST", "/nodes/weur/0/restart"],
    ["GET", "/nothing"],
    ["GET", "/"],
];

test("every route, with everything but the right credentials", async (t) => {
    const server = createServer((_, response) => {
        const jwk = { ...team.publicKey.export({ format: "jwk" }), kid: "k" };
        response.end(JSON.stringify({ keys: [jwk] }));
    });
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    t.after(() => server.close());
    const issuer = `http://127.0.0.1:${server.address().port}`;
    const access = { team_domain: issuer, audience: "edge" };
    const edge = await startEdge(t, { containers: true, more: { access } });
    const { url, port } = edge.worker;
    const now = Math.floor(Date.now() / 1_000);
    const claims = { aud: ["edge"], iss: issuer, exp: now + 60, iat: now };

    const wrong = {
        "no token": {},
        "an empty token": { Authorization: "Bearer " },
        "a wrong token": { Authorization: `Bearer ${API_TOKEN.slice(0, -1)}x` },
        "a token that only begins alike": { Authorization: `Bearer ${API_TOKEN.slice(0, -1)}` },
        "a token that goes on": { Authorization: `Bearer ${API_TOKEN}x` },
        "another scheme": { Authorization: `Basic ${Buffer.from(`x:${API_TOKEN}`).toString("base64")}` },
        "the token as a cookie": { Cookie: `CF_Authorization=${API_TOKEN}` },
        "an expired assertion": { "Cf-Access-Jwt-Assertion": assertion({ ...claims, exp: now - 1 }) },
        "an assertion of a stranger": { "Cf-Access-Jwt-Assertion": assertion(claims, stranger.privateKey) },
        "an assertion for another application": {
            "Cf-Access-Jwt-Assertion": assertion({ ...claims, aud: ["x"] }),
        },
        "an assertion of another team": {
            "Cf-Access-Jwt-Assertion": assertion({ ...claims, iss: "https://x" }),
        },
        "an unsigned assertion": {
            "Cf-Access-Jwt-Assertion": `${assertion(claims, team.privateKey, { alg: "none" }).split(".").slice(0, 2).join(".")}.`,
        },
    };
    for (const [method, path] of API) {
        for (const [name, headers] of Object.entries(wrong)) {
            const answer = await send(`${url}/api${path}`, {
                method,
                headers,
                body: method === "PUT" ? "{}" : "",
            });
            assert.equal(answer.status, 401, `${method} ${path}: ${name}`);
            assert.equal(JSON.parse(answer.text).error.code, "WL1001");
        }
        const query = await send(`${url}/api${path}?token=${API_TOKEN}&access_token=${API_TOKEN}`, {
            method,
        });
        assert.equal(query.status, 401, `${method} ${path}: a token in the query`);
    }
    // The same with the right ones, so that the table above is not true by accident.
    for (const headers of [
        { Authorization: `Bearer ${API_TOKEN}` },
        { "Cf-Access-Jwt-Assertion": assertion(claims) },
    ]) {
        assert.equal((await send(`${url}/api/status`, { headers })).status, 200);
        assert.equal((await send(`${url}/api/nothing`, { headers })).status, 404);
    }
    const api = { Authorization: `Bearer ${API_TOKEN}` };
    const large = await send(`${url}/api/flags`, {
        method: "PUT",
        headers: { ...api, "Content-Length": 65_537 },
    });
    assert.deepEqual([large.status, JSON.parse(large.text).error.code], [413, "WL1008"]);
    const body = `{"a":"${"x".repeat(70_000)}"}`;
    const chunked = await send(`${url}/api/flags`, {
        method: "PUT",
        headers: { ...api, "Transfer-Encoding": "chunked" },
        body,
    });
    assert.equal(chunked.status, 413);
    assert.equal((await send(`${url}/api/flags`, { method: "PUT", headers: api, body: "[]" })).status, 400);
    for (const path of [
        "/nodes/mars/0/wake",
        "/nodes/weur/9/wake",
        "/nodes/weur/00/wake",
        "/nodes/weur/0/kill",
        "/nodes/constructor/0/wake",
    ]) {
        assert.equal((await send(`${url}/api${path}`, { method: "POST", headers: api })).status, 404, path);
    }

    // Paths that only look like something else.
    for (const path of [
        "/api/status/../status",
        "/github/../api/status",
        "/nats/../api/status",
        "/%61pi/status",
        "//api/status",
        "/api//status",
        "/API/status",
        "/api\\status",
        "/api/status%00",
        "/./api/status",
        "/health/../api/flags",
    ]) {
        const status = await raw(port, `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
        assert.ok([400, 401, 404].includes(status), `${path}: ${status}`);
    }
    for (const path of ["/../github", "/github;x", "/github%2f", "/github/.", "/nats/weur/../../github"]) {
        const status = await raw(port, `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}`);
        assert.ok([400, 401, 404, 415].includes(status), `${path}: ${status}`);
    }

    // Deliveries that nobody who knows the secret has signed: tests/vectors has the rest.
    for (const secret of ["", "x", API_TOKEN]) {
        const answer = await post(edge.worker, delivery("{}", { secret }));
        assert.deepEqual([answer.status, answer.code], [401, "WL0305"]);
    }
    const one = delivery("{}");
    assert.equal((await post(edge.worker, { ...one, body: Buffer.from("{ }") })).code, "WL0305");
    assert.equal((await messages(edge)).length, 0);
    assert.deepEqual([(await outbox(edge)).events, (await outbox(edge)).delivered], [0, 0]);

    // Connections: what is no upgrade, or a broken one, or leads nowhere, starts no server.
    const key = randomBytes(16).toString("base64");
    const upgrade = `Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n`;
    const get = (path, head) => raw(port, `GET ${path} HTTP/1.1\r\nHost: x\r\n${head}\r\n`);
    for (const path of ["/nats/weur", "/leaf/weur/leafnode"]) {
        assert.equal(await get(path, ""), 426, path);
        assert.equal(await get(path, "Upgrade: h2c\r\nConnection: Upgrade\r\n"), 426, path);
        assert.equal(
            (await raw(port, `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n${upgrade}\r\n`)) >=
                400,
            true,
            path,
        );
    }
    for (const path of [
        "/nats/mars",
        "/nats/",
        "/nats/weur/",
        "/nats/weur/x",
        "/leaf/weur",
        "/leaf/mars/leafnode",
        "/nats/__proto__",
        "/nats/constructor",
        "/nats/weur%2f..",
        "/leaf/weur/leafnode/x",
    ]) {
        assert.equal(await get(path, upgrade), 404, path);
    }
    assert.equal(edge.engine.started.length, 0, "nothing of this has started a server");
    for (const head of [
        "Upgrade: websocket\r\nConnection: Upgrade\r\n",
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n",
        `Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 1\r\nSec-WebSocket-Key: ${key}\r\n`,
    ]) {
        const status = await get("/nats/weur", head);
        assert.ok(status >= 400 && status < 600, `${head}: ${status}`);
    }

    // A right upgrade reaches the server, and there nobody gets in without the operator's credentials.
    const servers = `${url.replace("http", "ws")}/nats/weur`;
    const enter = (creds) =>
        wsconnect({
            servers,
            reconnect: false,
            timeout: 10_000,
            ...(creds ? { authenticator: credsAuthenticator(new TextEncoder().encode(creds)) } : {}),
        });
    const { expired, foreign, creds } = edge.identities;
    for (const [name, given] of Object.entries({ none: undefined, expired, foreign })) {
        await assert.rejects(enter(given), /Authorization|expired/i, name);
    }
    const inside = await enter(creds);
    await inside.flush();
    await inside.close();

    // Where everybody may look, nothing is to be seen.
    const health = await send(`${url}/health`);
    assert.deepEqual([health.status, JSON.parse(health.text)], [200, { status: "ok" }]);
    await until("no trace of a secret in the log", () => true);
    const log = edge.worker.process.said();
    for (const secret of [API_TOKEN, creds, creds.split("\n")[1]]) assert.ok(!log.includes(secret));
});

test("without a webhook's secret, an API token or settings, nothing is open", async (t) => {
    const edge = await startEdge(t);
    const { worker } = edge;
    await worker.stop("SIGKILL");
    for (const name of ["WEBHOOK_SECRET", "API_TOKEN"]) worker.env[name] = "";
    await worker.up();
    for (const secret of ["", "\n", "undefined"]) {
        assert.equal((await post(worker, delivery("{}", { secret }))).code, "WL0305");
    }
    for (const headers of [{}, { Authorization: "Bearer " }, { Authorization: "Bearer undefined" }]) {
        assert.equal((await send(`${worker.url}/api/status`, { headers })).status, 401);
    }
    await worker.stop("SIGKILL");
    worker.env.WEBHOOK_SECRET = undefined;
    worker.env.API_TOKEN = undefined;
    worker.env.SETTINGS.github = undefined;
    await worker.up();
    const answer = await send(`${worker.url}/github`, { method: "POST", body: "{}" });
    assert.deepEqual([answer.status, JSON.parse(answer.text).error.code], [404, "WL1010"]);
    assert.equal((await send(`${worker.url}/api/status`)).status, 401);
});
