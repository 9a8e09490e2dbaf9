/**
 * The configuration file: `load.ts` reads it, `schema.ts` says what may be in it, `config.ts` what comes out, `preflight.ts`
 * checks it against the host's files. Nothing here talks to the kernel or the network.
 */
export * from './config.js';
export { ConfigError, formatProblem } from './errors.js';
export type { ConfigProblem } from './errors.js';
export { diffConfig, loadConfig, parseConfig, RELOADABLE } from './load.js';
export { examine, EXPIRY_WARNING, loadIdentity, preflight } from './preflight.js';
export type { Identity, PreflightProblem } from './preflight.js';
export { ruleProblems } from './rule-problems.js';
