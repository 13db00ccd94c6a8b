// An event on its way: verified, named, and ready to be stored.

import { type Delivery, encodeHeaders, headers } from "./headers.ts";
import { formPayload, readNames } from "./payload.ts";
import { orderOf, subject } from "./subject.ts";

/** One delivery, as it will be stored. */
export interface Event {
    /** The delivery GUID, by which every store recognizes a repetition. */
    delivery: string;
    /** Where it goes in JetStream. */
    subject: string;
    /** What it keeps its order with: `<owner>.<repository>`. */
    order: string;
    /** Its headers as NATS writes them, without those of a claim check. */
    headers: string;
    /** The exact bytes that GitHub sent. */
    body: Uint8Array<ArrayBuffer>;
}

/** Names a delivery whose signature has been verified; throws a `Refusal` when it cannot be read or named. */
export function makeEvent(
    prefix: string,
    delivery: Delivery,
    body: Uint8Array<ArrayBuffer>,
    received: Date,
): Event {
    const names = readNames(delivery.encoding === "application/json" ? body : formPayload(body));
    const named = subject(prefix, delivery.event, names);
    return {
        delivery: delivery.id,
        subject: named,
        order: orderOf(named, prefix),
        headers: encodeHeaders(headers(delivery, names, received)),
        body,
    };
}
