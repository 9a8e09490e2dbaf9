import { createBatch, type PacketBatch } from '../../io/batch.js';
import type { TunDevice } from '../../io/ports.js';
import { buildIcmpError, ICMP_ERROR_MAX, type IcmpErrorKind, mayAnswer } from '../../intercept/icmp.js';
import { PacketInfo, PARSE_OK, parseHead } from '../../intercept/packet.js';
import type { TokenBucket } from '../../rate-limit/token-bucket.js';
import { ERROR_NO_ROUTE, ERROR_PROHIBITED, ERROR_TOO_BIG, ERROR_TTL_EXCEEDED } from '../wire/error.js';

const KIND_OF_ERROR: Readonly<Record<number, IcmpErrorKind>> = {
  [ERROR_NO_ROUTE]: 'host-unreachable',
  [ERROR_TTL_EXCEEDED]: 'ttl-exceeded',
  [ERROR_TOO_BIG]: 'too-big',
  [ERROR_PROHIBITED]: 'prohibited',
};

/** Four u32 words of an address in a family; undefined where the node has none. */
export type AddressOf = (version: number) => ArrayLike<number> | undefined;

/** Tells the host's own senders, by ICMP through the TUN device, what became of a packet. Bounded by a rate. */
export class IcmpWriter {
  private readonly batch = createBatch(ICMP_ERROR_MAX, 1);
  private readonly order = Int32Array.of(0);
  private readonly info = new PacketInfo();

  constructor(
    private readonly tun: TunDevice,
    private readonly rate: TokenBucket,
    /** This node's own addresses. */
    private readonly ownAddress: AddressOf,
  ) {}

  /** Answers packet `i` of a batch, parsed as `info`, for this node. `mtu`: for `too-big`, bytes. */
  answer(now: number, batch: PacketBatch, i: number, info: PacketInfo, kind: IcmpErrorKind, mtu = 0): void {
    this.write(now, kind, mtu, batch.view, batch.offset[i], info, this.standIn(info));
  }

  /**
   * Answers a packet sent earlier, of which `head` is left, for the node that refused it with an overlay error.
   */
  refused(now: number, head: Uint8Array, code: number, mtu: number, reporter: AddressOf): void {
    const kind = KIND_OF_ERROR[code];
    const view = new DataView(head.buffer, head.byteOffset, head.length);
    if (kind === undefined || parseHead(view, 0, head.length, this.info) !== PARSE_OK) return;
    const standIn = this.standIn(this.info);
    this.write(now, kind, mtu, view, 0, this.info, (version) => reporter(version) ?? standIn(version));
  }

  /**
   * Who answers where nobody else can. The kernel believes no IPv4 packet from outside that bears one of its own addresses, so there the
   * refused packet's destination speaks for itself.
   */
  private standIn({ dst3 }: PacketInfo): AddressOf {
    return (version) => (version === 4 ? [0, 0, 0xffff, dst3] : this.ownAddress(version));
  }

  private write(
    now: number,
    kind: IcmpErrorKind,
    mtu: number,
    view: DataView,
    at: number,
    info: PacketInfo,
    from: AddressOf,
  ): void {
    const source = from(info.version);
    if (!source || !mayAnswer(view, info, kind) || !this.rate.take(now)) return;
    const { batch } = this;
    batch.count = 1;
    batch.offset[0] = 0;
    batch.flags[0] = 0;
    batch.length[0] = buildIcmpError(batch.view, 0, kind, mtu, source, view, at, info);
    this.tun.write(batch, this.order, 1);
  }
}
