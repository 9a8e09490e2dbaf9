/**
 * What interception asks of the host's routing, as lines for `ip -batch`. Deciding only: host.ts does it.
 *
 *   packet of this host ─► table local
 *     ─► 7100: not fwmark MARK, lookup TABLE      overlay and routed prefixes: dev TUN src OWN
 *     │                                           participants' real addresses: dev TUN src REAL
 *     │                                           overlay prefixes once more: unreachable, metric 2³² − 1
 *     ─► 7101: fwmark CAPTURE, lookup CAPTURE     default: dev TUN                       (mode full; nft-plan.ts marks)
 *     ─► 7102: lookup main, but no default route                                         (with an exit)
 *     ─► 7103: not fwmark MARK, lookup EXIT       default: dev TUN src OWN               (with an exit)
 *     │                                           multicast, 255.255.255.255: throw, on to main
 *     ─► main …
 *
 * - The tables hold nothing but those routes, so that any other packet falls through the rules and goes where it always went. A captured
 *   packet does so too once the device is gone, as after SIGKILL.
 * - What the agent sends itself carries MARK, and never looks there; nor does what it sends again for others, which carries a bit more.
 * - Unreachable routes count only when the device is gone: until the leftovers are removed, what was meant for the overlay gets an error and
 *   isn't sent in clear.
 *
 * Ours are: the routes in the three tables with ROUTE_PROTOCOL, the rules to them with ROUTE_PROTOCOL, rule 7102 with ROUTE_PROTOCOL, and all
 * that vanishes with the device.
 */
import { createHash } from 'node:crypto';
import { parseAddress, parsePrefix, type Family, type OverlayPrefix } from '../crypto/identity/address.js';
import { HostError } from './ip.js';

/** Routing tables of ours are TABLE_BASE .. TABLE_BASE + 2²⁴ − 1 (0x43000000 .. 0x43ffffff), and as many of each other use behind them. */
export const TABLE_BASE = 0x43000000;
const TABLE_BITS = 24;
export const TABLE_USES = ['overlay', 'capture', 'exit'] as const;
export type TableUse = (typeof TABLE_USES)[number];
/** `proto` of our routes and `protocol` of our rules: one that rt_protos leaves free. */
export const ROUTE_PROTOCOL = 203;
/** Behind table local (0), before main (32766). */
export const RULE_PRIORITY = 7100;
const CAPTURE_PRIORITY = 7101;
export const SUPPRESS_PRIORITY = 7102;
const EXIT_PRIORITY = 7103;
/** Bit of a mark that may differ: what is sent again for others bears it (host-tuning.ts). */
const RESENT_BIT = 2;
const LAST_METRIC = 0xffffffff;
/** What an exit can't carry. IPv6's routes for multicast lie in table local. */
const TO_MANY = { 4: ['224.0.0.0/4', '255.255.255.255/32'], 6: [] } as const;

export interface HostInput {
  tun: {
    name: string;
    /** Bytes of the largest inner packet. */
    mtu: number;
    /** Bytes, where the device also takes packets that don't go over the overlay; `mtu` if absent. */
    deviceMtu?: number;
    /** Packets; the kernel's default (500) if absent. */
    txQueueLength?: number;
    /** Most bytes of one segmentation-offload packet. */
    gsoMaxSize?: number;
    /** Most segments of one. */
    gsoMaxSegments?: number;
  };
  /** This node's overlay addresses, IPv4 or IPv6. The first of a family is its source address. */
  addresses: readonly string[];
  /** The overlay's prefixes: always routed into the device. */
  prefixes: readonly string[];
  /** Subnets that other nodes own beyond those; may change while the agent runs. */
  routed: readonly string[];
  /** Real addresses of other nodes; may change while the agent runs. */
  participants?: readonly Participant[];
  /** fwmark of the agent's own datagrams; 0 if they have none. */
  mark: number;
  /** fwmark of packets that enter the device whatever their destination; absent in mode split. */
  capture?: number;
  /** Whether everything that has no nearer route goes to another node; may change while the agent runs. */
  exit?: boolean;
  /** Whether what can't go over the overlay must not go around it: participants' addresses and the exit's traffic. */
  refuse?: boolean;
}

/** A node's real address, and the one of this host that reaches it. */
export interface Participant {
  address: string;
  /** Absent: not into the device, but nowhere else either. */
  source?: string;
}

