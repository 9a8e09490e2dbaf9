/**
 * Makes a plan real, and unmakes it:
 * 1. one namespace a node, with the sysctls that a mesh needs;
 * 2. the links, each a veth pair, or what `shaping.ts` makes of it;
 * 3. every end's addresses, neighbour entries and routes.
 */
import { existsSync } from 'node:fs';
import { failed, wrongUse } from './errors.js';
import { emulatorNamespace, type LinkEnd } from './plan.js';
import { ancestry, endProcess, recordOf, run } from './process.js';
import type { LinkState, MeshState, NodeState } from './state.js';

/** Runs lines of `ip` commands in one process. @throws MeshError (exit code 1) with the line that failed. */
export async function ipBatch(lines: readonly string[], namespace?: string): Promise<void> {
  if (lines.length === 0) return;
  try {
    await run('ip', [...(namespace ? ['-n', namespace] : []), '-batch', '-'], `${lines.join('\n')}\n`);
  } catch (error) {
    const message = (error as Error).message;
    const number = /Command failed -:(\d+)/.exec(message)?.[1];
    const line = number === undefined ? '' : ` (ip ${lines[Number(number) - 1]})`;
    throw failed(message.replace(/;? *Command failed -:\d+/, line), error);
  }
}

export const namespaceExists = (namespace: string): boolean => existsSync(`/run/netns/${namespace}`);

/** @throws MeshError (exit code 2) if a namespace of ours is there already, though no mesh of this name is recorded. */
export function refuseStrangers(state: MeshState): void {
  const there = namespacesOf(state).find(namespaceExists);
  if (there === undefined) return;
  throw wrongUse(
    `namespace ${there} is there already and belongs to no known mesh: remove it with "ip netns del ${there}"`,
  );
}

export async function createNamespaces(state: MeshState): Promise<void> {
  await ipBatch(namespacesOf(state).map((namespace) => `netns add ${namespace}`));
  await Promise.all(state.nodes.map(prepareNamespace));
  await prepareEmulatorNamespace(emulatorNamespace(state.name));
}

export const namespacesOf = (state: MeshState): string[] => [
  ...state.nodes.map((node) => node.namespace),
  emulatorNamespace(state.name),
];

async function prepareNamespace(node: NodeState): Promise<void> {
  const forwarding = node.agent === false ? 1 : 0;
  await writeSysctls(node.namespace, {
    'ipv4/ip_forward': forwarding,
    'ipv6/conf/all/forwarding': forwarding,
    'ipv4/conf/all/rp_filter': 0,
    'ipv4/conf/default/rp_filter': 0,
    'ipv6/conf/default/accept_dad': 0,
    'ipv6/conf/default/dad_transmits': 0,
    'ipv6/conf/default/accept_ra': 0,
    'ipv6/conf/all/keep_addr_on_down': 1,
    'ipv6/conf/default/keep_addr_on_down': 1,
  });
  const addresses = node.overlayOnLoopback ? node.overlay : [];
  await ipBatch(
    ['link set lo up', ...addresses.map((address) => `address add ${hostPrefix(address)} dev lo nodad`)],
    node.namespace,
  );
}

/** The emulator's ends only hand frames over: no address, so that the kernel there says nothing of its own. */
async function prepareEmulatorNamespace(namespace: string): Promise<void> {
  await writeSysctls(namespace, { 'ipv6/conf/all/disable_ipv6': 1, 'ipv6/conf/default/disable_ipv6': 1 });
}

async function writeSysctls(namespace: string, values: Record<string, number>): Promise<void> {
  const script = Object.entries(values)
    .map(([key, value]) => `[ ! -e /proc/sys/net/${key} ] || echo ${value} > /proc/sys/net/${key}`)
    .join('\n');
  await run('ip', ['netns', 'exec', namespace, 'sh', '-ec', script]);
}

const hostPrefix = (address: string): string => `${address}/${address.includes(':') ? 128 : 32}`;

export const namespaceOfEnd = (state: MeshState, end: LinkEnd): string =>
  state.nodes.find((node) => node.name === end.node)!.namespace;

