/**
 * What may enter this host from the overlay (`intercept.inbound`). Without that key everything may. With it, a packet passes that
 * 1. answers a flow which this host began, or is an ICMP error about a packet that it sent;
 * 2. or is let in by the first rule that it matches.
 * What a flow's first packet was told holds for the rest, until rules change or a minute of silence has passed.
 *
 * Of a fragmented packet the first fragment is judged, as only it has ports; the others go its way, and those that overtake it are refused.
 */
import {
  BEGUN_HERE,
  BEGUN_THERE,
  BEGUN_UNKNOWN,
  FlowCache,
  SERVICE_DROPPED,
  SERVICE_REJECTED,
  SERVICE_UNDECIDED,
} from './flow-cache.js';
import { isEchoReply, isEchoRequest, isIcmpError } from './icmp.js';
import {
  FRAGMENT_FIRST,
  FRAGMENT_LATER,
  FRAGMENT_NONE,
  PacketInfo,
  PARSE_OK,
  parseHead,
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
  PROTOCOL_TCP,
} from './packet.js';
import { RuleQuestion } from './rule-question.js';
import { type Classify, indexRules, type NodeGroups, type RuleMatch, type Verdict } from './rules.js';
import { ORIGIN_RULE } from './services.js';

export interface InboundRule {
  /** A host can't know who sends on another: users, groups and cgroups aren't asked. */
  match: RuleMatch;
  do: 'allow' | 'drop' | 'reject';
}

/** What `judge` answers. */
export const INBOUND_ALLOWED = 0;
export const INBOUND_DROPPED = 1;
/** Dropped, and its sender is to be told. */
export const INBOUND_REJECTED = 2;

/** µs of silence that a verdict outlives. */
const DECISION_LIFE = 60_000_000;
/** µs since this host's last packet of a flow for which answers pass: RFC 5382 (REQ-5), RFC 4787 (REQ-5). */
const ANSWERED_TCP = 2 * 3600_000_000 + 240_000_000;
const ANSWERED_OTHER = 300_000_000;
/** Type, code, checksum and four bytes that depend on the type. */
const ICMP_HEADER = 8;

const verdict = (action: Verdict['do'], rule: number): Verdict =>
  Object.freeze<Verdict>({ do: action, service: 0, origin: ORIGIN_RULE, rule });
const ANSWER = verdict('overlay', -1);
const UNNAMED = verdict('drop', -1);

/** What the rules say of a packet that answers nothing: `overlay` lets it in. */
export function compileInbound(rules: readonly InboundRule[], groups: NodeGroups): Classify {
  const index = indexRules(rules, groups);
  const verdicts = rules.map(({ do: action }, i) => verdict(action === 'allow' ? 'overlay' : action, i));
  return (input) => {
    const rule = index.first(input);
    return rule < 0 ? UNNAMED : verdicts[rule]!;
  };
}

export class InboundFilter {
  /** Whether there is anything to judge by. */
  active = false;
  private classify: Classify | undefined;
  private known: FlowCache | undefined;
  private readonly quoted = new PacketInfo();
  private readonly asked = new RuleQuestion();

  /** `sent`: the flows that this host, node `self`, sends. `capacity`: flows from outside that are remembered. */
  constructor(
    private readonly sent: FlowCache,
    private readonly self: number,
    private readonly capacity: number,
  ) {}

  /** Undefined: everything may enter. Flows that run when rules first come count as this host's own. */
  set(rules: readonly InboundRule[] | undefined, groups: NodeGroups): void {
    this.use(rules && compileInbound(rules, groups));
  }

  /** The same with rules that are compiled. */
  use(classify: Classify | undefined): void {
    this.active = classify !== undefined;
    if (classify === undefined) return;
    this.classify = classify;
    this.known ??= new FlowCache({ capacity: this.capacity, decisionLife: DECISION_LIFE });
    this.known.invalidate();
  }

  /** Whether the parsed packet, no later fragment, answers what this host began or sent. */
  answers(now: number, view: DataView, info: PacketInfo): boolean {
    return isIcmp(info) ? this.isIcmpAnswer(now, view, info) : this.isAnswer(now, info);
  }

