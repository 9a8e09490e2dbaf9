import { ENHANCED_PACKET, INTERFACE_STATISTICS, missedIn } from './pcapng.js';

/** Cuts a stream of pcapng blocks, as our agent writes them, to whole blocks with no more than so many packets. Pure. */
export class BlockCounter {
  packets = 0;
  /** As the last statistics say. */
  missed = 0;
  private rest: Uint8Array = new Uint8Array(0);

  constructor(private readonly limit: number) {}

  get isFull(): boolean {
    return this.packets >= this.limit;
  }

  /** The whole blocks that there are with `chunk`; a view, or a copy. */
  take(chunk: Uint8Array): Uint8Array {
    const bytes = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk]);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    let at = 0;
    while (!this.isFull && at + 8 <= bytes.length) {
      const type = view.getUint32(at, true);
      const end = at + view.getUint32(at + 4, true);
      if (end > bytes.length || end <= at) break;
      if (type === ENHANCED_PACKET) this.packets++;
      else if (type === INTERFACE_STATISTICS) this.missed = missedIn(view, at);
      at = end;
    }
    this.rest = bytes.slice(at);
    return bytes.subarray(0, at);
  }
}
