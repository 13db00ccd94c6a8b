// The Durable Object that keeps the wanted number of nodes in each region. There is one; connections do not go through
// it, only the first of a region in which nothing runs asks it.

import { DurableObject } from "cloudflare:workers";
import { log } from "../log.ts";
import type { Identity } from "../node/environment.ts";
import { type NatsNode, type NodeStatus, neverStarted } from "../node/node.ts";
import { type Env, regionOf, type Settings, settingsOf } from "../settings.ts";
import { within } from "../time.ts";
import { assign, decide, type Seen } from "./decide.ts";
import { differs, ROUTING, type Table } from "./routing.ts";

const TICK = 15_000;
/** How long a node may take to say how it is. */
const ASK_PATIENCE = 5_000;
/** Where Durable Objects can be asked to live, and containers with them. Regions of other names live anywhere. */
const HINTS: readonly string[] = ["wnam", "enam", "sam", "weur", "eeur", "apac", "oc", "afr", "me"];

/** The regions of `GET /api/status`. */
export type Regions = Record<string, { min: number; max: number; nodes: NodeStatus[] }>;

/** The stub of a node, created where its region says. */
export function nodeStub(env: Env, { region, number }: Identity): DurableObjectStub<NatsNode> {
    const id = env.NODE.idFromName(`${region}-${number}`);
    return env.NODE.get(
        id,
        HINTS.includes(region) ? { locationHint: region as DurableObjectLocationHint } : {},
    );
}

/** The stub of the one object. */
export function fleetStub(env: Env): DurableObjectStub<Fleet> {
    return env.FLEET.get(env.FLEET.idFromName("fleet"));
}

export class Fleet extends DurableObject<Env> {
    readonly #settings: Settings;
    /** What was last seen of each node that was ever woken, by region. */
    readonly #seen: Record<string, Seen[]>;
    /** Since when a region could do with one node fewer. */
    readonly #lowSince = new Map<string, number>();
    #published: Table | undefined;

    constructor(ctx: DurableObjectState, env: Env) {
        super(ctx, env);
        this.#settings = settingsOf(env);
        this.#seen = ctx.storage.kv.get<Record<string, Seen[]>>("seen") ?? {};
    }

    /** The node that takes the next connection in a region; throws when none can. `not` has just refused one. */
    async assign(name: string, not?: number): Promise<number | undefined> {
        const region = regionOf(this.#settings, name);
        if (region === undefined) return undefined;
        if (not !== undefined) await this.#look(name);
        const number = assign(region, this.#seen[name] ?? [], not);
        if (number === undefined) return undefined;
        const nodes = this.#seen[name] ?? [];
        const node = nodes.find((seen) => seen.number === number);
        if (node?.state !== "running") this.#set(name, { number, state: "starting", connections: 0 });
        // Soon enough that the next connections find the node in the table.
        await this.#alarmIn(1_000);
        return number;
    }

    /** How every node is, asked now. Keeps the warm minimum going, too: after a deployment this is what comes first. */
    async status(): Promise<Regions> {
        const regions: Regions = {};
        await Promise.all(
            Object.entries(this.#settings.regions).map(async ([name, { min, max }]) => {
                const known = new Set((this.#seen[name] ?? []).map((node) => node.number));
                const numbers = [...new Set([...Array(max).keys(), ...known])].sort((a, b) => a - b);
                const nodes = await Promise.all(
                    numbers.map((number) => {
                        const identity = { region: name, number };
                        return known.has(number)
                            ? this.#ask(identity)
                            : neverStarted(this.#settings, identity);
                    }),
                );
                regions[name] = { min, max, nodes };
            }),
        );
        await this.#alarmIn(0);
        return regions;
    }

    /** Does to a node what the API was asked to. */
    async command(identity: Identity, command: "wake" | "drain" | "restart"): Promise<NodeStatus> {
        const status = await nodeStub(this.env, identity)[command](identity);
        this.#set(identity.region, {
            number: identity.number,
            state: status.state,
            connections: status.connections,
        });
        await this.#publish();
        await this.#alarmIn(1_000);
        return status;
    }

    override async alarm(): Promise<void> {
        try {
            await Promise.all(Object.keys(this.#seen).map((name) => this.#look(name)));
            for (const [name, region] of Object.entries(this.#settings.regions)) {
                await this.#act(name, region);
            }
            await this.#publish();
        } catch (error) {
            log("the fleet's tick failed", { reason: String(error) });
        }
        const awake = Object.values(this.#seen).some((nodes) =>
            nodes.some((node) => node.state !== "asleep"),
        );
        const warm = Object.values(this.#settings.regions).some((region) => region.min > 0);
        // When everything sleeps and may sleep, so does this.
        if (awake || warm) await this.#alarmIn(TICK);
    }

    async #act(name: string, region: { min: number; max: number }): Promise<void> {
        const since = this.#lowSince.get(name);
        const lasted =
            since !== undefined && Date.now() - since >= this.#settings.sleep_after_seconds * 1_000;
        const decision = decide(region, this.#seen[name] ?? [], lasted);
        if (!decision.low || lasted) this.#lowSince.delete(name);
        else if (since === undefined) this.#lowSince.set(name, Date.now());
        await Promise.all([
            ...decision.wake.map((number) => this.#order({ region: name, number }, "wake")),
            ...decision.drain.map((number) => this.#order({ region: name, number }, "drain")),
        ]);
    }

    async #order(identity: Identity, command: "wake" | "drain"): Promise<void> {
        try {
            const { state, connections } = await nodeStub(this.env, identity)[command](identity);
            this.#set(identity.region, { number: identity.number, state, connections });
        } catch (error) {
            log("a node did not do what it was told", { ...identity, command, reason: String(error) });
            this.#set(identity.region, { number: identity.number, state: "failed", connections: 0 });
        }
    }

    /** Asks every node of a region that was ever woken. */
    async #look(name: string): Promise<void> {
        const nodes = this.#seen[name] ?? [];
        const asked = await Promise.all(nodes.map(({ number }) => this.#ask({ region: name, number })));
        for (const [index, { state, connections }] of asked.entries()) {
            const number = nodes[index]?.number;
            if (number !== undefined) this.#set(name, { number, state, connections });
        }
    }

    async #ask(identity: Identity): Promise<NodeStatus> {
        const late = (): Error => new Error("the node did not answer");
        try {
            return await within(ASK_PATIENCE, nodeStub(this.env, identity).status(identity), late);
        } catch (error) {
            const reason = error instanceof Error ? error.message : String(error);
            return { ...neverStarted(this.#settings, identity), state: "failed", last_error: reason };
        }
    }

    #set(name: string, node: Seen): void {
        const others = (this.#seen[name] ?? []).filter((seen) => seen.number !== node.number);
        this.#seen[name] = [...others, node].sort((a, b) => a.number - b.number);
        this.ctx.storage.kv.put("seen", this.#seen);
    }

    async #publish(): Promise<void> {
        const regions: Record<string, Seen[]> = {};
        for (const name of Object.keys(this.#settings.regions)) {
            regions[name] = (this.#seen[name] ?? []).filter((node) => node.state === "running");
        }
        const table: Table = { regions };
        if (!differs(this.#published, table)) return;
        await this.env.ROUTES.put(ROUTING, JSON.stringify(table));
        this.#published = table;
    }

    /** The earlier of two alarms counts. */
    async #alarmIn(pause: number): Promise<void> {
        const at = Date.now() + pause;
        const set = await this.ctx.storage.getAlarm();
        if (set === null || set > at || set < Date.now() - TICK) await this.ctx.storage.setAlarm(at);
    }
}
