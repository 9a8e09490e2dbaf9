/**
 * The ways to one neighbour: its endpoints of both families and of several providers. One is active, all else is sent there; the others are
 * kept warm by probes, which keep a NAT on the way open too, and of which both ends know how far they are.
 *
 *   the active one falls silent             all others are probed at once, and the first that answers is taken
 *   another is clearly nearer, for a while  the end with the lower node id takes it; the other follows
 *   the peer sends from elsewhere           it is followed, unless it is the other's to choose and the active one is well
 *
 * So the ends don't chase each other: for better, one of them chooses; for worse, either does. A probe, or its answer, is alone in its record,
 * and moves nothing by itself. Pure; endpoints are the caller's, known by their keys. Times in µs.
 */

/**
 * Between probes of one way, all tuned: one that answers (so long for each way, and not longer than a NAT remembers), one that doesn't, and one
 * that did while the active one is silent.
 */
const WARM_INTERVAL = 5_000_000;
const WARM_MOST = 20_000_000;
const COLD_INTERVAL = 60_000_000;
const URGENT_INTERVAL = 100_000;
/** Probes without an answer after which a way is cold, and after which even a silent active way makes it no more urgent. */
const COLD_AFTER = 4;
const URGENT_PROBES = 20;
/** Ways beyond those that were given: from where the peer was heard. */
const MAX_PATHS = 8;
/** The active way is well where it was heard so recently. */
const WELL = 300_000;
/** A way is nearer by at least this share and so many µs, so many times in a row. */
const NEARER_SHARE = 0.8;
const NEARER_MICROS = 1000;
const NEARER_TIMES = 3;

interface Path<E> {
  readonly key: string;
  endpoint: E;
  /** Named by configuration or a record, not only heard. */
  given: boolean;
  /** Smoothed; 0 before the first answer. */
  rtt: number;
  answeredAt: number;
  /** Probes since the last answer. */
  unanswered: number;
  probeAt: number;
  /** Answers in a row that were clearly nearer than the active way's. */
  nearer: number;
}

export interface PathProbe<E> {
  readonly endpoint: E;
  /** Comes back in the answer. */
  readonly id: number;
}

export interface PathReport<E> {
  readonly endpoint: E;
  readonly active: boolean;
  /** µs; 0: no answer yet. */
  readonly rtt: number;
  /** µs since the last answer; Infinity: never. */
  readonly answeredAgo: number;
}

export class Paths<E> {
  private readonly paths = new Map<string, Path<E>>();
  private readonly probes = new Map<number, Path<E>>();
  private active = '';
  private lastId = 0;
  private heardAt: number;
  private silent = false;

  /** `chooses`: this end takes a better way, the other follows. */
  constructor(
    private readonly keyOf: (endpoint: E) => string,
    private readonly chooses: boolean,
    now: number,
  ) {
    this.heardAt = now;
  }

  /** Where the peer may be reached, by configuration and records. */
  give(now: number, endpoints: readonly E[]): void {
    const given = new Set(endpoints.map(this.keyOf));
    for (const path of this.paths.values()) path.given = given.has(path.key);
    for (const endpoint of endpoints.slice(0, MAX_PATHS)) this.add(now, endpoint, true);
  }

  /** The way that is in use from now on, whoever chose it. */
  use(now: number, endpoint: E): void {
    const path = this.add(now, endpoint, false);
    path.nearer = 0;
    this.active = path.key;
    this.heardAt = now;
    this.silent = false;
  }

  /** A record that is no probe came by the active way. Cheap: once a message. */
  heard(now: number): void {
    this.heardAt = now;
    this.silent = false;
  }

  /** The peer's newest record came from elsewhere: whether to follow it there. */
  follows(now: number, endpoint: E): boolean {
    const path = this.paths.get(this.keyOf(endpoint));
    // From where it was, to another address of ours.
    if (path?.key === this.active) return true;
    const known = path !== undefined && path.rtt > 0;
    return !this.chooses || !known || now - this.heardAt > WELL;
  }

