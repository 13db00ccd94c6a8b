// The environment that a node's nats-server is started with. The server reads each value as a value of its own
// configuration language: texts are quoted, numbers bare, lists and maps written out. Credentials need no file: the
// server is told to look for them in /proc/self/environ, so nothing secret lies on a disk.

import type { Settings } from "../settings.ts";

/** Which node: the region and the number in it. */
export interface Identity {
    region: string;
    number: number;
}

/** Where the server finds the credentials of its leaf connection. */
const CREDENTIALS = "/proc/self/environ";

/** The name of a node, unique in the fleet. */
export function nodeName(settings: Settings, { region, number }: Identity): string {
    return `${settings.fleet}-${settings.cluster}-${region}-${number}`;
}

/** The environment of a node. */
export function environment(
    settings: Settings,
    identity: Identity,
    creds: string | undefined,
): Record<string, string> {
    const { node, hub } = settings;
    const urls = hub.leaf_url
        .split(",")
        .map((url) => url.trim())
        .filter((url) => url !== "");
    const remote = [`urls: [${urls.map(quote).join(", ")}]`];
    if (node.account !== "") remote.push(`account: ${quote(node.account)}`);
    if (creds) remote.push(`credentials: ${quote(CREDENTIALS)}`);
    const accounts = Object.entries(node.accounts).map(([key, jwt]) => `${key}: ${quote(jwt)}`);
    return {
        NODE_NAME: quote(nodeName(settings, identity)),
        DOMAIN: quote(settings.domain),
        OPERATOR: quote(node.operator),
        SYSTEM_ACCOUNT: quote(node.system_account),
        ACCOUNTS: `{${accounts.join(", ")}}`,
        HUB_REMOTES: urls.length === 0 ? "[]" : `[{${remote.join(", ")}}]`,
        HUB_CREDS: ownLines(creds),
        HUB_CA: ownLines(hub.ca),
        MAX_FILE: String(node.max_file),
        MAX_MEMORY: String(node.max_memory),
        MAX_PAYLOAD: String(node.max_payload),
    };
}

function quote(text: string): string {
    return JSON.stringify(text);
}

/** A text whose decorated blocks begin on a line, as the server looks for them; nothing stays nothing. */
function ownLines(text: string | undefined): string {
    return text ? `\n${text.trim()}\n` : "";
}
