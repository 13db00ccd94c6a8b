// The connection to JetStream on the hub. A publish is a request whose answer is the acknowledgement; it is given up
// at once when the connection is lost, and after a while when no answer comes. In both cases nobody knows whether the
// event was stored, and that is fine: it is handed over again under the same `Nats-Msg-Id`.
//
// A connection is never repaired. One that was lost, or that let a publish time out, is closed, and the next publish
// opens another: so no client buffers what was given up here and stored meanwhile, and order is what was sent.

import {
    credsAuthenticator,
    Empty,
    type Msg,
    type MsgHdrs,
    type NatsConnection,
    nuid,
    wsconnect,
} from "@nats-io/nats-core";
import { type ObjectStore, Objm } from "@nats-io/obj";
import { BUCKET, digest, HEADER_ROOM, ticket } from "../github/claim_check.ts";
import type { Event } from "../github/event.ts";
import { appendHeaders } from "../github/headers.ts";
import { every, within } from "../time.ts";

/** What JetStream said. */
export interface Stored {
    stream: string;
    sequence: number;
    duplicate: boolean;
}

/** Nobody can say that the event is stored. */
export class Unavailable extends Error {}

/** How to reach JetStream. */
export interface Options {
    url: string;
    creds: string | undefined;
    /** Payloads of more bytes than this go into the object bucket. */
    inlineLimit: number;
}

const CONNECT_PATIENCE = 2_500;
const SWEEP = 100;
const PIECE = 128 * 1024;

interface Waiting {
    deadline: number;
    resolve: (stored: Stored) => void;
    reject: (error: Unavailable) => void;
}

interface Outgoing {
    token: string;
    subject: string;
    headers: string;
    body: Uint8Array;
}

const encoder = new TextEncoder();

/** Headers that are encoded already; the client asks for nothing but their bytes. */
class Encoded {
    readonly #text: string;

    constructor(text: string) {
        this.#text = text;
    }

    encode(): Uint8Array {
        return encoder.encode(this.#text);
    }
}

/** A connection that works, or worked. */
class Link {
    readonly nats: NatsConnection;
    readonly #inbox = `_INBOX.${nuid.next()}`;
    readonly #waiting = new Map<string, Waiting>();
    /** What leaves with the next frame, in the order in which it came. */
    #outgoing: Outgoing[] = [];
    #number = 0;
    #endSweeping: (() => void) | undefined;
    #bucket: Promise<ObjectStore> | undefined;
    closed = false;
    /** It was closed because an acknowledgement did not come in time. */
    late = false;

    readonly #ended: (link: Link) => void;

