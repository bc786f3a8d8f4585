/** How often a server that ended by itself is started again. */

const MOST_RESTARTS = 4;
const WINDOW_MS = 3 * 60 * 1000;

/** Allows some restarts within some minutes: one crash is bad luck, five are not. */
export class RestartLimit {
  readonly #ends: number[] = [];

  /** Note that the server ended now; return whether to start it again. */
  allows(nowMs: number): boolean {
    this.#ends.push(nowMs);
    while ((this.#ends[0] ?? nowMs) < nowMs - WINDOW_MS) {
      this.#ends.shift();
    }
    return this.#ends.length <= MOST_RESTARTS;
  }
}
