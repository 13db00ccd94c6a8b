// A reader of JSON that keeps nothing: it checks that every byte belongs to well-formed JSON, and hands out the few
// strings that are asked for. It is the one of crates/events/src/payload/json.rs, rule by rule, so that both receivers
// take and refuse the same bytes (JSON.parse differs in what it does with bytes that are no UTF-8, with a byte order
// mark and with deep nesting), and it leaves no garbage behind: a payload has hundreds of strings, four are wanted.

/** Deeper nesting than this is refused; GitHub's payloads nest about ten deep. */
const MAX_DEPTH = 512;

/** The bytes are not well-formed JSON, or not of the kind that was asked for. */
export class Malformed extends Error {}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;

/** A place in a JSON text. */
export class Reader {
    readonly #text: Uint8Array;
    #at = 0;
    #depth = 0;

    constructor(text: Uint8Array) {
        this.#text = text;
    }

    /** Nothing but white space may follow. */
    end(): void {
        if (this.#skip() !== -1) throw new Malformed();
    }

    /** Reads an object and calls `member` with each of its keys; `member` must read the value. */
    object(member: (key: string | undefined) => void): void {
        if (this.#skip() !== OPEN_OBJECT) throw new Malformed();
        this.#open();
        if (this.#skip() === CLOSE_OBJECT) {
            this.#close();
            return;
        }
        for (;;) {
            if (this.#skip() !== QUOTE) throw new Malformed();
            const key = this.#string(true);
            if (this.#skip() !== COLON) throw new Malformed();
            this.#at += 1;
            member(key);
            const next = this.#skip();
            if (next === CLOSE_OBJECT) {
                this.#close();
                return;
            }
            if (next !== COMMA) throw new Malformed();
            this.#at += 1;
        }
    }

    /** Whether the next value is an object. */
    isObject(): boolean {
        return this.#skip() === OPEN_OBJECT;
    }

    /** Reads a value as a string; any other value is read over and gives `undefined`. */
    string(): string | undefined {
        if (this.#skip() === QUOTE) return this.#string(true);
        this.value();
        return undefined;
    }

    /** Reads over any value. */
    value(): void {
        switch (this.#skip()) {
            case QUOTE:
                this.#string(false);
                return;
            case OPEN_OBJECT:
                this.#members();
                return;
            case OPEN_ARRAY:
                this.#elements();
                return;
            case 0x74:
                this.#word("true");
                return;
            case 0x66:
                this.#word("false");
                return;
            case 0x6e:
                this.#word("null");
                return;
            default:
                this.#number();
        }
    }

    #members(): void {
        this.#open();
        if (this.#skip() === CLOSE_OBJECT) {
            this.#close();
            return;
        }
        for (;;) {
            if (this.#skip() !== QUOTE) throw new Malformed();
            this.#string(false);
            if (this.#skip() !== COLON) throw new Malformed();
            this.#at += 1;
            this.value();
            const next = this.#skip();
            if (next === CLOSE_OBJECT) {
                this.#close();
                return;
            }
            if (next !== COMMA) throw new Malformed();
            this.#at += 1;
        }
    }

    #elements(): void {
        this.#open();
        if (this.#skip() === CLOSE_ARRAY) {
            this.#close();
            return;
        }
        for (;;) {
            this.value();
            const next = this.#skip();
            if (next === CLOSE_ARRAY) {
                this.#close();
                return;
            }
            if (next !== COMMA) throw new Malformed();
            this.#at += 1;
        }
    }

    #open(): void {
        this.#at += 1;
        this.#depth += 1;
        if (this.#depth > MAX_DEPTH) throw new Malformed();
    }

    #close(): void {
        this.#at += 1;
        this.#depth -= 1;
    }

    /** Reads a string; gives its text when it is wanted and when its bytes and escapes make one. */
    #string(wanted: boolean): string | undefined {
        const text = this.#text;
        const end = text.length;
        let at = this.#at + 1;
        const start = at;
        let escaped = false;
        for (;;) {
            if (at >= end) throw new Malformed();
            const byte = text[at] as number;
            if (byte === QUOTE) break;
            if (byte === BACKSLASH) {
                escaped = true;
                at = this.#escape(at + 1);
            } else if (byte < 0x20) {
                // A control character has to be escaped.
                throw new Malformed();
            } else {
                at += 1;
            }
        }
        this.#at = at + 1;
        return wanted ? decode(text.subarray(start, at), escaped) : undefined;
    }

    /** Gives the place behind an escape, of which `at` is the letter. */
    #escape(at: number): number {
        switch (this.#text[at]) {
            case QUOTE:
            case BACKSLASH:
            case 0x2f:
            case 0x62:
            case 0x66:
            case 0x6e:
            case 0x72:
            case 0x74:
                return at + 1;
            case 0x75:
                for (let digit = at + 1; digit <= at + 4; digit += 1) {
                    if (!isHexDigit(this.#text[digit])) throw new Malformed();
                }
                return at + 5;
            default:
                throw new Malformed();
        }
    }

    #number(): void {
        this.#take(0x2d);
        if (!this.#take(0x30)) this.#digits();
        if (this.#take(0x2e)) this.#digits();
        if (this.#take(0x65) || this.#take(0x45)) {
            if (!this.#take(0x2b)) this.#take(0x2d);
            this.#digits();
        }
    }

    #digits(): void {
        const start = this.#at;
        for (;;) {
            const byte = this.#text[this.#at];
            if (byte === undefined || byte < 0x30 || byte > 0x39) break;
            this.#at += 1;
        }
        if (this.#at === start) throw new Malformed();
    }

    #word(word: string): void {
        for (let index = 0; index < word.length; index += 1) {
            if (this.#text[this.#at + index] !== word.charCodeAt(index)) throw new Malformed();
        }
        this.#at += word.length;
    }

    #take(byte: number): boolean {
        if (this.#text[this.#at] !== byte) return false;
        this.#at += 1;
        return true;
    }

    /** Goes over white space; gives the byte behind it, -1 at the end. */
    #skip(): number {
        for (;;) {
            const byte = this.#text[this.#at];
            if (byte === undefined) return -1;
            if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return byte;
            this.#at += 1;
        }
    }
}

function isHexDigit(byte: number | undefined): boolean {
    if (byte === undefined) return false;
    return (byte >= 0x30 && byte <= 0x39) || (byte >= 0x41 && byte <= 0x46) || (byte >= 0x61 && byte <= 0x66);
}

function decode(bytes: Uint8Array, escaped: boolean): string | undefined {
    try {
        const raw = utf8.decode(bytes);
        if (!escaped) return raw;
        const text: unknown = JSON.parse(`"${raw}"`);
        // Half of a surrogate pair is no text.
        return typeof text === "string" && text.isWellFormed() ? text : undefined;
    } catch {
        return undefined;
    }
}
