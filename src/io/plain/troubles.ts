import { ENDPOINT_WORDS } from '../batch.js';
import { ORIGIN_HOST, TROUBLE_ORIGIN, TROUBLE_PORT, TROUBLE_WORDS } from '../ports.js';

/** What says that this host has no way to a destination. */
const NO_WAY = new Set(['ENETUNREACH', 'EHOSTUNREACH', 'ENETDOWN', 'ENODEV', 'EADDRNOTAVAIL']);
const MOST = 64;

/** What `UdpSocket.takeTroubles` gives where only refused sends are known. */
export class Troubles {
  private rows: Uint32Array[] = [];

  /** A datagram for the endpoint in slot `slot` was refused with `code`. */
  note(endpoints: Uint32Array, slot: number, code: string): void {
    if (!NO_WAY.has(code) || this.rows.length === MOST) return;
    const row = endpoints.slice(slot * ENDPOINT_WORDS, slot * ENDPOINT_WORDS + TROUBLE_WORDS);
    row[TROUBLE_ORIGIN] = ORIGIN_HOST;
    if (!this.rows.some((known) => known.every((word, i) => word === row[i]))) this.rows.push(row);
  }

  /** Likewise whatever says so, of an endpoint's address and port, `words`. */
  add(words: Uint32Array, origin: number): void {
    const row = new Uint32Array(TROUBLE_WORDS);
    row.set(words.subarray(0, TROUBLE_PORT + 1));
    row[TROUBLE_ORIGIN] = origin;
    if (this.rows.length < MOST) this.rows.push(row);
  }

  take(into: Uint32Array): number {
    const count = Math.min(this.rows.length, Math.floor(into.length / TROUBLE_WORDS));
    for (let i = 0; i < count; i++) into.set(this.rows[i]!, i * TROUBLE_WORDS);
    this.rows = [];
    return count;
  }
}
