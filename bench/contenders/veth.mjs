import { forward, ip } from '../lib/net.mjs';

/** No tunnel at all: the kernel's own forwarding over the veth pairs. */
export const veth = {
  name: 'plain veth',
  needs: [],
  async up({ hosts }) {
    for (const host of hosts.slice(1, -1)) await forward(host);
    const [first, last] = [hosts[0], hosts.at(-1)];
    for (const [from, to] of [
      [first, last],
      [last, first],
    ]) {
      if (hosts.length === 2) continue;
      const next = from.underlay.get(hosts[1].index);
      const target = to.underlay.get(hosts[1].index);
      await ip('-n', from.namespace, 'route', 'add', `${target.own}/32`, 'via', next.peer);
    }
    const via = hosts.at(-2).index;
    return { address: last.underlay.get(via).own, pids: [] };
  },
};
