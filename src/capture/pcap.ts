/**
 * Classic pcap files, by `pcap-parser`. What it doesn't check is checked here: times in nanoseconds are files like any other, a packet is no
 * longer than captures have them, and a file doesn't end in the middle of one.
 */
import { Readable } from 'node:stream';
import { parse } from 'pcap-parser';
import type { CapturedPacket, CaptureRead } from './pcapng.js';

const GLOBAL_HEADER = 24;
const PACKET_HEADER = 16;
/** tcpdump's own limit, MAXIMUM_SNAPLEN. */
const MAX_PACKET = 262_144;
/** Of the format with nanoseconds, in either byte order, and what it is otherwise alike to. */
const NANOSECONDS: Readonly<Record<string, string>> = { a1b23c4d: 'a1b2c3d4', '4d3cb2a1': 'd4c3b2a1' };

/** All packets of a file, in order. Never rejects. */
export async function readPcap(file: Uint8Array): Promise<CaptureRead> {
  const packets: CapturedPacket[] = [];
  const fail = (text: string): CaptureRead => ({ ok: false, text, packets });
  const bytes = Buffer.from(file);
  const magic = NANOSECONDS[bytes.toString('hex', 0, 4)];
  if (magic !== undefined) bytes.write(magic, 0, 'hex');
  let consumed = 0;
  let linkType = 0;
  let problem: string | undefined;
  const stream = Readable.from([bytes]);
  const parser = parse(stream);
  const done = new Promise<void>((resolve) => {
    parser.on('globalHeader', (header) => {
      linkType = header.linkLayerType & 0xffff; // above: how the frames' checksums are kept
      consumed = GLOBAL_HEADER;
    });
    parser.on('packetHeader', ({ capturedLength }) => {
      if (capturedLength <= MAX_PACKET) return;
      problem ??= `packet ${packets.length + 1}: ${capturedLength} bytes, more than any capture has`;
      resolve();
    });
    parser.on('packet', ({ header, data }) => {
      consumed += PACKET_HEADER + data.length;
      if (problem === undefined) packets.push({ linkType, data, length: header.originalLength });
    });
    parser.on('error', (error) => {
      problem ??= error.message;
      resolve();
    });
    parser.on('end', () => resolve());
  });
  await done;
  if (problem !== undefined) return fail(problem);
  if (consumed < bytes.length || consumed === 0)
    return fail(`after packet ${packets.length}: the file is cut short`);
  return { ok: true, packets };
}
