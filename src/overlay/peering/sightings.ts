/**
 * Where this node's datagrams come from, as its peers see it: what is told of a NAT in front of this host, and so what to publish.
 * A peer tells when its link comes up and when it changes; what it told counts as long as its link is up.
 */
import {
  KIND_HOST,
  KIND_SEEN,
  KIND_VARYING,
  MAX_ENDPOINTS,
  type Place,
  placeKey,
  type PublishedEndpoint,
} from './endpoint.js';
import { classify } from './address-class.js';

/** Endpoints seen from outside that are published at most; the rest is for the host's own. */
const MAX_SEEN = 4;

export class Sightings {
  private readonly byPeer = new Map<number, Place>();

  /** False for what no datagram can come from. */
  note(peer: number, place: Place): boolean {
    if (place.port === 0 || classify(place.host).name === 'never') return false;
    this.byPeer.set(peer, place);
    return true;
  }

  forget(peer: number): void {
    this.byPeer.delete(peer);
  }

  /** What to publish: what is seen of this node, then `own`, the host's addresses with the port that it listens at. */
  publish(own: readonly Place[]): PublishedEndpoint[] {
    const known = new Set(own.map(placeKey));
    const ports = new Map<string, Set<number>>();
    for (const place of this.byPeer.values()) {
      if (known.has(placeKey(place))) continue;
      const seen = ports.get(place.host) ?? new Set();
      ports.set(place.host, seen.add(place.port));
    }
    const seen = [...ports]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .slice(0, MAX_SEEN)
      .map(([host, all]) => ({
        kind: all.size > 1 ? KIND_VARYING : KIND_SEEN,
        host,
        port: Math.min(...all),
      }));
    const hosts = own.map(({ host, port }) => ({ kind: KIND_HOST, host, port }));
    return [...seen, ...hosts].slice(0, MAX_ENDPOINTS);
  }
}
