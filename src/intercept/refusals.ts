/** Counts refusals by user and kind, and says when one is to be logged: the first, and then at most one a minute. */

const LOG_INTERVAL = 60_000_000;
/** Users and kinds that are told apart; of others only the sum is known. */
const KINDS_MAX = 1024;

export interface Refusal {
  /** User id. */
  user: number;
  what: string;
  count: number;
}

export class Refusals {
  /** Of those that weren't told apart. */
  others = 0;
  private readonly entries = new Map<string, Refusal & { loggedAt: number }>();

  /** Notes a refusal, at `now` in µs; what is to be logged of it, if anything. */
  note(now: number, user: number, what: string): Refusal | undefined {
    const key = `${user} ${what}`;
    let entry = this.entries.get(key);
    if (!entry) {
      if (this.entries.size >= KINDS_MAX) {
        this.others++;
        return undefined;
      }
      entry = { user, what, count: 0, loggedAt: -Infinity };
      this.entries.set(key, entry);
    }
    entry.count++;
    if (now - entry.loggedAt < LOG_INTERVAL) return undefined;
    entry.loggedAt = now;
    return { user, what, count: entry.count };
  }

  list(): Refusal[] {
    return [...this.entries.values()].map(({ user, what, count }) => ({ user, what, count }));
  }
}
