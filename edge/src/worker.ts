import { answerDelivery } from "./github/answer.ts";
import { refuse } from "./github/refusal.ts";
import { routeOf } from "./routes.ts";
import type { Env } from "./settings.ts";

export { Outbox } from "./outbox/outbox.ts";

export default {
    async fetch(request, env): Promise<Response> {
        const route = routeOf(new URL(request.url).pathname);
        if (route.to === "github") return answerDelivery(request, env);
        if (route.to === "health") return Response.json({ status: "ok" });
        return refuse("notFound");
    },
} satisfies ExportedHandler<Env>;

export class NatsNode {}
export class Fleet {}
