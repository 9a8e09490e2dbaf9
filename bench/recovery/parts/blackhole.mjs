/**
 * A minute of silence on the next link under full load: what sender (a) and relay (b) keep in memory, and how soon traffic is back. The load is
 * a reliable UDP flow that doesn't slow down, at nearly the links' rate, and a TCP stream beside it.
 */
import { iperf } from '../../lib/measure.mjs';
import { counters, withMesh } from '../../lib/mesh.mjs';
import { residentMiB, sleep } from '../../lib/net.mjs';
import { check } from '../../lib/results.mjs';
import { median } from '../../lib/table.mjs';

/** Growth that is allowed, MiB: stores are bounded and there from the start; this is what a collector leaves about. */
const GROWTH_MIB = 32;
const BACK_SECONDS = 10;
const RELIABLE = 11;
const SAMPLE_MS = 500;
/** The load goes on that much longer than what is measured. */
const SPARE_SECONDS = 10;

const LINK = { delay: '5ms', rate: '100mbit', queue: '20ms' };
const MESH = {
  nodes: { a: {}, b: {}, c: {} },
  links: [
    { between: ['a', 'b'], ...LINK },
    { between: ['b', 'c'], ...LINK },
  ],
};

/** Memory of each agent and what the last one delivered, each half second until `state.running` ends. */
async function sample({ a, b, c }, state) {
  const samples = [];
  let before = await counters(c, 'cw0');
  const began = performance.now();
  let last = began;
  while (state.running) {
    await sleep(SAMPLE_MS);
    const [mib, now] = [
      await Promise.all([a, b, c].map(({ pid }) => residentMiB(pid))),
      await counters(c, 'cw0'),
    ];
    const at = performance.now();
    const mbps = ((now.rx.bytes - before.rx.bytes) * 8e-3) / (at - last);
    samples.push({ at: (at - began) / 1000, phase: state.phase, mib, mbps });
    [before, last] = [now, at];
  }
  return samples;
}

async function load({ a, c }, seconds) {
  const udp = ['-u', '-b', '80M', '-l', '1200', '--dscp', String(RELIABLE), '-t', String(seconds)];
  const tcp = ['-t', String(seconds), '-C', 'cubic'];
  // A control connection may die in the silence; what counts is what c's device delivers.
  await Promise.all([udp, tcp].map((args) => iperf(a, c, c.address, args).catch(() => undefined)));
}

async function measure(context, { hosts, link }) {
  const [before, silence, after] = [context.seconds(20, 5), context.seconds(60, 8), context.seconds(40, 10)];
  const state = { running: true, phase: 'before' };
  const sampling = sample(hosts, state);
  sampling.catch(() => undefined); // awaited at the end
  void load(hosts, before + silence + after + SPARE_SECONDS); // it is cut off with the mesh
  await sleep(before * 1000);
  context.log(`the link from b to c is silent for ${silence} s`);
  await link('b', 'c', '--blackhole');
  state.phase = 'silent';
  await sleep(silence * 1000);
  await link('b', 'c', '--up');
  state.phase = 'after';
  await sleep(after * 1000);
  state.running = false;
  return sampling;
}

const most = (samples, i) => Math.max(...samples.map(({ mib }) => mib[i]));

function judged(samples) {
  const [before, silent, after] = ['before', 'silent', 'after'].map((name) =>
    samples.filter(({ phase }) => phase === name),
  );
  const loaded = before.slice(Math.floor(before.length / 2)); // once all is compiled and the flows are under way
  const usual = loaded.reduce((sum, { mbps }) => sum + mbps, 0) / loaded.length;
  const back = after.find(({ mbps }) => mbps >= 0.8 * usual);
  return {
    usualMbps: usual,
    silentMbps: silent.at(-1).mbps,
    afterMbps: median(after.map(({ mbps }) => mbps)),
    backSeconds: back === undefined ? Infinity : back.at - silent.at(-1).at,
    memory: ['a', 'b', 'c'].map((name, i) => ({
      name,
      beforeMiB: most(before, i),
      silentMiB: most(silent, i),
      afterMiB: most(after, i),
      growthMiB: Math.max(most(silent, i), most(after, i)) - most(before, i),
    })),
  };
}

export const blackhole = {
  name: 'blackhole',
  needsAgents: true,
  title: 'the next link silent for a minute under full load: memory, and the traffic’s return',
  run: (context) =>
    withMesh({ ...MESH, agent: {} }, async (mesh) => {
      const samples = await measure(context, mesh);
      const result = judged(samples);
      const roles = ['sender (a)', 'relay (b)'];
      return {
        tables: [
          {
            rows: [
              ['resident, MiB', 'before', 'silent', 'after', 'growth'],
              ...result.memory.map(({ name, ...mib }) => [
                name,
                ...Object.values(mib).map((each) => each.toFixed(0)),
              ]),
              [
                'delivered, Mbit/s',
                result.usualMbps.toFixed(1),
                result.silentMbps.toFixed(1),
                result.afterMbps.toFixed(1),
                '',
              ],
            ],
          },
        ],
        checks: [
          ...roles.map((role, i) =>
            check(`${role}: memory grows`, result.memory[i].growthMiB, {
              most: GROWTH_MIB,
              unit: ' MiB',
              digits: 1,
            }),
          ),
          check('traffic back after', result.backSeconds, { most: BACK_SECONDS, unit: ' s', digits: 1 }),
        ],
        data: { ...result, samples },
      };
    }),
};
