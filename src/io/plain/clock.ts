/** Time without the addon: CLOCK_BOOTTIME pieced together from two sources, and a timer of whole milliseconds. */
import { readFileSync } from 'node:fs';
import type { MicroTimer } from '../ports.js';

/** How often the two clocks are compared, so how late a suspended spell may be noticed. */
const RECHECK_MICROS = 1_000_000;
/** /proc/uptime counts hundredths of a second; a smaller difference is its rounding. */
const SUSPENDED_MICROS = 100_000;

/** Sources of a `BootClock`, in microseconds. */
export interface ClockSources {
  /** CLOCK_MONOTONIC: stands still while the host is suspended. */
  monotonic(): number;
  /** Time since boot, suspended spells included; undefined where the host doesn't say. */
  uptime(): number | undefined;
}

export const hostClock: ClockSources = {
  monotonic: () => Math.floor(Number(process.hrtime.bigint() / 1000n)),
  uptime() {
    try {
      return Math.round(parseFloat(readFileSync('/proc/uptime', 'latin1')) * 1e6);
    } catch {
      return undefined;
    }
  },
};

/** Microseconds of CLOCK_BOOTTIME; never goes back. Suspended spells show within a second of waking. */
export function createBootClock(sources: ClockSources = hostClock): () => number {
  let checked = sources.monotonic();
  let ahead = Math.max(0, (sources.uptime() ?? checked) - checked);
  return () => {
    const monotonic = sources.monotonic();
    if (monotonic - checked >= RECHECK_MICROS) {
      checked = monotonic;
      const slept = (sources.uptime() ?? 0) - monotonic - ahead;
      if (slept > SUSPENDED_MICROS) ahead += slept;
    }
    return monotonic + ahead;
  };
}

/** A timer over setTimeout: rounds up to milliseconds, so it is never early. */
export function createPlainTimer(callback: () => void): MicroTimer {
  let handle: NodeJS.Timeout | undefined;
  let closed = false;
  const disarm = (): void => {
    clearTimeout(handle);
    handle = undefined;
  };
  return {
    arm(delayMicros) {
      disarm();
      if (!closed) handle = setTimeout(callback, Math.max(0, Math.ceil(delayMicros / 1000)));
    },
    disarm,
    close() {
      closed = true;
      disarm();
    },
  };
}
