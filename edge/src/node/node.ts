// The Durable Object that owns one container with one nats-server: it starts it, says how it is, sends it to sleep,
// drains it, and starts it again when it ended. Connections go straight to the container's port: their messages never
// pass through this code.

import { DurableObject } from "cloudflare:workers";
import { answer, EdgeError } from "../errors.ts";
import { log } from "../log.ts";
import { type Env, regionOf, type Settings, settingsOf } from "../settings.ts";
import { sleep } from "../time.ts";
import { environment, type Identity, nodeName } from "./environment.ts";
import {
    drainStep,
    ended,
    LONGEST_DRAIN,
    LONGEST_STOP,
    type Memory,
    maySleep,
    newMemory,
} from "./lifecycle.ts";
import { readVitals, type Vitals } from "./monitoring.ts";

const WEBSOCKET = 8080;
const MONITORING = 8222;
const SIGUSR2 = 12;
const SIGTERM = 15;
/** How long a server may take from the start of its container to its first answer. */
const START_PATIENCE = 60_000;
/** How long a monitoring request may take. */
const ASK_PATIENCE = 2_000;
const TICK = 15_000;
/** How long it takes at most to notice that a process has ended. */
const NOTICE = 100;
/** So many unanswered ticks make a server one that hangs. */
const MAX_SILENT = 3;
/** What keeps the container while nobody asks for it; every tick begins it anew. */
const INACTIVITY = 10 * 60_000;

/** A node as `GET /api/status` shows it. */
export interface NodeStatus {
    name: string;
    state: Memory["phase"];
    running_version: string | null;
    config_hash: string | null;
    connections: number;
    /** Whether its leaf connection to the hub is up. */
    hub_connected: boolean;
    started_at: string | null;
    restarts: number;
    last_error: string | null;
}

/** A node that nobody has woken yet. */
export function neverStarted(settings: Settings, identity: Identity): NodeStatus {
    return statusOf(settings, newMemory(identity.region, identity.number), undefined);
}

function statusOf(settings: Settings, memory: Memory, vitals: Vitals | undefined): NodeStatus {
    return {
        name: nodeName(settings, memory),
        state: memory.phase,
        running_version: vitals?.version ?? null,
        config_hash: memory.startedAt === null ? null : memory.configHash,
        connections: vitals?.connections ?? 0,
        hub_connected: vitals?.hub ?? false,
        started_at: memory.startedAt === null ? null : new Date(memory.startedAt).toISOString(),
        restarts: memory.restarts,
        last_error: memory.lastError,
    };
}

export class NatsNode extends DurableObject<Env> {
    readonly #settings: Settings;
    #memory: Memory | undefined;
    #starting: Promise<void> | undefined;
    /** Ends with the process that is watched. */
    #watched: Promise<void> | undefined;
    #silent = 0;

    constructor(ctx: DurableObjectState, env: Env) {
        super(ctx, env);
        this.#settings = settingsOf(env);
        this.#memory = ctx.storage.kv.get<Memory>("node");
        const memory = this.#memory;
        if (memory === undefined) return;
        if (ctx.container?.running) {
            // The container outlived the object; an object that died while it started one looks again.
            this.#watch();
            if (memory.phase === "starting") this.#save({ phase: "running" });
        } else if (memory.phase !== "asleep" && memory.phase !== "failed") {
            this.#save({ phase: "asleep", startedAt: null, drain: null });
        }
    }