/** What may change of a HostInput while the agent runs. */
export type Routed = Required<Pick<HostInput, 'routed' | 'participants' | 'exit'>>;

/** Lines of one address family, for `ip -4 -batch` or `ip -6 -batch`; none if the overlay doesn't use it. */
export type FamilyPlan = Readonly<Record<Family, readonly string[]>>;

export interface HostPlan {
  readonly table: number;
  /** The device before it is up. */
  readonly link: readonly string[];
  /** Likewise, but the agent works without these, and a kernel may refuse them. */
  readonly tuning: readonly string[];
  readonly up: readonly string[];
  /** Addresses, routes and the rule, in an order that leaks nothing. */
  readonly families: FamilyPlan;
}

/** Plans what to apply to a host with the device just created. Throws HostError 'bad-input' that names a malformed value. */
export function planHost(input: HostInput): HostPlan {
  const { name, mtu, txQueueLength, gsoMaxSize, gsoMaxSegments } = input.tun;
  checkDeviceName(name);
  // A router's device has the overlay's addresses alone; a link-local one would make the kernel solicit routers on it.
  const tuning = [`link set dev ${name} addrgenmode none`];
  if (txQueueLength !== undefined)
    tuning.push(`link set dev ${name} txqueuelen ${checkCount(txQueueLength)}`);
  if (gsoMaxSize !== undefined) tuning.push(`link set dev ${name} gso_max_size ${checkCount(gsoMaxSize)}`);
  if (gsoMaxSegments !== undefined)
    tuning.push(`link set dev ${name} gso_max_segs ${checkCount(gsoMaxSegments)}`);
  return {
    table: routingTable(name),
    link: [`link set dev ${name} mtu ${checkCount(input.tun.deviceMtu ?? mtu)}`],
    tuning,
    up: [`link set dev ${name} up`],
    families: { 4: planFamily(input, 4), 6: planFamily(input, 6) },
  };
}

/** The routing table of a device: its name's hash, so that agents on one host have tables of their own. */
export function routingTable(name: string, use: TableUse = 'overlay'): number {
  return (
    TABLE_BASE +
    (TABLE_USES.indexOf(use) << TABLE_BITS) +
    createHash('sha256')
      .update(name)
      .digest()
      .readUIntBE(0, TABLE_BITS / 8)
  );
}

function planFamily(input: HostInput, family: Family): string[] {
  const { name } = input.tun;
  const addresses = addressesOf(input, family);
  const overlay = prefixesOf(input.prefixes, family);
  const routes = routesOf(input, family);
  const anyAddress = input.participants !== undefined || input.capture !== undefined;
  if (addresses.length === 0 && routes.length === 0 && !anyAddress) return [];
  return [
    ...addresses.map(
      (address) => `address add ${address} dev ${name} noprefixroute${family === 6 ? ' nodad' : ''}`,
    ),
    ...overlay.map((prefix) => `route add ${unreachable(prefix, name)}`),
    ...routeLines(input, family).map((line) => `route add ${line}`),
    ...rulesOf(input),
  ];
}

function rulesOf({ tun: { name }, mark, capture, exit }: HostInput): string[] {
  const unmarked = checkCount(mark) === 0 ? 'from all' : `not fwmark ${mark}/${0xffffffff - RESENT_BIT}`;
  const rule = (priority: number, selector: string, table: number | string): string =>
    `rule add pref ${priority} ${selector} lookup ${table} protocol ${ROUTE_PROTOCOL}`;
  const rules = [rule(RULE_PRIORITY, unmarked, routingTable(name))];
  if (capture !== undefined)
    rules.push(rule(CAPTURE_PRIORITY, `fwmark ${checkCount(capture)}`, routingTable(name, 'capture')));
  if (exit !== undefined) {
    rules.push(rule(SUPPRESS_PRIORITY, 'from all', 'main suppress_prefixlength 0'));
    rules.push(rule(EXIT_PRIORITY, unmarked, routingTable(name, 'exit')));
  }
  return rules;
}

