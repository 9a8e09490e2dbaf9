/**
 * The rules of `intercept.rules`, compiled to a function that the way in asks once per flow (`flow-cache.ts`). First match wins; a
 * packet that no rule names goes over the overlay. Where no service is named it is the one that the socket's DSCP asks for,
 * else the default of the protocol.
 *
 * Addresses are four 32-bit words, most significant first, an IPv4 address as ::ffff:a.b.c.d, as they lie in
 * endpoints and forwarding tables. Signed and unsigned words are equally good.
 */
import {
  DEFAULT_SERVICES,
  defaultService,
  ORIGIN_DEFAULT,
  ORIGIN_DSCP,
  ORIGIN_RULE,
  type ServiceDefaults,
  serviceOfDscp,
} from './services.js';

export interface RulePrefix {
  version: 4 | 6;
  words: readonly [number, number, number, number];
  /** Length over the 128 bits of the mapped form: an IPv4 /24 is 120. */
  bits: number;
}

export interface RuleMatch {
  to?: readonly RulePrefix[];
  from?: readonly RulePrefix[];
  /** IP protocol numbers. */
  protocols?: readonly number[];
  /** Destination ports, both ends included. */
  ports?: readonly { first: number; last: number }[];
  /** 0..63 */
  dscp?: number;
}

export interface Rule {
  match: RuleMatch;
  /** A service number; undefined: by DSCP, then the protocol's default. */
  action: { do: 'overlay'; service: number | undefined } | { do: 'drop' | 'direct' };
}

/** What a rule can ask about a packet. One object per caller, refilled per packet. */
export interface RuleInput {
  version: number;
  /** Of the innermost header that the packet view reached: TCP, UDP, ICMP … */
  protocol: number;
  /** 4 words each. */
  source: ArrayLike<number>;
  destination: ArrayLike<number>;
  /** -1 where the packet has none (ICMP, a fragment behind the first). */
  sourcePort: number;
  destinationPort: number;
  dscp: number;
}

export interface Verdict {
  readonly do: 'overlay' | 'drop' | 'direct';
  /** Of an overlay verdict, else 0. */
  readonly service: number;
  /** ORIGIN_…: what chose the service; ORIGIN_RULE for a dropped packet. */
  readonly origin: number;
  /** Index of the rule that matched, -1 for none. */
  readonly rule: number;
}

export type Classify = (input: RuleInput) => Verdict;

/** The classifier allocates nothing: it returns one of the verdicts made here. */
export function compileRules(
  rules: readonly Rule[],
  defaults: Readonly<ServiceDefaults> = DEFAULT_SERVICES,
): Classify {
  const unnamed = byDscpOrDefault(-1, defaults);
  const compiled = rules.map((rule, index) => ({
    prefixesTo: rule.match.to?.map(maskPrefix),
    prefixesFrom: rule.match.from?.map(maskPrefix),
    protocols: rule.match.protocols,
    ports: rule.match.ports,
    dscp: rule.match.dscp ?? -1,
    outcome: outcomeOf(rule.action, index, defaults),
  }));
  return (input) => {
    for (let i = 0; i < compiled.length; i++) {
      if (matches(compiled[i], input)) return compiled[i].outcome(input);
    }
    return unnamed(input);
  };
}

function outcomeOf(action: Rule['action'], rule: number, defaults: Readonly<ServiceDefaults>): Classify {
  if (action.do === 'overlay' && action.service === undefined) return byDscpOrDefault(rule, defaults);
  const service = action.do === 'overlay' ? action.service! : 0;
  const verdict = Object.freeze<Verdict>({ do: action.do, service, origin: ORIGIN_RULE, rule });
  return () => verdict;
}

function byDscpOrDefault(rule: number, defaults: Readonly<ServiceDefaults>): Classify {
  const verdict = (service: number, origin: number) =>
    Object.freeze<Verdict>({ do: 'overlay', service, origin, rule });
  const byDscp = Array.from({ length: 64 }, (_, dscp) => {
    const service = serviceOfDscp(dscp);
    return service < 0 ? undefined : verdict(service, ORIGIN_DSCP);
  });
  const byProtocol = Array.from({ length: 256 }, (_, protocol) =>
    verdict(defaultService(protocol, defaults), ORIGIN_DEFAULT),
  );
  return ({ dscp, protocol }) => byDscp[dscp] ?? byProtocol[protocol];
}

/** A prefix as it is compared: words outside its length are zero. */
export interface MaskedPrefix {
  version: number;
  words: readonly number[];
  masks: readonly number[];
}

interface CompiledRule {
  prefixesTo: readonly MaskedPrefix[] | undefined;
  prefixesFrom: readonly MaskedPrefix[] | undefined;
  protocols: readonly number[] | undefined;
  ports: RuleMatch['ports'] | undefined;
  dscp: number;
}

function matches(rule: CompiledRule, input: RuleInput): boolean {
  if (rule.dscp >= 0 && rule.dscp !== input.dscp) return false;
  if (rule.protocols !== undefined && !rule.protocols.includes(input.protocol)) return false;
  if (rule.ports !== undefined && !inPorts(rule.ports, input.destinationPort)) return false;
  if (rule.prefixesTo !== undefined && !inPrefixes(rule.prefixesTo, input.version, input.destination))
    return false;
  return rule.prefixesFrom === undefined || inPrefixes(rule.prefixesFrom, input.version, input.source);
}

function inPorts(ports: NonNullable<RuleMatch['ports']>, port: number): boolean {
  for (let i = 0; i < ports.length; i++) {
    if (port >= ports[i].first && port <= ports[i].last) return true;
  }
  return false;
}

function inPrefixes(prefixes: readonly MaskedPrefix[], version: number, address: ArrayLike<number>): boolean {
  for (let i = 0; i < prefixes.length; i++) {
    if (inPrefix(prefixes[i], version, address)) return true;
  }
  return false;
}

export function inPrefix(prefix: MaskedPrefix, version: number, address: ArrayLike<number>): boolean {
  const { words, masks } = prefix;
  return (
    prefix.version === version &&
    (address[0] & masks[0]) === words[0] &&
    (address[1] & masks[1]) === words[1] &&
    (address[2] & masks[2]) === words[2] &&
    (address[3] & masks[3]) === words[3]
  );
}

export function maskPrefix(prefix: RulePrefix): MaskedPrefix {
  const masks = prefix.words.map((_, i) => wordMask(prefix.bits - 32 * i));
  return { version: prefix.version, masks, words: prefix.words.map((word, i) => word & masks[i]) };
}

/** Mask of the first `bits` bits of a word; JavaScript shifts by 32 as by 0, so the ends stand apart. */
function wordMask(bits: number): number {
  if (bits <= 0) return 0;
  return bits >= 32 ? -1 : -1 << (32 - bits);
}
