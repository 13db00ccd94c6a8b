// What a node's server says of itself, on its monitoring port.

/** What matters of /varz and /leafz. */
export interface Vitals {
    version: string;
    /** Clients, and leaf nodes that came here; not the server's own connection to the hub. */
    connections: number;
    /** Whether the leaf connection to the hub is up. */
    hub: boolean;
}

/** Reads the server's answers. */
export function readVitals(varz: unknown, leafz: unknown): Vitals {
    const { version, connections } = varz as { version?: unknown; connections?: unknown };
    if (typeof version !== "string" || typeof connections !== "number") {
        throw new Error("the server's /varz is not what is expected");
    }
    const { leafs } = leafz as { leafs?: { is_spoke?: boolean }[] };
    const leaves = leafs ?? [];
    // Of a connection that this server opened it says that it is the spoke.
    const inbound = leaves.filter((leaf) => leaf.is_spoke !== true).length;
    return { version, connections: connections + inbound, hub: inbound < leaves.length };
}
