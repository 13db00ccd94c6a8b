// What `windlass apply` sets the Worker up with: the binding SETTINGS, its secrets and its other bindings.

import { EdgeError } from "./errors.ts";
import type { Fleet } from "./fleet/fleet.ts";
import type { NatsNode } from "./node/node.ts";
import type { Outbox } from "./outbox/outbox.ts";

/** How many nodes a region has at least and at most. */
export interface Region {
    min: number;
    max: number;
}

/** The binding SETTINGS. */
export interface Settings {
    fleet: string;
    cluster: string;
    domain: string;
    /** The SHA-256 of everything a node is started with. */
    config_hash: string;
    regions: Record<string, Region>;
    sleep_after_seconds: number;
    hub: { websocket_url: string; leaf_url: string; jetstream_domain: string; ca?: string };
    node: {
        operator: string;
        system_account: string;
        /** Account public keys and their JWTs. */
        accounts: Record<string, string>;
        /** The account of the leaf connection. */
        account: string;
        max_file: number;
        max_memory: number;
        max_payload: number;
        nats_version: string;
    };
    github?: {
        organization?: string;
        stream: string;
        subject_prefix: string;
        max_body: number;
        /** Larger payloads go into the object bucket; 0 is the receiver's usual threshold. */
        inline_limit: number;
    };
    outbox?: { max_events: number; max_bytes: number };
    access?: { team_domain: string; audience: string };
}

/** The Worker's bindings. */
export interface Env {
    NODE: DurableObjectNamespace<NatsNode>;
    FLEET: DurableObjectNamespace<Fleet>;
    OUTBOX: DurableObjectNamespace<Outbox>;
    ROUTES: KVNamespace;
    PAYLOADS: R2Bucket;
    VERSION?: { id: string; tag: string; timestamp: string };
    SETTINGS: Settings;
    WEBHOOK_SECRET?: string;
    API_TOKEN?: string;
    HUB_CREDS?: string;
    LEAF_CREDS?: string;
}

/** The settings, or an error that says that there are none. */
export function settingsOf(env: Env): Settings {
    const settings: unknown = env.SETTINGS;
    if (typeof settings !== "object" || settings === null || !("regions" in settings)) {
        throw new EdgeError("notConfigured", "the Worker has no settings");
    }
    return env.SETTINGS;
}

/** A region of the settings; names of JavaScript's own, such as `constructor`, are none. */
export function regionOf(settings: Settings, name: string): Region | undefined {
    return Object.hasOwn(settings.regions, name) ? settings.regions[name] : undefined;
}
