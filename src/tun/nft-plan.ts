/**
 * What interception asks of nftables, as text for `nft -f -`. Deciding only: nft.ts does it.
 *
 *   packet of this host, routed by the kernel as ever
 *     ─► out (hook output, type route)
 *          already marked, or on its way to the device or to itself: goes its way
 *          of a flow in a set `direct…`: goes its way
 *          to many hosts (multicast, broadcast): goes its way, or is dropped where a rule says so (many-plan.ts)
 *          of the link alone (link-local, DHCP): goes its way
 *          everything else: marked CAPTURE, and so routed into the device (plan.ts)
 *     ─► agent: overlay, drop, or direct
 *          direct: sent again, marked RESENT; `out` enters its flow in a set, so that the kernel routes the rest of it by itself
 *
 * A packet is routed before it is captured, so that it has the source address that it would have without us. The sets forget a flow after
 * DIRECT_SECONDS, and all flows at once when rules change.
 *
 * Everything lies in one table of ours, named by the device.
 */
import { DHCP_PORTS } from '../intercept/link-protocols.js';
import { MANY_COUNTER, manyChains, type ManyLines, NO_LINES } from './many-plan.js';
import { checkDeviceName } from './plan.js';

/** Until a flow's next packet is asked about again, s. */
const DIRECT_SECONDS = 300;
const DIRECT_FLOWS = 65_536;
/** Behind the kernel's destination NAT (-100): a rewritten packet is the kernel's own affair. */
const CAPTURE_HOOK = -90;

export interface NftInput {
  /** The device's name. */
  tun: string;
  /** Absent where not everything is captured. */
  capture?: {
    /** fwmark that leads into the device. */
    mark: number;
    /** fwmark of what the agent sends again. */
    resent: number;
    /** What the rules say of packets to many hosts. */
    many?: ManyLines;
  };
  /** Absent where this node forwards for nobody. */
  forward?: { masquerade: boolean };
  /** This node's overlay addresses, where an exit makes them the source of what may be sent again directly. */
  unroutable?: readonly string[];
}

export function nftTable(tun: string): string {
  checkDeviceName(tun);
  return `inet causeway-${tun}`;
}

/** Text that makes the table anew, in one transaction. Null where nothing is asked of nftables. */
export function planNft(input: NftInput): string | null {
  const { tun, capture, forward } = input;
  if (capture === undefined && forward === undefined) return null;
  const table = nftTable(tun);
  const parts = [
    ...(capture === undefined ? [] : captureLines(tun, capture)),
    ...(input.unroutable === undefined ? [] : unroutableLines(tun, capture, input.unroutable)),
    ...(forward === undefined ? [] : forwardLines(tun, forward)),
  ];
  const body = parts.map((line) => `  ${line}\n`).join('');
  return `table ${table}\ndelete table ${table}\ntable ${table} {\n${body}}\n`;
}

/** Text that empties the sets of direct flows. */
export function planForgetDirect(tun: string): string {
  const table = nftTable(tun);
  return SETS.map(({ name }) => `flush set ${table} ${name}\n`).join('');
}

/** Text that puts other rules about packets to many hosts in the place of those in force, in one transaction. */
export function planManyAnew(tun: string, lines: ManyLines): string {
  const table = nftTable(tun);
  const flush = ['many_ip', 'many_ip6'].map((chain) => `flush chain ${table} ${chain}\n`).join('');
  const body = manyChains(lines).map((line) => `  ${line}\n`);
  return `${flush}table ${table} {\n${body.join('')}}\n`;
}

interface FlowSet {
  name: string;
  type: string;
  key: string;
  /** What else a packet with such a key has to be; nothing, or a match and a space. */
  only: string;
}

/** A DSCP belongs to a flow here, as rules may ask about it. Five parts of a key are all that nft can name again when it lists a set. */
const SETS: readonly FlowSet[] = (['ip', 'ip6'] as const).flatMap((ip) => {
  const address = ip === 'ip' ? 'ipv4_addr' : 'ipv6_addr';
  const type = `dscp . ${address} . ${address}`;
  const key = `${ip} dscp . ${ip} saddr . ${ip} daddr`;
  const ported = (['tcp', 'udp'] as const).map((protocol) => ({
    name: `direct_${ip}_${protocol}`,
    type: `${type} . inet_service . inet_service`,
    key: `${key} . ${protocol} sport . ${protocol} dport`,
    only: '',
  }));
  const other = {
    name: `direct_${ip}_other`,
    type: `${type} . inet_proto`,
    key: `${key} . meta l4proto`,
    only: 'meta l4proto != { tcp, udp } ',
  };
  return [...ported, other];
});

function captureLines(
  tun: string,
  { mark, resent, many = NO_LINES }: NonNullable<NftInput['capture']>,
): string[] {
  return [
    `counter ${MANY_COUNTER} { }`,
    ...SETS.map(
      ({ name, type }) =>
        `set ${name} { type ${type}; flags dynamic, timeout; timeout ${DIRECT_SECONDS}s; size ${DIRECT_FLOWS}; }`,
    ),
    'chain out {',
    `  type route hook output priority ${CAPTURE_HOOK}; policy accept;`,
    `  meta mark ${resent} goto resent`,
    '  meta mark != 0 accept',
    `  oifname { "lo", "${tun}" } accept`,
    ...SETS.map(({ key, name, only }) => `  ${only}${key} @${name} accept`),
    '  goto capture',
    '}',
    'chain resent {',
    ...SETS.map(({ key, name, only }) => `  ${only}add @${name} { ${key} }`),
    '}',
    ...manyChains(many),
    'chain capture {',
    '  ct status dnat accept',
    '  fib daddr type local accept',
    '  fib daddr type broadcast goto many_ip',
    '  ip daddr 224.0.0.0/4 goto many_ip',
    '  ip6 daddr ff00::/8 goto many_ip6',
    '  ip daddr 169.254.0.0/16 accept',
    '  ip6 daddr fe80::/10 accept',
    `  meta l4proto udp udp dport { ${[...DHCP_PORTS[4], ...DHCP_PORTS[6]].join(', ')} } accept`,
    `  meta mark set ${mark}`,
    '}',
  ];
}

/** What an exit's client sends directly bears an overlay address, which nobody outside answers. The first pass, into the device, stays untracked. */
function unroutableLines(tun: string, capture: NftInput['capture'], addresses: readonly string[]): string[] {
  if (capture === undefined) return [];
  const rules = (['ip', 'ip6'] as const).flatMap((ip) => {
    const own = addresses.filter((address) => address.includes(':') === (ip === 'ip6'));
    return own.length === 0
      ? []
      : [`  meta mark ${capture.resent} ${ip} saddr { ${own.join(', ')} } masquerade`];
  });
  return [
    'chain untracked {',
    '  type filter hook output priority raw; policy accept;',
    `  oifname "${tun}" notrack`,
    '}',
    'chain resent_source {',
    '  type nat hook postrouting priority srcnat; policy accept;',
    ...rules,
    '}',
  ];
}

function forwardLines(tun: string, { masquerade }: NonNullable<NftInput['forward']>): string[] {
  const clamp = 'tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu';
  const lines = [
    'chain forward {',
    '  type filter hook forward priority mangle; policy accept;',
    `  oifname "${tun}" ${clamp}`,
    `  iifname "${tun}" ${clamp}`,
    '}',
  ];
  if (!masquerade) return lines;
  return [
    ...lines,
    'chain behind {',
    '  type nat hook postrouting priority srcnat; policy accept;',
    `  iifname "${tun}" oifname != "${tun}" masquerade`,
    '}',
  ];
}
