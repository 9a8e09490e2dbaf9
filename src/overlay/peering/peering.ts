/**
 * Forming the mesh (`mesh: auto`): with whom to try a link, when, and which of these links to let go.
 *
 *   peering.ts        the attempts and their limits (this file); tuning.ts: the limits
 *   reach.ts          which of a node's published endpoints may be tried from here
 *   address-class.ts  addresses that nobody's word may make us send to
 *   host-limits.ts    attempts by address
 *   sightings.ts      what this node publishes of itself
 *   endpoint.ts, signals.ts   the bytes
 *
 * The life of a candidate, a node that publishes that it forms links too:
 *
 *            its time has come, and the limits allow        the link comes up
 *     idle ───────────────────────────────────────► trying ────────────────► linked
 *      ▲  ▲      or it calls                           │                        │
 *      │  └──────── nothing within six seconds ────────┘                        │
 *      └──────────────────── down, or dropped as unused ────────────────────────┘
 *
 * An attempt sends handshakes to all usable endpoints. Where a NAT is between, the node is called at the same moment over the overlay, so
 * that both ends send to each other and both NATs see a datagram go out before one comes in; elsewhere only after a while without an answer.
 *
 * What never happens here: a datagram to an endpoint that isn't in a signed record; more attempts than the limits say, whoever asks.
 * All times in µs.
 */
import { TokenBucket } from '../../rate-limit/token-bucket.js';
import { type Place, type PublishedEndpoint, sameEndpoints } from './endpoint.js';
import { HostLimits } from './host-limits.js';
import { reachOf, type Unreachable } from './reach.js';
import { PEERING_TUNING, type PeeringTuning } from './tuning.js';

/** What is known of a node, of its own record. */
export interface NodeView {
  readonly nodeId: number;
  readonly endpoints: readonly PublishedEndpoint[];
  /** It forms links by itself. */
  readonly forms: boolean;
  /** It has enough of them, and wants no more but for data. */
  readonly hasEnough: boolean;
  /** A peer by configuration: wanted whatever the limits say. */
  readonly configured: boolean;
  /** µs there and back over the overlay; Infinity where there is no way. */
  readonly cost: number;
}

export interface PeeringOptions {
  readonly self: number;
  /** Unpredictable u32. */
  readonly random: () => number;
  /** Whether an address is one of the overlay's own. */
  readonly isOverlay: (host: string) => boolean;
  readonly tuning?: Partial<PeeringTuning>;
}

export type PeeringAction =
  /** Send handshakes there until `end`. */
  | { readonly type: 'try'; readonly nodeId: number; readonly places: readonly Place[] }
  /** Ask it over the overlay to do the same. */
  | { readonly type: 'call'; readonly nodeId: number }
  /** The attempt is over without a link. */
  | { readonly type: 'end'; readonly nodeId: number }
  /** More links than enough, and this one carries nothing. */
  | { readonly type: 'drop'; readonly nodeId: number };

export interface PeeringCounters {
  attempts: number;
  /** Calls of others that were acted on, and those that the limits refused. */
  calls: number;
  callsRefused: number;
  /** Endpoints in records that aren't tried. */
  endpointsRefused: number;
  /** Endpoints left out because their address had its share. */
  hostsLimited: number;
}

interface Attempt {
  readonly places: readonly Place[];
  callAt: number;
  tryAt: number;
  readonly endAt: number;
}

interface Candidate {
  view: NodeView;
  /** While trying. */
  attempt: Attempt | undefined;
  linked: boolean;
  /** Attempts that failed in a row. */
  failures: number;
  /** Not to be tried before. */
  due: number;
  /** It asked for an attempt not before. */
  callDue: number;
  wishedAt: number;
  usedAt: number;
  why: Unreachable | 'no-answer' | 'dropped' | undefined;
}

/** Why a node has no link of its own, in a form to show. */
export type PeeringStatus =
  | { readonly state: 'linked' | 'trying' }
  | { readonly state: 'enough'; readonly whose: 'ours' | 'theirs' }
  | { readonly state: 'unreachable'; readonly reason: Unreachable }
  | { readonly state: 'failed'; readonly failures: number; readonly nextAt: number }
  | { readonly state: 'unused' | 'waiting' };

