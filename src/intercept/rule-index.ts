/**
 * Finds the first rule that matches a packet without looking at each: for every question that rules ask (destination, source, protocol,
 * ports, DSCP, sender) a row of bits, one per rule, says which rules that answer suits. The rows of a packet's answers, and-ed
 * word by word, leave the rules that match; the lowest bit is the first of them. A thousand rules are 32 words.
 *
 * Rows are made when rules are compiled, equal ones once; a lookup allocates nothing.
 */
import { type OwnedPrefix, PrefixTable } from '../overlay/route/prefix-table.js';
import {
  inPrefix,
  type MaskedPrefix,
  maskPrefix,
  type RuleInput,
  type RuleMatch,
  type RulePrefix,
} from './rules.js';

/** What a rule asks, its groups of nodes and its cgroups looked up. */
export interface IndexedMatch extends Omit<RuleMatch, 'to' | 'from' | 'cgroups'> {
  to?: IndexedEnds;
  from?: IndexedEnds;
  /** Bits of `RuleInput.cgroups`, any of which will do. */
  cgroupBits?: number;
}

export interface IndexedEnds {
  readonly prefixes: readonly RulePrefix[];
  readonly nodes: readonly number[];
}

export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** Ports are 0..65535, and there is the answer that a packet has none. */
const PORTS = 65_536;

export class RuleIndex {
  private readonly words: number;
  private readonly rows: Uint32Array;
  private readonly protocol: Int32Array;
  private readonly dscp: Int32Array;
  private readonly destinationPort: Ports;
  private readonly sourcePort: Ports;
  private readonly to: Ends;
  private readonly from: Ends;
  /** Undefined where no rule asks who sends. */
  private readonly sender: Senders | undefined;

  constructor(matches: readonly IndexedMatch[]) {
    const rows = new Rows(matches.length);
    this.words = rows.words;
    const table = (size: number, valuesOf: ValuesOf) => {
      const { any, byValue } = indexValues(rows, matches, valuesOf);
      return Int32Array.from({ length: size }, (_, value) => byValue.get(value) ?? any);
    };
    this.protocol = table(256, ({ protocols }) => protocols);
    this.dscp = table(64, ({ dscp }) => (dscp === undefined ? undefined : [dscp]));
    this.destinationPort = indexPorts(rows, matches, ({ ports }) => ports);
    this.sourcePort = indexPorts(rows, matches, ({ sourcePorts }) => sourcePorts);
    this.to = indexEnds(rows, matches, ({ to }) => to);
    this.from = indexEnds(rows, matches, ({ from }) => from);
    this.sender = indexSenders(rows, matches);
    this.rows = rows.pack();
  }

  /** Index of the first rule that matches, -1 for none. */
  first(input: RuleInput): number {
    const { rows, words, to, from } = this;
    const { source, destination } = input;
    const protocol = this.protocol[input.protocol]!;
    const dscp = this.dscp[input.dscp]!;
    const destinationPort = portRow(this.destinationPort, input.destinationPort);
    const sourcePort = portRow(this.sourcePort, input.sourcePort);
    const toPrefix = prefixRow(to, input.version, destination);
    const toNode = to.nodes.get(input.destinationNode) ?? 0;
    const fromPrefix = prefixRow(from, input.version, source);
    const fromNode = from.nodes.get(input.sourceNode) ?? 0;
    for (let w = 0; w < words; w++) {
      let left =
        rows[protocol + w]! &
        rows[dscp + w]! &
        rows[destinationPort + w]! &
        rows[sourcePort + w]! &
        (rows[toPrefix + w]! | rows[toNode + w]!) &
        (rows[fromPrefix + w]! | rows[fromNode + w]!);
      if (left !== 0 && this.sender) left &= senderWord(this.sender, rows, input, w);
      if (left !== 0) return 32 * w + 31 - Math.clz32(left & -left);
    }
    return -1;
  }
}

/** Rows under construction: a row is named by where its words will begin. Row 0 is empty. */
class Rows {
  readonly words: number;
  private packed: Uint32Array;
  private used = 0;
  /** By a hash of their words. */
  private readonly known = new Map<number, number[]>();

  constructor(private readonly rules: number) {
    this.words = Math.max(1, Math.ceil(rules / 32));
    this.packed = new Uint32Array(64 * this.words);
    this.add(this.blank());
  }

  blank(): Uint32Array {
    return new Uint32Array(this.words);
  }

  /** Of the rules of which it is true; not yet added. */
  where(matches: readonly IndexedMatch[], suits: (match: IndexedMatch) => boolean): Uint32Array {
    const row = this.blank();
    for (let rule = 0; rule < this.rules; rule++) if (suits(matches[rule])) setBit(row, rule);
    return row;
  }

