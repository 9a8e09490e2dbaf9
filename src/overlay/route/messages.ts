/**
 * Routing's messages in a link's ordered control stream. The first byte is the type.
 *
 * certificate  | 0x01 | node id (4) | DER of that node's certificate …
 *
 * record       | 0x02 | age, ms (4) | record (record.ts) … | Ed25519 signature (64) |
 *
 * digest       | 0x03 | rows of 16 bytes: the record that the sender holds of each origin
 *
 *              +---------------------------------------------------------------+
 *              |                       origin's node id                        |
 *              +---------------------------------------------------------------+
 *              |                             epoch                             |
 *              +---------------------------------------------------------------+
 *              |                           sequence                            |
 *              +---------------------------------------------------------------+
 *              |        head of SHA-256 of the certificate's DER (4 bytes)     |
 *              +---------------------------------------------------------------+
 *
 * request      | 0x04 | rows of 5 bytes: origin's node id (4), what (1): 0x01 certificate, 0x02 record
 *
 * The age is outside the signature: each holder adds the time that it held the record.
 */
import { readU32, writeU32 } from './bytes.js';
import type { Decoded } from './record.js';
import { MAX_RECORD, RECORD_HEADER } from './record.js';

export const MESSAGE = { certificate: 0x01, record: 0x02, digest: 0x03, request: 0x04 } as const;
/** Bytes, the link stream's own limit. */
export const MAX_MESSAGE = 65_535;
export const MAX_CERTIFICATE = 16_384;
export const SIGNATURE = 64;

const CERTIFICATE_AT = 5;
const RECORD_AT = 5;
const DIGEST_ROW = 16;
const REQUEST_ROW = 5;
/** Rows in one digest or request of ours; a peer's may have as many as fit a message. */
const CHUNK_ROWS = 1024;

export const WANT = { certificate: 1, record: 2 } as const;

export interface DigestRow {
  readonly origin: number;
  readonly epoch: number;
  readonly sequence: number;
  /** First 4 bytes of the certificate's hash. */
  readonly certificate: number;
}

export interface RequestRow {
  readonly origin: number;
  /** WANT bits. */
  readonly what: number;
}

export type ControlMessage =
  | {
      readonly type: 'certificate';
      /** Whose it is said to be, so that a known one is recognised without reading it. */
      readonly nodeId: number;
      readonly der: Uint8Array;
      /** The message itself. */
      readonly whole: Uint8Array;
    }
  | {
      readonly type: 'record';
      /** ms since origination. */
      readonly age: number;
      /** The signed bytes, verbatim. */
      readonly record: Uint8Array;
      readonly signature: Uint8Array;
      /** The message itself. */
      readonly whole: Uint8Array;
    }
  | { readonly type: 'digest'; readonly rows: readonly DigestRow[] }
  | { readonly type: 'request'; readonly rows: readonly RequestRow[] };

export type MessageReject = 'message-size' | 'message-type';

/** Whether routing is who reads a control stream's message. */
export function isRoutingMessage(bytes: Uint8Array): boolean {
  return bytes.length > 0 && bytes[0] >= MESSAGE.certificate && bytes[0] <= MESSAGE.request;
}

export function encodeCertificate(nodeId: number, der: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(CERTIFICATE_AT + der.length);
  bytes[0] = MESSAGE.certificate;
  writeU32(bytes, 1, nodeId);
  bytes.set(der, CERTIFICATE_AT);
  return bytes;
}

/** `age` in ms; `record` are the signed bytes, `signature` 64 bytes. */
export function encodeRecordMessage(age: number, record: Uint8Array, signature: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(RECORD_AT + record.length + SIGNATURE);
  bytes[0] = MESSAGE.record;
  writeU32(bytes, 1, Math.min(age, 0xffffffff));
  bytes.set(record, RECORD_AT);
  bytes.set(signature, RECORD_AT + record.length);
  return bytes;
}

