/**
 * The link-state record: what an origin says of its own links, signed by its certificate's key. It says nothing of
 * addresses; those come from the certificate alone.
 *
 *  0                   1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +---------------------------------------------------------------+
 * |                       origin's node id                        |
 * +---------------------------------------------------------------+
 * |                             epoch                             |
 * +---------------------------------------------------------------+
 * |                           sequence                            |
 * +-------------------------------+-------------------------------+
 * |         lifetime, s           |        zero, not read         |
 * +-------------------------------+-------------------------------+
 * |      head of SHA-256 of the origin's certificate (8 bytes)    |
 * |                                                               |
 * +---------------+-------------------------------+---------------+
 * | field type    |  length of value              |  value …
 * +---------------+-------------------------------+
 *
 * Field 1, one per link, neighbours strictly ascending:
 *
 * +---------------------------------------------------------------+
 * |                      neighbour's node id                      |
 * +---------------------------------------------------------------+
 * |                     round-trip time, µs                       |
 * +---------------+---------------+-------------------------------+
 * | subfield type | length        | value …   (any number of them)
 * +---------------+---------------+
 *
 *   1  loss towards the neighbour: 0..3 parts per million, 4..5 mean run of losses in sixteenths
 *   2  price of the queue towards the neighbour: 0..1 hundredths
 *
 * What a subfield says is zero, or a run of one, where it is absent; a longer value is an extension, and its rest skipped.
 *
 * Field 2, at most one: that it forms links by itself, and where it may be tried (`src/overlay/peering/forming.ts`).
 *
 * Unknown fields and subfields are skipped; the signed bytes are kept and flooded on as they came.
 */
import { decodeForming, encodeForming, type Forming } from '../peering/forming.js';
import { concatBytes, readU16, readU32, writeU16, writeU32 } from './bytes.js';
import { CERTIFICATE_HASH } from './identity.js';
import { BURST_UNIT, LOSS_UNIT, PRICE_UNIT, type LinkMeasure } from './measure.js';

export const RECORD_HEADER = 24;
/** Bytes of a record, its header included, without the signature. */
export const MAX_RECORD = 16_384;
export const MAX_LINKS = 1024;

const OFFSET = { origin: 0, epoch: 4, sequence: 8, lifetime: 12, certificate: 16 } as const;
const FIELD_HEADER = 3;
const FIELD_LINK = 1;
const FIELD_FORMING = 2;
const LINK_FIXED = 8;
const SUBFIELD_HEADER = 2;
const SUBFIELD_LOSS = 1;
const LOSS_SIZE = 6;
const SUBFIELD_PRICE = 2;
const PRICE_SIZE = 2;

const CONTEXT = new TextEncoder().encode('causeway link-state record v1\0');

/** As its record says it. */
export interface Link extends LinkMeasure {
  readonly neighbour: number;
}

export interface LinkStateRecord {
  readonly origin: number;
  /** Newer is the greater (epoch, sequence). */
  readonly epoch: number;
  readonly sequence: number;
  /** Seconds from origination until it is forgotten, 1 .. 65535. */
  readonly lifetime: number;
  /** CERTIFICATE_HASH bytes. */
  readonly certificate: Uint8Array;
  /** Neighbours strictly ascending. */
  readonly links: readonly Link[];
  /** Absent: it forms no links by itself. */
  readonly forming?: Forming;
}

export type RecordReject =
  | 'record-size'
  | 'record-origin'
  | 'record-lifetime'
  | 'record-field'
  | 'record-link'
  | 'record-link-order'
  | 'record-too-many-links'
  | 'record-forming';

export type Decoded<T, R extends string> =
  { readonly ok: true; readonly value: T } | { readonly ok: false; readonly reason: R };

/** The bytes to sign or verify: the context string, then the record. */
export function signedBytes(record: Uint8Array): Uint8Array {
  return concatBytes(CONTEXT, record);
}

/**
 * The record's bytes, unsigned. `extra` is appended as it stands: fields that this version doesn't know.
 * Throws where the links are not ascending or too many: our own fault, never a peer's.
 */
export function encodeRecord(record: LinkStateRecord, extra: Uint8Array = new Uint8Array(0)): Uint8Array {
  const { links } = record;
  const ascending = links.every((link, i) => i === 0 || links[i - 1].neighbour < link.neighbour);
  if (!ascending || links.length > MAX_LINKS) throw new RangeError('links must ascend and be few enough');
  const sizes = links.map(linkSize);
  const bytes = new Uint8Array(sizes.reduce((sum, size) => sum + FIELD_HEADER + size, RECORD_HEADER));
  writeU32(bytes, OFFSET.origin, record.origin);
  writeU32(bytes, OFFSET.epoch, record.epoch);
  writeU32(bytes, OFFSET.sequence, record.sequence);
  writeU16(bytes, OFFSET.lifetime, record.lifetime);
  bytes.set(record.certificate.subarray(0, CERTIFICATE_HASH), OFFSET.certificate);
  let at = RECORD_HEADER;
  links.forEach((link, i) => {
    bytes[at] = FIELD_LINK;
    writeU16(bytes, at + 1, sizes[i]);
    writeLink(bytes, at + FIELD_HEADER, link);
    at += FIELD_HEADER + sizes[i];
  });
  return concatBytes(bytes, formingField(record.forming), extra);
}

function formingField(forming: Forming | undefined): Uint8Array {
  if (forming === undefined) return new Uint8Array(0);
  const value = encodeForming(forming);
  return concatBytes(Uint8Array.of(FIELD_FORMING, 0, value.length), value);
}

