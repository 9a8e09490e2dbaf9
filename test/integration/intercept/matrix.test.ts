/**
 * {split, full} × {IPv4, IPv6} × {TCP, UDP, ICMP, fragments, multicast, broadcast} × {overlay, direct, drop}: where each packet is seen.
 *
 *     b 10.77.0.2 (agent) ── a 10.77.0.1 (agent) ── c (no agent; a's default route)
 *        └ tapped: its cw0        └ tapped: both wires
 *
 * Rules go by DSCP: 1 is dropped, 2 is meant for the overlay, which carries nothing that goes to many.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import type { Program } from '../../support/net.js';
import { type Agent, eventually, Overlay, peersOf, SOON, startAll, usable } from '../agent/overlay.js';

const MODES = ['split', 'full'] as const;
const FAMILIES = [4, 6] as const;
const KINDS = ['tcp', 'udp', 'icmp', 'fragments', 'multicast', 'broadcast'] as const;
const ACTIONS = ['overlay', 'direct', 'drop'] as const;
const DSCP = { overlay: 2, direct: 0, drop: 1 } as const;
const RULES = '[{match: {dscp: 1}, do: drop}, {match: {dscp: 2}, do: overlay}]';

interface Cell {
  family: 4 | 6;
  kind: (typeof KINDS)[number];
  action: (typeof ACTIONS)[number];
  /** Port or identifier, which tells the cells' packets apart. */
  number: number;
}

/** IPv6 has no broadcast. */
const CELLS: Cell[] = FAMILIES.flatMap((family) =>
  KINDS.filter((kind) => family === 4 || kind !== 'broadcast').flatMap((kind) =>
    ACTIONS.map((action) => ({ family, kind, action, number: 0 })),
  ),
).map((cell, i) => ({ ...cell, number: 20_001 + i }));

const toMany = ({ kind }: Cell): boolean => kind === 'multicast' || kind === 'broadcast';

/** Which place a cell's packet must be seen at, and nowhere else. */
function place(mode: (typeof MODES)[number], cell: Cell): string {
  // The kernel sends what goes to many by the interface of its source, whatever the tables say; in mode full it drops by the rules.
  if (toMany(cell)) return mode === 'full' && cell.action === 'drop' ? 'nowhere' : 'wire to c';
  if (cell.action === 'overlay') return "b's device";
  return cell.action === 'direct' ? 'wire to c' : 'nowhere';
}

