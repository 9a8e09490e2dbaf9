/**
 * More than one path for bulk: once a reliable flow has shown that it is bulk, it goes by the alternate neighbour for good if the best path is full and the
 * other isn't. A flow is never spread over both, and moves only then, or when its path is gone, or isn't among the two any more because it loses packets or others are shorter. Only the entry does this, and only to a neighbour that is nearer to the
 * destination than this node: relays go by their best path, which leads on from there.
 */
import type { FlowCache } from '../../intercept/flow-cache.js';
import { SERVICE_RELIABLE } from '../wire/routed.js';
import type { Neighbour } from './neighbour.js';
import type { Destination } from './routes.js';

/** Bytes that make a flow bulk. Tuned: a quarter of a second of a 10 Mbit/s link. */
const BULK = 256 * 1024;
/** The best path is full where its first queue, or one behind it, costs so much, in hops. Tuned: about five packets. */
const GAIN = 1;

export class Detours {
  constructor(private readonly flows: FlowCache) {}

  /** The neighbour for the next packets of a reliable flow; undefined where there is no path. */
  next(flow: number, destination: Destination): Neighbour | undefined {
    const best = destination.next[SERVICE_RELIABLE];
    const { alternate } = destination;
    const { detour, bytes } = this.flows;
    if (!alternate?.up) return best;
    if (!best?.up) return alternate;
    const chosen = detour[flow];
    if (chosen === alternate.nodeId) return alternate;
    if (chosen === best.nodeId || bytes[flow]! < BULK) return best;
    const next = this.isFull(best, alternate, destination) ? alternate : best;
    detour[flow] = next.nodeId;
    next.quality.expect();
    return next;
  }

  private isFull(best: Neighbour, alternate: Neighbour, destination: Destination): boolean {
    const price = destination.bulk + best.quality.price;
    return destination.alternateBulk + alternate.quality.price + GAIN <= price;
  }
}
