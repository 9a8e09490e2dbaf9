/** What `mesh status`, `mesh link A B` and `mesh list` print. */
import { agentFiles } from './agents.js';
import { emulatorReport, type DirectionCounters, type EmulatorReport } from './emulator.js';
import { namespaceExists } from './network.js';
import { isAlive } from './process.js';
import { formatShape } from './quantity.js';
import { loadState, type Direction, type LinkState, type MeshState, type NodeState } from './state.js';

/** The form that scripts rely on. */
export interface MeshStatus {
  readonly name: string;
  readonly nodes: Readonly<Record<string, NodeStatus>>;
  readonly links: readonly LinkStatus[];
}

export interface NodeStatus {
  readonly namespace: string;
  /** IPv4 first; empty for a node without an agent beside others that have one. */
  readonly overlay: readonly string[];
  /** By neighbour: our interface and address toward it, and its own address there. */
  readonly underlay: Readonly<Record<string, { interface: string; address: string; peer: string }>>;
  /** These three are `null` without an agent, `pid` also while it isn't running. */
  readonly socket: string | null;
  readonly pid: number | null;
  readonly config: string | null;
}

/** Delay, loss and rate are those of the direction in which `between` names the nodes. */
export interface LinkStatus {
  readonly between: readonly [string, string];
  readonly delay_ms: number;
  readonly loss_pct: number;
  /** `null`: no limit. */
  readonly rate_mbit: number | null;
  /** `false` while an end is down, a direction a blackhole, or the emulator dead. */
  readonly up: boolean;
}

export function statusOf(state: MeshState): MeshStatus {
  return {
    name: state.name,
    nodes: Object.fromEntries(state.nodes.map((node) => [node.name, nodeStatus(state, node)])),
    links: state.links.map((link) => linkStatus(state, link)),
  };
}

function nodeStatus(state: MeshState, node: NodeState): NodeStatus {
  const files = node.agent === false ? null : agentFiles(state.name, node.name);
  const underlay = state.links.flatMap(({ ends: [a, b] }) => {
    if (a.node !== node.name && b.node !== node.name) return [];
    const [near, far] = a.node === node.name ? [a, b] : [b, a];
    return [[far.node, { interface: near.interface, address: near.address4, peer: far.address4 }] as const];
  });
  return {
    namespace: node.namespace,
    overlay: node.overlay,
    underlay: Object.fromEntries(underlay),
    socket: files?.socket ?? null,
    pid: isAlive(node.process) ? node.process.pid : null,
    config: files?.config ?? null,
  };
}

function linkStatus(state: MeshState, link: LinkState): LinkStatus {
  const [forward] = link.directions;
  return {
    between: [link.ends[0].node, link.ends[1].node],
    delay_ms: forward.delayMs,
    loss_pct: Number((forward.loss * 100).toPrecision(9)),
    rate_mbit: forward.rateBps === null ? null : forward.rateBps / 1e6,
    up: isMade(state, link) && link.directions.every((direction) => !direction.down && !direction.blackhole),
  };
}

const isMade = (state: MeshState, link: LinkState): boolean =>
  link.kind !== 'emulator' || isAlive(state.emulator);

/** One direction with its counters, where the emulator keeps any. */
export interface DirectionStatus extends Direction {
  readonly from: string;
  readonly to: string;
  readonly counters: DirectionCounters | null;
}

export interface LinkDetail {
  readonly between: readonly [string, string];
  readonly kind: LinkState['kind'];
  readonly mtu: number;
  readonly directions: readonly DirectionStatus[];
}

export async function linkDetails(state: MeshState, links: readonly LinkState[]): Promise<LinkDetail[]> {
  const report = await reportOf(state, links);
  return links.map((link) => {
    const [a, b] = link.ends;
    const counters = report?.links.find((one) => one.index === link.index)?.directions;
    return {
      between: [a.node, b.node],
      kind: link.kind,
      mtu: link.mtu,
      directions: link.directions.map((direction, side) => ({
        from: link.ends[side]!.node,
        to: link.ends[1 - side]!.node,
        ...direction,
        counters: counters?.[side] ?? null,
      })),
    };
  });
}

async function reportOf(state: MeshState, links: readonly LinkState[]): Promise<EmulatorReport | undefined> {
  if (!links.some((link) => link.kind === 'emulator') || !isAlive(state.emulator)) return undefined;
  return emulatorReport(state.name);
}

export function linkText(detail: LinkDetail): string {
  const [a, b] = detail.between;
  const lines = detail.directions.map((direction) => `  ${directionText(direction)}`);
  return [`${a} – ${b}: ${detail.kind}, mtu ${detail.mtu}`, ...lines].join('\n');
}

function directionText(direction: DirectionStatus): string {
  const marks = [direction.down ? 'DOWN' : '', direction.blackhole ? 'BLACKHOLE' : ''].filter(Boolean);
  const { counters } = direction;
  const counted =
    counters === null
      ? ''
      : `: passed ${counters.passed}, lost ${counters.lost}, dropped ${counters.dropped}, ` +
        `blackholed ${counters.blackholed}, failed ${counters.failed}, inside ${counters.held}, ` +
        `late ${counters.lateMeanUs} µs (most ${counters.lateMaxUs})`;
  return `${direction.from} → ${direction.to}  ${[...marks, formatShape(direction)].join(', ')}${counted}`;
}

export async function statusText(state: MeshState): Promise<string> {
  const status = statusOf(state);
  const nodes = state.nodes.map((node) => {
    const one = status.nodes[node.name]!;
    const agent =
      node.agent === false ? 'no agent' : one.pid === null ? 'agent not running' : `agent ${one.pid}`;
    const missing = namespaceExists(node.namespace) ? '' : '; NAMESPACE GONE';
    return `  ${node.name}  ${[...one.overlay, agent].join('  ')}${missing}`;
  });
  const details = await linkDetails(state, state.links);
  const dead = state.links.some((link) => !isMade(state, link));
  const warning = dead
    ? ['THE LINK EMULATOR IS DEAD: emulated links carry nothing ("mesh link A B --up" starts it again)']
    : [];
  return [`mesh ${state.name}, seed ${state.seed}`, ...warning, ...nodes, ...details.map(linkText)].join(
    '\n',
  );
}

export function listText(names: readonly string[]): string[] {
  return names.map((name) => {
    const state = loadState(name);
    return state === undefined
      ? `${name}  unfinished`
      : `${name}  ${state.nodes.length} nodes, ${state.links.length} links`;
  });
}
