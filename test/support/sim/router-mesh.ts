/**
 * Routers over simulated links, and an oracle that knows the whole mesh. The link's own protocols are stood in for by ordered messages
 * and by telling both ends when a link goes up or down.
 */
import type { RouterAction, RouterNotice } from '../../../src/overlay/route/actions.js';
import { Router } from '../../../src/overlay/route/router.js';
import { HOP_COST } from '../../../src/overlay/route/metric.js';
import { ForwardingTables, NO_COST } from '../../../src/overlay/route/tables.js';
import { SERVICE_BEST_EFFORT } from '../../../src/overlay/wire/routed.js';
import type { RouterTuning } from '../../../src/overlay/route/tuning.js';
import type { Claims, Identities } from './identities.js';
import { cheapIdentities, prefixOf } from './identities.js';
import { SimLink } from './link.js';
import type { Simulator } from './simulator.js';
import type { Edge } from './topology.js';

export interface MeshNode {
  readonly index: number;
  readonly nodeId: number;
  readonly certificate: Uint8Array;
  router: Router;
  tables: ForwardingTables | undefined;
  running: boolean;
  wake: () => void;
  readonly notices: RouterNotice[];
  readonly drops: string[];
}

interface MeshLink {
  readonly edge: Edge;
  readonly link: SimLink;
  up: boolean;
}

export interface MeshOptions {
  readonly nodes: number;
  readonly edges: readonly Edge[];
  readonly identities?: Identities;
  readonly tuning?: Partial<RouterTuning> | ((index: number) => Partial<RouterTuning>);
  /** What each node's certificate says beyond id and name. */
  readonly claims?: (index: number) => Partial<Claims>;
  readonly overlay?: readonly string[];
}

export const addressOf = (index: number): string => `10.77.${index >> 8}.${index & 255}`;
/** Ids out of the order of the indices, never 0. */
export const idOf = (index: number): number => (Math.imul(index + 1, 0x9e3779b1) | 1) >>> 0;

export class RouterMesh {
  readonly nodes: MeshNode[];
  readonly links: MeshLink[];
  readonly identities: Identities;
  /** Control messages sent so far, and their bytes. */
  readonly traffic = { messages: 0, bytes: 0 };
  private readonly byId = new Map<number, number>();
  private readonly byPair = new Map<string, MeshLink>();

  constructor(
    readonly sim: Simulator,
    private readonly options: MeshOptions,
  ) {
    this.identities = options.identities ?? cheapIdentities();
    this.nodes = Array.from({ length: options.nodes }, (_, index) => this.createNode(index));
    this.links = options.edges.map((edge) => this.createLink(edge));
  }

  /** Node `a`'s and `b`'s link comes up at both ends, one way's latency later. */
  connect(a: number, b: number): void {
    const found = this.linkOf(a, b);
    if (found.up) return;
    found.up = true;
    found.link.cut();
    const { edge } = found;
    const rtt = 2 * edge.latency;
    this.sim.after(edge.latency, () => {
      if (!found.up) return;
      this.feed(edge.a, (router) => router.linkUp(this.sim.now, this.nodes[edge.b].nodeId, rtt));
      this.feed(edge.b, (router) => router.linkUp(this.sim.now, this.nodes[edge.a].nodeId, rtt));
    });
  }

  connectAll(): void {
    for (const { edge } of this.links) this.connect(edge.a, edge.b);
  }

  /** The link goes down and both ends notice. */
  disconnect(a: number, b: number): void {
    const found = this.linkOf(a, b);
    if (!found.up) return;
    found.up = false;
    found.link.cut();
    this.feed(a, (router) => router.linkDown(this.sim.now, this.nodes[b].nodeId));
    this.feed(b, (router) => router.linkDown(this.sim.now, this.nodes[a].nodeId));
  }

  neighboursOf(index: number): number[] {
    return this.links
      .filter(({ edge, up }) => up && (edge.a === index || edge.b === index))
      .map(({ edge }) => (edge.a === index ? edge.b : edge.a));
  }

  /** Without a word. */
  kill(index: number): void {
    this.nodes[index].running = false;
    for (const neighbour of this.neighboursOf(index)) this.disconnect(index, neighbour);
  }

  /** A new router with another epoch, without links. */
  restart(index: number, epoch: number): void {
    const node = this.nodes[index];
    node.router = this.createRouter(index, node.certificate, epoch);
    node.tables = undefined;
    node.running = true;
    this.plug(node);
  }

  /** Gives the router an input and carries its actions out. */
  feed(index: number, input: (router: Router) => RouterAction[]): void {
    const node = this.nodes[index];
    if (!node.running) return;
    for (const action of input(node.router)) this.perform(node, action);
    node.wake();
  }

  /** As if neighbour `from` had sent it. */
  inject(to: number, from: number, bytes: Uint8Array): void {
    this.feed(to, (router) => router.message(this.sim.now, this.sim.wall, this.nodes[from].nodeId, bytes));
  }

  indexOf(nodeId: number): number {
    return this.byId.get(nodeId) ?? -1;
  }

  /** The nodes that a packet from `from` for `to` passes, both included; undefined where it ends elsewhere or goes round. */
  walk(from: number, to: number): number[] | undefined {
    const path = [from];
    while (path[path.length - 1] !== to) {
      const { tables } = this.nodes[path[path.length - 1]];
      const target = tables?.indexOf(this.nodes[to].nodeId) ?? -1;
      if (tables === undefined || target === -1) return undefined;
      const next = this.indexOf(tables.nextHop(target, SERVICE_BEST_EFFORT));
      if (next === -1 || path.includes(next)) return undefined;
      path.push(next);
    }
    return path;
  }

