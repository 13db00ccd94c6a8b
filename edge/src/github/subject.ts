// The subject of an event: `github.<owner>.<repository>.<event>.<action>`. Bytes that NATS gives a meaning to (and
// `%`) are percent-encoded, everything else stays as GitHub wrote it.

import type { Names } from "./payload.ts";
import { Refusal } from "./refusal.ts";

/** The longest token, in bytes after encoding. */
export const MAX_TOKEN = 255;

const encoder = new TextEncoder();

// White space beyond ASCII is nothing to NATS, but some clients split protocol lines at it.
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for.
const RESERVED_IN_TOKEN = /[\u0000-\u0020.*>%\u007f]|\p{White_Space}/gu;

/** The subject of an event; throws a `Refusal` when a name is too long. */
export function subject(prefix: string, event: string, names: Names): string {
    const owner = token(names.owner);
    const repository = token(names.repository);
    return `${prefix}.${owner}.${repository}.${token(event)}.${token(names.action)}`;
}

/** What keeps its order: the events of one repository, or of what stands in its place. */
export function orderOf(subjectOfEvent: string, prefix: string): string {
    const start = prefix.length + 1;
    const owner = subjectOfEvent.indexOf(".", start);
    return subjectOfEvent.slice(start, subjectOfEvent.indexOf(".", owner + 1));
}

/** One name as a token: `-` for none, and `%2D` for the name `-` itself. */
export function token(name: string | undefined): string {
    if (!name) return "-";
    if (name === "-") return "%2D";
    const encoded = percentEncode(name, RESERVED_IN_TOKEN);
    // Three bytes are the most that a UTF-16 unit takes.
    if (encoded.length * 3 > MAX_TOKEN && encoder.encode(encoded).length > MAX_TOKEN) {
        throw new Refusal("nameTooLong");
    }
    return encoded;
}

/** Percent-encodes what `reserved` (a global expression) matches, byte by byte, in upper-case hex. */
export function percentEncode(text: string, reserved: RegExp): string {
    return text.replace(reserved, (character) => {
        let encoded = "";
        for (const byte of encoder.encode(character)) {
            encoded += `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
        }
        return encoded;
    });
}
