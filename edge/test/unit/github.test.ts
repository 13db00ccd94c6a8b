import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";
import { BUCKET, digest, ticket } from "../../src/github/claim_check.ts";
import { makeEvent } from "../../src/github/event.ts";
import { appendHeaders, KEPT, parseEncoding } from "../../src/github/headers.ts";
import { Malformed, Reader } from "../../src/github/json.ts";
import { readNames } from "../../src/github/payload.ts";
import { MAX_BODY, receive } from "../../src/github/receive.ts";
import { REFUSALS, Refusal } from "../../src/github/refusal.ts";
import { importKeys, parseSignature, secretsOf, verify } from "../../src/github/signature.ts";
import { orderOf, subject } from "../../src/github/subject.ts";
import { describe, descriptionSubject, isSame, PIECE, pieces } from "../../src/outbox/object.ts";
import { vectors } from "./vectors.ts";

const encoder = new TextEncoder();

/** The code of the refusal that a call ends with, or what it gives. */
async function outcome<T>(call: () => T | Promise<T>): Promise<T | string> {
    try {
        return await call();
    } catch (error) {
        if (error instanceof Refusal) return error.code;
        throw error;
    }
}

interface SubjectCase {
    case: string;
    event: string;
    payload?: unknown;
    text?: string;
    subject?: string;
    code?: string;
}

test("subjects", async () => {
    const { cases } = vectors<SubjectCase>("subjects.json");
    assert.ok(cases.length >= 40);
    for (const each of cases) {
        const body = encoder.encode(each.text ?? JSON.stringify(each.payload));
        const found = await outcome(() => subject("github", each.event, readNames(body)));
        assert.equal(found, each.subject ?? each.code, each.case);
    }
});

interface SignatureCase {
    case: string;
    secrets: string[];
    body: string;
    header: string | null;
    accept: boolean;
    code?: string;
}

test("signatures", async () => {
    const { cases } = vectors<SignatureCase>("signatures.json");
    assert.ok(cases.length >= 30);
    for (const each of cases) {
        const body = new Uint8Array(Buffer.from(each.body, "base64"));
        const found = await outcome(async () => {
            await verify(await importKeys(each.secrets), parseSignature(each.header), body);
            return "accepted";
        });
        assert.equal(found, each.accept ? "accepted" : each.code, each.case);
    }
});

interface HeaderCase {
    case: string;
    request: { headers: Record<string, string>; body: string };
    received: string;
    claim_check_bucket?: string;
    headers: Record<string, string>;
}

test("the headers of a message", async () => {
    const { cases } = vectors<HeaderCase>("headers.json");
    assert.ok(cases.length >= 20);
    for (const each of cases) {
        const head = new Headers(each.request.headers);
        const event = makeEvent(
            "github",
            {
                id: head.get("x-github-delivery") ?? "",
                event: head.get("x-github-event") ?? "",
                encoding: parseEncoding(head.get("content-type") ?? "") ?? assert.fail(each.case),
                kept: KEPT.map((name) => head.get(name) ?? undefined),
            },
            new Uint8Array(encoder.encode(each.request.body)),
            new Date(each.received),
        );
        const bucket = each.claim_check_bucket;
        const encoded =
            bucket === undefined
                ? event.headers
                : appendHeaders(event.headers, await ticket(bucket, event.delivery, event.body));
        assert.ok(encoded.startsWith("NATS/1.0\r\n") && encoded.endsWith("\r\n\r\n"), each.case);
        const lines = encoded.slice("NATS/1.0\r\n".length, -"\r\n\r\n".length).split("\r\n");
        const found = Object.fromEntries(lines.map((line) => line.split(/: (.*)/s).slice(0, 2)));
        assert.deepEqual(found, each.headers, each.case);
        assert.equal(lines.length, Object.keys(each.headers).length, `${each.case}: a header is there twice`);
    }
});

interface ErrorCase {
    case: string;
    method?: string;
    path?: string;
    headers?: Record<string, string | null>;
    body?: string | { base64: string } | { repeat: [string, number] };
    code: string;
    status: number;
}

