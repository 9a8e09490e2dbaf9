/**
 * The handshake: from a stranger's datagram to a peer whose certificate holds and a session's keys. Runs on the main thread.
 *
 *   handshaker.ts  the machine that the agent holds; dispatches datagrams, arbitrates between the two roles
 *   initiator.ts   reaches for peers that are wanted
 *   responder.ts   answers strangers, within limits; cookie.ts and limiter.ts are its defence
 *   context.ts     what both share: judging an identity, negotiating, establishing
 *   datagram.ts    where the fields of datagrams lie; payload.ts what their encrypted parts say
 *   lanes.ts       the keys of a session
 *   failure.ts     why it failed, in words
 *
 * Nothing here opens a socket, reads a clock, makes a random number or throws for what a peer sent.
 */
export { Handshaker } from './handshaker.js';
export { networkKey } from './datagram.js';
export { formatSpan } from './failure.js';
export type { CertificateFault, FailureReason, RejectReason } from './failure.js';
export type { LaneKey } from './lanes.js';
export type {
  Action,
  DropReason,
  Established,
  Failed,
  HandshakeLimits,
  HandshakerOptions,
  Identity,
  PeerCertificate,
  Target,
  Verified,
} from './types.js';
export { keyPairFrom, keyPairOf, noiseCrypto } from '../primitives.js';
export type { KeyPair, NoiseCrypto } from '../primitives.js';
