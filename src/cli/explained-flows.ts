/** Packets of a capture, explained once for each flow and each thing that becomes of it. */
import type { CapturedPacket } from '../capture/pcapng.js';
import { findPacket } from '../capture/link-layer.js';
import { formatAddress } from '../io/address.js';
import { explainPacket, type Explanation, type Outcome, type Who, type World } from '../intercept/explain.js';
import {
  hasPorts,
  PacketInfo,
  PARSE_OK,
  PARSE_REJECTS,
  parseHead,
  parsePacket,
} from '../intercept/packet.js';
import { PROTOCOL_NAMES } from '../agent/config/protocols.js';

export interface ExplainedFlow extends Omit<Explanation, 'outcome'> {
  /** `tcp 10.77.0.1:40000 → 10.77.0.5:22` */
  readonly flow: string;
  readonly outcome: Outcome;
  packets: number;
}

/** In the order of their first packets. */
export class Explanations {
  private readonly flows = new Map<string, ExplainedFlow>();

  get all(): ExplainedFlow[] {
    return [...this.flows.values()];
  }

  add(info: PacketInfo, explanation: Explanation, packets: number): void {
    this.note(flowText(info), explanation, packets);
  }

  /** What is no packet. */
  addMalformed(why: string): void {
    this.note('malformed', { outcome: 'drop', why }, 1);
  }

  private note(flow: string, explanation: Explanation, packets: number): void {
    const key = `${flow} ${explanation.outcome} ${explanation.why}`;
    const known = this.flows.get(key);
    if (known) known.packets += packets;
    else this.flows.set(key, { flow, ...explanation, packets });
  }
}

export function explainCapture(
  world: World,
  packets: readonly CapturedPacket[],
  who: Who,
): { flows: ExplainedFlow[]; others: number } {
  const flows = new Explanations();
  const info = new PacketInfo();
  let others = 0;
  for (const { linkType, data, length } of packets) {
    const found = findPacket(linkType, data);
    if (found.kind === 'unknown-link') flows.addMalformed(`link type ${linkType} is not known here`);
    else if (found.kind !== 'ip') others++;
    else {
      const parsed = parse(found.packet, length > data.length, info);
      if (parsed === PARSE_OK) flows.add(info, explainPacket(world, info, who), 1);
      else flows.addMalformed(PARSE_REJECTS[parsed]!);
    }
  }
  return { flows: flows.all, others };
}

/** `isCut`: the capture holds only its head. Behind a packet a short frame has padding. */
function parse(bytes: Uint8Array, isCut: boolean, info: PacketInfo): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (isCut) return parseHead(view, 0, bytes.length, info);
  const announced = announcedLength(view);
  return parsePacket(view, 0, announced < bytes.length ? announced : bytes.length, info);
}

function announcedLength(view: DataView): number {
  if (view.byteLength < 6) return view.byteLength;
  return view.getUint8(0) >>> 4 === 6 ? 40 + view.getUint16(4) : view.getUint16(2);
}

function flowText(info: PacketInfo): string {
  const { src0, src1, src2, src3, dst0, dst1, dst2, dst3, protocol } = info;
  const end = (words: number[], port: number) => {
    const bytes = new Uint8Array(16);
    words.forEach((word, i) => new DataView(bytes.buffer).setUint32(4 * i, word));
    const address = formatAddress(bytes);
    if (!hasPorts(protocol)) return address;
    return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
  };
  const ends = [
    end([src0, src1, src2, src3], info.sourcePort),
    end([dst0, dst1, dst2, dst3], info.destinationPort),
  ];
  return `${PROTOCOL_NAMES.get(protocol) ?? protocol} ${ends.join(' → ')}`;
}
