import assert from "node:assert/strict";
import { createSign, generateKeyPairSync } from "node:crypto";
import { test } from "node:test";
import { type JsonWebKeyWithId, Keys, verifyAccess } from "../../src/api/access.ts";
import { parseFlags } from "../../src/api/flags.ts";
import { bearerOf, sameToken } from "../../src/api/token.ts";
import { EdgeError } from "../../src/errors.ts";

const access = { team_domain: "acme.cloudflareaccess.com", audience: "the-application" };
const issuer = "https://acme.cloudflareaccess.com";
const now = Date.parse("2026-06-01T00:00:00Z");
const seconds = now / 1_000;
const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
const jwk = { ...publicKey.export({ format: "jwk" }), kid: "k1" } as JsonWebKeyWithId;
const usual = {
    aud: ["the-application"],
    iss: issuer,
    exp: seconds + 60,
    iat: seconds - 60,
    nbf: seconds - 60,
};

function part(value: unknown): string {
    return Buffer.from(JSON.stringify(value)).toString("base64url");
}

function token(claims: object, head: object = { alg: "RS256", kid: "k1", typ: "JWT" }): string {
    const signed = `${part(head)}.${part(claims)}`;
    return `${signed}.${createSign("RSA-SHA256").update(signed).sign(privateKey, "base64url")}`;
}

function keys(): { keys: Keys; fetched: string[] } {
    const fetched: string[] = [];
    const get = async (url: string): Promise<JsonWebKeyWithId[]> => {
        fetched.push(url);
        return [jwk];
    };
    return { keys: new Keys(access, get), fetched };
}

test("a token of the team for this application is let in, and the keys are fetched once", async () => {
    const team = keys();
    for (const aud of [["other", "the-application"], "the-application"]) {
        assert.ok(await verifyAccess(token({ ...usual, aud }), access, team.keys, now));
    }
    assert.deepEqual(team.fetched, [`${issuer}/cdn-cgi/access/certs`]);
});

test("no other token is", async () => {
    const good = token(usual);
    const [head, claims, signature] = good.split(".") as [string, string, string];
    const cases: Record<string, string | null> = {
        "no token": null,
        "an empty one": "",
        "no JWT": "x.y.z",
        "four parts": `${good}.x`,
        expired: token({ ...usual, exp: seconds }),
        "without an end": token({ ...usual, exp: undefined }),
        "an end that is no number": token({ ...usual, exp: "9999999999" }),
        "from the future": token({ ...usual, nbf: seconds + 120 }),
        "issued in the future": token({ ...usual, iat: seconds + 120 }),
        "for another application": token({ ...usual, aud: ["other"] }),
        "for none": token({ ...usual, aud: undefined }),
        "of another team": token({ ...usual, iss: "https://evil.cloudflareaccess.com" }),
        "of no team": token({ ...usual, iss: undefined }),
        "of an unknown key": token(usual, { alg: "RS256", kid: "k2" }),
        "without a key": token(usual, { alg: "RS256" }),
        "of another algorithm": token(usual, { alg: "HS256", kid: "k1" }),
        "of no algorithm": `${part({ alg: "none", kid: "k1" })}.${claims}.`,
        "without its signature": `${head}.${claims}.`,
        "with another's claims": `${head}.${part({ ...usual, exp: seconds + 9_999 })}.${signature}`,
        "with a changed signature": `${head}.${claims}.${signature.startsWith("A") ? "B" : "A"}${signature.slice(1)}`,
        "with signs that are none": `${head}.${claims}.${signature}=`,
    };
    for (const [name, value] of Object.entries(cases)) {
        assert.equal(await verifyAccess(value, access, keys().keys, now), false, name);
    }
    assert.equal(await verifyAccess(good, undefined, undefined, now), false, "where Access is not set up");
    assert.equal(
        await verifyAccess(good, { ...access, audience: "" }, keys().keys, now),
        false,
        "no audience",
    );
});

test("unknown keys make the team be asked once a minute at most", async () => {
    const team = keys();
    for (let index = 0; index < 20; index += 1) {
        await verifyAccess(token(usual, { alg: "RS256", kid: `x${index}` }), access, team.keys, now + index);
    }
    assert.equal(team.fetched.length, 1);
    await verifyAccess(token(usual, { alg: "RS256", kid: "x" }), access, team.keys, now + 61_000);
    assert.equal(team.fetched.length, 2);
});

test("bearer tokens", async () => {
    assert.equal(bearerOf("Bearer abc"), "abc");
    for (const header of [null, "", "abc", "Basic abc", "Bearer", "Bearer a b"])
        assert.equal(bearerOf(header), undefined);
    assert.ok(await sameToken("abc", "abc"));
    for (const [given, expected] of [
        ["abc", "abd"],
        ["abc", "abcd"],
        ["", ""],
        ["", undefined],
        ["abc", undefined],
        ["abc", ""],
    ] as const) {
        assert.equal(await sameToken(given, expected), false);
    }
});

test("flags are one object of names", () => {
    assert.deepEqual(parseFlags('{"edge_receiver":{"percent":10}}'), { edge_receiver: { percent: 10 } });
    for (const text of ["", "[]", "null", "1", '{"A":1}', '{"":1}', '{"a-b":1}', "{"]) {
        assert.throws(() => parseFlags(text), EdgeError, text);
    }
});
