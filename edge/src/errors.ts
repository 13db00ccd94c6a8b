// The edge's own errors. Each has a page in docs/errors/; what a caller sees is only what is written here, causes go
// to the log.

/** Every error: its code, its status, what to do about it. */
export const ERRORS = {
    unauthorized: [
        "WL1001",
        401,
        "send 'Authorization: Bearer' with the fleet's API token, or come through Cloudflare Access",
    ],
    noRegion: ["WL1002", 404, "use a region that [clusters.NAME] regions in the fleet file names"],
    upgradeNeeded: ["WL1003", 426, "connect with a NATS client or a leaf node by wss://"],
    notFound: ["WL1004", 404, "see edge/README.md for the routes of the API"],
    noNode: [
        "WL1005",
        503,
        "try again in a moment; if it lasts, raise the region's max or look at /api/status",
    ],
    nodeFailed: [
        "WL1006",
        503,
        "look at last_error in /api/status and at the container's log, then run `windlass apply` again",
    ],
    badFlags: ["WL1007", 400, "send one JSON object of names (a-z, 0-9, _) and values, at most 64 KiB"],
    tooLarge: ["WL1008", 413, "send less than 64 KiB"],
    notConfigured: ["WL1009", 500, "run `windlass apply`: it writes the Worker's settings and secrets"],
    noReceiver: [
        "WL1010",
        404,
        'set receive_at = "edge" in [github] and run `windlass apply`, or post to the self-hosted receiver',
    ],
    internal: ["WL1011", 500, "try again; if it lasts, the Worker's log has the cause"],
} as const satisfies Record<string, readonly [string, number, string]>;

/** The name of an error. */
export type Kind = keyof typeof ERRORS;

/** Something that the caller is told about. */
export class EdgeError extends Error {
    readonly kind: Kind;

    constructor(kind: Kind, message: string) {
        super(message);
        this.kind = kind;
    }
}

/** The answer that tells of an error. */
export function answer(kind: Kind, message: string): Response {
    const [code, status, help] = ERRORS[kind];
    const headers: Record<string, string> = { "Cache-Control": "no-store" };
    if (kind === "unauthorized") headers["WWW-Authenticate"] = "Bearer";
    if (kind === "upgradeNeeded") headers["Upgrade"] = "websocket";
    if (status === 503) headers["Retry-After"] = "5";
    return Response.json({ error: { code, message, help } }, { status, headers });
}
