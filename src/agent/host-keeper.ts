/** Keeps the host as interception needs it while the agent runs, and says what it had to do. */
import type { Logger } from 'pino';
import type { Finding } from '../control/api.js';
import type { NodeCertificate } from '../crypto/identity/index.js';
import { type Destinations, HostError, type HostInterception, watchHost } from '../tun/index.js';

/** Ms between looks at what no word comes of: nftables tables. */
const NFT_LOOK_MS = 5000;

export class HostKeeper {
  private stopWatching: () => void = () => undefined;
  private to: Destinations | undefined;
  private sourceless = '';
  /** How often something else took away what the agent needs, and what the last time. */
  private mendings = 0;
  private lastMended: readonly string[] = [];

  /** `fail`: the device has gone, and the agent has nothing more to do. */
  constructor(
    private readonly host: HostInterception,
    private readonly node: NodeCertificate,
    private readonly log: Logger,
    private readonly fail: (error: unknown) => void,
  ) {}

  /** `captures`: nftables take part. */
  begin(captures: boolean): void {
    const stop = watchHost(() => this.mend());
    const look = captures ? setInterval(() => this.mend(), NFT_LOOK_MS).unref() : undefined;
    this.stopWatching = () => {
      stop();
      clearInterval(look);
    };
  }

  end(): void {
    this.stopWatching();
  }

  setRouted(to: Destinations): void {
    this.to = to;
    const own = this.node.real.map(({ text }) => text);
    this.host.setRouted(to, own).then(
      (sourceless) => this.warnSourceless(sourceless),
      (error: unknown) => this.log.error({ error: String(error) }, 'routes'),
    );
  }

  forgetDirect(): void {
    this.host
      .forgetDirect()
      .catch((error: unknown) => this.log.error({ error: String(error) }, 'direct flows'));
  }

  /** Packets to many hosts that rules dropped, which the worker doesn't meet; 0 where nft can't be asked. */
  droppedToMany(): Promise<number> {
    return this.host.droppedToMany().catch(() => 0);
  }

  /** What fights with the agent over the same rules and tables; undefined where nothing did so far. */
  finding(): Finding | undefined {
    if (this.mendings === 0) return undefined;
    const [first = '', ...more] = this.lastMended;
    const last = more.length === 0 ? first : `${first} and ${more.length} more`;
    return {
      level: 'warning',
      subject: 'rivals',
      message: `something on this host took away what the agent needs, ${this.mendings} times; the last time ${last}, which is there again`,
      remedy:
        '"ip monitor rule route" and "nft monitor" show when; tell network managers to leave protocol 203 and tables named causeway-… alone',
    };
  }

  private noteMended(mended: readonly string[]): void {
    this.mendings++;
    this.lastMended = mended;
    this.log.warn({ mended }, 'put back what something else took away');
  }

  private mend(): void {
    this.host.mend().then(
      (mended) => {
        if (mended.length > 0) this.noteMended(mended);
        // Addresses of this host may have changed, and with them who can be the source of what.
        if (this.to && this.to.real.length > 0) this.setRouted(this.to);
      },
      (error: unknown) => {
        if (error instanceof HostError && error.code === 'no-device') this.fail(error);
        else this.log.error({ error: String(error) }, 'while looking after the host');
      },
    );
  }

  private warnSourceless(addresses: readonly string[]): void {
    const key = addresses.join();
    if (key !== '' && key !== this.sourceless)
      this.log.warn(
        { addresses },
        "no real address of this host's certificate reaches these; sign one with --real",
      );
    this.sourceless = key;
  }
}
