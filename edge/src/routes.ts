// What a path means. Paths are compared exactly, as they came: nothing is decoded, folded or completed, so a path that
// only looks like one of these is none.

/** Where a request goes. */
export type Route =
    | { to: "github" }
    | { to: "health" }
    | { to: "clients"; region: string }
    | { to: "leaves"; region: string }
    | { to: "api"; path: string }
    | { to: "nothing" };

const REGION = "([a-z0-9-]{1,32})";
const CLIENTS = new RegExp(`^/nats/${REGION}$`);
// A server that is given `wss://HOST/leaf/REGION` asks for that with `/leafnode` at its end.
const LEAVES = new RegExp(`^/leaf/${REGION}/leafnode$`);

/** Reads a path. */
export function routeOf(path: string): Route {
    if (path === "/github") return { to: "github" };
    if (path === "/health") return { to: "health" };
    if (path.startsWith("/api/")) return { to: "api", path: path.slice("/api".length) };
    const clients = CLIENTS.exec(path)?.[1];
    if (clients !== undefined) return { to: "clients", region: clients };
    const leaves = LEAVES.exec(path)?.[1];
    if (leaves !== undefined) return { to: "leaves", region: leaves };
    return { to: "nothing" };
}
