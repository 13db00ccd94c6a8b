// Requests to /github: what is a delivery, in the order in which docs/events.md has it checked. The body is read only
// when everything that can be known before it is right.

import { within } from "../time.ts";
import { type Event, makeEvent } from "./event.ts";
import { KEPT, parseEncoding } from "./headers.ts";
import { Refusal } from "./refusal.ts";
import { parseSignature, verify } from "./signature.ts";

/** GitHub's own limit for a payload: 25 MiB. */
export const MAX_BODY = 26_214_400;

/** How long a body may take to arrive: GitHub waits 10 seconds for the answer. */
const BODY_PATIENCE = 5_000;

const EVENT = /^[A-Za-z0-9_-]{1,64}$/;
const DELIVERY = /^[A-Za-z0-9._-]{1,128}$/;

/** What the receiver is set up with. */
export interface Receiver {
    keys: readonly CryptoKey[];
    prefix: string;
    maxBody: number;
}

/** Reads and verifies a delivery; throws a `Refusal` when it is not to be taken. */
export async function receive(request: Request, receiver: Receiver, now: () => Date): Promise<Event> {
    const head = request.headers;
    const encoding = parseEncoding(head.get("content-type") ?? "");
    if (encoding === undefined) throw new Refusal("contentType");
    const event = head.get("x-github-event")?.trim() ?? "";
    if (!EVENT.test(event)) throw new Refusal("event");
    const id = head.get("x-github-delivery")?.trim() ?? "";
    if (!DELIVERY.test(id)) throw new Refusal("delivery");
    const signature = parseSignature(head.get("x-hub-signature-256"));
    const announced = head.get("content-length");
    if (announced !== null && Number(announced) > receiver.maxBody) throw new Refusal("tooLarge");
    const body = await read(request, announced, receiver.maxBody);
    await verify(receiver.keys, signature, body);
    const kept = KEPT.map((name) => head.get(name)?.trim());
    return makeEvent(receiver.prefix, { id, event, encoding, kept }, body, now());
}

async function read(
    request: Request,
    announced: string | null,
    limit: number,
): Promise<Uint8Array<ArrayBuffer>> {
    if (request.body === null) return new Uint8Array(0);
    // An announced length binds the sender; without one the body is counted as it comes.
    const whole = announced === null ? readCounting(request.body, limit) : request.arrayBuffer().then(bytes);
    try {
        return await within(BODY_PATIENCE, whole, () => new Refusal("bodyTimeout"));
    } catch (error) {
        if (error instanceof Refusal) throw error;
        // The client has gone; nobody reads the answer.
        throw new Refusal("bodyTimeout");
    }
}

function bytes(buffer: ArrayBuffer): Uint8Array<ArrayBuffer> {
    return new Uint8Array(buffer);
}

async function readCounting(
    body: ReadableStream<Uint8Array>,
    limit: number,
): Promise<Uint8Array<ArrayBuffer>> {
    const parts: Uint8Array[] = [];
    let length = 0;
    const reader = body.getReader();
    for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        length += value.length;
        if (length > limit) {
            await reader.cancel();
            throw new Refusal("tooLarge");
        }
        parts.push(value);
    }
    const whole = new Uint8Array(length);
    let at = 0;
    for (const part of parts) {
        whole.set(part, at);
        at += part.length;
    }
    return whole;
}
