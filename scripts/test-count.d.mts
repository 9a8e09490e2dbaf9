/** One of `testResults` in vitest's JSON report. */
export interface FileResult {
  name: string;
  status: string;
  message?: string;
  assertionResults: { status: string; fullName?: string; failureMessages?: string[] }[];
}

export interface Failure {
  file: string;
  test: string;
  /** One line. */
  why: string;
}

export function countResults(files: readonly FileResult[]): {
  passed: number;
  failed: number;
  skipped: number;
};

export function listFailures(files: readonly FileResult[]): Failure[];
