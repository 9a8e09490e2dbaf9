/**
 * Forms the mesh around this agent: gives the `Peering` core what records, links and data say, and does what it answers. It also tells
 * peers where they are seen, and passes calls on, whatever this node's own `mesh` says: a peer behind a NAT lives on that.
 */
import type { Logger } from 'pino';
import type { PeerStatus } from '../control/api.js';
import { span } from '../crypto/identity/index.js';
import {
  CALL_HOPS,
  decodeSignal,
  encodeCall,
  encodeSeen,
  passCall,
  type Signal,
} from '../overlay/peering/signals.js';
import {
  type NodeView,
  Peering,
  type PeeringAction,
  type PeeringStatus,
} from '../overlay/peering/peering.js';
import type { Place } from '../overlay/peering/endpoint.js';
import type { Unreachable } from '../overlay/peering/reach.js';
import { Sightings } from '../overlay/peering/sightings.js';
import type { RouterAction } from '../overlay/route/actions.js';
import type { Router } from '../overlay/route/router.js';
import { TokenBucket } from '../rate-limit/token-bucket.js';
import type { Config } from './config/index.js';
import { type Endpoint, endpointKey } from './endpoint.js';
import type { FromWorker, ToWorker } from './messages.js';
import type { Peer, PeerBook } from './peers.js';

export interface FormerParts {
  readonly self: number;
  readonly router: Router;
  readonly peers: PeerBook;
  readonly log: Logger;
  readonly random: () => number;
  readonly isOverlay: (host: string) => boolean;
  /** The host's own addresses, without those of the overlay, and the port that it listens at. */
  readonly hostPlaces: () => readonly Place[];
  readonly post: (message: ToWorker) => void;
  readonly performRouting: (actions: readonly RouterAction[]) => void;
  /** Seeks a session at these endpoints, besides those configured. */
  readonly seek: (name: string, places: readonly Place[]) => void;
  /** Seeks it no longer there. */
  readonly unseek: (name: string) => void;
  /** Lets a link go that carries nothing. */
  readonly letGo: (peer: Peer) => void;
  /** Counts a message that was dropped. */
  readonly drop: (reason: string) => void;
}

/** µs between looks at records, addresses and the use of links. */
const LOOK_MICROS = 1_000_000;
/** Calls that one peer may have passed on or heard, at once, and µs for each further one. */
const SIGNAL_BURST = 50;
const SIGNAL_MICROS = 100_000;

export class MeshFormer {
  private peering: Peering | undefined;
  private readonly sightings = new Sightings();
  /** Where neighbours are, whether or not their links are up. */
  private readonly places = new Map<number, Endpoint>();
  /** Links that are up: what their peers may still say, and the other ways to them that the worker knows of. */
  private readonly links = new Map<number, { signals: TokenBucket; ways: string }>();
  private lookAt = Infinity;

  constructor(private readonly parts: FormerParts) {}

  get counters(): Peering['counters'] | undefined {
    return this.peering?.counters;
  }

  configure(now: number, { mesh }: Config): void {
    if (mesh === 'auto' && !this.peering) {
      const { self, random, isOverlay } = this.parts;
      this.peering = new Peering({ self, random, isOverlay }, now);
      for (const nodeId of this.links.keys()) this.peering.linkUp(now, nodeId);
      this.lookAt = now;
    }
    this.tellWays();
    if (mesh !== 'auto' && this.peering) {
      this.peering = undefined;
      this.lookAt = Infinity;
      this.parts.performRouting(this.parts.router.publishForming(now, undefined));
    }
  }

  linkUp(now: number, nodeId: number): void {
    this.peering?.linkUp(now, nodeId);
    this.links.set(nodeId, { signals: new TokenBucket(SIGNAL_BURST, SIGNAL_MICROS, now), ways: '' });
    this.tellSeen(nodeId);
    this.tellWays();
  }

  linkDown(now: number, nodeId: number): void {
    this.links.delete(nodeId);
    this.sightings.forget(nodeId);
    this.peering?.linkDown(now, nodeId);
  }