export class Peering {
  readonly counters: PeeringCounters = {
    attempts: 0,
    calls: 0,
    callsRefused: 0,
    endpointsRefused: 0,
    hostsLimited: 0,
  };
  private readonly tuning: PeeringTuning;
  private readonly candidates = new Map<number, Candidate>();
  private readonly hosts: HostLimits;
  private readonly attempts: TokenBucket;
  private readonly calls: TokenBucket;
  private own: readonly PublishedEndpoint[] = [];
  /** Links of any kind that are up. */
  private readonly links = new Set<number>();

  constructor(
    private readonly options: PeeringOptions,
    now: number,
  ) {
    this.tuning = { ...PEERING_TUNING, ...options.tuning };
    const { hostBurst, hostMicros, attemptBurst, attemptMicros } = this.tuning;
    this.hosts = new HostLimits(hostBurst, hostMicros);
    this.attempts = new TokenBucket(attemptBurst, attemptMicros, now);
    this.calls = new TokenBucket(attemptBurst, attemptMicros, now);
  }

  /** What to publish: this node wants no more links but for data. */
  get hasEnough(): boolean {
    return this.links.size >= this.tuning.enough;
  }

  /** Links that are up or being tried. */
  get degree(): number {
    return this.links.size + this.trying();
  }

  /** A link came up, whoever wanted it. */
  linkUp(now: number, nodeId: number): void {
    this.links.add(nodeId);
    const candidate = this.candidates.get(nodeId);
    if (!candidate) return;
    Object.assign(candidate, { attempt: undefined, linked: true, failures: 0, why: undefined, usedAt: now });
  }

  linkDown(now: number, nodeId: number): void {
    this.links.delete(nodeId);
    const candidate = this.candidates.get(nodeId);
    if (!candidate?.linked) return;
    candidate.linked = false;
    if (candidate.why !== 'dropped') candidate.due = now + this.spread();
  }

  /** The node at the other end let the link go because it was unused: this end wants it no more either. */
  letGo(now: number, nodeId: number): void {
    const candidate = this.candidates.get(nodeId);
    if (!candidate) return;
    candidate.why = 'dropped';
    candidate.due = now + this.tuning.unusedMicros;
  }

  /** Data of this node goes to that one, whatever the way. */
  wish(now: number, nodeId: number): void {
    const candidate = this.candidates.get(nodeId);
    if (!candidate) return;
    candidate.wishedAt = now;
    if (candidate.why === 'dropped') candidate.due = Math.min(candidate.due, now);
    candidate.due = Math.min(candidate.due, now + this.tuning.backoffWantedMicros);
  }

  /** Data crosses the link to that neighbour. */
  used(now: number, nodeId: number): void {
    const candidate = this.candidates.get(nodeId);
    if (candidate) candidate.usedAt = now;
  }

  /** Whether one more link is taken, with a node that called. */
  admits(nodeId: number): boolean {
    const candidate = this.candidates.get(nodeId);
    if (this.links.has(nodeId) || candidate?.view.configured) return true;
    return this.degree - (candidate?.attempt ? 1 : 0) < this.tuning.most;
  }

  /** Every second or so: what is published by this node and by others, as far as it is known. */
  update(now: number, own: readonly PublishedEndpoint[], nodes: readonly NodeView[]): PeeringAction[] {
    const moved = !sameEndpoints(own, this.own);
    this.own = own;
    const present = new Set<number>();
    for (const view of nodes) {
      if (view.nodeId === this.options.self || !view.forms) continue;
      present.add(view.nodeId);
      this.learn(now, view, moved);
    }
    const actions: PeeringAction[] = [];
    for (const [nodeId, candidate] of this.candidates) {
      if (present.has(nodeId)) continue;
      if (candidate.attempt) actions.push({ type: 'end', nodeId });
      this.candidates.delete(nodeId);
    }
    this.dropUnused(now, actions);
    this.begin(now);
    return [...actions, ...this.timeout(now)];
  }

