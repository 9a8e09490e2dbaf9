/**
 * Counts of files as vitest's JSON report has them (`testResults`). A file that failed without a failed test in it (it couldn't be
 * loaded, say, or a hook failed) counts as one failure, so that a broken file never looks like a passed one.
 */
export function countResults(files) {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  for (const { assertionResults } of files) {
    for (const { status } of assertionResults) {
      if (status === 'passed') counts.passed++;
      else if (status !== 'failed') counts.skipped++;
    }
  }
  counts.failed = listFailures(files).length;
  return counts;
}

/** @returns {{ file: string, test: string, why: string }[]} what `countResults` counts as failed; `why` is one line */
export function listFailures(files) {
  return files.flatMap(({ name: file, status, message, assertionResults }) => {
    const failed = assertionResults.filter((test) => test.status === 'failed');
    if (status === 'failed' && failed.length === 0)
      return [{ file, test: '(the file itself)', why: firstLine(message) }];
    return failed.map(({ fullName, failureMessages }) => ({
      file,
      test: fullName,
      why: firstLine(failureMessages?.[0]),
    }));
  });
}

const firstLine = (text) => (text ?? '').split('\n', 1)[0].slice(0, 300);
