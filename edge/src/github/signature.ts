// GitHub's signature: HMAC-SHA256 over the exact bytes of the body, as hex in `X-Hub-Signature-256`. Several keys may
// be valid at once so that a secret can be rotated without losing a delivery. Every key is tried, and WebCrypto
// compares in constant time.

import { Refusal } from "./refusal.ts";

const SCHEME = "sha256=";
const LENGTH = 32;

/** The secrets of a binding: one a line. */
export function secretsOf(lines: string | undefined): string[] {
    return (lines ?? "").split(/\r?\n/).filter((line) => line !== "");
}

/** The keys of these secrets. */
export function importKeys(secrets: readonly string[]): Promise<CryptoKey[]> {
    const encoder = new TextEncoder();
    return Promise.all(
        secrets.map((secret) =>
            crypto.subtle.importKey("raw", encoder.encode(secret), { name: "HMAC", hash: "SHA-256" }, false, [
                "verify",
            ]),
        ),
    );
}

/** Reads the value of `X-Hub-Signature-256`; throws a `Refusal` when it is missing or malformed. */
export function parseSignature(value: string | null): Uint8Array<ArrayBuffer> {
    if (value === null) throw new Refusal("signatureMissing");
    if (!value.startsWith(SCHEME) || value.length !== SCHEME.length + LENGTH * 2)
        throw new Refusal("signatureMalformed");
    const bytes = new Uint8Array(LENGTH);
    for (let index = 0; index < LENGTH; index += 1) {
        const high = digit(value.charCodeAt(SCHEME.length + index * 2));
        const low = digit(value.charCodeAt(SCHEME.length + index * 2 + 1));
        if (high < 0 || low < 0) throw new Refusal("signatureMalformed");
        bytes[index] = high * 16 + low;
    }
    return bytes;
}

/** Checks that one of the keys made this signature over these exact bytes; with no key, none did. */
export async function verify(
    keys: readonly CryptoKey[],
    signature: Uint8Array<ArrayBuffer>,
    body: Uint8Array<ArrayBuffer>,
): Promise<void> {
    let matches = false;
    for (const key of keys) {
        // Every key is tried, so the time does not tell which one matched.
        if (await crypto.subtle.verify("HMAC", key, signature, body)) matches = true;
    }
    if (!matches) throw new Refusal("signatureMismatch");
}

function digit(code: number): number {
    if (code >= 0x30 && code <= 0x39) return code - 0x30;
    if (code >= 0x41 && code <= 0x46) return code - 0x41 + 10;
    if (code >= 0x61 && code <= 0x66) return code - 0x61 + 10;
    return -1;
}
