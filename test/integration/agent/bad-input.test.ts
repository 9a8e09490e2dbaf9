/** What an agent does that can't start: one line that names the thing and the remedy, the exit code, and nothing left on the host. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Host } from '../../support/net.js';
import { lifetime, TestAuthority } from '../../support/pki/authority.js';
import { type Agent, type AgentChanges, BIN, Overlay, SOON, usable } from './overlay.js';

const DAY = 86_400_000;

interface Case {
  changes: AgentChanges;
  /** Exit code: 1 failed, 2 wrong configuration. */
  code: 1 | 2;
  says: RegExp;
  /** Made on the host before, and undone after. */
  before?: string[];
  after?: string[];
}

const wrong = (changes: AgentChanges, says: RegExp): Case => ({ changes, code: 2, says });
const fails = (changes: AgentChanges, says: RegExp, before?: string[], after?: string[]): Case => ({
  changes,
  code: 1,
  says,
  ...(before && { before }),
  ...(after && { after }),
});

/** Runs the program without two capabilities, or without the device. */
const WITHOUT_CAPABILITIES = ['setpriv', '--bounding-set=-net_admin,-net_raw'];
const AS_NOBODY = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];
const WITHOUT_TUN = ['unshare', '-m', 'sh', '-c', 'mount -t tmpfs none /dev/net && exec "$@"', 'sh'];

const cases: Record<string, Case> = {
  'an unknown key': wrong(
    { more: 'lissen: {port: 1}' },
    /^\S+a\.yaml:8:1: lissen: unknown key; did you mean "listen"\?$/,
  ),
  'a mistyped value': wrong(
    { listen: '{port: seventy}' },
    /a\.yaml:3:\d+: listen\.port: must be a number, not the text "seventy"/,
  ),
  'a bad prefix': wrong(
    { rules: '[{match: {to: 10.77.0.0/33}, do: drop}]' },
    /a\.yaml:6:\d+: intercept\.rules\[0\]\.match\.to: .*10\.77\.0\.0\/33/,
  ),
  'a bad endpoint': wrong(
    { peers: '[{name: b, endpoints: ["192.0.2.2"]}]' },
    /peers\[0\]\.endpoints\[0\]: .*192\.0\.2\.2.*:7100/,
  ),
  'a key of another certificate': wrong(
    { pki: '{ca: ca.crt, cert: a.crt, key: b.key}' },
    /pki\.key: \S+b\.key: .*name the key it was signed with/,
  ),
  'a certificate of another node': wrong(
    { pki: '{ca: ca.crt, cert: b.crt, key: b.key}' },
    /node: is "a", but \S+b\.crt is for "b"/,
  ),
  'a certificate of another authority': wrong(
    { pki: '{ca: other/ca.crt, cert: a.crt, key: a.key}' },
    /pki\.cert: .*(CA|root|signed)/,
  ),
  'a certificate file that is not there': wrong(
    { pki: '{ca: ca.crt, cert: nowhere.crt, key: a.key}' },
    /pki\.cert: \S+nowhere\.crt isn't there; make it with "causeway ca"/,
  ),
  'a key that is none': wrong({ pki: '{ca: ca.crt, cert: a.crt, key: a.yaml}' }, /pki\.key: \S+a\.yaml: /),
  'no capabilities': fails({ through: WITHOUT_CAPABILITIES }, /^causeway: .*(root|CAP_NET_ADMIN)/),
  'another user than root': wrong({ through: AS_NOBODY }, /no permission to read \S+; run as root/),
  'no /dev/net/tun': fails({ through: WITHOUT_TUN }, /^causeway: \/dev\/net\/tun is missing: "modprobe tun"/),
  'no /dev/net/tun, without the addon': fails(
    { through: WITHOUT_TUN, plain: true },
    /^causeway: .*\/dev\/net\/tun/,
  ),
  'no capabilities, without the addon': fails(
    { through: WITHOUT_CAPABILITIES, plain: true },
    /^causeway: .*(root|CAP_NET_ADMIN)/,
  ),
  'an interface of the name': fails(
    {},
    /^causeway: an interface named cw0 exists already: stop its owner, or choose another tun\.name$/,
    ['ip', 'link', 'add', 'cw0', 'type', 'veth', 'peer', 'name', 'cw1'],
    ['ip', 'link', 'del', 'cw0'],
  ),
  'an address that is none of this host': fails(
    { listen: '{host: 203.0.113.9}' },
    /^causeway: listen\.host 203\.0\.113\.9 is no address of this host; use "::"/,
  ),
  'a control socket that is a file': fails(
    { more: 'log: {level: info}' },
    /^causeway: .* is there and is no socket; name another control\.socket$/,
  ),
};

