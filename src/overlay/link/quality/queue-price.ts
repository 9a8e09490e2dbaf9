/** The price of the queue in front of a link (references: cost-benefit flow control), in hops, from its smoothed length. Times in µs. Pure. */

/** Packets, a soft limit, and the price there. Fixed by the paper. */
const LIMIT = 100;
const MOST = 20;
/** The length is smoothed over this time. Tuned. */
const SPAN = 1_000_000;

/** C(n) = Cmax·(e^(n/M) − 1)/(e − 1) */
export function priceOf(packets: number): number {
  return (MOST * Math.expm1(packets / LIMIT)) / Math.expm1(1);
}

export class QueuePrice {
  private packets = 0;
  private at = -Infinity;

  sample(now: number, packets: number): void {
    const kept = Math.exp(-(now - this.at) / SPAN);
    this.packets = this.packets * kept + packets * (1 - kept);
    this.at = now;
  }

  /** Traffic is about to come that would make a queue of so many packets. */
  expect(packets: number): void {
    this.packets += packets;
  }

  get price(): number {
    return priceOf(this.packets);
  }
}
