/** From a mesh file to everything that will exist: names, addresses, routes, peers. Pure; nothing is created here. */
import { wrongUse } from './errors.js';
import type { FileLink, FileNode, MeshFile } from './file.js';
import type { AgentKeys } from './keys.js';
import type { Shape } from './quantity.js';
import { shortestPaths, type Edge } from './routes.js';

export const overlayPrefixes = ['10.77.0.0/16', 'fd77::/48'] as const;
export const agentPort = 7100;

/** One end of a link: an interface in its node's namespace. */
export interface LinkEnd {
  readonly node: string;
  readonly interface: string;
  readonly mac: string;
  readonly address4: string;
  readonly address6: string;
}

export interface PlannedLink {
  readonly index: number;
  readonly ends: readonly [LinkEnd, LinkEnd];
  readonly mtu: number;
  readonly shape: Shape;
}

export interface PlannedPeer {
  readonly name: string;
  readonly endpoints: readonly string[];
}

/** A kernel route to another node's address. */
export interface PlannedRoute {
  readonly to: string;
  readonly via: string;
  readonly interface: string;
  /** The address to send from, where the kernel's choice would be another. */
  readonly from?: string;
}

export interface PlannedNode {
  readonly name: string;
  readonly namespace: string;
  /** IPv4 first. With an agent the agent owns them; in a mesh with no agent at all, the loopback interface does. */
  readonly overlay: readonly string[];
  readonly overlayOnLoopback: boolean;
  /** `false`: no agent; the node forwards underlay packets instead. */
  readonly agent: false | AgentKeys;
  readonly peers: readonly PlannedPeer[];
  readonly routes: readonly PlannedRoute[];
}

export interface Plan {
  readonly name: string;
  readonly nodes: readonly PlannedNode[];
  readonly links: readonly PlannedLink[];
}

/** Where the link emulators of a mesh run. No node's name can begin with a dash, so none has this namespace. */
export const emulatorNamespace = (mesh: string): string => `cw-${mesh}--links`;
export const nodeNamespace = (mesh: string, node: string): string => `cw-${mesh}-${node}`;

/** A link's /30s come out of 10.90.0.0/16. */
const mostLinks = 0x1_0000 / 4;
const mostNodes = 65_534;

/** @throws MeshError (exit code 2) for a mesh that is too large, or a peer that the underlay can't reach. */
export function planMesh(file: MeshFile): Plan {
  if (file.links.length > mostLinks)
    throw wrongUse(`${file.name}: ${file.links.length} links are more than ${mostLinks}`);
  if (file.nodes.length > mostNodes)
    throw wrongUse(`${file.name}: ${file.nodes.length} nodes are more than ${mostNodes}`);
  const links = file.links.map(planLink);
  const edges = file.links.map((link): Edge => ({ ends: link.between, delayMs: link.shape.delayMs }));
  const agents = new Map(file.nodes.map((node) => [node.name, node.agent !== false]));
  const baseline = file.nodes.every((node) => node.agent === false);
  const overlay = new Map(
    file.nodes.map((node, index) => [
      node.name,
      node.agent !== false || baseline ? overlayAddresses(index + 1) : [],
    ]),
  );
  const nodes = file.nodes.map((node): PlannedNode => {
    const paths = shortestPaths(node.name, edges, (relay) => !agents.get(relay)!);
    return {
      name: node.name,
      namespace: nodeNamespace(file.name, node.name),
      overlay: overlay.get(node.name)!,
      overlayOnLoopback: baseline,
      agent: node.agent,
      peers: node.agent === false ? [] : planPeers(node, file.nodes, links, paths),
      routes: [...paths.values()].flatMap((path) =>
        routesAlong(path, links, agents, baseline ? overlay : new Map()),
      ),
    };
  });
  return { name: file.name, nodes, links };
}

