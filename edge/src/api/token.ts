// Bearer tokens, compared in constant time: both sides are hashed first, so that neither length nor content shows.

const encoder = new TextEncoder();

/** The token of an `Authorization` header. */
export function bearerOf(header: string | null): string | undefined {
    return /^Bearer ([^\s]+)$/i.exec(header ?? "")?.[1];
}

/** Whether a token is the expected one. Without an expected one none is. */
export async function sameToken(given: string, expected: string | undefined): Promise<boolean> {
    const [one, other] = await Promise.all([hash(given), hash(expected ?? "")]);
    let difference = 0;
    for (const [index, byte] of one.entries()) difference |= byte ^ (other[index] ?? 0);
    return difference === 0 && expected !== undefined && expected !== "";
}

async function hash(text: string): Promise<Uint8Array> {
    return new Uint8Array(await crypto.subtle.digest("SHA-256", encoder.encode(text)));
}
