// The peer of the receiver at the edge: the least that keeps the same promise. One Durable Object verifies the signature,
// publishes with the delivery as message id through the official library, and answers when JetStream has acknowledged. It
// reads no payload, knows no subjects, and loses nothing only as long as the hub is there.
import { DurableObject } from "cloudflare:workers";
import { jetstream } from "@nats-io/jetstream";
import { credsAuthenticator, wsconnect } from "@nats-io/nats-core";

const encoder = new TextEncoder();

export class Publisher extends DurableObject {
    #key;
    #stream;

    async fetch(request) {
        const { HUB, CREDS, SECRET } = this.env;
        this.#key ??= crypto.subtle.importKey("raw", encoder.encode(SECRET), { name: "HMAC", hash: "SHA-256" }, false, [
            "verify",
        ]);
        this.#stream ??= wsconnect({ servers: HUB, authenticator: credsAuthenticator(encoder.encode(CREDS)) }).then(
            (connection) => jetstream(connection),
        );
        const body = new Uint8Array(await request.arrayBuffer());
        const hex = request.headers.get("x-hub-signature-256").slice("sha256=".length);
        const signature = Uint8Array.from(hex.match(/../g), (byte) => Number.parseInt(byte, 16));
        if (!(await crypto.subtle.verify("HMAC", await this.#key, signature, body))) {
            return Response.json({ status: "refused" }, { status: 401 });
        }
        const msgID = request.headers.get("x-github-delivery");
        const { seq, duplicate } = await (await this.#stream).publish("github.peer.webhook", body, { msgID });
        return Response.json({ status: "stored", sequence: seq, duplicate });
    }
}

export default {
    fetch(request, env) {
        return env.PUBLISHER.get(env.PUBLISHER.idFromName("one")).fetch(request);
    },
};
