/**
 * This node's own links and what it says of them. A link that has just come up is still settling: its first round trips were measured while
 * everything at both ends began, so for a moment a shorter one is told at once.
 */
import { Damped, type DampedTuning } from './damped.js';
import { clean, type LinkMeasure, rounded } from './measure.js';
import type { Link } from './record.js';

export interface OwnLinksTuning {
  /** When a round-trip time (µs), a loss (parts per million), a price (hops) is news. */
  readonly rttNews: DampedTuning;
  readonly lossNews: DampedTuning;
  readonly priceNews: DampedTuning;
  /** µs that a link settles after it came up. */
  readonly settleMicros: number;
}

/** µs after which a link that went begins anew when it comes. Tuned. */
const REMEMBERED = 60_000_000;

interface OwnLink {
  /** When it came up, µs. */
  readonly since: number;
  readonly rtt: Damped;
  readonly loss: Damped;
  readonly price: Damped;
  /** Of the losses told. */
  burst: number;
  measured: LinkMeasure;
}

export class OwnLinks {
  private readonly links = new Map<number, OwnLink>();
  /** Links that went, and when, µs. */
  private readonly gone = new Map<number, { readonly link: OwnLink; readonly at: number }>();
  /** No better news has lasted long enough before that, µs. */
  private earliest = Infinity;

  constructor(private readonly tuning: OwnLinksTuning) {}

  /** A link came up, or came up anew. What was told of its loss holds on if it was gone for a moment only. `rtt` in µs. */
  up(now: number, peer: number, rtt: number): void {
    const { rttNews, lossNews, priceNews } = this.tuning;
    const measured = rounded(clean(rtt));
    const before = this.links.get(peer) ?? this.takeGone(now, peer);
    // None of the time that it was gone counts as better.
    before?.loss.measure(now, before.loss.told, false);
    this.links.set(peer, {
      since: now,
      rtt: new Damped(measured.rtt, rttNews),
      loss: before?.loss ?? new Damped(0, lossNews),
      price: new Damped(0, priceNews),
      burst: before?.burst ?? 1,
      measured,
    });
  }

  /** Whether there was such a link. */
  down(now: number, peer: number): boolean {
    const link = this.links.get(peer);
    if (link === undefined) return false;
    for (const [other, { at }] of this.gone) if (now - at > REMEMBERED) this.gone.delete(other);
    this.gone.set(peer, { link, at: now });
    return this.links.delete(peer);
  }

  private takeGone(now: number, peer: number): OwnLink | undefined {
    const gone = this.gone.get(peer);
    this.gone.delete(peer);
    return gone !== undefined && now - gone.at <= REMEMBERED ? gone.link : undefined;
  }

  /** Whether what is advertised changed, so that it must be told at once. */
  measured(now: number, peer: number, measure: LinkMeasure): boolean {
    const link = this.links.get(peer);
    if (link === undefined) return false;
    const measured = rounded(measure);
    link.measured = measured;
    const rtt = link.rtt.measure(now, measured.rtt, now - link.since < this.tuning.settleMicros);
    const loss = link.loss.measure(now, measured.loss, false);
    const price = link.price.measure(now, measured.price, false);
    if (loss) link.burst = measured.burst;
    this.earliest = Math.min(this.earliest, dueOf(link));
    return rtt || loss || price;
  }

  /** µs when better news has lasted long enough, or before that; Infinity for none. */
  nextTimeout(): number {
    return this.earliest;
  }

  /** Whether what is advertised changed. */
  timeout(now: number): boolean {
    if (now < this.earliest) return false;
    this.earliest = Infinity;
    let changed = false;
    for (const link of this.links.values()) {
      const rtt = link.rtt.timeout(now);
      const loss = link.loss.timeout(now);
      const price = link.price.timeout(now);
      if (loss) link.burst = link.measured.burst;
      changed ||= rtt || loss || price;
      this.earliest = Math.min(this.earliest, dueOf(link));
    }
    return changed;
  }

  /** As advertised, neighbours ascending. */
  list(): Link[] {
    const links = [...this.links].map(([neighbour, { rtt, loss, price, burst }]) => ({
      neighbour,
      rtt: rtt.told,
      loss: loss.told,
      burst: loss.told === 0 ? 1 : burst,
      price: price.told,
    }));
    return links.sort((a, b) => a.neighbour - b.neighbour);
  }
}

function dueOf({ rtt, loss, price }: OwnLink): number {
  return Math.min(rtt.nextTimeout(), loss.nextTimeout(), price.nextTimeout());
}
