/** A link's health in one word, and since when. Bounds from the field (references: choosing paths), with room between getting worse and getting better. */

export type Health =
  | 'good'
  /** It loses more than 2 % one way or the other. */
  | 'lossy'
  /** Its round trip is 25 % and 5 ms above the least of the last minutes. */
  | 'slow'
  /** Small records pass, those of full size don't. */
  | 'mtu'
  | 'down';

export interface Signs {
  readonly isUp: boolean;
  readonly isShort: boolean;
  /** Of the worse direction, 0 … 1. */
  readonly loss: number;
  /** µs. */
  readonly rtt: number;
  readonly base: number;
}

const LOSSY = 0.02;
const LOSSY_NO_MORE = 0.01;
const SLOW = { share: 0.25, least: 5000 };
const SLOW_NO_MORE = { share: 0.15, least: 3000 };

export class LinkHealth {
  state: Health = 'down';

  constructor(
    /** µs. */
    public since: number,
  ) {}

  update(now: number, signs: Signs): void {
    const state = this.judge(signs);
    if (state === this.state) return;
    this.state = state;
    this.since = now;
  }

  private judge({ isUp, isShort, loss, rtt, base }: Signs): Health {
    if (!isUp) return 'down';
    if (isShort) return 'mtu';
    if (loss > (this.state === 'lossy' ? LOSSY_NO_MORE : LOSSY)) return 'lossy';
    const { share, least } = this.state === 'slow' ? SLOW_NO_MORE : SLOW;
    return rtt - base > share * base + least ? 'slow' : 'good';
  }
}
