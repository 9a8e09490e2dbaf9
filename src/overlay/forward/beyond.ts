/** What the way in does with packets that don't go over the overlay. */
import type { DirectPath } from '../../intercept/direct.js';
import type { PacketInfo } from '../../intercept/packet.js';
import { inPrefix, type MaskedPrefix, maskPrefix, type RulePrefix } from '../../intercept/rules.js';

export interface BeyondOptions {
  /** Whether a packet to another node's real address goes directly where the overlay has no way. */
  fallback: boolean;
  /** The overlay's own prefixes. */
  overlay: readonly RulePrefix[];
}

export class Beyond {
  readonly fallback: boolean;
  private readonly overlay: readonly MaskedPrefix[];
  private readonly words = new Uint32Array(4);

  constructor(
    readonly direct: DirectPath,
    { fallback, overlay }: BeyondOptions,
  ) {
    this.fallback = fallback;
    this.overlay = overlay.map(maskPrefix);
  }

  /** Whether a packet's destination is an address of the overlay's own, which means nothing to any other network. */
  staysInside({ version, dst0, dst1, dst2, dst3 }: PacketInfo): boolean {
    this.words.set([dst0, dst1, dst2, dst3]);
    return this.overlay.some((prefix) => inPrefix(prefix, version, this.words));
  }
}
