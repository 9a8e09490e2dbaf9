/**
 * Datagrams of the handshake: where their fields lie (docs/wire-format.md, "Handshake"). All start alike:
 *
 *   0        version << 4 | type
 *   1..3     zero
 *   4..7     base receiver index: in an init the sender's own, in all others the receiver's
 *
 *   init     8..39 Noise message 1's e · 40..1167 its payload, zeros · 1168..1183 network MAC · 1184..1199 cookie MAC
 *   response 8..   Noise message 2
 *   final    8..   Noise message 3
 *   cookie   8..31 salt · 32..63 sealed cookie
 *   verdict  8..   sealed verdict
 */
import type { NoiseCrypto } from '../primitives.js';
import { equalBytes } from '../primitives.js';

export const WIRE_VERSION = 1;
export const TYPE_INIT = 1;
export const TYPE_RESPONSE = 2;
export const TYPE_FINAL = 3;
export const TYPE_COOKIE = 4;
export const TYPE_VERDICT = 6;

export const HEADER_BYTES = 8;
export const MAC_BYTES = 16;
export const INIT_BYTES = 1200;
export const INIT_PADDING_BYTES = 1128;
export const INIT_MAC = 1168;
export const INIT_COOKIE_MAC = 1184;
export const COOKIE_BYTES = 64;
export const COOKIE_SALT_BYTES = 24;
export const MAX_HANDSHAKE_BYTES = 4096;
export const MAX_VERDICT_BYTES = 512;

const PROLOGUE_LABEL = new TextEncoder().encode('causeway handshake v1');

export type DatagramType =
  typeof TYPE_INIT | typeof TYPE_RESPONSE | typeof TYPE_FINAL | typeof TYPE_COOKIE | typeof TYPE_VERDICT;

export type Classified =
  | { readonly ok: true; readonly type: DatagramType; readonly index: number }
  | { readonly ok: false; readonly reason: 'short' | 'version' | 'type' | 'size' };

/** Least and greatest size of each type, in bytes. */
const SIZES: { readonly [type in DatagramType]: readonly [number, number] } = {
  [TYPE_INIT]: [INIT_BYTES, INIT_BYTES],
  [TYPE_RESPONSE]: [HEADER_BYTES + 96, MAX_HANDSHAKE_BYTES],
  [TYPE_FINAL]: [HEADER_BYTES + 64, MAX_HANDSHAKE_BYTES],
  [TYPE_COOKIE]: [COOKIE_BYTES, COOKIE_BYTES],
  [TYPE_VERDICT]: [HEADER_BYTES + MAC_BYTES, MAX_VERDICT_BYTES],
};

/** Size, version and type of a datagram: all that can be checked without a key. */
export function classify(bytes: Uint8Array): Classified {
  if (bytes.length < HEADER_BYTES) return { ok: false, reason: 'short' };
  if (bytes[0]! >> 4 !== WIRE_VERSION) return { ok: false, reason: 'version' };
  const type = bytes[0]! & 15;
  if (!isHandshakeType(type)) return { ok: false, reason: 'type' };
  const [least, most] = SIZES[type];
  if (bytes.length < least || bytes.length > most) return { ok: false, reason: 'size' };
  return { ok: true, type, index: viewOf(bytes).getUint32(4) };
}

function isHandshakeType(type: number): type is DatagramType {
  return type in SIZES;
}

/** The key of the network MAC for one trusted root, whose raw Ed25519 public key this takes. */
export function networkKey(crypto: NoiseCrypto, caPublicKey: Uint8Array): Uint8Array {
  return crypto.hash(caPublicKey);
}

/** What both ends mix in before the first message: the label, and the header of the init. */
export function prologue(init: Uint8Array): Uint8Array {
  const out = new Uint8Array(PROLOGUE_LABEL.length + HEADER_BYTES);
  out.set(PROLOGUE_LABEL);
  out.set(init.subarray(0, HEADER_BYTES), PROLOGUE_LABEL.length);
  return out;
}

/** A header with a body behind it. */
export function encodeDatagram(type: DatagramType, index: number, body: Uint8Array): Uint8Array {
  const out = new Uint8Array(HEADER_BYTES + body.length);
  out[0] = (WIRE_VERSION << 4) | type;
  viewOf(out).setUint32(4, index);
  out.set(body, HEADER_BYTES);
  return out;
}

/** A whole init with its network MAC; the cookie MAC is zero. `noise` is Noise message 1 with INIT_PADDING_BYTES of payload. */
export function encodeInit(
  crypto: NoiseCrypto,
  key: Uint8Array,
  index: number,
  noise: Uint8Array,
): Uint8Array {
  const out = new Uint8Array(INIT_BYTES);
  out.set(encodeDatagram(TYPE_INIT, index, noise));
  out.set(mac(crypto, key, out.subarray(0, INIT_MAC)), INIT_MAC);
  return out;
}

/** Which of the network keys the init's MAC was made with, if any. */
export function findNetworkKey(
  crypto: NoiseCrypto,
  keys: readonly Uint8Array[],
  init: Uint8Array,
): Uint8Array | undefined {
  const head = init.subarray(0, INIT_MAC);
  const given = init.subarray(INIT_MAC, INIT_COOKIE_MAC);
  return keys.find((key) => equalBytes(mac(crypto, key, head), given));
}

/** HMAC-BLAKE2s, its first 16 bytes. */
export function mac(crypto: NoiseCrypto, key: Uint8Array, ...parts: Uint8Array[]): Uint8Array {
  return crypto.hmacHash(key, ...parts).slice(0, MAC_BYTES);
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
