import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { readPcapng } from '../../../src/capture/pcapng.js';
import { main } from '../../../src/cli/main.js';
import { ControlServer } from '../../../src/control/index.js';
import { FakeAgent, FLOWS, STATUS } from '../../support/control/agent.js';
import { lifetime, TestAuthority } from '../../support/pki/authority.js';

let directory: string;
let socket: string;
let server: ControlServer;
const agent = new FakeAgent();

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'cw-cli-'));
  socket = join(directory, 'a.sock');
  server = new ControlServer(agent, socket);
  await server.listen();
});
afterAll(async () => {
  await server.close();
  rmSync(directory, { recursive: true });
});

let out: string[];
let err: string[];
beforeEach(() => {
  out = [];
  err = [];
});

const run = (...argv: string[]): Promise<number> =>
  main(argv, { out: (text) => void out.push(text), err: (text) => void err.push(text) });

const shown = (): string => out.join('\n');

describe('capture', () => {
  test('writes what the agent gives to a file of its own user, and says how much that was', async () => {
    const file = join(directory, 'all.pcapng');
    const flow = ['--decrypted', '--flow', 'tcp * 10.77.0.3:22'];
    expect(await run('capture', '-s', socket, '-w', file, ...flow)).toBe(0);
    expect(out).toEqual(['3 packets captured, 2 more came too fast']);
    expect(agent.captured).toEqual({
      decrypted: true,
      snap: 65_535,
      flow: { protocol: 'tcp', source: '*', destination: '10.77.0.3:22' },
    });
    expect(readPcapng(readFileSync(file)).packets).toHaveLength(3);
    expect(statSync(file).mode & 0o777).toBe(0o600);
  });

  test('ends after as many packets as were asked for', async () => {
    const file = join(directory, 'two.pcapng');
    expect(await run('capture', '-s', socket, '-w', file, '-n', '2', '--json')).toBe(0);
    expect(JSON.parse(shown())).toEqual({ file, packets: 2, missed: 0 });
    expect(readPcapng(readFileSync(file)).packets).toHaveLength(2);
  });

  test('leaves no file where the agent refuses, and names what it was', async () => {
    const file = join(directory, 'none.pcapng');
    expect(await run('capture', '-s', socket, '-w', file, '--node', 'nobody')).toBe(1);
    expect([err, existsSync(file)]).toEqual([['causeway: no node of the overlay is called nobody'], false]);
    const place = join(directory, 'absent', 'x');
    expect(await run('capture', '-s', socket, '-w', place)).toBe(1);
    expect(err[1]).toBe(`causeway: ${place} can't be written (ENOENT)`);
  });
});

describe('usage', () => {
  test('help lists the commands and succeeds', async () => {
    expect(await run('--help')).toBe(0);
    for (const command of [
      'up',
      'down',
      'check',
      'reload',
      'status',
      'peers',
      'links',
      'routes',
      'flows',
      'flow',
      'ping',
      'capture',
      'trace',
      'explain',
      'doctor',
      'ca',
    ]) {
      expect(shown()).toMatch(new RegExp(`^  ${command} `, 'm'));
    }
    expect(shown()).toContain('0 done, 1 failed, 2 wrong usage or configuration, 3 no agent there');
  });

  test("the version is the package's", async () => {
    expect(await run('--version')).toBe(0);
    expect(out).toEqual(['0.1.0']);
  });

  test.each([
    [['statsu'], 'Did you mean status?'],
    [['status', '--jsn'], 'Did you mean --json?'],
    [['status', 'surplus'], 'too many arguments'],
    [['ping'], "missing required argument 'target'"],
    [['ping', 'c', '-n', 'x'], 'Give a whole number.'],
    [['trace'], "missing required argument 'target'"],
    [['trace', 'c', '-c', '0'], 'Give a whole number from 1 on.'],
    [['ping', 'c', '-i', '0'], 'Give seconds, 0.01 to 60.'],
    [['flows', '--incoming', '--outgoing'], "option '--incoming' cannot be used with option '--outgoing'"],
    [
      ['flows', '--incoming', '--to', '::/0'],
      "option '--incoming' cannot be used with option '--to <prefix>'",
    ],
    [['capture'], "required option '-w, --write <file>' not specified"],
    [['capture', '-w', 'x', '--flow', 'tcp *'], 'Give protocol, source and destination'],
    [['capture', '-w', 'x', '-n', '0'], 'Give a whole number above 0.'],
    [['flow', 'set', 'tcp', '*'], "missing required argument 'dst'"],
    [
      ['flow', 'set', 'tcp', '*', '*', 'fast'],
      'Allowed choices are best-effort, reliable, realtime, redundant.',
    ],
    [
      ['flow', 'set', 'tcp', '*', '*'],
      'name a service (best-effort, reliable, realtime, redundant) or --clear, one of them',
    ],
    [['flow', 'set', 'tcp', '*', '*', 'reliable', '--clear'], 'or --clear, one of them'],
    [['flow', 'set', 'tpc', '*', '*', 'reliable'], '"tpc" is no protocol'],
    [['flow', 'set', 'tcp', '*', '10.0.0.1:ssh', '--clear'], '"ssh" is no port'],
    [['check'], "required option '-c, --config <file>' not specified"],
    [['up'], "required option '-c, --config <file>' not specified"],
  ])('%j is wrong usage', async (argv, message) => {
    expect(await run(...argv)).toBe(2);
    expect(err.join('\n')).toContain(message);
    expect(out).toEqual([]);
  });

  test('no command at all shows the help, as an error', async () => {
    expect(await run()).toBe(2);
    expect(err.join('\n')).toContain('Usage: causeway');
  });
});

