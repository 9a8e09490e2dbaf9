/**
 * What a batch sets aside: handshake datagrams (for the main thread), signs of life, link frames, errors, echoes, and the refusals
 * that a relay owes. Called by `Arrival`, per packet only where it says so.
 */
import { ENDPOINT_WORDS, RECORD_HEADER, type PacketBatch } from '../../io/batch.js';
import type { UdpSocket } from '../../io/ports.js';
import {
  appendEchoHop,
  checkEcho,
  decodeEcho,
  ECHO_HOP_SIZE,
  turnEcho,
  writeEchoBody,
} from '../wire/echo.js';
import { FRAME_PATH, FRAME_PATH_ANSWER } from '../wire/frames.js';
import { LANE_CONTROL } from '../wire/lanes.js';
import {
  decodeError,
  ERROR_NO_ROUTE,
  ERROR_PROHIBITED,
  ERROR_TOO_BIG,
  ERROR_TTL_EXCEEDED,
  writeErrorBody,
} from '../wire/error.js';
import {
  FRAME_ECHO_REPLY,
  FRAME_ECHO_REQUEST,
  FRAME_ERROR,
  readDestination,
  readRoutedType,
  readSequence,
  readSource,
  readTtl,
  writeRoutedHeader,
  SERVICE_BEST_EFFORT,
} from '../wire/routed.js';
import {
  DATAGRAM_HANDSHAKE_VERDICT,
  HANDSHAKE_MAX_SIZE,
  HANDSHAKE_MIN_SIZE,
  readCounter,
  readDatagramType,
} from '../wire/record.js';
import { type ControlRecords, CONTROL_BODY_MAX } from './control-records.js';
import type { Counters } from './counters.js';
import { isWhereItWas, learnEndpoint } from './endpoint-learning.js';
import type { IcmpWriter } from './icmp-writer.js';
import type { ReceiveLane } from './lanes.js';
import type { Neighbour } from './neighbour.js';
import type { SourceBuckets } from '../../rate-limit/source-buckets.js';
import type { TokenBucket } from '../../rate-limit/token-bucket.js';
import type { RecentHeaders } from './recent-headers.js';
import type { Routes } from './routes.js';

/** TTL of what this node itself originates. */
const OWN_TTL = 64;

export interface EchoAnswer {
  identifier: number;
  number: number;
  from: number;
  rttMicros: number;
  there: readonly number[];
  back: readonly number[];
  ttl: number;
}

/** What the shell does with what the worker can't decide. */
export interface SlowPathShell {
  handshake(batch: PacketBatch, i: number): void;
  linkFrames(now: number, neighbour: Neighbour, view: DataView, at: number, length: number): void;
  /** Record `i`, of `length` bytes of body, is about one of the ways to the neighbour, by which it came. */
  path(now: number, neighbour: Neighbour, batch: PacketBatch, i: number, length: number): void;
  /** The neighbour's newest record came from elsewhere: whether to answer there. */
  follows(now: number, neighbour: Neighbour, batch: PacketBatch, i: number): boolean;
  /** The first authentic record of a session. */
  confirmed(now: number, neighbour: Neighbour, session: number): void;
  echoAnswered(answer: EchoAnswer): void;
  /** An echo of ours to `destination` was refused on the way. */
  echoRefused(destination: number, sequence: number, from: number, code: number): void;
}

export interface SlowPathParts {
  udp: UdpSocket;
  routes: Routes;
  control: ControlRecords;
  icmp: IcmpWriter;
  recent: RecentHeaders;
  counters: Counters;
  /** Handshake datagrams that may go to the main thread. */
  handshakes: SourceBuckets;
  /** Errors that this node may send to others. */
  errors: TokenBucket;
  /** Errors of others that this node looks into: finding the packet takes microseconds. */
  refusals: TokenBucket;
  self: number;
  epoch: number;
  shell: SlowPathShell;
}

export class SlowPath {
  private sequence = 0;
  /** Whose endpoint was learnt last in this batch, and from which of its messages. */
  private learnedFrom: Neighbour | undefined;
  private learnedSource = 0;

  constructor(private readonly parts: SlowPathParts) {}

