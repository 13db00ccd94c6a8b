// Starts what the tests run against: a real nats-server, the real workerd with the committed bundle, and a store for
// R2 and KV. Everything listens on loopback, on ports that were free a moment ago, and is stopped by process id.

import { spawn } from "node:child_process";
import { createHash, createHmac, randomUUID } from "node:crypto";
import {
    copyFileSync,
    existsSync,
    mkdirSync,
    mkdtempSync,
    readFileSync,
    realpathSync,
    rmSync,
    writeFileSync,
} from "node:fs";
import { Agent, request } from "node:http";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("..", import.meta.url));
export const SECRET = "It's a Secret to Everybody";
export const API_TOKEN = "a-token-for-the-tests-0123456789";

/** A port of loopback that was free a moment ago. */
export function freePort() {
    return new Promise((resolve, reject) => {
        const server = createServer();
        server.on("error", reject);
        server.listen(0, "127.0.0.1", () => {
            const { port } = server.address();
            server.close(() => resolve(port));
        });
    });
}

/** A directory that goes when the test ends. */
export function directory() {
    const path = mkdtempSync(join(tmpdir(), "windlass-edge-"));
    return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** Waits until `probe` gives something; what it throws meanwhile counts as nothing. */
export async function until(what, probe, patience = 20_000) {
    const end = Date.now() + patience;
    let last;
    while (Date.now() < end) {
        try {
            const found = await probe();
            if (found) return found;
        } catch (error) {
            last = error;
        }
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new Error(`${what} did not come about in ${patience} ms${last ? `: ${last}` : ""}`);
}

/** Starts a process; what it says is kept for the message of a failure. */
export function start(program, args, options = {}) {
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], ...options });
    let said = "";
    const keep = (data) => {
        said = (said + data).slice(-20_000);
        if (process.env.WINDLASS_EDGE_LOG) process.stderr.write(data);
    };
    child.stdout.on("data", keep);
    child.stderr.on("data", keep);
    const ended = new Promise((resolve) => child.on("exit", (code, signal) => resolve({ code, signal })));
    return {
        pid: child.pid,
        said: () => said,
        running: () => child.exitCode === null && child.signalCode === null,
        ended,
        async stop(signal = "SIGTERM") {
            if (child.exitCode === null && child.signalCode === null) child.kill(signal);
            const late = setTimeout(() => child.kill("SIGKILL"), 5_000);
            const end = await ended;
            clearTimeout(late);
            return end;
        },
    };
}

/** Where `tools/fetch` puts what is pinned. */
const tools = join(root, "..", ".tools");

function fetched(path) {
    const file = join(tools, path);
    return existsSync(file) ? file : undefined;
}

export const natsServer = fetched("bin/nats-server") ?? "nats-server";

/** GitHub's published example of every payload. */
export const examples =
    process.env.WINDLASS_WEBHOOK_EXAMPLES ??
    fetched("test-data/node_modules/@octokit/webhooks-examples/api.github.com/index.json");

/** A hub: nats-server with JetStream and WebSocket. It can be stopped and started again on its ports and its data. */
export async function startHub({ extra = "" } = {}) {
    const home = directory();
    const [port, websocket, monitor] = [await freePort(), await freePort(), await freePort()];
    const config = join(home.path, "hub.conf");
    writeFileSync(
        config,
        `host: "127.0.0.1"\nport: ${port}\nhttp: "127.0.0.1:${monitor}"\nserver_name: "hub"\n` +
            `jetstream { store_dir: "${home.path}/data", domain: "hub" }\n` +
            `websocket { host: "127.0.0.1", port: ${websocket}, no_tls: true }\n${extra}`,
    );
    const hub = {
        url: `nats://127.0.0.1:${port}`,
        websocketUrl: `ws://127.0.0.1:${websocket}`,
        websocketPort: websocket,
        process: undefined,
        async up() {
            hub.process = start(natsServer, ["-c", config]);
            await until("the hub", async () => {
                if (!hub.process.running()) throw new Error(hub.process.said());
                return (await fetch(`http://127.0.0.1:${monitor}/healthz`)).ok;
            });
        },
        async stop(signal) {
            await hub.process?.stop(signal);
        },
        async remove() {
            await hub.stop("SIGKILL");
            home.remove();
        },
    };
    await hub.up();
    return hub;
}

/** The settings that the Worker runs with in tests. */
export function settings(hub, more = {}) {
    return {
        fleet: "acme",
        cluster: "edge",
        domain: "edge",
        config_hash: createHash("sha256").update("one").digest("hex"),
        regions: { weur: { min: 0, max: 3 }, enam: { min: 0, max: 2 } },
        sleep_after_seconds: 300,
        hub: {
            websocket_url: hub.websocketUrl,
            leaf_url: `${hub.websocketUrl}/leafnode`,
            jetstream_domain: "hub",
            ca: "",
        },
        node: {
            operator: "",
            system_account: "",
            accounts: {},
            account: "",
            max_file: 0,
            max_memory: 0,
            max_payload: 1_048_576,
            nats_version: "2.15.1",
        },
        github: {
            organization: "acme",
            stream: "GITHUB",
            subject_prefix: "github",
            max_body: 26_214_400,
            inline_limit: 0,
        },
        outbox: { max_events: 100_000, max_bytes: 1_073_741_824 },
        ...more,
    };
}

function capnpText(text) {
    return JSON.stringify(String(text));
}

