import type { PeerStatus } from '../control/api.js';
import { nodeIdOf } from '../crypto/identity/index.js';
import { type Endpoint, endpointKey } from './endpoint.js';
import type { PeerConfig } from './config/index.js';

export interface Peer {
  readonly name: string;
  readonly nodeId: number;
  configured: boolean;
  /** Where to try it. */
  endpoints: Endpoint[];
  state: PeerStatus['state'];
  /** Why it isn't connected. */
  reason: string | undefined;
  /** Where it was heard last. */
  endpoint: Endpoint | undefined;
  /** µs of the agent's clock. */
  since: number;
  rttMicros: number | undefined;
}

/** Every configured peer, and every other one that called. The main thread's view; the worker has the links themselves. */
export class PeerBook {
  private readonly peers = new Map<number, Peer>();

  /** Peers that were configured and are no longer, by name, for the caller to let go. */
  configure(now: number, configs: readonly PeerConfig[]): { added: Peer[]; dropped: Peer[] } {
    const names = new Set(configs.map(({ name }) => name));
    const dropped = this.all().filter((peer) => peer.configured && !names.has(peer.name));
    for (const peer of dropped) this.peers.delete(peer.nodeId);
    const added = configs.map((config) => this.addConfigured(now, config));
    return { added, dropped };
  }

  all(): Peer[] {
    return [...this.peers.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  get(nodeId: number): Peer | undefined {
    return this.peers.get(nodeId);
  }

  byName(name: string): Peer | undefined {
    return this.peers.get(nodeIdOf(name));
  }

  /** The peer of that name, made if it is new. */
  seen(now: number, name: string): Peer {
    const nodeId = nodeIdOf(name);
    let peer = this.peers.get(nodeId);
    if (!peer) {
      peer = {
        name,
        nodeId,
        configured: false,
        endpoints: [],
        state: 'connecting',
        reason: undefined,
        endpoint: undefined,
        since: now,
        rttMicros: undefined,
      };
      this.peers.set(nodeId, peer);
    }
    return peer;
  }

  /** Every change of state goes through here. Returns whether it was one. */
  change(now: number, peer: Peer, state: Peer['state'], reason?: string): boolean {
    peer.reason = reason;
    if (peer.state === state) return false;
    peer.state = state;
    peer.since = now;
    return true;
  }

  status(now: number): PeerStatus[] {
    return this.all().map(({ name, nodeId, configured, state, reason, endpoint, since, rttMicros }) => ({
      name,
      nodeId,
      configured,
      origin: configured ? 'configured' : 'called',
      state,
      reason: state === 'connected' ? null : (reason ?? null),
      endpoint: endpoint ? endpointKey(endpoint) : null,
      sinceSeconds: (now - since) / 1e6,
      rttMicros: rttMicros ?? null,
    }));
  }

  private addConfigured(now: number, { name, endpoints }: PeerConfig): Peer {
    const peer = this.seen(now, name);
    peer.configured = true;
    peer.endpoints = endpoints.map(({ host, port }) => ({ host, port }));
    if (endpoints.length === 0 && peer.state === 'connecting') {
      this.change(now, peer, 'waiting', 'no endpoints configured: waiting until it calls');
    }
    return peer;
  }
}
