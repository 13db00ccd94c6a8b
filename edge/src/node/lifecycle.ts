// What to do with a node: decisions over what is known of it, without a clock and without a container.

import { backoff } from "../backoff.ts";

/** What a node does. */
export type Phase = "asleep" | "starting" | "running" | "draining" | "failed";

/** What is remembered of a node across restarts of its object. */
export interface Memory {
    region: string;
    number: number;
    phase: Phase;
    /** The configuration that the process was started with. */
    configHash: string | null;
    startedAt: number | null;
    /** When somebody was last connected, or came. */
    activeAt: number;
    /** How often it was started again after it ended by itself. */
    restarts: number;
    /** How often in a row. */
    failures: number;
    lastError: string | null;
    /** When it is tried again. */
    retryAt: number | null;
    /** When it was asked to end, and what comes afterwards. */
    drain: { since: number; next: "sleep" | "start"; escalated: number } | null;
}

/** A node that was never started. */
export function newMemory(region: string, number: number): Memory {
    return {
        region,
        number,
        phase: "asleep",
        configHash: null,
        startedAt: null,
        activeAt: 0,
        restarts: 0,
        failures: 0,
        lastError: null,
        retryAt: null,
        drain: null,
    };
}

/** How long lame duck may take; the platform kills 15 minutes after it asked for the end. */
export const LONGEST_DRAIN = 13 * 60_000;
/** How long a server that was told to end may take. */
export const LONGEST_STOP = 30_000;
/** A server that ran this long had nothing to do with the failures before. */
const HEALTHY = 60_000;

/** The next step of a drain: let it be, ask again, or kill. */
export function drainStep(memory: Memory, now: number): "wait" | "terminate" | "kill" {
    const { drain } = memory;
    if (drain === null) return "wait";
    const passed = now - drain.since;
    if (passed > LONGEST_DRAIN + LONGEST_STOP) return "kill";
    return passed > LONGEST_DRAIN && drain.escalated === 0 ? "terminate" : "wait";
}

/** Whether a node with nobody connected may go to sleep. */
export function maySleep(memory: Memory, warm: boolean, sleepAfter: number, now: number): boolean {
    return memory.phase === "running" && !warm && now - memory.activeAt >= sleepAfter;
}

/** What is remembered when the server has ended, and whether it is started again at once, later, or not. */
export function ended(
    memory: Memory,
    reason: string,
    now: number,
    needed: boolean,
    random: number,
): { memory: Memory; start: "now" | "later" | "no" } {
    const { drain } = memory;
    if (memory.phase === "draining" && drain !== null) {
        const asked: Memory = {
            ...memory,
            phase: "asleep",
            startedAt: null,
            drain: null,
            failures: 0,
            retryAt: null,
        };
        return { memory: asked, start: drain.next === "start" ? "now" : "no" };
    }
    const ranWell =
        memory.phase === "running" && memory.startedAt !== null && now - memory.startedAt >= HEALTHY;
    const failures = ranWell ? 1 : memory.failures + 1;
    const failed: Memory = { ...memory, phase: "failed", startedAt: null, failures, lastError: reason };
    if (!needed) return { memory: { ...failed, retryAt: null }, start: "no" };
    // The first time at once: most ends are an accident.
    if (failures === 1) return { memory: { ...failed, retryAt: now }, start: "now" };
    return {
        memory: { ...failed, retryAt: now + backoff(failures - 2, 500, 60_000, random) },
        start: "later",
    };
}
