import { networkInterfaces } from 'node:os';
import { parseAddress } from '../io/address.js';
import type { Closable, Io } from '../io/ports.js';

/** ms; what comes in a burst is looked at once, and once more at its end. */
const BURST_MS = 20;

/** Tells which addresses of this host are on interfaces that run (up, with a carrier), whenever that changes. */
export class HostWatch {
  private readonly watch: Closable | undefined;
  private known: string;
  private pause: NodeJS.Timeout | undefined;
  private missed = false;

  /** `onChange` gets each address as four words, as in an endpoint's record. */
  constructor(
    io: Io,
    private readonly onChange: (running: Uint32Array[]) => void,
    private readonly interfaces: typeof networkInterfaces = networkInterfaces,
  ) {
    this.known = this.addresses().join();
    this.watch = io.watchHost(() => this.notice());
  }

  close(): void {
    this.watch?.close();
    clearTimeout(this.pause);
  }

  private notice(): void {
    if (this.pause !== undefined) {
      this.missed = true;
      return;
    }
    this.look();
    this.pause = setTimeout(() => {
      this.pause = undefined;
      if (!this.missed) return;
      this.missed = false;
      this.notice();
    }, BURST_MS);
  }

  private look(): void {
    const running = this.addresses();
    const key = running.join();
    if (key === this.known) return;
    this.known = key;
    this.onChange(running.map(wordsOf));
  }

  /** libuv leaves out interfaces that are down or without a carrier. */
  private addresses(): string[] {
    return Object.values(this.interfaces())
      .flatMap((entries) => entries ?? [])
      .map(({ address }) => address)
      .sort();
  }
}

function wordsOf(address: string): Uint32Array {
  const bytes = parseAddress(address.split('%')[0] ?? '') ?? new Uint8Array(16);
  return new Uint32Array(bytes.slice().buffer);
}
