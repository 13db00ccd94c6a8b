// The receiver that one would write in Node with the official libraries: verify with @octokit/webhooks,
// publish with @nats-io/jetstream, answer once JetStream has acknowledged. It stores the same subject, headers and
// bytes as Windlass and promises the same durability, so that the comparison is about speed alone.
//
// `webhooks.verify` and one JSON.parse is the lean way through the library: `verifyAndReceive` parses the same JSON
// and then calls the event handlers, but keeps the exact bytes from them.
import { createServer } from "node:http";
import { jetstream } from "@nats-io/jetstream";
import { connect, headers } from "@nats-io/transport-node";
import { Webhooks } from "@octokit/webhooks";

const { NATS_URL, WEBHOOK_SECRET, PORT } = process.env;

const webhooks = new Webhooks({ secret: WEBHOOK_SECRET });
const connection = await connect({ servers: NATS_URL });
const js = jetstream(connection);

/** Percent-encodes what NATS forbids in a subject's token; an absent name is `-`. */
function token(name) {
  if (!name) return "-";
  if (name === "-") return "%2D";
  return name.replace(
    // eslint-disable-next-line no-control-regex
    /[\x00-\x20.*>%\x7f]/g,
    (c) => "%" + c.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0"),
  );
}

const KEPT = [
  ["X-GitHub-Hook-ID", "x-github-hook-id"],
  ["X-GitHub-Hook-Installation-Target-ID", "x-github-hook-installation-target-id"],
  ["X-GitHub-Hook-Installation-Target-Type", "x-github-hook-installation-target-type"],
];

function messageHeaders(request, delivery, event, action, owner, repository) {
  const result = headers();
  result.set("X-GitHub-Event", event);
  result.set("X-GitHub-Delivery", delivery);
  for (const [name, key] of KEPT) {
    const value = request.headers[key];
    if (value) result.set(name, value);
  }
  result.set("Content-Type", "application/json");
  result.set("ce-specversion", "1.0");
  result.set("ce-id", delivery);
  result.set("ce-type", action ? `com.github.${event}.${action}` : `com.github.${event}`);
  const path = [owner, repository].filter(Boolean).map(encodeURIComponent).join("/");
  result.set("ce-source", `https://github.com/${path}`);
  result.set("ce-time", new Date().toISOString());
  result.set("ce-datacontenttype", "application/json");
  return result;
}

async function body(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return chunks.length === 1 ? chunks[0] : Buffer.concat(chunks);
}

async function receive(request) {
  const delivery = request.headers["x-github-delivery"];
  const event = request.headers["x-github-event"];
  const signature = request.headers["x-hub-signature-256"];
  if (!delivery || !event || !signature) return [400, { message: "a header is missing" }];

  const bytes = await body(request);
  const text = bytes.toString("utf8");
  if (!(await webhooks.verify(text, signature))) return [401, { message: "the signature does not match" }];

  const payload = JSON.parse(text);
  const owner = payload.repository?.owner?.login ?? payload.repository?.owner?.name ?? payload.organization?.login;
  const repository = payload.repository?.name;
  const action = typeof payload.action === "string" ? payload.action : undefined;
  const subject = `github.${token(owner)}.${token(repository)}.${token(event)}.${token(action)}`;

  const ack = await js.publish(subject, bytes, {
    msgID: delivery,
    headers: messageHeaders(request, delivery, event, action, owner, repository),
  });
  return [200, { status: "stored", delivery, stream: ack.stream, sequence: ack.seq, duplicate: ack.duplicate }];
}

const server = createServer((request, response) => {
  if (request.method !== "POST" || request.url !== "/github") {
    response.writeHead(request.url === "/readyz" ? 200 : 404).end();
    return;
  }
  receive(request)
    .catch((error) => [503, { message: error.message }])
    .then(([status, answer]) => {
      const text = JSON.stringify(answer);
      const length = Buffer.byteLength(text);
      response.writeHead(status, { "Content-Type": "application/json", "Content-Length": length }).end(text);
    });
});

server.listen(Number(PORT), "127.0.0.1");

process.on("SIGTERM", async () => {
  server.close();
  server.closeAllConnections();
  await connection.drain();
  process.exit(0);
});
