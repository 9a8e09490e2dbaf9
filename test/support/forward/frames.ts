/** Bodies of sealed records for tests, and what can be read of them. */
import {
  FRAME_DATA,
  readDestination,
  readEcn,
  readEpoch,
  readFlags,
  readFlow,
  readRoutedType,
  readSequence,
  readService,
  readSource,
  readTtl,
  ROUTED_HEADER_SIZE,
  writeRoutedHeader,
} from '../../../src/overlay/wire/routed.js';
import { writeErrorBody } from '../../../src/overlay/wire/error.js';
import { FRAME_ERROR } from '../../../src/overlay/wire/routed.js';

export interface FrameFields {
  type?: number;
  flags?: number;
  service?: number;
  ecn?: number;
  ttl?: number;
  from: number;
  to: number;
  sequence?: number;
  flow?: number;
  /** Back to the flow's packet before. */
  distance?: number;
  epoch?: number;
}

export function frame(fields: FrameFields, payload: Uint8Array = new Uint8Array(0)): Uint8Array {
  const {
    type = FRAME_DATA,
    flags = 0,
    service = 0,
    ecn = 0,
    ttl = 64,
    from,
    to,
    sequence = 1,
    flow = 0,
    distance = 0,
    epoch = 7,
  } = fields;
  const bytes = new Uint8Array(ROUTED_HEADER_SIZE + payload.length);
  const view = new DataView(bytes.buffer);
  writeRoutedHeader(view, 0, type, flags, service, ecn, ttl, from, to, epoch, distance, sequence, flow);
  bytes.set(payload, ROUTED_HEADER_SIZE);
  return bytes;
}

/** An error frame of `from` to `to` about the packet that `to` sent to `destination` as `sequence`. */
export function errorFrame(
  from: number,
  to: number,
  code: number,
  destination: number,
  sequence: number,
  mtu = 0,
): Uint8Array {
  const bytes = frame({ type: FRAME_ERROR, from, to }, new Uint8Array(12));
  writeErrorBody(new DataView(bytes.buffer), 0, code, mtu, destination, sequence);
  return bytes;
}

export function readFrame(body: Uint8Array) {
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  return {
    type: readRoutedType(view, 0),
    flags: readFlags(view, 0),
    service: readService(view, 0),
    ecn: readEcn(view, 0),
    ttl: readTtl(view, 0),
    from: readSource(view, 0),
    to: readDestination(view, 0),
    epoch: readEpoch(view, 0),
    sequence: readSequence(view, 0),
    flow: readFlow(view, 0),
    payload: body.slice(ROUTED_HEADER_SIZE),
  };
}
