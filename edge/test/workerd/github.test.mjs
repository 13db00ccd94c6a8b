import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Objm } from "@nats-io/obj";
import { messages, outbox, startEdge } from "../edge.mjs";
import { delivery, post, root, SECRET, send, until, examples as webhookExamples } from "../harness.mjs";

const vectors = JSON.parse(readFileSync(join(root, "..", "tests", "vectors", "errors.json"), "utf8"));

test("everything that is refused is refused as the receiver does it, and nothing of it is kept", async (t) => {
    const edge = await startEdge(t);
    // These paths are the self-hosted receiver's own.
    const cases = vectors.cases.filter(({ path }) => !["/healthz", "/readyz", "/metrics"].includes(path));
    assert.ok(cases.length >= 85, `${cases.length}`);
    for (const each of cases) {
        const given = each.body ?? vectors.request.body;
        const body =
            typeof given === "string"
                ? Buffer.from(given)
                : "base64" in given
                  ? Buffer.from(given.base64, "base64")
                  : Buffer.from(given.repeat[0].repeat(given.repeat[1]));
        const signature = `sha256=${createHmac("sha256", vectors.secret).update(body).digest("hex")}`;
        const method = each.method ?? "POST";
        const headers = method === "GET" ? {} : { "Content-Length": body.length };
        for (const [name, value] of Object.entries({ ...vectors.request.headers, ...each.headers })) {
            if (value !== null) headers[name] = value === "$signature" ? signature : value;
        }
        const response = await send(`${edge.worker.url}${each.path ?? "/github"}`, {
            method,
            headers,
            // What is refused by its head is answered before the body comes.
            body:
                method === "GET" ||
                (body.length > 20_000_000 && each.code !== "WL0305" && each.code !== "WL0308")
                    ? undefined
                    : body,
        });
        const answer = JSON.parse(response.text);
        assert.deepEqual([response.status, answer.code], [each.status, each.code], each.case);
        assert.ok(answer.message && answer.help, each.case);
        if (each.allow) assert.equal(response.headers.allow, each.allow.join(", "), each.case);
    }
    const wrong = await fetch(`${edge.worker.url}/health`, { method: "POST" });
    assert.deepEqual([wrong.status, wrong.headers.get("allow")], [405, "GET, HEAD"]);
    assert.equal((await messages(edge)).length, 0);
    assert.equal((await outbox(edge)).events, 0);
});

test("every example payload of GitHub's is in the stream exactly once, byte for byte", async (t) => {
    assert.ok(webhookExamples, "tools/fetch test-data, or WINDLASS_WEBHOOK_EXAMPLES");
    const edge = await startEdge(t);
    const sent = new Map();
    for (const { name, examples } of JSON.parse(readFileSync(webhookExamples, "utf8"))) {
        for (const example of examples) {
            const one = delivery(JSON.stringify(example), { event: name });
            sent.set(one.id, one);
        }
    }
    assert.ok(sent.size >= 300, `${sent.size}`);
    for (const one of sent.values()) {
        assert.equal((await post(edge.worker, one)).status, 200);
        const again = await post(edge.worker, one);
        assert.deepEqual([again.status, again.duplicate], [200, true]);
    }
    const found = await messages(edge);
    assert.equal(found.length, sent.size);
    for (const message of found) {
        const one = sent.get(message.header("Nats-Msg-Id"));
        assert.ok(message.body.equals(one.body));
        assert.equal(message.header("ce-id"), one.id);
        assert.equal(message.subject.split(".").length, 5);
    }
});

test("either secret is taken while one is rotated", async (t) => {
    const edge = await startEdge(t);
    for (const secret of [SECRET, "the secret before"]) {
        assert.equal((await post(edge.worker, delivery("{}", { secret }))).status, 200);
    }
    assert.equal(
        (await post(edge.worker, delivery("{}", { secret: `${SECRET}\nthe secret before` }))).code,
        "WL0305",
    );
});

test("a large payload is in the object bucket, and in R2 while the hub is away", async (t) => {
    const edge = await startEdge(t);
    const large = (size) => delivery(JSON.stringify({ repository: { name: "big" }, text: "x".repeat(size) }));
    const direct = large(3_000_000);
    assert.equal((await post(edge.worker, direct)).status, 200);
    const again = await post(edge.worker, direct);
    assert.deepEqual([again.status, again.duplicate], [200, true]);
    await edge.hub.stop("SIGKILL");
    const waiting = [large(2_500_000), delivery('{"repository":{"name":"big"}}')];
    for (const one of waiting) assert.equal((await post(edge.worker, one)).status, 202);
    assert.equal(edge.store.objects.size, 1);
    await edge.hub.up();
    await until("an empty Outbox", async () => (await outbox(edge)).events === 0);
    assert.equal(edge.store.objects.size, 0);
    const found = await messages(edge);
    const sent = [direct, ...waiting];
    assert.deepEqual(
        found.map((message) => message.header("Nats-Msg-Id")),
        sent.map((one) => one.id),
    );
    const nats = await edge.client();
    const bucket = await new Objm(nats).open("GITHUB_PAYLOADS");
    for (const [index, one] of [direct, waiting[0]].entries()) {
        assert.equal(found[index].body.length, 0);
        assert.equal(found[index].header("ce-dataref"), `nats-object://GITHUB_PAYLOADS/${one.id}`);
        assert.ok(Buffer.from(await bucket.getBlob(one.id)).equals(one.body));
    }
    await nats.close();
});

test("the largest payload that GitHub sends", async (t) => {
    const edge = await startEdge(t);
    const head = '{"repository":{"name":"big"},"text":"';
    const one = delivery(`${head}${"x".repeat(26_214_400 - head.length - 2)}"}`);
    assert.equal(one.body.length, 26_214_400);
    assert.ok([200, 202].includes((await post(edge.worker, one)).status));
    await until("the event", async () => (await messages(edge)).length === 1);
    const nats = await edge.client();
    const bucket = await new Objm(nats).open("GITHUB_PAYLOADS");
    assert.ok(Buffer.from(await bucket.getBlob(one.id)).equals(one.body));
    await nats.close();
});
