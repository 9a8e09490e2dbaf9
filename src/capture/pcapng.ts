/**
 * The pcapng format (draft-ietf-opsawg-pcapng): blocks that we write, and those that carry packets, read back. Pure.
 *
 *  0                   1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +---------------------------------------------------------------+
 * |                          block type                           |
 * +---------------------------------------------------------------+
 * |                      block total length                       |
 * +---------------------------------------------------------------+
 * |   body, then options (code u16, length u16, value), each      |
 * |   padded to 32 bits                                           |
 * +---------------------------------------------------------------+
 * |                  block total length, once more                |
 * +---------------------------------------------------------------+
 *
 * Byte order is the section's; we write little-endian.
 */

const SECTION_HEADER = 0x0a0d0d0a;
const INTERFACE = 1;
const SIMPLE_PACKET = 3;
export const INTERFACE_STATISTICS = 5;
export const ENHANCED_PACKET = 6;
const BYTE_ORDER = 0x1a2b3c4d;

const OPTION_END = 0;
const OPTION_COMMENT = 1;
const SECTION_APPLICATION = 4;
const INTERFACE_NAME = 2;
const INTERFACE_RESOLUTION = 9;
const PACKET_FLAGS = 2;
const STATISTICS_RECEIVED = 4;
const STATISTICS_DROPPED = 5;

/** A block's head and tail; what a packet block has before its data. */
const BLOCK_AROUND = 12;
const PACKET_FIXED = 20;
/** Larger blocks are no captures of ours or of tcpdump's, whose packets have at most 256 KiB. */
const MAX_BLOCK = 1 << 24;

export type Direction = 'in' | 'out' | 'unknown';
const DIRECTION_BITS: Readonly<Record<Direction, number>> = { unknown: 0, in: 1, out: 2 };

type Option = readonly [code: number, value: Uint8Array];

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

/** The block that begins a file. */
export function encodeSection(application: string): Uint8Array {
  const body = new Uint8Array(16);
  const view = new DataView(body.buffer);
  view.setUint32(0, BYTE_ORDER, true);
  view.setUint16(4, 1, true); // version 1.0
  view.setBigInt64(8, -1n, true); // section of any length
  return block(SECTION_HEADER, body, [[SECTION_APPLICATION, text(application)]]);
}

/** Interfaces are numbered from 0 in the order of their blocks. Times are µs. */
export function encodeInterface(name: string, linkType: number, snapLength: number): Uint8Array {
  const body = new Uint8Array(8);
  const view = new DataView(body.buffer);
  view.setUint16(0, linkType, true);
  view.setUint32(4, snapLength, true);
  const resolution = Uint8Array.of(6);
  return block(INTERFACE, body, [
    [INTERFACE_NAME, text(name)],
    [INTERFACE_RESOLUTION, resolution],
  ]);
}

/** `at`: µs since 1970. `data` may be the head of a packet of `length` bytes. */
export function encodePacket(
  at: number,
  data: Uint8Array,
  length: number,
  direction: Direction,
  comment: string | undefined,
): Uint8Array {
  const body = new Uint8Array(PACKET_FIXED + data.length);
  const view = new DataView(body.buffer);
  view.setUint32(4, Math.floor(at / 2 ** 32), true);
  view.setUint32(8, at >>> 0, true);
  view.setUint32(12, data.length, true);
  view.setUint32(16, length, true);
  body.set(data, PACKET_FIXED);
  const flags = new Uint8Array(4);
  flags[0] = DIRECTION_BITS[direction];
  const options: Option[] = [[PACKET_FLAGS, flags]];
  if (comment !== undefined) options.unshift([OPTION_COMMENT, text(comment)]);
  return block(ENHANCED_PACKET, body, options);
}

/** How many packets of the first interface were captured, and how many could not be. */
export function encodeStatistics(at: number, captured: number, missed: number): Uint8Array {
  const body = new Uint8Array(12);
  const view = new DataView(body.buffer);
  view.setUint32(4, Math.floor(at / 2 ** 32), true);
  view.setUint32(8, at >>> 0, true);
  return block(INTERFACE_STATISTICS, body, [
    [STATISTICS_RECEIVED, u64(captured + missed)],
    [STATISTICS_DROPPED, u64(missed)],
  ]);
}

/** What a block of `encodeStatistics` at `at` says was missed. */
export function missedIn(view: DataView, at: number): number {
  const received = 8 + 12; // head, then interface and time
  const dropped = at + received + 12;
  return Number(view.getBigUint64(dropped + 4, true));
}

function u64(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true);
  return bytes;
}

const padded = (length: number): number => (length + 3) & ~3;

