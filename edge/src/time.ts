// Waiting, with an end.

/** What the promise gives, or the error after `pause` ms. */
export async function within<T>(pause: number, promise: Promise<T>, late: () => Error): Promise<T> {
    let cancel = (): void => undefined;
    const end = new Promise<never>((_, reject) => {
        const timer = setTimeout(() => reject(late()), Math.max(0, pause));
        cancel = () => clearTimeout(timer);
    });
    try {
        return await Promise.race([promise, end]);
    } finally {
        cancel();
    }
}

/** Calls again and again, until what is given back is called. */
export function every(pause: number, call: () => void): () => void {
    const timer = setInterval(call, pause);
    return () => clearInterval(timer);
}

/** Waits. */
export function sleep(pause: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, pause));
}
