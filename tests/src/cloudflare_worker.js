// A Worker with a Durable Object, a container, KV, R2 and a secret: the least that shows that each of them is there.
import { DurableObject } from "cloudflare:workers";

const VERSION = "first";

export class Node extends DurableObject {
  async fetch(request) {
    const { pathname } = new URL(request.url);
    if (pathname === "/count") {
      const count = (this.ctx.storage.kv.get("count") ?? 0) + 1;
      this.ctx.storage.kv.put("count", count);
      return new Response(String(count));
    }
    const container = this.ctx.container;
    if (!container.running) container.start({ env: { NODE_NAME: '"weur-0"' }, enableInternet: true });
    for (const end = Date.now() + 8000; Date.now() < end; ) {
      try {
        return await container.getTcpPort(8222).fetch("http://node/varz");
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    }
    return new Response("the container does not answer", { status: 503 });
  }
}

async function kv(env) {
  await env.ROUTES.put("a/é", "one", { metadata: { from: "worker" } });
  const { value, metadata } = await env.ROUTES.getWithMetadata("a/é");
  const { keys } = await env.ROUTES.list({ prefix: "a/" });
  await env.ROUTES.put("gone", "x");
  await env.ROUTES.delete("gone");
  const many = await env.ROUTES.get(["a/é", "none"]);
  return { value, metadata, keys: keys.map((key) => key.name), gone: await env.ROUTES.get("gone"), many: [...many] };
}

async function r2(env) {
  const about = { httpMetadata: { contentType: "text/x" }, customMetadata: { m: "1" } };
  const put = await env.PAYLOADS.put("k/é", "hello", about);
  const part = await env.PAYLOADS.get("k/é", { range: { offset: 1, length: 3 } });
  const refused = await env.PAYLOADS.put("k/é", "x", { onlyIf: { etagMatches: "another" } });
  const created = await env.PAYLOADS.put("k/new", "x", { onlyIf: new Headers({ "if-none-match": "*" }) });
  const again = await env.PAYLOADS.put("k/new", "y", { onlyIf: new Headers({ "if-none-match": "*" }) });
  const unchanged = await env.PAYLOADS.get("k/é", { onlyIf: { etagDoesNotMatch: put.etag } });
  const upload = await env.PAYLOADS.createMultipartUpload("k/large");
  const parts = [await upload.uploadPart(1, "a".repeat(5 * 1024 * 1024)), await upload.uploadPart(2, "b")];
  const large = await upload.complete(parts);
  const listed = await env.PAYLOADS.list({ prefix: "k/", include: ["customMetadata"] });
  await env.PAYLOADS.delete("k/new");
  let bad = null;
  try {
    await env.PAYLOADS.put("k/bad", "x", { md5: "0".repeat(32) });
  } catch (error) {
    bad = String(error);
  }
  return {
    etag: put.etag, part: await part.text(), type: part.httpMetadata.contentType, refused, created: created !== null,
    again, unchanged: unchanged.body === undefined, large: [large.size, (await env.PAYLOADS.head("k/large")).size],
    keys: listed.objects.map((one) => [one.key, one.customMetadata]), gone: await env.PAYLOADS.get("k/new"), bad,
  };
}

export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    switch (pathname) {
      case "/count":
      case "/varz":
        return env.NODE.getByName("weur-0").fetch(request);
      case "/kv":
        return Response.json(await kv(env));
      case "/r2":
        return Response.json(await r2(env));
      case "/throw":
        throw new Error("as it was told to");
      case "/echo": {
        const [client, server] = Object.values(new WebSocketPair());
        server.accept();
        server.addEventListener("message", (event) => server.send(event.data));
        return new Response(null, { status: 101, webSocket: client });
      }
    }
    return Response.json({ version: VERSION, id: env.VERSION.id, settings: env.SETTINGS, hush: env.HUSH ?? null });
  },
};
