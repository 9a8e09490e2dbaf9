import { expect, test } from 'vitest';
import { countResults, listFailures } from '../../../scripts/test-count.mjs';

const file = (status: string, ...statuses: string[]) => ({
  name: 'a.test.ts',
  status,
  assertionResults: statuses.map((s) => ({ status: s })),
});

test('passed, failed and skipped tests are summed over files', () => {
  const files = [file('passed', 'passed', 'skipped'), file('failed', 'passed', 'failed', 'todo')];
  expect(countResults(files)).toEqual({ passed: 2, failed: 1, skipped: 2 });
});

test('a file that could not be run counts as a failure', () => {
  expect(countResults([file('failed')])).toEqual({ passed: 0, failed: 1, skipped: 0 });
  expect(countResults([file('failed', 'passed')])).toEqual({ passed: 1, failed: 1, skipped: 0 });
});

test('a failure names its file, its test and the first line of why', () => {
  const assertionResults = [
    { status: 'failed', fullName: 'all is well', failureMessages: ['Error: it was not\n  at …'] },
  ];
  expect(listFailures([{ name: 'a.test.ts', status: 'failed', assertionResults }])).toEqual([
    { file: 'a.test.ts', test: 'all is well', why: 'Error: it was not' },
  ]);
  expect(listFailures([{ ...file('failed'), message: 'no such module' }])).toEqual([
    { file: 'a.test.ts', test: '(the file itself)', why: 'no such module' },
  ]);
});