  /** Judges the parsed packet of a node, which owns its source. `later`: whether the first fragment of a later one was let in. */
  judge(now: number, view: DataView, info: PacketInfo, node: number, later: boolean): number {
    if (info.fragment === FRAGMENT_LATER) return later ? INBOUND_ALLOWED : INBOUND_DROPPED;
    if (info.fragment === FRAGMENT_FIRST || isIcmp(info)) return answerOf(this.decide(now, view, info, node));
    const known = this.known!;
    const flow = known.find(now, info, node);
    if (known.service[flow] === SERVICE_UNDECIDED) known.decide(flow, this.decide(now, view, info, node));
    const service = known.service[flow];
    if (service === SERVICE_DROPPED) return INBOUND_DROPPED;
    return service === SERVICE_REJECTED ? INBOUND_REJECTED : INBOUND_ALLOWED;
  }

  /**
   * This host sends the parsed packet, of a flow of `sent`: notes who began it. To be asked when the flow is decided, and for each ICMP packet and
   * first fragment.
   */
  noteSent(now: number, view: DataView, info: PacketInfo, flow: number): void {
    const { begun } = this.sent;
    if (isIcmp(info)) {
      if (isEchoRequest(info.version, icmpType(view, info))) begun[flow] = BEGUN_HERE;
    } else if (info.fragment === FRAGMENT_FIRST) this.noteFirst(now, view, info, this.sent.node[flow]!);
    else if (begun[flow] === BEGUN_UNKNOWN)
      begun[flow] = this.isAnswerOfOurs(info) ? BEGUN_THERE : BEGUN_HERE;
  }

  /** Fragments are all one flow, which has no ports; what answers them may come whole. */
  private noteFirst(now: number, view: DataView, info: PacketInfo, node: number): void {
    info.fragment = FRAGMENT_NONE;
    this.noteSent(now, view, info, this.sent.find(now, info, node));
    info.fragment = FRAGMENT_FIRST;
  }

  /** Whether the packet that this host sends answers one that a rule let in. */
  private isAnswerOfOurs(info: PacketInfo): boolean {
    const flow = this.known!.peek(info, true);
    return flow >= 0 && this.known!.rule[flow]! >= 0 && this.known!.service[flow]! < SERVICE_REJECTED;
  }

  private decide(now: number, view: DataView, info: PacketInfo, node: number): Verdict {
    if (this.answers(now, view, info)) return ANSWER;
    return this.classify!(this.asked.ask(info, node, this.self));
  }

  private isAnswer(now: number, info: PacketInfo): boolean {
    const { sent } = this;
    const flow = sent.peek(info, true);
    return flow >= 0 && sent.begun[flow] !== BEGUN_THERE && sent.idle(now, flow) < lifeOf(info);
  }

  private isIcmpAnswer(now: number, view: DataView, info: PacketInfo): boolean {
    const { quoted, sent } = this;
    const type = icmpType(view, info);
    if (isEchoReply(info.version, type)) {
      const flow = sent.peek(info, true);
      return flow >= 0 && sent.begun[flow] !== BEGUN_THERE && sent.idle(now, flow) < ANSWERED_OTHER;
    }
    if (!isIcmpError(info.version, type)) return false;
    const at = info.transportOffset + ICMP_HEADER;
    if (parseHead(view, at, info.transportLength - ICMP_HEADER, quoted) !== PARSE_OK) return false;
    if (quoted.version !== info.version) return false;
    const flow = sent.peek(quoted);
    return flow >= 0 && sent.idle(now, flow) < lifeOf(quoted);
  }
}

function answerOf({ do: action }: Verdict): number {
  if (action === 'overlay') return INBOUND_ALLOWED;
  return action === 'reject' ? INBOUND_REJECTED : INBOUND_DROPPED;
}

function lifeOf({ protocol }: PacketInfo): number {
  return protocol === PROTOCOL_TCP ? ANSWERED_TCP : ANSWERED_OTHER;
}

export function isIcmp({ version, protocol }: PacketInfo): boolean {
  return protocol === (version === 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6);
}

/** -1 where the packet has none. */
function icmpType(view: DataView, info: PacketInfo): number {
  return info.transportLength > 0 && info.fragment !== FRAGMENT_LATER
    ? view.getUint8(info.transportOffset)
    : -1;
}
