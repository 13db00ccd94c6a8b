// Runs the tests: `unit` (pure parts, bundled as the Worker is) or `workerd` (real workerd and real nats-server).

import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
const [kind, ...options] = process.argv.slice(2);
const directory = join(root, "test", kind);
let files = readdirSync(directory)
    .filter((name) => /\.test\.(ts|mjs)$/.test(name))
    .map((name) => join(directory, name));

let built;
if (kind === "unit") {
    built = mkdtempSync(join(root, "node_modules", ".unit-"));
    const entryPoints = files;
    await build({
        entryPoints,
        outdir: built,
        bundle: true,
        format: "esm",
        platform: "node",
        target: "node20",
        outExtension: { ".js": ".mjs" },
    });
    files = readdirSync(built).map((name) => join(built, name));
}
// Node 22 has WebSocket without being asked.
const flags = globalThis.WebSocket === undefined ? ["--experimental-websocket"] : [];
const { status } = spawnSync(
    process.execPath,
    [
        ...flags,
        "--test",
        "--test-reporter=spec",
        "--test-concurrency=1",
        "--test-timeout=600000",
        ...options,
        ...files,
    ],
    {
        stdio: "inherit",
    },
);
if (built) rmSync(built, { recursive: true });
process.exitCode = status ?? 1;
