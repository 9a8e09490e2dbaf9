import { describe, expect, it } from 'vitest';
import {
  type Destinations,
  HostInterception,
  type HostTools,
  removeLeftovers,
} from '../../../src/tun/host.js';
import { ipRunner, runBatch, type IpResult, type RunIp } from '../../../src/tun/ip.js';
import { routingTable, type HostInput } from '../../../src/tun/plan.js';

const TABLE = routingTable('cw0');

const input: HostInput = {
  tun: { name: 'cw0', mtu: 1380 },
  addresses: ['10.77.0.1', 'fd77::1'],
  prefixes: ['10.77.0.0/16', 'fd77::/48'],
  routed: [],
  mark: 7,
};

/** An `ip` that answers by rules: the first whose pattern is found in arguments and input. Records what it was given. */
function fakeIp(...answers: [RegExp, Partial<IpResult>][]): RunIp & { calls: string[] } {
  const calls: string[] = [];
  const run: RunIp = (args, stdin = '') => {
    const call = `${args.join(' ')} < ${stdin}`;
    calls.push(call);
    const answer = answers.find(([pattern]) => pattern.test(call))?.[1];
    return Promise.resolve({
      status: answer?.stderr === undefined ? 0 : 1,
      stdout: '',
      stderr: '',
      ...answer,
    });
  };
  return Object.assign(run, { calls });
}

/** Without nftables and settings, which a host may do without. */
function tools(ip: RunIp): HostTools {
  const nft: RunIp = () => Promise.resolve({ status: 1, stdout: '', stderr: 'No such file or directory' });
  return { ip, nft, sysctls: { set: () => false, restore: () => [] } };
}

const to = (prefixes: string[]): Destinations => ({ prefixes, real: [], exit: false });

const absent: [RegExp, Partial<IpResult>] = [/link show/, { stderr: 'Device "cw0" does not exist.' }];
const rule = (fields: object) => ({
  priority: 7100,
  src: 'all',
  table: String(TABLE),
  protocol: '203',
  ...fields,
});

describe('errors of ip', () => {
  it.each([
    [
      'RTNETLINK answers: Operation not permitted\nCommand failed -:2\n',
      'not-permitted',
      'ip link set dev cw0 up: Operation not permitted; run as root or with CAP_NET_ADMIN',
    ],
    [
      'Cannot find device "cw0"\nCommand failed -:1\n',
      'no-device',
      'ip link set dev cw0 mtu 1380: Cannot find device "cw0"',
    ],
    [
      'RTNETLINK answers: File exists\nCommand failed -:1\n',
      'exists',
      'ip link set dev cw0 mtu 1380: File exists',
    ],
    [
      'Error: ipv6: IPv6 is disabled on this device.\nCommand failed -:2\n',
      'no-family',
      'ip link set dev cw0 up: ipv6: IPv6 is disabled on this device.',
    ],
    [
      'Error: argument "1380" is wrong: Invalid "mtu" value\n',
      'bad-command',
      'ip link set dev cw0 mtu 1380: argument "1380" is wrong: Invalid "mtu" value',
    ],
    [
      'RTNETLINK answers: Invalid argument\nCommand failed -:2\n',
      'failed',
      'ip link set dev cw0 up: Invalid argument',
    ],
    ['', 'failed', 'ip link set dev cw0 mtu 1380, link set dev cw0 up: failed without a word'],
  ])('name the line: %j', async (stderr, code, message) => {
    const run = fakeIp([/batch/, { status: 1, stderr }]);
    const lines = ['link set dev cw0 mtu 1380', 'link set dev cw0 up'];
    await expect(runBatch(run, undefined, lines)).rejects.toMatchObject({ name: 'HostError', code, message });
  });

  it('say what to install where there is no ip', async () => {
    const missing = ipRunner({ program: '/nonexistent/ip' })(['link']);
    await expect(missing).rejects.toMatchObject({
      code: 'no-iproute2',
      message: 'ip cannot be run: install iproute2',
    });
  });

  it('come with the line that the real ip does not understand', async () => {
    const batch = runBatch(ipRunner(), 4, ['route add bogus']);
    await expect(batch).rejects.toMatchObject({
      code: 'bad-command',
      message: expect.stringContaining('ip route add bogus:') as string,
    });
  });
});

