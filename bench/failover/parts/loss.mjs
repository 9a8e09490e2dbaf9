/**
 * Loss comes to the path in use and goes again: how soon flows of each service leave it, how long they stay away, and how often they move.
 *
 *          b  5 + 5 ms, 10 % loss for a while
 *        /   \
 *       a     d
 *        \   /
 *          c  8 + 8 ms
 *
 * A reliable flow that has become bulk may have gone over to c: then it is there that the loss comes.
 */
import { counters, withMesh } from '../../lib/mesh.mjs';
import { on, sleep, start, until } from '../../lib/net.mjs';
import { check } from '../../lib/results.mjs';

const MESH = {
  agent: { services: { default: { tcp: 'reliable', udp: 'realtime' } } },
  nodes: { a: {}, b: {}, c: {}, d: {} },
  links: [
    { between: ['a', 'b'], delay: '5ms' },
    { between: ['b', 'd'], delay: '5ms' },
    { between: ['a', 'c'], delay: '8ms' },
    { between: ['c', 'd'], delay: '8ms' },
  ],
};
/** Each a flow of about 2 Mbit/s from a to d. */
const SERVICES = { realtime: ['-u', '-b', '1500k', '-l', '500'], reliable: ['-b', '1500k', '-l', '2K'] };

/** ms between two looks at which way the packets go, and for how long they are looked at at most. */
const LOOK_MS = 250;
const LEAVE_BOUND = 20_000;
const RETURN_BOUND = 120_000;
/** ms that the loss lasts once it was fled, and that are looked at after the return. */
const LASTS = 5_000;
const AFTER_RETURN = 20_000;

async function onMesh(service, mesh, log) {
  const { a, d } = mesh.hosts;
  start(d, 'iperf3', ['-s', '-1']);
  await until(async () => (await on(d, 'ss', '-Hltn', 'sport = :5201')) !== '', 'iperf3 server');
  start(a, 'iperf3', ['-c', d.address, '-t', '600', ...SERVICES[service]]);
  const sent = async (relay) => (await counters(a, `to-${relay}`)).tx.bytes;
  /** The relay that carries more of what passes from now on. */
  const way = async () => {
    const before = [await sent('b'), await sent('c')];
    await sleep(LOOK_MS);
    const after = [await sent('b'), await sent('c')];
    return after[0] - before[0] > after[1] - before[1] ? 'b' : 'c';
  };
  /** ms until the way is `relay`, from now on; Infinity when that takes too long. */
  const untilWay = async (relay, boundMs) => {
    const began = performance.now();
    while (performance.now() - began < boundMs) if ((await way()) === relay) return performance.now() - began;
    return Infinity;
  };
  await sleep(10_000);
  const active = await way();
  const other = active === 'b' ? 'c' : 'b';
  log(`${service}: 10 % loss`);
  await mesh.link('a', active, '--loss', '10%');
  const left = await untilWay(other, LEAVE_BOUND);
  await sleep(LASTS);
  await mesh.link('a', active, '--loss', '0%');
  log(`${service}: no loss`);
  const returned = left === Infinity ? Infinity : await untilWay(active, RETURN_BOUND);
  let moves = returned === Infinity ? 0 : 1;
  let last = active;
  for (let end = performance.now() + AFTER_RETURN; returned !== Infinity && performance.now() < end;) {
    const next = await way();
    if (next !== last) moves++;
    last = next;
  }
  return { left: left / 1000, returned: returned / 1000, moves };
}

export const loss = {
  name: 'loss',
  title: '10 % loss comes to the path in use, and goes again',
  async run({ quick, rounds, log }) {
    const times = quick ? 1 : rounds;
    const data = {};
    for (const service of Object.keys(SERVICES)) data[service] = [];
    // One after the other: agents that wait for the CPU make round trips longer, and paths change for that.
    for (let k = 0; k < times; k++)
      for (const service of Object.keys(SERVICES))
        data[service].push(await withMesh(MESH, (mesh) => onMesh(service, mesh, log)));
    const worst = (service, key, choose) => choose(...data[service].map((each) => each[key]));
    return {
      tables: [
        {
          title: `seconds, worst of ${times}`,
          rows: [
            ['service', 'left after', 'returned after', 'moves'],
            ...Object.keys(SERVICES).map((service) => [
              service,
              worst(service, 'left', Math.max).toFixed(1),
              worst(service, 'returned', Math.min).toFixed(1),
              String(worst(service, 'moves', Math.max)),
            ]),
          ],
        },
      ],
      checks: Object.keys(SERVICES).flatMap((service) => [
        check(`${service}: left the lossy path`, worst(service, 'left', Math.max), { most: 3, unit: ' s' }),
        check(`${service}: returned`, worst(service, 'returned', Math.min), {
          least: 20,
          unit: ' s',
          digits: 0,
        }),
        check(`${service}: moves after the loss was gone`, worst(service, 'moves', Math.max), {
          least: 1,
          most: 1,
          digits: 0,
        }),
      ]),
      data,
    };
  },
};
