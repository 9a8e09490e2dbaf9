/** What is doubtful about a configuration's rules, as `causeway check` shows it: rules that never match anything. */
import { nodeIdOf } from '../../crypto/identity/name.js';
import { findDeadRules } from '../../intercept/rule-check.js';
import type { Config } from './config.js';
import type { PreflightProblem } from './preflight.js';

export function ruleProblems(config: Config): PreflightProblem[] {
  return [...problemsOf(config, 'rules'), ...problemsOf(config, 'inbound')];
}

function problemsOf(config: Config, key: 'rules' | 'inbound'): PreflightProblem[] {
  const lines = config.lines?.[key] ?? [];
  const self = nodeIdOf(config.node);
  const dead = findDeadRules(config.intercept[key] ?? [], { self, inbound: key === 'inbound' });
  return dead.map(({ rule, by, why }) => {
    const takers = by.map((other) => `intercept.${key}[${other}] in line ${lines[other]}`).join(' and ');
    const reason =
      by.length === 0 ? why : `${takers}, before it, ${by.length === 1 ? 'takes' : 'take'} ${why}`;
    return {
      file: config.file,
      line: lines[rule] ?? 0,
      column: 1,
      key: `intercept.${key}[${rule}]`,
      message: `can never match: ${reason}`,
      level: 'warning',
    };
  });
}