  /**
   * Datagram `i`, of at least one byte, isn't a record. Runs per packet under a flood: what is no handshake doesn't touch the budget, what may be
   * one costs a bucket's look until the budget is gone.
   */
  handshake(now: number, batch: PacketBatch, i: number): void {
    const { handshakes, shell, counters } = this.parts;
    const type = readDatagramType(batch.view, batch.offset[i]!);
    const length = batch.length[i]!;
    if (type === 0 || type > DATAGRAM_HANDSHAKE_VERDICT) counters.dropPacket('type', batch, i);
    else if (length < HANDSHAKE_MIN_SIZE) counters.dropPacket('short', batch, i);
    else if (length > HANDSHAKE_MAX_SIZE) counters.dropPacket('long', batch, i);
    else if (handshakes.take(now, batch.endpoints, batch.source[i]! * ENDPOINT_WORDS))
      shell.handshake(batch, i);
    else counters.dropPacket('handshake-flood', batch, i);
  }

  /** A new batch, whose messages have nothing to do with those of the batch before. */
  begin(): void {
    this.learnedFrom = undefined;
  }

  /** Per packet: record `i` is authentic and new. False where it was about a way to the neighbour, and nothing else. */
  authentic(now: number, lane: ReceiveLane, batch: PacketBatch, i: number): boolean {
    const { neighbour } = lane;
    neighbour.packetsReceived++;
    neighbour.bytesReceived += batch.length[i]!;
    if (lane.session !== neighbour.confirmedSession) {
      neighbour.confirmedSession = lane.session;
      this.parts.shell.confirmed(now, neighbour, lane.session);
    }
    if (lane.lane === LANE_CONTROL && this.isAboutPath(now, neighbour, batch, i)) return false;
    neighbour.link.noteReceived(now);
    // What came in one message came from one address; mostly all of it is one neighbour's.
    if (batch.source[i] === this.learnedSource && neighbour === this.learnedFrom) return true;
    // One that was overtaken may tell of an address that the neighbour has left.
    if (readCounter(batch.view, batch.offset[i]!) !== lane.window.highest) return true;
    this.learnedSource = batch.source[i]!;
    this.learnedFrom = neighbour;
    this.locate(now, neighbour, batch, i);
    return true;
  }

  private isAboutPath(now: number, neighbour: Neighbour, batch: PacketBatch, i: number): boolean {
    const length = batch.length[i]! - RECORD_HEADER;
    const type = length === 0 ? 0 : batch.view.getUint8(batch.offset[i]! + RECORD_HEADER);
    if (type !== FRAME_PATH && type !== FRAME_PATH_ANSWER) return false;
    this.parts.shell.path(now, neighbour, batch, i, length);
    return true;
  }

  private locate(now: number, neighbour: Neighbour, batch: PacketBatch, i: number): void {
    const { udp, shell } = this.parts;
    if (isWhereItWas(udp, batch, i, neighbour)) neighbour.paths.heard(now);
    else if (shell.follows(now, neighbour, batch, i)) {
      learnEndpoint(udp, batch, i, neighbour);
      neighbour.moved = true;
    }
  }

  linkFrames(now: number, neighbour: Neighbour, view: DataView, at: number, length: number): void {
    this.parts.shell.linkFrames(now, neighbour, view, at, length);
  }

  /** An error or an echo for this node. */
  routedForUs(now: number, view: DataView, frame: number, length: number): void {
    switch (readRoutedType(view, frame)) {
      case FRAME_ERROR:
        this.receiveError(now, view, frame, length);
        return;
      case FRAME_ECHO_REQUEST:
        this.answerEcho(view, frame, length);
        return;
      case FRAME_ECHO_REPLY:
        this.receiveEcho(now, view, frame, length);
        return;
      default:
        this.parts.counters.drop('frame-unknown');
    }
  }

  refuseNoRoute(now: number, view: DataView, frame: number): void {
    this.parts.counters.drop('no-route');
    this.refuse(now, view, frame, ERROR_NO_ROUTE);
  }

  refuseTtl(now: number, view: DataView, frame: number): void {
    this.parts.counters.drop('ttl-exceeded');
    this.refuse(now, view, frame, ERROR_TTL_EXCEEDED);
  }

  /** `mtu`: bytes of the largest inner packet that would pass. */
  refuseTooBig(now: number, view: DataView, frame: number, mtu: number): void {
    this.parts.counters.drop('too-big');
    this.refuse(now, view, frame, ERROR_TOO_BIG, mtu);
  }

  /** Tells the source of a data frame for this node that its packet isn't let in. */
  refuseProhibited(now: number, view: DataView, frame: number): void {
    this.refuse(now, view, frame, ERROR_PROHIBITED);
  }

