/**
 * Files of a CA: outputs that appear whole or not at all, and the index of what was signed.
 *
 *   1. stage     every output is written to a temporary file beside its place and synced
 *   2. publish   each is linked (never over an existing file) or, with force, renamed into place
 */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fchmodSync,
  fsyncSync,
  linkSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { dirname, join, parse } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { emptyIndex, parseIndex } from '../crypto/identity/index.js';
import type { CaCertificate, IssuedIndex } from '../crypto/identity/index.js';
import { CliError } from './errors.js';

export const PRIVATE_MODE = 0o600;
export const PUBLIC_MODE = 0o644;

/** A lock older than this was left by a crash whose process id is in use again. */
const STALE_LOCK_MS = 60_000;
const LOCK_WAIT_MS = 10_000;
const LOCK_POLL_MS = 50;

export interface OutputFile {
  readonly path: string;
  readonly data: string;
  readonly mode: number;
}

/** Throws CliError where an output exists already, before anything is written. */
export function refuseExisting(paths: readonly string[], force: boolean): void {
  const there = force ? undefined : paths.find((path) => existsSync(path));
  if (there !== undefined)
    throw new CliError(
      `${there} exists; nothing was written (choose another name, or replace it with --force)`,
    );
}

/** All files, or none. `--force` replaces what is there. */
export function writeOutputs(files: readonly OutputFile[], force: boolean): void {
  refuseExisting(
    files.map((file) => file.path),
    force,
  );
  const staged: { temporary: string; path: string }[] = [];
  try {
    for (const file of files) staged.push({ temporary: stage(file), path: file.path });
    publish(staged, force);
  } finally {
    for (const { temporary } of staged) if (existsSync(temporary)) unlinkSync(temporary);
  }
}

/** Replaces a file by a whole new one; a reader sees the old or the new. */
export function replaceFile(file: OutputFile): void {
  renameSync(stage(file), file.path);
}

function stage({ path, data, mode }: OutputFile): string {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  const descriptor = attempt(`write ${path}`, () => openSync(temporary, 'wx', mode));
  try {
    fchmodSync(descriptor, mode);
    writeSync(descriptor, data);
    fsyncSync(descriptor);
  } catch (error) {
    unlinkSync(temporary);
    throw new CliError(`can't write ${path}: ${messageOf(error)}`);
  } finally {
    closeSync(descriptor);
  }
  return temporary;
}

function publish(staged: readonly { temporary: string; path: string }[], force: boolean): void {
  const done: string[] = [];
  try {
    for (const { temporary, path } of staged) {
      attempt(`write ${path}`, () => (force ? renameSync(temporary, path) : linkSync(temporary, path)));
      done.push(path);
    }
  } catch (error) {
    // Another process took a name meanwhile: what this one linked goes again. Replaced files can't come back.
    if (!force) done.forEach((path) => unlinkSync(path));
    throw error;
  }
}

/** The file's bytes; `what` names it in the one line of an error. */
export function readInput(path: string, what: string, remedy = ''): Buffer {
  return attempt(`read ${what} ${path}`, () => readFileSync(path), remedy);
}

/** Does it, turning an errno into one line with the remedy. */
function attempt<T>(doing: string, run: () => T, remedy = ''): T {
  try {
    return run();
  } catch (error) {
    throw new CliError(`can't ${doing}: ${messageOf(error)}${remedy && `; ${remedy}`}`);
  }
}

const ERRNO_TEXT: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or directory',
  EACCES: 'permission denied',
  EPERM: 'not permitted',
  EEXIST: 'it exists',
  EISDIR: 'it is a directory',
  ENOTDIR: 'a part of the path is no directory',
  EROFS: 'the file system is read-only',
  ENOSPC: 'no space left',
};

function messageOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return (code !== undefined && ERRNO_TEXT[code]) || message;
}

/** `ca.index.json` beside `ca.crt`. */
export function indexPathOf(caPath: string): string {
  const { dir, name } = parse(caPath);
  return join(dir, `${name}.index.json`);
}

export function indexFile(caPath: string, index: IssuedIndex): OutputFile {
  return { path: indexPathOf(caPath), data: `${JSON.stringify(index, null, 2)}\n`, mode: PUBLIC_MODE };
}

/** The CA's index. A missing one begins anew, after a warning; a broken one is refused, since it may hold what must not be lost. */
export function loadIndex(
  caPath: string,
  authority: CaCertificate,
  warn: (line: string) => void,
): IssuedIndex {
  const path = indexPathOf(caPath);
  if (!existsSync(path)) {
    warn(`${path} is missing; addresses and ids signed earlier can't be checked; it begins anew`);
    return emptyIndex(authority);
  }
  const index = parseIndex(readInput(path, 'index').toString('utf8'), authority);
  if (typeof index === 'string')
    throw new CliError(`${path} ${index}; restore it, or move it away to begin anew`);
  return index;
}

/** Keeps the index; where its directory can't be written, the certificate is issued all the same, after a warning. */
export function saveIndex(caPath: string, index: IssuedIndex, warn: (line: string) => void): void {
  try {
    replaceFile(indexFile(caPath, index));
  } catch (error) {
    warn(`${messageOf(error)}; later requests can't be checked against this certificate`);
  }
}

/** Runs `work` while no other `ca sign` of this CA runs, so that two never hand out one address. */
export async function withIndexLock<T>(caPath: string, work: () => Promise<T>): Promise<T> {
  const path = `${indexPathOf(caPath)}.lock`;
  const locked = await takeLock(path);
  try {
    return await work();
  } finally {
    if (locked && existsSync(path)) unlinkSync(path);
  }
}

/** False where the directory can't be written: then the index can't be either. */
async function takeLock(path: string): Promise<boolean> {
  for (const deadline = Date.now() + LOCK_WAIT_MS; ; await sleep(LOCK_POLL_MS)) {
    try {
      const descriptor = openSync(path, 'wx', PRIVATE_MODE);
      writeSync(descriptor, `${process.pid}\n`);
      closeSync(descriptor);
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') return false;
    }
    if (isStale(path)) breakLock(path);
    else if (Date.now() > deadline)
      throw new CliError(`another "ca sign" holds ${path}; wait for it, or remove the file`);
  }
}

function isStale(path: string): boolean {
  try {
    if (Date.now() - statSync(path).mtimeMs > STALE_LOCK_MS) return true;
    const holder = Number.parseInt(readFileSync(path, 'utf8'), 10);
    if (Number.isInteger(holder)) process.kill(holder, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}

function breakLock(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // Its holder, or another that waits, was faster.
  }
}

/** Whether both name the same file, however they are written. */
export function samePlace(a: string, b: string): boolean {
  const at = (path: string): string => {
    try {
      const { dev, ino } = statSync(path);
      return `${dev}:${ino}`;
    } catch {
      return join(dirname(path), parse(path).base);
    }
  };
  return at(a) === at(b);
}
