// A placeholder until the Worker's source is here: it answers that it is none.
import { DurableObject } from "cloudflare:workers";
export class NatsNode extends DurableObject {}
export class Fleet extends DurableObject {}
export class Outbox extends DurableObject {}
export default {
    fetch() {
        return Response.json({ error: { code: "WL1001", message: "this is a placeholder", help: "" } }, { status: 503 });
    },
};
