// From a request to /github to its answer: received here, made durable by the Outbox that the repository belongs to.

import { answer } from "../errors.ts";
import { log } from "../log.ts";
import type { Kept } from "../outbox/outbox.ts";
import { SHARDS, shardName, shardOf } from "../outbox/shards.ts";
import { type Env, settingsOf } from "../settings.ts";
import type { Event } from "./event.ts";
import { MAX_BODY, type Receiver, receive } from "./receive.ts";
import { Refusal, refuse } from "./refusal.ts";
import { importKeys, secretsOf } from "./signature.ts";

/** What does not change while an isolate lives. */
interface Prepared {
    receiver: Receiver;
    shards: DurableObjectId[];
}

let prepared: Prepared | undefined;

/** Answers POST /github. */
export async function answerDelivery(request: Request, env: Env): Promise<Response> {
    const settings = settingsOf(env);
    if (settings.github === undefined) {
        return answer("noReceiver", "this fleet does not receive GitHub's events at the edge");
    }
    if (request.method !== "POST") return refuse("methodNotAllowed", "POST");
    try {
        prepared ??= await prepare(env);
        const event = await receive(request, prepared.receiver, () => new Date());
        const shard = prepared.shards[shardOf(event.order)];
        if (shard === undefined) throw new Error("no such shard");
        return accept(event.delivery, await hand(env, shard, event));
    } catch (error) {
        if (error instanceof Refusal) return refuse(error.reason);
        log("an event was not kept", { reason: String(error) });
        return refuse("notStored");
    }
}

async function prepare(env: Env): Promise<Prepared> {
    const { github } = settingsOf(env);
    const keys = await importKeys(secretsOf(env.WEBHOOK_SECRET));
    const maxBody = Math.min(github?.max_body || MAX_BODY, MAX_BODY);
    return {
        receiver: { keys, prefix: github?.subject_prefix ?? "github", maxBody },
        shards: Array.from({ length: SHARDS }, (_, shard) => env.OUTBOX.idFromName(shardName(shard))),
    };
}

async function hand(env: Env, shard: DurableObjectId, event: Event): Promise<Kept> {
    try {
        return await env.OUTBOX.get(shard).take(event);
    } catch (error) {
        // The object may have been moved or restarted under the call. To hand it over twice is the same as once.
        if (error instanceof Error && "retryable" in error && error.retryable === true) {
            return await env.OUTBOX.get(shard).take(event);
        }
        throw error;
    }
}

function accept(delivery: string, kept: Kept): Response {
    switch (kept.status) {
        case "stored":
            return Response.json({
                status: "stored",
                delivery,
                stream: kept.stream,
                sequence: kept.sequence,
                duplicate: kept.duplicate,
            });
        case "spooled":
            return Response.json({ status: "spooled", delivery }, { status: 202 });
        case "full":
            return refuse("notStored");
        case "overloaded":
            return refuse("overloaded");
    }
}
