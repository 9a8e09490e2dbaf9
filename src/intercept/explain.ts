/**
 * What the agent would do with a packet, and why, for people. The decisions are those of the ways in and out (`entry.ts` and `exit.ts` of
 * `src/overlay/forward/`) over the same rules; where that knows paths, this knows certificates at most. Pure.
 *
 *   to this host itself ── never leaves                      from a node to this host ── what may enter (inbound.ts)
 *   link-local ── never enters
 *   to many hosts ── split: never enters                     full: never enters, but is dropped where rules say so (src/tun/many-plan.ts)
 *   to a node ── rules ── overlay, direct, drop …            to nobody of the overlay ── refused
 *   to anyone else ── split: never enters                    full: rules, the exit, else direct
 */
import { hasManyDestinations, isLinkLocal, isLoopback } from './address.js';
import { isLinkProtocol } from './link-protocols.js';
import { FRAGMENT_LATER, type PacketInfo, PROTOCOL_ICMPV6 } from './packet.js';
import { RuleQuestion } from './rule-question.js';
import type { Classify, RuleInput, Verdict } from './rules.js';
import { ORIGIN_DEFAULT, ORIGIN_DSCP, SERVICE_NAMES } from './services.js';

/** Whom an address belongs to. */
export type AddressOwner =
  | {
      readonly kind: 'node';
      readonly name: string;
      readonly nodeId: number;
      readonly prefix: string;
      readonly isSelf: boolean;
    }
  /** An address of the overlay that no known certificate has. */
  | { readonly kind: 'nobody'; readonly prefix: string }
  | { readonly kind: 'outside' };
type OwnerNode = Extract<AddressOwner, { kind: 'node' }>;

export interface World {
  /** This node's id. */
  readonly selfId: number;
  readonly mode: 'split' | 'full';
  /** Node that carries traffic to outside addresses. */
  readonly exit: string | undefined;
  readonly fallback: 'direct' | 'refuse';
  /** Words are unsigned, the most significant first. */
  readonly ownerOf: (version: number, words: readonly number[]) => AddressOwner;
  /** Whether it lies in one of the overlay's own prefixes, which no other network can reach. */
  readonly isInside: (version: number, words: readonly number[]) => boolean;
  /** Whether it is the broadcast address of one of the host's IPv4 networks. */
  readonly isBroadcast: (words: readonly number[]) => boolean;
  /** Rules and access. */
  readonly judge: Classify;
  /** Rules for what enters this host; undefined: everything may. */
  readonly inbound: Classify | undefined;
}

/** Who sends: NO_SENDER where unknown. */
export interface Who {
  readonly user: number;
  readonly group: number;
  readonly cgroups: number;
}

export type Outcome = 'overlay' | 'direct' | 'drop' | 'reject' | 'refuse' | 'untouched';

export interface Explanation {
  readonly outcome: Outcome;
  /** Of what goes over the overlay. */
  readonly node?: string;
  readonly service?: string;
  /** Index of the rule that decided. */
  readonly rule?: number;
  /** The list that it is of, where that isn't `intercept.rules`. */
  readonly list?: 'inbound';
  /** The prefix by which the destination was found. */
  readonly prefix?: string;
  /** One line. */
  readonly why: string;
}

/** Whether a packet of a node for this host answers what this host sent. Asked once about each. */
export type IsAnswer = (info: PacketInfo, node: number) => boolean;

export function explainPacket(
  world: World,
  info: PacketInfo,
  who: Who,
  isAnswer: IsAnswer = () => false,
): Explanation {
  const { version, src0, src1, src2, src3, dst0, dst1, dst2, dst3 } = info;
  const source = [src0, src1, src2, src3].map((word) => word >>> 0);
  const destination = [dst0, dst1, dst2, dst3].map((word) => word >>> 0);
  const [from, to] = [world.ownerOf(version, source), world.ownerOf(version, destination)];
  if (isLoopback(dst0, dst1, dst2, dst3) || (to.kind === 'node' && to.isSelf))
    return { ...toSelf(world, info, from, isAnswer), ...(to.kind === 'node' && { prefix: to.prefix }) };
  if (hasManyDestinations(info) || (version === 4 && world.isBroadcast(destination)))
    return toMany(world, info, who, from);
  if (isLinkLocal(dst0, dst1, dst2, dst3))
    return { outcome: 'untouched', why: 'is for one link alone: link-local' };
  if (to.kind === 'nobody') {
    const why = `no known certificate has the address, which lies in the overlay's ${to.prefix}: host unreachable`;
    return { outcome: 'reject', prefix: to.prefix, why: `${why}; ${MORE_CERTIFICATES}` };
  }
  if (to.kind === 'node') return toNode(world, info, who, from, to);
  return world.mode === 'split'
    ? { outcome: 'untouched', why: "none of the overlay's prefixes: never meets the agent in mode split" }
    : toOutside(world, info, who, from);
}

/** An agent has them from its links, too. */
const MORE_CERTIFICATES = "name other nodes' certificates with --certs";

function toSelf(world: World, info: PacketInfo, from: AddressOwner, isAnswer: IsAnswer): Explanation {
  if (from.kind === 'node' && !from.isSelf) return fromNode(world, info, from, isAnswer);
  if (from.kind !== 'nobody') return { outcome: 'untouched', why: 'is for this host itself' };
  const why = `no known certificate has its source, which lies in the overlay's ${from.prefix}`;
  return { outcome: 'drop', why: `${why}; ${MORE_CERTIFICATES}` };
}