describe('interception', () => {
  it('removes what it brought where a line fails, and passes the error on', async () => {
    const run = fakeIp(
      [/-4 -batch/, { stderr: 'RTNETLINK answers: File exists\nCommand failed -:3\n' }],
      [/-4 -N -j rule/, { stdout: JSON.stringify([rule({})]) }],
    );
    await expect(new HostInterception('cw0', tools(run)).apply(input)).rejects.toMatchObject({
      code: 'exists',
    });
    expect(run.calls).toContain(`-4 -force -batch - < rule del pref 7100 table ${TABLE} protocol 203\n`);
  });

  it('works without IPv6 where the host has none, and says so', async () => {
    const stderr = 'Error: ipv6: IPv6 is disabled on this device.\nCommand failed -:1\n';
    const interception = new HostInterception('cw0', tools(fakeIp([/-6 -batch/, { stderr }])));
    const { families, warnings } = await interception.apply(input);
    expect(families).toEqual([4]);
    expect(warnings).toEqual([expect.stringContaining('IPv6 is switched off on this host')]);
  });

  it('does not work without IPv4', async () => {
    const stderr = 'RTNETLINK answers: Address family not supported by protocol\nCommand failed -:1\n';
    const interception = new HostInterception('cw0', tools(fakeIp([/-4 -batch/, { stderr }])));
    await expect(interception.apply(input)).rejects.toMatchObject({ code: 'no-family' });
  });

  it('takes a refused tuning for a warning, but no missing permission', async () => {
    const refusal = (stderr: string) =>
      fakeIp([/addrgenmode/, { stderr: `RTNETLINK answers: ${stderr}\nCommand failed -:1\n` }]);
    const { warnings } = await new HostInterception('cw0', tools(refusal('Operation not supported'))).apply(
      input,
    );
    expect(warnings).toEqual(['ip link set dev cw0 addrgenmode none: Operation not supported']);
    const denied = new HostInterception('cw0', tools(refusal('Operation not permitted')));
    await expect(denied.apply(input)).rejects.toMatchObject({ code: 'not-permitted' });
  });

  it('refuses a name that is taken before it touches anything', async () => {
    const run = fakeIp();
    await expect(new HostInterception('cw0', tools(run)).prepare()).rejects.toMatchObject({
      code: 'name-taken',
      message: 'an interface named cw0 exists already: stop its owner, or choose another tun.name',
    });
    expect(run.calls).toHaveLength(1);
  });

  it('runs calls in the order in which they were made', async () => {
    const run = fakeIp(absent);
    const interception = new HostInterception('cw0', tools(run));
    await Promise.all([
      interception.apply(input),
      interception.setRouted(to(['10.20.0.0/16'])),
      interception.setRouted(to([])),
      interception.revert(),
    ]);
    const steps = run.calls
      .filter((call) => /rule add|replace|route del|batch - < rule show/.test(call))
      .map((call) => call.slice(0, 29));
    expect(steps).toEqual(
      [
        '-4 -batch - < address add 10.77.0.1',
        '-6 -batch - < address add fd77::1/128',
        '-4 -batch - < route replace 10.20.',
        '-4 -force -batch - < route del',
        '-4 -N -j -batch - < rule show',
        '-6 -N -j -batch - < rule show',
      ].map((step) => step.slice(0, 29)),
    );
  });

  it('changes routes only in the families that the host has', async () => {
    const stderr = 'Error: ipv6: IPv6 is disabled on this device.\nCommand failed -:1\n';
    const run = fakeIp([/-6 -batch/, { stderr }]);
    const interception = new HostInterception('cw0', tools(run));
    await interception.apply(input);
    await interception.setRouted(to(['fd20::/64', '10.20.0.0/16']));
    expect(run.calls.at(-1)).toMatch(/^-4 -batch - < route replace 10\.20\.0\.0\/16 /);
  });

  it('does not take a route that is gone already for a failure', async () => {
    const run = fakeIp([/-force/, { stderr: 'RTNETLINK answers: No such process\nCommand failed -:1\n' }]);
    const interception = new HostInterception('cw0', tools(run));
    await interception.apply({ ...input, routed: ['10.20.0.0/16'] });
    await expect(interception.setRouted(to([]))).resolves.toEqual([]);
  });
});

