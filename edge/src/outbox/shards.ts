// Which of the Outbox's objects takes an event. One object is one thread and one connection: several carry more, and a
// repository always goes to the same one.

/** How many objects share the repositories. Changing it moves repositories: drain the Outbox before. */
export const SHARDS = 4;

/** The number of the object that takes the events of an order (FNV-1a). */
export function shardOf(order: string): number {
    let hash = 0x811c9dc5;
    for (let index = 0; index < order.length; index += 1) {
        hash = Math.imul(hash ^ order.charCodeAt(index), 0x01000193);
    }
    return (hash >>> 0) % SHARDS;
}

/** The name of an object. */
export function shardName(shard: number): string {
    return `github-${shard}`;
}