  /** Onward with an error or an echo; an echo gets this node's id appended. TTL has been written. */
  forwardControl(view: DataView, frame: number, length: number, next: Neighbour): void {
    const { control, counters, self } = this.parts;
    const type = readRoutedType(view, frame);
    const echo = type === FRAME_ECHO_REQUEST || type === FRAME_ECHO_REPLY;
    if (length + ECHO_HOP_SIZE > CONTROL_BODY_MAX || (echo && checkEcho(view, frame, length))) {
      counters.drop('frame-malformed');
      return;
    }
    this.copy(view, frame, length);
    const size = echo ? appendEchoHop(control.view, control.at, length, CONTROL_BODY_MAX, self) : length;
    if (!control.send(next, size)) counters.drop('queue-full');
  }

  /** Sends an echo request of our own and returns the sequence by which an error would name it; -1 where there is no way. `now` in µs. */
  sendEcho(now: number, nodeId: number, identifier: number, number: number, ttl: number): number {
    const { control, routes } = this.parts;
    const destination = routes.byNode(nodeId);
    const next = destination?.next[SERVICE_BEST_EFFORT];
    if (!destination || !next?.up) return -1;
    const sequence = (destination.sequence = (destination.sequence + 1) >>> 0);
    this.writeHeader(FRAME_ECHO_REQUEST, nodeId, ttl, sequence);
    const length = writeEchoBody(control.view, control.at, identifier, number, now);
    return control.send(next, length) ? sequence : -1;
  }

  /** Answers the source of the frame with an error, unless it is one itself; bounded by a rate. */
  private refuse(now: number, view: DataView, frame: number, code: number, mtu = 0): void {
    const { control, routes, errors } = this.parts;
    if (readRoutedType(view, frame) === FRAME_ERROR || !errors.take(now)) return;
    const source = readSource(view, frame);
    const next = routes.byNode(source)?.next[SERVICE_BEST_EFFORT];
    if (!next?.up) return;
    this.writeHeader(FRAME_ERROR, source, OWN_TTL, this.sequence++);
    control.send(
      next,
      writeErrorBody(
        control.view,
        control.at,
        code,
        mtu,
        readDestination(view, frame),
        readSequence(view, frame),
      ),
    );
  }

  private receiveError(now: number, view: DataView, frame: number, length: number): void {
    const { counters, recent, icmp, shell, routes, refusals } = this.parts;
    const error = decodeError(view, frame, length);
    if (error.type !== 'error') {
      counters.drop('frame-malformed');
      return;
    }
    if (!refusals.take(now)) {
      counters.drop('error-flood');
      return;
    }
    const reporter = readSource(view, frame);
    const head = recent.find(error.destination, error.sequence);
    if (head) icmp.refused(now, head, error.code, error.mtu, (version) => routes.address(reporter, version));
    else shell.echoRefused(error.destination, error.sequence, reporter, error.code);
  }

  private answerEcho(view: DataView, frame: number, length: number): void {
    const { control, counters, routes, self } = this.parts;
    const source = readSource(view, frame);
    const next = routes.byNode(source)?.next[SERVICE_BEST_EFFORT];
    if (length + ECHO_HOP_SIZE > CONTROL_BODY_MAX || checkEcho(view, frame, length)) {
      counters.drop('frame-malformed');
      return;
    }
    if (!next?.up) {
      counters.drop('no-route');
      return;
    }
    const sequence = readSequence(view, frame);
    this.copy(view, frame, length);
    const size = appendEchoHop(control.view, control.at, length, CONTROL_BODY_MAX, self);
    turnEcho(control.view, control.at);
    this.writeHeader(FRAME_ECHO_REPLY, source, OWN_TTL, sequence);
    control.send(next, size);
  }

  private receiveEcho(now: number, view: DataView, frame: number, length: number): void {
    if (!this.parts.refusals.take(now)) {
      this.parts.counters.drop('error-flood');
      return;
    }
    const body = decodeEcho(view, frame, length);
    if (body.type !== 'echo') {
      this.parts.counters.drop('frame-malformed');
      return;
    }
    this.parts.shell.echoAnswered({
      identifier: body.identifier,
      number: body.number,
      from: readSource(view, frame),
      rttMicros: now - body.clock,
      there: body.there,
      back: [...body.back, this.parts.self],
      ttl: readTtl(view, frame),
    });
  }

  private writeHeader(type: number, destination: number, ttl: number, sequence: number): void {
    const { control, self, epoch } = this.parts;
    writeRoutedHeader(control.view, control.at, type, 0, 0, 0, ttl, self, destination, epoch, 0, sequence, 0);
  }

  private copy(view: DataView, frame: number, length: number): void {
    const { control } = this.parts;
    const from = new Uint8Array(view.buffer, view.byteOffset + frame, length);
    new Uint8Array(control.view.buffer, control.view.byteOffset + control.at, length).set(from);
  }
}
