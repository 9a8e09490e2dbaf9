import { copyFileSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { wrapDatagram } from '../../../src/capture/outer.js';
import { encodeInterface, encodePacket, encodeSection } from '../../../src/capture/pcapng.js';
import { main } from '../../../src/cli/main.js';
import { parseAddress } from '../../../src/io/address.js';
import { lifetime, TestAuthority } from '../../support/pki/authority.js';

/**
 *     this node: a 10.77.0.1 fd77::1 ──── b 10.77.0.2 fd77::2, group db
 */
const RULES = `
    - {match: {to: "group:db", proto: tcp, port: 5432}, do: overlay, service: realtime}
    - {match: {proto: udp, port: 9}, do: drop}
    - {match: {proto: udp, port: 10}, do: reject}
    - {match: {user: daemon}, do: drop}
    - {match: {to: 198.51.100.0/24}, do: overlay}
    - {match: {to: 203.0.113.0/24}, do: direct}
    - {match: {to: [239.1.0.0/16, "ff0e::/16"]}, do: overlay}
    - {match: {to: 239.2.0.0/16, from: "node:a"}, do: direct}
    - {match: {to: [239.0.0.0/8, 255.255.255.255, "ff00::/8"]}, do: drop}
    - {match: {to: 192.0.2.200, from: "node:a"}, do: drop}`;
const INBOUND = `
    - {match: {from: "group:db", proto: tcp, port: 5432}, do: allow}
    - {match: {from: "node:b", proto: tcp, port: 22}, do: reject}
    - {match: {to: "node:a", proto: udp}, do: drop}`;

let directory: string;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'cw-explain-'));
  const authority = await TestAuthority.create(Date.now(), 'CA', '10.77.0.0/16,fd77::/48');
  await authority.writeNode(directory, 'a', '10.77.0.1,fd77::1', lifetime(Date.now()));
  await authority.writeNode(directory, 'b', '10.77.0.2,fd77::2', lifetime(Date.now()), {
    real: ['192.0.2.2'],
    groups: ['db'],
  });
  const configure = (name: string, intercept: string) =>
    writeFileSync(
      join(directory, `${name}.yaml`),
      `node: a\npki: {ca: ca.crt, cert: a.crt, key: a.key}\nintercept:\n${intercept}\n`,
    );
  for (const mode of ['split', 'full']) configure(mode, `  mode: ${mode}\n  rules:${RULES}`);
  configure('closed', '  inbound: []');
  configure('guarded', `  inbound:${INBOUND}`);
  configure('participants', '  participants: true');
});
afterAll(() => rmSync(directory, { recursive: true }));

let out: string[];
let err: string[];
beforeEach(() => {
  out = [];
  err = [];
});
const explain = (mode: string, ...argv: string[]): Promise<number> =>
  main(['explain', ...argv, '-c', join(directory, `${mode}.yaml`)], {
    out: (text) => void out.push(text),
    err: (text) => void err.push(text),
  });

