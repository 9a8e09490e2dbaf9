/** What is doubtful about a configuration's rules, as `causeway check` shows it: rules that never match anything, or can't do what they say. */
import { nodeIdOf } from '../../crypto/identity/name.js';
import { prefixOf } from '../../crypto/identity/index.js';
import type { OverlayAddress } from '../../crypto/identity/index.js';
import { findDeadRules, meansManyOnly } from '../../intercept/rule-check.js';
import type { Sight } from '../../intercept/rule-sight.js';
import { toRulePrefix } from './address.js';
import type { Config } from './config.js';
import type { Identity, PreflightProblem } from './preflight.js';

/** Without an identity only what the rules themselves tell is found. */
export function ruleProblems(config: Config, identity?: Identity): PreflightProblem[] {
  const sight = identity && sightOf(config, identity);
  return [
    ...deadRules(config, 'rules', sight),
    ...deadRules(config, 'inbound', sight),
    ...uncarriedRules(config),
  ];
}

function sightOf({ intercept, forward }: Config, { trust, verified }: Identity): Sight {
  const { addresses, real, routes } = verified.certificate;
  const hosts = (list: readonly OverlayAddress[]) =>
    list.map((address) => toRulePrefix(prefixOf(address, address.bytes.length * 8)));
  return {
    overlay: trust.overlayPrefixes.map(toRulePrefix),
    addresses: hosts(addresses),
    owned: [...hosts([...addresses, ...real]), ...routes.map(toRulePrefix)],
    nodesOnly: intercept.mode === 'split' && !intercept.participants && !forward,
  };
}

function deadRules(config: Config, key: 'rules' | 'inbound', sight: Sight | undefined): PreflightProblem[] {
  const lines = config.lines?.[key] ?? [];
  const self = nodeIdOf(config.node);
  const dead = findDeadRules(config.intercept[key] ?? [], { self, inbound: key === 'inbound', sight });
  return dead.map(({ rule, by, why }) => {
    const takers = by.map((other) => `intercept.${key}[${other}] in line ${lines[other]}`).join(' and ');
    const reason =
      by.length === 0 ? why : `${takers}, before it, ${by.length === 1 ? 'takes' : 'take'} ${why}`;
    return warning(config, key, rule, `can never match: ${reason}`);
  });
}

/** In mode full, rules that want multicast carried. */
function uncarriedRules(config: Config): PreflightProblem[] {
  const { mode, rules } = config.intercept;
  if (mode === 'split') return [];
  const message =
    "the overlay doesn't carry multicast and broadcast yet: what matches leaves as without the agent; to keep it here, drop it";
  return rules.flatMap(({ match, action }, rule) =>
    action.do === 'overlay' && meansManyOnly(match) ? [warning(config, 'rules', rule, message)] : [],
  );
}

function warning(config: Config, key: 'rules' | 'inbound', rule: number, message: string): PreflightProblem {
  const line = config.lines?.[key][rule] ?? 0;
  return { file: config.file, line, column: 1, key: `intercept.${key}[${rule}]`, message, level: 'warning' };
}
