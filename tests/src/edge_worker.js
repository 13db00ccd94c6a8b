// A Durable Object that owns a container with a nats-server: the least that shows what the engine has to do.
import { DurableObject } from "cloudflare:workers";

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class Node extends DurableObject {
  ended = null;

  async start(name) {
    if (this.ctx.container.running) {
      this.watch();
      return;
    }
    this.ctx.container.start({ env: { NODE_NAME: `"${name}"`, TOKEN: "s3cr3t" }, enableInternet: true });
    this.ctx.storage.kv.put("starts", (this.ctx.storage.kv.get("starts") ?? 0) + 1);
    this.ended = null;
    this.watched = false;
    this.watch();
  }

  watch() {
    if (this.watched) return;
    this.watched = true;
    this.ctx.container.monitor().then(
      () => { this.ended = "exited"; },
      (error) => { this.ended = `${error}`; },
    ).finally(() => { this.watched = false; });
  }

  async ready() {
    for (const end = Date.now() + 5000; Date.now() < end; await sleep(5)) {
      try {
        const answer = await this.ctx.container.getTcpPort(8222).fetch("http://node/healthz");
        if (answer.ok) return true;
      } catch {}
      if (!this.ctx.container.running) return false;
    }
    return false;
  }

  async fetch(request) {
    const url = new URL(request.url);
    const [, name, ...rest] = url.pathname.split("/");
    const container = this.ctx.container;
    if (url.searchParams.has("state")) {
      return Response.json({ running: container.running, ended: this.ended, starts: this.ctx.storage.kv.get("starts") ?? 0 });
    }
    if (url.searchParams.has("signal")) {
      container.signal(Number(url.searchParams.get("signal")));
      return new Response("signalled");
    }
    if (url.searchParams.has("destroy")) {
      await container.destroy();
      return new Response("destroyed");
    }
    if (url.searchParams.has("exec")) {
      const run = await container.exec(url.searchParams.get("exec").split(" "), { stdout: "pipe", stderr: "pipe" });
      if (url.searchParams.has("then")) run.kill(Number(url.searchParams.get("then")));
      const output = await run.output();
      const text = (bytes) => new TextDecoder().decode(bytes);
      return Response.json({ code: output.exitCode, stdout: text(output.stdout), stderr: text(output.stderr) });
    }
    try {
      await this.start(name);
      if (!(await this.ready())) return new Response(`not ready: ${this.ended}`, { status: 503 });
    } catch (error) {
      return new Response(`${error}`, { status: 503 });
    }
    const upgrade = request.headers.get("upgrade") === "websocket";
    const port = upgrade ? 8080 : 8222;
    return container.getTcpPort(port).fetch(`http://node/${rest.join("/")}${url.search}`, request);
  }
}

export default {
  async fetch(request, env) {
    const name = new URL(request.url).pathname.split("/")[1] || "none";
    return env.NODE.get(env.NODE.idFromName(name)).fetch(request);
  },
};
