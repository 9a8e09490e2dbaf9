/**
 * What a realtime link may retransmit: each packet sent earns half a token, a retransmission costs one, so that a bad link can't flood
 * itself (the rule of the Spines real-time protocol). Counted in halves.
 */
export class RetransmissionBudget {
  private halves: number;

  /** `capacity`: tokens at most, which are there from the start, so that losses in a burst may be sent again at once. */
  constructor(private readonly capacity: number) {
    this.halves = 2 * capacity;
  }

  /** A packet has been sent for the first time. */
  earn(): void {
    if (this.halves < 2 * this.capacity) this.halves++;
  }

  /** Takes the token of one retransmission; false where there is none. */
  take(): boolean {
    if (this.halves < 2) return false;
    this.halves -= 2;
    return true;
  }
}
