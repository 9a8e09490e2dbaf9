import type { DampedTuning } from './damped.js';

/** Times and limits of a `Router`. All are tuned; none is fixed by the wire. */
export interface RouterTuning {
  /** µs between records of this node when nothing changes. */
  readonly refreshMicros: number;
  /** Seconds until a record is forgotten, and the most that another's record is believed. */
  readonly lifetimeSeconds: number;
  /** Seconds that the farewell record of a node that stops is kept. */
  readonly farewellSeconds: number;
  /** µs to wait for more news before a record is made of good news; bad news does not wait. */
  readonly gatherMicros: number;
  /** µs between two records made of good news alone, per node. */
  readonly gatherPerNodeMicros: number;
  /** Seconds that the epoch of another's record, a time, may be ahead of this node's clock. */
  readonly aheadSeconds: number;
  /** Own records at once, and µs for each further one. */
  readonly ownBurst: number;
  readonly ownIntervalMicros: number;
  /** Another's records at once, and µs for each further one: wider than what an honest origin keeps to. */
  readonly originBurst: number;
  readonly originIntervalMicros: number;
  /** µs from a change to the shortest-path run. */
  readonly pathDelayMicros: number;
  /** µs between two runs, and more of it per node. */
  readonly pathHoldMicros: number;
  readonly pathHoldPerNodeMicros: number;
  /** When a round-trip time (µs), a loss (parts per million), a price (hops) is news. */
  readonly rttNews: DampedTuning;
  readonly lossNews: DampedTuning;
  readonly priceNews: DampedTuning;
  readonly settleMicros: number;
  /** µs between sweeps for what is too old. */
  readonly sweepMicros: number;
  readonly maxNodes: number;
  /** Records that wait for their certificates. */
  readonly maxWaiting: number;
  /** µs until a request that got no answer is repeated elsewhere. */
  readonly patienceMicros: number;
}

const SECOND = 1_000_000;

export const DEFAULT_TUNING: RouterTuning = {
  refreshMicros: 20 * 60 * SECOND,
  lifetimeSeconds: 60 * 60,
  farewellSeconds: 60,
  gatherMicros: 10_000,
  gatherPerNodeMicros: 1_000,
  aheadSeconds: 24 * 60 * 60,
  ownBurst: 5,
  ownIntervalMicros: SECOND / 2,
  originBurst: 20,
  originIntervalMicros: SECOND / 4,
  pathDelayMicros: 1_000,
  pathHoldMicros: 10_000,
  pathHoldPerNodeMicros: 100,
  rttNews: { ratio: 0.25, worse: 2_000, better: 200, after: 30 * SECOND, afterMost: 600 * SECOND },
  lossNews: { ratio: 0.25, worse: 5_000, better: 2_500, after: 30 * SECOND, afterMost: 600 * SECOND },
  priceNews: { ratio: 0.5, worse: 1, better: 0.5, after: 5 * SECOND, afterMost: 60 * SECOND },
  settleMicros: 5 * SECOND,
  sweepMicros: 30 * SECOND,
  maxNodes: 4096,
  maxWaiting: 256,
  patienceMicros: 5 * SECOND,
};
