/**
 * Rules and access by who sends, with sockets of several users:  a 10.77.0.1 ──── b 10.77.0.2
 *
 * Users are numbers that the host need not know: ALICE, BOB and CAROL; GROUP is one of its groups' numbers.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { type Agent, eventually, Overlay, pair, usable } from './overlay.js';

const [ALICE, BOB, CAROL, GROUP] = [61_001, 61_002, 61_003, 61_100];
/** The agent sees cgroups of its own mount namespace, which has them in one hierarchy. */
const WITH_CGROUPS = ['sh', '-c', 'mount -t cgroup2 none /sys/fs/cgroup && exec "$@"', 'sh'];

const as = (user: number, group = user) => [
  'setpriv',
  `--reuid=${user}`,
  `--regid=${group}`,
  '--clear-groups',
  'env',
  'HOME=/tmp',
];

/** Sends datagrams and says how many came back: of a connected socket, of an unconnected one, of one that closes at once. */
const UDP = `
import socket, sys
host, size = sys.argv[1], int(sys.argv[2])
family = socket.AF_INET6 if ':' in host else socket.AF_INET
back = 0
for connect in (True, False):
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(0.7)
        try:
            if connect:
                s.connect((host, 7007))
                s.send(b'x' * size)
            else:
                s.sendto(b'x' * size, (host, 7007))
            back += len(s.recv(65536)) == size
        except OSError:
            pass
print(back)
`;
const ONCE = `
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.sendto(sys.argv[2].encode(), (sys.argv[1], 7008))
s.close()
`;
const ECHO = `
import socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.bind(('::', 7007))
print('listening', flush=True)
while True:
    data, peer = s.recvfrom(65536)
    s.sendto(data, peer)
`;
const HEAR = `
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('', 7008))
print('listening', flush=True)
while True:
    print(s.recv(100).decode(), flush=True)
`;

