/** Runs nftables' `nft` without a shell, and says what it complained of. */
import { HostError, programRunner, type IpOptions, type RunIp } from './ip.js';
import { nftTable } from './nft-plan.js';

/** Runs `nft` with arguments and standard input. Rejects with HostError 'no-nft' where it can't be run. */
export type RunNft = RunIp;

export function nftRunner({ namespace }: IpOptions = {}): RunNft {
  const words = namespace === undefined ? ['nft'] : ['ip', 'netns', 'exec', namespace, 'nft'];
  return programRunner(
    words,
    (cause) => new HostError('no-nft', 'nft cannot be run: install nftables', { cause }),
  );
}

/** Loads a text in one transaction. Rejects with HostError. */
export async function loadNft(run: RunNft, text: string): Promise<void> {
  const { status, stderr } = await run(['-f', '-'], text);
  if (status !== 0) throw explain(stderr);
}

export async function nftTableExists(run: RunNft, tun: string): Promise<boolean> {
  return (await run(['-t', 'list', 'table', ...nftTable(tun).split(' ')])).status === 0;
}

/** Packets of a counter in the device's table; 0 where there is none. */
export async function readCounter(run: RunNft, tun: string, name: string): Promise<number> {
  const { status, stdout } = await run(['-j', 'list', 'counter', ...nftTable(tun).split(' '), name]);
  if (status !== 0) return 0;
  const { nftables } = JSON.parse(stdout) as { nftables: { counter?: { packets: number } }[] };
  return nftables.find(({ counter }) => counter)?.counter?.packets ?? 0;
}

/** Removes those of `tables` that there are, and returns them; none also where there is no nft. Rejects with HostError. */
export async function removeNftTables(run: RunNft, tables: readonly string[]): Promise<string[]> {
  const there = await listTables(run);
  const ours = tables.filter((table) => there.has(table));
  // Made first, so that one that has gone by now is no failure.
  if (ours.length > 0)
    await loadNft(run, ours.map((table) => `table ${table}\ndelete table ${table}\n`).join(''));
  return ours;
}

/** Families and names, as `nft` writes them. */
async function listTables(run: RunNft): Promise<Set<string>> {
  try {
    const { status, stdout, stderr } = await run(['list', 'tables']);
    if (status === 0) return new Set(stdout.split('\n').map((line) => line.replace('table ', '')));
    if (/No such file|not supported/.test(stderr)) return new Set();
    throw explain(stderr);
  } catch (error) {
    if (error instanceof HostError && error.code === 'no-nft') return new Set();
    throw error;
  }
}

function explain(stderr: string): HostError {
  const [first = ''] = stderr.split('\n');
  const text = first.replace(/^\S+: Error: |^Error: /, '') || 'failed without a word';
  const denied = /Operation not permitted/.test(stderr);
  return denied
    ? new HostError('not-permitted', `nft: ${text}; run as root or with CAP_NET_ADMIN`)
    : new HostError('failed', `nft: ${text}`);
}
