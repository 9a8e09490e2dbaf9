import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ConfigError, diffConfig, loadConfig, parseConfig } from '../../../src/agent/config/index.js';

const BASE = 'node: a\npki: {ca: ca.crt, cert: a.crt, key: a.key}\n';
const FILE = '/etc/causeway/a.yaml';

const config = (rest: string) => parseConfig(BASE + rest, FILE);

/** The lines that a user would see. */
function refusal(text: string, env: NodeJS.ProcessEnv = {}): string[] {
  try {
    parseConfig(text, FILE, env);
  } catch (error) {
    if (error instanceof ConfigError) return error.message.split('\n');
    throw error;
  }
  throw new Error('the configuration was taken');
}

describe('a configuration that is right', () => {
  test('gets every default', () => {
    expect(config('')).toEqual({
      file: FILE,
      lines: { rules: [], inbound: [] },
      node: 'a',
      pki: { ca: '/etc/causeway/ca.crt', cert: '/etc/causeway/a.crt', key: '/etc/causeway/a.key' },
      listen: { host: '::', port: 7100 },
      tun: { name: 'cw0', mtu: 1380 },
      peers: [],
      mesh: 'configured',
      intercept: { mode: 'split', participants: false, fallback: 'refuse', rules: [] },
      services: { default: { tcp: 1, udp: 0, other: 0 } },
      links: { outerDscp: 0, split: true },
      names: { enabled: false, zone: 'causeway', port: 53 },
      access: { services: {} },
      control: { socket: '/run/causeway/causeway.sock' },
      log: { level: 'info' },
    });
  });

  test('keeps absolute paths and resolves the others beside the file', () => {
    const { pki, control } = parseConfig(
      'node: a\npki: {ca: /ca/ca.crt, cert: ../a.crt, key: k/a.key}\ncontrol: {socket: a.sock}',
      FILE,
    );
    expect(pki).toEqual({ ca: '/ca/ca.crt', cert: '/etc/a.crt', key: '/etc/causeway/k/a.key' });
    expect(control.socket).toBe('/etc/causeway/a.sock');
  });

  test('reads endpoints of both families', () => {
    const { peers, control } = config(
      'peers: [{name: b, endpoints: ["192.0.2.2:7100", "[2001:db8::2]:65535"]}, {name: c}]\ncontrol: {metrics: "localhost:9478"}',
    );
    expect(peers).toEqual([
      {
        name: 'b',
        endpoints: [
          { host: '192.0.2.2', port: 7100, text: '192.0.2.2:7100' },
          { host: '2001:db8::2', port: 65535, text: '[2001:db8::2]:65535' },
        ],
      },
      { name: 'c', endpoints: [] },
    ]);
    expect(control.metrics).toEqual({ host: '127.0.0.1', port: 9478, text: 'localhost:9478' });
  });

  test('takes an empty section as an absent one', () => {
    expect(config('peers:\nlisten:\n  port:\nlog:\n')).toEqual(config(''));
  });

  test('compiles rules, single values and lists alike', () => {
    const { rules } = config(
      'intercept:\n  rules:\n  - {match: {to: [10.77.0.0/16, "fd77::5"], from: 10.1.2.3, proto: tcp, port: [25, 8000-8099], dscp: 46}, do: drop}\n  - {do: overlay}',
    ).intercept;
    expect(rules).toEqual([
      {
        match: {
          to: [
            { version: 4, words: [0, 0, 0xffff, 0x0a4d0000], bits: 112 },
            { version: 6, words: [0xfd770000, 0, 0, 5], bits: 128 },
          ],
          from: [{ version: 4, words: [0, 0, 0xffff, 0x0a010203], bits: 128 }],
          protocols: [6],
          ports: [
            { first: 25, last: 25 },
            { first: 8000, last: 8099 },
          ],
          dscp: 46,
        },
        action: { do: 'drop' },
      },
      { match: {}, action: { do: 'overlay', service: undefined } },
    ]);
  });

  test('knows services by name, in rules and as defaults', () => {
    const { intercept, services } = config(
      'services: {default: {tcp: best-effort, other: realtime}}\nintercept: {rules: [{do: overlay, service: best-effort}, {do: overlay, service: reliable}, {do: overlay, service: realtime}]}',
    );
    expect(intercept.rules.map(({ action }) => action)).toEqual(
      [0, 1, 2].map((service) => ({ do: 'overlay', service })),
    );
    expect(services.default).toEqual({ tcp: 0, udp: 0, other: 2 });
  });

  test.each([
    ['none', 0],
    ['copy', 'copy'],
    ['0', 0],
    ['46', 46],
  ])('takes outer_dscp: %s', (text, value) => {
    expect(config(`links: {outer_dscp: ${text}}`).links.outerDscp).toBe(value);
  });

  test('fills in the credentials directory, and nothing else', () => {
    const text = 'node: a\npki: {ca: ca.crt, cert: a.crt, key: "${CREDENTIALS_DIRECTORY}/key"}';
    expect(parseConfig(text, FILE, { CREDENTIALS_DIRECTORY: '/run/c' }).pki.key).toBe('/run/c/key');
    expect(refusal(text)).toEqual([
      `${FILE}:2:32: pki.key: CREDENTIALS_DIRECTORY is set only under systemd, with LoadCredential=; name a file instead`,
    ]);
    expect(refusal(text.replace('CREDENTIALS_DIRECTORY', 'HOME'), { HOME: '/root' })).toEqual([
      `${FILE}:2:32: pki.key: only \${CREDENTIALS_DIRECTORY} is filled in here`,
    ]);
  });
});

