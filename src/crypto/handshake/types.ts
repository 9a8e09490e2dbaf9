/** What goes into the handshake machine and what comes out. `now` is µs of a steady clock, wall clocks are ms since 1970. */
import type { Cipher } from '../../io/ports.js';
import type { KeyPair, NoiseCrypto } from '../primitives.js';
import type { CertificateFault, FailureReason, RejectReason } from './failure.js';
import type { LaneKey } from './lanes.js';

/** The little that the handshake must know of a certificate. */
export interface PeerCertificate {
  readonly name: string;
  /** Ed25519, raw, 32 bytes. */
  readonly publicKey: Uint8Array;
}

export type Verified<C> =
  | { readonly ok: true; readonly certificate: C }
  | { readonly ok: false; readonly reason: CertificateFault; readonly detail?: string };

/** What an agent shows of itself. */
export interface Identity {
  /** X.509, DER. */
  readonly certificate: Uint8Array;
  /** Ed25519 by the certificate's key: 64 bytes. */
  readonly sign: (message: Uint8Array) => Uint8Array;
}

export interface HandshakeLimits {
  /** Handshakes a second, and at once, that are answered without a cookie. */
  readonly perSecond: number;
  readonly burst: number;
  /** The same for each source that has shown a cookie. */
  readonly perSourceSecond: number;
  readonly perSourceBurst: number;
  /** Half-open handshakes, in all and for each source. */
  readonly pending: number;
  readonly pendingPerSource: number;
}

export interface HandshakerOptions<C extends PeerCertificate, E> {
  readonly crypto: NoiseCrypto;
  /** X25519, made at each start. Stays the caller's. */
  readonly staticKey: KeyPair;
  readonly identity: Identity;
  /** Judges a certificate at a moment of wall-clock time. Must not throw on any bytes. */
  readonly verify: (der: Uint8Array, wallClock: number) => Verified<C>;
  /** One per trusted root, see `networkKey`; the first is sent with, any is accepted. */
  readonly networkKeys: readonly Uint8Array[];
  readonly random: (bytes: number) => Uint8Array;
  /** A fresh X25519 key pair at each call, such as `keyPairFrom(generateKeyPairSync('x25519').privateKey)`. */
  readonly ephemeral: () => KeyPair;
  /** In order of preference. */
  readonly ciphers: readonly Cipher[];
  /** Bit set; a session has what both ends have. */
  readonly features: number;
  /** Most lanes that this end handles; a session has the smaller number of both ends. */
  readonly lanes: number;
  /** Reserves a base receiver index: `lanes` consecutive ones from there on. Indexes of an `established` action are the caller's from then on. */
  readonly allocateIndex: () => number;
  /** Gives back an index that came to nothing. */
  readonly releaseIndex: (index: number) => void;
  /** Names an endpoint: address and port, as a log shows it. Equal names are the same endpoint. */
  readonly endpointKey: (endpoint: E) => string;
  /** Names an endpoint's host, for limits per source. */
  readonly endpointHost: (endpoint: E) => string;
  readonly limits?: Partial<HandshakeLimits>;
}

/** Whom to reach. */
export interface Target<E> {
  /** The name its certificate must have; undefined takes any good certificate. */
  readonly name: string | undefined;
  /** Tried at once; at least one. */
  readonly endpoints: readonly E[];
}

export interface Established<C, E> {
  readonly type: 'established';
  readonly peer: C;
  /** The peer's certificate as it came, DER. */
  readonly certificate: Uint8Array;
  readonly initiator: boolean;
  /** The session's name on this side: the base index of `receive`. */
  readonly index: number;
  /** Same length; lane i is at [i]. The keys are the caller's to clear. */
  readonly send: readonly LaneKey[];
  readonly receive: readonly LaneKey[];
  readonly cipher: Cipher;
  readonly features: number;
  readonly version: number;
  /** Where the peer answered from. */
  readonly endpoint: E;
  /** The peer's wall clock less ours, ms; off by the time a datagram takes. */
  readonly clockOffset: number;
  readonly remoteStatic: Uint8Array;
  readonly handshakeHash: Uint8Array;
}

export interface Failed<E> {
  readonly type: 'failed';
  readonly initiator: boolean;
  /** The peer's name as configured, or as its certificate has it. */
  readonly peer: string | undefined;
  readonly endpoint: E;
  readonly reason: FailureReason;
  /** What the peer said, with `rejected-by-peer`. */
  readonly peerReason: RejectReason | undefined;
  readonly detail: string;
  /** One line for a human. */
  readonly text: string;
  /** A session that was established by this handshake and must go. */
  readonly index: number | undefined;
}

export type DropReason =
  | 'short'
  | 'version'
  | 'type'
  | 'size'
  | 'wrong-network'
  | 'load'
  | 'source-limit'
  | 'unknown-index'
  | 'decrypt'
  | 'weak-key'
  | 'malformed'
  | 'duplicate'
  | 'superseded';

export type Action<C, E> =
  | { readonly type: 'send'; readonly to: E; readonly bytes: Uint8Array }
  /** Install the session before anything that follows in the list is sent. */
  | Established<C, E>
  /** Both ends opened at once and the other handshake won: remove the session with this index. */
  | { readonly type: 'superseded'; readonly index: number }
  | Failed<E>
  | { readonly type: 'drop'; readonly reason: DropReason; readonly from: E };
