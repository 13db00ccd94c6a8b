// Cloudflare's own SDK against an API: what it makes it finds, changes and removes. It says each part that worked.
// CLOUDFLARE_SDK: where the package is. CLOUDFLARE_BASE_URL, CLOUDFLARE_API_TOKEN, CLOUDFLARE_ACCOUNT_ID as ever.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const Cloudflare = require(process.env.CLOUDFLARE_SDK);
const account_id = process.env.CLOUDFLARE_ACCOUNT_ID;
const client = new Cloudflare({ apiToken: process.env.CLOUDFLARE_API_TOKEN, baseURL: process.env.CLOUDFLARE_BASE_URL, maxRetries: 2 });
const done = [];
const all = async (pages) => { const found = []; for await (const one of pages) found.push(one); return found; };
const refused = (status, code) => (error) => {
    assert.equal(error.status, status, String(error));
    assert.equal(error.errors[0].code, code, String(error));
    return true;
};

assert.equal((await client.user.tokens.verify()).status, "active");
assert.equal((await client.accounts.tokens.verify({ account_id })).status, "active");
assert.deepEqual((await all(client.accounts.list())).map((one) => one.id), [account_id]);
done.push("token");

const bucket = await client.r2.buckets.create({ account_id, name: "sdk-bucket", locationHint: "enam" });
assert.equal(bucket.name, "sdk-bucket");
await assert.rejects(client.r2.buckets.create({ account_id, name: "sdk-bucket" }), refused(409, 10004));
await assert.rejects(client.r2.buckets.create({ account_id, name: "No_Bucket" }), refused(400, 10005));
await client.r2.buckets.create({ account_id, name: "sdk-bucket", jurisdiction: "eu", "cf-r2-jurisdiction": "eu" });
for (const name of ["sdk-a", "sdk-b", "sdk-c"]) await client.r2.buckets.create({ account_id, name });
const page = await client.r2.buckets.list({ account_id, per_page: 2, name_contains: "sdk-" });
assert.deepEqual(page.buckets.map((one) => one.name), ["sdk-a", "sdk-b"]);
const rest = await client.r2.buckets.list({ account_id, start_after: "sdk-b", name_contains: "sdk-" });
assert.deepEqual(rest.buckets.map((one) => one.name), ["sdk-bucket", "sdk-c"]);
await client.r2.buckets.lifecycle.update("sdk-bucket", { account_id, rules: [{
    id: "old", enabled: true, conditions: { prefix: "log/" }, deleteObjectsTransition: { condition: { type: "Age", maxAge: 86400 } } }] });
assert.equal((await client.r2.buckets.lifecycle.get("sdk-bucket", { account_id })).rules[0].id, "old");
await client.r2.buckets.locks.update("sdk-bucket", { account_id, rules: [{
    id: "history", enabled: true, prefix: "history/", condition: { type: "Age", maxAgeSeconds: 3600 } }] });
assert.equal((await client.r2.buckets.locks.get("sdk-bucket", { account_id })).rules[0].prefix, "history/");
const temporary = await client.r2.temporaryCredentials.create({ account_id, bucket: "sdk-bucket", permission: "object-read-write",
    parentAccessKeyId: process.env.R2_ACCESS_KEY_ID, ttlSeconds: 600 });
assert.ok(temporary.accessKeyId && temporary.secretAccessKey && temporary.sessionToken);
for (const name of ["sdk-a", "sdk-b", "sdk-c", "sdk-bucket"]) await client.r2.buckets.delete(name, { account_id });
await assert.rejects(client.r2.buckets.get("sdk-bucket", { account_id }), refused(404, 10006));
assert.equal((await client.r2.buckets.get("sdk-bucket", { account_id, "cf-r2-jurisdiction": "eu" })).jurisdiction, "eu");
await client.r2.buckets.delete("sdk-bucket", { account_id, "cf-r2-jurisdiction": "eu" });
done.push("r2");

const namespace = await client.kv.namespaces.create({ account_id, title: "sdk" });
await assert.rejects(client.kv.namespaces.create({ account_id, title: "sdk" }), refused(400, 10014));
await client.kv.namespaces.values.update("a/b é", { account_id, namespace_id: namespace.id, value: "one", metadata: { from: "sdk" } });
const value = await client.kv.namespaces.values.get("a/b é", { account_id, namespace_id: namespace.id });
assert.equal(await value.text(), "one");
assert.deepEqual(await client.kv.namespaces.metadata.get("a/b é", { account_id, namespace_id: namespace.id }), { from: "sdk" });
const pairs = Array.from({ length: 25 }, (_, number) => ({ key: `n/${String(number).padStart(2, "0")}`, value: String(number) }));
assert.equal((await client.kv.namespaces.keys.bulkUpdate(namespace.id, { account_id, body: pairs })).successful_key_count, 25);
const keys = await all(client.kv.namespaces.keys.list(namespace.id, { account_id, prefix: "n/", limit: 10 }));
assert.deepEqual(keys.map((key) => key.name), pairs.map((pair) => pair.key));
const read = await client.kv.namespaces.keys.bulkGet(namespace.id, { account_id, keys: ["n/01", "none"] });
assert.deepEqual(read.values, { "n/01": "1", none: null });
await client.kv.namespaces.keys.bulkDelete(namespace.id, { account_id, body: pairs.map((pair) => pair.key) });
assert.deepEqual((await all(client.kv.namespaces.keys.list(namespace.id, { account_id }))).map((key) => key.name), ["a/b é"]);
assert.equal((await client.kv.namespaces.update(namespace.id, { account_id, title: "renamed" })).title, "renamed");
assert.ok((await all(client.kv.namespaces.list({ account_id, per_page: 1 }))).some((one) => one.id === namespace.id));
await assert.rejects(client.kv.namespaces.values.get("none", { account_id, namespace_id: namespace.id }), refused(404, 10009));
done.push("kv");

