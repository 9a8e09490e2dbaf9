/** Durations, rates and percentages as people write them in mesh files and on the command line. */

/** How one direction of a link treats its frames. Rates count whole Ethernet frames without checksum, as `tc` does. */
export interface Shape {
  /** One way, in milliseconds. */
  readonly delayMs: number;
  /** Fraction of the frames that are lost, 0 to 1. */
  readonly loss: number;
  /** Mean length of a run of losses (Gilbert's model); `null`: each frame's loss is independent. */
  readonly burst: number | null;
  /** Bits per second; `null`: no limit. */
  readonly rateBps: number | null;
  /** The longest a frame may wait for the rate, in milliseconds; it is dropped if it would wait longer. */
  readonly queueMs: number;
}

export const defaultQueueMs = 50;
export const plainShape: Shape = { delayMs: 0, loss: 0, burst: null, rateBps: null, queueMs: defaultQueueMs };

/** Whether a plain veth pair does all that this shape asks for. */
export const isPlain = (shape: Shape): boolean =>
  shape.delayMs === 0 && shape.loss === 0 && shape.rateBps === null;

const msPerUnit: Record<string, number> = { us: 1e-3, ms: 1, s: 1e3 };
const bpsPerUnit: Record<string, number> = { bit: 1, kbit: 1e3, mbit: 1e6, gbit: 1e9 };

/** Ten seconds: what a link may hold back a frame at most. */
const longestMs = 10_000;

/** Milliseconds of `10ms`, `1.5s`, `250us` or `0`; a string says what is wrong. */
export function parseDuration(text: string): number | string {
  const ms = scaled(text, msPerUnit);
  if (ms === undefined) return `"${text}" is no duration: write 10ms, 250us or 1s`;
  return ms > longestMs ? `"${text}" is longer than ${longestMs / 1000}s` : ms;
}

/** Bits per second of `10mbit`, `500kbit` or `1gbit`, `null` for `unlimited` or `0`; a string says what is wrong. */
export function parseRate(text: string): number | null | string {
  if (text === 'unlimited') return null;
  const bps = scaled(text, bpsPerUnit);
  if (bps === undefined) return `"${text}" is no rate: write 10mbit, 500kbit, 1gbit or unlimited`;
  if (bps === 0) return null;
  return bps < 1000 || bps > 1e12 ? `"${text}" is no rate between 1kbit and 1000gbit` : bps;
}

/** The fraction that `1%` or `0` stands for; a string says what is wrong. */
export function parseLoss(text: string): number | string {
  const percent = scaled(text, { '%': 1 });
  if (percent === undefined || percent > 100) return `"${text}" is no loss: write 1% (0% to 100%)`;
  return percent / 100;
}

/** The mean run length that `3` stands for; a string says what is wrong. */
export function parseBurst(text: string): number | string {
  const burst = Number(text);
  const sound = text.trim() !== '' && burst >= 1 && burst <= 10_000;
  return sound ? burst : `"${text}" is no burst: write the mean length of a run of losses, 1 or more`;
}

/** Says why no process loses this much in runs that long, or nothing. Even runs of no gap at all lose burst/(burst+1) at most. */
export function lossConflict(shape: Shape): string | undefined {
  if (shape.burst === null || shape.loss <= shape.burst / (shape.burst + 1)) return undefined;
  const most = Math.floor((shape.burst / (shape.burst + 1)) * 100);
  return `a loss of ${percent(shape.loss)} can't come in runs of ${shape.burst}: at most ${most}%`;
}

const percent = (fraction: number): string => `${round(fraction * 100)}%`;
const round = (value: number): number => Number(value.toPrecision(6));

export function formatShape(shape: Shape): string {
  const parts = [`delay ${round(shape.delayMs)}ms`, `loss ${percent(shape.loss)}`];
  if (shape.burst !== null) parts.push(`burst ${round(shape.burst)}`);
  if (shape.rateBps !== null)
    parts.push(`rate ${formatRate(shape.rateBps)}`, `queue ${round(shape.queueMs)}ms`);
  return parts.join(', ');
}

function formatRate(bps: number): string {
  const unit = ['gbit', 'mbit', 'kbit'].find((name) => bps >= bpsPerUnit[name]!) ?? 'bit';
  return `${round(bps / bpsPerUnit[unit]!)}${unit}`;
}

/** A bare `0` needs no unit. */
function scaled(text: string, units: Record<string, number>): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([a-z%]*)$/i.exec(text.trim());
  if (match === null) return undefined;
  const value = Number(match[1]);
  const unit = match[2]!.toLowerCase();
  if (unit === '') return value === 0 ? 0 : undefined;
  const factor = units[unit];
  return factor === undefined ? undefined : value * factor;
}