describe('with an agent', () => {
  test.each([
    ['status', () => agent.status()],
    ['peers', () => agent.peers()],
    ['links', () => agent.links()],
    ['routes', () => agent.routes()],
  ] as const)('%s --json is what the agent said', async (command, value) => {
    expect(await run(command, '--json', '-s', socket)).toBe(0);
    expect(JSON.parse(shown())).toEqual(value());
  });

  test('status names what an operator looks for', async () => {
    expect(await run('status', '-s', socket)).toBe(0);
    for (const text of [
      /^node +a \(00000012\), ready, up 1 h 2 min$/m,
      /^addresses +10\.77\.0\.1, fd77::1$/m,
      /^tun +cw0, mtu 1380 \(vnetHeader, tso\)$/m,
      /^listen +\[::\]:7100 \(gso\)$/m,
      /^certificate +until 2027-01-01, 20 d left$/m,
      /^peers +2 configured, 1 connected$/m,
      /^relayed +5 +500 B$/m,
      /^no-route +7$/m,
      /^warning: peer c: no answer$/m,
    ]) {
      expect(shown()).toMatch(text);
    }
  });

  test('peers say why not', async () => {
    expect(await run('peers', '-s', socket)).toBe(0);
    expect(shown().split('\n')).toEqual([
      'peer  state      link        for    endpoint            rtt  why',
      'b     connected  configured  1 min  192.0.2.2:7100  20.4 ms',
      'c     failed     configured  5 s    192.0.2.3:7100        –  no answer; is the agent up there?',
      'd     relayed    formed      –      –                     –  no answer to 2 tries; the next in 1 minute',
    ]);
  });

  test('routes tell ours, the way, and no way apart', async () => {
    expect(await run('routes', '-s', socket)).toBe(0);
    expect(shown().split('\n')).toEqual([
      'prefix        owner  via           hops      cost',
      '10.77.0.1/32  a      this node        0  0.000 ms',
      '10.77.0.3/32  c      b                2   40.0 ms',
      '10.77.0.4/32  d      no way there     –         –',
      '',
      'to  service   via  hops     cost      rtt  loss  second best  hops     cost      rtt    loss  chosen because',
      'c   reliable  b       2  40.0 ms  79.0 ms   0 %  d               1  55.0 ms  60.0 ms  10.0 %  the second loses 10.0 % instead of 0.0 %',
    ]);
  });

  test('links are a line each', async () => {
    expect(await run('links', '-s', socket)).toBe(0);
    expect(shown()).toMatch(
      /^b +lossy +20 s +20\.4 ms +20\.0 ms +1500 +3\.00 % \/ 0 % +10 \/ 1000 B +11 \/ 1\.1 KiB +42 s +aes-256-gcm +192\.0\.2\.2:7100$/m,
    );
  });

  test('links show loss before and after recovery, and the queues', async () => {
    expect(await run('links', '-s', socket)).toBe(0);
    expect(shown().split('\n').slice(-6)).toEqual([
      'peer  loss out → after  loss in  lost  sent again  copies  parity  repaired  marked  dropped  expired  acks refused    queue  underlay   in flight / window         rate  mode',
      'b     1.23 % → 0.010 %      0 %    14          12       3       4         2       5        6        7             9  1.50 ms   2.50 ms  31.3 KiB / 62.5 KiB  10.0 Mbit/s  delay',
      '',
      'peer  way                 state          rtt  answered',
      'b     192.0.2.2:7100      in use     20.4 ms       2 s',
      'b     [2001:db8::2]:7100  no answer        –         –',
    ]);
  });

  test('CAUSEWAY_SOCKET stands in for -s', async () => {
    process.env['CAUSEWAY_SOCKET'] = socket;
    try {
      expect(await run('status')).toBe(0);
    } finally {
      delete process.env['CAUSEWAY_SOCKET'];
    }
  });

  test('a refused reload is one line and a failure', async () => {
    expect(await run('reload', '-s', socket)).toBe(1);
    expect(err).toEqual(['causeway: /etc/causeway/a.yaml:3:1: tun.nam: unknown key; did you mean "name"?']);
  });

  test("doctor shows the agent's findings beside the host's, and fails for an error", async () => {
    expect(await run('doctor', '--json', '-s', socket)).toBe(1);
    const findings = JSON.parse(shown()) as { subject: string }[];
    expect(findings).toContainEqual({
      level: 'error',
      subject: 'peer c',
      message: 'no answer',
      remedy: 'start it',
    });
    expect(findings.map(({ subject }) => subject)).toContain('kernel');
  });
});