function fromNode(world: World, info: PacketInfo, from: OwnerNode, isAnswer: IsAnswer): Explanation {
  const why = `comes from ${from.name} for this host`;
  if (world.inbound === undefined) return { outcome: 'untouched', why };
  if (info.fragment === FRAGMENT_LATER)
    return { outcome: 'untouched', why: `${why}; goes the way of its first fragment` };
  if (isAnswer(info, from.nodeId))
    return { outcome: 'untouched', why: `${why}; answers what this host sent, so it is let in` };
  const { do: verdict, rule } = world.inbound(new RuleQuestion().ask(info, from.nodeId, world.selfId));
  if (rule < 0) {
    const none = 'no rule of intercept.inbound lets it in, unless it answers this host';
    return { outcome: 'drop', why: `${why}; ${none}` };
  }
  const by = { rule, list: 'inbound' } as const;
  if (verdict === 'overlay') return { outcome: 'untouched', ...by, why: `${why}; a rule lets it in` };
  const outcome = verdict === 'reject' ? 'reject' : 'drop';
  return { outcome, ...by, why: `${why}; a rule matches, unless it answers this host` };
}

function toMany(world: World, info: PacketInfo, who: Who, from: AddressOwner): Explanation {
  if (world.mode === 'split') return { outcome: 'untouched', why: MANY };
  if (from.kind === 'node' && !from.isSelf) return { outcome: 'untouched', why: `comes from ${from.name}` };
  const asked = questionOf(info, who, world.selfId, 0);
  if (isLinkProtocol(asked.version, asked.protocol, asked.destinationPort))
    return { outcome: 'untouched', why: 'rules never touch DHCP and group membership' };
  const { do: verdict, rule } = world.judge(asked);
  const ruled = rule < 0 ? {} : { rule };
  if (verdict === 'drop' || verdict === 'reject') {
    const passing = info.protocol === PROTOCOL_ICMPV6 ? '; neighbour discovery and MLD pass' : '';
    const why = `a rule matches; nobody is told, as it is for many hosts${passing}`;
    return { outcome: 'drop', ...ruled, why };
  }
  if (rule < 0) return { outcome: 'untouched', why: `${MANY}, and no rule drops it` };
  if (verdict === 'direct') return { outcome: 'direct', ...ruled, why: 'a rule matches' };
  const why = "the overlay doesn't carry multicast and broadcast yet: they leave as without the agent";
  return { outcome: 'direct', ...ruled, why };
}

const MANY = 'is for one link alone: broadcast or multicast';

function toNode(world: World, info: PacketInfo, who: Who, from: AddressOwner, to: OwnerNode): Explanation {
  const { prefix, name } = to;
  if (from.kind !== 'node' || !from.isSelf) {
    const words = [info.dst0, info.dst1, info.dst2, info.dst3].map((word) => word >>> 0);
    const falls = world.fallback === 'direct' && !world.isInside(info.version, words);
    const why = "its source is none of this node's certificate's addresses";
    return falls
      ? { outcome: 'direct', prefix, why: `${why}; intercept.fallback is direct` }
      : { outcome: 'drop', prefix, why };
  }
  const verdict = world.judge(questionOf(info, who, from.nodeId, to.nodeId));
  return { ...ruled(verdict, name), prefix };
}

function toOutside(world: World, info: PacketInfo, who: Who, from: AddressOwner): Explanation {
  const verdict = world.judge(questionOf(info, who, from.kind === 'node' ? from.nodeId : world.selfId, 0));
  const { exit } = world;
  if (exit !== undefined) return ruled(verdict, verdict.do === 'overlay' ? exit : '');
  // Whoever may not use the overlay doesn't ask for it by what no rule leads there.
  if (verdict.rule < 0)
    return {
      outcome: 'direct',
      why: "none of the overlay's prefixes, and no rule matches: sent as without the agent",
    };
  return verdict.do !== 'overlay'
    ? ruled(verdict, '')
    : {
        outcome: 'reject',
        rule: verdict.rule,
        why: 'the rule sends it over the overlay, where nobody has the address: host unreachable',
      };
}

function ruled(verdict: Verdict, node: string): Explanation {
  const rule = verdict.rule < 0 ? {} : { rule: verdict.rule };
  switch (verdict.do) {
    case 'overlay': {
      const service = SERVICE_NAMES[verdict.service] ?? `service ${verdict.service}`;
      return { outcome: 'overlay', node, service, ...rule, why: whyService(verdict) };
    }
    case 'refuse':
      return { outcome: 'refuse', ...rule, why: 'access.overlay does not list its sender' };
    default:
      return { outcome: verdict.do, ...rule, why: 'a rule matches' };
  }
}

function whyService({ origin, rule }: Verdict): string {
  const from = {
    [ORIGIN_DSCP]: 'service by its DSCP',
    [ORIGIN_DEFAULT]: "service by its protocol's default",
  }[origin];
  const match = rule < 0 ? 'no rule matches' : 'a rule matches';
  return from === undefined ? match : `${match}; ${from}`;
}

function questionOf(info: PacketInfo, who: Who, sourceNode: number, destinationNode: number): RuleInput {
  return Object.assign(new RuleQuestion().ask(info, sourceNode, destinationNode), who);
}
