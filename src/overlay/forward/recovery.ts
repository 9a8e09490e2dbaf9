import { RECORD_TAG } from '../../io/batch.js';
import type { Aead, Io, TunDevice } from '../../io/ports.js';
import type { FlowCache } from '../../intercept/flow-cache.js';
import type { InboundFilter } from '../../intercept/inbound.js';
import { ArrivedFlows } from '../egress/arrived-flows.js';
import { Duplicates } from '../egress/duplicates.js';
import { FlowOrder } from '../egress/flow-order.js';
import type { Counters } from './counters.js';
import { Exit } from './exit.js';
import { HopFrames } from './hop-frames.js';
import { Hops } from './hops.js';
import type { Neighbour } from './neighbour.js';
import { OrderedExit } from './ordered-exit.js';
import type { Routes } from './routes.js';
import type { Sender } from './sender.js';
import { Spreader } from './spreader.js';
import { FrameStore } from './store.js';
import { Transmitter } from './transmitter.js';
import type { Widths } from './widths.js';

export interface RecoveryLimits {
  /** Frames that wait for a link, for an acknowledgement or for their turn at the exit, all together. */
  stored: number;
  /** Bytes of the largest routed frame that may be among them. */
  frameMax: number;
  /** Flows whose order the exit knows; packets that wait for their turn there, of all and of one flow. */
  orderedFlows: number;
  held: number;
  heldPerFlow: number;
  /** Sources of realtime packets that are watched for duplicates, and of source-routed ones; packets of one of the latter that are remembered. */
  duplicateSources: number;
  routedSources: number;
  routedWindow: number;
  /** µs after which a realtime packet is worth nothing to a hop. */
  realtimeDeadline: number;
}

export interface RecoveryParts {
  io: Io;
  tun: TunDevice;
  aead: Aead;
  routes: Routes;
  sender: Sender;
  counters: Counters;
  flows: FlowCache;
  neighbours: ReadonlyMap<number, Neighbour>;
  inbound: InboundFilter;
  /** Tells the source of a data frame that its packet isn't let in. */
  refuse: (now: number, view: DataView, frame: number) => void;
  widths: Widths;
  random: () => number;
  self: number;
  /** Packets that one batch of the device or the socket may become. */
  capacity: number;
  /** The neighbour has something to send, or its timers have changed. */
  touch: (neighbour: Neighbour) => void;
}

/** What recovers frames between neighbours and puts them in order at the exit, wired together. */
export interface Recovery {
  store: FrameStore;
  hops: Hops;
  hopFrames: HopFrames;
  order: FlowOrder;
  arrived: ArrivedFlows;
  exit: OrderedExit;
  spreader: Spreader;
}

export function createRecovery(parts: RecoveryParts, limits: RecoveryLimits): Recovery {
  const { io, tun, aead, routes, sender, counters, flows, random, self, capacity, touch } = parts;
  const { realtimeDeadline, stored, held: heldMax, heldPerFlow } = limits;
  const store = new FrameStore(stored, limits.frameMax, RECORD_TAG);
  const transmitter = new Transmitter(store, aead, sender);
  const hops = new Hops({
    io,
    store,
    transmitter,
    counters,
    flows,
    routes,
    random,
    realtimeDeadline,
    capacity,
    touch,
  });
  const spreader = new Spreader({
    store,
    hops,
    neighbours: parts.neighbours,
    sender,
    duplicates: new Duplicates({ sources: limits.routedSources, window: limits.routedWindow }),
    counters,
    self,
  });
  const order = new FlowOrder({ handles: stored, flows: limits.orderedFlows, heldMax, heldPerFlow });
  const arrived = new ArrivedFlows(limits.orderedFlows);
  const duplicates = new Duplicates({ sources: limits.duplicateSources });
  const { inbound, refuse, widths } = parts;
  const plain = new Exit({ tun, routes, counters, self, inbound, refuse, widths, capacity });
  const exit = new OrderedExit({ io, exit: plain, order, duplicates, arrived, store, routes, counters });
  return { store, hops, hopFrames: new HopFrames(hops, counters), order, arrived, exit, spreader };
}
