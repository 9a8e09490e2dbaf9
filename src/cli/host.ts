/** What doctor looks at on this machine, as a port, so that tests can show it others. */
import { execFile } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Ms for `ip`, `nft` or `timedatectl` to answer. */
const RUN_PATIENCE = 5000;

export interface Host {
  /** As `uname -r`. */
  kernel(): string;
  /** Content without the last line end, null if it can't be read. */
  read(path: string): string | null;
  /** Null when the file opens for reading and writing, else the errno name. */
  open(path: string): string | null;
  /** Standard output, null if the program isn't there or fails. */
  run(program: string, args: readonly string[]): Promise<string | null>;
  /** What moves bytes; throws where the addon can't be loaded. */
  engine(): Promise<Engine>;
  /** Ms since 1970. */
  wallClock(): number;
}

export interface Engine {
  /** Such as "ipsec-mb avx512". */
  name: string;
  aes: boolean;
}

export const thisHost: Host = {
  kernel: release,
  read(path) {
    try {
      return readFileSync(path, 'utf8').trimEnd();
    } catch {
      return null;
    }
  },
  open(path) {
    try {
      closeSync(openSync(path, 'r+'));
      return null;
    } catch (error) {
      return (error as NodeJS.ErrnoException).code ?? String(error);
    }
  },
  async run(program, args) {
    try {
      return (await run(program, [...args], { timeout: RUN_PATIENCE })).stdout.trimEnd();
    } catch {
      return null;
    }
  },
  async engine() {
    const { loadNative } = await import('../io/native.js');
    const io = loadNative();
    return { name: io.createAead(1).engine, aes: io.cpu.aes };
  },
  wallClock: () => Date.now(),
};