describe('rules about what goes to many hosts', () => {
  const nft = { tun: 'cw0', capture: { mark: 2, resent: 3 } };
  const many = { ip: ['ip dscp { 1 } drop'], ip6: [] };
  const noTable: [RegExp, Partial<IpResult>] = [/list table/, { stderr: 'Error: No such file or directory' }];
  const up: [RegExp, Partial<IpResult>] = [/link show/, { stdout: '[{"flags": ["UP"]}]' }];
  /** With the table in force, and an `nft` that answers so. */
  const withNft = async (...answers: [RegExp, Partial<IpResult>][]) => {
    const run = fakeIp(...answers);
    const interception = new HostInterception('cw0', { ...tools(fakeIp(up)), nft: run });
    await interception.apply(input, nft);
    run.calls.length = 0;
    return { interception, run };
  };

  it('change in place', async () => {
    const { interception, run } = await withNft();
    await interception.setMany(many);
    expect(run.calls.at(-1)).toContain('flush chain inet causeway-cw0 many_ip\n');
    expect(run.calls.at(-1)).toContain('ip dscp { 1 } drop');
  });

  it('come with the table where something took it away', async () => {
    const { interception, run } = await withNft(noTable);
    await interception.setMany(many);
    expect(run.calls.filter((call) => call.startsWith('-f'))).toEqual([
      expect.stringMatching(/delete table inet causeway-cw0[^]*ip dscp \{ 1 \} drop/),
    ]);
  });

  it('stay as they were where nft refuses, also when the table is made again', async () => {
    const { interception, run } = await withNft(noTable, [/dscp \{ 1 \} drop/, { stderr: 'Error: no' }]);
    await expect(interception.setMany(many)).rejects.toMatchObject({ code: 'failed' });
    expect(await interception.mend()).toContain('nftables table inet causeway-cw0');
    expect(run.calls.at(-1)).not.toContain('dscp { 1 }');
  });

  it('are nothing to a host that captures nothing, or no longer', async () => {
    const { interception, run } = await withNft();
    await interception.revert();
    run.calls.length = 0;
    await interception.setMany(many);
    const split = new HostInterception('cw0', { ...tools(fakeIp()), nft: run });
    await split.apply(input);
    await split.setMany(many);
    expect(await split.droppedToMany()).toBe(0);
    expect(run.calls).toEqual([]);
  });

  it('count what they drop', async () => {
    const stdout =
      '{"nftables": [{"metainfo": {}}, {"counter": {"name": "many_dropped", "packets": 7, "bytes": 9}}]}';
    const { interception } = await withNft([/list counter inet causeway-cw0 many_dropped/, { stdout }]);
    expect(await interception.droppedToMany()).toBe(7);
  });
});

describe('removing leftovers', () => {
  it('removes the rules and routes that have both our table and our protocol', async () => {
    const rules = [
      rule({}),
      rule({ priority: 7101 }),
      rule({ priority: 5, protocol: '4' }),
      rule({ priority: 6, table: '254' }),
    ];
    const routes = [
      { dst: '10.77.0.0/16', dev: 'cw0', table: String(TABLE) },
      { type: 'unreachable', dst: '10.77.0.0/16', table: String(TABLE) },
      { dst: '10.9.0.0/16', dev: 'eth0', table: '254' },
    ];
    const listing = `rule show\nroute show table all proto 203\n`;
    const run = fakeIp([
      new RegExp(`-4 -N -j -batch - < ${listing}`),
      { stdout: `${JSON.stringify(rules)}\n${JSON.stringify(routes)}\n` },
    ]);
    expect(await removeLeftovers('cw0', tools(run))).toEqual([
      `IPv4 rule 7100 to table ${TABLE}`,
      `IPv4 rule 7101 to table ${TABLE}`,
      `IPv4 route 10.77.0.0/16 in table ${TABLE}`,
      `IPv4 route unreachable 10.77.0.0/16 in table ${TABLE}`,
    ]);
    expect(run.calls.filter((call) => /rule del|flush/.test(call))).toEqual([
      `-4 -force -batch - < rule del pref 7100 table ${TABLE} protocol 203\nrule del pref 7101 table ${TABLE} protocol 203\n` +
        `route flush table ${TABLE} proto 203\n`,
    ]);
  });

  it('changes nothing where there is nothing of ours', async () => {
    const run = fakeIp([
      /route show/,
      { status: 2, stdout: '[', stderr: 'Error: ipv4: FIB table does not exist.\nDump terminated\n' },
    ]);
    expect(await removeLeftovers('cw0', tools(run))).toEqual([]);
    expect(run.calls.some((call) => call.includes('-force'))).toBe(false);
  });

  it('asks one by one where an older ip says nothing of what is empty', async () => {
    const run = fakeIp(
      [/-4 -N -j -batch/, { stdout: `${JSON.stringify([rule({})])}\n` }],
      [/-4 -N -j rule/, { stdout: JSON.stringify([rule({})]) }],
    );
    expect(await removeLeftovers('cw0', tools(run))).toEqual([`IPv4 rule 7100 to table ${TABLE}`]);
  });

  it('removes the tables of this device that nftables have, in one go, and no other', async () => {
    const stdout = 'table inet causeway-cw0-senders\ntable inet causeway-cw01\ntable ip causeway-cw0\n';
    const nft = fakeIp([/list tables/, { stdout }]);
    expect(await removeLeftovers('cw0', { ...tools(fakeIp()), nft })).toEqual([
      'nftables table inet causeway-cw0-senders',
    ]);
    expect(nft.calls).toEqual([
      'list tables < ',
      '-f - < table inet causeway-cw0-senders\ndelete table inet causeway-cw0-senders\n',
    ]);
  });

  it('passes on why it cannot look', async () => {
    const run = fakeIp([/rule show/, { stderr: 'Cannot send dump request: Operation not permitted' }]);
    await expect(removeLeftovers('cw0', tools(run))).rejects.toMatchObject({ code: 'not-permitted' });
  });

  it('refuses a name that is none', async () => {
    await expect(removeLeftovers('a b', tools(fakeIp()))).rejects.toMatchObject({ code: 'bad-input' });
  });
});
