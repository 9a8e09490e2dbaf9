/** Moments and durations, given as numbers, in words. Nothing here reads a clock. */

const UNITS = [
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
  ['second', 1000],
] as const;

/** A duration in ms as people say it, in its largest unit: "3 days". */
export function span(ms: number): string {
  const [unit, size] = UNITS.find(([, length]) => ms >= length) ?? UNITS[UNITS.length - 1];
  const count = Math.floor(ms / size);
  return `${count} ${unit}${count === 1 ? '' : 's'}`;
}

/** `2026-01-02T03:04:05Z`; any number is taken. */
export function isoTime(ms: number): string {
  const date = momentOf(ms);
  return Number.isNaN(date.getTime()) ? 'an unknown time' : `${date.toISOString().slice(0, 19)}Z`;
}

/** The library's and the formatter's form of a given moment. */
export function momentOf(ms: number): Date {
  // eslint-disable-next-line no-restricted-globals -- converts a given moment; reads no clock
  return new Date(ms);
}
