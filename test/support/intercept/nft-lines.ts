/** What nftables make of a chain's lines: as much of their language as rules about packets to many hosts use. */
import { hasPorts } from '../../../src/intercept/packet.js';
import type { RuleInput } from '../../../src/intercept/rules.js';

export interface NftPacket extends RuleInput {
  /** Cgroups that the socket lies in, those above among them. */
  paths: readonly string[];
}

/** The verdict of the first line that matches; accept where none does. Throws for what it can't read. */
export function nftVerdict(lines: readonly string[], packet: NftPacket): 'accept' | 'drop' {
  for (const line of lines) {
    const [, head = '', word] = /^(.*?)(?:counter name \w+ )?(accept|drop)$/.exec(line) ?? [];
    if (word === undefined) throw new Error(`no verdict: ${line}`);
    if (matches(head, packet)) return word as 'accept' | 'drop';
  }
  return 'accept';
}

const PART = /^(?:socket cgroupv2 level (\d+) "([^"]+)"|([a-z0-9]+ [a-z0-9]+) \{ ([^}]+) \}) /;

function matches(head: string, packet: NftPacket): boolean {
  if (head === '') return true;
  const [part, level, path, what, values] = PART.exec(head) ?? [];
  if (part === undefined) throw new Error(`not understood: ${head}`);
  const holds =
    path === undefined
      ? values!.split(', ').some((value) => isOne(what!, value, packet))
      : path.split('/').length === Number(level) && packet.paths.includes(path);
  return holds && matches(head.slice(part.length), packet);
}

function isOne(what: string, value: string, packet: NftPacket): boolean {
  const within = (number: number) => {
    const [first, last = first] = value.split('-').map(Number);
    return first! <= number && number <= last!;
  };
  switch (what) {
    case 'ip daddr':
    case 'ip6 daddr':
      return inText(what, value, packet.version, packet.destination);
    case 'ip saddr':
    case 'ip6 saddr':
      return inText(what, value, packet.version, packet.source);
    case 'meta l4proto':
      return within(packet.protocol);
    case 'th dport':
      return readsPorts(packet) && within(packet.destinationPort);
    case 'th sport':
      return readsPorts(packet) && within(packet.sourcePort);
    case 'ip dscp':
    case 'ip6 dscp':
      return what === (packet.version === 4 ? 'ip dscp' : 'ip6 dscp') && within(packet.dscp);
    case 'meta skuid':
      return within(packet.user);
    case 'meta skgid':
      return within(packet.group);
    default:
      throw new Error(`not understood: ${what}`);
  }
}

/** `th` reads other headers as if they were ports: it must never come to that. */
function readsPorts({ protocol, destinationPort }: NftPacket): boolean {
  if (!hasPorts(protocol)) throw new Error(`ports of protocol ${protocol}`);
  return destinationPort >= 0;
}

function inText(what: string, text: string, version: number, words: ArrayLike<number>): boolean {
  if ((version === 4 ? 'ip' : 'ip6') !== what.split(' ')[0]) return false;
  const [address, length] = text.split('/') as [string, string];
  const bits =
    version === 4
      ? address.split('.').map((part) => Number(part).toString(2).padStart(8, '0'))
      : address.split(':').map((part) => parseInt(part, 16).toString(2).padStart(16, '0'));
  const own = Array.from(words, (word) => (word >>> 0).toString(2).padStart(32, '0')).join('');
  return own.slice(version === 4 ? 96 : 0).startsWith(bits.join('').slice(0, Number(length)));
}