/** `ip` lines, for no namespace in particular, that make plain links. */
export const pairLines = (state: MeshState, link: LinkState): string[] => {
  const [a, b] = link.ends;
  return [
    `link add ${a.interface} mtu ${link.mtu} address ${a.mac} netns ${namespaceOfEnd(state, a)} type veth ` +
      `peer name ${b.interface} mtu ${link.mtu} address ${b.mac} netns ${namespaceOfEnd(state, b)}`,
  ];
};

/**
 * Up, with addresses and neighbour entries. The entries are permanent, as the first router of an Internet path is always there: a silent
 * loss of the path stays silent, and no lost ARP request costs a second.
 */
export function endLines(link: LinkState, side: 0 | 1): string[] {
  const near = link.ends[side];
  const far = link.ends[1 - side]!;
  return [
    `link set ${near.interface} up`,
    `address replace ${near.address4}/30 dev ${near.interface}`,
    `address replace ${near.address6}/64 dev ${near.interface} nodad`,
    `neighbour replace ${far.address4} lladdr ${far.mac} dev ${near.interface} nud permanent`,
    `neighbour replace ${far.address6} lladdr ${far.mac} dev ${near.interface} nud permanent`,
  ];
}

export const routeLines = (node: NodeState, isUp: (interfaceName: string) => boolean): string[] =>
  node.routes
    .filter((route) => isUp(route.interface))
    .map(
      (route) =>
        `route replace ${hostPrefix(route.to)} via ${route.via} dev ${route.interface}${route.from ? ` src ${route.from}` : ''}`,
    );

/** (Re)applies addresses, neighbours and routes of these links at both ends; ends that are down stay so. */
export async function configureEnds(state: MeshState, links: readonly LinkState[]): Promise<void> {
  const isDown = (link: LinkState, side: 0 | 1): boolean => link.directions[side].down;
  await Promise.all(
    state.nodes.map(async (node) => {
      const touched = links.flatMap((link) =>
        ([0, 1] as const)
          .filter((side) => link.ends[side].node === node.name)
          .map((side) => ({ link, side })),
      );
      if (touched.length === 0) return;
      const up = touched.filter(({ link, side }) => !isDown(link, side));
      const interfaces = new Set(up.map(({ link, side }) => link.ends[side].interface));
      await ipBatch(
        [
          ...up.flatMap(({ link, side }) => endLines(link, side)),
          ...routeLines(node, (name) => interfaces.has(name)),
        ],
        node.namespace,
      );
    }),
  );
}

export async function setEndDown(state: MeshState, end: LinkEnd): Promise<void> {
  await ipBatch([`link set ${end.interface} down`], namespaceOfEnd(state, end));
}

/**
 * Removes the namespaces, and first what would keep them alive: processes that were left running inside (but never the shell that this very
 * command is run from). The links go explicitly, because a namespace's own death is the kernel's business and may take a while.
 */
export async function removeNamespaces(state: MeshState): Promise<void> {
  const namespaces = namespacesOf(state).filter(namespaceExists);
  const spared = ancestry();
  await Promise.all(namespaces.map((namespace) => endProcessesIn(namespace, spared)));
  for (const node of state.nodes.filter((one) => namespaceExists(one.namespace))) {
    const ends = state.links.flatMap((link) => link.ends.filter((end) => end.node === node.name));
    const lines = ends.map((end) => `link del ${end.interface}`);
    await run('ip', ['-n', node.namespace, '-force', '-batch', '-'], `${lines.join('\n')}\n`).catch(
      () => undefined,
    );
  }
  await ipBatch(namespaces.map((namespace) => `netns del ${namespace}`));
}

async function endProcessesIn(namespace: string, spared: ReadonlySet<number>): Promise<void> {
  const pids = (await run('ip', ['netns', 'pids', namespace])).split('\n').filter(Boolean).map(Number);
  await Promise.all(pids.filter((pid) => !spared.has(pid)).map((pid) => endProcess(recordOf(pid), 2000)));
}
