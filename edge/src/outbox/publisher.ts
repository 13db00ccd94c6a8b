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
    PermissionViolationError,
    wsconnect,
} from "@nats-io/nats-core";
import { BUCKET, HEADER_ROOM, ticket } from "../github/claim_check.ts";
import type { Event } from "../github/event.ts";
import { appendHeaders, encodeHeaders } from "../github/headers.ts";
import { every } from "../time.ts";
import { describe, descriptionSubject, isSame, lookupSubject, pieces, piecesSubject } from "./object.ts";

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
/** A server that says nothing for so long, while something is late, answers no more. */
const SILENCE = 2_500;
const LATE = "JetStream did not acknowledge in time";
/** How many pieces of a payload are on their way at once: an isolate has 128 MB. */
const PIECES = 16;

interface Waiting {
    subject: string;
    deadline: number;
    resolve: (message: Msg) => void;
    reject: (error: Unavailable) => void;
}

interface Outgoing {
    token: string;
    subject: string;
    headers: string | undefined;
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
    /** When the server last said something while something was waited for. */
    #heardAt = 0;
    #endSweeping: (() => void) | undefined;
    closed = false;
    /** It was closed because an acknowledgement did not come in time. */
    late = false;

    readonly #ended: (link: Link) => void;

    constructor(nats: NatsConnection, ended: (link: Link) => void) {
        this.nats = nats;
        this.#ended = ended;
        nats.subscribe(`${this.#inbox}.*`, { callback: (error, message) => this.#answer(error, message) });
        void this.#listen();
        void nats.closed().then(() => {
            this.#fail("NATS is not connected");
        });
    }

    close(): void {
        this.#fail("NATS is not connected");
        void this.nats.close().catch(() => undefined);
    }

    /** Publishes and waits for the acknowledgement. */
    async publish(
        subject: string,
        headers: string | undefined,
        body: Uint8Array,
        deadline: number,
    ): Promise<Stored> {
        return parseAnswer(await this.#request(subject, headers, body, deadline));
    }

    #request(subject: string, headers: string | undefined, body: Uint8Array, deadline: number): Promise<Msg> {
        return new Promise((resolve, reject) => {
            if (this.closed) {
                reject(new Unavailable("NATS is not connected"));
                return;
            }
            this.#number += 1;
            const token = String(this.#number);
            const alone = this.#waiting.size === 0;
            this.#waiting.set(token, { subject, deadline, resolve, reject });
            if (alone) this.#heardAt = Date.now();
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
                    ...(headers === undefined ? {} : { headers: new Encoded(headers) as unknown as MsgHdrs }),
                });
            } catch (error) {
                this.#waiting.delete(token);
                waiting.reject(new Unavailable(String(error)));
            }
        }
    }

    /** Puts a payload into the object bucket, unless the same bytes are there already. */
    async deposit(event: Event, deadline: number): Promise<void> {
        const { delivery, body } = event;
        const found = await this.#request(lookupSubject(BUCKET, delivery), undefined, Empty, deadline);
        if (found.data.length > 0 && (await isSame(found.data, body))) return;
        const id = nuid.next();
        const underWay: Promise<Stored>[] = [];
        for (const piece of pieces(body)) {
            // They are waited for in their order; the first that fails ends it.
            if (underWay.length >= PIECES) await underWay.shift();
            const publish = this.publish(piecesSubject(BUCKET, id), undefined, piece, deadline);
            publish.catch(() => undefined);
            underWay.push(publish);
        }
        await Promise.all(underWay);
        // Of several descriptions the stream keeps the last.
        const rollup = encodeHeaders([["Nats-Rollup", "sub"]]);
        const description = encoder.encode(await describe(BUCKET, delivery, id, body, new Date()));
        await this.publish(descriptionSubject(BUCKET, delivery), rollup, description, deadline);
    }

    #answer(error: Error | null, message: Msg): void {
        if (error !== null) {
            this.close();
            return;
        }
        this.#heardAt = Date.now();
        const token = message.subject.slice(this.#inbox.length + 1);
        const waiting = this.#waiting.get(token);
        if (waiting === undefined) return;
        this.#waiting.delete(token);
        waiting.resolve(message);
    }

    #sweep(): void {
        const now = Date.now();
        const late = [...this.#waiting].filter(([, waiting]) => waiting.deadline <= now);
        if (late.length > 0 && now - this.#heardAt >= SILENCE) {
            // What answers no more is not waited for by what comes next.
            this.late = true;
            this.#fail(LATE);
            this.close();
            return;
        }
        for (const [token, waiting] of late) {
            this.#waiting.delete(token);
            waiting.reject(new Unavailable(LATE));
        }
        if (this.#waiting.size === 0) this.#rest();
    }

    /** A publish that the server does not allow is not answered; the connection is told of it. */
    async #listen(): Promise<void> {
        for await (const status of this.nats.status()) {
            if (status.type !== "error" || !(status.error instanceof PermissionViolationError)) continue;
            const { subject, message } = status.error;
            for (const [token, waiting] of this.#waiting) {
                if (waiting.subject !== subject) continue;
                this.#waiting.delete(token);
                waiting.reject(new Unavailable(message));
            }
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
            return link.publish(event.subject, event.headers, event.body, deadline);
        }
        const headers = appendHeaders(event.headers, await ticket(BUCKET, event.delivery, event.body));
        await link.deposit(event, deadline).catch((error: unknown) => {
            const reason = error instanceof Error ? error.message : String(error);
            throw new Unavailable(`the object bucket did not take the payload: ${reason}`);
        });
        return link.publish(event.subject, headers, Empty, deadline);
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