describe.skipIf(!usable)('who sends (needs root, /dev/net/tun, nftables and a build)', () => {
  const overlay = new Overlay();
  let a: Agent;
  let b: Agent;
  let heard: { out: string };

  beforeAll(async () => {
    const rules = `[{match: {user: ${BOB}, to: "node:b"}, do: reject}, {match: {group: ${GROUP}, proto: udp}, do: drop}]`;
    ({ a, b } = await pair(overlay, 'v4', [{ rules, through: WITH_CGROUPS }, {}]));
    b.host.start('python3', '-m', 'http.server', '8000', '--bind', '::');
    const echo = b.host.start('python3', '-c', ECHO);
    const hear = (heard = b.host.start('python3', '-c', HEAR));
    await eventually(async () => {
      expect([echo.out, hear.out]).toEqual(['listening\n', 'listening\n']);
      expect((await b.host.run('ss', '-tlnH')).out).toContain(':8000');
    });
  });

  const curl = async (user: number, address: string, group = user): Promise<number | null> =>
    (
      await a.host.run(
        ...as(user, group),
        ...['curl', '-s', '-o', '/dev/null', '--max-time', '3', `http://${address}:8000/`],
      )
    ).code;
  const udp = async (user: number, address: string, size: number, group = user): Promise<string> =>
    (await a.host.well(...as(user, group), 'python3', '-c', UDP, address, String(size))).trim();
  const configure = async (changes: Parameters<Agent['configure']>[0]): Promise<void> => {
    a.configure(changes);
    expect((await a.cli('reload')).code).toBe(0);
    const settled = async () => expect((await a.host.run('nft', 'list', 'tables')).code).toBe(0);
    await settled();
    await new Promise((resolve) => setTimeout(resolve, 300));
  };

  it('tells users apart, whose TCP and UDP run at the same time, in both families', async () => {
    const addresses = [b.v4, b.v6];
    const shown = addresses.map((address) => (address.includes(':') ? `[${address}]` : address));
    const codes = await Promise.all(
      shown.flatMap((address) => [curl(ALICE, address), curl(BOB, address), curl(CAROL, address)]),
    );
    expect(codes).toEqual([0, 7, 0, 0, 7, 0]);
    for (const size of [10, 4000]) {
      const counts = await Promise.all(addresses.map((address) => udp(ALICE, address, size)));
      expect([size, counts]).toEqual([size, ['2', '2']]);
      const refused = await Promise.all(addresses.map((address) => udp(BOB, address, size)));
      expect([size, refused]).toEqual([size, ['0', '0']]);
    }
    const ping = await a.host.run(...as(BOB), 'ping', '-n', '-c', '1', '-W', '1', b.v4);
    expect(ping.code).not.toBe(0);
  });

  it('knows the sender of a socket that is closed before its packet is read', async () => {
    for (let round = 0; round < 5; round++) {
      await a.host.well(...as(BOB), 'python3', '-c', ONCE, b.v4, `bob${round}`);
      await a.host.well(...as(ALICE), 'python3', '-c', ONCE, b.v4, `alice${round}`);
    }
    await eventually(() => expect(heard.out).toContain('alice4'));
    expect(heard.out).not.toContain('bob');
  });

  it('tells groups apart', async () => {
    expect([await udp(ALICE, b.v4, 10, GROUP), await udp(ALICE, b.v4, 10)]).toEqual(['0', '2']);
    expect(await curl(ALICE, b.v4, GROUP)).toBe(0);
  });

  it('tells cgroups apart, also one that is made anew', async () => {
    const inside = (command: string) =>
      `mount -t cgroup2 none /sys/fs/cgroup && mkdir -p /sys/fs/cgroup/cwtest-${process.pid}/inner && sleep 1.5 &&
       echo $$ > /sys/fs/cgroup/cwtest-${process.pid}/inner/cgroup.procs && ${command}; code=$?
       echo $$ > /sys/fs/cgroup/cgroup.procs; rmdir /sys/fs/cgroup/cwtest-${process.pid}/inner /sys/fs/cgroup/cwtest-${process.pid}; exit $code`;
    await configure({ rules: `[{match: {cgroup: cwtest-${process.pid}}, do: reject}]` });
    const request = `curl -s -o /dev/null --max-time 3 http://${b.v4}:8000/`;
    for (let round = 0; round < 2; round++) {
      expect((await a.host.run('sh', '-c', inside(request))).code).toBe(7);
      expect((await a.host.run('sh', '-c', request)).code).toBe(0);
    }
  });

  it('lets only those use the overlay whom access names, and says so once', async () => {
    await configure({ rules: '[]', more: `access: {overlay: {users: [${ALICE}], groups: [${GROUP}]}}` });
    expect([await curl(ALICE, b.v4), await curl(CAROL, b.v4), await curl(CAROL, b.v4, GROUP)]).toEqual([
      0, 7, 0,
    ]);
    expect(await curl(CAROL, `[${b.v6}]`)).toBe(7);
    expect([await a.pings(b.v4), await b.pings(a.v4)]).toEqual([true, true]);
    const { refusals, counters } = await a.client.status();
    expect(refusals).toEqual([{ user: String(CAROL), what: 'overlay', count: counters.drops['access'] }]);
    expect(refusals[0].count).toBeGreaterThanOrEqual(2);
    const logged = a.log.filter(({ msg }) => msg === 'refused to a user of this host');
    expect(logged.map(({ user, what, count }) => [user, what, count])).toEqual([
      [String(CAROL), 'overlay', 1],
    ]);
    expect((await a.cli('status')).out).toMatch(/refused to +what +times\n61003 +overlay +\d+/);
  });

  it('gives a service by DSCP only to those whom access names', async () => {
    await configure({ more: `access: {services: {realtime: {users: [${ALICE}]}}}` });
    const ping = (user: number, size: number) =>
      a.host.run(...as(user), 'ping', '-n', '-c', '1', '-W', '1', '-Q', '0xb8', '-s', String(size), b.v4);
    const services = async () => {
      const flows = await a.client.flows({ direction: 'out' });
      return flows.map((flow) => (flow.direction === 'out' ? [flow.protocol, flow.service, flow.why] : []));
    };
    await ping(CAROL, 8);
    expect(await services()).toContainEqual(['icmp', 'best-effort', 'default']);
    await ping(ALICE, 8);
    expect(await services()).toContainEqual(['icmp', 'realtime', 'dscp']);
    const { refusals } = await a.client.status();
    expect(refusals).toContainEqual({ user: String(CAROL), what: 'realtime', count: 1 });
  });

  it('leaves nothing behind, not even when it is killed', async () => {
    const tables = async () => (await a.host.well('nft', 'list', 'tables')).trim();
    expect(await tables()).toBe('table inet causeway-cw0-senders');
    await configure({ more: '' });
    await eventually(async () => expect(await tables()).toBe(''));
    await configure({ rules: `[{match: {user: ${BOB}}, do: drop}]` });
    await eventually(async () => expect(await tables()).not.toBe(''));
    await a.stop('SIGKILL');
    const down = await a.host.run(process.execPath, (await import('./overlay.js')).BIN, 'down', '-c', a.file);
    expect(down.out).toContain('removed nftables table inet causeway-cw0-senders');
    expect(await tables()).toBe('');
  });
});
