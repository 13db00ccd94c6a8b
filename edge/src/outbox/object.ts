// A payload in a NATS object bucket: pieces under `$O.<bucket>.C.<id>`, then the description under
// `$O.<bucket>.M.<name>`, which makes the object. It is the format of NATS's object stores (ADR-20), written by hand: the
// client library asks for more permissions than the receiver's user has, and waits for each piece before the next.

import { digest } from "../github/claim_check.ts";

/** How large a piece is, as every client of NATS cuts them. */
export const PIECE = 128 * 1024;

/** The subject of an object's description. */
export function descriptionSubject(bucket: string, name: string): string {
    const encoded = btoa(String.fromCharCode(...new TextEncoder().encode(name)));
    return `$O.${bucket}.M.${encoded.replaceAll("+", "-").replaceAll("/", "_")}`;
}

/** Where the last description is asked for. */
export function lookupSubject(bucket: string, name: string): string {
    return `$JS.API.DIRECT.GET.OBJ_${bucket}.${descriptionSubject(bucket, name)}`;
}

/** The subject of an object's pieces. */
export function piecesSubject(bucket: string, id: string): string {
    return `$O.${bucket}.C.${id}`;
}

/** The pieces of a payload. */
export function* pieces(body: Uint8Array): Generator<Uint8Array> {
    for (let at = 0; at < body.length; at += PIECE) yield body.subarray(at, at + PIECE);
}

/** An object's description. */
export async function describe(
    bucket: string,
    name: string,
    id: string,
    body: Uint8Array<ArrayBuffer>,
    now: Date,
): Promise<string> {
    return JSON.stringify({
        name,
        bucket,
        nuid: id,
        size: body.length,
        chunks: Math.ceil(body.length / PIECE),
        mtime: now.toISOString(),
        digest: await digest(body),
        deleted: false,
        options: { max_chunk_size: PIECE },
    });
}

/** Whether a description that was found is of these bytes. */
export async function isSame(description: Uint8Array, body: Uint8Array<ArrayBuffer>): Promise<boolean> {
    try {
        const found: unknown = JSON.parse(new TextDecoder().decode(description));
        if (typeof found !== "object" || found === null) return false;
        const known = found as { digest?: unknown; deleted?: unknown };
        return known.deleted !== true && known.digest === (await digest(body));
    } catch {
        return false;
    }
}
