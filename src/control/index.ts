/**
 * The control socket. `api.ts` types what an agent answers, `protocol.ts` how it travels; `server.ts` is the agent's end, `client.ts` the
 * CLI's. `metrics.ts` shows the same numbers to Prometheus. Nothing here decides anything about packets.
 */
export * from './api.js';
export { ControlClient } from './client.js';
export { ControlError } from './errors.js';
export { MetricsServer } from './metrics.js';
export { ControlServer } from './server.js';
export { findNode } from './target.js';
export type { NamedNode } from './target.js';
