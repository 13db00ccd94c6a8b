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
    const user = async (options = {}) => {
        const key = createUser();
        const jwt = await encodeUser("tests", key, accountKey, { bearer_token: false }, options);
        return new TextDecoder().decode(fmtCreds(jwt, key));
    };
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