describe('one flow', () => {
  test.each<[string, string[], string]>([
    ['split', ['tcp', '10.77.0.2:22'], 'overlay to b, reliable'],
    ['split', ['tcp', '10.77.0.2:22', '--dscp', '46'], 'overlay to b, realtime'],
    ['split', ['tcp', '[fd77::2]:5432'], 'a rule matches; intercept.rules[0], line 6; prefix fd77::2/128'],
    ['split', ['udp', '10.77.0.2:9'], 'dropped'],
    ['split', ['udp', '10.77.0.2:10'], 'refused with an ICMP error'],
    [
      'split',
      ['icmp', '10.77.0.9'],
      "no known certificate has the address, which lies in the overlay's 10.77.0.0/16: host unreachable; name other nodes' certificates with --certs",
    ],
    ['split', ['tcp', '10.77.0.2:22', '--user', 'daemon'], 'intercept.rules[3], line 9'],
    ['split', ['tcp', '10.77.0.2:22', '--from', '192.0.2.1'], "its source is none of this node's"],
    ['split', ['tcp', '192.0.2.2:80'], 'never meets the agent in mode split'],
    ['participants', ['tcp', '192.0.2.2:80', '--from', '10.77.0.1'], 'overlay to b, reliable'],
    ['split', ['tcp', '10.77.0.1:80', '--from', '10.77.0.9'], 'no known certificate has its source'],
    ['split', ['tcp', '192.0.2.1:80'], 'never meets the agent in mode split'],
    ['split', ['tcp', '10.77.0.1:80'], 'is for this host itself'],
    ['split', ['udp', '224.0.0.251:5353'], 'for one link alone'],
    ['full', ['tcp', '192.0.2.1:80'], 'direct, as without the agent'],
    ['full', ['tcp', '198.51.100.7:80'], 'where nobody has the address'],
    ['full', ['tcp', '203.0.113.7:80'], 'intercept.rules[5], line 11'],
    // Of an address that no certificate names, but this node's.
    ['full', ['tcp', '192.0.2.200:1', '--from', '198.51.100.9'], 'intercept.rules[9], line 15'],
    ['split', ['udp', '239.3.0.1:53'], 'untouched'],
    ['full', ['udp', '239.3.0.1:53'], 'intercept.rules[8], line 14'],
    ['full', ['udp', '239.3.0.1:53'], 'dropped'],
    ['full', ['udp', '239.3.0.1:10'], 'nobody is told, as it is for many hosts; intercept.rules[2]'],
    ['full', ['udp', '239.1.0.1:53'], 'direct, as without the agent'],
    ['full', ['udp', '[ff0e::1]:53'], "the overlay doesn't carry multicast and broadcast yet"],
    ['full', ['udp', '239.2.0.1:53', '--from', '192.0.2.1'], 'intercept.rules[7], line 13'],
    ['full', ['udp', '224.0.0.251:5353'], 'and no rule drops it'],
    ['full', ['udp', '255.255.255.255:9'], 'dropped'],
    ['full', ['icmp', 'ff02::1'], 'neighbour discovery and MLD pass; intercept.rules[8]'],
    ['full', ['2', '239.3.0.1'], 'rules never touch DHCP and group membership'],
    ['full', ['udp', 'fe80::1'], 'link-local'],
  ])('%s: %s', async (mode, words, text) => {
    expect(await explain(mode, ...words)).toBe(0);
    expect(out.join('\n')).toContain(text);
  });

  test.each<[string, string[], string, string]>([
    ['split', ['tcp', '10.77.0.1:22'], 'untouched', 'comes from b for this host; prefix 10.77.0.1/32'],
    [
      'closed',
      ['icmp', '10.77.0.1'],
      'dropped',
      'no rule of intercept.inbound lets it in, unless it answers',
    ],
    ['closed', ['tcp', '10.77.0.1:22', '--from', '10.77.0.1'], 'untouched', 'is for this host itself'],
    ['guarded', ['tcp', '10.77.0.1:5432'], 'untouched', 'a rule lets it in; intercept.inbound[0], line 5'],
    ['guarded', ['tcp', '10.77.0.1:22'], 'refused with an ICMP error', 'intercept.inbound[1], line 6'],
    ['guarded', ['udp', '10.77.0.1:53'], 'dropped', 'unless it answers this host; intercept.inbound[2]'],
    ['guarded', ['tcp', '10.77.0.1:80'], 'dropped', 'no rule of intercept.inbound lets it in'],
  ])('into this host, %s: %s', async (mode, words, outcome, why) => {
    expect(await explain(mode, '--from', '10.77.0.2', ...words)).toBe(0);
    expect(out.join('\n')).toContain(`  ${outcome}  `);
    expect(out.join('\n')).toContain(why);
  });

  test('to the broadcast address of one of this host’s networks, as to all', async () => {
    const networks = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
    const own = networks.find(
      ({ family, internal, cidr }) => family === 'IPv4' && !internal && cidr?.endsWith('/24'),
    );
    if (!own) return;
    const last = own.address.replace(/\d+$/, '255');
    expect(await explain('full', 'udp', `${last}:9`, '--from', own.address)).toBe(0);
    expect(out.join('\n')).toContain('nobody is told');
  });

  test('as JSON, with the line of the rule', async () => {
    expect(await explain('split', 'tcp', '10.77.0.2:5432', '--json')).toBe(0);
    expect(JSON.parse(out.join('\n'))).toMatchObject([
      { outcome: 'overlay', node: 'b', service: 'realtime', rule: 0, line: 6, prefix: '10.77.0.2/32' },
    ]);
  });

  test.each<[string[], number, string]>([
    [['tpc', '10.77.0.2:22'], 2, '"tpc" is no protocol; use tcp, udp'],
    [['tcp', '10.77.0.2:99999'], 2, 'is no destination'],
    [['tcp', '10.77.0.2:22', '--user', 'nobody-at-all'], 2, 'this host has no user "nobody-at-all"'],
    [['tcp', '10.77.0.2:22', '--from', 'x'], 2, '"x" is no address'],
    [['tcp'], 2, 'name a destination behind it'],
    [['nothing.pcap'], 1, "nothing.pcap can't be read (ENOENT)"],
    [['tcp', '10.77.0.2:22', '--certs', '/nowhere.crt'], 2, "/nowhere.crt: can't be read (ENOENT)"],
  ])('%s is refused, code %i', async (words, code, text) => {
    expect([await explain('split', ...words), err.join('\n')]).toEqual([code, expect.stringContaining(text)]);
  });
});

