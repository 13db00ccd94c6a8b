// The official client of NATS through the Worker: what it hears and what it stores, as one JSON object.
// NODE_MODULES: where the packages are. NATS_URL, NATS_CREDS: where to, and the file to connect with.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(`${process.env.NODE_MODULES}/of-a-package.js`);
const load = (name) => import(pathToFileURL(require.resolve(name)).href);
const { credsAuthenticator, wsconnect } = await load("@nats-io/nats-core");
const { jetstream } = await load("@nats-io/jetstream");

const nats = await wsconnect({
    servers: process.env.NATS_URL,
    authenticator: credsAuthenticator(readFileSync(process.env.NATS_CREDS)),
    timeout: 20_000,
});
nats.subscribe("echo", { callback: (_, message) => message.respond(message.data) });
const echo = (await nats.request("echo", "through the Worker", { timeout: 5_000 })).string();

const hub = jetstream(nats, { domain: "hub" });
let stream;
let stored = 0;
for (let number = 0; number < 5; number += 1) {
    stream = (await hub.publish("github.acme.client.message", String(number), { msgID: `n${number}`, timeout: 5_000 })).stream;
}
const consumer = await hub.consumers.get("GITHUB");
const messages = await consumer.fetch({ max_messages: 5, expires: 5_000 });
for await (const message of messages) if (message.string() === String(stored)) stored += 1;
process.stdout.write(JSON.stringify({ server: nats.info.server_name, echo, stream, stored }));
await nats.close();
process.exit(0);
