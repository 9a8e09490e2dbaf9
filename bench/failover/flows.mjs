/** What runs from host a to host d while a path is cut: pings each 20 ms and TCP connections; and what the cut did to them. */
import { join } from 'node:path';
import { on, sleep, start, until } from '../lib/net.mjs';

const STREAM = join(import.meta.dirname, 'stream.mjs');
/** ms between two pings. */
const PING_MS = 20;
/** ms in which a flow must have gone on, once it does, to count as restored. */
const STEADY_MS = 400;

/** Starts both; `address`: d's. They carry data when it resolves. */
export async function startFlows(from, to, address, connections = 1) {
  const ping = collect(start(from, 'ping', ['-n', '-D', '-i', String(PING_MS / 1000), address], PIPED));
  const server = collect(start(to, process.execPath, [STREAM, 'serve'], PIPED));
  await until(() => server.text.includes('listening'), 'stream server');
  const sender = collect(
    start(from, process.execPath, [STREAM, 'send', address, '7300', String(connections)], PIPED),
  );
  const flows = { ping, server, sender };
  await until(() => replies(ping.text).length > 10, 'pings');
  await until(
    async () => (await on(from, 'ss', '-Htn', 'state', 'established', 'dport = :7300')) !== '',
    'stream',
  );
  return flows;
}

const PIPED = { stdio: ['ignore', 'pipe', 'ignore'] };

function collect(child) {
  const collected = { child, text: '' };
  child.stdout.on('data', (data) => (collected.text += data));
  return collected;
}

/** When each answered ping came back, ms since 1970, in order. */
const replies = (text) =>
  [...text.matchAll(/^\[([\d.]+)\] \d+ bytes from .*icmp_seq=\d+/gm)].map((match) => Number(match[1]) * 1000);

/** Pings that came back twice. */
export const pingDuplicates = ({ ping }) => [...ping.text.matchAll(/DUP!/g)].length;

/** Waits until pings come back again after `cutAt` (ms since 1970), at most `boundMs`; whether they do. */
export async function untilRestored({ ping }, cutAt, boundMs) {
  while (Date.now() - cutAt < boundMs) {
    const after = replies(ping.text).filter((at) => at > Math.max(cutAt, Date.now() - STEADY_MS));
    if (Date.now() - cutAt > STEADY_MS && after.length > (0.7 * STEADY_MS) / PING_MS) return true;
    await sleep(50);
  }
  return false;
}

/** ms without an answered ping from `since` on, the longest; pings are 20 ms apart anyway. */
export function longestOutage({ ping }, since, until = Date.now()) {
  const times = replies(ping.text).filter((at) => at > since - 500 && at < until);
  const ends = [...times.slice(1), until];
  return Math.max(0, ...times.map((at, i) => ends[i] - at - PING_MS));
}

/** Ends them; what the streams report: {bytes, inOrder, ended, gaps} each. */
export async function endFlows({ ping, server, sender }) {
  ping.child.kill('SIGINT');
  sender.child.kill('SIGTERM');
  await until(() => sender.child.exitCode !== null || sender.child.signalCode !== null, 'sender to end');
  await sleep(500);
  server.child.kill('SIGTERM');
  await until(() => server.child.exitCode !== null, 'server to end');
  const streams = server.text
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));
  return { streams, lost: sender.text.trim() };
}

/** The longest pause of a stream that began about a cut or after it, ms. */
export const stall = ({ gaps }, cutAt) =>
  Math.max(0, ...gaps.filter(([at]) => at > cutAt - 500).map(([, ms]) => ms));
