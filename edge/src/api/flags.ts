// The flags: names and values that every location reads from KV.

import { EdgeError } from "../errors.ts";

/** The key of the flags in KV. */
export const FLAGS = "flags";
/** More than this is no set of flags. */
export const MAX_BODY = 65_536;

const NAME = /^[a-z0-9_]{1,64}$/;

/** Reads a set of flags: an object of names and any values. */
export function parseFlags(text: string): Record<string, unknown> {
    let flags: unknown;
    try {
        flags = JSON.parse(text);
    } catch {
        throw new EdgeError("badFlags", "the body is not JSON");
    }
    if (typeof flags !== "object" || flags === null || Array.isArray(flags)) {
        throw new EdgeError("badFlags", "the body is not one JSON object");
    }
    for (const name of Object.keys(flags)) {
        if (!NAME.test(name)) throw new EdgeError("badFlags", `'${name.slice(0, 80)}' is no name of a flag`);
    }
    return flags as Record<string, unknown>;
}
