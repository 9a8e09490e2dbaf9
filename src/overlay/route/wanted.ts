/**
 * What was asked of neighbours and has not come. A digest from several neighbours asks only one of them for each origin; when that one
 * fails, or answers too late, the next is asked.
 */
import type { Version } from './record.js';
import { compareVersions } from './record.js';

export interface Want extends Version {
  readonly origin: number;
  /** WANT bits. */
  readonly what: number;
}

interface Entry {
  want: Want;
  /** Neighbours who offered it; the first was asked. */
  offers: number[];
  tries: number;
  deadline: number;
}

export interface WantedLimits {
  readonly maxOrigins: number;
  /** µs until another neighbour is asked, doubling with each try. */
  readonly patienceMicros: number;
}

const MAX_OFFERS = 8;
const MAX_TRIES = 4;

export class Wanted {
  private readonly entries = new Map<number, Entry>();
  /** No deadline is before it, µs; what is satisfied may leave it too early, never too late. */
  private earliest = Infinity;

  constructor(private readonly limits: WantedLimits) {}

  get size(): number {
    return this.entries.size;
  }

  /** Notes that `peer` offers it. Whether to ask `peer` now; if not, another has been asked. Beyond `maxOrigins` every offer is asked for and none is followed up. */
  offer(now: number, want: Want, peer: number): boolean {
    const entry = this.entries.get(want.origin);
    if (
      entry !== undefined &&
      compareVersions(want, entry.want) <= 0 &&
      (want.what & ~entry.want.what) === 0
    ) {
      if (!entry.offers.includes(peer) && entry.offers.length < MAX_OFFERS) entry.offers.push(peer);
      return false;
    }
    if (entry === undefined && this.entries.size >= this.limits.maxOrigins) return true;
    this.entries.set(want.origin, {
      want: { ...want, what: want.what | (entry?.want.what ?? 0) },
      offers: [peer],
      tries: 1,
      deadline: now + this.limits.patienceMicros,
    });
    this.earliest = Math.min(this.earliest, now + this.limits.patienceMicros);
    return true;
  }

  /** Part of it has come, or has become needless. */
  satisfy(origin: number, what: number): void {
    const entry = this.entries.get(origin);
    if (entry === undefined) return;
    const left = entry.want.what & ~what;
    if (left === 0) this.entries.delete(origin);
    else entry.want = { ...entry.want, what: left };
  }

  /** A neighbour is gone: what was asked of it falls to the next who offered. */
  forget(now: number, peer: number): void {
    for (const [origin, entry] of this.entries) {
      if (entry.offers[0] === peer) this.earliest = entry.deadline = now;
      entry.offers = entry.offers.filter((other) => other !== peer);
      if (entry.offers.length === 0) this.entries.delete(origin);
    }
  }

  /** µs of the earliest deadline, or before it; Infinity for none. */
  nextTimeout(): number {
    return this.entries.size === 0 ? Infinity : this.earliest;
  }

  /** Whom to ask for what now, by neighbour. What was asked for too often is given up. */
  overdue(now: number): Map<number, Want[]> {
    const asks = new Map<number, Want[]>();
    if (this.nextTimeout() > now) return asks;
    this.earliest = Infinity;
    for (const [origin, entry] of this.entries) {
      if (entry.deadline > now) {
        this.earliest = Math.min(this.earliest, entry.deadline);
        continue;
      }
      if (entry.tries >= MAX_TRIES) {
        this.entries.delete(origin);
        continue;
      }
      entry.offers.push(entry.offers.shift()!);
      entry.deadline = now + this.limits.patienceMicros * 2 ** entry.tries++;
      this.earliest = Math.min(this.earliest, entry.deadline);
      const peer = entry.offers[0];
      asks.set(peer, [...(asks.get(peer) ?? []), entry.want]);
    }
    return asks;
  }
}