  /** The peer let the link go because it carried nothing. */
  letGo(now: number, nodeId: number): void {
    this.peering?.letGo(now, nodeId);
  }

  /** A neighbour's datagrams come from elsewhere. The worker says so before it says that a link is up. */
  moved(nodeId: number, endpoint: Endpoint): void {
    this.places.set(nodeId, endpoint);
    if (this.links.has(nodeId)) this.tellSeen(nodeId);
  }

  /** A neighbour is none any more. */
  forget(nodeId: number): void {
    this.places.delete(nodeId);
  }

  /** Whether a session with a node that called is taken. */
  admits(nodeId: number): boolean {
    return this.peering?.admits(nodeId) ?? true;
  }

  /** Whether a failure to reach that peer is but one of many attempts. */
  isTrying(nodeId: number): boolean {
    return this.peering?.status(nodeId)?.state === 'trying';
  }

  /** Not routing's message of a neighbour's control stream. */
  message(now: number, peer: number, bytes: Uint8Array): void {
    const signal = decodeSignal(bytes);
    if (signal.type === 'reject') this.parts.drop(signal.reason);
    else if (!this.links.get(peer)?.signals.take(now)) this.parts.drop('signal-flood');
    else if (signal.type === 'seen') this.seen(peer, signal.place);
    else this.call(now, peer, signal, bytes);
  }

  usage(now: number, { destinations, neighbours }: Extract<FromWorker, { type: 'usage' }>): void {
    for (const nodeId of destinations) this.peering?.wish(now, nodeId);
    for (const nodeId of neighbours) this.peering?.used(now, nodeId);
  }

  nextTimeout(): number {
    return Math.min(this.lookAt, this.peering?.nextTimeout() ?? Infinity);
  }

  timeout(now: number): void {
    const { peering } = this;
    if (!peering) return;
    if (this.lookAt <= now) this.look(now, peering);
    else this.perform(peering.timeout(now));
  }

