/** What is known of one direction of a link: what its sender advertises, and paths are chosen by. */
export interface LinkMeasure {
  /** Round-trip time, µs, 1 .. 2³²-1, without the queue that this node's own traffic makes. */
  readonly rtt: number;
  /** Of a million records sent, how many are lost. */
  readonly loss: number;
  /** Mean length of a run of lost records, at least 1. */
  readonly burst: number;
  /** What the queue in front of the link costs bulk traffic, in hops; 0: no queue. */
  readonly price: number;
}

export const MAX_RTT = 0xffffffff;
export const LOSS_UNIT = 1_000_000;
/** Runs travel in sixteenths, prices in hundredths, two bytes each. */
export const BURST_UNIT = 16;
export const PRICE_UNIT = 100;
export const MAX_BURST = 0xffff / BURST_UNIT;
export const MAX_PRICE = 0xffff / PRICE_UNIT;

/** As a record can say it. */
export function rounded({ rtt, loss, burst, price }: LinkMeasure): LinkMeasure {
  return {
    rtt: within(Math.round(rtt), 1, MAX_RTT),
    loss: within(Math.round(loss), 0, LOSS_UNIT),
    burst: loss === 0 ? 1 : within(Math.round(burst * BURST_UNIT), BURST_UNIT, 0xffff) / BURST_UNIT,
    price: within(Math.round(price * PRICE_UNIT), 0, 0xffff) / PRICE_UNIT,
  };
}

/** A link of which only the round trip is known. */
export function clean(rtt: number): LinkMeasure {
  return { rtt, loss: 0, burst: 1, price: 0 };
}

function within(value: number, least: number, most: number): number {
  return Math.min(Math.max(value, least), most);
}