  add(row: Uint32Array): number {
    const hash = hashOf(row);
    const alike = this.known.get(hash);
    const known = alike?.find((at) => this.has(at, row));
    if (known !== undefined) return known;
    const at = this.used;
    if (at + this.words > this.packed.length) this.grow();
    this.packed.set(row, at);
    this.used += this.words;
    if (alike) alike.push(at);
    else this.known.set(hash, [at]);
    return at;
  }

  pack(): Uint32Array {
    return this.packed.slice(0, this.used);
  }

  private has(at: number, row: Uint32Array): boolean {
    for (let w = 0; w < this.words; w++) if (this.packed[at + w] !== row[w]) return false;
    return true;
  }

  private grow(): void {
    const wider = new Uint32Array(2 * this.packed.length);
    wider.set(this.packed);
    this.packed = wider;
  }
}

/** FNV-1a over words. */
function hashOf(row: Uint32Array): number {
  let hash = 0x811c9dc5;
  for (let w = 0; w < row.length; w++) hash = Math.imul(hash ^ row[w]!, 0x01000193);
  return hash;
}

function setBit(row: Uint32Array, rule: number): void {
  row[rule >>> 5] |= 1 << (rule & 31);
}

function clearBit(row: Uint32Array, rule: number): void {
  row[rule >>> 5] &= ~(1 << (rule & 31));
}

type ValuesOf = (match: IndexedMatch) => readonly number[] | undefined;

/**
 * The row of each value that a rule names: the rules that name it, and with `withAny` those that don't ask. `any`: the row of every other value, the
 * rules that don't ask.
 */
function indexValues(
  rows: Rows,
  matches: readonly IndexedMatch[],
  valuesOf: ValuesOf,
  withAny = true,
): { any: number; byValue: ReadonlyMap<number, number> } {
  const unasked = rows.where(matches, (match) => valuesOf(match) === undefined);
  const found = new Map<number, Uint32Array>();
  matches.forEach((match, rule) => {
    for (const value of valuesOf(match) ?? []) {
      const row = found.get(value) ?? (withAny ? unasked.slice() : rows.blank());
      setBit(row, rule);
      found.set(value, row);
    }
  });
  return {
    any: rows.add(unasked),
    byValue: new Map([...found].map(([value, row]) => [value, rows.add(row)])),
  };
}

// --- ports ---

/** Where stretches of ports with one row begin, ascending from 0; `none`: the row of a packet without ports. */
interface Ports {
  readonly starts: Int32Array;
  readonly rows: Int32Array;
  readonly none: number;
}

function indexPorts(
  rows: Rows,
  matches: readonly IndexedMatch[],
  rangesOf: (match: IndexedMatch) => readonly PortRange[] | undefined,
): Ports {
  const row = rows.where(matches, (match) => rangesOf(match) === undefined);
  const none = rows.add(row);
  const edges = matches.flatMap((match, rule) =>
    (rangesOf(match) ?? []).flatMap(({ first, last }) => [
      { at: first, rule, step: 1 },
      { at: last + 1, rule, step: -1 },
    ]),
  );
  edges.sort((a, b) => a.at - b.at);
  const open = new Int32Array(matches.length);
  const starts: number[] = [];
  const found: number[] = [];
  let at = 0;
  for (let e = 0; ;) {
    for (; e < edges.length && edges[e].at === at; e++) {
      const { rule, step } = edges[e];
      open[rule] += step;
      if (open[rule] > 0) setBit(row, rule);
      else clearBit(row, rule);
    }
    starts.push(at);
    found.push(rows.add(row));
    if (e === edges.length || edges[e].at >= PORTS) break;
    at = edges[e].at;
  }
  return { starts: Int32Array.from(starts), rows: Int32Array.from(found), none };
}

function portRow({ starts, rows, none }: Ports, port: number): number {
  if (port < 0) return none;
  let low = 0;
  let high = starts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (starts[middle]! <= port) low = middle;
    else high = middle - 1;
  }
  return rows[low]!;
}

// --- addresses ---

/** `prefixes` holds rows as owners; `any`: the row of an address in no prefix; `nodes`: rules that name a node. */
interface Ends {
  readonly prefixes: PrefixTable;
  readonly any: number;
  readonly nodes: ReadonlyMap<number, number>;
}

function indexEnds(
  rows: Rows,
  matches: readonly IndexedMatch[],
  endsOf: (match: IndexedMatch) => IndexedEnds | undefined,
): Ends {
  const unasked = rows.where(matches, (match) => endsOf(match) === undefined);
  const all = matches.flatMap((match, rule) =>
    (endsOf(match)?.prefixes ?? []).map((prefix) => named(prefix, rule)),
  );
  return {
    prefixes: PrefixTable.build(nest(rows, all, unasked)),
    any: rows.add(unasked),
    nodes: indexValues(rows, matches, (match) => endsOf(match)?.nodes, false).byValue,
  };
}

interface Named {
  readonly prefix: RulePrefix;
  /** Its first address, four unsigned words of the mapped form. */
  readonly first: Uint32Array;
  readonly masked: MaskedPrefix;
  readonly rule: number;
}

