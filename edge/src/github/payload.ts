// Finds the few names that decide an event's subject, in one pass over the payload. Wrong types count as absent:
// GitHub's payloads vary by event and by year, and an event must not be lost over a field that only names it.

import { Malformed, Reader } from "./json.ts";
import { Refusal } from "./refusal.ts";

/** The names in a payload, as GitHub wrote them. Empty strings count as absent. */
export interface Names {
    action: string | undefined;
    /** `repository.owner.login`, else `repository.owner.name`, else `organization.login`. */
    owner: string | undefined;
    repository: string | undefined;
}

interface Account {
    login: string | undefined;
    name: string | undefined;
}

/** Reads the names from a JSON payload; throws a `Refusal` when it is not one JSON object. */
export function readNames(json: Uint8Array): Names {
    try {
        return read(new Reader(json));
    } catch (error) {
        if (error instanceof Malformed) throw new Refusal("notAnObject");
        throw error;
    }
}

function read(reader: Reader): Names {
    let action: string | undefined;
    let repository: { name: string | undefined; owner: Account } | undefined;
    let organization: string | undefined;
    reader.object((key) => {
        if (key === "action") action = name(reader);
        else if (key === "repository") repository = readRepository(reader);
        else if (key === "organization") organization = readAccount(reader).login;
        else reader.value();
    });
    reader.end();
    const owner = repository?.owner.login ?? repository?.owner.name ?? organization;
    return { action, owner, repository: repository?.name };
}

function readRepository(reader: Reader): { name: string | undefined; owner: Account } {
    const found: { name: string | undefined; owner: Account } = {
        name: undefined,
        owner: { login: undefined, name: undefined },
    };
    if (!reader.isObject()) {
        reader.value();
        return found;
    }
    reader.object((key) => {
        if (key === "name") found.name = name(reader);
        else if (key === "owner") found.owner = readAccount(reader);
        else reader.value();
    });
    return found;
}

function readAccount(reader: Reader): Account {
    const found: Account = { login: undefined, name: undefined };
    if (!reader.isObject()) {
        reader.value();
        return found;
    }
    reader.object((key) => {
        if (key === "login") found.login = name(reader);
        else if (key === "name") found.name = name(reader);
        else reader.value();
    });
    return found;
}

/** A string that is not empty; `undefined` for anything else. */
function name(reader: Reader): string | undefined {
    return reader.string() || undefined;
}

/** The JSON inside a form-encoded body: its field `payload`. */
export function formPayload(body: Uint8Array): Uint8Array {
    const text = new TextDecoder("utf-8", { fatal: false, ignoreBOM: true }).decode(body);
    const payload = new URLSearchParams(text).get("payload");
    if (payload === null) throw new Refusal("formPayload");
    return new TextEncoder().encode(payload);
}
