import { availableParallelism } from 'node:os';
import { delimiter } from 'node:path';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Those that take longest begin first, or the last one would run alone. */
const LONG =
  /sim.(mesh|route|idle-traffic)|integration.(demo|agent.(bad-input|two-hosts|failover|lifecycle|path-mtu)|mesh.(lifecycle|emulator)|cli.lifecycle)\.test/;
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const isLong = ({ moduleId }: TestSpecification) => LONG.test(moduleId);
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))];
  }
}

const project = (name: string, testTimeout: number, more = {}) => ({
  test: {
    name,
    include: [`test/${name}/**/*.test.ts`],
    testTimeout,
    hookTimeout: testTimeout,
    ...more,
  },
});

/** Without what stands in for other programs to choose their version: there, each start of `python3` takes ten times as long. */
const path = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => !folder.endsWith('/shims'));

/**
 * Four kinds of test that stand apart; `integration` needs root, and waits more than it works: but its timers want some of the machine,
 * too. CAUSEWAY_TEST_WORKERS: how many of its files run at a time.
 */
const atATime = Number(process.env['CAUSEWAY_TEST_WORKERS'] ?? 2);

export default defineConfig({
  test: {
    // Vitest would leave a core alone.
    maxWorkers: availableParallelism(),
    env: { PATH: path.join(delimiter) },
    sequence: { sequencer: LongestFirst },
    projects: [
      // Files of one process share their modules, whose loading takes a good part of the time; no module keeps anything for the next file.
      project('unit', 60_000, { isolate: false }),
      project('sim', 240_000, { isolate: false }),
      project('fuzz', 240_000, { isolate: false }),
      project('integration', 180_000, { isolate: false, maxWorkers: atATime, sequence: { groupOrder: 1 } }),
    ],
  },
});
