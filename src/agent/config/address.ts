/** Prefixes and endpoints as users write them, over the readers that certificates and datagrams use. */
import { parseAddress, parsePrefix } from '../../crypto/identity/address.js';
import type { OverlayPrefix } from '../../crypto/identity/address.js';
import { nodeIdOf, nodeNameProblem, tokenProblem } from '../../crypto/identity/name.js';
import type { NodeEnd, RulePrefix } from '../../intercept/rules.js';
import { parseEndpoint } from '../endpoint.js';
import type { NamedEndpoint } from './config.js';

/** `10.77.0.0/16`, `fd77::/48` or one address. A refusal is one line that names the text and the remedy. */
export function parseRulePrefix(text: string): RulePrefix | { refusal: string } {
  const address = parseAddress(text);
  if (address !== undefined) return toRulePrefix({ ...address, length: address.bytes.length * 8 });
  if (!text.includes('/')) {
    return { refusal: `"${text}" is no address or prefix; write 10.77.0.5, 10.77.0.0/16 or fd77::/48` };
  }
  const result = parsePrefix(text);
  return result.ok ? toRulePrefix(result.prefix) : { refusal: result.text };
}

/** A prefix, `node:NAME` or `group:NAME`. */
export function parseRuleEnd(text: string): RulePrefix | NodeEnd | { refusal: string } {
  const [, kind, name] = /^(node|group):(.*)$/.exec(text) ?? [];
  if (kind === undefined) return parseRulePrefix(text);
  const problem = kind === 'group' ? tokenProblem('group', name) : nodeNameProblem(name);
  if (problem !== undefined) return { refusal: problem };
  return kind === 'group' ? { group: name } : { node: nodeIdOf(name) };
}

export function toRulePrefix({ family, bytes, length }: OverlayPrefix): RulePrefix {
  const mapped = new Uint8Array(16).fill(0xff, 10, 12);
  if (family === 4) mapped.set(bytes, 12);
  const view = new DataView(family === 4 ? mapped.buffer : Uint8Array.from(bytes).buffer);
  return {
    version: family,
    words: [view.getUint32(0), view.getUint32(4), view.getUint32(8), view.getUint32(12)],
    bits: family === 4 ? 96 + length : length,
  };
}

/** `192.0.2.2:7100` or `[2001:db8::2]:7100`, and `localhost:9478` where `local` allows it. */
export function parseNamedEndpoint(text: string, local = false): NamedEndpoint | null {
  const isLocal = local && text.startsWith('localhost:');
  const parsed = parseEndpoint(isLocal ? text.replace('localhost', '127.0.0.1') : text);
  return parsed === undefined ? null : { host: parsed.host, port: parsed.port, text };
}
