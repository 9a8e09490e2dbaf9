export const TIMED: readonly string[];

export interface Step {
  title: string;
  words: string[];
  /** Integration files at a time. */
  workers?: number;
}

export function stepsOf(projects: readonly string[]): Step[];

export function againOf(failures: readonly { file: string }[]): Step[];
