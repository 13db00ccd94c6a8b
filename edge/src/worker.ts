// The Worker `nats-orchestrator`: GitHub's events, NATS clients and leaf nodes come in here.

import { answerApi } from "./api/api.ts";
import { answer, EdgeError } from "./errors.ts";
import { connect } from "./fleet/connect.ts";
import { answerDelivery } from "./github/answer.ts";
import { refuse } from "./github/refusal.ts";
import { log } from "./log.ts";
import { routeOf } from "./routes.ts";
import type { Env } from "./settings.ts";

export { Fleet } from "./fleet/fleet.ts";
export { NatsNode } from "./node/node.ts";
export { Outbox } from "./outbox/outbox.ts";

export default {
    async fetch(request, env): Promise<Response> {
        try {
            return await dispatch(request, env);
        } catch (error) {
            if (error instanceof EdgeError) return answer(error.kind, error.message);
            log("a request failed", { reason: String(error) });
            return answer("internal", "something went wrong");
        }
    },
} satisfies ExportedHandler<Env>;

function dispatch(request: Request, env: Env): Promise<Response> | Response {
    const route = routeOf(new URL(request.url).pathname);
    switch (route.to) {
        case "github":
            return answerDelivery(request, env);
        case "clients":
        case "leaves":
            return connect(request, env, route.region, route.to);
        case "api":
            return answerApi(request, env, route.path);
        case "health":
            if (request.method !== "GET" && request.method !== "HEAD")
                return refuse("methodNotAllowed", "GET, HEAD");
            return Response.json({ status: "ok" });
        case "nothing":
            return refuse("notFound");
    }
}
