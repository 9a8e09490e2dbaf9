/** Hands out small numbers and takes them back: AEAD key slots, endpoint slots. */
export class SlotPool {
  private readonly free: number[] = [];
  /** What was never handed out begins here. */
  private fresh: number;

  constructor(
    private readonly what: string,
    private readonly size: number,
    reserved = 0,
  ) {
    this.fresh = reserved;
  }

  /** Throws when all are taken: the limit is ours, so reaching it is our bug or an attack that a limit before it should have met. */
  take(): number {
    const slot = this.free.pop();
    if (slot !== undefined) return slot;
    if (this.fresh === this.size) throw new Error(`no ${this.what} slot left`);
    return this.fresh++;
  }

  release(slot: number): void {
    this.free.push(slot);
  }
}
