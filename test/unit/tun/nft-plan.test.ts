import { describe, expect, it } from 'vitest';
import { nftTable, planForgetDirect, planManyAnew, planNft } from '../../../src/tun/nft-plan.js';

const capture = { mark: 2, resent: 3 };

describe('the plan for nftables', () => {
  it('is empty where nothing is asked of them', () => {
    expect(planNft({ tun: 'cw0' })).toBeNull();
  });

  it('makes the table anew in one transaction', () => {
    const text = planNft({ tun: 'cw0', capture })!;
    expect(text.split('\n').slice(0, 3)).toEqual([
      'table inet causeway-cw0',
      'delete table inet causeway-cw0',
      'table inet causeway-cw0 {',
    ]);
  });

  it('asks the cheapest first: marks, interfaces, flows that are known', () => {
    const text = planNft({ tun: 'cw0', capture })!;
    const order = [
      'meta mark 3 goto',
      'meta mark != 0',
      'oifname',
      '@direct_ip_tcp',
      'goto capture',
      'fib daddr',
    ];
    const places = order.map((part) => text.indexOf(part));
    expect(places).toEqual([...places].sort((a, b) => a - b));
    expect(places).not.toContain(-1);
  });

  it('never captures what belongs to the link alone', () => {
    const text = planNft({ tun: 'cw0', capture })!;
    const chain = /chain capture \{([^]*?)\n {2}\}/.exec(text)![1];
    for (const part of ['broadcast', '169.254.0.0/16', 'fe80::/10', '67, 68, 546, 547'])
      expect(chain).toContain(part);
    expect(chain.trim().endsWith('meta mark set 2')).toBe(true);
  });

  it('leaves what goes to many hosts to the rules about it, which are there from the first moment', () => {
    const many = { ip: ['ip dscp { 1 } drop'], ip6: ['ip6 dscp { 1 } drop'] };
    const text = planNft({ tun: 'cw0', capture: { ...capture, many } })!;
    for (const [to, chain] of [
      ['fib daddr type broadcast', 'many_ip'],
      ['ip daddr 224.0.0.0/4', 'many_ip'],
      ['ip6 daddr ff00::/8', 'many_ip6'],
    ])
      expect(text).toContain(`${to} goto ${chain}\n`);
    expect(text).toContain('ip dscp { 1 } drop');
    expect(text).toContain('ip6 dscp { 1 } drop');
  });

  it('changes those rules without touching anything else', () => {
    const text = planManyAnew('cw0', { ip: ['ip dscp { 1 } drop'], ip6: [] });
    expect(text.split('\n').slice(0, 3)).toEqual([
      'flush chain inet causeway-cw0 many_ip',
      'flush chain inet causeway-cw0 many_ip6',
      'table inet causeway-cw0 {',
    ]);
    expect([...text.matchAll(/(?<!flush )chain (\w+)/g)].map(([, name]) => name)).toEqual([
      'many_ip',
      'many_ip6',
    ]);
  });

  it('forgets the flows of every set that it makes', () => {
    const made = [...planNft({ tun: 'cw0', capture })!.matchAll(/set (direct_\w+) \{/g)].map(
      ([, name]) => name,
    );
    expect(made).toHaveLength(6);
    expect(planForgetDirect('cw0')).toBe(
      made.map((name) => `flush set inet causeway-cw0 ${name}\n`).join(''),
    );
  });

  it('rewrites the source of what is forwarded only where that is asked for', () => {
    expect(planNft({ tun: 'cw0', forward: { masquerade: false } })).not.toContain('masquerade');
    expect(planNft({ tun: 'cw0', forward: { masquerade: true } })).toContain(
      'iifname "cw0" oifname != "cw0" masquerade',
    );
  });

  it('gives overlay addresses another source where they leave by the host’s own routes', () => {
    const text = planNft({ tun: 'cw0', capture, unroutable: ['10.77.0.1', 'fd77::1'] })!;
    expect(text).toContain('meta mark 3 ip saddr { 10.77.0.1 } masquerade');
    expect(text).toContain('meta mark 3 ip6 saddr { fd77::1 } masquerade');
    expect(planNft({ tun: 'cw0', capture, unroutable: ['10.77.0.1'] })).not.toContain('ip6 saddr { ');
  });

  it('refuses a name that could be anything but one word', () => {
    expect(() => nftTable('cw0 }')).toThrow('no usable interface name');
  });
});
