/**
 * `make bench-redundant`: schemes of choosing links for packets with a deadline of 65 ms one way, replayed over a scenario file through the agent's own
 * cores: what nodes measure and advertise, the sets made of it, the list of links in each frame, the window that ends later copies. Prints a table and the
 * requirements, and writes `bench/results/redundant.json`. Needs `make build`, no root.
 *
 *   node bench/redundant.mjs [--scenario FILE] [--rate N] [--seconds N]
 *
 * --rate: packets a second and flow that are simulated while any link is foul, a multiple of 10; flows send 100. While all links are clean, every scheme delivers every packet.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Duplicates } from '../dist/overlay/egress/duplicates.js';
import { encodeSourceRoute, findListed, FROM_SOURCE, readOnward } from '../dist/overlay/wire/source-route.js';
import { check, checkRows, writeResults } from './lib/results.mjs';
import { printTable } from './lib/table.mjs';
import { chance } from './redundant/random.mjs';
import { DEADLINE, SCHEMES } from './redundant/schemes.mjs';
import { STEP, Weather } from './redundant/weather.mjs';

const { values: options } = parseArgs({
  options: {
    scenario: { type: 'string', default: join(import.meta.dirname, 'redundant', 'continent.json') },
    rate: { type: 'string', default: '20' },
    seconds: { type: 'string' },
  },
});
const scenario = JSON.parse(readFileSync(options.scenario, 'utf8'));
const seconds = Number(options.seconds ?? scenario.seconds);
const PER_STEP = (Number(options.rate) * STEP) / 1e6;
if (!Number.isInteger(PER_STEP) || PER_STEP < 1) {
  console.error(`redundant: --rate is a multiple of ${1e6 / STEP}`);
  process.exit(2);
}
/** A lost packet is missed when the next one comes, and asked for once. */
const REQUEST_GAP = 10_000;
const EPOCH = 1;

const weather = new Weather(scenario);
const { edges, ids } = weather;
const edgeAt = new Map(edges.map(({ from, to }, e) => [from * 64 + to, e]));
const flows = scenario.flows.map((flow) => flow.map((site) => scenario.sites.indexOf(site)));

/** A scheme at work: the sets in force, each node's window, and what became of the packets. */
class Run {
  sets = [];
  offered = 0;
  inTime = 0;
  sent = 0;
  #windows = Array.from(ids, () => new Duplicates({ sources: 16, window: 8192 }));
  #sequences = new Map();
  #into = new Uint32Array(24);

  constructor(name, choose) {
    this.name = name;
    this.choose = choose;
  }

  use(sets) {
    if (sets === this.chosen) return;
    this.chosen = sets;
    sets.forEach((set, f) => {
      const key = JSON.stringify(set);
      if (this.sets[f]?.key !== key) this.sets[f] = this.#prepare(key, set, flows[f]);
    });
  }