describe('a configuration that is wrong', () => {
  test.each([
    ['misspelt top key', 'listne: {port: 7}', 'listne: unknown key; did you mean "listen"?', 3, 1],
    ['misspelt inner key', 'tun:\n  nmae: x', 'tun.nmae: unknown key; did you mean "name"?', 4, 3],
    ['key of another section', 'mtu: 1300', 'mtu: unknown key; did you mean tun.mtu?', 3, 1],
    ['key like no other', 'tun: {zzzz: 1}', 'tun.zzzz: unknown key; known here: name, mtu', 3, 7],
    [
      'unknown key without a value',
      'zzzz:',
      'zzzz: unknown key; known here: node, pki, listen, tun, peers, mesh, intercept, forward, services, links, names, access, control, log',
      3,
      1,
    ],
    [
      'text for a number',
      'listen: {port: "7100"}',
      'listen.port: must be a number, not the text "7100"',
      3,
      10,
    ],
    ['port out of range', 'listen: {port: 70000}', 'listen.port: a port is 1 to 65535', 3, 10],
    ['list for a section', 'tun: [1]', 'tun: must be a section of keys, not a list', 3, 1],
    ['section for a list', 'peers: {name: b}', 'peers: must be a list, not a section of keys', 3, 1],
    [
      'small MTU',
      'tun: {mtu: 1000}',
      'tun.mtu: IPv6 needs at least 1280 bytes; 1380 suits the Internet',
      3,
      7,
    ],
    [
      'long interface name',
      'tun: {name: abcdefghijklmnop}',
      'tun.name: an interface name has 1 to 15 characters, without spaces, "/", ":" and "%"',
      3,
      7,
    ],
    [
      'endpoint without a port',
      'peers: [{name: b, endpoints: [192.0.2.2]}]',
      'peers[0].endpoints[0]: "192.0.2.2" is no endpoint; write address:port, such as 192.0.2.2:7100 or [2001:db8::2]:7100',
      3,
      31,
    ],
    [
      'endpoint of port 0',
      'peers: [{name: b, endpoints: ["192.0.2.2:0"]}]',
      'peers[0].endpoints[0]: "192.0.2.2:0" is no endpoint; write address:port, such as 192.0.2.2:7100 or [2001:db8::2]:7100',
      3,
      31,
    ],
    ['peer without a name', 'peers: [{endpoints: []}]', 'peers[0].name: is missing', 3, 9],
    ['peer twice', 'peers:\n- name: b\n- name: b', 'peers[1].name: "b" is listed twice', 5, 3],
    [
      'itself as a peer',
      'peers: [{name: a}]',
      'peers[0].name: "a" is this node itself; remove the entry',
      3,
      10,
    ],
    [
      'prefix too long',
      'intercept: {rules: [{match: {to: 10.0.0.0/33}, do: drop}]}',
      'intercept.rules[0].match.to: 10.0.0.0/33: an IPv4 prefix has at most 32 bits',
      3,
      30,
    ],
    [
      'host bits',
      'intercept: {rules: [{match: {to: 10.0.0.1/8}, do: drop}]}',
      'intercept.rules[0].match.to: 10.0.0.1/8 has host bits set; did you mean 10.0.0.0/8?',
      3,
      30,
    ],
    [
      'no prefix at all',
      'intercept: {rules: [{match: {from: db1}, do: drop}]}',
      'intercept.rules[0].match.from: "db1" is no address or prefix; write 10.77.0.5, 10.77.0.0/16 or fd77::/48',
      3,
      30,
    ],
    [
      'unknown protocol',
      'intercept: {rules: [{match: {proto: tpc}, do: drop}]}',
      'intercept.rules[0].match.proto: "tpc" is no protocol; use tcp, udp, icmp, sctp or a number 0 to 255',
      3,
      30,
    ],
    [
      'port without protocol',
      'intercept: {rules: [{match: {port: 25}, do: drop}]}',
      'intercept.rules[0].match.port: a port needs proto tcp, udp or sctp beside it',
      3,
      30,
    ],
    [
      'backward port range',
      'intercept: {rules: [{match: {proto: tcp, port: 9-8}, do: drop}]}',
      'intercept.rules[0].match.port: "9-8" is no port; use 0 to 65535 or a range such as 8000-8099',
      3,
      42,
    ],
    [
      'DSCP out of range',
      'intercept: {rules: [{match: {dscp: 64}, do: drop}]}',
      'intercept.rules[0].match.dscp: a DSCP is 0 to 63',
      3,
      30,
    ],
    [
      'service of a drop',
      'intercept: {rules: [{do: drop, service: best-effort}]}',
      'intercept.rules[0].service: only what goes over the overlay has a service; remove the key',
      3,
      32,
    ],
    [
      'unknown service',
      'services: {default: {tcp: fast}}',
      'services.default.tcp: "fast" is no service; use best-effort, reliable, realtime, redundant',
      3,
      22,
    ],
    [
      'outer DSCP out of range',
      'links: {outer_dscp: 64}',
      'links.outer_dscp: "64" is no choice; use none, copy or a DSCP, 0 to 63',
      3,
      9,
    ],
    [
      'outer DSCP of a word',
      'links: {outer_dscp: keep}',
      'links.outer_dscp: "keep" is no choice; use none, copy or a DSCP, 0 to 63',
      3,
      9,
    ],
    [
      'unknown level',
      'log: {level: verbose}',
      'log.level: use one of trace, debug, info, warn, error, fatal, silent',
      3,
      7,
    ],
    [
      'address as name',
      'listen: {host: localhost}',
      'listen.host: "localhost" is no address; use "::" for every address of this host',
      3,
      10,
    ],
    [
      'a user that is not there',
      'intercept: {rules: [{match: {user: nobody-at-all}, do: drop}]}',
      'intercept.rules[0].match.user: this host has no user "nobody-at-all"',
      3,
      30,
    ],
    [
      'a group that is not there',
      'access: {overlay: {groups: [none-at-all]}}',
      'access.overlay.groups[0]: this host has no group "none-at-all"',
      3,
      29,
    ],
    [
      'a cgroup that nft could misread',
      'intercept: {rules: [{match: {cgroup: "a drop"}, do: drop}]}',
      'intercept.rules[0].match.cgroup: is no cgroup; write its path below /sys/fs/cgroup, such as system.slice/nginx.service',
      3,
      30,
    ],
    [
      'a node that no node is called',
      'intercept: {rules: [{match: {to: "node:B"}, do: drop}]}',
      'intercept.rules[0].match.to: node name "B" has capitals; write it as "b"',
      3,
      30,
    ],
    [
      'an action of the wrong side',
      'intercept: {inbound: [{do: overlay}]}',
      'intercept.inbound[0].do: use allow, drop or reject',
      3,
      24,
    ],
    [
      'capital in a name',
      'peers: [{name: B}]',
      'peers[0].name: node name "B" has capitals; write it as "b"',
      3,
      10,
    ],
  ])('%s: is named with its place and remedy', (_, rest, message, line, column) => {
    expect(refusal(BASE + rest)).toEqual([`${FILE}:${line}:${column}: ${message}`]);
  });

  test.each([
    [
      'intercept: {rules: [{do: overlay, service: intrusion-tolerant}]}',
      "intercept.rules[0].service: service intrusion-tolerant isn't available in this version",
      35,
    ],
  ])('%s: what later versions bring is refused for what it is', (rest, message, column) => {
    expect(refusal(BASE + rest)).toEqual([`${FILE}:3:${column}: ${message}`]);
  });

  test('an exit is refused where not everything is intercepted', () => {
    expect(refusal(`${BASE}intercept: {exit: gw}`)).toEqual([
      `${FILE}:3:13: intercept.exit: an exit needs mode full beside it`,
    ]);
  });

  test('a way to form the mesh that there is not is refused', () => {
    expect(config('mesh: auto').mesh).toBe('auto');
    expect(refusal(`${BASE}mesh: full`)).toEqual([`${FILE}:3:1: mesh: use configured or auto`]);
  });

  test('more endpoints than are kept warm are refused', () => {
    const endpoints = Array.from({ length: 9 }, (_, i) => `"192.0.2.${i}:7100"`).join();
    const [line] = refusal(`${BASE}peers: [{name: b, endpoints: [${endpoints}]}]`);
    expect(line).toContain('peers[0].endpoints: at most 8 endpoints');
  });

  test('a CRL is refused rather than ignored', () => {
    expect(refusal('node: a\npki: {ca: x, cert: x, key: x, crl: y}')).toEqual([
      `${FILE}:2:31: pki.crl: isn't available in this version`,
    ]);
  });

  test('all problems come at once, in the order of the file', () => {
    expect(
      refusal('node: A\ntun: {mtu: 1}\npki: {ca: 1}\n').map((line) => line.split(': ').slice(0, 2)),
    ).toEqual([
      [`${FILE}:1:1`, 'node'],
      [`${FILE}:2:7`, 'tun.mtu'],
      [`${FILE}:3:1`, 'pki.cert'],
      [`${FILE}:3:1`, 'pki.key'],
      [`${FILE}:3:7`, 'pki.ca'],
    ]);
  });

  test('broken YAML is named with its place', () => {
    const [line] = refusal('node: a\npki: {ca: x\n');
    expect(line).toMatch(new RegExp(`^${FILE}:\\d+:\\d+: YAML: `));
    expect(refusal('node: a\nnode: b\n')).toEqual([`${FILE}:2:1: this key stands here twice`]);
  });

  test.each(['', '# nothing\n', '42', '[]', 'just text'])('%j: no section of keys at all', (text) => {
    expect(refusal(text).length).toBeGreaterThan(0);
  });

  test('a key named like a property of every object is unknown like any other', () => {
    for (const key of ['__proto__', 'constructor', 'toString']) {
      expect(refusal(`${BASE}${key}: 1`)[0]).toContain(`${key}: unknown key`);
    }
  });
});

