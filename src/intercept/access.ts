/**
 * Which of this host's users may use the overlay, and which may choose a service by their socket's DSCP (`access` in the configuration). Root always
 * may, and so do packets that no socket sends: those that are forwarded, and the kernel's own answers.
 */
import {
  type Classify,
  NO_SENDER,
  type Rule,
  type RuleInput,
  type UserGroup,
  type Verdict,
} from './rules.js';
import { ORIGIN_DEFAULT, ORIGIN_DSCP } from './services.js';

/** One of the users, a member of one of the groups, or a socket of such a group. */
export interface Allowed {
  readonly users: readonly number[];
  readonly groups: readonly UserGroup[];
}

export interface AccessRules {
  /** Absent: everyone. */
  readonly overlay?: Allowed | undefined;
  /** By service number; absent: everyone. */
  readonly services: Readonly<Record<number, Allowed>>;
}

/** What was refused: a service, by its number, or the overlay. */
export const REFUSED_OVERLAY = -1;
export const REFUSED_NOTHING = -2;

const ROOT = 0;

export class Access {
  /** Of the last `judge`: REFUSED_… or a service number. */
  refused = REFUSED_NOTHING;
  /** Whether packets without a known sender are to be mistrusted, as the log of senders has gaps. */
  isBlind = false;
  private readonly overlay: Judge | undefined;
  private readonly services: ReadonlyMap<number, Judge>;
  /** By the rule that would have led over the overlay, -1 for none: whether one did is what keeps a packet to outside from leaving directly. */
  private readonly refusals = new Map<number, Verdict>();

  constructor(rules: AccessRules = { services: {} }) {
    this.overlay = rules.overlay && judgeOf(rules.overlay);
    this.services = new Map(
      Object.entries(rules.services).map(([service, allowed]) => [Number(service), judgeOf(allowed)]),
    );
  }

  /** What the rules say, as far as the packet's sender may. A service that it may not choose it doesn't get by its DSCP. */
  judge(classify: Classify, input: RuleInput): Verdict {
    this.refused = REFUSED_NOTHING;
    const verdict = classify(input);
    if (verdict.do !== 'overlay') return verdict;
    if (!this.may(this.overlay, input)) {
      this.refused = REFUSED_OVERLAY;
      return this.refusal(verdict.rule);
    }
    if (verdict.origin !== ORIGIN_DSCP || this.may(this.services.get(verdict.service), input)) return verdict;
    this.refused = verdict.service;
    input.choosesByDscp = false;
    const other = classify(input);
    input.choosesByDscp = true;
    return other;
  }

  private refusal(rule: number): Verdict {
    let refusal = this.refusals.get(rule);
    if (refusal === undefined) {
      refusal = Object.freeze({ do: 'refuse', service: 0, origin: ORIGIN_DEFAULT, rule });
      this.refusals.set(rule, refusal);
    }
    return refusal;
  }

  private may(judge: Judge | undefined, { user, group }: RuleInput): boolean {
    if (judge === undefined || user === ROOT) return true;
    return user === NO_SENDER ? !this.isBlind : judge(user, group);
  }
}

type Judge = (user: number, group: number) => boolean;

function judgeOf({ users, groups }: Allowed): Judge {
  const known = new Set([...users, ...groups.flatMap(({ members }) => members)]);
  const gids = new Set(groups.map(({ gid }) => gid));
  return (user, group) => known.has(user) || gids.has(group);
}

/** Whether a user is among those allowed, `groups` being all of the groups that its process is in. */
export function isAllowed(allowed: Allowed, user: number, groups: readonly number[]): boolean {
  const judge = judgeOf(allowed);
  return user === ROOT || groups.some((group) => judge(user, group)) || judge(user, NO_SENDER);
}

/** Whether anything depends on who sends. */
export function asksWhoSends(rules: readonly Rule[], access: AccessRules): boolean {
  return (
    access.overlay !== undefined ||
    Object.keys(access.services).length > 0 ||
    rules.some(({ match: { users, groups, cgroups } }) => (users ?? groups ?? cgroups) !== undefined)
  );
}
