/** Keeps the host as interception needs it while the agent runs, and says what it had to do. */
import type { Logger } from 'pino';
import type { NodeCertificate } from '../crypto/identity/index.js';
import { type Destinations, HostError, type HostInterception, watchHost } from '../tun/index.js';

/** Ms between looks at what no word comes of: nftables tables. */
const NFT_LOOK_MS = 5000;

export class HostKeeper {
  private stopWatching: () => void = () => undefined;
  private to: Destinations | undefined;
  private sourceless = '';

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

  private mend(): void {
    this.host.mend().then(
      (mended) => {
        if (mended.length > 0) this.log.warn({ mended }, 'put back what something else took away');
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