  /**
   * Every difference between what the nodes' tables say and what the whole mesh's shortest paths are; none after convergence. `sources`: whose
   * tables to check.
   */
  differences(sources: readonly number[] = this.nodes.map(({ index }) => index)): string[] {
    const differences: string[] = [];
    for (const source of sources.filter((index) => this.nodes[index].running)) {
      const truth = this.truth(source);
      const { tables } = this.nodes[source];
      for (const { index, nodeId } of this.nodes) {
        const at = tables?.indexOf(nodeId) ?? -1;
        const cost =
          tables === undefined || at === -1 || tables.nextHop(at, SERVICE_BEST_EFFORT) === 0
            ? Infinity
            : tables.cost(at, SERVICE_BEST_EFFORT);
        if (cost !== truth[index]) differences.push(`${source}→${index}: ${cost} instead of ${truth[index]}`);
        else if (cost < NO_COST && this.walk(source, index) === undefined)
          differences.push(`${source}→${index}: loop`);
      }
    }
    return differences;
  }

  /** How many of the costs in the tables of `sources` aren't those of the whole mesh's shortest paths; `differences` also walks the paths. */
  wrongCosts(sources: readonly number[]): number {
    let wrong = 0;
    for (const source of sources.filter((index) => this.nodes[index].running)) {
      const truth = this.truth(source);
      const { tables } = this.nodes[source];
      for (const { index, nodeId } of this.nodes) {
        const at = tables?.indexOf(nodeId) ?? -1;
        const cost = at === -1 ? NO_COST : tables!.cost(at, SERVICE_BEST_EFFORT);
        if (cost !== Math.min(truth[index], NO_COST)) wrong++;
      }
    }
    return wrong;
  }

  /** Cost to each node by the Bellman-Ford method over the links that are up. */
  private truth(source: number): number[] {
    const cost = this.nodes.map(({ index }) => (index === source ? 0 : Infinity));
    const up = this.links.filter((link) => link.up);
    for (let changed = true; changed;) {
      changed = false;
      for (const { edge } of up) {
        const step = edge.latency + HOP_COST;
        for (const [u, v] of [
          [edge.a, edge.b],
          [edge.b, edge.a],
        ]) {
          if (cost[u] + step >= cost[v]) continue;
          cost[v] = cost[u] + step;
          changed = true;
        }
      }
    }
    return cost;
  }

  private perform(node: MeshNode, action: RouterAction): void {
    switch (action.type) {
      case 'send': {
        const peer = this.indexOf(action.peer);
        const { link, edge, up } = this.linkOf(node.index, peer);
        this.traffic.messages++;
        this.traffic.bytes += action.bytes.length;
        if (up) link.sendMessage(edge.a === node.index ? 0 : 1, action.bytes);
        return;
      }
      case 'tables':
        node.tables = new ForwardingTables(action.snapshot.buffers);
        return;
      case 'drop':
        node.drops.push(action.reason);
        return;
      case 'suspect':
        return; // links are told here when they go, both ends alike
      case 'notice':
        node.notices.push(action.notice);
        return;
      default:
        action satisfies never;
    }
  }

  private createNode(index: number): MeshNode {
    const nodeId = idOf(index);
    const claims = {
      nodeId,
      name: `n${index}`,
      addresses: [addressOf(index)],
      ...this.options.claims?.(index),
    };
    const certificate = this.identities.certificate(claims);
    const router = this.createRouter(index, certificate, 1);
    const node: MeshNode = {
      ...{ index, nodeId, certificate, router, tables: undefined, running: true },
      ...{ wake: () => undefined, notices: [], drops: [] },
    };
    this.byId.set(nodeId, index);
    this.plug(node);
    return node;
  }

  private createRouter(index: number, certificate: Uint8Array, epoch: number): Router {
    const nodeId = idOf(index);
    const { tuning = {} } = this.options;
    const { verifyCertificate, verifySignature, sign } = this.identities;
    const options = {
      self: { nodeId, certificate, sign: (message: Uint8Array) => sign(nodeId, message) },
      epoch,
      overlay: (this.options.overlay ?? ['10.77.0.0/16']).map(prefixOf),
      verifyCertificate,
      verifySignature,
      tuning: typeof tuning === 'function' ? tuning(index) : tuning,
    };
    return new Router(options, this.sim.now, this.sim.wall);
  }

  private plug(node: MeshNode): void {
    const { router } = node;
    node.wake = this.sim.plug({
      nextTimeout: () => (node.running && node.router === router ? router.nextTimeout() : Infinity),
      timeout: (now) => this.feed(node.index, () => router.timeout(now, this.sim.wall)),
    });
  }

  private createLink(edge: Edge): MeshLink {
    const link = new SimLink(this.sim, { latency: edge.latency });
    link.attach(0, { message: (bytes) => this.inject(edge.a, edge.b, bytes) });
    link.attach(1, { message: (bytes) => this.inject(edge.b, edge.a, bytes) });
    const entry = { edge, link, up: false };
    this.byPair.set(`${edge.a} ${edge.b}`, entry);
    this.byPair.set(`${edge.b} ${edge.a}`, entry);
    return entry;
  }

  private linkOf(a: number, b: number): MeshLink {
    const found = this.byPair.get(`${a} ${b}`);
    if (found === undefined) throw new Error(`no link between ${a} and ${b}`);
    return found;
  }
}