function block(type: number, body: Uint8Array, options: readonly Option[]): Uint8Array {
  const optionsLength = options.reduce((sum, [, value]) => sum + 4 + padded(value.length), 4);
  const total = BLOCK_AROUND + padded(body.length) + optionsLength;
  const bytes = new Uint8Array(total);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setUint32(4, total, true);
  bytes.set(body, 8);
  let at = 8 + padded(body.length);
  for (const [code, value] of [...options, [OPTION_END, new Uint8Array(0)] as const]) {
    view.setUint16(at, code, true);
    view.setUint16(at + 2, value.length, true);
    bytes.set(value, at + 4);
    at += 4 + padded(value.length);
  }
  view.setUint32(at, total, true);
  return bytes;
}

/** A packet of a capture file, whichever its format. */
export interface CapturedPacket {
  /** As tcpdump's registry has them: 1 Ethernet, 101 raw IP … */
  readonly linkType: number;
  /** A view into the file. */
  readonly data: Uint8Array;
  /** On the wire, bytes; more than `data` where the capture cut it. */
  readonly length: number;
  /** Of a file of ours, or another's that has comments. */
  readonly comment?: string;
}

export type CaptureRead =
  | { readonly ok: true; readonly packets: readonly CapturedPacket[] }
  /** `text` says where and what is wrong; `packets` came before that. */
  | { readonly ok: false; readonly text: string; readonly packets: readonly CapturedPacket[] };

export function isPcapng(bytes: Uint8Array): boolean {
  return (
    bytes.length >= 4 && bytes[0] === 0x0a && bytes[1] === 0x0d && bytes[2] === 0x0d && bytes[3] === 0x0a
  );
}

/** All packets of a file, in order. Blocks that aren't known are passed over. Never throws. */
export function readPcapng(bytes: Uint8Array): CaptureRead {
  const packets: CapturedPacket[] = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const fail = (at: number, what: string): CaptureRead => ({
    ok: false,
    text: `at byte ${at}: ${what}`,
    packets,
  });
  let little = true;
  let linkTypes: number[] = [];
  for (let at = 0; at < bytes.length;) {
    if (bytes.length - at < BLOCK_AROUND) return fail(at, 'the file is cut short');
    if (view.getUint32(at, true) === SECTION_HEADER) {
      const order = orderOf(view, at);
      if (order === undefined) return fail(at, 'no byte order is known by this mark');
      little = order;
      linkTypes = [];
    }
    const type = view.getUint32(at, little);
    const total = view.getUint32(at + 4, little);
    if (total < BLOCK_AROUND || total % 4 !== 0 || total > MAX_BLOCK)
      return fail(at, `a block of ${total} bytes`);
    if (total > bytes.length - at) return fail(at, 'the file is cut short');
    if (view.getUint32(at + total - 4, little) !== total) return fail(at, "a block's two lengths differ");
    const problem = readBlock(type, view, at + 8, at + total - 4, little, linkTypes, packets);
    if (problem !== undefined) return fail(at, problem);
    at += total;
  }
  return { ok: true, packets };
}

function orderOf(view: DataView, at: number): boolean | undefined {
  if (view.getUint32(at + 8, true) === BYTE_ORDER) return true;
  return view.getUint32(at + 8, false) === BYTE_ORDER ? false : undefined;
}

/** Takes one block, whose body lies in [start, end); what is wrong with it, if anything is. */
function readBlock(
  type: number,
  view: DataView,
  start: number,
  end: number,
  little: boolean,
  linkTypes: number[],
  packets: CapturedPacket[],
): string | undefined {
  const data = (from: number, length: number) => new Uint8Array(view.buffer, view.byteOffset + from, length);
  if (type === INTERFACE) {
    if (end - start < 8) return 'an interface without a link type';
    linkTypes.push(view.getUint16(start, little));
  } else if (type === SIMPLE_PACKET) {
    if (end - start < 4 || linkTypes.length === 0) return 'a packet of no interface';
    const length = view.getUint32(start, little);
    packets.push({
      linkType: linkTypes[0],
      data: data(start + 4, Math.min(length, end - start - 4)),
      length,
    });
  } else if (type === ENHANCED_PACKET) {
    if (end - start < PACKET_FIXED) return 'a packet without its head';
    const linkType = linkTypes[view.getUint32(start, little)];
    if (linkType === undefined) return 'a packet of no interface';
    const captured = view.getUint32(start + 12, little);
    if (captured > end - start - PACKET_FIXED) return 'a packet longer than its block';
    const comment = commentIn(view, start + PACKET_FIXED + padded(captured), end, little);
    packets.push({
      linkType,
      data: data(start + PACKET_FIXED, captured),
      length: view.getUint32(start + 16, little),
      ...(comment !== undefined && { comment }),
    });
  }
  return undefined;
}

function commentIn(view: DataView, from: number, end: number, little: boolean): string | undefined {
  for (let at = from; at + 4 <= end;) {
    const code = view.getUint16(at, little);
    const length = view.getUint16(at + 2, little);
    if (code === OPTION_END || length > end - at - 4) return undefined;
    if (code === OPTION_COMMENT) {
      return new TextDecoder().decode(new Uint8Array(view.buffer, view.byteOffset + at + 4, length));
    }
    at += 4 + padded(length);
  }
  return undefined;
}