/** As many messages as the rows need; one without rows where there are none. */
export function encodeDigest(rows: readonly DigestRow[]): Uint8Array[] {
  return chunks(rows).map((chunk) => {
    const bytes = new Uint8Array(1 + chunk.length * DIGEST_ROW);
    bytes[0] = MESSAGE.digest;
    chunk.forEach((row, i) => {
      const at = 1 + i * DIGEST_ROW;
      writeU32(bytes, at, row.origin);
      writeU32(bytes, at + 4, row.epoch);
      writeU32(bytes, at + 8, row.sequence);
      writeU32(bytes, at + 12, row.certificate);
    });
    return bytes;
  });
}

export function encodeRequest(rows: readonly RequestRow[]): Uint8Array[] {
  return chunks(rows).map((chunk) => {
    const bytes = new Uint8Array(1 + chunk.length * REQUEST_ROW);
    bytes[0] = MESSAGE.request;
    chunk.forEach((row, i) => {
      const at = 1 + i * REQUEST_ROW;
      writeU32(bytes, at, row.origin);
      bytes[at + 4] = row.what;
    });
    return bytes;
  });
}

/** Certificate, record and signature are views into `bytes`. */
export function decodeMessage(bytes: Uint8Array): Decoded<ControlMessage, MessageReject> {
  if (bytes.length < 1 || bytes.length > MAX_MESSAGE) return { ok: false, reason: 'message-size' };
  switch (bytes[0]) {
    case MESSAGE.certificate:
      return decodeCertificate(bytes);
    case MESSAGE.record:
      return decodeRecordMessage(bytes);
    case MESSAGE.digest:
      return decodeDigest(bytes);
    case MESSAGE.request:
      return decodeRequest(bytes);
    default:
      return { ok: false, reason: 'message-type' };
  }
}

type Result = Decoded<ControlMessage, MessageReject>;
const wrongSize: Result = { ok: false, reason: 'message-size' };

function decodeCertificate(bytes: Uint8Array): Result {
  const size = bytes.length - CERTIFICATE_AT;
  if (size < 1 || size > MAX_CERTIFICATE) return wrongSize;
  const value = {
    type: 'certificate',
    nodeId: readU32(bytes, 1),
    der: bytes.subarray(CERTIFICATE_AT),
    whole: bytes,
  } as const;
  return { ok: true, value };
}

function decodeRecordMessage(bytes: Uint8Array): Result {
  const size = bytes.length - RECORD_AT - SIGNATURE;
  if (size < RECORD_HEADER || size > MAX_RECORD) return wrongSize;
  const record = bytes.subarray(RECORD_AT, RECORD_AT + size);
  const signature = bytes.subarray(RECORD_AT + size);
  return { ok: true, value: { type: 'record', age: readU32(bytes, 1), record, signature, whole: bytes } };
}

function decodeDigest(bytes: Uint8Array): Result {
  if ((bytes.length - 1) % DIGEST_ROW !== 0) return wrongSize;
  const rows: DigestRow[] = [];
  for (let at = 1; at < bytes.length; at += DIGEST_ROW) {
    rows.push({
      origin: readU32(bytes, at),
      epoch: readU32(bytes, at + 4),
      sequence: readU32(bytes, at + 8),
      certificate: readU32(bytes, at + 12),
    });
  }
  return { ok: true, value: { type: 'digest', rows } };
}

function decodeRequest(bytes: Uint8Array): Result {
  if ((bytes.length - 1) % REQUEST_ROW !== 0) return wrongSize;
  const rows: RequestRow[] = [];
  for (let at = 1; at < bytes.length; at += REQUEST_ROW) {
    rows.push({ origin: readU32(bytes, at), what: bytes[at + 4] });
  }
  return { ok: true, value: { type: 'request', rows } };
}

function chunks<T>(rows: readonly T[]): T[][] {
  const parts: T[][] = [];
  for (let at = 0; at < Math.max(1, rows.length); at += CHUNK_ROWS)
    parts.push(rows.slice(at, at + CHUNK_ROWS));
  return parts;
}
