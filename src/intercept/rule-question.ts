/** A packet, as rules ask about it. */
import { FRAGMENT_LATER, hasPorts, type PacketInfo } from './packet.js';
import { NO_SENDER, type RuleInput } from './rules.js';

/** One for each asker, filled anew for each packet. Who sends is the asker's to fill: nobody, until it does. */
export class RuleQuestion implements RuleInput {
  version = 0;
  protocol = 0;
  readonly source = new Int32Array(4);
  readonly destination = new Int32Array(4);
  sourceNode = 0;
  destinationNode = 0;
  sourcePort = -1;
  destinationPort = -1;
  dscp = 0;
  choosesByDscp = true;
  user = NO_SENDER;
  group = NO_SENDER;
  cgroups = 0;

  /** `sourceNode`, `destinationNode`: ids of the nodes that own the addresses; 0 for nobody. */
  ask(info: PacketInfo, sourceNode: number, destinationNode: number): this {
    const { source, destination } = this;
    const ported = info.fragment !== FRAGMENT_LATER && hasPorts(info.protocol);
    this.version = info.version;
    this.protocol = info.protocol;
    source[0] = info.src0;
    source[1] = info.src1;
    source[2] = info.src2;
    source[3] = info.src3;
    destination[0] = info.dst0;
    destination[1] = info.dst1;
    destination[2] = info.dst2;
    destination[3] = info.dst3;
    this.sourceNode = sourceNode;
    this.destinationNode = destinationNode;
    this.sourcePort = ported ? info.sourcePort : -1;
    this.destinationPort = ported ? info.destinationPort : -1;
    this.dscp = info.trafficClass >>> 2;
    return this;
  }
}
