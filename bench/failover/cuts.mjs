/** Ways to cut the path in use, on the diamond of `lib/net.mjs`: hosts a, b, c, d, where b and c relay. */
import { ip, on, run, sleep } from '../lib/net.mjs';

/** ms over which the path in use is looked for. */
const LOOK_MS = 400;

/** Drops IP packets that come in from a neighbour; neighbour discovery goes on, and nobody is told. */
const BLACKHOLE = (device) => `table inet cut {
 chain cut {
  type filter hook prerouting priority -500; policy accept;
  iifname "${device}" drop
 }
}
`;

/** Runs nft with a script on its input. */
async function nft(host, script) {
  await on(host, 'sh', '-c', 'printf "%s" "$0" | nft -f -', script);
}

/** The relay that carries a's flows to d. */
export async function relayInUse([a, b, c]) {
  const sent = async (relay) => {
    const [{ stats64 }] = JSON.parse(
      await run('ip', ['-n', a.namespace, '-s', '-j', 'link', 'show', 'dev', `to-${relay.name}`]),
    );
    return stats64.tx.bytes;
  };
  const before = [await sent(b), await sent(c)];
  await sleep(LOOK_MS);
  const after = [await sent(b), await sent(c)];
  return after[0] - before[0] > after[1] - before[1] ? b : c;
}

/** Each makes a cut between a and a relay; `undo` ends it. */
export const CUTS = {
  silent: {
    title: 'a silent blackhole',
    make: ([a], relay) =>
      Promise.all([nft(a, BLACKHOLE(`to-${relay.name}`)), nft(relay, BLACKHOLE(`to-${a.name}`))]),
    undo: ([a], relay) => Promise.all([a, relay].map((host) => nft(host, 'delete table inet cut\n'))),
  },
  interface: {
    title: "an interface of a's down",
    make: ([a], relay) => ip('-n', a.namespace, 'link', 'set', `to-${relay.name}`, 'down'),
    undo: ([a], relay) => ip('-n', a.namespace, 'link', 'set', `to-${relay.name}`, 'up'),
  },
  carrier: {
    title: "the carrier of a's gone",
    make: ([a], relay) => ip('-n', relay.namespace, 'link', 'set', `to-${a.name}`, 'down'),
    undo: ([a], relay) => ip('-n', relay.namespace, 'link', 'set', `to-${a.name}`, 'up'),
  },
  stop: {
    title: 'the relay’s program told to stop',
    make: (_hosts, relay) => {
      for (const child of relay.children) child.kill('SIGTERM');
    },
  },
  kill: {
    title: 'the relay’s program killed',
    make: (_hosts, relay) => {
      for (const child of relay.children) child.kill('SIGKILL');
    },
  },
};
