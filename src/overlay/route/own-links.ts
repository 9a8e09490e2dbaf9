/**
 * This node's own links and what it says of them. Worse news is told at once, better news after it has lasted a while,
 * small changes never. A link that has just come up is still settling: its first round trips were measured while everything at both ends began,
 * so for a moment better news is told at once too.
 */
import type { Link } from './record.js';

export interface OwnLinksTuning {
  /** A round-trip time is news where it differs by more than this share of the advertised one … */
  readonly newsRatio: number;
  /** … and by more than this, µs, for the worse … */
  readonly worseMicros: number;
  /** … or this, µs, for the better. */
  readonly betterMicros: number;
  /** µs that better news must last. */
  readonly betterAfterMicros: number;
  /** µs that a link settles after it came up. */
  readonly settleMicros: number;
}

interface OwnLink {
  /** When it came up, µs. */
  readonly since: number;
  advertised: number;
  measured: number;
  /** Since when (µs) every measurement was better, and the worst of them. */
  better: { since: number; worst: number } | undefined;
}

const MAX_RTT = 0xffffffff;

export class OwnLinks {
  private readonly links = new Map<number, OwnLink>();

  constructor(private readonly tuning: OwnLinksTuning) {}

  /** A link came up, or came up anew. `rtt` in µs. */
  up(now: number, peer: number, rtt: number): void {
    const measured = clampRtt(rtt);
    this.links.set(peer, { since: now, advertised: measured, measured, better: undefined });
  }

  /** Whether there was such a link. */
  down(peer: number): boolean {
    return this.links.delete(peer);
  }

  /** Whether what is advertised changed, so that it must be told at once. */
  measured(now: number, peer: number, rtt: number): boolean {
    const link = this.links.get(peer);
    if (link === undefined) return false;
    link.measured = clampRtt(rtt);
    const change = link.measured - link.advertised;
    const share = link.advertised * this.tuning.newsRatio;
    const settling = now - link.since < this.tuning.settleMicros;
    const worse = change > Math.max(share, this.tuning.worseMicros);
    const better = change < -Math.max(share, this.tuning.betterMicros);
    if (worse || (better && settling)) {
      link.advertised = link.measured;
      link.better = undefined;
      return true;
    }
    if (better) {
      link.better ??= { since: now, worst: 0 };
      link.better.worst = Math.max(link.better.worst, link.measured);
    } else {
      link.better = undefined;
    }
    return false;
  }

  /** µs when better news has lasted long enough; Infinity for none. */
  nextTimeout(): number {
    let next = Infinity;
    for (const { better } of this.links.values()) {
      if (better !== undefined) next = Math.min(next, better.since + this.tuning.betterAfterMicros);
    }
    return next;
  }

  /** Whether what is advertised changed. */
  timeout(now: number): boolean {
    let changed = false;
    for (const link of this.links.values()) {
      if (link.better === undefined || link.better.since + this.tuning.betterAfterMicros > now) continue;
      link.advertised = link.better.worst;
      link.better = undefined;
      changed = true;
    }
    return changed;
  }

  /** As advertised, neighbours ascending. */
  list(): Link[] {
    const links = [...this.links].map(([neighbour, link]) => ({ neighbour, rtt: link.advertised }));
    return links.sort((a, b) => a.neighbour - b.neighbour);
  }
}

function clampRtt(rtt: number): number {
  return Math.min(Math.max(Math.round(rtt), 1), MAX_RTT);
}