describe.skipIf(!usable)('where packets are seen (needs root, /dev/net/tun and a build)', () => {
  describe.each(MODES)('in mode %s', (mode) => {
    const overlay = new Overlay();
    let a: Agent;
    let b: Agent;
    let taps: Record<string, Program>;
    let targets: Record<'overlay' | 'direct' | 'drop', Record<4 | 6, string>>;

    beforeAll(async () => {
      const { ground } = overlay;
      const [hostA, hostB, c] = [await ground.host('a'), await ground.host('b'), await ground.host('c')];
      await ground.join(hostA, hostB);
      await ground.join(hostA, c);
      const { v4, v6 } = hostA.port(c).peer;
      await hostA.well('ip', '-4', 'route', 'add', 'default', 'via', v4);
      await hostA.well('ip', '-6', 'route', 'add', 'default', 'via', v6);
      a = await overlay.agent(hostA, {
        peers: peersOf(hostA, 'v4', hostB),
        intercept: `{mode: ${mode}, rules: ${RULES}}`,
      });
      b = await overlay.agent(hostB, { peers: peersOf(hostB, 'v4', hostA) });
      await startAll(a, b);
      await a.connected(b);
      await a.reaches(b.v4);
      await a.reaches(b.v6);
      const inside = { 4: b.v4, 6: b.v6 };
      const outside = { 4: v4, 6: v6 };
      // In mode split what goes to c never meets a rule.
      targets = { overlay: inside, direct: outside, drop: mode === 'full' ? outside : inside };
      taps = {
        'wire to b': hostA.start('tcpdump', '-i', hostA.port(hostB).device, '-l', '-U', '-n'),
        'wire to c': hostA.start('tcpdump', '-i', hostA.port(c).device, '-Q', 'out', '-l', '-U', '-n'),
        "b's device": hostB.start('tcpdump', '-i', 'cw0', '-Q', 'in', '-l', '-U', '-n'),
      };
      for (const tap of Object.values(taps)) await eventually(() => expect(tap.err).toContain('listening'));
    });

    const destination = (cell: Cell): string => {
      if (cell.kind === 'multicast') return cell.family === 4 ? '239.1.2.3' : 'ff0e::1:2';
      // The subnet's own broadcast address.
      if (cell.kind === 'broadcast')
        return targets.direct[4].replace(/\d+$/, (last) => String(Number(last) | 3));
      return targets[cell.action][cell.family];
    };

    it('is as the table says', async () => {
      const device = a.host.ports.get('c')!.device;
      const asked = CELLS.map((cell) => ({ ...cell, to: destination(cell), tos: DSCP[cell.action] << 2 }));
      await a.host.well('python3', '-c', SEND, JSON.stringify(asked), device, a.host.ports.get('c')!.v4);
      // One more, which comes last.
      await a.reaches(b.v4);
      await a.pings(targets.direct[4]);
      const seen = (): Record<string, string> =>
        Object.fromEntries(CELLS.map((cell) => [nameOf(cell), placesOf(taps, cell.number)]));
      const wanted = Object.fromEntries(CELLS.map((cell) => [nameOf(cell), place(mode, cell)]));
      await expect.poll(seen, SOON).toEqual(wanted);
      const drops = await a.drops();
      expect(drops['rule']).toBeGreaterThan(0);
      const cells = CELLS.filter((cell) => toMany(cell) && place(mode, cell) === 'nowhere');
      expect(drops['rule-many'] ?? 0).toBe(cells.length);
      expect(taps['wire to b'].out).toContain('.7100');
    });
  });
});

const nameOf = ({ family, kind, action }: Cell): string => `IPv${family} ${kind} ${action}`;

function placesOf(taps: Record<string, Program>, number: number): string {
  const pattern = new RegExp(`\\b${number}\\b`);
  const found = Object.entries(taps).flatMap(([name, { out }]) => (pattern.test(out) ? name : []));
  return found.join(', ') || 'nowhere';
}

const SEND = `
import json, socket, struct, sys
cells, device, source = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]
index = socket.if_nametoindex(device)
for c in cells:
    six = c['family'] == 6
    family = socket.AF_INET6 if six else socket.AF_INET
    kind, proto = socket.SOCK_DGRAM, 0
    if c['kind'] == 'tcp': kind = socket.SOCK_STREAM
    if c['kind'] == 'icmp': kind, proto = socket.SOCK_RAW, 58 if six else 1
    s = socket.socket(family, kind, proto)
    s.settimeout(0.05)
    if six: s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, c['tos'])
    else: s.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, c['tos'])
    if c['kind'] == 'multicast':
        if six: s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index); s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 5)
        else: s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(source)); s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 5)
    if c['kind'] == 'broadcast': s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    if c['kind'] == 'fragments' and not six: s.setsockopt(socket.IPPROTO_IP, 10, 0) # IP_MTU_DISCOVER, IP_PMTUDISC_DONT
    try:
        if c['kind'] == 'tcp': s.connect((c['to'], c['number']))
        elif c['kind'] == 'icmp':
            echo = struct.pack('!BBHHH', 128 if six else 8, 0, 0, c['number'], 1)
            total = sum(struct.unpack('!HHHH', echo))
            total = (total & 0xffff) + (total >> 16)
            if not six: echo = struct.pack('!BBHHH', 8, 0, ~total & 0xffff, c['number'], 1)
            s.sendto(echo, (c['to'], 0))
        else: s.sendto(bytes(3000 if c['kind'] == 'fragments' else 100), (c['to'], c['number']))
    except OSError: pass
    s.close()
`;
