// An operator with one account that has JetStream, as the hub and the edge nodes of a fleet share one.

import { encodeAccount, encodeOperator, encodeUser, fmtCreds } from "@nats-io/jwt";
import { createAccount, createOperator, createUser } from "@nats-io/nkeys";

/** Makes them: JWTs, public keys, and the credentials of a user who may everything in the account. */
export async function makeIdentities() {
    const [operatorKey, systemKey, accountKey] = [createOperator(), createAccount(), createAccount()];
    const unlimited = {
        subs: -1,
        data: -1,
        payload: -1,
        imports: -1,
        exports: -1,
        conn: -1,
        leaf: -1,
        wildcards: true,
    };
    const storage = { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 };
    const system = await encodeAccount("SYS", systemKey, { limits: unlimited }, { signer: operatorKey });
    const account = await encodeAccount(
        "GITHUB",
        accountKey,
        { limits: { ...unlimited, ...storage } },
        { signer: operatorKey },
    );
    const operator = await encodeOperator("acme", operatorKey, { system_account: systemKey.getPublicKey() });
    const user = async (options = {}, permissions = {}) => {
        const key = createUser();
        const claims = { bearer_token: false, ...permissions };
        const jwt = await encodeUser("tests", key, accountKey, claims, options);
        return new TextDecoder().decode(fmtCreds(jwt, key));
    };
    // What crates/nats/src/permissions.rs allows a receiver, and no more.
    const bucket = "OBJ_GITHUB_PAYLOADS";
    const allow = [
        "github.>",
        "$O.GITHUB_PAYLOADS.C.*",
        "$O.GITHUB_PAYLOADS.M.*",
        "$JS.API.INFO",
        "$JS.API.STREAM.NAMES",
        "$JS.API.STREAM.INFO.GITHUB",
        `$JS.API.STREAM.INFO.${bucket}`,
        `$JS.API.DIRECT.GET.${bucket}.$O.GITHUB_PAYLOADS.M.*`,
    ];
    const receiver = { pub: { allow }, sub: { allow: ["_INBOX.>"] } };
    const other = async () => {
        const [key, foreign] = [createUser(), createAccount()];
        const jwt = await encodeUser("stranger", key, foreign, { bearer_token: false });
        return new TextDecoder().decode(fmtCreds(jwt, key));
    };
    return {
        operator,
        systemAccount: systemKey.getPublicKey(),
        account: accountKey.getPublicKey(),
        accounts: { [systemKey.getPublicKey()]: system, [accountKey.getPublicKey()]: account },
        creds: await user(),
        receiver: await user({}, receiver),
        expired: await user({ exp: Math.floor(Date.now() / 1000) - 60 }),
        foreign: await other(),
    };
}

/** The part of a server's configuration that knows them. */
export function operatorMode(identities) {
    const accounts = Object.entries(identities.accounts).map(([key, jwt]) => `  ${key}: "${jwt}"`);
    return `operator: "${identities.operator}"\nsystem_account: "${identities.systemAccount}"
resolver: MEMORY\nresolver_preload {\n${accounts.join("\n")}\n}\n`;
}
