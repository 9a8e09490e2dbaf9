import { describe, expect, it } from 'vitest';
import {
  ROUTE_PROTOCOL,
  TABLE_BASE,
  planHost,
  planRouteChange,
  routingTable,
  type HostInput,
} from '../../../src/tun/plan.js';

const TABLE = routingTable('cw0');

const input: HostInput = {
  tun: { name: 'cw0', mtu: 1380, txQueueLength: 1000, gsoMaxSize: 65_536, gsoMaxSegments: 64 },
  addresses: ['10.77.0.1', 'fd77::1', '10.77.0.9'],
  prefixes: ['10.77.0.0/16', 'fd77::/48'],
  routed: ['10.20.0.0/16'],
  mark: 0xca75,
};

describe('the plan for a host', () => {
  it('sets the device up before its addresses, and the rule last', () => {
    expect(planHost(input)).toEqual({
      table: TABLE,
      link: ['link set dev cw0 mtu 1380'],
      tuning: [
        'link set dev cw0 addrgenmode none',
        'link set dev cw0 txqueuelen 1000',
        'link set dev cw0 gso_max_size 65536',
        'link set dev cw0 gso_max_segs 64',
      ],
      up: ['link set dev cw0 up'],
      families: {
        4: [
          'address add 10.77.0.1/32 dev cw0 noprefixroute',
          'address add 10.77.0.9/32 dev cw0 noprefixroute',
          `route add unreachable 10.77.0.0/16 metric 4294967295 table ${TABLE} proto 203`,
          `route add 10.77.0.0/16 dev cw0 src 10.77.0.1 table ${TABLE} proto 203`,
          `route add 10.20.0.0/16 dev cw0 src 10.77.0.1 table ${TABLE} proto 203`,
          `rule add pref 7100 not fwmark 51829/4294967293 lookup ${TABLE} protocol 203`,
        ],
        6: [
          'address add fd77::1/128 dev cw0 noprefixroute nodad',
          `route add unreachable fd77::/48 metric 4294967295 table ${TABLE} proto 203`,
          `route add fd77::/48 dev cw0 src fd77::1 table ${TABLE} proto 203`,
          `rule add pref 7100 not fwmark 51829/4294967293 lookup ${TABLE} protocol 203`,
        ],
      },
    });
  });

  it('asks nothing of a family that the overlay doesn’t use', () => {
    const plan = planHost({ ...input, addresses: ['10.77.0.1'], prefixes: ['10.77.0.0/16'] });
    expect(plan.families[6]).toEqual([]);
  });

  it('routes a family in which this node has no address, so that nothing of it leaks', () => {
    const plan = planHost({ ...input, addresses: ['10.77.0.1'] });
    expect(plan.families[6]).toEqual([
      `route add unreachable fd77::/48 metric 4294967295 table ${TABLE} proto 203`,
      `route add fd77::/48 dev cw0 table ${TABLE} proto 203`,
      `rule add pref 7100 not fwmark 51829/4294967293 lookup ${TABLE} protocol 203`,
    ]);
  });

  it('routes a prefix once, though the overlay and another node both name it', () => {
    const plan = planHost({ ...input, routed: ['10.77.0.0/16', '10.20.0.0/16', '10.20.0.0/16'] });
    expect(plan.families[4].filter((line) => line.startsWith('route add 10.'))).toHaveLength(2);
  });

  it('sends everything through the table where the agent marks nothing, and tunes nothing unasked', () => {
    const plan = planHost({ ...input, tun: { name: 'cw0', mtu: 1380 }, mark: 0 });
    expect(plan.families[4].at(-1)).toBe(
      `rule add pref 7100 from all lookup ${TABLE} protocol ${ROUTE_PROTOCOL}`,
    );
    expect(plan.tuning).toEqual(['link set dev cw0 addrgenmode none']);
  });

  it('gives each device a table of its own, always the same, in the documented range', () => {
    const tables = Array.from({ length: 200 }, (_, k) => routingTable(`cw${k}`));
    expect(new Set(tables).size).toBe(200);
    expect(tables.every((table) => table >= TABLE_BASE && table < TABLE_BASE + 2 ** 24)).toBe(true);
    expect(TABLE_BASE).toBe(0x43000000);
    expect(routingTable('cw0')).toBe(TABLE);
  });

  it.each<[string, Partial<HostInput>, string]>([
    [
      'a name with a newline',
      { tun: { name: 'cw0\nlink del eth0', mtu: 1380 } },
      'is no usable interface name',
    ],
    [
      'a name that reads as an option',
      { tun: { name: '-force', mtu: 1380 } },
      '"-force" is no usable interface name',
    ],
    ['a name of 16 bytes', { tun: { name: 'sixteen-bytes-xx', mtu: 1380 } }, 'is no usable interface name'],
    [
      'an address with more to it',
      { addresses: ['10.77.0.1 dev eth0'] },
      '"10.77.0.1 dev eth0" is no overlay address',
    ],
    ['a prefix with host bits', { prefixes: ['10.77.0.1/16'] }, 'did you mean 10.77.0.0/16'],
    ['a routed prefix that is none', { routed: ['everything'] }, '"everything" is no prefix'],
    ['a fractional MTU', { tun: { name: 'cw0', mtu: 1380.5 } }, '1380.5 is no number'],
    ['a negative mark', { mark: -1 }, '-1 is no number'],
  ])('refuses %s, and names it', (_what, wrong, message) => {
    expect(() => planHost({ ...input, ...wrong })).toThrow(
      expect.objectContaining({
        name: 'HostError',
        code: 'bad-input',
        message: expect.stringContaining(message) as string,
      }),
    );
  });
});

