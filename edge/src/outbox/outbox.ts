// The Durable Object that an event goes through: to JetStream at once, or into its storage until JetStream has it.
// There are several, and a repository's events all go through the same one: there they keep their order.
//
// The rule of order: while an event of a repository waits in the storage, later ones of that repository queue up behind
// it; those of others go on directly. Out of the storage, one event of a repository is on its way at a time.

import { DurableObject } from "cloudflare:workers";
import { backoff } from "../backoff.ts";
import { ABOVE } from "../github/claim_check.ts";
import type { Event } from "../github/event.ts";
import { log } from "../log.ts";
import { type Env, settingsOf } from "../settings.ts";
import { Publisher, type Stored } from "./publisher.ts";
import { Queue } from "./queue.ts";
import { SHARDS } from "./shards.ts";

/** How long JetStream may take before the storage takes over. */
const PATIENCE = 3_000;
/** How long an event out of the storage may take: nobody waits for it, and a large one goes piece by piece. */
function drainPatience(size: number): number {
    return 5_000 + size / 256;
}
/** How many repositories are drained at once. */
const DRAIN_WIDTH = 64;
/** How long one drain may take; the alarm begins the next one. */
const LONGEST_DRAIN = 60_000;
/** How many bytes of bodies may be on their way through one object: an isolate has 128 MB. */
const MAX_IN_FLIGHT = 60_000_000;
const FIRST_PAUSE = 250;
const LONGEST_PAUSE = 10_000;

/** Where an event is safe, or why it is not. */
export type Kept = ({ status: "stored" } & Stored) | { status: "spooled" | "full" | "overloaded" };

/** What an object says of itself. */
export interface OutboxStatus {
    events: number;
    bytes: number;
    /** The age of the oldest event that waits; 0 when none does. */
    oldest_ms: number;
    /** How many events went to the stream since the object was last started. */
    delivered: number;
    last_error: string | null;
}

export class Outbox extends DurableObject<Env> {
    readonly #queue: Queue;
    readonly #publisher: Publisher;
    #inFlight = 0;
    #delivered = 0;
    #failures = 0;
    #lastError: string | null = null;
    #alarmAt = 0;
    #draining: Promise<boolean> | undefined;

    constructor(ctx: DurableObjectState, env: Env) {
        super(ctx, env);
        const { hub, github, outbox } = settingsOf(env);
        const bounds = {
            events: Math.ceil((outbox?.max_events ?? 100_000) / SHARDS),
            bytes: Math.ceil((outbox?.max_bytes ?? 1_073_741_824) / SHARDS),
        };
        this.#queue = new Queue(ctx.storage.sql, env.PAYLOADS, `outbox/${ctx.id.toString()}`, bounds);
        this.#publisher = new Publisher({
            url: hub.websocket_url,
            creds: env.HUB_CREDS,
            inlineLimit: github?.inline_limit || ABOVE,
        });
        // Whatever happened to the alarm: what waits is not forgotten.
        if (this.#queue.events > 0) this.#wake(0);
    }

    /** Makes an event durable and says where. */
    async take(event: Event): Promise<Kept> {
        const size = event.body.length;
        if (this.#inFlight + size > MAX_IN_FLIGHT) return { status: "overloaded" };
        this.#inFlight += size;
        try {
            return await this.#keep(event);
        } finally {
            this.#inFlight -= size;
        }
    }

    async #keep(event: Event): Promise<Kept> {
        if (!this.#queue.holds(event.order) && this.#publisher.usable) {
            try {
                const stored = await this.#publisher.publish(event, Date.now() + PATIENCE);
                this.#delivered += 1;
                // JetStream takes events again: what waits need not wait for the alarm.
                if (this.#failures > 0 && this.#queue.events > 0) this.#wake(0, true);
                return { status: "stored", ...stored };
            } catch (error) {
                this.#failed(error);
            }
        }
        this.#wake(FIRST_PAUSE);
        if ((await this.#queue.put(event, Date.now())) === "full") return { status: "full" };
        // The answer leaves only after the write is on disk: that is the platform's output gate, which nothing here
        // opens early.
        return { status: "spooled" };
    }

    /** Tries to empty the storage now. */
    async drain(): Promise<OutboxStatus> {
        await this.#drain();
        return this.status();
    }

    status(): OutboxStatus {
        const oldest = this.#queue.events > 0 ? this.#queue.oldest() : undefined;
        return {
            events: this.#queue.events,
            bytes: this.#queue.bytes,
            oldest_ms: oldest === undefined ? 0 : Math.max(0, Date.now() - oldest),
            delivered: this.#delivered,
            last_error: this.#lastError,
        };
    }

    override async alarm(): Promise<void> {
        this.#alarmAt = 0;
        const began = Date.now();
        const progressed = await this.#drain().catch((error: unknown) => {
            this.#failed(error);
            return false;
        });
        if (this.#queue.events === 0 && this.#publisher.usable) {
            this.#failures = 0;
            return;
        }
        this.#failures = progressed ? 0 : this.#failures + 1;
        const pause = backoff(this.#failures, FIRST_PAUSE, LONGEST_PAUSE, Math.random());
        log("outbox waits", { events: this.#queue.events, pause, took: Date.now() - began });
        this.#wake(pause, true);
    }

    /** Hands over what waits; gives whether anything was taken. One drain runs at a time. */
    #drain(): Promise<boolean> {
        this.#draining ??= this.#handOver().finally(() => {
            this.#draining = undefined;
        });
        return this.#draining;
    }

    async #handOver(): Promise<boolean> {
        let progressed = false;
        try {
            await this.#publisher.connect();
        } catch (error) {
            this.#failed(error);
            return false;
        }
        const until = Date.now() + LONGEST_DRAIN;
        const orders = this.#queue.orders().values();
        const worker = async (): Promise<void> => {
            // The workers share one iterator: each order is taken by one of them.
            for (const order of orders) {
                if (await this.#handOverOrder(order, until)) progressed = true;
            }
        };
        await Promise.all(Array.from({ length: DRAIN_WIDTH }, worker));
        return progressed;
    }

    /** Hands over the events of one repository, one after the other, until none waits or one is not taken. */
    async #handOverOrder(order: string, until: number): Promise<boolean> {
        let progressed = false;
        try {
            while (Date.now() < until) {
                const first = await this.#queue.first(order);
                if (first === undefined) return progressed;
                await this.#publisher.publish(first.event, Date.now() + drainPatience(first.size));
                await this.#queue.remove(first);
                this.#delivered += 1;
                progressed = true;
            }
            return progressed;
        } catch (error) {
            this.#failed(error);
            return progressed;
        }
    }

    #failed(error: unknown): void {
        const reason = error instanceof Error ? error.message : String(error);
        if (reason !== this.#lastError) log("JetStream did not take an event", { reason });
        this.#lastError = reason;
    }

    /** Sees to it that the alarm rings: in `pause` ms, unless it is set already and `always` is not said. */
    #wake(pause: number, always = false): void {
        const now = Date.now();
        // An alarm that should have rung long ago is not relied on.
        if (!always && this.#alarmAt + LONGEST_PAUSE > now) return;
        this.#alarmAt = now + pause;
        void this.ctx.storage.setAlarm(this.#alarmAt);
    }
}
