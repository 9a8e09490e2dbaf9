/**
 * What this host knows of its ways to neighbours, beyond silence: datagrams that it refused, ICMP errors, and addresses and interfaces that went.
 * Whoever runs it acts on the events and lets the links send.
 */
import { ENDPOINT_LOCAL, ENDPOINT_WORDS } from '../../io/batch.js';
import { ORIGIN_HOST, TROUBLE_ORIGIN, TROUBLE_PORT, TROUBLE_WORDS, type UdpSocket } from '../../io/ports.js';
import { forgetLocalAddress } from '../../overlay/forward/endpoint-learning.js';
import type { LinkEvent } from '../../overlay/link/link.js';
import type { NeighbourEntry } from './neighbours.js';

/** Rows that are taken at once. */
const ROWS = 64;

export type OnEvents = (neighbour: NeighbourEntry, events: readonly LinkEvent[]) => void;

export class Reachability {
  private readonly rows = new Uint32Array(ROWS * TROUBLE_WORDS);
  private readonly source = new Uint32Array(4);

  constructor(
    private readonly udp: UdpSocket,
    private readonly neighbours: ReadonlyMap<number, NeighbourEntry>,
  ) {}

  /** Heeds what the socket says since the last call: `onEvents` hears of every link that it concerns. True where there was one. `now` in µs. */
  heed(now: number, onEvents: OnEvents): boolean {
    const { udp, rows } = this;
    const count = udp.takeTroubles(rows);
    let concerned = false;
    for (let at = 0; at < count * TROUBLE_WORDS; at += TROUBLE_WORDS) {
      for (const neighbour of this.neighbours.values()) {
        if (!this.isAt(neighbour.slot, at)) continue;
        concerned = true;
        onEvents(neighbour, this.blame(now, neighbour, rows[at + TROUBLE_ORIGIN] === ORIGIN_HOST));
      }
    }
    return concerned;
  }

  private blame(now: number, { link }: NeighbourEntry, isOurs: boolean): readonly LinkEvent[] {
    if (isOurs) return link.fail(now);
    link.suspect(now, false);
    return [];
  }

  /** The host's interfaces or addresses have changed. `running`: the addresses of those that run, four words each. */
  hostChanged(now: number, running: readonly Uint32Array[], onEvents: OnEvents): void {
    const { udp, source } = this;
    const isRunning = (words: Uint32Array): boolean =>
      running.some((address) => address.every((word, i) => word === words[i]));
    for (const neighbour of this.neighbours.values()) {
      const { link, slot } = neighbour;
      const at = slot * ENDPOINT_WORDS + ENDPOINT_LOCAL;
      const local = udp.endpoints.subarray(at, at + source.length);
      if (!neighbour.up) link.retry();
      else if (local.some((word) => word !== 0) && !isRunning(local)) {
        const isReached = udp.sourceFor(slot, source);
        const isElsewhere = isReached && (source.every((word) => word === 0) || isRunning(source));
        forgetLocalAddress(udp, slot);
        if (isElsewhere) link.suspect(now, true);
        else onEvents(neighbour, link.fail(now));
      }
    }
  }

  private isAt(slot: number, row: number): boolean {
    const { rows } = this;
    const { endpoints } = this.udp;
    const at = slot * ENDPOINT_WORDS;
    for (let word = 0; word <= TROUBLE_PORT; word++)
      if (endpoints[at + word] !== rows[row + word]) return false;
    return true;
  }
}