/** The configuration of workerd: the Worker, its Durable Objects on disk, R2 and KV at the store. */
function capnp({ port, store, storage, engine, env }) {
    const text = (name, value) => `( name = "${name}", text = ${capnpText(value)} )`;
    const container = engine ? `, container = ( imageName = ${capnpText(engine.image)} )` : "";
    const engineText = engine
        ? `\n  containerEngine = ( localDocker = ( socketPath = ${capnpText(`unix:${engine.socket}`)}, containerEgressInterceptorImage = "cloudflare/proxy-everything:x" ) ),`
        : "";
    const own = (name, more) =>
        `    ( className = "${name}", uniqueKey = "acme-${name}", enableSql = true${more} ),`;
    const bindings = [
        '( name = "NODE", durableObjectNamespace = "NatsNode" )',
        '( name = "FLEET", durableObjectNamespace = "Fleet" )',
        '( name = "OUTBOX", durableObjectNamespace = "Outbox" )',
        '( name = "ROUTES", kvNamespace = "kv" )',
        '( name = "PAYLOADS", r2Bucket = "r2" )',
        `( name = "SETTINGS", json = ${capnpText(JSON.stringify(env.SETTINGS))} )`,
        `( name = "VERSION", json = ${capnpText(JSON.stringify({ id: "version-of-the-tests", tag: "", timestamp: "" }))} )`,
        ...["WEBHOOK_SECRET", "API_TOKEN", "HUB_CREDS", "LEAF_CREDS"]
            .filter((name) => env[name] !== undefined)
            .map((name) => text(name, env[name])),
    ];
    return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    ( name = "main", worker = .worker ),
    ( name = "internet", network = ( allow = ["public", "private", "local"], tlsOptions = ( trustBrowserCas = true ) ) ),
    ( name = "storage", disk = ( path = ${capnpText(storage)}, writable = true ) ),
    ( name = "r2", external = ( address = "127.0.0.1:${store.r2}", http = () ) ),
    ( name = "kv", external = ( address = "127.0.0.1:${store.kv}", http = () ) ),
  ],
  sockets = [ ( name = "http", address = "127.0.0.1:${port}", http = (), service = "main" ) ],
);
const worker :Workerd.Worker = (
  modules = [ ( name = "worker.js", esModule = embed "worker.js" ) ],
  compatibilityDate = "2026-11-01",
  globalOutbound = "internet",
  durableObjectStorage = ( localDisk = "storage" ),${engineText}
  durableObjectNamespaces = [
${own("NatsNode", container)}
${own("Fleet", "")}
${own("Outbox", "")}
  ],
  bindings = [
    ${bindings.join(",\n    ")}
  ],
);
`;
}

/** workerd itself: what npm calls so is a script that starts it, and signals have to go to the program. */
function workerd() {
    const named =
        process.env.WINDLASS_WORKERD ?? join(tools, "workerd", "node_modules", "workerd", "bin", "workerd");
    if (readFileSync(named).subarray(0, 2).toString() !== "#!") return named;
    return createRequire(realpathSync(named))("workerd").default;
}

/** The Worker in the real workerd. It can be killed and started again on its port and its storage. */
export async function startWorker({ store, env, engine }) {
    const home = directory();
    const port = await freePort();
    mkdirSync(join(home.path, "storage"));
    copyFileSync(join(root, "dist", "worker.js"), join(home.path, "worker.js"));
    const config = join(home.path, "workerd.capnp");
    const worker = {
        url: `http://127.0.0.1:${port}`,
        port,
        env,
        process: undefined,
        async up() {
            writeFileSync(
                config,
                capnp({ port, store, storage: join(home.path, "storage"), engine, env: worker.env }),
            );
            worker.process = start(workerd(), ["serve", "--experimental", config]);
            await until("the Worker", async () => {
                if (!worker.process.running()) throw new Error(worker.process.said());
                return (await fetch(`${worker.url}/health`)).ok;
            });
        },
        async stop(signal) {
            await worker.process?.stop(signal);
        },
        async remove() {
            await worker.stop("SIGKILL");
            home.remove();
        },
        api(path, init = {}) {
            return fetch(`${worker.url}/api${path}`, {
                ...init,
                headers: { Authorization: `Bearer ${API_TOKEN}`, ...init.headers },
            });
        },
    };
    await worker.up();
    return worker;
}

/** A delivery as GitHub sends it. */
export function delivery(body, { event = "push", id = randomUUID(), secret = SECRET, headers = {} } = {}) {
    const bytes = Buffer.from(body);
    return {
        id,
        body: bytes,
        headers: {
            "Content-Type": "application/json",
            "X-GitHub-Event": event,
            "X-GitHub-Delivery": id,
            "X-Hub-Signature-256": `sha256=${createHmac("sha256", secret).update(bytes).digest("hex")}`,
            ...headers,
        },
    };
}

/** Sends a request; gives the status, the headers and the text of the answer. Without a body, but with its length among
 * the headers, only the head is sent. */
export function send(url, { method = "GET", headers = {}, body } = {}) {
    return new Promise((resolve, reject) => {
        const announced = body === undefined && Number(headers["Content-Length"] ?? 0) > 0;
        const sent = request(url, { method, headers, agent: announced ? false : agent });
        sent.on("response", (response) => {
            let text = "";
            response.setEncoding("utf8");
            response.on("data", (part) => {
                text += part;
            });
            response.on("end", () => {
                if (announced) sent.destroy();
                resolve({ status: response.statusCode, headers: response.headers, text });
            });
            response.on("error", reject);
        });
        sent.on("error", reject);
        if (announced) sent.flushHeaders();
        else sent.end(body);
    });
}

const agent = new Agent({ keepAlive: true });

/** Posts a delivery; gives what the answer says, and its HTTP status as `status`. */
export async function post(worker, { body, headers }) {
    const { status, text } = await send(`${worker.url}/github`, {
        method: "POST",
        body,
        headers: { ...headers, "Content-Length": body.length },
    });
    return { ...(text === "" ? {} : JSON.parse(text)), status };
}
