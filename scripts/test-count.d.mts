export interface Report {
  testResults: { status: string; assertionResults: { status: string }[] }[];
}

export function countResults(report: Report): { passed: number; failed: number; skipped: number };
