// /api/*: what the controller and an operator ask for. Everything here needs the fleet's token, or comes through
// Cloudflare Access.

import { answer, EdgeError } from "../errors.ts";
import { fleetStub } from "../fleet/fleet.ts";
import type { Outbox, OutboxStatus } from "../outbox/outbox.ts";
import { SHARDS, shardName } from "../outbox/shards.ts";
import { type Env, regionOf, type Settings, settingsOf } from "../settings.ts";
import { HEADER, type JsonWebKeyWithId, Keys, verifyAccess } from "./access.ts";
import { FLAGS, MAX_BODY, parseFlags } from "./flags.ts";
import { bearerOf, sameToken } from "./token.ts";

const NODE_COMMAND = /^\/nodes\/([a-z0-9-]{1,32})\/(0|[1-9][0-9]{0,3})\/(restart|drain|wake)$/;

let keys: Keys | undefined;

/** Answers a request under /api; `path` is what follows that. */
export async function answerApi(request: Request, env: Env, path: string): Promise<Response> {
    // Before anything else, so that nothing shows what is there.
    if (!(await mayEnter(request, env))) {
        return answer("unauthorized", "no token, or not the right one");
    }
    const settings = settingsOf(env);
    const { method } = request;
    if (path === "/status" && method === "GET") return json(await status(env, settings));
    if (path === "/flags" && method === "GET")
        return json((await env.ROUTES.get(FLAGS, { type: "json" })) ?? {});
    if (path === "/flags" && method === "PUT") {
        const flags = parseFlags(await readText(request));
        await env.ROUTES.put(FLAGS, JSON.stringify(flags));
        return json(flags);
    }
    if (path === "/outbox/drain" && method === "POST") {
        return json(sum(await Promise.all(outboxes(env).map((outbox) => outbox.drain()))));
    }
    const [, region, number, command] = (method === "POST" ? NODE_COMMAND.exec(path) : null) ?? [];
    if (region !== undefined && number !== undefined) {
        const limits = regionOf(settings, region);
        if (limits === undefined) throw new EdgeError("noRegion", "the fleet has no such region");
        if (Number(number) >= limits.max && command !== "drain") {
            throw new EdgeError("notFound", `the region has no node ${number}: its max is ${limits.max}`);
        }
        const identity = { region, number: Number(number) };
        return json(await fleetStub(env).command(identity, command as "restart" | "drain" | "wake"));
    }
    throw new EdgeError("notFound", "the API has no such path, or not with this method");
}

async function mayEnter(request: Request, env: Env): Promise<boolean> {
    const bearer = bearerOf(request.headers.get("authorization"));
    if (bearer !== undefined && (await sameToken(bearer, env.API_TOKEN))) return true;
    const { access } = settingsOf(env);
    if (access === undefined) return false;
    keys ??= new Keys(access, fetchKeys);
    return verifyAccess(request.headers.get(HEADER), access, keys, Date.now());
}

async function fetchKeys(url: string): Promise<JsonWebKeyWithId[]> {
    const response = await fetch(url, { signal: AbortSignal.timeout(5_000), redirect: "manual" });
    if (!response.ok) throw new Error(`the team's keys: ${response.status}`);
    return (await response.json<{ keys: JsonWebKeyWithId[] }>()).keys;
}

async function status(env: Env, settings: Settings): Promise<unknown> {
    const [regions, ...outbox] = await Promise.all([
        fleetStub(env).status(),
        ...(settings.github === undefined ? [] : outboxes(env).map((object) => object.status())),
    ]);
    return {
        version: env.VERSION?.id ?? null,
        config_hash: settings.config_hash,
        regions,
        outbox: sum(outbox),
    };
}

function outboxes(env: Env): DurableObjectStub<Outbox>[] {
    return Array.from({ length: SHARDS }, (_, shard) =>
        env.OUTBOX.get(env.OUTBOX.idFromName(shardName(shard))),
    );
}

function sum(all: readonly OutboxStatus[]): OutboxStatus {
    const total: OutboxStatus = { events: 0, bytes: 0, oldest_ms: 0, delivered: 0, last_error: null };
    for (const one of all) {
        total.events += one.events;
        total.bytes += one.bytes;
        total.oldest_ms = Math.max(total.oldest_ms, one.oldest_ms);
        total.delivered += one.delivered;
        total.last_error ??= one.last_error;
    }
    return total;
}

async function readText(request: Request): Promise<string> {
    if (Number(request.headers.get("content-length") ?? 0) > MAX_BODY) throw tooLarge();
    if (request.body === null) return "";
    let text = "";
    let length = 0;
    const decoder = new TextDecoder();
    const reader = request.body.getReader();
    for (;;) {
        const { done, value } = await reader.read();
        if (done) return text + decoder.decode();
        length += value.length;
        if (length > MAX_BODY) {
            await reader.cancel();
            throw tooLarge();
        }
        text += decoder.decode(value, { stream: true });
    }
}

function tooLarge(): EdgeError {
    return new EdgeError("tooLarge", "the body is larger than 64 KiB");
}

function json(value: unknown): Response {
    return Response.json(value, { headers: { "Cache-Control": "no-store" } });
}
