/** Builds inner packets for tests, byte by byte, with a naive checksum of its own as the oracle. */

/** RFC 1071 the slow way: 16-bit one's complement addition, a carry at a time. */
export function naiveChecksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) {
    sum += bytes[i] * 256 + (i + 1 < bytes.length ? bytes[i + 1] : 0);
    if (sum > 0xffff) sum = sum - 0x10000 + 1;
  }
  return 0xffff - sum;
}

export interface Ipv4 {
  readonly source?: readonly number[];
  readonly destination?: readonly number[];
  readonly protocol?: number;
  readonly tos?: number;
  readonly ttl?: number;
  /** Flags and offset. */
  readonly fragment?: number;
  readonly options?: readonly number[];
  readonly payload?: readonly number[];
}

export function ipv4(fields: Ipv4): Uint8Array {
  const options = fields.options ?? [];
  const payload = fields.payload ?? [];
  const length = 20 + options.length + payload.length;
  const fragment = fields.fragment ?? 0;
  const header = Uint8Array.from([
    0x40 | (5 + options.length / 4),
    fields.tos ?? 0,
    length >> 8,
    length & 255,
    ...[0x12, 0x34, fragment >> 8, fragment & 255],
    ...[fields.ttl ?? 64, fields.protocol ?? 17, 0, 0],
    ...(fields.source ?? [10, 77, 0, 1]),
    ...(fields.destination ?? [10, 77, 0, 2]),
    ...options,
  ]);
  const sum = naiveChecksum(header);
  header[10] = sum >> 8;
  header[11] = sum & 255;
  return Uint8Array.from([...header, ...payload]);
}

export interface Ipv6 {
  readonly source?: readonly number[];
  readonly destination?: readonly number[];
  readonly next?: number;
  readonly trafficClass?: number;
  readonly hopLimit?: number;
  readonly payload?: readonly number[];
}

export const V6_A = [0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
export const V6_B = [0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

export function ipv6(fields: Ipv6): Uint8Array {
  const payload = fields.payload ?? [];
  const trafficClass = fields.trafficClass ?? 0;
  return Uint8Array.from([
    ...[0x60 | (trafficClass >> 4), ((trafficClass & 15) << 4) | 0x5, 0xab, 0xcd],
    ...[payload.length >> 8, payload.length & 255, fields.next ?? 17, fields.hopLimit ?? 64],
    ...(fields.source ?? V6_A),
    ...(fields.destination ?? V6_B),
    ...payload,
  ]);
}

/** A UDP header without checksum, and a payload. */
export function udp(source: number, destination: number, payload: readonly number[] = []): number[] {
  const length = 8 + payload.length;
  return [
    source >> 8,
    source & 255,
    destination >> 8,
    destination & 255,
    length >> 8,
    length & 255,
    0,
    0,
    ...payload,
  ];
}

/** The packet inside a larger buffer at `at`, noise around it. */
export function placed(packet: Uint8Array, at: number): DataView {
  const buffer = new Uint8Array(at + packet.length + 64).fill(0xee);
  buffer.set(packet, at);
  return new DataView(buffer.buffer);
}

export function bytesOf(view: DataView, at: number, length: number): Uint8Array {
  return new Uint8Array(view.buffer.slice(view.byteOffset + at, view.byteOffset + at + length));
}
