// The part of a container engine that workerd asks for, with processes instead of containers: a container is the
// nats-server on this machine with the image's configuration and the environment that it was created with. Each gets
// a loopback address of its own, so all of them can listen on the same ports.

import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { createServer } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import { directory, freePort, natsServer, root } from "./harness.mjs";

const CONFIGURATION = join(root, "..", "containers", "nats", "nats-server.conf");
const SIGNALS = { 9: "SIGKILL", 12: "SIGUSR2", 15: "SIGTERM" };

/** Starts an engine on a Unix socket; `containers` is what runs, `started` every environment that was started. */
export async function startEngine() {
    const home = directory();
    const socket = join(home.path, "engine.sock");
    const containers = new Map();
    const engine = {
        image: "windlass/nats:test",
        socket,
        containers,
        started: [],
        failing: false,
        addresses: 0,
    };

    const launch = (container) => {
        const data = join(home.path, `data-${engine.started.length}`);
        mkdirSync(data);
        const env = Object.fromEntries(
            container.env.map((line) => [
                line.slice(0, line.indexOf("=")),
                line.slice(line.indexOf("=") + 1),
            ]),
        );
        engine.started.push(env);
        const server = spawn(engine.failing ? "false" : natsServer, ["-c", CONFIGURATION], {
            stdio: ["ignore", "pipe", "pipe"],
            env: {
                ...env,
                PATH: process.env.PATH,
                HOST: `"${container.address}"`,
                STORE_DIR: JSON.stringify(data),
                DEBUG: "false",
                LAME_DUCK_DURATION: '"30s"',
                LAME_DUCK_GRACE_PERIOD: '"1s"',
            },
        });
        container.process = server;
        container.said = "";
        for (const stream of [server.stdout, server.stderr]) {
            stream.on("data", (data) => {
                container.said += data;
            });
        }
        container.ended = new Promise((resolve) => {
            server.on("exit", (code, signal) => {
                container.status = code ?? (signal === "SIGKILL" ? 137 : 143);
                resolve(container.status);
            });
        });
    };

    /** The side-car: raw tunnels to the container's ports. */
    const sidecar = async (container) => {
        const server = createServer((_, response) => response.end("ok"));
        server.on("connect", (request, client, head) => {
            client.on("error", () => undefined);
            const port = Number((request.headers["x-dst-addr"] ?? request.url).split(":").pop());
            const upstream = connect(port, container.address);
            upstream.setNoDelay(true);
            client.setNoDelay(true);
            upstream.once("connect", () => {
                client.write("HTTP/1.1 200 OK\r\n\r\n");
                if (head.length > 0) upstream.write(head);
                upstream.pipe(client).pipe(upstream);
            });
            upstream.on("error", () => client.end("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"));
            upstream.on("close", () => client.destroy());
            client.on("close", () => upstream.destroy());
        });
        container.port = await freePort();
        await new Promise((resolve) => server.listen(container.port, "127.0.0.1", resolve));
        container.server = server;
    };

    const remove = async (container) => {
        if (container.process && container.status === undefined) container.process.kill("SIGKILL");
        await container.ended;
        container.server?.closeAllConnections();
        container.server?.close();
        containers.delete(container.name);
    };

    const server = createServer((request, response) => {
        let body = "";
        request.on("data", (part) => {
            body += part;
        });
        request.on("end", () => {
            answer(request, body, response).catch((error) => {
                response.writeHead(500, { "Content-Type": "application/json" });
                response.end(JSON.stringify({ message: String(error) }));
            });
        });
    });

    const answer = async (request, body, response) => {
        const url = new URL(request.url, "http://engine");
        const reply = (status, value) => {
            response.writeHead(status, { "Content-Type": "application/json" });
            response.end(value === undefined ? "" : JSON.stringify(value));
        };
        const route = `${request.method} ${url.pathname}`;
        if (route === "GET /volumes") return reply(200, { Volumes: [] });
        if (route === "GET /networks/bridge") {
            return reply(200, { IPAM: { Config: [{ Subnet: "127.0.0.0/8", Gateway: "127.0.0.1" }] } });
        }
        if (route === "GET /containers/json") return reply(200, []);
        if (route === "POST /containers/create") {
            const name = url.searchParams.get("name");
            if (containers.has(name)) return reply(409, { message: "the name is taken" });
            const { Image, Env } = JSON.parse(body);
            const proxy = name.endsWith("-proxy");
            const container = { name, image: Image, env: Env ?? [], proxy };
            const other = containers.get(proxy ? name.slice(0, -"-proxy".length) : `${name}-proxy`);
            engine.addresses += other ? 0 : 1;
            container.address = other?.address ?? `127.77.${process.pid % 250}.${engine.addresses}`;
            containers.set(name, container);
            return reply(201, { Id: name, Warnings: [] });
        }
        const [, name, action] = /^\/containers\/([^/]+)(?:\/(\w+))?$/.exec(url.pathname) ?? [];
        const container = containers.get(name);
        if (container === undefined) return reply(404, { message: "no such container" });
        switch (`${request.method} ${action ?? ""}`) {
            case "GET json": {
                const running = container.proxy
                    ? container.server !== undefined
                    : container.status === undefined && container.process !== undefined;
                return reply(200, {
                    Id: name,
                    Name: `/${name}`,
                    State: { Status: running ? "running" : "exited", Running: running },
                    Config: { Image: container.image, Labels: {} },
                    NetworkSettings: {
                        Ports: {
                            "39001/tcp": [{ HostIp: "127.0.0.1", HostPort: String(container.port ?? 0) }],
                        },
                    },
                });
            }
            case "POST start":
                if (container.proxy) await sidecar(container);
                else launch(container);
                return reply(204);
            case "POST wait":
                return reply(200, { StatusCode: (await container.ended) ?? 0 });
            case "POST kill": {
                if (container.status !== undefined) return reply(409, { message: "it does not run" });
                const signal = url.searchParams.get("signal") ?? "SIGKILL";
                container.process.kill(SIGNALS[signal] ?? signal);
                return reply(204);
            }
            case "DELETE ":
                await remove(container);
                return reply(204);
            default:
                return reply(501, { message: route });
        }
    };
    await new Promise((resolve) => server.listen(socket, resolve));
    engine.servers = () =>
        [...containers.values()].filter((each) => !each.proxy && each.status === undefined);
    engine.server = (name) => engine.servers().find((each) => each.env.includes(`NODE_NAME="${name}"`));
    engine.stop = async () => {
        await Promise.all([...containers.values()].map(remove));
        server.closeAllConnections();
        server.close();
        home.remove();
    };
    return engine;
}
