/** Processes: running a command to its end, starting one that outlives us, and ending exactly the one that was started. */
import { execFile, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { failed } from './errors.js';

/** A process and when it began, so that a reused pid is never taken for it. */
export interface ProcessRecord {
  readonly pid: number;
  /** Clock ticks after boot, field 22 of /proc/PID/stat. */
  readonly started: string;
}

/** Runs a command and returns its standard output. @throws MeshError (exit code 1) with the command's last line of complaint. */
export function run(command: string, args: readonly string[], input = ''): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(command, args, { maxBuffer: 64 << 20 }, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout);
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
        return reject(failed(`${command} is not installed, or not in PATH`, error));
      }
      const complaint = stderr.trim().split('\n').filter(Boolean).slice(-3).join('; ');
      reject(failed(`${[command, ...args].join(' ')}: ${complaint || error.message}`, error));
    });
    child.stdin!.on('error', () => undefined); // a command that ends early doesn't read its input
    child.stdin!.end(input);
  });
}

/** Whether the command ends well. */
export async function succeeds(command: string, args: readonly string[]): Promise<boolean> {
  return run(command, args).then(
    () => true,
    () => false,
  );
}

/** Starts a process in a session of its own, with its output appended to a log file, and forgets it. */
export async function startDetached(
  command: string,
  args: readonly string[],
  logFile: string,
  env: NodeJS.ProcessEnv = process.env,
): Promise<ProcessRecord> {
  const log = openSync(logFile, 'a', 0o600);
  try {
    const child = spawn(command, args, { detached: true, stdio: ['ignore', log, log], env, cwd: '/' });
    await new Promise((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', (error) => reject(failed(`${command} can't be started: ${error.message}`, error)));
    });
    child.unref();
    return { pid: child.pid!, started: startTime(child.pid!) ?? '' };
  } finally {
    closeSync(log);
  }
}

/** A zombie counts as gone: nothing of it runs. */
export function isAlive(record: ProcessRecord | null): record is ProcessRecord {
  return record !== null && record.started !== '' && startTime(record.pid) === record.started;
}

/** SIGTERM, and SIGKILL to what is still there after `graceMs`; returns once the process is gone. */
export async function endProcess(record: ProcessRecord | null, graceMs: number): Promise<void> {
  if (!isAlive(record)) return;
  signal(record, 'SIGTERM');
  if (await waitFor(() => !isAlive(record), graceMs)) return;
  signal(record, 'SIGKILL');
  if (!(await waitFor(() => !isAlive(record), 5000)))
    throw failed(`process ${record.pid} doesn't end, even when killed`);
}

export function signal(record: ProcessRecord, name: NodeJS.Signals): void {
  try {
    if (isAlive(record)) process.kill(record.pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

export function recordOf(pid: number): ProcessRecord | null {
  const started = startTime(pid);
  return started === undefined ? null : { pid, started };
}

/** Polls until the condition holds or the time is over; says whether it held. */
export async function waitFor(
  condition: () => boolean | Promise<boolean>,
  limitMs: number,
): Promise<boolean> {
  const end = performance.now() + limitMs;
  for (;;) {
    if (await condition()) return true;
    if (performance.now() >= end) return false;
    await sleep(20);
  }
}

/** This process and those that started it, one by one up to the first. */
export function ancestry(): ReadonlySet<number> {
  const pids = new Set<number>();
  for (let pid = process.pid; pid > 1 && !pids.has(pid); pid = Number(statFields(pid)?.[1] ?? 0))
    pids.add(pid);
  return pids;
}

function startTime(pid: number): string | undefined {
  const fields = statFields(pid);
  return fields === undefined || fields[0] === 'Z' ? undefined : fields[19];
}

/** Of /proc/PID/stat what follows the command's name: state, parent, … */
function statFields(pid: number): string[] | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch {
    return undefined;
  }
}