describe('a change of the routed subnets', () => {
  it('adds what is new and removes what is gone, and touches nothing else', () => {
    expect(planRouteChange(input, { routed: ['10.21.0.0/16', 'fd20::/64'] })).toEqual({
      add: {
        4: [`route replace 10.21.0.0/16 dev cw0 src 10.77.0.1 table ${TABLE} proto 203`],
        6: [`route replace fd20::/64 dev cw0 src fd77::1 table ${TABLE} proto 203`],
      },
      remove: { 4: [`route del 10.20.0.0/16 dev cw0 src 10.77.0.1 table ${TABLE} proto 203`], 6: [] },
    });
  });

  it('never removes an overlay prefix that was also a routed one', () => {
    const change = planRouteChange({ ...input, routed: ['10.77.0.0/16'] }, { routed: [] });
    expect(change).toEqual({ add: { 4: [], 6: [] }, remove: { 4: [], 6: [] } });
  });
});

describe('the plan beyond the overlay', () => {
  const base: HostInput = { ...input, tun: { name: 'cw0', mtu: 1380 }, routed: [], refuse: true };
  const tables = { capture: routingTable('cw0', 'capture'), exit: routingTable('cw0', 'exit') };

  it("leads participants' real addresses into the device, and nowhere else where there is no device", () => {
    const participants = [{ address: '192.0.2.2', source: '192.0.2.1' }, { address: '192.0.2.6' }];
    const { add } = planRouteChange({ ...base, participants: [] }, { participants });
    expect(add[4]).toEqual([
      `route replace 192.0.2.2/32 dev cw0 src 192.0.2.1 table ${TABLE} proto 203`,
      `route replace unreachable 192.0.2.2/32 metric 4294967295 table ${TABLE} proto 203`,
      `route replace unreachable 192.0.2.6/32 metric 4294967295 table ${TABLE} proto 203`,
    ]);
    const around = planRouteChange({ ...base, refuse: false, participants: [] }, { participants });
    expect(around.add[4]).toHaveLength(1);
    expect(around.add[6]).toEqual([]);
  });

  it('captures with a device as wide as others are, whose overlay routes stay narrow', () => {
    const plan = planHost({ ...base, tun: { name: 'cw0', mtu: 1380, deviceMtu: 1500 }, capture: 9 });
    expect(plan.link).toEqual(['link set dev cw0 mtu 1500']);
    expect(plan.families[4]).toContain(`route add 0.0.0.0/0 dev cw0 table ${tables.capture} proto 203`);
    expect(plan.families[4]).toContain(
      `route add 10.77.0.0/16 dev cw0 src 10.77.0.1 mtu 1380 table ${TABLE} proto 203`,
    );
    expect(plan.families[6].at(-1)).toBe(`rule add pref 7101 fwmark 9 lookup ${tables.capture} protocol 203`);
  });

  it('gives an exit what has no nearer route, and nobody where it may not leave otherwise', () => {
    const plan = planHost({ ...base, exit: true });
    expect(plan.families[4].slice(-2)).toEqual([
      'rule add pref 7102 from all lookup main suppress_prefixlength 0 protocol 203',
      `rule add pref 7103 not fwmark 51829/4294967293 lookup ${tables.exit} protocol 203`,
    ]);
    const routes = plan.families[4].filter(
      (line) => line.includes(String(tables.exit)) && line.startsWith('route'),
    );
    expect(routes).toEqual([
      `route add throw 224.0.0.0/4 table ${tables.exit} proto 203`,
      `route add throw 255.255.255.255/32 table ${tables.exit} proto 203`,
      `route add 0.0.0.0/0 dev cw0 src 10.77.0.1 table ${tables.exit} proto 203`,
      `route add unreachable 0.0.0.0/0 metric 4294967295 table ${tables.exit} proto 203`,
    ]);
  });

  it('refuses a participant that is none', () => {
    expect(() => planHost({ ...base, participants: [{ address: 'b', source: '192.0.2.1' }] })).toThrow(
      'participant',
    );
  });
});
