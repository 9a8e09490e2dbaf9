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

/** The same of several commands, in their order, by one process where it can be: each that is started costs milliseconds. */
async function listAll(
  run: RunIp,
  family: 4 | 6,
  commands: readonly (readonly string[])[],
): Promise<Entry[][]> {
  const lines = commands.map((words) => words.join(' '));
  const { status, stdout } = await run([`-${family}`, '-N', '-j', '-batch', '-'], `${lines.join('\n')}\n`);
  const lists = stdout.split('\n').filter((line) => line !== '');
  if (status === 0 && lists.length === commands.length)
    return lists.map((line) => JSON.parse(line) as Entry[]);
  // One of them lists nothing; which one, a process of its own says.
  const each: Entry[][] = [];
  for (const words of commands) each.push(await list(run, family, words));
  return each;
}

export function isOurs(entry: Entry): boolean {
  return entry['protocol'] === String(ROUTE_PROTOCOL);
}

const RULES = ['rule', 'show'];
/** Of our protocol, in every table. */
const OUR_ROUTES = ['route', 'show', 'table', 'all', 'proto', String(ROUTE_PROTOCOL)];

/** All rules, and the routes of our protocol in every table. */
export async function listRouting(run: RunIp, family: 4 | 6): Promise<{ rules: Entry[]; routes: Entry[] }> {
  const [rules, routes] = await listAll(run, family, [RULES, OUR_ROUTES]);
  return { rules, routes };
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
  const addresses = ['address', 'show', 'dev', device];
  const [rules, routes, interfaces] = await listAll(run, family, [RULES, OUR_ROUTES, addresses]);
  const there = new Set<string>();
  for (const rule of rules.filter(isOurs)) there.add(`rule ${String(rule['priority'])}`);
  for (const route of routes)
    there.add(routeKey(isUnreachable(route), String(route['dst']), String(route['table'])));
  for (const { addr_info } of interfaces) {
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
