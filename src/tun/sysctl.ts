/**
 * Settings of the host's other devices that interception can't do without. What each was before is kept in a file under /run, so that
 * `causeway down` gives back what a killed agent had changed; after a boot there is nothing to give back, and no file.
 */
import { mkdirSync, readFileSync, readlinkSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { checkDeviceName } from './plan.js';

export const ROOT = '/proc/sys/net/';

/** One setting as it should be: a path below /proc/sys/net, such as `ipv4/conf/eth0/rp_filter`. */
export interface Setting {
  path: string;
  value: string;
}

export class Sysctls {
  readonly #file: string;
  /** What the file has, or would have if it could be written. */
  #known: Record<string, string> | undefined;

  /** `directory`: where the file is kept. */
  constructor(tun: string, directory = '/run/causeway') {
    checkDeviceName(tun);
    // Network namespaces share /run, but not their settings.
    this.#file = `${directory}/${tun}.${/\d+/.exec(readlinkSync('/proc/self/ns/net'))?.[0] ?? '0'}.sysctl.json`;
  }

  /**
   * Makes a setting. Returns false where it was so, or the kernel doesn't know it. Where the file can't be written, as on a full disk, the setting is given back
   * by this process alone.
   */
  set({ path, value }: Setting): boolean {
    const before = readSetting(ROOT + path);
    if (before === undefined || before === value) return false;
    const kept = this.#kept();
    kept[path] ??= before;
    this.#keep(kept);
    return write(path, value);
  }

  /** Gives everything back. Returns a line for each. */
  restore(): string[] {
    const kept = this.#kept();
    const lines = Object.entries(kept).flatMap(([path, value]) =>
      write(path, value) ? [`setting net.${path.replaceAll('/', '.')}, ${value} again`] : [],
    );
    rmSync(this.#file, { force: true });
    this.#known = undefined;
    return lines;
  }

  /** Whole or not at all: what was kept before stays in the file where there is no room for more. */
  #keep(kept: Record<string, string>): void {
    this.#known = kept;
    try {
      mkdirSync(dirname(this.#file), { recursive: true });
      writeFileSync(`${this.#file}.new`, JSON.stringify(kept), { mode: 0o600 });
      renameSync(`${this.#file}.new`, this.#file);
    } catch {
      rmSync(`${this.#file}.new`, { force: true });
    }
  }

  #kept(): Record<string, string> {
    if (this.#known) return this.#known;
    try {
      return JSON.parse(readFileSync(this.#file, 'utf8')) as Record<string, string>;
    } catch {
      return {};
    }
  }
}

/** What a file of the kernel's says, undefined where there is none such. */
export function readSetting(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return undefined;
  }
}

/** False where the device has gone. */
function write(path: string, value: string): boolean {
  try {
    writeFileSync(ROOT + path, value);
    return true;
  } catch {
    return false;
  }
}
