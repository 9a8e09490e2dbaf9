import { expect, test } from 'vitest';
import type { Host } from '../../../src/cli/host.js';
import { checkRivals } from '../../../src/cli/rivals.js';
import { routingTable } from '../../../src/tun/plan.js';

const TABLE = String(routingTable('cw0'));

/** Programs by the words that their command begins with; what isn't named isn't there. */
function host(programs: Record<string, string>, files: Record<string, string> = {}): Host {
  const answer = (command: string): string | null =>
    Object.entries(programs).find(([words]) => command.startsWith(words))?.[1] ?? null;
  return {
    kernel: () => '6.8.0',
    read: (path) => files[path] ?? null,
    open: () => null,
    run: (program, args) => Promise.resolve(answer([program, ...args].join(' '))),
    engine: () => Promise.resolve({ name: 'test', aes: true }),
    wallClock: () => 0,
  };
}

const messages = async (
  programs: Record<string, string>,
  files?: Record<string, string>,
): Promise<string[]> => (await checkRivals(host(programs, files), 'cw0')).map(({ message }) => message);

test('a host with our own rules and routes alone has no rivals, nor has one that shows nothing', async () => {
  const rules = [
    { priority: 0, table: '255', protocol: '2' },
    { priority: 7100, table: TABLE, protocol: '203' },
    { priority: 32766, table: '254', protocol: '2' },
  ];
  const own = { 'ip -N -j -4 rule': JSON.stringify(rules), [`ip -N -j route show table ${TABLE}`]: '[]' };
  expect(await messages(own)).toEqual([]);
  expect(await messages({})).toEqual([]);
});

test('rules before ours are named', async () => {
  const rules = JSON.stringify([{ priority: 5210, table: '52' }]);
  expect(await messages({ 'ip -N -j -6 rule': rules })).toEqual([
    "IPv6 rule 5210 (table 52) decides before or among the overlay's (7100 to 7103)",
  ]);
});

test("others' routes in our tables are named", async () => {
  const routes = JSON.stringify([
    { dst: '10.77.0.0/16', dev: 'cw0', protocol: '203' },
    { dst: '10.9.0.0/16', dev: 'eth0', protocol: '4' },
  ]);
  expect(await messages({ [`ip -N -j route show table ${TABLE}`]: routes })).toEqual([
    `a route to 10.9.0.0/16 by eth0 lies in table ${TABLE}, which is the overlay's`,
  ]);
});

test('chains that route anew are named, ours apart', async () => {
  const chain = (table: string, type: string) => ({
    chain: { family: 'inet', table, name: 'out', type, hook: 'output' },
  });
  const nftables = [chain('causeway-cw0', 'route'), chain('vpn', 'route'), chain('firewall', 'filter')];
  expect(await messages({ 'nft -j list chains': JSON.stringify({ nftables }) })).toEqual([
    "nftables chain inet vpn out routes this host's packets anew, as the overlay does in mode full",
  ]);
});

test('a network manager that removes rules is named until it is told not to', async () => {
  const active = { 'systemctl is-active systemd-networkd': 'active' };
  expect(await messages(active)).toEqual([expect.stringContaining('systemd-networkd removes rules')]);
  const conf = '[Network]\nManageForeignRoutingPolicyRules=no\n';
  expect(await messages(active, { '/etc/systemd/networkd.conf': conf })).toEqual([]);
});
