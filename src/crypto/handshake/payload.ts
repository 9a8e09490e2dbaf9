/**
 * Encrypted payloads of the handshake: fields of type (1), length (2), value. Unknown types are skipped, so that later versions can
 * say more; a known type twice, or a value of the wrong size, is malformed.
 */
import type { Cipher } from '../../io/ports.js';
import { viewOf } from './datagram.js';
import { codeOf, reasonOf } from './failure.js';
import type { RejectReason } from './failure.js';

const CERTIFICATE = 1;
const SIGNATURE = 2;
const VERSIONS = 3;
const FEATURES = 4;
const CIPHERS = 5;
const LANES = 6;
const WALL_CLOCK = 7;
const INDEX = 8;
const VERDICT = 9;

const MAX_DETAIL_BYTES = 200;
export const MAX_LANES = 64;
export const MAX_CERTIFICATE_BYTES = 3500;

const CIPHER_CODES: { readonly [cipher in Cipher]: number } = {
  'aes-256-gcm': 1,
  'chacha20-poly1305': 2,
};

/** What one end says of itself. */
export interface IdentityPayload {
  readonly kind: 'identity';
  /** X.509, DER. */
  readonly certificate: Uint8Array;
  /** Ed25519 by the certificate's key over the context string and the static key. */
  readonly signature: Uint8Array;
  /** Versions this end speaks. */
  readonly versions: readonly number[];
  /** Bit set; unknown bits are ignored. */
  readonly features: number;
  /** In order of preference; those of which we know nothing are left out. */
  readonly ciphers: readonly Cipher[];
  readonly lanes: number;
  /** The sender's wall clock, ms since 1970. */
  readonly wallClock: number;
  /** The sender's base receiver index. */
  readonly index: number;
}

/** What one end thinks of the other. */
export interface VerdictPayload {
  readonly kind: 'verdict';
  /** Undefined: accepted. `superseded`: another handshake of the same two ends goes on instead. */
  readonly reason: RejectReason | 'superseded' | undefined;
  /** In the sender's words, made printable. */
  readonly detail: string;
}

export type Payload =
  IdentityPayload | VerdictPayload | { readonly kind: 'malformed'; readonly detail: string };

export function encodeIdentity(payload: Omit<IdentityPayload, 'kind'>): Uint8Array {
  const clock = new Uint8Array(8);
  viewOf(clock).setUint32(0, Math.floor(payload.wallClock / 0x1_0000_0000));
  viewOf(clock).setUint32(4, payload.wallClock % 0x1_0000_0000);
  return encodeFields([
    [CERTIFICATE, payload.certificate],
    [SIGNATURE, payload.signature],
    [VERSIONS, Uint8Array.from(payload.versions)],
    [FEATURES, uint32(payload.features)],
    [CIPHERS, Uint8Array.from(payload.ciphers, (cipher) => CIPHER_CODES[cipher])],
    [LANES, Uint8Array.of(payload.lanes)],
    [WALL_CLOCK, clock],
    [INDEX, uint32(payload.index)],
  ]);
}

export function encodeVerdict(reason: VerdictPayload['reason'], detail: string): Uint8Array {
  const words = new TextEncoder().encode(detail).subarray(0, MAX_DETAIL_BYTES);
  const value = new Uint8Array(1 + words.length);
  value[0] = codeOf(reason);
  value.set(words, 1);
  return encodeFields([[VERDICT, value]]);
}

