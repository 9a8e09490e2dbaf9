/** Packets of a capture, explained once for each flow and each thing that becomes of it. */
import type { CapturedPacket } from '../capture/pcapng.js';
import { findPacket } from '../capture/link-layer.js';
import { formatAddress } from '../io/address.js';
import {
  explainPacket,
  type Explanation,
  type IsAnswer,
  type Outcome,
  type Who,
  type World,
} from '../intercept/explain.js';
import { FlowCache } from '../intercept/flow-cache.js';
import { InboundFilter } from '../intercept/inbound.js';
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

/** Flows remembered, each way. */
const REMEMBERED = 65_536;

/** Who began what of a capture, as the agent would know it; all of it as if at once. */
class Conversations {
  private readonly sent = new FlowCache({ capacity: REMEMBERED });
  private readonly filter: InboundFilter;
  view: DataView = new DataView(new ArrayBuffer(0));

  constructor(world: World) {
    this.filter = new InboundFilter(this.sent, world.selfId, REMEMBERED);
    this.filter.use(world.inbound);
  }

  readonly isAnswer: IsAnswer = (info, node) => {
    const answers = this.filter.answers(0, this.view, info);
    this.filter.judge(0, this.view, info, node, true);
    return answers;
  };

  noteSent(info: PacketInfo): void {
    if (this.filter.active) this.filter.noteSent(0, this.view, info, this.sent.find(0, info, ANY_NODE));
  }
}

/** Flows are found by their addresses; which node those are of changes nothing here. */
const ANY_NODE = 1;

export function explainCapture(
  world: World,
  packets: readonly CapturedPacket[],
  who: Who,
): { flows: ExplainedFlow[]; others: number } {
  const flows = new Explanations();
  const conversations = new Conversations(world);
  const info = new PacketInfo();
  let others = 0;
  for (const { linkType, data, length } of packets) {
    const found = findPacket(linkType, data);
    if (found.kind === 'unknown-link') flows.addMalformed(`link type ${linkType} is not known here`);
    else if (found.kind !== 'ip') others++;
    else {
      const { packet } = found;
      conversations.view = new DataView(packet.buffer, packet.byteOffset, packet.length);
      const parsed = parse(conversations.view, length > data.length, info);
      if (parsed !== PARSE_OK) flows.addMalformed(PARSE_REJECTS[parsed]!);
      else {
        const explanation = explainPacket(world, info, who, conversations.isAnswer);
        if (explanation.outcome === 'overlay') conversations.noteSent(info);
        flows.add(info, explanation, 1);
      }
    }
  }
  return { flows: flows.all, others };
}

/** `isCut`: the capture holds only its head. Behind a packet a short frame has padding. */
function parse(view: DataView, isCut: boolean, info: PacketInfo): number {
  if (isCut) return parseHead(view, 0, view.byteLength, info);
  return parsePacket(view, 0, Math.min(announcedLength(view), view.byteLength), info);
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
