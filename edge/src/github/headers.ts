// The headers of a stored event: GitHub's own, CloudEvents' (binary mode of its NATS binding) and what NATS needs to
// recognize a redelivery. Names and order are those of crates/events/src/headers.rs.

import type { Names } from "./payload.ts";
import { percentEncode } from "./subject.ts";

/** GitHub's headers that are kept where they were sent, besides the event and the delivery. */
export const KEPT = [
    "X-GitHub-Hook-ID",
    "X-GitHub-Hook-Installation-Target-ID",
    "X-GitHub-Hook-Installation-Target-Type",
    "X-GitHub-Enterprise-Host",
    "X-GitHub-Enterprise-Version",
] as const;

const ENTERPRISE_HOST = 3;

/** How the body is encoded, as its media type. */
export type Encoding = "application/json" | "application/x-www-form-urlencoded";

/** Reads a `Content-Type`; parameters such as a charset are ignored. */
export function parseEncoding(contentType: string): Encoding | undefined {
    // What GitHub sends, nearly always.
    if (contentType === "application/json") return contentType;
    const mediaType = (contentType.split(";", 1)[0] ?? "").trim().toLowerCase();
    if (mediaType === "application/json" || mediaType === "application/x-www-form-urlencoded")
        return mediaType;
    return undefined;
}

/** What came with a delivery, besides its payload. */
export interface Delivery {
    id: string;
    event: string;
    encoding: Encoding;
    /** The values of `KEPT`, where they were sent, in that order. */
    kept: readonly (string | undefined)[];
}

/** A header's name and value, in the order in which they are stored. */
export type Header = readonly [name: string, value: string];

/** The headers of a stored event, without those of a claim check. */
export function headers(delivery: Delivery, names: Names, received: Date): Header[] {
    const found: Header[] = [
        ["Nats-Msg-Id", delivery.id],
        ["X-GitHub-Event", delivery.event],
        ["X-GitHub-Delivery", delivery.id],
    ];
    for (const [index, name] of KEPT.entries()) {
        const value = delivery.kept[index];
        if (value !== undefined) found.push([name, value]);
    }
    found.push(
        ["Content-Type", delivery.encoding],
        ["ce-specversion", "1.0"],
        ["ce-id", delivery.id],
        ["ce-type", ceType(delivery.event, names.action)],
        ["ce-source", ceSource(delivery, names)],
        ["ce-time", received.toISOString()],
        ["ce-datacontenttype", delivery.encoding],
    );
    return found;
}

/** The headers as NATS writes them in front of a message. */
export function encodeHeaders(all: readonly Header[]): string {
    let text = "NATS/1.0\r\n";
    for (const [name, value] of all) text += `${name}: ${value}\r\n`;
    return `${text}\r\n`;
}

/** Encoded headers with more of them at their end. */
export function appendHeaders(encoded: string, more: readonly Header[]): string {
    let text = encoded.slice(0, -2);
    for (const [name, value] of more) text += `${name}: ${value}\r\n`;
    return `${text}\r\n`;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: a header cannot hold them.
const CONTROL = /[\u0000-\u001f\u007f]/g;
/** What RFC 3986 does not allow in a path segment without encoding. */
const NOT_IN_PATH = /[^A-Za-z0-9\-._~!$&'()*+,;=:@]/gu;

function ceType(event: string, action: string | undefined): string {
    if (action === undefined) return `com.github.${event}`;
    // A payload may say anything; a header cannot hold a line break.
    return `com.github.${event}.${percentEncode(action, CONTROL)}`;
}

function ceSource(delivery: Delivery, names: Names): string {
    let source = `https://${delivery.kept[ENTERPRISE_HOST] ?? "github.com"}`;
    for (const segment of [names.owner, names.repository]) {
        if (segment !== undefined) source += `/${percentEncode(segment, NOT_IN_PATH)}`;
    }
    return source;
}
