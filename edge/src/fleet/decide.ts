// How many nodes a region needs, and who takes a connection: decisions over what is known, without a clock.

import type { Phase } from "../node/lifecycle.ts";
import type { Region } from "../settings.ts";

/** How many connections a node is meant to carry. */
export const TARGET = 500;
/** A region grows when its nodes carry more than this share of the target. */
const FULL = 0.8;
/** It shrinks when one node fewer would carry less than this share. */
const EMPTY = 0.5;

/** What is known of a node. */
export interface Seen {
    number: number;
    state: Phase;
    connections: number;
}

/** What to do in a region. */
export interface Decision {
    wake: number[];
    drain: number[];
    /** One node fewer would do: remembered, and acted upon when it lasts. */
    low: boolean;
}

function carries(node: Seen): boolean {
    return node.state === "running" || node.state === "starting";
}

/** Decides what a region needs; `lowLasted` says that one node fewer would have done for long enough. */
export function decide(region: Region, nodes: readonly Seen[], lowLasted: boolean): Decision {
    const up = nodes.filter(carries);
    const total = up.reduce((sum, node) => sum + node.connections, 0);
    let wanted = Math.max(up.length, region.min);
    if (total > up.length * TARGET * FULL) wanted = Math.max(wanted, Math.ceil(total / (TARGET * FULL)));
    // The last node goes to sleep by itself when nobody is connected.
    const low = up.length > Math.max(region.min, 1) && total <= (up.length - 1) * TARGET * EMPTY;
    if (low && lowLasted) wanted = up.length - 1;
    wanted = Math.min(Math.max(wanted, region.min), region.max);
    const drain = up
        .map((node) => node.number)
        .sort((a, b) => b - a)
        .filter((number, index) => index < up.length - wanted || number >= region.max);
    const state = new Map(nodes.map((node) => [node.number, node.state]));
    const wake: number[] = [];
    for (let number = 0; number < region.max && up.length + wake.length < wanted; number += 1) {
        // One that is drained or that failed comes back by itself or not at all.
        if ((state.get(number) ?? "asleep") === "asleep") wake.push(number);
    }
    return { wake, drain, low };
}

/** The node that takes the next connection, be it one that has to be woken; `undefined` when none can. */
export function assign(region: Region, nodes: readonly Seen[], not: number | undefined): number | undefined {
    const usable = nodes.filter((node) => node.number < region.max && node.number !== not);
    const up = usable.filter(carries).sort((a, b) => a.connections - b.connections);
    const least = up[0];
    if (least !== undefined && least.connections < TARGET) return least.number;
    const state = new Map(nodes.map((node) => [node.number, node.state]));
    for (let number = 0; number < region.max; number += 1) {
        if (number !== not && (state.get(number) ?? "asleep") === "asleep") return number;
    }
    // Everything that there may be is there: the least loaded, else one that failed and may be well again.
    return least?.number ?? usable.find((node) => node.state === "failed")?.number;
}

/** One of two nodes taken by chance, the one with fewer connections: nobody has to know what others decide. */
export function pick(nodes: readonly Seen[], random: () => number): number | undefined {
    if (nodes.length === 0) return undefined;
    const one = nodes[Math.floor(random() * nodes.length)];
    const other = nodes[Math.floor(random() * nodes.length)];
    if (one === undefined || other === undefined) return undefined;
    return one.connections <= other.connections ? one.number : other.number;
}
