/** Each contender's outage at each kind of cut, on a ground of its own for each cut; all contenders side by side, as they are light. */
import { babeldWith } from '../../contenders/babeld.mjs';
import { causewayWith } from '../../contenders/causeway.mjs';
import { tincWith } from '../../contenders/tinc.mjs';
import { yggdrasil } from '../../contenders/yggdrasil.mjs';
import { diamond, onGround, run, sleep } from '../../lib/net.mjs';
import { check } from '../../lib/results.mjs';
import { median } from '../../lib/table.mjs';
import { CUTS, relayInUse } from '../cuts.mjs';
import { endFlows, longestOutage, stall, startFlows, untilRestored } from '../flows.mjs';

/** ms that a cut is waited out, at most. */
const BOUND = { full: 70_000, quick: 15_000 };
/** ms that flows run before a cut, and go on after it. */
const BEFORE = 2_000;
const AFTER = 1_500;

const CONTENDERS = [
  causewayWith(''),
  tincWith('tinc', ''),
  tincWith('tinc, PingInterval 2', 'PingInterval = 2\n'),
  yggdrasil,
  babeldWith('babeld/wireguard-go', ''),
  babeldWith('babeld/wireguard-go, hellos 1 s', 'default hello-interval 1 update-interval 4\n'),
];

/** What is asked of ourselves, s: outage and the stream's stall. */
const BOUNDS = {
  silent: { outage: 0.7, stall: 1 },
  interface: { outage: 0.15, stall: 1 },
  carrier: { outage: 0.15, stall: 1 },
  stop: { outage: 0.15, stall: 1 },
};

async function isThere({ needs }) {
  for (const program of needs) {
    const found = await run('sh', ['-c', 'command -v "$0"', program]).catch(() => '');
    if (found === '') return false;
  }
  return true;
}

async function measureCut(contender, cut, boundMs) {
  return onGround(diamond, contender, async ({ hosts, address }) => {
    const [a, , , d] = hosts;
    const flows = await startFlows(a, d, address);
    await sleep(BEFORE);
    const relay = await relayInUse(hosts);
    await cut.make(hosts, relay);
    const cutAt = Date.now();
    const isRestored = await untilRestored(flows, cutAt, boundMs);
    await sleep(AFTER);
    const outage = longestOutage(flows, cutAt) / 1000;
    const { streams, lost } = await endFlows(flows);
    const [stream] = streams;
    const isWhole = isRestored && ['end', 'open'].includes(stream?.ended) && stream.inOrder && lost === '';
    return {
      relay: relay.name,
      isRestored,
      outage: isRestored ? outage : Infinity,
      stall: isWhole ? stall(stream, cutAt) / 1000 : Infinity,
    };
  });
}

const text = (seconds) => (seconds === Infinity ? 'never' : seconds.toFixed(2));

export const cuts = {
  name: 'cuts',
  title: 'outage of pings each 20 ms, and stall of a TCP stream, when the path in use is cut',
  /** @returns tables, checks and data */
  async run({ quick, rounds, others, kinds, contenders: wanted, log }) {
    const boundMs = quick ? BOUND.quick : BOUND.full;
    const all = CONTENDERS.filter(
      ({ name }) => wanted === undefined || wanted.some((part) => name.startsWith(part)),
    );
    const present = [];
    for (const contender of all) {
      if (await isThere(contender)) present.push(contender);
      else log(`${contender.name} isn't installed`);
    }
    const tables = [];
    const checks = [];
    const data = {};
    for (const kind of kinds) {
      const results = new Map(present.map(({ name }) => [name, []]));
      for (let round = 0; round < rounds; round++) {
        log(`${CUTS[kind].title}, ${round + 1} of ${rounds}`);
        const due = present.filter(({ name }) => name === 'causeway' || round < others);
        await Promise.all(
          due.map(async (contender) => {
            const result = await measureCut(contender, CUTS[kind], boundMs).catch((error) => {
              log(`${contender.name}: ${error.message}`);
            });
            if (result) results.get(contender.name).push(result);
          }),
        );
      }
      data[kind] = Object.fromEntries(results);
      tables.push({
        title: `${CUTS[kind].title}: seconds, median (least … most) of so many cuts; waited for ${boundMs / 1000} s at most`,
        rows: [
          ['', 'cuts', 'outage', '', 'stall of the stream', ''],
          ...[...results].map(([name, each]) => row(name, each)),
        ],
      });
      const own = results.get('causeway');
      if (own?.length && BOUNDS[kind]) checks.push(...judge(kind, own));
    }
    return { tables, checks, data };
  },
};

function row(name, each) {
  if (each.length === 0) return [name, '0', 'not measured', '', '', ''];
  const cells = ['outage', 'stall'].flatMap((key) => {
    const values = each.map((one) => one[key]);
    return [text(median(values)), `(${text(Math.min(...values))} … ${text(Math.max(...values))})`];
  });
  return [name, String(each.length), ...cells];
}

function judge(kind, own) {
  const middle = (key) => median(own.map((each) => each[key]));
  const { outage, stall: most } = BOUNDS[kind];
  return [
    check(`outage, ${CUTS[kind].title}`, middle('outage'), { most: outage, unit: ' s' }),
    check(`stall of the stream, ${CUTS[kind].title}`, middle('stall'), { most, unit: ' s' }),
  ];
}
