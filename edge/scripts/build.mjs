// Bundles src/worker.ts into dist/worker.js, the one ES module that is uploaded. `--check` changes nothing and fails
// when the committed bundle is not what the source gives.

import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
const check = process.argv.includes("--check");

const result = await build({
    absWorkingDir: root,
    entryPoints: ["src/worker.ts"],
    outfile: "dist/worker.js",
    bundle: true,
    format: "esm",
    target: "es2024",
    platform: "browser",
    conditions: ["workerd", "worker", "browser"],
    external: ["cloudflare:workers"],
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: "eof",
    charset: "utf8",
    banner: { js: "// Made from edge/src by `npm run build`; do not edit." },
    write: !check,
});

if (check) {
    const [built] = result.outputFiles;
    const committed = await readFile(`${root}/dist/worker.js`).catch(() => Buffer.alloc(0));
    if (!committed.equals(Buffer.from(built.contents))) {
        process.stderr.write("dist/worker.js is not what the source gives: npm run build\n");
        process.exitCode = 1;
    }
}
