/** What else on this host decides about the same packets: rules before ours, routes in our tables, chains that mark, managers that clean up. */
import type { Finding } from '../control/api.js';
import { ROUTE_PROTOCOL, routingTable, RULE_PRIORITY, TABLE_USES } from '../tun/plan.js';
import type { Host } from './host.js';

interface Rule {
  priority: number;
  table?: string;
  protocol?: string;
}

interface Route {
  dst: string;
  dev?: string;
  protocol?: string;
}

interface Chain {
  family: string;
  table: string;
  name: string;
  type?: string;
  hook?: string;
}

const LAST_PRIORITY = RULE_PRIORITY + TABLE_USES.length;
const NETWORKD = '/etc/systemd/networkd.conf';

/** Findings of level warning, none where nothing is amiss or can't be seen. `tun`: the device's name. */
export async function checkRivals(host: Host, tun: string): Promise<Finding[]> {
  const groups = [rulesBefore(host), routesInTables(host, tun), markingChains(host), cleaners(host)];
  const lines = (await Promise.all(groups)).flat();
  return lines.map(([message, remedy]) => ({ level: 'warning', subject: 'rivals', message, remedy }));
}

type Line = readonly [message: string, remedy: string];

/** Table local's own rule has priority 0. */
async function rulesBefore(host: Host): Promise<Line[]> {
  const found = await Promise.all(
    (['4', '6'] as const).map(async (family) => {
      const rules = await listed<Rule>(host, ['-N', '-j', `-${family}`, 'rule', 'show']);
      return rules
        .filter(({ priority, protocol }) => priority > 0 && priority <= LAST_PRIORITY && !isOurs(protocol))
        .map(({ priority, table = 'none' }): Line => [
          `IPv${family} rule ${priority} (table ${table}) decides before or among the overlay's (${RULE_PRIORITY} to ${LAST_PRIORITY})`,
          `"ip -${family} rule show" names it; let its owner choose a priority above ${LAST_PRIORITY}`,
        ]);
    }),
  );
  return found.flat();
}

async function routesInTables(host: Host, tun: string): Promise<Line[]> {
  const tables = TABLE_USES.map((use) => String(routingTable(tun, use)));
  const found = await Promise.all(
    tables.map(async (table) => {
      const routes = await listed<Route>(host, ['-N', '-j', 'route', 'show', 'table', table]);
      return routes
        .filter(({ protocol }) => !isOurs(protocol))
        .map(({ dst, dev = 'nowhere' }): Line => [
          `a route to ${dst} by ${dev} lies in table ${table}, which is the overlay's`,
          `run "ip route del ${dst} table ${table}", and have its owner use another table`,
        ]);
    }),
  );
  return found.flat();
}

/** What routes anew by a mark after us may lead away what we led into the device. */
async function markingChains(host: Host): Promise<Line[]> {
  const text = await host.run('nft', ['-j', 'list', 'chains']);
  const entries = parse<{ nftables?: { chain?: Chain }[] }>(text)?.nftables ?? [];
  return entries
    .flatMap(({ chain }) => chain ?? [])
    .filter(
      ({ type, hook, table }) => type === 'route' && hook === 'output' && !table.startsWith('causeway-'),
    )
    .map(({ family, table, name }): Line => [
      `nftables chain ${family} ${table} ${name} routes this host's packets anew, as the overlay does in mode full`,
      'what it marks is not captured; see "nft list ruleset"',
    ]);
}

async function cleaners(host: Host): Promise<Line[]> {
  if ((await host.run('systemctl', ['is-active', 'systemd-networkd'])) !== 'active') return [];
  const kept = /^\s*ManageForeignRoutingPolicyRules\s*=\s*(no|false|off|0)\s*$/im.test(
    host.read(NETWORKD) ?? '',
  );
  return kept
    ? []
    : [
        [
          'systemd-networkd removes rules that are not its own when it starts; the agent puts them back a moment later',
          `set ManageForeignRoutingPolicyRules=no in ${NETWORKD}`,
        ],
      ];
}

function isOurs(protocol: string | undefined): boolean {
  return protocol === String(ROUTE_PROTOCOL);
}

async function listed<T>(host: Host, args: readonly string[]): Promise<T[]> {
  return parse<T[]>(await host.run('ip', args)) ?? [];
}

function parse<T>(text: string | null): T | undefined {
  try {
    return JSON.parse(text ?? '') as T;
  } catch {
    return undefined;
  }
}