    constructor(nats: NatsConnection, ended: (link: Link) => void) {
        this.nats = nats;
        this.#ended = ended;
        nats.subscribe(`${this.#inbox}.*`, { callback: (error, message) => this.#answer(error, message) });
        void nats.closed().then(() => {
            this.#fail("NATS is not connected");
        });
    }

    close(): void {
        this.#fail("NATS is not connected");
        void this.nats.close().catch(() => undefined);
    }

    request(subject: string, headers: string, body: Uint8Array, deadline: number): Promise<Stored> {
        return new Promise((resolve, reject) => {
            if (this.closed) {
                reject(new Unavailable("NATS is not connected"));
                return;
            }
            this.#number += 1;
            const token = String(this.#number);
            const alone = this.#waiting.size === 0;
            this.#waiting.set(token, { deadline, resolve, reject });
            // One timer for all: a timer for each publish costs more than the publish.
            this.#endSweeping ??= every(SWEEP, () => this.#sweep());
            this.#outgoing.push({ token, subject, headers, body });
            // Under load, what arrives at about the same time leaves in one frame: that is a fifth of the whole cost.
            if (alone) this.#send();
            else if (this.#outgoing.length === 1) setTimeout(() => this.#send(), 0);
        });
    }

    #send(): void {
        const outgoing = this.#outgoing;
        this.#outgoing = [];
        for (const { token, subject, headers, body } of outgoing) {
            const waiting = this.#waiting.get(token);
            // It was given up meanwhile, and is in the storage.
            if (waiting === undefined) continue;
            try {
                this.nats.publish(subject, body, {
                    reply: `${this.#inbox}.${token}`,
                    headers: new Encoded(headers) as unknown as MsgHdrs,
                });
            } catch (error) {
                this.#waiting.delete(token);
                waiting.reject(new Unavailable(String(error)));
            }
        }
    }

    /** Puts a payload into the object bucket, unless the same bytes are there already. */
    async deposit(event: Event): Promise<void> {
        this.#bucket ??= new Objm(this.nats).open(BUCKET);
        let bucket: ObjectStore;
        try {
            bucket = await this.#bucket;
        } catch (error) {
            this.#bucket = undefined;
            throw error;
        }
        const found = await bucket.info(event.delivery);
        if (found !== null && !found.deleted && found.digest === (await digest(event.body))) return;
        await bucket.put({ name: event.delivery }, pieces(event.body));
    }

    #answer(error: Error | null, message: Msg): void {
        if (error !== null) {
            this.close();
            return;
        }
        const token = message.subject.slice(this.#inbox.length + 1);
        const waiting = this.#waiting.get(token);
        if (waiting === undefined) return;
        this.#waiting.delete(token);
        try {
            waiting.resolve(parseAnswer(message));
        } catch (reason) {
            waiting.reject(reason instanceof Unavailable ? reason : new Unavailable(String(reason)));
        }
    }

    #sweep(): void {
        const now = Date.now();
        let late = false;
        for (const waiting of this.#waiting.values()) late ||= waiting.deadline <= now;
        if (late) {
            // What answers no more is not waited for by what comes next.
            this.late = true;
            this.#fail("JetStream did not acknowledge in time");
            this.close();
        } else if (this.#waiting.size === 0) {
            this.#rest();
        }
    }

    #rest(): void {
        this.#endSweeping?.();
        this.#endSweeping = undefined;
    }

    #fail(reason: string): void {
        this.closed = true;
        this.#ended(this);
        this.#rest();
        for (const waiting of this.#waiting.values()) waiting.reject(new Unavailable(reason));
        this.#waiting.clear();
    }
}

/** A payload in the pieces in which it is stored: the client copies what is left of a larger one for each. */
function pieces(body: Uint8Array): ReadableStream<Uint8Array> {
    let at = 0;
    return new ReadableStream({
        pull(controller): void {
            controller.enqueue(body.subarray(at, at + PIECE));
            at += PIECE;
            if (at >= body.length) controller.close();
        },
    });
}

function parseAnswer(message: Msg): Stored {
    if (message.data.length === 0 && message.headers?.code === 503) {
        throw new Unavailable("no stream takes the subject");
    }
    const reply = message.json<{
        stream?: string;
        seq?: number;
        duplicate?: boolean;
        error?: { description?: string; err_code?: number };
    }>();
    if (reply.error !== undefined) {
        throw new Unavailable(
            `JetStream refused: ${reply.error.description ?? ""} (code ${reply.error.err_code ?? 0})`,
        );
    }
    if (typeof reply.stream !== "string" || typeof reply.seq !== "number") {
        throw new Unavailable("an acknowledgement without a stream");
    }
    return { stream: reply.stream, sequence: reply.seq, duplicate: reply.duplicate === true };
}

/** Publishes events, over one connection that is opened when it is needed. */
export class Publisher {
    readonly #options: Options;
    #link: Link | undefined;
    #connecting: Promise<Link> | undefined;
    /** The last attempt failed: until one succeeds, only `connect` tries. */
    #down = false;

    constructor(options: Options) {
        this.#options = options;
    }

    /** Whether it is worth trying to publish, as far as the last attempts tell. */
    get usable(): boolean {
        return !this.#down;
    }

    /** Publishes an event and waits for the acknowledgement until `deadline` at most; throws `Unavailable`. */
    async publish(event: Event, deadline: number): Promise<Stored> {
        const link = this.#link ?? (await this.#connect());
        const limit = Math.min(
            this.#options.inlineLimit,
            (link.nats.info?.max_payload ?? 1_048_576) - HEADER_ROOM,
        );
        if (event.body.length <= limit) {
            return link.request(event.subject, event.headers, event.body, deadline);
        }
        const headers = appendHeaders(event.headers, await ticket(BUCKET, event.delivery, event.body));
        await until(deadline, link.deposit(event), "the object bucket did not take the payload in time");
        return link.request(event.subject, headers, Empty, deadline);
    }

    /** Connects, whatever the last attempt gave; throws `Unavailable`. */
    async connect(): Promise<void> {
        if (this.#link === undefined) await this.#connect();
    }

    #connect(): Promise<Link> {
        this.#connecting ??= this.#open();
        return this.#connecting;
    }

    async #open(): Promise<Link> {
        const { url, creds } = this.#options;
        try {
            const nats = await wsconnect({
                servers: url,
                name: "windlass edge receiver",
                reconnect: false,
                ignoreClusterUpdates: true,
                noAsyncTraces: true,
                timeout: CONNECT_PATIENCE,
                pingInterval: 20_000,
                maxPingOut: 1,
                ...(creds ? { authenticator: credsAuthenticator(encoder.encode(creds)) } : {}),
            });
            this.#link = new Link(nats, (link) => this.#forget(link));
            this.#down = false;
            return this.#link;
        } catch (error) {
            this.#down = true;
            throw error instanceof Unavailable
                ? error
                : new Unavailable(`NATS is not connected: ${String(error)}`);
        } finally {
            this.#connecting = undefined;
        }
    }

    #forget(link: Link): void {
        if (this.#link === link) this.#link = undefined;
        // What is connected and does not answer is no better than what is not there.
        if (link.late) this.#down = true;
    }
}

/** As `within`, with `Unavailable` for everything that goes wrong. */
async function until<T>(deadline: number, promise: Promise<T>, late: string): Promise<T> {
    try {
        return await within(deadline - Date.now(), promise, () => new Unavailable(late));
    } catch (error) {
        throw error instanceof Unavailable ? error : new Unavailable(String(error));
    }
}
