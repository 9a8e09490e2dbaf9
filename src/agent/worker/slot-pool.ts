/** Hands out small numbers and takes them back: AEAD key slots, endpoint slots. */
export class SlotPool {
  private readonly free: number[];

  constructor(
    private readonly what: string,
    size: number,
    reserved = 0,
  ) {
    this.free = Array.from({ length: size - reserved }, (_, i) => size - 1 - i);
  }

  /** Throws when all are taken: the limit is ours, so reaching it is our bug or an attack that a limit before it should have met. */
  take(): number {
    const slot = this.free.pop();
    if (slot === undefined) throw new Error(`no ${this.what} slot left`);
    return slot;
  }

  release(slot: number): void {
    this.free.push(slot);
  }
}
