/**
 * From a finished handshake to the keys of a session. Noise's Split gives one key per direction; each lane of that direction, and the verdict,
 * gets its own by HKDF-Expand with HMAC-BLAKE2s, so that no counter is shared:
 *
 *   lane i:   expand(direction key, "causeway lane v1" ‖ handshake hash ‖ i as one byte)
 *   verdict:  expand(responder's direction key, "causeway verdict v1" ‖ handshake hash)
 */
import type { NoiseCrypto } from '../primitives.js';
import { expand } from '../primitives.js';
import type { SplitResult } from '../noise/handshake-state.js';

const text = new TextEncoder();
const LANE_LABEL = text.encode('causeway lane v1');
const VERDICT_LABEL = text.encode('causeway verdict v1');

/** One direction of one lane. */
export interface LaneKey {
  /** Receiver index: the base index of the session's receiver, plus the lane's number. */
  readonly index: number;
  /** 32 bytes, in a buffer of its own. */
  readonly key: Uint8Array;
}

export interface DerivedKeys {
  /** Direction keys, as seen from this end. */
  readonly send: Uint8Array;
  readonly receive: Uint8Array;
  readonly verdict: Uint8Array;
  readonly handshakeHash: Uint8Array;
}

/** Takes the keys out of the cipher states and clears those. */
export function deriveKeys(crypto: NoiseCrypto, split: SplitResult, initiator: boolean): DerivedKeys {
  const [send, receive] = [split.send.exportKey(), split.receive.exportKey()];
  split.send.clear();
  split.receive.clear();
  const verdict = expand(crypto, initiator ? receive : send, VERDICT_LABEL, split.handshakeHash);
  return { send, receive, verdict, handshakeHash: split.handshakeHash };
}

/** The lanes of one direction. Receiver indexes wrap at 2^32. */
export function deriveLanes(
  crypto: NoiseCrypto,
  directionKey: Uint8Array,
  handshakeHash: Uint8Array,
  baseIndex: number,
  lanes: number,
): LaneKey[] {
  return Array.from({ length: lanes }, (_, lane) => ({
    index: (baseIndex + lane) >>> 0,
    key: expand(crypto, directionKey, LANE_LABEL, handshakeHash, Uint8Array.of(lane)),
  }));
}

export function clearKeys(keys: DerivedKeys): void {
  keys.send.fill(0);
  keys.receive.fill(0);
  keys.verdict.fill(0);
}