  #prepare(key, set, [source, destination]) {
    const indices = set.map(([from, to]) => edgeAt.get(from * 64 + to));
    const route = encodeSourceRoute(
      ids[source],
      ids[destination],
      set.map((pair) => pair.map((i) => ids[i])),
    );
    const view = route && new DataView(route.list.buffer);
    const next = Array.from(ids, (_, node) => set.filter(([from]) => from === node).map(([, to]) => to));
    return { key, indices, route, view, next };
  }

  /** `count` packets of flow `f`, the first of number `first`; `foul` says which edges aren't clean. */
  carry(f, first, count, foul) {
    const set = this.sets[f];
    this.offered += count;
    if (!set.indices.some((e) => foul.has(e) || !weather.isUp(e))) {
      this.sent += count * set.indices.length;
      if (set.indices.length > 0) this.inTime += count;
      return;
    }
    for (let k = 0; k < count; k++) if (this.#packet(f, set, first + k) <= DEADLINE) this.inTime++;
  }

  /** When packet `n` arrives, µs; each node sends its first copy on. */
  #packet(f, set, n) {
    const [source, destination] = flows[f];
    const sequence = (this.#sequences.get(source) ?? 0) + 1;
    this.#sequences.set(source, sequence);
    const events = [{ at: 0, node: source }];
    while (events.length > 0) {
      let least = 0;
      for (let i = 1; i < events.length; i++) if (events[i].at < events[least].at) least = i;
      const [{ at, node }] = events.splice(least, 1);
      if (this.#windows[node].seen(ids[source], EPOCH, sequence)) continue;
      if (node === destination) {
        // Copies still under way go on to their ends; what they cost is counted.
        this.arrival = at;
        continue;
      }
      for (const to of this.#onward(set, node, source, destination)) {
        const delay = this.#pass(edgeAt.get(node * 64 + to), f, n);
        if (delay < Infinity) events.push({ at: at + delay, node: to });
      }
    }
    const { arrival } = this;
    this.arrival = Infinity;
    return arrival;
  }
  arrival = Infinity;

  /** From the list in the frame, as a relay reads it; a set that no frame can hold (flooding) from the set. */
  #onward({ route, view, next }, node, source, destination) {
    if (!route) return next[node];
    const index = node === source ? FROM_SOURCE : findListed(view, 0, route.counts, ids[node]);
    const n = readOnward(view, 0, route.counts, index, ids[destination], this.#into);
    return Array.from(this.#into.subarray(0, n), (id) => id - 1);
  }

  /** µs that the packet takes over an edge, with one request and one retransmission; Infinity: lost. */
  #pass(e, f, n) {
    const { loss, micros } = edges[e];
    const back = edges[e ^ 1];
    if (!weather.isUp(e)) return Infinity; // a relay sends nothing over a link that is down
    const draw = (what) => chance(n, e * 16 + f, what);
    this.sent++;
    if (loss === 0 || draw(1) >= loss) return micros;
    if (draw(2) < back.loss) return Infinity;
    this.sent++;
    return draw(3) < loss ? Infinity : 2 * micros + REQUEST_GAP + back.micros;
  }
}

const runs = SCHEMES.map(([name, scheme]) => new Run(name, scheme(weather.known, flows)));
const calmSets = runs.map((run) => run.choose(weather.known, -STEP, false));
runs.forEach((run, r) => run.use(calmSets[r]));
let foulSteps = 0;
let numbers = 0;
for (let now = 0; now < seconds * 1e6; now += STEP) {
  const isNews = weather.advance(now);
  if (!weather.isCalm(now)) for (const run of runs) run.use(run.choose(weather.known, now, isNews));
  if (weather.foul.size > 0) foulSteps++;
  for (let f = 0; f < flows.length; f++) {
    for (const run of runs) run.carry(f, numbers, PER_STEP, weather.foul);
    numbers += PER_STEP;
  }
}

const baseline = runs.find(({ name }) => name === 'one path, dynamic');
const all = runs.at(-1);
const late = (run) => 1 - run.inTime / run.offered;
const rows = runs.map((run) => ({
  scheme: run.name,
  offered: run.offered,
  late: run.offered - run.inTime,
  lateShare: late(run),
  gapClosed: (late(baseline) - late(run)) / (late(baseline) - late(all)),
  cost: run.sent / baseline.sent,
}));
console.log(
  `${flows.length} flows, ${(seconds / 3600).toFixed(1)} h, ${scenario.sites.length} sites; some link is foul ${((100 * foulSteps * STEP) / 1e6 / seconds).toFixed(1)} % of the time\n`,
);
printTable([
  ['scheme', 'late or lost', 'per million', 'gap closed', 'cost'],
  ...rows.map(({ scheme, late: count, lateShare, gapClosed, cost }) => [
    scheme,
    count,
    (1e6 * lateShare).toFixed(1),
    `${(100 * gapClosed).toFixed(2)} %`,
    cost.toFixed(2),
  ]),
]);
const { gapClosed, cost } = rows.find(({ scheme }) => scheme === 'targeted redundancy');
const checks = [
  check('gap between one path and flooding that targeted redundancy closes', 100 * gapClosed, {
    least: 99,
    unit: ' %',
  }),
  check('its cost, in that of one path', cost, { most: 2.2 }),
];
console.log();
printTable(checkRows(checks));
await writeResults('redundant', { options, foulSteps, rows, checks });
