// The claim check: a payload too large for a message goes into an object bucket, and the message says where. The
// object is put before the message, under the delivery GUID, so that a message never points at nothing.

import type { Header } from "./headers.ts";

/** The bucket in which large payloads are kept. */
export const BUCKET = "GITHUB_PAYLOADS";

/** Payloads of more bytes than this go to the bucket, unless the settings say otherwise. */
export const ABOVE = 512 * 1024;

/** What a message must leave free below the server's `max_payload` for its headers. */
export const HEADER_ROOM = 16 * 1024;

/** The headers that say where a payload is, how large, and which bytes. */
export async function ticket(
    bucket: string,
    delivery: string,
    body: Uint8Array<ArrayBuffer>,
): Promise<Header[]> {
    return [
        ["ce-dataref", `nats-object://${bucket}/${delivery}`],
        ["Windlass-Payload-Size", String(body.length)],
        ["Windlass-Payload-Digest", await digest(body)],
    ];
}

/** The digest of a payload, as NATS object stores write it. */
export async function digest(payload: Uint8Array<ArrayBuffer>): Promise<string> {
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", payload));
    const base64 = btoa(String.fromCharCode(...hash));
    return `SHA-256=${base64.replaceAll("+", "-").replaceAll("/", "_")}`;
}
