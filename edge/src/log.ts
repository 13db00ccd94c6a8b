// What the Worker's log gets: one JSON object a line, never a secret and never a payload.

/** Writes a line. */
export function log(message: string, more: Record<string, string | number | boolean | null> = {}): void {
    // biome-ignore lint/suspicious/noConsole: it is where a Worker's log goes.
    console.log(JSON.stringify({ message, ...more }));
}