export function decodePayload(bytes: Uint8Array): Payload {
  const fields = decodeFields(bytes);
  if (fields === undefined) return malformed('its fields do not add up');
  const verdict = fields.get(VERDICT);
  if (verdict !== undefined) return decodeVerdict(verdict);
  for (const [type, name, least, most] of IDENTITY_FIELDS) {
    const length = fields.get(type)?.length;
    if (length === undefined) return malformed(`it has no ${name}`);
    if (length < least || length > most) return malformed(`its ${name} has ${length} bytes`);
  }
  const wallClock = uint64(fields.get(WALL_CLOCK)!);
  const lanes = fields.get(LANES)![0]!;
  if (wallClock === undefined) return malformed('its wall clock is beyond all years');
  if (lanes < 1 || lanes > MAX_LANES) return malformed(`it offers ${lanes} lanes`);
  return {
    kind: 'identity',
    certificate: fields.get(CERTIFICATE)!.slice(),
    signature: fields.get(SIGNATURE)!.slice(),
    versions: [...fields.get(VERSIONS)!],
    features: viewOf(fields.get(FEATURES)!).getUint32(0),
    ciphers: [...fields.get(CIPHERS)!].flatMap(cipherOf),
    lanes,
    wallClock,
    index: viewOf(fields.get(INDEX)!).getUint32(0),
  };
}

/** Type, name, least and greatest size in bytes of what an identity must hold. */
const IDENTITY_FIELDS = [
  [CERTIFICATE, 'certificate', 1, MAX_CERTIFICATE_BYTES],
  [SIGNATURE, 'signature', 64, 64],
  [VERSIONS, 'list of versions', 1, 255],
  [FEATURES, 'feature set', 4, 4],
  [CIPHERS, 'list of ciphers', 1, 255],
  [LANES, 'number of lanes', 1, 1],
  [WALL_CLOCK, 'wall clock', 8, 8],
  [INDEX, 'receiver index', 4, 4],
] as const;

const KNOWN = new Set<number>([...IDENTITY_FIELDS.map(([type]) => type), VERDICT]);

function decodeVerdict(value: Uint8Array): Payload {
  if (value.length < 1 || value.length > 1 + MAX_DETAIL_BYTES)
    return malformed('its verdict has a wrong size');
  return { kind: 'verdict', reason: reasonOf(value[0]!), detail: printable(value.subarray(1)) };
}

function encodeFields(fields: readonly (readonly [number, Uint8Array])[]): Uint8Array {
  const out = new Uint8Array(fields.reduce((sum, [, value]) => sum + 3 + value.length, 0));
  let at = 0;
  for (const [type, value] of fields) {
    out[at] = type;
    viewOf(out).setUint16(at + 1, value.length);
    out.set(value, at + 3);
    at += 3 + value.length;
  }
  return out;
}

/** Known fields by type, as views into `bytes`; undefined where the lengths do not add up or a known type stands twice. */
function decodeFields(bytes: Uint8Array): Map<number, Uint8Array> | undefined {
  const fields = new Map<number, Uint8Array>();
  const view = viewOf(bytes);
  let at = 0;
  while (at < bytes.length) {
    if (at + 3 > bytes.length) return undefined;
    const type = bytes[at]!;
    const end = at + 3 + view.getUint16(at + 1);
    if (end > bytes.length || fields.has(type)) return undefined;
    if (KNOWN.has(type)) fields.set(type, bytes.subarray(at + 3, end));
    at = end;
  }
  return fields;
}

function cipherOf(code: number): Cipher[] {
  if (code === CIPHER_CODES['aes-256-gcm']) return ['aes-256-gcm'];
  return code === CIPHER_CODES['chacha20-poly1305'] ? ['chacha20-poly1305'] : [];
}

/** A stranger's words may end up in a terminal: nothing but printable characters. */
function printable(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes).replace(/[^\p{L}\p{N}\p{P}\p{S} ]/gu, '?');
}

function uint32(value: number): Uint8Array {
  const out = new Uint8Array(4);
  viewOf(out).setUint32(0, value);
  return out;
}

function uint64(bytes: Uint8Array): number | undefined {
  const view = viewOf(bytes);
  const value = view.getUint32(0) * 0x1_0000_0000 + view.getUint32(4);
  return value <= 8.64e15 ? value : undefined; // the last moment a Date can name
}

const malformed = (detail: string): Payload => ({ kind: 'malformed', detail });
