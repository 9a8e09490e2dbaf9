/** Reads which flows a user means. */
import { parseRulePrefix } from '../agent/config/address.js';
import { PROTOCOLS } from '../agent/config/protocols.js';
import type { FlowMatch } from '../intercept/flow-cache.js';
import type { RulePrefix } from '../intercept/rules.js';
import type { FlowSetRequest } from './api.js';
import { ApiError } from './api.js';

const ANY = '*';

/** Throws ApiError `bad-request`, which names the part that makes no sense. */
export function parseFlowMatch({
  protocol,
  source,
  destination,
}: Omit<FlowSetRequest, 'service'>): FlowMatch {
  const [from, to] = [parseEnd(source), parseEnd(destination)];
  return {
    ...(protocol !== ANY && { protocols: parseProtocol(protocol) }),
    ...(from.prefix && { source: from.prefix }),
    ...(from.port !== undefined && { sourcePort: from.port }),
    ...(to.prefix && { destination: to.prefix }),
    ...(to.port !== undefined && { destinationPort: to.port }),
  };
}

/** Throws ApiError `bad-request`. */
export function parseFlowPrefix(text: string): RulePrefix {
  const parsed = parseRulePrefix(text);
  if ('refusal' in parsed) throw new ApiError('bad-request', parsed.refusal);
  return parsed;
}

function parseProtocol(text: string): readonly number[] {
  if (Object.hasOwn(PROTOCOLS, text)) return PROTOCOLS[text];
  const number = /^\d{1,3}$/.test(text) ? Number(text) : 256;
  if (number < 256) return [number];
  const known = Object.keys(PROTOCOLS).join(', ');
  throw new ApiError('bad-request', `"${text}" is no protocol; use ${known}, a number 0 to 255 or "*"`);
}

interface End {
  prefix?: RulePrefix;
  port?: number;
}

/** One colon parts address and port; more are an IPv6 address's own, which has brackets before a port. */
function parseEnd(text: string): End {
  const match = /^\[([^\]]+)\](?::(.+))?$/.exec(text) ?? /^([^:]+)(?::([^:]+))?$/.exec(text);
  const [address, port] = match ? [match[1], match[2]] : [text, undefined];
  return {
    ...(address !== ANY && { prefix: parseFlowPrefix(address) }),
    ...(port !== undefined && port !== ANY && { port: parsePort(port) }),
  };
}

function parsePort(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 65_536;
  if (port < 65_536) return port;
  throw new ApiError('bad-request', `"${text}" is no port; use 0 to 65535 or "*"`);
}
