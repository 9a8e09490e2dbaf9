/**
 * systemd-resolved's split DNS (resolvectl(1)): names of our zones are asked at our device, all others where they always were. What is
 * set belongs to the device and goes with it, so that even a killed agent leaves nothing behind.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';

const RUNNING = '/run/systemd/resolve/io.systemd.Resolve';
const PATIENCE_MS = 5000;
const run = promisify(execFile);

export interface Registered {
  /** What happened, for the log. */
  readonly outcome: 'registered' | 'not-running' | 'failed';
  readonly detail?: string;
}

export interface Registration {
  readonly device: string;
  readonly servers: readonly string[];
  readonly port: number;
  /** Zones without the last dot. */
  readonly zones: readonly string[];
}

/** The two calls, as arguments of `resolvectl`. */
export function registrationCalls({ device, servers, port, zones }: Registration): string[][] {
  const server = (address: string) =>
    port === 53 ? address : address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
  return [
    ['dns', device, ...servers.map(server)],
    ['domain', device, ...zones.map((zone) => `~${zone}`)],
  ];
}

/** Never rejects: a host without systemd-resolved asks our server by other means, or not at all. */
export async function registerNames(
  registration: Registration,
  isRunning: () => boolean = () => existsSync(RUNNING),
): Promise<Registered> {
  if (!isRunning()) return { outcome: 'not-running' };
  try {
    for (const call of registrationCalls(registration)) {
      await run('resolvectl', call, { timeout: PATIENCE_MS });
    }
    return { outcome: 'registered' };
  } catch (error) {
    return { outcome: 'failed', detail: (error as Error).message.trim() };
  }
}
