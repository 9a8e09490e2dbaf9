/**
 * What split interception asks of the host, as lines for `ip -batch`. Deciding only: host.ts does it.
 *
 *   packet of this host ─► table local ─► 7100: not fwmark MARK lookup TABLE ─► main …
 *                                              │ overlay and routed prefixes: dev TUN src OWN
 *                                              └ overlay prefixes once more: unreachable, metric 2³² − 1
 *
 * - TABLE holds nothing but those routes, so that any other packet falls through the rule and goes where it always went.
 * - The agent's own datagrams carry MARK and never look there.
 * - The unreachable routes count only when the device is gone, as after SIGKILL: until the leftovers are removed, what
 *   was meant for the overlay gets an error and isn't sent in clear.
 *
 * Ours are: the routes in TABLE with ROUTE_PROTOCOL, the rules to TABLE with ROUTE_PROTOCOL, and all that vanishes with the device.
 */
import { createHash } from 'node:crypto';
import { parseAddress, parsePrefix, type Family, type OverlayPrefix } from '../crypto/identity/address.js';
import { HostError } from './ip.js';

/** Routing tables of ours are TABLE_BASE .. TABLE_BASE + 2²⁴ − 1 (0x43000000 .. 0x43ffffff). */
export const TABLE_BASE = 0x43000000;
const TABLE_BITS = 24;
/** `proto` of our routes and `protocol` of our rules: one that rt_protos leaves free. */
export const ROUTE_PROTOCOL = 203;
/** Behind table local (0), before main (32766). */
export const RULE_PRIORITY = 7100;
const LAST_METRIC = 0xffffffff;

export interface HostInput {
  tun: {
    name: string;
    /** Bytes of the largest inner packet. */
    mtu: number;
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
  /** fwmark of the agent's own datagrams; 0 if they have none. */
  mark: number;
}

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
    link: [`link set dev ${name} mtu ${checkCount(mtu)}`],
    tuning,
    up: [`link set dev ${name} up`],
    families: { 4: planFamily(input, 4), 6: planFamily(input, 6) },
  };
}

/** The routing table of a device: its name's hash, so that agents on one host have tables of their own. */
export function routingTable(name: string): number {
  return (
    TABLE_BASE +
    createHash('sha256')
      .update(name)
      .digest()
      .readUIntBE(0, TABLE_BITS / 8)
  );
}

function planFamily(input: HostInput, family: Family): string[] {
  const { name } = input.tun;
  const table = routingTable(name);
  const addresses = addressesOf(input, family);
  const overlay = prefixesOf(input.prefixes, family);
  const routes = routesOf(input, family);
  if (addresses.length === 0 && routes.length === 0) return [];
  const mark = checkCount(input.mark);
  return [
    ...addresses.map(
      (address) => `address add ${address} dev ${name} noprefixroute${family === 6 ? ' nodad' : ''}`,
    ),
    ...overlay.map(
      (prefix) =>
        `route add unreachable ${prefix} metric ${LAST_METRIC} table ${table} proto ${ROUTE_PROTOCOL}`,
    ),
    ...routes.map((prefix) => `route add ${routeLine(input, family, prefix)}`),
    `rule add pref ${RULE_PRIORITY} ${mark === 0 ? 'from all' : `not fwmark ${mark}`} lookup ${table} protocol ${ROUTE_PROTOCOL}`,
  ];
}

function routeLine(input: HostInput, family: Family, prefix: string): string {
  const [source] = addressesOf(input, family);
  const from = source === undefined ? '' : ` src ${source.split('/')[0]}`;
  return `${prefix} dev ${input.tun.name}${from} table ${routingTable(input.tun.name)} proto ${ROUTE_PROTOCOL}`;
}

/** Lines that turn the routes of one input into those of another that differs in `routed` alone. */
export interface RouteChange {
  readonly add: FamilyPlan;
  /** A route that is gone already is no failure. */
  readonly remove: FamilyPlan;
}

/** Plans a change of `routed`. Throws HostError 'bad-input'. */
export function planRouteChange(input: HostInput, routed: readonly string[]): RouteChange {
  const next = { ...input, routed };
  const lines = (verb: string, family: Family, from: HostInput, without: HostInput): string[] => {
    const known = new Set(routesOf(without, family));
    const changed = routesOf(from, family).filter((prefix) => !known.has(prefix));
    return changed.map((prefix) => `route ${verb} ${routeLine(input, family, prefix)}`);
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
