/** What of a plan's lines the host has. `ip -N -j` gives protocols, tables and route types as numbers. */
import { explain, type RunIp } from './ip.js';
import { ROUTE_PROTOCOL } from './plan.js';

export type Entry = Record<string, unknown>;

export const NOTHING_THERE = /does not exist|not supported|No such file|No such process/;

/** Entries that `ip -j` lists; none where the table or the family isn't there. Rejects with HostError. */
export async function list(run: RunIp, family: 4 | 6, what: readonly string[]): Promise<Entry[]> {
  const { status, stdout, stderr } = await run([`-${family}`, '-N', '-j', ...what]);
  if (status === 0) return JSON.parse(stdout || '[]') as Entry[];
  if (NOTHING_THERE.test(stderr)) return [];
  throw explain(stderr, [what.join(' ')]);
}

export function isOurs(entry: Entry): boolean {
  return entry['protocol'] === String(ROUTE_PROTOCOL);
}

/** Routes of our protocol in every table, at once: each process that is started costs milliseconds. */
export function listRoutes(run: RunIp, family: 4 | 6): Promise<Entry[]> {
  return list(run, family, ['route', 'show', 'table', 'all', 'proto', String(ROUTE_PROTOCOL)]);
}

/** RTN_UNREACHABLE. */
export function isUnreachable(route: Entry): boolean {
  return route['type'] === '7' || route['type'] === 'unreachable';
}

/** The lines of a plan for one family (`… add …`) whose addresses, routes and rules the host lacks. Rejects with HostError. */
export async function missingLines(
  run: RunIp,
  family: 4 | 6,
  device: string,
  lines: readonly string[],
): Promise<string[]> {
  const there = new Set<string>();
  for (const rule of (await list(run, family, ['rule', 'show'])).filter(isOurs))
    there.add(`rule ${String(rule['priority'])}`);
  for (const route of await listRoutes(run, family))
    there.add(routeKey(isUnreachable(route), String(route['dst']), String(route['table'])));
  for (const { addr_info } of await list(run, family, ['address', 'show', 'dev', device])) {
    for (const { local } of (addr_info ?? []) as { local?: string }[]) there.add(`address ${local ?? ''}`);
  }
  return lines.filter((line) => !there.has(keyOf(line)));
}

function keyOf(line: string): string {
  const rule = /^rule add pref (\d+)/.exec(line);
  if (rule) return `rule ${rule[1]}`;
  const address = /^address add ([^/ ]+)/.exec(line);
  if (address) return `address ${address[1]}`;
  const [, no = '', prefix = '', table = ''] =
    /^route add (unreachable )?(?:throw )?(\S+) .*table (\d+)/.exec(line) ?? [];
  return routeKey(no !== '', prefix, table);
}

/** `ip` shows neither the length of a host's prefix nor the default route's. */
function routeKey(no: boolean, prefix: string, table: string): string {
  const shown = /^(0\.0\.0\.0|::)\/0$/.test(prefix)
    ? 'default'
    : prefix.replace(/^([^:]*)\/32$|\/128$/, '$1');
  return `route ${no ? 'unreachable ' : ''}${shown} ${table}`;
}