describe.skipIf(!usable)('an agent that cannot start (needs root, /dev/net/tun and a build)', () => {
  const overlay = new Overlay();
  let host: Host;
  let a: Agent;
  let old: Agent;

  beforeAll(async () => {
    host = await overlay.ground.host('a');
    a = await overlay.agent(host);
    await overlay.agent(host, {}, 'b');
    const now = Date.now();
    old = await overlay.agent(host, {}, 'old', { notBefore: now - 10 * DAY, notAfter: now - DAY });
    const other = await TestAuthority.create(now, 'Other CA');
    mkdirSync(join(overlay.directory, 'other'));
    await other.writeNode(join(overlay.directory, 'other'), 'x', '10.77.1.1', lifetime(now));
  });

  /** Runs an agent that must end by itself. */
  const attempt = async (agent: Agent): Promise<{ code: number | null; err: string }> => {
    const program = agent.start();
    // One that doesn't end counts as ended by a signal.
    const patience = setTimeout(() => void program.stop('SIGKILL'), SOON.timeout);
    const code = await program.ended;
    clearTimeout(patience);
    return { code, err: program.err };
  };

  it.each(Object.entries(cases))('says so of %s', async (what, { changes, code, says, before, after }) => {
    a.changes = changes;
    if (what.endsWith('is a file')) writeFileSync(a.socket, 'mine');
    if (before) await host.well(...before);
    const state = await host.state();
    const result = await attempt(a);
    expect(result.err.trimEnd()).toMatch(says);
    expect(result.err.trimEnd().split('\n')).toHaveLength(1);
    expect(result.code).toBe(code);
    expect(await host.state()).toBe(state);
    if (after) await host.well(...after);
    if (what.endsWith('is a file')) await host.well('rm', a.socket);
  });

  it('says so of an expired certificate, and when it expired', async () => {
    const state = await host.state();
    const { code, err } = await attempt(old);
    expect(err).toMatch(
      /^\S+old\.yaml: pki\.cert: old's certificate expired 1 day ago, at \S+Z; .* sign a new one with "causeway ca sign"\n$/,
    );
    expect(code).toBe(2);
    expect(await host.state()).toBe(state);
  });

  it('says so of a port in use, whoever has it', async () => {
    a.changes = {};
    const state = await host.state();
    const squatter = host.start('python3', '-c', HOLD_PORT);
    await expect.poll(() => squatter.out, SOON).toContain('bound');
    for (const plain of [false, true]) {
      a.changes = { plain };
      expect(await attempt(a)).toEqual({
        code: 1,
        err: 'causeway: UDP port 7100 is in use; set listen.port to another, or stop what uses it ("ss -lunp")\n',
      });
    }
    await squatter.stop();
    expect(await host.state()).toBe(state);
  });

  it('says so of a metrics port in use', async () => {
    const squatter = host.start('python3', '-m', 'http.server', '9478', '--bind', '127.0.0.1');
    await expect.poll(async () => (await host.run('curl', '-s', '127.0.0.1:9478')).code, SOON).toBe(0);
    a.configure({ plain: false });
    const text = `control: {socket: ${a.socket}, metrics: "127.0.0.1:9478"}`;
    const state = await host.state();
    const file = join(overlay.directory, 'metrics.yaml');
    writeFileSync(file, `node: a\npki: {ca: ca.crt, cert: a.crt, key: a.key}\n${text}\n`);
    const { code, err } = await host.run(process.execPath, BIN, 'up', '-c', file);
    expect([code, err]).toEqual([1, expect.stringMatching(/^causeway: .*127\.0\.0\.1:9478.*\n$/)]);
    expect(await host.state()).toBe(state);
    await squatter.stop();
  });

  it('lets a second agent neither take the socket nor disturb the first', async () => {
    a.changes = {};
    a.start();
    await a.ready();
    const state = await host.state();
    const second = host.start(process.execPath, BIN, 'up', '-c', a.file);
    expect(await second.ended).toBe(1);
    expect(second.err).toBe(
      `causeway: an agent is already running at ${a.socket}; stop it with "causeway down -s ${a.socket}"\n`,
    );
    expect(await host.state()).toBe(state);
    expect((await a.client.status()).ready).toBe(true);
    await a.stop();
  });

  it.each(['status', 'peers', 'links', 'routes', 'ping', 'reload'])(
    'ends `causeway %s` with exit code 3 where there is no agent',
    async (command) => {
      const { code, out, err } = await a.cli(command, ...(command === 'ping' ? ['b'] : []));
      expect([code, out, err]).toEqual([
        3,
        '',
        `causeway: no agent at ${a.socket}; start one with "causeway up -c FILE"\n`,
      ]);
    },
  );

  it('says of a configuration that is not there how to name one', async () => {
    const { code, err } = await host.run(process.execPath, BIN, 'up', '-c', '/nowhere.yaml');
    expect([code, err]).toEqual([2, '/nowhere.yaml: no such file; name the configuration with -c FILE\n']);
  });

  it('says in peers, doctor and the log that a peer does not answer', async () => {
    await host.well('ip', 'link', 'add', 'dead', 'type', 'veth', 'peer', 'name', 'end');
    await host.well('ip', 'address', 'add', '192.0.2.1/24', 'dev', 'dead');
    await host.well('ip', 'link', 'set', 'dead', 'up');
    a.changes = { peers: '[{name: b, endpoints: ["192.0.2.77:7100"]}]' };
    a.start();
    await a.ready();
    const reason = async (): Promise<unknown> => (await a.client.peers())[0].reason;
    await expect.poll(reason, { timeout: 60_000, interval: 200 }).toMatch(/no answer/);
    expect((await a.cli('peers')).out).toMatch(/^b +failed .*no answer/m);
    const doctor = await a.cli('doctor');
    expect([doctor.code, doctor.out]).toEqual([1, expect.stringMatching(/^ERROR +peer b +.*no answer/m)]);
    expect(a.log.map(({ msg }) => msg)).toContainEqual(expect.stringMatching(/no answer/));
    expect(await a.stop()).toBe(0);
  });
});

const HOLD_PORT = `
import socket, time
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.bind(('::', 7100))
print('bound', flush=True)
time.sleep(1000)
`;