/** Bytes of the link's value. */
function linkSize({ loss, price }: Link): number {
  const lossy = loss > 0 ? SUBFIELD_HEADER + LOSS_SIZE : 0;
  return LINK_FIXED + lossy + (price > 0 ? SUBFIELD_HEADER + PRICE_SIZE : 0);
}

function writeLink(bytes: Uint8Array, start: number, { neighbour, rtt, loss, burst, price }: Link): void {
  writeU32(bytes, start, neighbour);
  writeU32(bytes, start + 4, rtt);
  let at = start + LINK_FIXED;
  if (loss > 0) {
    bytes.set([SUBFIELD_LOSS, LOSS_SIZE], at);
    writeU32(bytes, at + SUBFIELD_HEADER, loss);
    writeU16(bytes, at + SUBFIELD_HEADER + 4, Math.round(burst * BURST_UNIT));
    at += SUBFIELD_HEADER + LOSS_SIZE;
  }
  if (price > 0) {
    bytes.set([SUBFIELD_PRICE, PRICE_SIZE], at);
    writeU16(bytes, at + SUBFIELD_HEADER, Math.round(price * PRICE_UNIT));
  }
}

/** The certificate's hash is a view into `bytes`. */
export function decodeRecord(bytes: Uint8Array): Decoded<LinkStateRecord, RecordReject> {
  if (bytes.length < RECORD_HEADER || bytes.length > MAX_RECORD) return { ok: false, reason: 'record-size' };
  const origin = readU32(bytes, OFFSET.origin);
  if (origin === 0) return { ok: false, reason: 'record-origin' };
  const lifetime = readU16(bytes, OFFSET.lifetime);
  if (lifetime === 0) return { ok: false, reason: 'record-lifetime' };
  const fields = decodeFields(bytes, origin);
  if (typeof fields === 'string') return { ok: false, reason: fields };
  const value = {
    origin,
    epoch: readU32(bytes, OFFSET.epoch),
    sequence: readU32(bytes, OFFSET.sequence),
    lifetime,
    certificate: bytes.subarray(OFFSET.certificate, OFFSET.certificate + CERTIFICATE_HASH),
    ...fields,
  };
  return { ok: true, value };
}

type Fields = Pick<LinkStateRecord, 'links' | 'forming'>;

function decodeFields(bytes: Uint8Array, origin: number): Fields | RecordReject {
  const links: Link[] = [];
  let forming: Forming | undefined;
  let at = RECORD_HEADER;
  while (at < bytes.length) {
    if (bytes.length - at < FIELD_HEADER) return 'record-field';
    const start = at + FIELD_HEADER;
    const end = start + readU16(bytes, at + 1);
    if (end > bytes.length) return 'record-field';
    if (bytes[at] === FIELD_LINK) {
      const link = decodeLink(bytes, start, end);
      if (link === undefined || link.neighbour === origin) return 'record-link';
      if (links.length > 0 && links[links.length - 1].neighbour >= link.neighbour) return 'record-link-order';
      if (links.push(link) > MAX_LINKS) return 'record-too-many-links';
    } else if (bytes[at] === FIELD_FORMING) {
      if (forming) return 'record-forming';
      forming = decodeForming(bytes.subarray(start, end));
      if (!forming) return 'record-forming';
    }
    at = end;
  }
  return { links, ...(forming && { forming }) };
}

/** One link in bytes[start, end), or undefined where the bytes make none, or an impossible one. */
function decodeLink(bytes: Uint8Array, start: number, end: number): Link | undefined {
  if (end - start < LINK_FIXED) return undefined;
  const link = {
    neighbour: readU32(bytes, start),
    rtt: readU32(bytes, start + 4),
    loss: 0,
    burst: 1,
    price: 0,
  };
  let at = start + LINK_FIXED;
  while (at < end) {
    if (end - at < SUBFIELD_HEADER) return undefined;
    const value = at + SUBFIELD_HEADER;
    const length = bytes[at + 1];
    if (value + length > end || !readSubfield(bytes, bytes[at], value, length, link)) return undefined;
    at = value + length;
  }
  return link.neighbour !== 0 && link.rtt !== 0 ? link : undefined;
}

/** False where it says what cannot be. */
function readSubfield(
  bytes: Uint8Array,
  type: number,
  at: number,
  length: number,
  link: { loss: number; burst: number; price: number },
): boolean {
  switch (type) {
    case SUBFIELD_LOSS:
      if (length < LOSS_SIZE) return false;
      link.loss = readU32(bytes, at);
      link.burst = readU16(bytes, at + 4) / BURST_UNIT;
      return link.loss <= LOSS_UNIT && link.burst >= 1;
    case SUBFIELD_PRICE:
      if (length < PRICE_SIZE) return false;
      link.price = readU16(bytes, at) / PRICE_UNIT;
      return true;
    default:
      return true;
  }
}

/** What a duplicate is recognised by, without decoding the rest. `bytes` hold a record's header at least. */
export function peekVersion(bytes: Uint8Array, at = 0): { origin: number; epoch: number; sequence: number } {
  return {
    origin: readU32(bytes, at + OFFSET.origin),
    epoch: readU32(bytes, at + OFFSET.epoch),
    sequence: readU32(bytes, at + OFFSET.sequence),
  };
}

export interface Version {
  readonly epoch: number;
  readonly sequence: number;
}

/** Positive where `a` is the newer. */
export function compareVersions(a: Version, b: Version): number {
  return a.epoch - b.epoch || a.sequence - b.sequence;
}

/** The version after `version`; undefined after the last that 64 bits hold. */
export function nextVersion(version: Version): Version | undefined {
  if (version.sequence < 0xffffffff) return { epoch: version.epoch, sequence: version.sequence + 1 };
  return version.epoch < 0xffffffff ? { epoch: version.epoch + 1, sequence: 1 } : undefined;
}
