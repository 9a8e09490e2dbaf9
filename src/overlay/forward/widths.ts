/**
 * How large an inner packet may be on a link. What a link can't carry whole goes in pieces; with `links.split: false` only what its sender lets be fragmented does, and
 * of the rest the sender hears how large it may be. Nobody is told less than every IPv6 link carries (RFC 8200 §5): packets up to that go in pieces anyway.
 */
import { RECORD_HEADER, RECORD_TAG } from '../../io/batch.js';
import { ROUTED_HEADER_SIZE } from '../wire/routed.js';
import type { Neighbour } from './neighbour.js';

const AROUND = RECORD_HEADER + ROUTED_HEADER_SIZE + RECORD_TAG;
/** Bytes: RFC 8200 §5, and what every IPv4 host takes (RFC 791). */
const LEAST = { 4: 576, 6: 1280 } as const;

export class Widths {
  /** Whether what is too large goes in pieces whatever its sender wants. */
  splits = true;

  /** Bytes of the largest packet that `next` is known to carry whole while larger ones don't pass; Infinity where they do, or nobody knows yet. */
  room({ link }: Pick<Neighbour, 'link'>): number {
    return link.provenMax - AROUND;
  }

  /** What to tell the sender of a packet of `size` bytes that is too large for `next`; 0: it may go. */
  refusal(next: Pick<Neighbour, 'link'>, size: number, version: 4 | 6, dontFragment: boolean): number {
    if (this.splits || !dontFragment) return 0;
    const most = Math.max(this.room(next), LEAST[version]);
    return size > most ? most : 0;
  }
}
