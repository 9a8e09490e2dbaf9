/** Which inner packets a capture is about: those of matching flows, in either direction. Pure. */
import type { FlowMatch } from '../intercept/flow-cache.js';
import { PacketInfo, PARSE_OK, parsePacket } from '../intercept/packet.js';
import { inPrefix, type MaskedPrefix, maskPrefix } from '../intercept/rules.js';

interface Ends {
  readonly prefix: MaskedPrefix | undefined;
  readonly port: number | undefined;
}

export class PacketFilter {
  private readonly info = new PacketInfo();
  private readonly source: Ends;
  private readonly destination: Ends;

  constructor(private readonly match: FlowMatch) {
    const { source, sourcePort, destination, destinationPort } = match;
    this.source = { prefix: source && maskPrefix(source), port: sourcePort };
    this.destination = { prefix: destination && maskPrefix(destination), port: destinationPort };
  }

  /** Whether the packet of `length` bytes at `at` is of such a flow, or of its way back; what is no packet is of none. */
  passes(view: DataView, at: number, length: number): boolean {
    const { info, match } = this;
    if (parsePacket(view, at, length, info) !== PARSE_OK) return false;
    if (match.protocols !== undefined && !match.protocols.includes(info.protocol)) return false;
    const from = [info.src0, info.src1, info.src2, info.src3];
    const to = [info.dst0, info.dst1, info.dst2, info.dst3];
    const { sourcePort, destinationPort } = info;
    return (
      (this.is(this.source, from, sourcePort) && this.is(this.destination, to, destinationPort)) ||
      (this.is(this.source, to, destinationPort) && this.is(this.destination, from, sourcePort))
    );
  }

  private is({ prefix, port }: Ends, address: readonly number[], found: number): boolean {
    if (port !== undefined && port !== found) return false;
    return prefix === undefined || inPrefix(prefix, this.info.version, address);
  }
}