  /** The peer probed by this way, which so is one. */
  probed(now: number, endpoint: E): void {
    if (this.paths.size < MAX_PATHS) this.add(now, endpoint, false);
  }

  /** An answer came: the endpoint to use instead of the active one, or undefined. */
  answered(now: number, id: number, rtt: number): E | undefined {
    const path = this.probes.get(id);
    if (!path || this.paths.get(path.key) !== path || rtt <= 0) return undefined;
    this.probes.delete(id);
    path.rtt = path.rtt === 0 ? rtt : path.rtt + (rtt - path.rtt) / 4;
    path.answeredAt = now;
    path.unanswered = 0;
    if (path.key === this.active) {
      this.heard(now);
      return undefined;
    }
    return this.silent || this.isNearer(path) ? path.endpoint : undefined;
  }

  /** `silent`: the link is down, or has heard nothing for so long that it asks. Returns what to probe now. */
  timeout(now: number, silent: boolean): PathProbe<E>[] {
    if (silent && !this.silent && now - this.heardAt > URGENT_INTERVAL) {
      this.silent = true;
      for (const path of this.paths.values()) if (path.rtt > 0) path.probeAt = now;
    }
    if (this.nextTimeout() > now) return [];
    const probes: PathProbe<E>[] = [];
    for (const path of this.paths.values()) {
      if (path.probeAt > now) continue;
      if (path.unanswered >= COLD_AFTER && !path.given && path.key !== this.active)
        this.paths.delete(path.key);
      else probes.push(this.probe(now, path));
    }
    return probes;
  }

  /** Infinity where there is no other way. */
  nextTimeout(): number {
    let next = Infinity;
    if (this.paths.size > 1) for (const { probeAt } of this.paths.values()) next = Math.min(next, probeAt);
    return next;
  }

  report(now: number): PathReport<E>[] {
    return [...this.paths.values()].map(({ key, endpoint, rtt, answeredAt }) => ({
      endpoint,
      active: key === this.active,
      rtt,
      answeredAgo: now - answeredAt,
    }));
  }

  private add(now: number, endpoint: E, given: boolean): Path<E> {
    const key = this.keyOf(endpoint);
    let path = this.paths.get(key);
    if (!path) {
      this.makeRoom();
      path = { key, endpoint, given, rtt: 0, answeredAt: -Infinity, unanswered: 0, probeAt: now, nearer: 0 };
      this.paths.set(key, path);
    }
    path.endpoint = endpoint;
    path.given ||= given;
    return path;
  }

  /** For one more: the one that has been without an answer the longest goes, of those only heard of if there are any. */
  private makeRoom(): void {
    if (this.paths.size < MAX_PATHS) return;
    const others = [...this.paths.values()].filter(({ key }) => key !== this.active);
    others.sort((a, b) => Number(a.given) - Number(b.given) || a.answeredAt - b.answeredAt);
    this.paths.delete(others[0].key);
  }

  private probe(now: number, path: Path<E>): PathProbe<E> {
    const id = (this.lastId = (this.lastId + 1) >>> 0);
    this.probes.set(id, path);
    if (this.probes.size > 4 * MAX_PATHS) this.probes.delete(this.probes.keys().next().value!);
    path.unanswered++;
    path.probeAt = now + this.interval(path);
    return { endpoint: path.endpoint, id };
  }

  /** Whoever never answered is somebody else, perhaps, and not to be bothered. */
  private interval({ rtt, unanswered }: Path<E>): number {
    if (this.silent && rtt > 0 && unanswered < URGENT_PROBES) return URGENT_INTERVAL;
    return unanswered > COLD_AFTER ? COLD_INTERVAL : Math.min(WARM_INTERVAL * this.paths.size, WARM_MOST);
  }

  private isNearer(path: Path<E>): boolean {
    const active = this.paths.get(this.active)?.rtt ?? 0;
    const nearer = active > 0 && path.rtt < active * NEARER_SHARE && path.rtt < active - NEARER_MICROS;
    path.nearer = nearer ? path.nearer + 1 : 0;
    return this.chooses && path.nearer >= NEARER_TIMES;
  }
}
