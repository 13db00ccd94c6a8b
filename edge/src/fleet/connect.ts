// From an upgrade to the node that carries the connection.

import { answer } from "../errors.ts";
import { type Env, regionOf, settingsOf } from "../settings.ts";
import { pick } from "./decide.ts";
import { fleetStub, nodeStub } from "./fleet.ts";
import { forget, runningNodes } from "./routing.ts";

/** What of a handshake the server may see. Everything else, cookies above all, is the Worker's own affair. */
const HANDSHAKE = [
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-extensions",
    "sec-websocket-protocol",
    "origin",
    "user-agent",
];

/** Carries a client's or a leaf node's connection to a node of the region. */
export async function connect(
    request: Request,
    env: Env,
    region: string,
    kind: "clients" | "leaves",
): Promise<Response> {
    if (regionOf(settingsOf(env), region) === undefined) {
        return answer("noRegion", "the fleet has no such region");
    }
    if (request.method !== "GET" || request.headers.get("upgrade")?.toLowerCase() !== "websocket") {
        return answer("upgradeNeeded", "only WebSocket connections are taken here");
    }
    const chosen = pick(await runningNodes(env, region, Date.now()), Math.random);
    const number = chosen ?? (await fleetStub(env).assign(region));
    if (number === undefined) return answer("noNode", "no node of the region takes connections");
    const first = await carry(request, env, region, number, kind);
    if (first.status !== 503) return first;
    // The node is on its way out, or failed; there may be another.
    forget();
    const other = await fleetStub(env).assign(region, number);
    return other === undefined ? first : carry(request, env, region, other, kind);
}

function carry(request: Request, env: Env, region: string, number: number, kind: string): Promise<Response> {
    const headers = new Headers({ Upgrade: "websocket" });
    for (const name of HANDSHAKE) {
        const value = request.headers.get(name);
        if (value !== null) headers.set(name, value);
    }
    // The server's log and /connz show who connected; what the client itself says of it is not believed.
    const address = request.headers.get("cf-connecting-ip");
    if (address !== null) headers.set("x-forwarded-for", address);
    return nodeStub(env, { region, number }).fetch(`http://node/${region}/${number}/${kind}`, { headers });
}
