// The events that wait, in the object's SQLite. A body that does not fit into a row lies in R2, and the row says so;
// it is put there before its row is written, so a row never points at nothing.

import type { Event } from "../github/event.ts";
import { log } from "../log.ts";

/** A larger body goes to R2: a row of Durable Objects' SQLite holds 2 MB. */
const MAX_ROW = 1_000_000;

/** What else a row takes, about. */
const ROW = 512;

/** How much may wait. */
export interface Bounds {
    events: number;
    bytes: number;
}

type Row = {
    id: number;
    delivery: string;
    subject: string;
    headers: string;
    body: ArrayBuffer | null;
    object: string | null;
    size: number;
};

/** An event out of the queue. */
export interface Waiting {
    id: number;
    size: number;
    /** Where in R2 its body lies, if it does. */
    object: string | null;
    event: Event;
}

/** How an event was put into the queue. */
export type Put = "queued" | "full";

/** The queue of one object. */
export class Queue {
    readonly #sql: SqlStorage;
    readonly #bucket: R2Bucket;
    readonly #prefix: string;
    readonly #bounds: Bounds;
    /** How many events wait, by what keeps its order. It is what the table says, kept at hand. */
    readonly #waiting = new Map<string, number>();
    #events = 0;
    #bytes = 0;
    /** What is on its way to R2 and has no row yet. */
    #reserved = { events: 0, bytes: 0 };

    constructor(sql: SqlStorage, bucket: R2Bucket, prefix: string, bounds: Bounds) {
        this.#sql = sql;
        this.#bucket = bucket;
        this.#prefix = prefix;
        this.#bounds = bounds;
        sql.exec(`
            CREATE TABLE IF NOT EXISTS events (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                delivery TEXT NOT NULL UNIQUE,
                subject TEXT NOT NULL,
                ordering TEXT NOT NULL,
                headers TEXT NOT NULL,
                body BLOB,
                object TEXT,
                size INTEGER NOT NULL,
                taken INTEGER NOT NULL
            );
            CREATE INDEX IF NOT EXISTS events_by_order ON events (ordering, id);
        `);
        const rows = sql.exec<{ ordering: string; events: number; bytes: number }>(
            "SELECT ordering, count(*) AS events, sum(size) AS bytes FROM events GROUP BY ordering",
        );
        for (const { ordering, events, bytes } of rows) {
            this.#waiting.set(ordering, events);
            this.#events += events;
            this.#bytes += bytes;
        }
    }

    get events(): number {
        return this.#events;
    }

    get bytes(): number {
        return this.#bytes;
    }

    /** Whether events of this order wait, so that a later one would overtake them. */
    holds(order: string): boolean {
        return this.#waiting.has(order);
    }

    /** Every order of which events wait. */
    orders(): string[] {
        return [...this.#waiting.keys()];
    }

    /** When the oldest event was taken. */
    oldest(): number | undefined {
        const [row] = this.#sql.exec<{ taken: number | null }>("SELECT min(taken) AS taken FROM events");
        return row?.taken ?? undefined;
    }

    /** Keeps an event. What waits already is not kept twice. */
    async put(event: Event, taken: number): Promise<Put> {
        const size = event.body.length + event.headers.length + ROW;
        if (this.#has(event.delivery)) return "queued";
        if (
            this.#events + this.#reserved.events >= this.#bounds.events ||
            this.#bytes + this.#reserved.bytes + size > this.#bounds.bytes
        ) {
            return "full";
        }
        const object = event.body.length <= MAX_ROW ? null : await this.#deposit(event, size);
        // The same delivery may have come twice meanwhile.
        if (object !== null && this.#has(event.delivery)) {
            await this.#discard(object);
            return "queued";
        }
        this.#sql.exec(
            "INSERT INTO events (delivery, subject, ordering, headers, body, object, size, taken) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            event.delivery,
            event.subject,
            event.order,
            event.headers,
            object === null ? event.body : null,
            object,
            size,
            taken,
        );
        this.#events += 1;
        this.#bytes += size;
        this.#waiting.set(event.order, (this.#waiting.get(event.order) ?? 0) + 1);
        return "queued";
    }

    /** The oldest event of an order, with its body. */
    async first(order: string): Promise<Waiting | undefined> {
        const [row] = this.#sql.exec<Row>(
            "SELECT id, delivery, subject, headers, body, object, size FROM events WHERE ordering = ? ORDER BY id LIMIT 1",
            order,
        );
        if (row === undefined) return undefined;
        const { id, delivery, subject, headers, object, size } = row;
        const bytes = object === null ? (row.body ?? new ArrayBuffer(0)) : await this.#read(object);
        return {
            id,
            size,
            object,
            event: { delivery, subject, order, headers, body: new Uint8Array(bytes) },
        };
    }

    /** Forgets an event that is in the stream. */
    async remove({ id, size, object, event }: Waiting): Promise<void> {
        this.#sql.exec("DELETE FROM events WHERE id = ?", id);
        this.#events -= 1;
        this.#bytes -= size;
        const left = (this.#waiting.get(event.order) ?? 1) - 1;
        if (left > 0) this.#waiting.set(event.order, left);
        else this.#waiting.delete(event.order);
        if (object !== null) await this.#discard(object);
    }

    #has(delivery: string): boolean {
        return this.#sql.exec("SELECT 1 FROM events WHERE delivery = ?", delivery).toArray().length > 0;
    }

    /** Puts a body into R2, under a key that nothing else has: a repetition must not take it away from the first. */
    async #deposit(event: Event, size: number): Promise<string> {
        this.#reserved.events += 1;
        this.#reserved.bytes += size;
        try {
            const key = `${this.#prefix}/${event.delivery}/${crypto.randomUUID()}`;
            await this.#bucket.put(key, event.body);
            return key;
        } finally {
            this.#reserved.events -= 1;
            this.#reserved.bytes -= size;
        }
    }

    async #read(key: string): Promise<ArrayBuffer> {
        const object = await this.#bucket.get(key);
        if (object === null) throw new Error(`the payload ${key} is not in R2`);
        return object.arrayBuffer();
    }

    /** What cannot be deleted now stays: it costs a little, and nothing points at it. */
    async #discard(key: string): Promise<void> {
        await this.#bucket.delete(key).catch((error: unknown) => {
            log("a payload stays in R2", { key, reason: String(error) });
        });
    }
}
