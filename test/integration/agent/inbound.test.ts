/**
 * What may enter a host from the overlay, with real programs:
 *
 *     a 10.77.0.1, of group web ──── b 10.77.0.2, closed ──── c 10.77.0.3, of no group
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { type Agent, eventually, Overlay, peersOf, startAll, usable } from './overlay.js';

const RULES = `[
  {match: {from: "group:web", proto: tcp, port: 8000}, do: allow},
  {match: {from: "node:c", proto: tcp, port: 8000}, do: reject}]`;

describe.skipIf(!usable)('a closed host (needs root, /dev/net/tun and a build)', () => {
  const overlay = new Overlay();
  let a: Agent;
  let b: Agent;
  let c: Agent;

  beforeAll(async () => {
    const { ground } = overlay;
    const [hostA, hostB, hostC] = [await ground.host('a'), await ground.host('b'), await ground.host('c')];
    await ground.join(hostA, hostB);
    await ground.join(hostB, hostC);
    a = await overlay.agent(hostA, { peers: peersOf(hostA, 'v4', hostB), groups: ['web'] });
    b = await overlay.agent(hostB, { peers: peersOf(hostB, 'v4', hostA, hostC), inbound: RULES });
    c = await overlay.agent(hostC, { peers: peersOf(hostC, 'v4', hostB) });
    await startAll(a, b, c);
    await b.reaches(a.v4);
    await b.reaches(c.v4);
    await a.reaches(c.v4);
    for (const { host } of [a, b, c]) {
      host.start('python3', '-m', 'http.server', '8000', '--bind', '::');
      await eventually(async () => expect((await host.run('ss', '-tlnH')).out).toContain(':8000'));
    }
  });

  /** curl's exit code: 0 for a page, 7 where it is refused, 28 where nobody answers. */
  const curl = async (from: Agent, address: string) =>
    (await from.host.run('curl', '-s', '-o', '/dev/null', '--max-time', '2', `http://${address}:8000/`)).code;

  it('lets in whom a rule names, refuses others aloud or in silence', async () => {
    for (const address of [b.v4, `[${b.v6}]`]) {
      expect(await curl(a, address)).toBe(0);
      expect(await curl(c, address)).toBe(7);
    }
    for (const from of [a, c]) expect(await from.pings(b.v4)).toBe(false);
    expect((await b.drops())['inbound']).toBeGreaterThanOrEqual(4);
  });

  it('hears the answers to what it began: TCP, pings and errors, fragments too', async () => {
    for (const to of [a, c]) {
      expect(await curl(b, to.v4)).toBe(0);
      expect(await curl(b, `[${to.v6}]`)).toBe(0);
      for (const address of [to.v4, to.v6]) expect(await b.pings(address, '-s', '4000')).toBe(true);
    }
    const refused = await b.host.run('python3', '-c', UDP_REFUSED, a.v4);
    expect([refused.code, refused.out]).toEqual([0, 'refused\n']);
  });

  it('passes on what is for others', async () => {
    expect([await curl(a, c.v4), await curl(c, a.v4)]).toEqual([0, 0]);
    expect(await a.pings(c.v6, '-s', '4000')).toBe(true);
  });

  it('ends a connection that a reload no longer allows, and opens to all without the key', async () => {
    const talk = a.host.start('python3', '-c', TALK, b.v4);
    const echo = b.host.start('python3', '-c', ECHO);
    await eventually(() => expect(echo.out).toContain('listening'));
    b.configure({ inbound: '[{match: {proto: tcp, port: 9000}, do: allow}]' });
    expect((await b.cli('reload')).out).toBe('applied: intercept.inbound\n');
    talk.write('one\n');
    await eventually(() => expect(talk.out).toContain('echo one'));
    b.configure({ inbound: '[]' });
    expect((await b.cli('reload')).code).toBe(0);
    talk.write('two\n');
    await new Promise((resolve) => setTimeout(resolve, 1000));
    expect(talk.out).not.toContain('echo two');
    b.configure({ inbound: undefined });
    expect((await b.cli('reload')).code).toBe(0);
    await eventually(() => expect(talk.out).toContain('echo two'));
    expect(await c.pings(b.v4)).toBe(true);
  });
});

/** A datagram to a port where nobody listens: the ICMP error is what `recv` reports. */
const UDP_REFUSED = `
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(3)
s.connect((sys.argv[1], 9999))
s.send(b'x')
try:
    s.recv(10)
except ConnectionRefusedError:
    print('refused')
`;

const ECHO = `
import socket
s = socket.create_server(('', 9000))
print('listening', flush=True)
c, _ = s.accept()
for line in c.makefile('r'):
    c.sendall(('echo ' + line).encode())
`;

const TALK = `
import socket, sys
lines = sys.stdin
first = lines.readline()
s = socket.create_connection((sys.argv[1], 9000))
f = s.makefile('r')
s.sendall(first.encode())
print(f.readline(), end='', flush=True)
for line in lines:
    s.sendall(line.encode())
    print(f.readline(), end='', flush=True)
`;