/** This node's own certificate is the only one in its folder. */
describe('where other nodes’ certificates lie elsewhere', () => {
  const at = (file: string): string => join(directory, file);
  beforeEach(() => {
    vi.stubEnv('STATE_DIRECTORY', at('state'));
    renameSync(at('b.crt'), at('b.elsewhere'));
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    renameSync(at('b.elsewhere'), at('b.crt'));
    rmSync(at('state'), { recursive: true, force: true });
  });

  test('an address of theirs is nobody’s', async () => {
    expect(await explain('split', 'tcp', '10.77.0.2:22')).toBe(0);
    expect(out.join('\n')).toContain('--certs');
  });

  test('--certs names them', async () => {
    expect(await explain('split', 'tcp', '10.77.0.2:22', '--certs', at('b.elsewhere'))).toBe(0);
    expect(out.join('\n')).toContain('overlay to b');
  });

  test('those that the agent wrote down are known', async () => {
    mkdirSync(at('state'));
    copyFileSync(at('b.elsewhere'), at('state/a.known.pem'));
    expect(await explain('split', 'tcp', '10.77.0.2:22')).toBe(0);
    expect(out.join('\n')).toContain('overlay to b');
  });
});

describe('a capture', () => {
  const udp = (from: string, to: string, port: number, extra = 0): Uint8Array => {
    const end = (address: string, at: number) => ({ address: parseAddress(address)!, port: at });
    return Buffer.concat([
      wrapDatagram(end(from, 4000), end(to, port), 0, new Uint8Array(9)),
      new Uint8Array(extra),
    ]);
  };
  const file = (...frames: Uint8Array[]): string => {
    const name = join(directory, 'seen.pcapng');
    const blocks = frames.map((frame) => encodePacket(1, frame, frame.length, 'out', undefined));
    writeFileSync(name, Buffer.concat([encodeSection('x'), encodeInterface('x', 101, 999), ...blocks]));
    return name;
  };

  test('has a line for each flow, with the number of its packets; padding is no part of one', async () => {
    const name = file(
      udp('10.77.0.1', '10.77.0.2', 53),
      udp('10.77.0.1', '10.77.0.2', 53, 7),
      udp('10.77.0.2', '10.77.0.1', 53),
      udp('10.77.0.1', '10.77.0.2', 9),
      Uint8Array.of(0x45, 0),
    );
    expect(await explain('split', name)).toBe(0);
    const lines = out.join('\n').split('\n');
    expect(lines[1]).toMatch(/^udp 10\.77\.0\.1:4000 → 10\.77\.0\.2:53 +2 +overlay to b, best-effort/);
    expect(lines[2]).toMatch(/10\.77\.0\.1:53 +1 +untouched +comes from b for this host/);
    expect(lines[3]).toMatch(/:9 +1 +dropped +a rule matches; intercept\.rules\[1\], line 7/);
    expect(lines[4]).toMatch(/^malformed +1 +dropped +short$/);
  });

  test('of answers and of what answers nothing tells them apart, where rules guard what comes in', async () => {
    const [ours, theirs] = [udp('10.77.0.1', '10.77.0.2', 53), udp('10.77.0.2', '10.77.0.1', 54)];
    const answerTo = (packet: Uint8Array) => {
      const answer = Uint8Array.from(packet);
      answer.set([...packet.subarray(16, 20), ...packet.subarray(12, 16)], 12);
      answer.set([...packet.subarray(22, 24), ...packet.subarray(20, 22)], 20);
      return answer;
    };
    const icmp = (packet: Uint8Array, type: number) => {
      const changed = Uint8Array.from(packet);
      changed[9] = 1;
      changed.set([type, 0], 20);
      return changed;
    };
    const name = file(
      ...[ours, answerTo(ours), theirs, answerTo(theirs), theirs],
      ...[icmp(ours, 8), icmp(answerTo(ours), 0), icmp(theirs, 8)],
    );
    expect(await explain('closed', name)).toBe(0);
    const lines = out.join('\n').split('\n').slice(1);
    const outcomes = lines.map((line) => /answers what|no rule|overlay to/.exec(line)?.[0]);
    expect(lines.map((line) => line.replace(/ {2,}.*/, ''))).toEqual([
      'udp 10.77.0.1:4000 → 10.77.0.2:53',
      'udp 10.77.0.2:53 → 10.77.0.1:4000',
      'udp 10.77.0.2:4000 → 10.77.0.1:54',
      'udp 10.77.0.1:54 → 10.77.0.2:4000',
      'udp 10.77.0.2:4000 → 10.77.0.1:54',
      'icmp 10.77.0.1 → 10.77.0.2',
      'icmp 10.77.0.2 → 10.77.0.1',
      'icmp 10.77.0.2 → 10.77.0.1',
    ]);
    expect(outcomes).toEqual([
      ...['overlay to', 'answers what', 'no rule', 'overlay to', 'answers what'],
      ...['overlay to', 'answers what', 'no rule'],
    ]);
  });

  test('may be a classic pcap file', async () => {
    const frame = udp('10.77.0.2', '10.77.0.1', 53);
    const head = Buffer.alloc(40);
    [0xa1b2c3d4, 0x0004_0002, 0, 0, 262_144, 101, 0, 0, frame.length, frame.length].forEach((word, i) =>
      head.writeUInt32LE(word, 4 * i),
    );
    writeFileSync(join(directory, 'seen.pcap'), Buffer.concat([head, frame]));
    expect(await explain('guarded', join(directory, 'seen.pcap'))).toBe(0);
    expect(out.join('\n')).toMatch(/10\.77\.0\.1:53 +1 +dropped +comes from b .*intercept\.inbound\[2\]/);
  });

  test('that is damaged is explained up to there, and fails', async () => {
    const name = file(udp('10.77.0.1', '10.77.0.2', 53));
    writeFileSync(name, Uint8Array.of(1, 2, 3), { flag: 'a' });
    expect(await explain('split', name)).toBe(1);
    expect(out.join('\n')).toContain('overlay to b');
    expect(err).toEqual([expect.stringContaining('the file is cut short')]);
  });
});
