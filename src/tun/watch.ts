/** Says when others changed interfaces, addresses, routes or rules. */
import { spawn } from 'node:child_process';

/** Ms from a change to its word, in which others may follow: whoever flushes routes does more than one thing. */
const GATHER_MS = 200;
/** Ms between words, so that a host whose routes never rest costs little. */
const LEAST_MS = 1000;

/** Calls back at most once a second until the returned function is called. Silent where `ip monitor` can't run. */
export function watchHost(onChange: () => void): () => void {
  // The monitor's end is ours also where this process is killed.
  const command = ['--pdeathsig', 'KILL', 'ip', 'monitor', 'link', 'address', 'route', 'rule'];
  const child = spawn('setpriv', command, { stdio: ['ignore', 'pipe', 'ignore'] });
  let timer: NodeJS.Timeout | undefined;
  let last = 0;
  child.on('error', () => undefined);
  child.stdout.on('data', () => {
    if (timer !== undefined) return;
    const wait = Math.max(GATHER_MS, last + LEAST_MS - performance.now());
    timer = setTimeout(() => {
      timer = undefined;
      last = performance.now();
      onChange();
    }, wait);
  });
  return () => {
    clearTimeout(timer);
    child.stdout.removeAllListeners('data');
    child.kill('SIGKILL');
  };
}