const name = "sdk-script";
const source = (text) => `import { DurableObject } from "cloudflare:workers";
export class Node extends DurableObject {}
export default { fetch(request, env) { return new Response("${text} " + env.MOTTO + " " + env.HUSH); } };`;
// The SDK says `application/javascript` of a form that it sends; without that it says what the form is.
const form = { headers: { "Content-Type": null } };
const file = (text) => new File([source(text)], "worker.js", { type: "application/javascript+module" });
const metadata = {
    main_module: "worker.js", compatibility_date: "2026-11-01",
    bindings: [
        { type: "plain_text", name: "MOTTO", text: "hello" },
        { type: "kv_namespace", name: "KV", namespace_id: namespace.id },
        { type: "durable_object_namespace", name: "NODE", class_name: "Node" },
    ],
    containers: [{ class_name: "Node" }],
};
const uploaded = await client.workers.scripts.update(name, { account_id, files: [file("first")],
    metadata: { ...metadata, migrations: { new_tag: "v1", new_sqlite_classes: ["Node"] } } }, form);
assert.equal(uploaded.id, name);
await assert.rejects(client.workers.scripts.update(name, { account_id, files: [new File(["export default {"], "worker.js",
    { type: "application/javascript+module" })], metadata: { ...metadata, bindings: [], containers: [] } }, form), refused(400, 10021));
await client.workers.scripts.secrets.update(name, { account_id, name: "HUSH", text: "secret", type: "secret_text" });
assert.deepEqual(await all(client.workers.scripts.secrets.list(name, { account_id })), [{ name: "HUSH", type: "secret_text" }]);
const second = await client.workers.scripts.versions.create(name, { account_id, files: [file("second")],
    metadata: { ...metadata, keep_bindings: ["secret_text"] } });
assert.equal((await client.workers.scripts.versions.get(second.id, { account_id, script_name: name })).number, 3);
const [listed] = await all(client.workers.scripts.versions.list(name, { account_id }));
assert.ok(JSON.stringify(listed).includes(second.id));
await client.workers.scripts.deployments.create(name, { account_id, strategy: "percentage", versions: [{ version_id: second.id, percentage: 100 }] });
const answer = await fetch(process.env.WORKER_URL, { headers: { host: `${name}.example` } });
assert.equal(await answer.text(), "second hello secret");
const settings = await client.workers.scripts.scriptAndVersionSettings.get(name, { account_id });
assert.ok(!JSON.stringify(settings).includes("\"secret\""), "a secret is told");
assert.ok((await all(client.workers.scripts.list({ account_id }))).some((one) => one.id === name));
await client.workers.scripts.schedules.update(name, { account_id, body: [{ cron: "*/5 * * * *" }] });
assert.equal((await client.workers.scripts.schedules.get(name, { account_id })).schedules[0].cron, "*/5 * * * *");
done.push("workers");

const [objects] = (await all(client.durableObjects.namespaces.list({ account_id }))).filter((one) => one.script === name);
assert.equal(objects.class, "Node");
const application = await client.containers.applications.create({ account_id, name: "sdk-application", scheduling_policy: "default",
    instances: 0, max_instances: 2, configuration: { image: "registry.cloudflare.com/x/y:1", instance_type: "lite" },
    durable_objects: { namespace_id: objects.id } });
await assert.rejects(client.containers.applications.create({ account_id, name: "sdk-application", scheduling_policy: "default",
    instances: 0, max_instances: 2, configuration: { image: "x" } }), (error) => error.status === 400);
const edited = await client.containers.applications.edit(application.id, { account_id, max_instances: 5 });
assert.equal(edited.max_instances, 5);
const rollout = await client.containers.applications.rollouts.create(application.id, { account_id, description: "new",
    strategy: "rolling", step_percentage: 50, target_configuration: { image: "registry.cloudflare.com/x/y:2" } });
assert.deepEqual([rollout.steps.length, rollout.target_version], [2, 2]);
const after = await client.containers.applications.get(application.id, { account_id });
assert.deepEqual([after.version, after.configuration.image, after.configuration.instance_type], [2, "registry.cloudflare.com/x/y:2", "lite"]);
assert.deepEqual(await all(client.containers.applications.instances.list(application.id, { account_id })), []);
assert.equal((await all(client.containers.applications.versions.list(application.id, { account_id }))).length, 2);
assert.equal((await all(client.containers.applications.list({ account_id, per_page: 1 }))).length, 1);
const login = await client.containers.registries.credentials.generate("registry.cloudflare.com",
    { account_id, expiration_minutes: 5, permissions: ["pull", "push"] });
assert.ok(login.username && login.password);
await client.containers.applications.delete(application.id, { account_id });
await assert.rejects(client.containers.applications.get(application.id, { account_id }), (error) => error.status === 404);
done.push("containers");

await client.workers.scripts.delete(name, { account_id, force: true });
await assert.rejects(client.workers.scripts.scriptAndVersionSettings.get(name, { account_id }), refused(404, 10007));
await client.kv.namespaces.delete(namespace.id, { account_id });
done.push("gone");
console.log(done.join(" "));
