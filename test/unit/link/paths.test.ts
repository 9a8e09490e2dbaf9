import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Paths } from '../../../src/overlay/link/paths.js';

const SECOND = 1_000_000;
const pathsOf = (chooses = true, now = 0) => {
  const paths = new Paths<string>((endpoint) => endpoint, chooses, now);
  paths.use(now, 'x');
  return paths;
};

/** Runs to `end`, looking each 20 ms; answers what `rttOf` knows, and takes what is better. The times of probes by endpoint. */
function run(
  paths: Paths<string>,
  from: number,
  end: number,
  rttOf: (endpoint: string) => number,
  silent = false,
) {
  const probes: Record<string, number[]> = {};
  const taken: string[] = [];
  for (let now = from; now <= end; now += 20_000) {
    for (const { endpoint, id } of paths.timeout(now, silent)) {
      (probes[endpoint] ??= []).push(now);
      const rtt = rttOf(endpoint);
      const better = rtt > 0 ? paths.answered(now + rtt, id, rtt) : undefined;
      if (better === undefined) continue;
      taken.push(better);
      paths.use(now, better);
      silent = false;
    }
  }
  return { probes, taken };
}

describe('the ways to a neighbour', () => {
  it('need no probes while there is one', () => {
    const paths = pathsOf();
    paths.give(0, ['x']);
    expect(paths.nextTimeout()).toBe(Infinity);
    expect(run(paths, 0, 20 * SECOND, () => 1000, true).probes).toEqual({});
  });

  it('are probed every 5 s times their number; one that never answers soon once a minute', () => {
    const paths = pathsOf();
    paths.give(0, ['x', 'y', 'z']);
    const { probes, taken } = run(paths, 0, 120 * SECOND, (endpoint) => (endpoint === 'z' ? 0 : 1000));
    expect(taken).toEqual([]);
    expect(probes['y']).toHaveLength(9);
    expect(probes['z'].length).toBeLessThanOrEqual(7);
    expect(paths.report(120 * SECOND)).toMatchObject([
      { endpoint: 'x', active: true, rtt: 1000 },
      { endpoint: 'y', active: false, rtt: 1000 },
      { endpoint: 'z', rtt: 0, answeredAgo: Infinity },
    ]);
  });

  it('are probed at once when the active one is silent, and the first that answers is taken', () => {
    const paths = pathsOf();
    paths.give(0, ['x', 'y']);
    run(paths, 0, 2 * SECOND, () => 1000);
    const dead = (endpoint: string) => (endpoint === 'x' ? 0 : 1000);
    const { probes, taken } = run(paths, 2.4 * SECOND, 2.6 * SECOND, dead, true);
    expect(taken).toEqual(['y']);
    expect(probes['y'][0]).toBe(2.4 * SECOND);
  });

  it('that never answered are bothered no oftener when the active one is silent', () => {
    const paths = pathsOf();
    paths.give(0, ['x', 'y']);
    const { probes } = run(paths, 0, 60 * SECOND, () => 0, true);
    expect(probes['y'].length).toBeLessThanOrEqual(6);
  });

  it('change for a nearer one after three probes, at the end that chooses', () => {
    const nearer = (endpoint: string) => (endpoint === 'x' ? 50_000 : 10_000);
    const chooser = pathsOf();
    chooser.give(0, ['x', 'y']);
    expect(run(chooser, 0, 9 * SECOND, nearer).taken).toEqual([]);
    expect(run(chooser, 9 * SECOND, 60 * SECOND, nearer).taken).toEqual(['y']);
    const follower = pathsOf(false);
    follower.give(0, ['x', 'y']);
    expect(run(follower, 0, 60 * SECOND, nearer).taken).toEqual([]);
    const alike = pathsOf();
    alike.give(0, ['x', 'y']);
    expect(run(alike, 0, 60 * SECOND, (endpoint) => (endpoint === 'x' ? 10_000 : 9000)).taken).toEqual([]);
  });

  it('follow the peer: always where it chooses, else to new places, or from one that is not well', () => {
    const [chooser, follower] = [pathsOf(), pathsOf(false)];
    for (const paths of [chooser, follower]) {
      paths.give(0, ['x', 'y']);
      run(paths, 0, SECOND, () => 1000);
      paths.heard(SECOND);
    }
    expect(follower.follows(SECOND, 'y')).toBe(true);
    expect(chooser.follows(SECOND, 'y')).toBe(false);
    expect(chooser.follows(SECOND, 'new')).toBe(true);
    expect(chooser.follows(SECOND, 'x')).toBe(true);
    expect(chooser.follows(1.4 * SECOND, 'y')).toBe(true);
  });

  it('are no more than eight, whatever is heard, and the active one stays', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom('use', 'probed', 'give', 'wait'), fc.nat(40)), { maxLength: 100 }),
        (events) => {
          const paths = pathsOf();
          let now = 0;
          let active = 'x';
          for (const [what, n] of events) {
            now += 1000;
            if (what === 'use') paths.use(now, (active = `p${n}`));
            if (what === 'probed') paths.probed(now, `p${n}`);
            if (what === 'give')
              paths.give(
                now,
                Array.from({ length: n }, (_, i) => `g${i}`),
              );
            if (what === 'wait') {
              now += n * SECOND;
              expect(paths.timeout(now, n % 2 === 0).length).toBeLessThanOrEqual(8);
            }
            const report = paths.report(now);
            expect(report.length).toBeLessThanOrEqual(8);
            expect(report.filter((path) => path.active).map(({ endpoint }) => endpoint)).toEqual([active]);
          }
        },
      ),
    );
  });
});
