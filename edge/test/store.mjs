// R2 and KV as workerd asks for them when its bindings point at an HTTP server: the few calls that the Worker makes.
// R2: the operation is JSON in the header CF-R2-Request, for a put followed by the value; KV: the key is the path.

import { createServer } from "node:http";

function listen(handler) {
    return new Promise((resolve) => {
        const server = createServer((request, response) => {
            const parts = [];
            request.on("data", (part) => parts.push(part));
            request.on("end", () => handler(request, Buffer.concat(parts), response));
        });
        server.listen(0, "127.0.0.1", () => resolve(server));
    });
}

/** Starts both; `objects` and `keys` are what is in them. */
export async function startStore() {
    const objects = new Map();
    const keys = new Map();
    const store = { objects, keys, failing: false };
    const r2 = await listen((request, body, response) => {
        if (store.failing) {
            response.writeHead(503, {
                "CF-R2-Error": JSON.stringify({ version: 1, v4code: 10043, message: "down" }),
            });
            response.end();
            return;
        }
        let operation;
        let value = Buffer.alloc(0);
        if (request.headers["cf-r2-metadata-size"] !== undefined) {
            const size = Number(request.headers["cf-r2-metadata-size"]);
            operation = JSON.parse(body.subarray(0, size).toString());
            value = body.subarray(size);
        } else {
            operation = JSON.parse(request.headers["cf-r2-request"]);
        }
        const describe = (name, object) => ({
            name,
            version: "v1",
            size: object.length,
            etag: "etag",
            uploaded: Date.now(),
            httpFields: {},
            customFields: [],
            checksums: {},
            storageClass: "Standard",
        });
        const name = operation.object;
        const reply = (metadata, payload = Buffer.alloc(0)) => {
            const head = Buffer.from(JSON.stringify(metadata));
            response.writeHead(200, { "CF-R2-Metadata-Size": String(head.length) });
            response.end(Buffer.concat([head, payload]));
        };
        switch (operation.method) {
            case "put":
                objects.set(name, value);
                reply(describe(name, value));
                return;
            case "get":
            case "head": {
                const object = objects.get(name);
                if (object === undefined) {
                    response.writeHead(404, {
                        "CF-R2-Error": JSON.stringify({
                            version: 1,
                            v4code: 10007,
                            message: "no such object",
                        }),
                    });
                    response.end();
                } else {
                    reply(describe(name, object), operation.method === "get" ? object : undefined);
                }
                return;
            }
            case "delete":
                for (const key of operation.objects ?? [name]) objects.delete(key);
                reply({});
                return;
            default:
                response.writeHead(501);
                response.end(operation.method);
        }
    });
    const kv = await listen((request, body, response) => {
        const key = decodeURIComponent(new URL(request.url, "http://kv").pathname.slice(1));
        if (request.method === "GET") {
            const value = keys.get(key);
            response.writeHead(value === undefined ? 404 : 200);
            response.end(value);
        } else if (request.method === "PUT") {
            keys.set(key, body);
            response.writeHead(200);
            response.end();
        } else if (request.method === "DELETE") {
            keys.delete(key);
            response.writeHead(200);
            response.end();
        } else {
            response.writeHead(405);
            response.end();
        }
    });
    store.r2 = r2.address().port;
    store.kv = kv.address().port;
    store.stop = () => {
        for (const server of [r2, kv]) {
            server.closeAllConnections();
            server.close();
        }
    };
    return store;
}
