// The routing table: which nodes of a region carry connections, in KV, where every location reads it.

import type { Env } from "../settings.ts";
import type { Seen } from "./decide.ts";

/** The key of the table in KV. */
export const ROUTING = "routing";
/** How long an isolate uses what it read. */
const FRESH = 5_000;
/** How long a location may use what it read; KV takes no less. */
const CACHE = 30;

/** The nodes that run, by region. */
export interface Table {
    regions: Record<string, Seen[]>;
}

let known: { table: Table; until: number } | undefined;

/** The running nodes of a region, as far as this location knows. */
export async function runningNodes(env: Env, region: string, now: number): Promise<Seen[]> {
    if (known === undefined || known.until <= now) {
        const table = await env.ROUTES.get<Table>(ROUTING, { type: "json", cacheTtl: CACHE }).catch(
            () => null,
        );
        known = { table: table ?? { regions: {} }, until: now + FRESH };
    }
    return Object.hasOwn(known.table.regions, region) ? (known.table.regions[region] ?? []) : [];
}

/** Forgets what was read: it led to a node that does not take connections. */
export function forget(): void {
    known = undefined;
}

/** Whether a table says something else to a router than another: other nodes, or clearly other loads. */
export function differs(one: Table | undefined, other: Table): boolean {
    if (one === undefined) return true;
    const regions = new Set([...Object.keys(one.regions), ...Object.keys(other.regions)]);
    for (const region of regions) {
        const [before, after] = [one.regions[region] ?? [], other.regions[region] ?? []];
        if (before.length !== after.length) return true;
        for (const [index, node] of after.entries()) {
            const former = before[index];
            if (former === undefined || former.number !== node.number) return true;
            if (Math.abs(former.connections - node.connections) > 20 + former.connections / 5) return true;
        }
    }
    return false;
}