function named(prefix: RulePrefix, rule: number): Named {
  const masked = maskPrefix(prefix);
  return { prefix, masked, first: Uint32Array.from(masked.words), rule };
}

/** Prefixes that lie within another come right behind it. */
function order(a: Named, b: Named): number {
  if (a.prefix.version !== b.prefix.version) return a.prefix.version - b.prefix.version;
  for (let w = 0; w < 4; w++) if (a.first[w] !== b.first[w]) return a.first[w]! - b.first[w]!;
  return a.prefix.bits - b.prefix.bits;
}

/**
 * Each prefix once, with the row of the rules that name it or a wider one around it. Prefixes nest, so the narrowest that holds an
 * address knows all the others.
 */
function nest(rows: Rows, all: Named[], unasked: Uint32Array): OwnedPrefix[] {
  all.sort(order);
  const owned: OwnedPrefix[] = [];
  const around: { outer: Named; row: Uint32Array }[] = [];
  for (let i = 0; i < all.length;) {
    const next = all[i];
    while (around.length > 0 && !holds(around[around.length - 1].outer, next)) around.pop();
    const row = (around[around.length - 1]?.row ?? unasked).slice();
    for (; i < all.length && order(all[i], next) === 0; i++) setBit(row, all[i].rule);
    around.push({ outer: next, row });
    owned.push({ ...plain(next), owner: rows.add(row) });
  }
  return owned;
}

function holds(outer: Named, inner: Named): boolean {
  return outer.prefix.bits <= inner.prefix.bits && inPrefix(outer.masked, inner.prefix.version, inner.first);
}

/** Bytes and length as the address family has them. */
function plain({ prefix: { version, bits }, first }: Named): Omit<OwnedPrefix, 'owner'> {
  const view = new DataView(new ArrayBuffer(16));
  first.forEach((word, i) => view.setUint32(4 * i, word));
  return version === 4
    ? { bytes: new Uint8Array(view.buffer, 12), length: bits - 96 }
    : { bytes: new Uint8Array(view.buffer), length: bits };
}

function prefixRow({ prefixes, any }: Ends, version: number, words: ArrayLike<number>): number {
  const row =
    version === 4
      ? prefixes.lookup4(words[3]! >>> 0)
      : prefixes.lookup6(words[0]! >>> 0, words[1]! >>> 0, words[2]! >>> 0, words[3]! >>> 0);
  return row < 0 ? any : row;
}

// --- who sends ---

/** A group suits whose socket has it (`byGroup`) and whose user is a member (`byMember`); a cgroup is a bit of the input. */
interface Senders {
  readonly byUser: ReadonlyMap<number, number>;
  readonly anyUser: number;
  readonly byGroup: ReadonlyMap<number, number>;
  readonly byMember: ReadonlyMap<number, number>;
  readonly anyGroup: number;
  readonly byCgroup: Int32Array;
  readonly anyCgroup: number;
}

function indexSenders(rows: Rows, matches: readonly IndexedMatch[]): Senders | undefined {
  const asks = ({ users, groups, cgroupBits }: IndexedMatch) => users ?? groups ?? cgroupBits;
  if (!matches.some((match) => asks(match) !== undefined)) return undefined;
  const byUser = indexValues(rows, matches, ({ users }) => users);
  const byGroup = indexValues(rows, matches, ({ groups }) => groups?.map(({ gid }) => gid), false);
  const byMember = indexValues(
    rows,
    matches,
    ({ groups }) => groups?.flatMap(({ members }) => members),
    false,
  );
  const bits = Array.from({ length: 32 }, (_, bit) => 1 << bit);
  return {
    byUser: byUser.byValue,
    anyUser: byUser.any,
    byGroup: byGroup.byValue,
    byMember: byMember.byValue,
    anyGroup: byGroup.any,
    byCgroup: Int32Array.from(bits, (bit) =>
      rows.add(rows.where(matches, ({ cgroupBits = 0 }) => (cgroupBits & bit) !== 0)),
    ),
    anyCgroup: rows.add(rows.where(matches, ({ cgroupBits }) => cgroupBits === undefined)),
  };
}

function senderWord(senders: Senders, rows: Uint32Array, input: RuleInput, w: number): number {
  const { user, group } = input;
  const byUser = rows[(senders.byUser.get(user) ?? senders.anyUser) + w]!;
  const byGroup =
    rows[senders.anyGroup + w]! |
    rows[(senders.byGroup.get(group) ?? 0) + w]! |
    rows[(senders.byMember.get(user) ?? 0) + w]!;
  let byCgroup = rows[senders.anyCgroup + w]!;
  for (let bits = input.cgroups; bits !== 0; bits &= bits - 1)
    byCgroup |= rows[senders.byCgroup[31 - Math.clz32(bits & -bits)]! + w]!;
  return byUser & byGroup & byCgroup;
}