function planLink(link: FileLink, index: number): PlannedLink {
  const base = index * 4;
  const end = (side: 0 | 1): LinkEnd => ({
    node: link.between[side],
    interface: interfaceTo(link.between[1 - side]!, index),
    mac: `02:77:${octet(index >> 8)}:${octet(index & 255)}:00:${octet(side + 1)}`,
    address4: `10.90.${base >> 8}.${(base & 255) + side + 1}`,
    // As `ip` prints it, so that texts can be compared.
    address6: `fd90:${index === 0 ? '' : `0:0:${index.toString(16)}:`}:${side + 1}`,
  });
  return { index, ends: [end(0), end(1)], mtu: link.mtu, shape: link.shape };
}

const octet = (value: number): string => value.toString(16).padStart(2, '0');

/** Linux allows 15 characters. */
const interfaceTo = (neighbour: string, index: number): string =>
  neighbour.length <= 12 ? `to-${neighbour}` : `link${index}`;

const overlayAddresses = (number: number): string[] => [
  `10.77.${number >> 8}.${number & 255}`,
  `fd77::${number.toString(16)}`,
];

/** The end of the link from `from` to `to` that is `to`'s; they must be neighbours. */
function endToward(links: readonly PlannedLink[], from: string, to: string): { near: LinkEnd; far: LinkEnd } {
  for (const { ends } of links) {
    if (ends[0].node === from && ends[1].node === to) return { near: ends[0], far: ends[1] };
    if (ends[1].node === from && ends[0].node === to) return { near: ends[1], far: ends[0] };
  }
  throw new Error(`no link between ${from} and ${to}`);
}

/** By default every neighbour with an agent, except one whose own list leaves this node out. */
function planPeers(
  node: FileNode,
  nodes: readonly FileNode[],
  links: readonly PlannedLink[],
  paths: ReadonlyMap<string, readonly string[]>,
): PlannedPeer[] {
  const neighbours = links.flatMap(({ ends: [a, b] }) =>
    a.node === node.name ? [b.node] : b.node === node.name ? [a.node] : [],
  );
  const byName = new Map(nodes.map((one) => [one.name, one]));
  const wanted =
    node.peers ??
    neighbours.filter((name) => {
      const neighbour = byName.get(name)!;
      return neighbour.agent !== false && (neighbour.peers?.includes(node.name) ?? true);
    });
  return wanted.map((name) => {
    if (byName.get(name)!.agent === false) throw wrongUse(`node ${node.name}: its peer ${name} has no agent`);
    const path = neighbours.includes(name) ? [node.name, name] : paths.get(name);
    if (path === undefined) {
      throw wrongUse(
        `node ${node.name}: no link leads to its peer ${name}, and no node without an agent forwards to it`,
      );
    }
    const { far } = endToward(links, path[path.length - 2]!, name);
    return { name, endpoints: [`${far.address4}:${agentPort}`, `[${far.address6}]:${agentPort}`] };
  });
}

/**
 * Routes from a path's first node to every address of its last. Two agents that are neighbours get none: they know each other's address
 * on their common link, and all else is the overlay's to find.
 */
function routesAlong(
  path: readonly string[],
  links: readonly PlannedLink[],
  agents: ReadonlyMap<string, boolean>,
  loopback: ReadonlyMap<string, readonly string[]>,
): PlannedRoute[] {
  const from = path[0]!;
  const to = path[path.length - 1]!;
  if (path.length < 2 || (path.length === 2 && agents.get(from) && agents.get(to))) return [];
  const { near, far } = endToward(links, from, path[1]!);
  const attached = new Set(
    links.filter((link) => link.ends.some((end) => end.node === from)).map((link) => link.index),
  );
  const via = (address: string): string => (address.includes(':') ? far.address6 : far.address4);
  const route = (address: string): PlannedRoute => ({
    to: address,
    via: via(address),
    interface: near.interface,
  });
  const underlay = links
    .filter((link) => !attached.has(link.index))
    .flatMap(({ ends }) =>
      ends.filter((end) => end.node === to).flatMap((end) => [end.address4, end.address6]),
    );
  const own = loopback.get(from) ?? [];
  return [
    ...underlay.map(route),
    ...(loopback.get(to) ?? []).map((address, index) => ({ ...route(address), from: own[index]! })),
  ];
}