  /** What `causeway peers` says of nodes that aren't configured, and of those that have no link yet. */
  status(now: number, known: readonly PeerStatus[]): PeerStatus[] {
    const { peering } = this;
    if (!peering) return [...known];
    const rows = known.map((row) => this.described(now, row, peering));
    const listed = new Set(known.map(({ nodeId }) => nodeId));
    for (const { certificate } of this.parts.router.nodes) {
      const { nodeId, name } = certificate;
      if (listed.has(nodeId) || peering.status(nodeId) === undefined) continue;
      const none = { endpoint: null, sinceSeconds: null, rttMicros: null };
      rows.push(
        this.described(
          now,
          { name, nodeId, configured: false, origin: 'formed', state: 'waiting', reason: null, ...none },
          peering,
        ),
      );
    }
    return rows.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  private described(now: number, row: PeerStatus, peering: Peering): PeerStatus {
    const status = row.nodeId === null ? undefined : peering.status(row.nodeId);
    if (!status || row.origin === 'configured') return row;
    const formed: PeerStatus = { ...row, origin: 'formed' };
    if (row.state === 'connected') return formed;
    const relayed = this.parts.router.nodes.some(
      ({ certificate, ways }) => certificate.nodeId === row.nodeId && ways[0].nextHop !== 0,
    );
    const state = status.state === 'trying' ? 'connecting' : relayed ? 'relayed' : 'waiting';
    return { ...formed, state, reason: reasonOf(now, status) };
  }

  private look(now: number, peering: Peering): void {
    const { router, peers, post } = this.parts;
    this.lookAt = now + LOOK_MICROS;
    post({ type: 'usage' });
    const own = this.sightings.publish(this.parts.hostPlaces());
    const forming = { hasEnough: peering.hasEnough, endpoints: own };
    this.parts.performRouting(router.publishForming(now, forming));
    const views = router.nodes.map(({ certificate: { nodeId }, ways }): NodeView => {
      const published = router.db.records.get(nodeId)?.record.forming;
      return {
        nodeId,
        endpoints: published?.endpoints ?? [],
        forms: published !== undefined,
        hasEnough: published?.hasEnough ?? false,
        configured: peers.get(nodeId)?.configured ?? false,
        cost: ways[0].cost,
      };
    });
    this.perform(peering.update(now, own, views));
    this.tellWays();
  }

  /** Gives the worker the endpoints of neighbours, configured and published, where they have changed. */
  private tellWays(): void {
    const { peers, post } = this.parts;
    for (const [peer, link] of this.links) {
      const endpoints = [...(peers.get(peer)?.endpoints ?? []), ...(this.peering?.places(peer) ?? [])];
      const ways = endpoints.map(endpointKey).join();
      if (ways === link.ways) continue;
      link.ways = ways;
      post({ type: 'paths', peer, endpoints });
    }
  }

  private perform(actions: readonly PeeringAction[]): void {
    for (const action of actions) this.performOne(action);
  }

  private performOne(action: PeeringAction): void {
    const { self, log, seek, unseek, letGo, peers } = this.parts;
    const { nodeId } = action;
    const name = this.nameOf(nodeId);
    if (name === undefined) return;
    switch (action.type) {
      case 'try':
        log.debug({ peer: name, endpoints: action.places.map(endpointKey) }, 'trying a link');
        seek(name, action.places);
        return;
      case 'call':
        this.send(nodeId, encodeCall(self, nodeId));
        return;
      case 'end':
        unseek(name);
        return;
      case 'drop': {
        const peer = peers.get(nodeId);
        if (peer) letGo(peer);
        return;
      }
      default:
        action satisfies never;
    }
  }

  private nameOf(nodeId: number): string | undefined {
    return this.parts.router.db.certificates.get(nodeId)?.certificate.name;
  }

  private tellSeen(nodeId: number): void {
    const endpoint = this.places.get(nodeId);
    if (endpoint) this.parts.post({ type: 'message', peer: nodeId, bytes: encodeSeen(endpoint) });
  }

  private seen(peer: number, place: Place): void {
    if (!this.sightings.note(peer, place)) this.parts.drop('signal-place');
  }

  private call(now: number, peer: number, call: Extract<Signal, { type: 'call' }>, bytes: Uint8Array): void {
    const { self, drop } = this.parts;
    if (call.to === self) this.perform(this.peering?.called(now, call.from) ?? []);
    else if (call.hops <= 1 || call.hops > CALL_HOPS) drop('signal-hops');
    else if (!this.send(call.to, passCall(bytes), peer)) drop('signal-no-route');
  }

  /** Towards a node, over the next hop on the way to it; false where there is none, or only back. */
  private send(to: number, bytes: Uint8Array, from = 0): boolean {
    const { router, post } = this.parts;
    const nextHop = router.nodes.find(({ certificate }) => certificate.nodeId === to)?.ways[0].nextHop ?? 0;
    if (nextHop === 0 || nextHop === from) return false;
    post({ type: 'message', peer: nextHop, bytes });
    return true;
  }
}

const UNREACHABLE: Readonly<Record<Unreachable, string>> = {
  'publishes-nothing': 'it publishes no address to try',
  'no-usable-endpoint': 'none of the addresses that it publishes can be tried from here',
  'its-nat-varies':
    'both are behind NATs, and its NAT has another port for each destination (symmetric): stays relayed',
  'our-nat-varies':
    'both are behind NATs, and the one here has another port for each destination (symmetric): stays relayed',
};

function reasonOf(now: number, status: PeeringStatus): string | null {
  switch (status.state) {
    case 'linked':
      return null;
    case 'trying':
      return 'a direct link is being tried';
    case 'waiting':
      return 'a direct link is tried soon';
    case 'enough':
      return `${status.whose === 'ours' ? 'this node' : 'it'} has enough links; one is tried when data goes there`;
    case 'unused':
      return 'the link was dropped because it carried nothing; one is tried when data goes there';
    case 'failed': {
      const tries = status.failures === 1 ? 'a try' : `${status.failures} tries`;
      return `no answer to ${tries}; the next in ${span(Math.max(0, status.nextAt - now) / 1000)}`;
    }
    case 'unreachable':
      return UNREACHABLE[status.reason];
  }
}
