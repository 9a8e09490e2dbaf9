/** Has nftables say who sends what leaves by the device, as long as somebody asks (`sender-plan.ts`). */
import { cgroupInode, watchCgroups } from './cgroups.js';
import { loadNft, nftRunner, removeNftTables, type RunNft } from './nft.js';
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
    private readonly run: RunNft = nftRunner(),
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
    if (text === '') await removeNftTables(this.run, [senderTable(tun)]);
    else await loadNft(this.run, text);
    this.applied = key;
  }

  /** A cgroup that isn't there has no sockets. */
  private textOf({ mtu, capture, cgroups }: SenderQuestion): string {
    const there = cgroups.map((path, bit) => ({ path, bit })).filter(({ path }) => cgroupInode(path) !== 0);
    return planSenders({ tun: this.tun, mtu, capture, cgroups: there });
  }
}