describe('flows', () => {
  test('are shown with service, reason, way and recovery', async () => {
    expect(await run('flows', '-s', socket)).toBe(0);
    expect(shown().split('\n')).toEqual([
      'from here        to            proto  node  way            service   by             idle  packets     bytes        rate  sent again  copies',
      '10.77.0.1:40000  10.77.0.3:22  tcp    c     via b, 2 hops  reliable  default         0 s      100  12.1 KiB  1.0 Mbit/s           3       4',
      'fd77::1          fd77::2       icmp   b     direct         dropped   rules[2]  1 min 1 s        1      84 B     0 bit/s           0       0',
      '',
      'to here  from  proto  node  service   idle  delivered  put in order  gaps skipped  duplicates  held',
      '?        ?     ?      c     realtime   0 s         50             5             1           2     0',
    ]);
  });

  test('--json is what the agent said', async () => {
    expect(await run('flows', '--json', '-s', socket)).toBe(0);
    expect(JSON.parse(shown())).toEqual(FLOWS);
  });

  test.each([
    [[], { direction: 'both' }],
    [['--outgoing'], { direction: 'out' }],
    [['--incoming'], { direction: 'in' }],
    [['--to', '10.77.0.0/16'], { direction: 'out', to: '10.77.0.0/16' }],
  ])('%j asks for no more than that', async (options, request) => {
    expect(await run('flows', ...options, '-s', socket)).toBe(0);
    expect(agent.asked).toEqual(request);
  });

  test('set tells how many flows it set', async () => {
    expect(await run('flow', 'set', 'tcp', '*', '[fd77::3]:22', 'realtime', '-s', socket)).toBe(0);
    expect(out).toEqual(['2 flows set to realtime']);
    const which = { protocol: 'tcp', source: '*', destination: '[fd77::3]:22' };
    expect(agent.asked).toEqual({ ...which, service: 'realtime' });
    expect(await run('flow', 'set', '--clear', 'tcp', '*', '[fd77::3]:22', '-s', socket)).toBe(0);
    expect(out[1]).toBe('2 flows left to the rules again');
    expect(agent.asked).toEqual({ ...which, service: null });
    expect(await run('flow', 'set', '--clear', 'tcp', '*', '*', '--json', '-s', socket)).toBe(0);
    expect(JSON.parse(out[2])).toEqual({ flows: 2 });
  });

  test('set that finds no flow fails', async () => {
    expect(await run('flow', 'set', 'udp', '*', '*', 'realtime', '-s', socket)).toBe(1);
    expect(err).toEqual(['causeway: no flow that runs is such a one']);
  });
});