  /** A node asks for an attempt now. Under limits of its own, whoever it says it is. */
  called(now: number, from: number): PeeringAction[] {
    const candidate = this.candidates.get(from);
    const { concurrent, patienceMicros } = this.tuning;
    const may =
      candidate !== undefined &&
      !this.links.has(from) &&
      !candidate.attempt &&
      candidate.callDue <= now &&
      this.admits(from) &&
      this.trying() < 2 * concurrent &&
      this.calls.take(now);
    if (!may) {
      this.counters.callsRefused++;
      return [];
    }
    candidate.callDue = now + patienceMicros;
    this.counters.calls++;
    const places = this.placesFor(now, candidate);
    if (places) candidate.attempt = { places, callAt: Infinity, tryAt: now, endAt: now + patienceMicros };
    return this.timeout(now);
  }

  /** µs when `timeout` is to be called; Infinity while nothing is being tried. */
  nextTimeout(): number {
    let next = Infinity;
    for (const { attempt } of this.candidates.values())
      if (attempt) next = Math.min(next, attempt.callAt, attempt.tryAt, attempt.endAt);
    return next;
  }

  /** The next steps of attempts; harmless when early. */
  timeout(now: number): PeeringAction[] {
    const actions: PeeringAction[] = [];
    for (const [nodeId, candidate] of this.candidates) {
      const { attempt } = candidate;
      if (!attempt) continue;
      if (attempt.callAt <= now) {
        attempt.callAt = Infinity;
        actions.push({ type: 'call', nodeId });
      }
      if (attempt.tryAt <= now) {
        attempt.tryAt = Infinity;
        this.counters.attempts++;
        actions.push({ type: 'try', nodeId, places: attempt.places });
      }
      if (attempt.endAt > now) continue;
      this.fail(now, candidate);
      actions.push({ type: 'end', nodeId });
    }
    return actions;
  }

  /** Where a node may be reached, as it publishes it. */
  places(nodeId: number): readonly Place[] {
    const { view } = this.candidates.get(nodeId) ?? {};
    if (!view) return [];
    const reach = reachOf(this.own, view.endpoints, this.options.isOverlay);
    return reach.type === 'places' ? reach.places : [];
  }

  /** Undefined for a node that is no candidate. */
  status(nodeId: number): PeeringStatus | undefined {
    const candidate = this.candidates.get(nodeId);
    if (!candidate) return undefined;
    if (this.links.has(nodeId)) return { state: 'linked' };
    if (candidate.attempt) return { state: 'trying' };
    const { why, failures, due } = candidate;
    if (why === 'no-answer') return { state: 'failed', failures, nextAt: due };
    if (why === 'dropped') return { state: 'unused' };
    if (why !== undefined) return { state: 'unreachable', reason: why };
    if (this.degree >= this.tuning.enough) return { state: 'enough', whose: 'ours' };
    return candidate.view.hasEnough ? { state: 'enough', whose: 'theirs' } : { state: 'waiting' };
  }

  private learn(now: number, view: NodeView, moved: boolean): void {
    const { nodeId } = view;
    const candidate = this.candidates.get(nodeId);
    if (!candidate) {
      const due = now + this.spread() + (this.options.self < nodeId ? 0 : this.tuning.yieldMicros);
      const linked = this.links.has(nodeId);
      const never = { callDue: -Infinity, wishedAt: -Infinity, usedAt: now };
      this.candidates.set(nodeId, {
        view,
        attempt: undefined,
        linked,
        failures: 0,
        due,
        ...never,
        why: undefined,
      });
      return;
    }
    const news = moved || !sameEndpoints(view.endpoints, candidate.view.endpoints);
    candidate.view = view;
    // Whoever moves often is tried no oftener than the first backoff.
    if (!news || candidate.why === undefined || candidate.why === 'dropped') return;
    candidate.due = Math.min(candidate.due, now + this.spread());
    candidate.failures = Math.min(candidate.failures, 1);
  }