    /** Carries a connection to the server: `/<region>/<number>/clients` or `…/leaves`, an upgrade to WebSocket. */
    override async fetch(request: Request): Promise<Response> {
        const [, region, number, kind] = new URL(request.url).pathname.split("/");
        const identity = { region: region ?? "", number: Number(number) };
        const path = kind === "leaves" ? "/leafnode" : "/";
        try {
            await this.#ensure(identity);
            // The answer's WebSocket is the container's own.
            return await this.#carry(path, request).catch(async () => {
                // The server has just ended: that is noticed in a moment, and it is started again.
                await sleep(NOTICE);
                await this.#ensure(identity);
                return this.#carry(path, request);
            });
        } catch (error) {
            if (error instanceof EdgeError) return answer(error.kind, error.message);
            this.#save({ lastError: String(error) });
            return answer("nodeFailed", "the node's server did not take the connection");
        }
    }

    #carry(path: string, request: Request): Promise<Response> {
        this.#memory = { ...this.#known(), activeAt: Date.now() };
        return this.#container()
            .getTcpPort(WEBSOCKET)
            .fetch(new Request(`http://node${path}`, request));
    }

    /** Starts the server, if it does not run, and waits for its first answer. */
    async wake(identity: Identity): Promise<NodeStatus> {
        await this.#ensure(identity).catch((error: unknown) => {
            if (!(error instanceof EdgeError)) throw error;
        });
        return this.status(identity);
    }

    /** Sends the clients away, then ends the server. */
    async drain(identity: Identity): Promise<NodeStatus> {
        this.#introduce(identity);
        await this.#drain("sleep");
        return this.status(identity);
    }

    /** As `drain`, and starts the server again with what is configured now. One that sleeps goes on sleeping. */
    async restart(identity: Identity): Promise<NodeStatus> {
        this.#introduce(identity);
        await this.#drain("start");
        return this.status(identity);
    }

    /** What the server says of itself, and what is remembered of it. */
    async status(identity: Identity): Promise<NodeStatus> {
        this.#introduce(identity);
        const vitals = this.ctx.container?.running ? await this.#ask().catch(() => undefined) : undefined;
        return statusOf(this.#settings, this.#known(), vitals);
    }

    override async alarm(): Promise<void> {
        const memory = this.#memory;
        if (memory === undefined) return;
        try {
            await this.#tick(memory);
        } catch (error) {
            log("a node's tick failed", { node: nodeName(this.#settings, memory), reason: String(error) });
            await this.#alarmIn(TICK);
        }
    }

    async #tick(memory: Memory): Promise<void> {
        const now = Date.now();
        if (memory.phase === "failed") {
            if (memory.retryAt === null) return;
            if (memory.retryAt > now) return this.#alarmIn(memory.retryAt - now);
            await this.#start().catch(() => undefined);
            return;
        }
        if (!this.ctx.container?.running) return;
        await this.ctx.container.setInactivityTimeout?.(INACTIVITY);
        if (memory.phase === "draining") return this.#hurry(memory, now);
        if (memory.phase !== "running") return;
        const vitals = await this.#ask().catch(() => undefined);
        this.#silent = vitals === undefined ? this.#silent + 1 : 0;
        if (this.#silent >= MAX_SILENT) {
            this.#silent = 0;
            log("a server does not answer and is ended", { node: nodeName(this.#settings, memory) });
            await this.#container().destroy();
            return;
        }
        if (vitals !== undefined && vitals.connections > 0) this.#save({ activeAt: now });
        const current = this.#known();
        const sleepAfter = this.#settings.sleep_after_seconds * 1_000;
        const idle = vitals !== undefined && vitals.connections === 0;
        if (idle && maySleep(current, this.#warm(current), sleepAfter, now)) {
            await this.#drain("sleep");
            return;
        }
        const untilIdle = current.activeAt + sleepAfter - now;
        await this.#alarmIn(Math.min(TICK, Math.max(1_000, untilIdle)));
    }

    /** A drain that lasts too long is helped along. */
    async #hurry(memory: Memory, now: number): Promise<void> {
        const step = drainStep(memory, now);
        if (step === "kill") {
            await this.#container().destroy();
            return;
        }
        if (step === "terminate" && memory.drain !== null) {
            this.#container().signal(SIGTERM);
            this.#save({ drain: { ...memory.drain, escalated: now } });
        }
        await this.#alarmIn(TICK);
    }

    /** Sees to it that the server runs and answers; throws an `EdgeError` when it cannot. */
    async #ensure(identity: Identity): Promise<void> {
        this.#introduce(identity);
        if (this.#starting !== undefined) return this.#starting;
        const { phase, retryAt, failures } = this.#known();
        if (phase === "running" && this.ctx.container?.running) return;
        if (phase === "draining") throw new EdgeError("noNode", "the node is being drained");
        if (phase === "failed" && failures > 2 && retryAt !== null && retryAt > Date.now()) {
            throw new EdgeError(
                "nodeFailed",
                "the node's server failed several times and waits for its next start",
            );
        }
        return this.#start();
    }

    #start(): Promise<void> {
        this.#starting ??= this.#startServer().finally(() => {
            this.#starting = undefined;
        });
        return this.#starting;
    }

    async #startServer(): Promise<void> {
        const began = Date.now();
        const memory = this.#known();
        const again = memory.phase === "failed";
        this.#save({
            phase: "starting",
            startedAt: began,
            activeAt: began,
            configHash: this.#settings.config_hash,
            restarts: memory.restarts + (again ? 1 : 0),
            retryAt: null,
            drain: null,
        });
        try {
            const container = this.#container();
            if (!container.running) {
                container.start({
                    env: environment(this.#settings, memory, this.env.LEAF_CREDS),
                    enableInternet: true,
                });
            }
            const end = this.#watch();
            await this.#firstAnswer(end, began + START_PATIENCE);
        } catch (error) {
            const reason = error instanceof Error ? error.message : String(error);
            await this.#ended(reason);
            throw new EdgeError("nodeFailed", "the node's server did not start");
        }
        this.#save({ phase: "running" });
        this.#silent = 0;
        log("a server runs", { node: nodeName(this.#settings, memory), took: Date.now() - began });
        await this.#alarmIn(Math.min(TICK, this.#settings.sleep_after_seconds * 1_000));
    }

    /** Waits until the server says that it is healthy, or throws when it ends or the time does. */
    async #firstAnswer(end: Promise<void>, deadline: number): Promise<void> {
        let over: string | undefined;
        void end.then(() => {
            over = "the server ended before it answered";
        });
        const port = this.#container().getTcpPort(MONITORING);
        for (let pause = 5; ; pause = Math.min(pause + 5, 100)) {
            try {
                const response = await port.fetch("http://node/healthz", {
                    signal: AbortSignal.timeout(ASK_PATIENCE),
                });
                await response.body?.cancel();
                if (response.ok) return;
            } catch {
                // It does not listen yet.
            }
            if (over !== undefined) throw new Error(over);
            if (Date.now() > deadline) {
                this.#watched = undefined;
                await this.#container().destroy();
                throw new Error(`the server did not answer in ${START_PATIENCE / 1_000} seconds`);
            }
            await sleep(pause);
        }
    }

    /** Notices when the process ends. */
    #watch(): Promise<void> {
        if (this.#watched !== undefined) return this.#watched;
        const watched = this.#container()
            .monitor()
            .then(
                () => "the server ended",
                (error: unknown) => (error instanceof Error ? error.message : String(error)),
            )
            .then(async (reason) => {
                // What was ended on purpose is not watched any more.
                if (this.#watched !== watched) return;
                this.#watched = undefined;
                // A start that waits for it says so itself.
                if (this.#starting === undefined) await this.#ended(reason);
            });
        this.#watched = watched;
        return watched;
    }

    async #ended(reason: string): Promise<void> {
        const memory = this.#known();
        const recently = Date.now() - memory.activeAt < this.#settings.sleep_after_seconds * 1_000;
        const needed = this.#warm(memory) || recently;
        const next = ended(memory, reason, Date.now(), needed, Math.random());
        this.#save(next.memory);
        log("a server ended", { node: nodeName(this.#settings, memory), reason, state: next.memory.phase });
        if (next.start === "no") return;
        if (next.memory.retryAt === null) {
            // A restart that was asked for.
            this.ctx.waitUntil(this.#start().catch(() => undefined));
        } else {
            await this.#alarmIn(Math.max(0, next.memory.retryAt - Date.now()));
        }
    }

    async #drain(next: "sleep" | "start"): Promise<void> {
        const memory = this.#known();
        if (!this.ctx.container?.running) {
            // Nothing runs, and nothing is to be started again.
            if (memory.phase === "failed") this.#save({ phase: "asleep", retryAt: null, failures: 0 });
            return;
        }
        this.#watch();
        const since = memory.drain?.since ?? Date.now();
        const again = memory.phase === "draining";
        this.#save({ phase: "draining", drain: { since, next, escalated: memory.drain?.escalated ?? 0 } });
        if (!again) this.#container().signal(SIGUSR2);
        await this.#alarmIn(Math.min(TICK, LONGEST_DRAIN, LONGEST_STOP));
    }

    async #ask(): Promise<Vitals> {
        const port = this.#container().getTcpPort(MONITORING);
        const get = async (path: string): Promise<unknown> => {
            const response = await port.fetch(`http://node${path}`, {
                signal: AbortSignal.timeout(ASK_PATIENCE),
            });
            return response.json();
        };
        const [varz, leafz] = await Promise.all([get("/varz"), get("/leafz")]);
        return readVitals(varz, leafz);
    }

    /** Whether the node belongs to the warm minimum of its region. */
    #warm(memory: Memory): boolean {
        return memory.number < (regionOf(this.#settings, memory.region)?.min ?? 0);
    }

    #introduce({ region, number }: Identity): void {
        if (this.#memory !== undefined) return;
        if (regionOf(this.#settings, region) === undefined || !Number.isInteger(number)) {
            throw new EdgeError("noRegion", `there is no region '${region}'`);
        }
        this.#memory = newMemory(region, number);
        this.ctx.storage.kv.put("node", this.#memory);
    }

    #known(): Memory {
        if (this.#memory === undefined) throw new EdgeError("internal", "the node does not know who it is");
        return this.#memory;
    }

    #save(change: Partial<Memory>): void {
        this.#memory = { ...this.#known(), ...change };
        this.ctx.storage.kv.put("node", this.#memory);
    }

    #container(): Container {
        const { container } = this.ctx;
        if (container === undefined) throw new EdgeError("notConfigured", "the Worker has no containers");
        return container;
    }

    async #alarmIn(pause: number): Promise<void> {
        await this.ctx.storage.setAlarm(Date.now() + pause);
    }
}
