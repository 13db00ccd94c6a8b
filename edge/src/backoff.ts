// How long to wait before the next attempt.

/** Doubles from `first` to `longest`, with up to a quarter less, so that many do not try at the same moment. */
export function backoff(attempt: number, first: number, longest: number, random: number): number {
    const full = Math.min(longest, first * 2 ** Math.min(attempt, 30));
    return Math.round(full * (1 - random / 4));
}
