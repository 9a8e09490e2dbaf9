import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { againOf, stepsOf, TIMED } from '../../../scripts/test-steps.mjs';

test('every project is run once, and each timed file once', () => {
  const [computing, integration, timed, ...more] = stepsOf([]);
  expect(more).toEqual([]);
  expect(computing!.words.filter((word) => word !== '--project')).toEqual(['unit', 'sim', 'fuzz']);
  expect(integration!.words.filter((word) => word.startsWith('test/'))).toEqual(TIMED);
  expect(integration!.words.filter((word) => word === '--exclude')).toHaveLength(TIMED.length);
  expect(timed!.words).toEqual(['--project', 'integration', ...TIMED]);
});

test('only what is asked for is run', () => {
  expect(stepsOf(['fuzz']).map(({ words }) => words)).toEqual([['--project', 'fuzz']]);
  expect(stepsOf(['integration', 'sim']).map(({ title }) => title)).toEqual([
    'sim',
    'integration',
    'integration-timed',
  ]);
});

test('the timed files are there: one that had moved would be run nowhere', () => {
  const root = join(import.meta.dirname, '../../..');
  expect(TIMED.filter((file) => !existsSync(join(root, file)))).toEqual([]);
});

test('a few integration files that fail are run again, each once and alone; anything else that fails has failed', () => {
  const failed = (...files: string[]) => againOf(files.map((file) => ({ file })));
  const [first, second] = ['test/integration/a.test.ts', 'test/integration/b.test.ts'];
  expect(failed()).toEqual([]);
  expect(failed(first, first, second)).toMatchObject([
    { words: ['--project', 'integration', first], workers: 1 },
    { words: ['--project', 'integration', second], workers: 1 },
  ]);
  expect(failed(first, 'test/sim/mesh.test.ts')).toEqual([]);
  expect(failed('unit+sim+fuzz')).toEqual([]);
  expect(failed(first, second, 'test/integration/c.test.ts', 'test/integration/d.test.ts')).toEqual([]);
});
