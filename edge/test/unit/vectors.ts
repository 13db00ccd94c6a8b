import { readFileSync } from "node:fs";
import { join } from "node:path";

/** A file of tests/vectors/, which every implementation of the rules runs. The tests run in edge/. */
export function vectors<Case>(name: string): { cases: Case[]; secret?: string; request?: unknown } {
    return JSON.parse(readFileSync(join(process.cwd(), "..", "tests", "vectors", name), "utf8"));
}
