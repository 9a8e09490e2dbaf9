/** The path in use is cut and restored many times in a row, under pings and many TCP connections. */
import { causewayWith } from '../../contenders/causeway.mjs';
import { linksUp, status } from '../../lib/agent.mjs';
import { diamond, onGround, sleep, until } from '../../lib/net.mjs';
import { check } from '../../lib/results.mjs';
import { median } from '../../lib/table.mjs';
import { CUTS, relayInUse } from '../cuts.mjs';
import { endFlows, longestOutage, pingDuplicates, stall, startFlows, untilRestored } from '../flows.mjs';

const CONNECTIONS = 10;
/** ms that a cut may take to be got over, and that the flows go on before it is undone. */
const BOUND = 10_000;
const HOLD = 300;

export const flap = {
  name: 'flap',
  title: 'cut and restored again and again: a silent blackhole of the path in use',
  async run({ quick, log }) {
    const times = quick ? 5 : 30;
    const measured = await onGround(diamond, causewayWith(''), (made) => cutManyTimes(made, times, log));
    const { outages, streams, lost, loops, relayed, duplicates } = measured;
    const whole = streams.filter(({ ended, inOrder }) => ['end', 'open'].includes(ended) && inOrder).length;
    const longest = Math.max(...streams.map((stream) => stall(stream, 0))) / 1000;
    return {
      tables: [
        {
          title: `${times} cuts, ${CONNECTIONS} TCP connections`,
          rows: [
            ['', ''],
            ['outage of pings, median, s', median(outages).toFixed(2)],
            ['outage of pings, most, s', Math.max(...outages).toFixed(2)],
            ['longest stall of a stream, s', longest.toFixed(2)],
            ['packets relayed by both relays', String(relayed)],
          ],
        },
      ],
      checks: [
        check('connections that lived through it', whole, { least: CONNECTIONS, digits: 0 }),
        check('connections lost', lost === '' ? 0 : lost.split('\n').length, { most: 0, digits: 0 }),
        check('packets whose TTL ran out, all agents', loops, { most: 0, digits: 0 }),
        check('pings answered twice', duplicates, { most: 0, digits: 0 }),
        check('outage of pings, median of all cuts', median(outages), { most: 0.7, unit: ' s' }),
      ],
      data: measured,
    };
  },
};

async function cutManyTimes({ hosts, address, sockets }, times, log) {
  const [a, , , d] = hosts;
  const flows = await startFlows(a, d, address, CONNECTIONS);
  await sleep(1000);
  const outages = [];
  for (let k = 0; k < times; k++) {
    if (k % 10 === 0) log(`cut ${k + 1} of ${times}`);
    const relay = await relayInUse(hosts);
    await CUTS.silent.make(hosts, relay);
    const cutAt = Date.now();
    if (!(await untilRestored(flows, cutAt, BOUND))) throw new Error(`cut ${k + 1} was not got over`);
    outages.push(longestOutage(flows, cutAt) / 1000);
    await sleep(HOLD);
    await CUTS.silent.undo(hosts, relay);
    await until(async () => (await linksUp(sockets[0])) === 2, "both of a's links up again");
    await sleep(HOLD);
  }
  const duplicates = pingDuplicates(flows);
  const reports = await Promise.all(sockets.map(status));
  const sum = (of) => reports.reduce((total, { counters }) => total + of(counters), 0);
  return {
    outages,
    duplicates,
    loops: sum(({ drops }) => drops['ttl-exceeded'] ?? 0),
    relayed: sum((counters) => counters.relayed.packets),
    ...(await endFlows(flows)),
  };
}
