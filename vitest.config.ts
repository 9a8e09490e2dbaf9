import { defineConfig } from 'vitest/config';

const project = (name: string, testTimeout: number, more = {}) => ({
  test: {
    name,
    include: [`test/${name}/**/*.test.ts`],
    testTimeout,
    hookTimeout: testTimeout,
    ...more,
  },
});

/** Four kinds of test that stand apart; `integration` needs root, and waits more than it works: but its timers want some of the machine, too. */
export default defineConfig({
  test: {
    projects: [
      project('unit', 20_000),
      project('sim', 120_000),
      project('fuzz', 120_000),
      project('integration', 180_000, { maxWorkers: 2, sequence: { groupOrder: 1 } }),
    ],
  },
});