describe('the file itself', () => {
  let directory: string;
  beforeEach(() => void (directory = mkdtempSync(join(tmpdir(), 'cw-config-'))));
  afterEach(() => rmSync(directory, { recursive: true }));

  test('is read, and named in messages as the user named it', () => {
    const file = join(directory, 'a.yaml');
    writeFileSync(file, BASE);
    expect(loadConfig(file).pki.ca).toBe(join(directory, 'ca.crt'));
    expect(() => loadConfig(join(directory, 'b.yaml'))).toThrow(
      `${join(directory, 'b.yaml')}: no such file; name the configuration with -c FILE`,
    );
    expect(() => loadConfig(directory)).toThrow('is a directory');
  });
});

test('a difference is told apart by what a reload does with it', () => {
  const after = config(
    'peers: [{name: b}]\nlog: {level: debug}\ntun: {mtu: 1300}\ncontrol: {metrics: "127.0.0.1:1"}\nservices: {default: {udp: reliable}}\nlinks: {outer_dscp: copy}',
  );
  expect(diffConfig(config(''), after)).toEqual({
    applied: ['peers', 'services.default', 'links.outer_dscp', 'log.level'],
    restart: ['tun.mtu', 'control.metrics'],
  });
  expect(diffConfig(after, after)).toEqual({ applied: [], restart: [] });
});