describe('trace', () => {
  test('shows each hop with delay and loss, and that the path changed', async () => {
    expect(await run('trace', 'c', '-c', '5', '-s', socket)).toBe(0);
    expect(shown().split('\n')).toEqual([
      'c, through the overlay, 5 probes for each hop:',
      'hop  node  lost    least   median     most',
      '  1  b     40 %  1.00 ms  3.00 ms  5.00 ms',
      '  2  c     40 %  1.00 ms  3.00 ms  5.00 ms',
      'the path changed: d → c',
    ]);
  });

  test('as JSON is one object', async () => {
    expect(await run('trace', 'c', '-c', '1', '--json', '-s', socket)).toBe(0);
    expect(JSON.parse(shown())).toMatchObject({
      target: 'c',
      hops: [
        { hop: 1, nodes: ['b'], silent: null, sent: 1, received: 1 },
        { hop: 2, nodes: ['c'] },
      ],
      paths: [['b', 'c']],
    });
  });

  test('fails where the target does not answer, and shows what does', async () => {
    expect(await run('trace', 'mute', '-c', '1', '-s', socket)).toBe(1);
    expect(shown()).toContain('  2  (mute)  100 %');
    expect(err).toEqual(['causeway: no answer from mute']);
  });
});

describe('ping', () => {
  test('names the hops of every reply and sums up', async () => {
    expect(await run('ping', 'c', '-n', '3', '-s', socket)).toBe(0);
    expect(shown().split('\n')).toEqual([
      'c, through the overlay:',
      '1  1.00 ms  there: b → c  back: b → a',
      '2  lost: timeout',
      '3  3.00 ms  there: b → c  back: b → a',
      'c: 3 sent, 2 answered, 33.3 % lost; least 1.00 ms, median 2.00 ms, most 3.00 ms',
    ]);
  });

  test('as JSON is an event a line, the sum last', async () => {
    expect(await run('ping', 'c', '-n', '2', '--json', '-s', socket)).toBe(0);
    expect(out.map((line) => (JSON.parse(line) as { type: string }).type)).toEqual([
      'start',
      'reply',
      'lost',
      'summary',
    ]);
    expect(JSON.parse(out[3])).toEqual({
      type: 'summary',
      sent: 2,
      received: 1,
      lossPercent: 50,
      rttMicros: { min: 1000, median: 1000, max: 1000 },
      pathChanges: 0,
    });
  });

  test('says so when the path changes, with the old one and the new one', async () => {
    expect(await run('ping', 'c', '-n', '5', '-s', socket)).toBe(0);
    expect(shown().split('\n').slice(5)).toEqual([
      '5  path there changed: d → c, was b → c',
      '5  5.00 ms  there: d → c  back: b → a',
      'c: 5 sent, 3 answered, 40 % lost; the path changed once; least 1.00 ms, median 3.00 ms, most 5.00 ms',
    ]);
    out.length = 0;
    expect(await run('ping', 'c', '-n', '5', '--json', '-s', socket)).toBe(0);
    expect(out.map((line) => JSON.parse(line) as object)).toContainEqual({
      type: 'path-changed',
      number: 5,
      there: { from: ['b', 'c'], to: ['d', 'c'] },
      back: { from: ['b', 'a'], to: ['b', 'a'] },
    });
  });

  test('without any answer it fails', async () => {
    expect(await run('ping', 'mute', '-n', '2', '-s', socket)).toBe(1);
    expect(shown()).toContain('mute: 2 sent, 0 answered, 100 % lost');
    expect(err).toEqual(['causeway: no answer from mute']);
  });

  test('of an unknown target fails in one line', async () => {
    expect(await run('ping', 'x', '-s', socket)).toBe(1);
    expect(err).toEqual(['causeway: no node of the overlay is called x']);
  });
});

describe('without an agent', () => {
  test.each(['status', 'peers', 'links', 'routes', 'flows', 'reload'])(
    '%s ends with 3 and one line',
    async (command) => {
      const nobody = join(directory, 'nobody.sock');
      expect(await run(command, '-s', nobody)).toBe(3);
      expect(err).toEqual([`causeway: no agent at ${nobody}; start one with "causeway up -c FILE"`]);
      expect(out).toEqual([]);
    },
  );

  test('down with nothing to go by ends with 3 and says what it needs', async () => {
    const nobody = join(directory, 'nobody.sock');
    expect(await run('down', '-s', nobody)).toBe(3);
    expect(err).toEqual([
      `causeway: no agent at ${nobody}; to clean up after one, name its configuration with -c FILE, or --tun NAME`,
    ]);
  });

  test('doctor looks at the host all the same', async () => {
    await run('doctor', '-s', join(directory, 'nobody.sock'));
    expect(shown()).toMatch(/^ok +kernel/m);
    expect(shown()).toMatch(/^warning +agent +no agent at /m);
  });
});

