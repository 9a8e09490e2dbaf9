/**
 * How nftables says who sends what leaves by the device: a rule logs the packet's head to a netlink group that the agent reads (NFLOG), with
 * the socket's user and group, and its cgroups as bits of a mark. Once a second for each flow and user, as a set remembers; but each
 * packet that will be fragmented, since fragments are no flow that the set could know.
 *
 * A SYN-ACK isn't logged: the kernel doesn't say whose it is before the connection is accepted. What no socket of this host sends isn't either.
 */
import { createHash } from 'node:crypto';
import { checkDeviceName } from './plan.js';

/** Groups 0x4300 to 0x43ff. */
const FIRST_GROUP = 0x4300;
/** Bytes of a packet that are logged: ports are in them, behind extension headers too. */
const LOGGED_BYTES = 128;
const FLOWS = 65_535;
/** Behind whatever else changes a packet, so that its addresses are those that the device sees. */
const LAST_HOOK = 300;

export interface SenderInput {
  tun: string;
  /** What is larger, and no TCP, will come in fragments. */
  mtu: number;
  /** fwmark by which packets are led into the device that would have left elsewhere; absent where none are. */
  capture?: number | undefined;
  /** Paths below /sys/fs/cgroup, and the bit of each. */
  cgroups: readonly { path: string; bit: number }[];
}

/** The netlink group of a device, by its name's hash. */
export function senderGroup(tun: string): number {
  return FIRST_GROUP + createHash('sha256').update(tun).digest().readUInt8(1);
}

export function senderTable(tun: string): string {
  checkDeviceName(tun);
  return `inet causeway-${tun}-senders`;
}

/** Text for `nft -f -` that makes the table anew, in one transaction. */
export function planSenders({ tun, mtu, capture, cgroups }: SenderInput): string {
  const table = senderTable(tun);
  const log = `log group ${senderGroup(tun)} snaplen ${LOGGED_BYTES} queue-threshold 1`;
  const lines = [
    ...SETS.map(
      ({ name, type }) => `set ${name} { type ${type}; flags dynamic, timeout; timeout 1s; size ${FLOWS}; }`,
    ),
    ...(cgroups.length === 0 ? [] : cgroupLines(tun, capture, cgroups)),
    'chain leaving {',
    `  type filter hook postrouting priority ${LAST_HOOK}; policy accept;`,
    `  oifname "${tun}" meta skuid != 4294967295 goto known`,
    '}',
    'chain known {',
    '  tcp flags & (syn | ack) == syn | ack accept',
    `  meta l4proto != tcp meta length > ${mtu} ${log} accept`,
    ...SETS.flatMap(({ name, key, only }) => [
      `  ${only}${key} @${name} accept`,
      `  ${only}${log} add @${name} { ${key} }`,
    ]),
    '}',
  ];
  const body = lines.map((line) => `  ${line}\n`).join('');
  return `table ${table}\ndelete table ${table}\ntable ${table} {\n${body}}\n`;
}

/** Cgroups can be asked only in the output hook. Routing is over by then, so that a mark means nothing to anybody else. */
function cgroupLines(tun: string, capture: number | undefined, cgroups: SenderInput['cgroups']): string[] {
  const rules = cgroups.map(({ path, bit }) => {
    const level = path.split('/').length;
    return `  socket cgroupv2 level ${level} "${path}" meta mark set meta mark or ${(1 << bit) >>> 0}`;
  });
  return [
    'chain cgroups {',
    `  type filter hook output priority ${LAST_HOOK}; policy accept;`,
    `  oifname "${tun}" goto cgroup_bits`,
    ...(capture === undefined ? [] : [`  meta mark ${capture} goto cgroup_bits`]),
    '}',
    'chain cgroup_bits {',
    '  meta mark set 0',
    ...rules,
    '}',
  ];
}

interface FlowSet {
  name: string;
  type: string;
  key: string;
  /** What a packet with such a key is. */
  only: string;
}

/** Five parts of a key are all that nft can name again when it lists a set. */
const SETS: readonly FlowSet[] = (['ip', 'ip6'] as const).flatMap((ip) => {
  const address = ip === 'ip' ? 'ipv4_addr' : 'ipv6_addr';
  const family = ip === 'ip' ? 'ipv4' : 'ipv6';
  const ported = (['tcp', 'udp'] as const).map((protocol) => ({
    name: `${ip}_${protocol}`,
    type: `${address} . ${address} . inet_service . inet_service . uid`,
    key: `${ip} saddr . ${ip} daddr . ${protocol} sport . ${protocol} dport . meta skuid`,
    only: `meta nfproto ${family} meta l4proto ${protocol} `,
  }));
  const other = {
    name: `${ip}_other`,
    type: `${address} . ${address} . inet_proto . uid`,
    key: `${ip} saddr . ${ip} daddr . meta l4proto . meta skuid`,
    only: `meta nfproto ${family} meta l4proto != { tcp, udp } `,
  };
  return [...ported, other];
});
