/** Has nftables say who sends what leaves by the device, as long as somebody asks (`sender-plan.ts`). */
import { cgroupInode, watchCgroups } from './cgroups.js';
import { explain, HostError, ipRunner, type RunIp } from './ip.js';
import { planSenders, senderTable } from './sender-plan.js';

export interface SenderQuestion {
  mtu: number;
  /** As in SenderInput. */
  capture?: number | undefined;
  /** Paths of cgroups, in the order of their bits. */
  cgroups: readonly string[];
}

export class HostSenders {
  private question: SenderQuestion | undefined;
  private applied = '';
  private last: Promise<void> = Promise.resolve();
  private unwatch: () => void = () => undefined;

  constructor(
    private readonly tun: string,
    /** Hears why it can't be done. */
    private readonly onError: (error: unknown) => void,
    private readonly run: RunIp = nft(),
  ) {}

  /** Undefined: nobody asks any more. */
  set(question: SenderQuestion | undefined): void {
    this.question = question;
    this.unwatch();
    this.unwatch = watchCgroups(question?.cgroups ?? [], () => this.apply());
    this.apply();
  }

  /** Resolves when what was set is in force, or has failed. */
  settled(): Promise<void> {
    return this.last;
  }

  async close(): Promise<void> {
    this.set(undefined);
    await this.settled();
  }

  private apply(): void {
    this.last = this.last.then(() => this.applyNow()).catch(this.onError);
  }

  private async applyNow(): Promise<void> {
    const { question, tun } = this;
    const text = question === undefined ? '' : this.textOf(question);
    const key = question === undefined ? '' : `${text} ${question.cgroups.map(cgroupInode).join()}`;
    if (key === this.applied) return;
    if (text === '') await removeSenders(tun, this.run);
    else await load(this.run, text);
    this.applied = key;
  }

  /** A cgroup that isn't there has no sockets. */
  private textOf({ mtu, capture, cgroups }: SenderQuestion): string {
    const there = cgroups.map((path, bit) => ({ path, bit })).filter(({ path }) => cgroupInode(path) !== 0);
    return planSenders({ tun: this.tun, mtu, capture, cgroups: there });
  }
}

/** Removes the table of a device. Returns a line for what it removed; nothing also where there is no nft. */
export async function removeSenders(tun: string, run: RunIp = nft()): Promise<string[]> {
  try {
    const { status, stderr } = await run(['delete', 'table', ...senderTable(tun).split(' ')]);
    if (status === 0) return [`nftables table ${senderTable(tun)}`];
    if (/No such file|not supported|not permitted/.test(stderr)) return [];
    throw explain(stderr, ['delete table']);
  } catch (error) {
    if (error instanceof HostError && error.code === 'no-iproute2') return [];
    throw error;
  }
}

async function load(run: RunIp, text: string): Promise<void> {
  const { status, stderr } = await run(['-f', '-'], text);
  if (status !== 0) throw new HostError('failed', `nft: ${stderr.split('\n')[0]}`);
}

function nft(): RunIp {
  return ipRunner({ program: 'nft' });
}