/** Every route but the unreachable ones of the overlay's prefixes, as words behind `route add`. */
function routeLines(input: HostInput, family: Family): string[] {
  const { name } = input.tun;
  const [own] = addressesOf(input, family).map((address) => address.split('/')[0]);
  const into = (prefix: string, use: TableUse, source = own): string =>
    intoDevice(input, prefix, use, source);
  const lines = routesOf(input, family).map((prefix) => into(prefix, 'overlay'));
  const everything = family === 4 ? '0.0.0.0/0' : '::/0';
  for (const { address, source } of input.participants ?? []) {
    const host = parseAddress(address);
    if (host === undefined) throw new HostError('bad-input', `"${address}" is no participant's address`);
    if (host.family !== family) continue;
    const prefix = `${host.text}/${family === 4 ? 32 : 128}`;
    if (source !== undefined) lines.push(into(prefix, 'overlay', source));
    if (input.refuse === true) lines.push(unreachable(prefix, name));
  }
  if (input.capture !== undefined) lines.push(`${everything} dev ${name} ${tail(name, 'capture')}`);
  if (input.exit !== undefined)
    lines.push(...TO_MANY[family].map((prefix) => `throw ${prefix} ${tail(name, 'exit')}`));
  if (input.exit === true && own !== undefined) lines.push(into(everything, 'exit'));
  if (input.exit !== undefined && input.refuse === true) lines.push(unreachable(everything, name, 'exit'));
  return [...new Set(lines)];
}

function intoDevice({ tun }: HostInput, prefix: string, use: TableUse, source: string | undefined): string {
  const from = source === undefined ? '' : ` src ${source}`;
  const mtu = (tun.deviceMtu ?? tun.mtu) === tun.mtu ? '' : ` mtu ${checkCount(tun.mtu)}`;
  return `${prefix} dev ${tun.name}${from}${mtu} ${tail(tun.name, use)}`;
}

function unreachable(prefix: string, name: string, use: TableUse = 'overlay'): string {
  return `unreachable ${prefix} metric ${LAST_METRIC} ${tail(name, use)}`;
}

function tail(name: string, use: TableUse): string {
  return `table ${routingTable(name, use)} proto ${ROUTE_PROTOCOL}`;
}

/** Lines that turn the routes of one input into those of another that differs in `Routed` alone. */
export interface RouteChange {
  readonly add: FamilyPlan;
  /** A route that is gone already is no failure. */
  readonly remove: FamilyPlan;
}

/** Plans a change. Throws HostError 'bad-input'. */
export function planRouteChange(input: HostInput, routed: Partial<Routed>): RouteChange {
  const next = { ...input, ...routed };
  const lines = (verb: string, family: Family, from: HostInput, without: HostInput): string[] => {
    const known = new Set(routeLines(without, family));
    const changed = routeLines(from, family).filter((line) => !known.has(line));
    return changed.map((line) => `route ${verb} ${line}`);
  };
  return {
    add: { 4: lines('replace', 4, next, input), 6: lines('replace', 6, next, input) },
    remove: { 4: lines('del', 4, input, next), 6: lines('del', 6, input, next) },
  };
}

/** Prefixes routed into the device, overlay first, each once. */
function routesOf(input: HostInput, family: Family): string[] {
  return [...new Set(prefixesOf([...input.prefixes, ...input.routed], family))];
}

function prefixesOf(texts: readonly string[], family: Family): string[] {
  return [
    ...new Set(
      texts
        .map(readPrefix)
        .filter((prefix) => prefix.family === family)
        .map((prefix) => prefix.text),
    ),
  ];
}

function readPrefix(text: string): OverlayPrefix {
  const result = parsePrefix(text);
  if (!result.ok) throw new HostError('bad-input', result.text);
  return result.prefix;
}

/** As host prefixes, so that the address itself brings no route with it. */
function addressesOf(input: HostInput, family: Family): string[] {
  const read = input.addresses.map((text) => {
    const address = parseAddress(text);
    if (address === undefined)
      throw new HostError('bad-input', `"${text}" is no overlay address; write 10.77.0.1 or fd77::1`);
    return address;
  });
  return read
    .filter((address) => address.family === family)
    .map((address) => `${address.text}/${family === 4 ? 32 : 128}`);
}

/** Refuses what could be anything but one word of an `ip` command. Throws HostError 'bad-input'. */
export function checkDeviceName(name: string): void {
  if (/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$/.test(name)) return;
  throw new HostError(
    'bad-input',
    `"${name}" is no usable interface name: up to 15 letters, digits, and _ . -`,
  );
}

function checkCount(value: number): number {
  if (Number.isInteger(value) && value >= 0 && value <= 0xffffffff) return value;
  throw new HostError('bad-input', `${value} is no number that an interface or a rule can have`);
}