test("what is refused, and in which order", async () => {
    const file = vectors<ErrorCase>("errors.json");
    const usual = file.request as { headers: Record<string, string>; body: string };
    const secret = file.secret ?? "";
    const receiver = { keys: await importKeys([secret]), prefix: "github", maxBody: MAX_BODY };
    // Paths and methods are the Worker's: test/workerd has those.
    const cases = file.cases.filter((each) => each.path === undefined && each.method === undefined);
    assert.ok(cases.length >= 60);
    for (const each of cases) {
        const { body: given = usual.body } = each;
        const body =
            typeof given === "string"
                ? Buffer.from(given)
                : "base64" in given
                  ? Buffer.from(given.base64, "base64")
                  : Buffer.from(given.repeat[0].repeat(given.repeat[1]));
        const head = new Headers();
        for (const [name, value] of Object.entries({ ...usual.headers, ...each.headers })) {
            const signature = `sha256=${createHmac("sha256", secret).update(body).digest("hex")}`;
            if (value !== null) head.set(name, value === "$signature" ? signature : value);
        }
        for (const announced of [true, false]) {
            if (announced) head.set("content-length", String(body.length));
            else head.delete("content-length");
            const request = new Request("http://edge/github", { method: "POST", headers: head, body });
            const found = await outcome(() => receive(request, receiver, () => new Date(0)));
            assert.equal(found, each.code, each.case);
        }
        const known = Object.values(REFUSALS).find(([code]) => code === each.code);
        assert.equal(known?.[1], each.status, each.case);
    }
});

test("JSON is taken and refused as JSON.parse does it", () => {
    const words = [
        ...'{ } [ ] , : " \\ a true nul null - 0 1 01 . e E+ 1.5e-7'.split(" "),
        " ",
        "\n",
        "\u0001",
        '"k"',
        '"k":',
        '{"a":1}',
        "é",
        "\\u00e9",
        "\\u12",
        "\\x",
    ];
    let seed = 7;
    const random = (below: number): number => {
        seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff;
        return (seed >>> 8) % below;
    };
    let accepted = 0;
    for (let round = 0; round < 60_000; round += 1) {
        let text = "";
        for (let length = random(10); length >= 0; length -= 1) text += words[random(words.length)];
        let expected = true;
        try {
            JSON.parse(text);
        } catch {
            expected = false;
        }
        let found = true;
        try {
            const reader = new Reader(encoder.encode(text));
            reader.value();
            reader.end();
        } catch (error) {
            assert.ok(error instanceof Malformed);
            found = false;
        }
        assert.equal(found, expected, JSON.stringify(text));
        if (found) accepted += 1;
    }
    assert.ok(accepted > 500, `only ${accepted} were JSON`);
});

test("bytes that make no text are no name", () => {
    const bytes = (text: string) => new Uint8Array(Buffer.from(text, "latin1"));
    assert.equal(readNames(bytes('{"action":"a\xff"}')).action, undefined);
    assert.equal(readNames(encoder.encode('{"action":"\\ud800"}')).action, undefined);
    assert.equal(readNames(encoder.encode('{"action":"\\ufeffa"}')).action, "\ufeffa");
});

test("no value can break out of its line", () => {
    const body = encoder.encode(
        '{"action":"a\\r\\nEvil: 1","repository":{"name":"r\\r/x","owner":{"login":"o\\n"}}}',
    );
    const event = makeEvent(
        "github",
        { id: "id", event: "push", encoding: "application/json", kept: [] },
        new Uint8Array(body),
        new Date(0),
    );
    assert.equal(event.headers.split("\r\n").length, 13);
    assert.ok(!event.headers.includes("\r\nEvil"));
});

test("a repository keeps its order, and so does an organization without one", () => {
    assert.equal(orderOf("github.acme.api.push.-", "github"), "acme.api");
    assert.equal(orderOf("a.b.acme.-.organization.renamed", "a.b"), "acme.-");
});

test("secrets are one a line, and an empty line is none", () => {
    assert.deepEqual(secretsOf("new\r\nold\n\n"), ["new", "old"]);
    assert.deepEqual(secretsOf(undefined), []);
});

test("a claim check's digest is the one of NATS's object stores", async () => {
    assert.equal(BUCKET, "GITHUB_PAYLOADS");
    assert.equal(
        await digest(new Uint8Array(encoder.encode("{}"))),
        "SHA-256=RBNvo1WzZ4oRRq0W9-hknpT7T8If536DEMBg9hyq_4o=",
    );
});

test("an object in a bucket is written as NATS's object stores are", async () => {
    const body = new Uint8Array(PIECE + 1);
    assert.deepEqual(
        [...pieces(body)].map((piece) => piece.length),
        [PIECE, 1],
    );
    assert.equal(descriptionSubject("B", "guid?>"), "$O.B.M.Z3VpZD8-");
    const text = await describe("B", "guid", "ID", body, new Date(0));
    const { chunks, size, digest: found } = JSON.parse(text) as Record<string, unknown>;
    assert.deepEqual([chunks, size, found], [2, PIECE + 1, await digest(body)]);
    assert.ok(await isSame(encoder.encode(text), body));
    assert.ok(!(await isSame(encoder.encode(text), new Uint8Array(1))));
    assert.ok(!(await isSame(encoder.encode(text.replace('"deleted":false', '"deleted":true')), body)));
    assert.ok(!(await isSame(encoder.encode("no JSON"), body)));
});