describe('check', () => {
  test('finds a good configuration good', async () => {
    const now = Date.now();
    const authority = await TestAuthority.create(now);
    const file = await authority.writeNode(directory, 'a', '10.77.0.1', lifetime(now));
    expect(await run('check', '-c', file)).toBe(0);
    expect(out).toEqual([`${file}: good; node a, 0 peers`]);
    expect(await run('check', '-c', file, '--json')).toBe(0);
    expect(JSON.parse(out[1])).toEqual({ ok: true, node: 'a', problems: [] });
  });

  test('names rules that can never match, and why', async () => {
    const now = Date.now();
    const authority = await TestAuthority.create(now);
    const file = await authority.writeNode(directory, 'r', '10.77.0.1', lifetime(now));
    const rules = ['to: 10.77.0.1', 'to: 10.77.4.0/24', 'to: 10.77.4.5, proto: udp', 'from: 192.0.2.7'];
    const inbound = ['from: 10.77.0.1', 'to: 10.77.0.2', 'from: 10.77.0.2'];
    const list = (key: string, matches: string[], action: string) =>
      `  ${key}:\n${matches.map((match) => `    - {match: {${match}}, do: ${action}}\n`).join('')}`;
    const text = `intercept:\n${list('rules', rules, 'drop')}${list('inbound', inbound, 'allow')}`;
    appendFileSync(file, text);
    expect(await run('check', '-c', file)).toBe(0);
    const problems = [
      '6:1: intercept.rules[0]: can never match: to: packets for this node itself never enter the overlay',
      '8:1: intercept.rules[2]: can never match: intercept.rules[1] in line 7, before it, takes everything that it matches',
      '9:1: intercept.rules[3]: can never match: from: packets that enter here are sent by this node, not by others',
      '11:1: intercept.inbound[0]: can never match: from: what comes in is never sent by this node itself',
      '12:1: intercept.inbound[1]: can never match: to: what comes in is for this node',
    ];
    expect(err.join('\n').split('\n')).toEqual(problems.map((problem) => `${file}:${problem}`));
    err = [];
    writeFileSync(file, `${readFileSync(file, 'utf8')}  participants: true\n`);
    expect(await run('check', '-c', file)).toBe(0);
    expect(err.join('\n')).not.toContain('intercept.rules[3]');
  });

  test('gives each problem a line and ends with 2', async () => {
    const file = join(directory, 'bad.yaml');
    writeFileSync(file, 'node: a\npki: {ca: x.crt, cert: x.crt, key: x.key}\ntnu: {}\nlog: {level: loud}\n');
    expect(await run('check', '-c', file)).toBe(2);
    expect(err).toEqual([
      `${file}:3:1: tnu: unknown key; did you mean "tun"?`,
      `${file}:4:7: log.level: use one of trace, debug, info, warn, error, fatal, silent`,
    ]);
  });

  test('names certificates that are missing', async () => {
    const file = join(directory, 'missing.yaml');
    writeFileSync(file, 'node: a\npki: {ca: x.crt, cert: x.crt, key: x.key}\n');
    expect(await run('check', '-c', file)).toBe(2);
    expect(err.join('\n').split('\n')).toEqual(
      ['ca', 'cert', 'key'].map((key) => expect.stringContaining(`pki.${key}: `)),
    );
    expect(await run('check', '-c', file, '--json')).toBe(2);
    expect(JSON.parse(shown())).toMatchObject({
      ok: false,
      problems: [{ key: 'pki.ca' }, { key: 'pki.cert' }, { key: 'pki.key' }],
    });
  });
});

describe('errors', () => {
  test('have no stack unless CAUSEWAY_DEBUG asks for it', async () => {
    const broken = { ...STATUS, counters: null };
    agent.status = () => broken as never;
    try {
      expect(await run('status', '-s', socket)).toBe(1);
      expect(err).toHaveLength(1);
      expect(err[0]).toMatch(/^causeway: [^\n]+$/);
      process.env['CAUSEWAY_DEBUG'] = '1';
      expect(await run('status', '-s', socket)).toBe(1);
      expect(err[1]).toMatch(/\n +at /);
    } finally {
      delete process.env['CAUSEWAY_DEBUG'];
      agent.status = () => STATUS;
    }
  });
});