  /** Starts attempts, the most wanted first, as many as the limits allow. */
  private begin(now: number): void {
    const waiting = [...this.candidates.values()].filter(
      ({ attempt, due, view }) => !attempt && due <= now && !this.links.has(view.nodeId),
    );
    const rank = ({ view, wishedAt, failures }: Candidate): number =>
      (view.configured ? 0 : this.isWish(now, wishedAt) ? 1 : 2) * 64 + Math.min(failures, 63);
    waiting.sort((a, b) => rank(a) - rank(b) || a.due - b.due);
    for (const candidate of waiting) {
      if (!this.isWanted(now, candidate)) continue;
      if (this.trying() >= this.tuning.concurrent || !this.attempts.has(now, 1)) return;
      this.beginOne(now, candidate);
    }
  }

  private isWanted(now: number, { view, wishedAt }: Candidate): boolean {
    if (view.configured) return true;
    const { enough, most } = this.tuning;
    if (this.isWish(now, wishedAt)) return this.degree < most;
    return this.degree < enough && !view.hasEnough;
  }

  private isWish(now: number, wishedAt: number): boolean {
    return now - wishedAt <= this.tuning.wishMicros;
  }

  private beginOne(now: number, candidate: Candidate): void {
    const { aloneMicros, patienceMicros } = this.tuning;
    const places = this.placesFor(now, candidate);
    if (!places) {
      candidate.due = now + patienceMicros;
      return;
    }
    this.attempts.take(now);
    const { cost } = candidate.view;
    const together = this.isPunched(candidate) && cost < Infinity;
    const tryAt = together ? now + Math.min(cost / 2, aloneMicros) : now;
    const callAt = together ? now : cost < Infinity ? now + aloneMicros : Infinity;
    candidate.attempt = { places, callAt, tryAt, endAt: now + patienceMicros };
  }

  private isPunched({ view }: Candidate): boolean {
    const reach = reachOf(this.own, view.endpoints, this.options.isOverlay);
    return reach.type === 'places' && reach.punch;
  }

  /** Endpoints for one attempt, within the limits of their addresses; undefined where there are none, and `why` says why. */
  private placesFor(now: number, candidate: Candidate): Place[] | undefined {
    const reach = reachOf(this.own, candidate.view.endpoints, this.options.isOverlay);
    this.counters.endpointsRefused += reach.refused;
    if (reach.type === 'none') {
      candidate.why = reach.reason;
      return undefined;
    }
    const byHost = new Map<string, Place[]>();
    for (const place of reach.places) byHost.set(place.host, [...(byHost.get(place.host) ?? []), place]);
    const places: Place[] = [];
    for (const [host, all] of byHost) {
      if (this.hosts.take(now, host)) places.push(...all.slice(0, this.tuning.placesPerHost));
      else this.counters.hostsLimited++;
    }
    return places.length > 0 ? places.slice(0, this.tuning.places) : undefined;
  }

  private fail(now: number, candidate: Candidate): void {
    const { backoffMicros, backoffMostMicros, backoffWantedMicros } = this.tuning;
    candidate.attempt = undefined;
    candidate.why = 'no-answer';
    const wanted = candidate.view.configured || this.isWish(now, candidate.wishedAt);
    const most = wanted ? backoffWantedMicros : backoffMostMicros;
    const wait = Math.min(backoffMicros * 2 ** candidate.failures, most);
    candidate.failures++;
    // Apart from the other end's, which failed at the same time.
    candidate.due = now + wait * (0.75 + this.options.random() / 2 ** 33);
  }

  private dropUnused(now: number, actions: PeeringAction[]): void {
    let surplus = this.links.size - this.tuning.enough;
    if (surplus <= 0) return;
    const unused = [...this.candidates.values()]
      .filter(
        ({ linked, usedAt, view }) => linked && !view.configured && now - usedAt >= this.tuning.unusedMicros,
      )
      .sort((a, b) => a.usedAt - b.usedAt);
    for (const { view } of unused) {
      if (surplus-- <= 0) return;
      this.letGo(now, view.nodeId);
      this.linkDown(now, view.nodeId);
      actions.push({ type: 'drop', nodeId: view.nodeId });
    }
  }

  private trying(): number {
    let count = 0;
    for (const { attempt } of this.candidates.values()) if (attempt) count++;
    return count;
  }

  private spread(): number {
    return (this.options.random() / 2 ** 32) * this.tuning.spreadMicros;
  }
}
