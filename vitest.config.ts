import { defineConfig } from 'vitest/config';

const project = (name: string, testTimeout: number, sequential = false) => ({
  test: {
    name,
    include: [`test/${name}/**/*.test.ts`],
    testTimeout,
    hookTimeout: testTimeout,
    fileParallelism: !sequential,
  },
});

/** Four kinds of test that stand apart; `integration` needs root and runs one file at a time. */
export default defineConfig({
  test: {
    projects: [
      project('unit', 20_000),
      project('sim', 120_000),
      project('fuzz', 120_000),
      project('integration', 180_000, true),
    ],
  },
});
