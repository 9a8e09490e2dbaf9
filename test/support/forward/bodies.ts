/** Bodies with link frames in front of a routed one: how tests write and read them. */
import { FRAME_ACK, FRAME_REPEAT, FRAME_REPORT, LinkFrames } from '../../../src/overlay/wire/frames.js';
import {
  AckFrame,
  decodeReport,
  readRepeat,
  REPEAT_FRAME_SIZE,
  type Report,
  writeRepeat,
} from '../../../src/overlay/wire/recovery.js';
import { readDistance } from '../../../src/overlay/wire/routed.js';
import { ackOf } from '../../unit/link/recovery/acks.js';

export interface Body {
  /** Types of the link frames, in their order. */
  readonly types: number[];
  /** Of the routed frame's first transmission; -1 where that is it. */
  readonly repeatOf: number;
  readonly acks: { lane: number; epoch: number; largest: number; ceMarks: number; ranges: number[][] }[];
  readonly reports: Report[];
  readonly routed: Uint8Array | undefined;
}

export const join = (...parts: readonly Uint8Array[]): Uint8Array =>
  Uint8Array.from(parts.flatMap((part) => [...part]));

/** The repeat frame that names a number. */
export function repeatFrame(number: number): Uint8Array {
  const bytes = new Uint8Array(REPEAT_FRAME_SIZE);
  writeRepeat(new DataView(bytes.buffer), 0, number);
  return bytes;
}

/** An acknowledgement of some numbers, as a frame. */
export function ackFrame(lane: number, epoch: number, numbers: readonly number[], ceMarks = 0): Uint8Array {
  const { view, length } = ackOf({ epoch, numbers, ceMarks });
  const bytes = new Uint8Array(view.buffer.slice(0, 3 + length));
  bytes[3] = lane;
  return bytes;
}

/** Takes a body apart. Throws where its link frames are malformed. */
export function readBody(body: Uint8Array): Body {
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  const cursor = new LinkFrames();
  cursor.reset(view, 0, body.length);
  const read = { types: [] as number[], repeatOf: -1, acks: [] as Body['acks'], reports: [] as Report[] };
  while (cursor.next()) {
    const { type, at, length } = cursor;
    read.types.push(type);
    if (type === FRAME_REPEAT) read.repeatOf = readRepeat(view, at, length);
    if (type === FRAME_ACK) read.acks.push(readAck(view, at, length));
    if (type === FRAME_REPORT) {
      const report = decodeReport(view, at, length);
      if (report.type === 'report') read.reports.push(report);
    }
  }
  if (cursor.malformed) throw new Error('malformed link frames');
  return { ...read, routed: cursor.routedAt < 0 ? undefined : body.slice(cursor.routedAt) };
}

function readAck(view: DataView, at: number, length: number): Body['acks'][number] {
  const ack = new AckFrame();
  const result = ack.read(view, at, length);
  if (result !== 'ok') throw new Error(`acknowledgement: ${result}`);
  const { lane, epoch, largest, ceMarks } = ack;
  const ranges = Array.from({ length: ack.ranges }, (_, i) => [
    largest - ack.oldest[i]!,
    largest - ack.newest[i]!,
  ]);
  return { lane, epoch, largest, ceMarks, ranges };
}

/** How far back the routed frame's predecessor in its flow is; 0: it waits for none. */
export function distanceOf(routed: Uint8Array): number {
  return readDistance(new DataView(routed.buffer, routed.byteOffset), 0);
}
