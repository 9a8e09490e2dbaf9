/**
 * `bench/mesh-accuracy`: how exactly links are what was asked for, as a table or `--json`. It measures the mesh's own emulator unless
 * `CAUSEWAY_MESH_LINKS` says netem. It brings up a mesh of its own and takes it down again.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  arrivalRate,
  delayErrors,
  headerBytes,
  lossRuns,
  loadMachine,
  mean,
  quantile,
  sendStream,
  type Stream,
} from './measure.js';
import { meshDown, meshUp } from './mesh.js';
import { nodeNamespace } from './plan.js';
import { changeLink, type Change } from './shaping.js';
import { linkBetween, withLock } from './state.js';

interface Figure {
  readonly figure: string;
  readonly asked: string;
  readonly measured: string;
}

const mesh = `accuracy-${process.pid}`;
const payload = 1000;
const between = {
  from: nodeNamespace(mesh, 'a'),
  to: nodeNamespace(mesh, 'b'),
  address: '10.77.0.2',
  payload,
};
const clean: Change = { delayMs: 10, loss: 0, burst: null, rateBps: 10e6, queueMs: 50 };
const ms = (value: number): string => `${value.toFixed(3)} ms`;

async function shape(change: Change): Promise<void> {
  await withLock(mesh, (state) =>
    changeLink(state, linkBetween(state, 'a', 'b').link, [{ ...clean, ...change }, clean]),
  );
}

const stream = (count: number, intervalMs: number): Stream => ({ ...between, count, intervalMs });

async function delayFigure(load: number): Promise<Figure> {
  await shape({});
  const end = loadMachine(load);
  try {
    const errors = delayErrors(await sendStream(stream(2000, 2)), payload, clean.delayMs!, clean.rateBps!);
    const within = errors.filter((error) => Math.abs(error) <= 0.3).length / errors.length;
    return {
      figure: `delay error at 10 Mbit/s, ${load === 0 ? 'machine idle' : `${load} busy processes`}`,
      asked: 'within ±0.3 ms',
      measured:
        `median ${ms(quantile(errors, 0.5))}, p95 ${ms(quantile(errors, 0.95))}, p99 ${ms(quantile(errors, 0.99))}, ` +
        `max ${ms(quantile(errors, 1))}; ${(within * 100).toFixed(1)} % within`,
    };
  } finally {
    end();
  }
}

async function lossFigure(change: Change): Promise<Figure> {
  await shape({ rateBps: null, delayMs: 1, loss: 0.05, ...change });
  const count = 20_000;
  const arrivals = await sendStream(stream(count, 0.05));
  const runs = lossRuns(arrivals, count);
  return {
    figure: `loss of 5 % in ${count} frames, ${change.burst === undefined ? 'independent' : `in runs of ${change.burst}`}`,
    asked: `5 %, runs of ${(change.burst ?? 1 / 0.95).toFixed(2)}`,
    measured: `${((100 * (count - arrivals.length)) / count).toFixed(2)} %, runs of ${mean(runs).toFixed(2)}`,
  };
}

async function rateFigure(rateBps: number): Promise<Figure> {
  await shape({ rateBps, delayMs: 0 });
  const frameMs = ((payload + headerBytes) * 8e3) / rateBps;
  const arrivals = await sendStream(stream(Math.ceil(2000 / (frameMs / 2)), frameMs / 2));
  const rate = arrivalRate(arrivals, payload, 0);
  const longest = Math.max(...arrivals.map((arrival) => arrival.arrivedMs - arrival.sentMs));
  return {
    figure: `rate and queue, offered twice ${rateBps / 1e6} Mbit/s`,
    asked: `${rateBps / 1e6} Mbit/s, at most ${ms(50 + frameMs)}`,
    measured: `${(rate / 1e6).toFixed(3)} Mbit/s, at most ${ms(longest)}`,
  };
}

async function throughputFigure(): Promise<Figure> {
  await shape({ rateBps: null, delayMs: 1 });
  const count = 200_000;
  const arrivals = await sendStream({ ...stream(count, 0), payload: 64 });
  const spanMs = arrivals[arrivals.length - 1]!.arrivedMs - arrivals[0]!.arrivedMs;
  return {
    figure: 'frames of 64 bytes payload at full speed, 1 ms delay',
    asked: 'as many as the machine can',
    measured: `${Math.round(arrivals.length / spanMs)} k/s arrive, ${((100 * arrivals.length) / count).toFixed(1)} % of those sent`,
  };
}

async function measureAll(): Promise<Figure[]> {
  return [
    await delayFigure(0),
    await delayFigure(2),
    await lossFigure({}),
    await lossFigure({ burst: 3 }),
    await rateFigure(10e6),
    await rateFigure(100e6),
    await throughputFigure(),
  ];
}

const directory = mkdtempSync(join(tmpdir(), 'mesh-accuracy-'));
process.env['CAUSEWAY_MESH_LINKS'] ||= 'emulator';
try {
  const file = join(directory, 'mesh.yaml');
  writeFileSync(
    file,
    `{name: ${mesh}, agent: false, seed: 1, nodes: {a: {}, b: {}}, links: [{between: [a, b], delay: 10ms, rate: 10mbit}]}`,
  );
  await meshUp(file, {});
  try {
    const figures = await measureAll();
    if (process.argv.includes('--json')) console.log(JSON.stringify(figures, null, 2));
    else
      for (const { figure, asked, measured } of figures)
        console.log(`${figure}\n    asked     ${asked}\n    measured  ${measured}`);
  } finally {
    await meshDown(mesh);
  }
} finally {
  rmSync(directory, { recursive: true });
}
