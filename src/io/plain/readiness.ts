/** Runs `callback` on a later turn of the event loop; a simulator passes its own. */
export type Later = (callback: () => void) => void;

export const nextTurn: Later = (callback) => {
  setImmediate(callback);
};

/**
 * Level-triggered readiness, as epoll gives it: while `ready()` holds and nobody paused, the callback is called once a turn.
 */
export class Readiness {
  #callback: (() => void) | undefined;
  #scheduled = false;
  #paused = false;
  #closed = false;

  constructor(
    private readonly ready: () => boolean,
    private readonly later: Later = nextTurn,
  ) {}

  onReady(callback: () => void): void {
    this.#callback = callback;
    this.check();
  }

  /** To be called whenever `ready()` may have become true. */
  check(): void {
    if (this.#scheduled || !this.#callable()) return;
    this.#scheduled = true;
    this.later(() => {
      this.#scheduled = false;
      if (this.#callable()) this.#callback?.();
      this.check();
    });
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.check();
  }

  close(): void {
    this.#closed = true;
  }

  #callable(): boolean {
    return this.#callback !== undefined && !this.#closed && !this.#paused && this.ready();
  }
}
