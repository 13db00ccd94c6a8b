// Why a delivery was not taken, and what its sender can do: the answers other than 2xx. They are the receiver's own,
// word for word (crates/events/src/refusal.rs), so that GitHub's delivery log reads the same wherever it was received.

const unusual = "check what sends this: GitHub does not";
const again = "nothing was kept; deliver it again later (GitHub lists it as failed)";
const headersOnly = "only GitHub's webhooks, or what sends the same headers, can post here";

/** Every refusal: its code, its status, what is wrong, what to do. */
export const REFUSALS = {
    event: [
        "WL0301",
        400,
        "the header X-GitHub-Event is missing or is not a name of letters, digits, '_' and '-' (at most 64)",
        headersOnly,
    ],
    delivery: [
        "WL0302",
        400,
        "the header X-GitHub-Delivery is missing or is not an identifier of letters, digits, '-', '_' and '.' (at most 128)",
        headersOnly,
    ],
    signatureMissing: [
        "WL0303",
        401,
        "the header X-Hub-Signature-256 is missing: the delivery is not signed",
        "set a secret on the webhook at GitHub: without one GitHub does not sign",
    ],
    signatureMalformed: [
        "WL0304",
        401,
        "the header X-Hub-Signature-256 is not 'sha256=' followed by 64 hex digits",
        "sign with HMAC-SHA256; the older X-Hub-Signature (SHA-1) is not accepted",
    ],
    signatureMismatch: [
        "WL0305",
        401,
        "the signature matches none of the configured secrets",
        "set the same secret on the webhook and in [github] secret; a proxy must not change the body",
    ],
    contentType: [
        "WL0306",
        415,
        "the content type is neither application/json nor application/x-www-form-urlencoded",
        "set the webhook's content type to application/json",
    ],
    tooLarge: [
        "WL0307",
        413,
        "the body is larger than 26214400 bytes (25 MiB)",
        "GitHub itself drops payloads above 25 MB: check what sends this",
    ],
    notAnObject: ["WL0308", 400, "the payload is not a JSON object", unusual],
    formPayload: ["WL0309", 400, "the form has no readable field 'payload'", unusual],
    nameTooLong: [
        "WL0310",
        400,
        "a name in the payload is longer than 255 bytes once it is encoded for a subject",
        unusual,
    ],
    notStored: [
        "WL0311",
        503,
        "the event could not be stored: NATS did not take it, and neither did the spool",
        again,
    ],
    overloaded: ["WL0312", 503, "too many deliveries are in flight", again],
    bodyTimeout: [
        "WL0313",
        408,
        "the body did not arrive in time",
        "check the network between GitHub and here, and any proxy on the way",
    ],
    notFound: [
        "WL0314",
        404,
        "there is nothing at this path; webhooks go to POST /github",
        "set the webhook's URL to one that ends in /github",
    ],
    methodNotAllowed: [
        "WL0315",
        405,
        "this path does not take this method",
        "see the Allow header for the methods this path takes",
    ],
} as const satisfies Record<string, readonly [string, number, string, string]>;

/** The name of a refusal. */
export type Reason = keyof typeof REFUSALS;

/** A delivery that was not taken. Nothing of it was kept. */
export class Refusal extends Error {
    readonly reason: Reason;

    constructor(reason: Reason) {
        super(REFUSALS[reason][2]);
        this.reason = reason;
    }

    get code(): string {
        return REFUSALS[this.reason][0];
    }
}

/** The answer to a delivery that was not taken. */
export function refuse(reason: Reason, allow?: string): Response {
    const [code, status, message, help] = REFUSALS[reason];
    const headers: Record<string, string> = {};
    if (allow !== undefined) headers["Allow"] = allow;
    // The rest of the body is not read, so the connection cannot go on.
    if (reason === "tooLarge" || reason === "bodyTimeout") headers["Connection"] = "close";
    if (status === 503) headers["Retry-After"] = "5";
    return Response.json({ code, message, help }, { status, headers });
}
