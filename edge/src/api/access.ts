// Cloudflare Access puts a signed token into a header of every request that it lets through. Whoever knows the Worker's
// address can send such a header, too, so the token is verified here: RS256 by a key of the team, for this application,
// from this team, and valid now.

/** The header in which Access hands its token over. */
export const HEADER = "Cf-Access-Jwt-Assertion";

/** What tokens are compared with. */
export interface Access {
    team_domain: string;
    audience: string;
}

/** Where a team's keys come from. */
export type FetchKeys = (url: string) => Promise<JsonWebKeyWithId[]>;

export interface JsonWebKeyWithId {
    kid: string;
    kty: string;
    n: string;
    e: string;
}

/** How long fetched keys are used; the team's keys change every six weeks, and the former ones stay valid for a week. */
const FRESH = 3_600_000;
/** How often an unknown key may make them be fetched again. */
const AGAIN = 60_000;
/** How far clocks may be apart. */
const SKEW = 30;

/** The keys of a team, fetched when they are needed. */
export class Keys {
    readonly #url: string;
    readonly #fetch: FetchKeys;
    #keys = new Map<string, CryptoKey>();
    #fetchedAt = Number.NEGATIVE_INFINITY;

    constructor(access: Access, fetchKeys: FetchKeys) {
        this.#url = `${issuer(access)}/cdn-cgi/access/certs`;
        this.#fetch = fetchKeys;
    }

    async get(kid: string, now: number): Promise<CryptoKey | undefined> {
        const age = now - this.#fetchedAt;
        const stale = age > FRESH || (!this.#keys.has(kid) && age > AGAIN);
        if (stale) await this.#load(now);
        return this.#keys.get(kid);
    }

    async #load(now: number): Promise<void> {
        // Before the fetch: a team that does not answer is not asked for every request.
        this.#fetchedAt = now;
        const found = new Map<string, CryptoKey>();
        for (const key of await this.#fetch(this.#url)) {
            if (key.kty !== "RSA" || typeof key.kid !== "string") continue;
            const { n, e } = key;
            const jwk = { kty: "RSA", n, e, alg: "RS256", ext: true };
            const algorithm = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };
            found.set(key.kid, await crypto.subtle.importKey("jwk", jwk, algorithm, false, ["verify"]));
        }
        this.#keys = found;
    }
}

/** The issuer of a team's tokens. */
export function issuer({ team_domain }: Access): string {
    // A team in a test lives on loopback; any other is spoken to by TLS alone.
    if (/^http:\/\/127\.0\.0\.1:\d+$/.test(team_domain)) return team_domain;
    return `https://${team_domain.replace(/^https:\/\//, "")}`;
}

/** Whether a token lets its bearer in. */
export async function verifyAccess(
    token: string | null,
    access: Access | undefined,
    keys: Keys | undefined,
    now: number,
): Promise<boolean> {
    if (token === null || access === undefined || keys === undefined || access.audience === "") return false;
    try {
        const [head, claims, signature, ...rest] = token.split(".");
        if (head === undefined || claims === undefined || signature === undefined || rest.length > 0)
            return false;
        const { alg, kid } = json(head);
        // The algorithm is this one, whatever the token says of itself.
        if (alg !== "RS256" || typeof kid !== "string") return false;
        const key = await keys.get(kid, now);
        if (key === undefined) return false;
        const signed = new TextEncoder().encode(`${head}.${claims}`);
        if (!(await crypto.subtle.verify("RSASSA-PKCS1-v1_5", key, base64url(signature), signed)))
            return false;
        return valid(json(claims), access, now / 1_000);
    } catch {
        return false;
    }
}

function valid(claims: Record<string, unknown>, access: Access, now: number): boolean {
    const { aud, exp, nbf, iat, iss } = claims;
    const audiences: unknown[] = Array.isArray(aud) ? aud : [aud];
    if (!audiences.includes(access.audience) || iss !== issuer(access)) return false;
    if (typeof exp !== "number" || exp <= now) return false;
    return [nbf, iat].every(
        (since) => since === undefined || (typeof since === "number" && since <= now + SKEW),
    );
}

function json(part: string): Record<string, unknown> {
    const value: unknown = JSON.parse(new TextDecoder().decode(base64url(part)));
    if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Error("no object");
    return value as Record<string, unknown>;
}

function base64url(text: string): Uint8Array<ArrayBuffer> {
    if (!/^[A-Za-z0-9_-]*$/.test(text)) throw new Error("no base64url");
    const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
    return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}
