import { expect, test } from 'vitest';
import { countResults } from '../../../scripts/test-count.mjs';

const file = (status: string, ...statuses: string[]) => ({
  status,
  assertionResults: statuses.map((s) => ({ status: s })),
});

test('passed, failed and skipped tests are summed over files', () => {
  const testResults = [file('passed', 'passed', 'skipped'), file('failed', 'passed', 'failed', 'todo')];
  expect(countResults({ testResults })).toEqual({ passed: 2, failed: 1, skipped: 2 });
});

test('a file that could not be run counts as a failure', () => {
  expect(countResults({ testResults: [file('failed')] })).toEqual({ passed: 0, failed: 1, skipped: 0 });
  expect(countResults({ testResults: [file('failed', 'passed')] })).toEqual({
    passed: 1,
    failed: 1,
    skipped: 0,
  });
});
