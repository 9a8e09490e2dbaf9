/** What both roles of the handshake share: the options, the actions of the current call, and how a peer's identity is judged. */
import type { Cipher } from '../../io/ports.js';
import { HandshakeState, XX } from '../noise/handshake-state.js';
import { equalBytes, verifyEd25519 } from '../primitives.js';
import { WIRE_VERSION, prologue } from './datagram.js';
import { describeFailure, formatSpan } from './failure.js';
import type { FailureReason, RejectReason } from './failure.js';
import { clearKeys, deriveKeys, deriveLanes } from './lanes.js';
import type { DerivedKeys } from './lanes.js';
import { MAX_CERTIFICATE_BYTES, decodePayload, encodeIdentity } from './payload.js';
import type { IdentityPayload } from './payload.js';
import type { Action, HandshakerOptions, Identity, PeerCertificate } from './types.js';

/** Clocks of the ends that differ by more than this are named as the cause when a certificate's validity fails. ms. */
const CLOCK_TOLERANCE = 60_000;
const STATIC_KEY_CONTEXT = new TextEncoder().encode('causeway static key v1');
const VERSIONS: readonly number[] = [WIRE_VERSION];

/** A peer whose identity holds, and what the session with it will be. */
export interface Accepted<C> {
  readonly kind: 'accepted';
  readonly peer: C;
  readonly certificate: Uint8Array;
  readonly version: number;
  readonly features: number;
  readonly cipher: Cipher;
  readonly lanes: number;
  readonly clockOffset: number;
  readonly remoteIndex: number;
}

export interface Refused {
  readonly kind: 'refused';
  readonly reason: RejectReason;
  /** For our log. */
  readonly detail: string;
  /** For the peer, who reads it as a stranger's words. */
  readonly told: string;
  /** The name in its certificate, where the certificate is good. */
  readonly name: string | undefined;
  /** Where a refusal can be sent; undefined where its payload can't be read. */
  readonly remoteIndex: number | undefined;
}

/** The peer refuses us. */
export interface Rejected {
  readonly kind: 'rejected';
  readonly reason: RejectReason;
  readonly detail: string;
}

export type Judgement<C> = Accepted<C> | Refused | Rejected;

export class Context<C extends PeerCertificate, E> {
  private actions: Action<C, E>[] = [];
  private identity: Identity;
  /** Over the static key by the certificate's key: made once, it never changes while the certificate stays. */
  private signature: Uint8Array;
  networkKeys: readonly Uint8Array[];

  constructor(readonly options: HandshakerOptions<C, E>) {
    checkSize(options.identity);
    this.identity = options.identity;
    this.signature = this.signStatic();
    this.networkKeys = options.networkKeys;
  }

  setIdentity(identity: Identity): void {
    checkSize(identity);
    this.identity = identity;
    this.signature = this.signStatic();
  }

  push(action: Action<C, E>): void {
    this.actions.push(action);
  }

  /** `bytes` stays the caller's: it may be sent again. */
  send(to: E, bytes: Uint8Array): void {
    this.actions.push({ type: 'send', to, bytes: bytes.slice() });
  }

  drop(reason: (Action<C, E> & { type: 'drop' })['reason'], from: E): void {
    this.actions.push({ type: 'drop', reason, from });
  }

  fail(failure: {
    initiator: boolean;
    peer: string | undefined;
    endpoint: E;
    reason: FailureReason;
    peerReason?: RejectReason;
    detail: string;
    index?: number;
  }): void {
    const { peerReason, index, ...rest } = failure;
    const endpoint = this.options.endpointKey(failure.endpoint);
    const text = describeFailure({ ...failure, endpoint, peerReason });
    this.actions.push({ type: 'failed', ...rest, peerReason, index, text });
  }

  drain(): Action<C, E>[] {
    const actions = this.actions;
    this.actions = [];
    return actions;
  }

  newNoise(initiator: boolean, init: Uint8Array): HandshakeState {
    const { crypto, staticKey, ephemeral } = this.options;
    return new HandshakeState({
      crypto,
      pattern: XX,
      initiator,
      prologue: prologue(init),
      s: staticKey,
      ephemeral,
    });
  }

  identityPayload(index: number, wall: number): Uint8Array {
    const { ciphers, features, lanes } = this.options;
    const { certificate } = this.identity;
    const [signature, versions, wallClock] = [this.signature, VERSIONS, Math.max(0, Math.floor(wall))];
    return encodeIdentity({ certificate, signature, versions, features, ciphers, lanes, wallClock, index });
  }

  /** Judges the payload of message 2 or 3. `expected` is the configured name, if any. */
  judge(
    payload: Uint8Array,
    remoteStatic: Uint8Array,
    expected: string | undefined,
    initiator: boolean,
    wall: number,
  ): Judgement<C> {
    const theirs = decodePayload(payload);
    if (theirs.kind === 'malformed') return refuse('malformed', theirs.detail);
    if (theirs.kind === 'verdict') return rejectedBy(theirs.reason, theirs.detail);
    const judgement = this.judgeIdentity(theirs, remoteStatic, expected, initiator, wall);
    return judgement.kind === 'refused' ? { ...judgement, remoteIndex: theirs.index } : judgement;
  }

  /** Cheap checks first. */
  private judgeIdentity(
    theirs: IdentityPayload,
    remoteStatic: Uint8Array,
    expected: string | undefined,
    initiator: boolean,
    wall: number,
  ): Judgement<C> {
    if (equalBytes(remoteStatic, this.options.staticKey.publicKey)) {
      return refuse('wrong-peer', 'that endpoint is this node itself');
    }
    const verified = this.options.verify(theirs.certificate, wall);
    if (!verified.ok) return this.certificateFault(verified, theirs, wall);
    const peer = verified.certificate;
    if (!verifyEd25519(peer.publicKey, staticKeyMessage(remoteStatic), theirs.signature)) {
      return refuse('bad-signature', '', peer.name);
    }
    if (expected !== undefined && peer.name !== expected) {
      return refuse('wrong-peer', `expected ${expected}, found ${peer.name}`, peer.name);
    }
    return this.negotiate(peer, theirs, initiator, wall);
  }

  /** The action that ends a good handshake, and the key that seals its verdict. */
  establish(
    noise: HandshakeState,
    accepted: Accepted<C>,
    initiator: boolean,
    index: number,
    endpoint: E,
  ): Uint8Array {
    const { crypto } = this.options;
    const remoteStatic = noise.remoteStatic!.slice();
    const keys = this.splitKeys(noise, initiator);
    const { peer, certificate, version, features, cipher, lanes, clockOffset, remoteIndex } = accepted;
    this.push({
      type: 'established',
      peer,
      certificate,
      version,
      features,
      cipher,
      clockOffset,
      initiator,
      index,
      send: deriveLanes(crypto, keys.send, keys.handshakeHash, remoteIndex, lanes),
      receive: deriveLanes(crypto, keys.receive, keys.handshakeHash, index, lanes),
      endpoint,
      remoteStatic,
      handshakeHash: keys.handshakeHash,
    });
    const verdict = keys.verdict.slice();
    clearKeys(keys);
    return verdict;
  }

  splitKeys(noise: HandshakeState, initiator: boolean): DerivedKeys {
    return deriveKeys(this.options.crypto, noise.split(), initiator);
  }

  /** Both ends come to the same result: the initiator's preferences decide. */
  private negotiate(peer: C, theirs: IdentityPayload, initiator: boolean, wall: number): Judgement<C> {
    const version = Math.max(...VERSIONS.filter((v) => theirs.versions.includes(v)));
    if (!Number.isFinite(version)) {
      return refuse('no-common-version', `it speaks ${theirs.versions.join(', ')}`, peer.name);
    }
    const ours = this.options.ciphers;
    const [first, second] = initiator ? [ours, theirs.ciphers] : [theirs.ciphers, ours];
    const cipher = first.find((c) => second.includes(c));
    if (cipher === undefined) {
      return refuse('no-common-cipher', `ours: ${ours.join(', ')}`, peer.name);
    }
    return {
      kind: 'accepted',
      peer,
      certificate: theirs.certificate,
      version,
      features: (this.options.features & theirs.features) >>> 0,
      cipher,
      lanes: Math.min(this.options.lanes, theirs.lanes),
      clockOffset: theirs.wallClock - Math.floor(wall),
      remoteIndex: theirs.index,
    };
  }

  /** A certificate outside its time by our clock, but not by the peer's, is a matter of clocks. */
  private certificateFault(
    fault: { readonly reason: RejectReason; readonly detail?: string },
    theirs: IdentityPayload,
    wall: number,
  ): Refused {
    const offset = theirs.wallClock - wall;
    const ofTime = fault.reason === 'expired' || fault.reason === 'not-yet-valid';
    if (
      ofTime &&
      Math.abs(offset) > CLOCK_TOLERANCE &&
      this.options.verify(theirs.certificate, theirs.wallClock).ok
    ) {
      const span = `clock off by ${formatSpan(offset)}`;
      const [ours, yours] = offset > 0 ? ['behind', 'ahead of'] : ['ahead of', 'behind'];
      return {
        ...refuse('clock-off', `${span}: ours is ${ours} the peer's`),
        told: `${span}: yours is ${yours} mine`,
      };
    }
    return refuse(fault.reason, fault.detail ?? '');
  }

  private signStatic(): Uint8Array {
    return this.identity.sign(staticKeyMessage(this.options.staticKey.publicKey)).slice();
  }
}

/** What the certificate's key signs for a static key (docs/wire-format.md, "Identity"). */
export function staticKeyMessage(staticPublicKey: Uint8Array): Uint8Array {
  const message = new Uint8Array(STATIC_KEY_CONTEXT.length + staticPublicKey.length);
  message.set(STATIC_KEY_CONTEXT);
  message.set(staticPublicKey, STATIC_KEY_CONTEXT.length);
  return message;
}

function checkSize({ certificate }: Identity): void {
  if (certificate.length <= MAX_CERTIFICATE_BYTES) return;
  throw new RangeError(
    `the certificate has ${certificate.length} bytes; a handshake carries at most ${MAX_CERTIFICATE_BYTES}: sign one with fewer names`,
  );
}

function refuse(reason: RejectReason, detail: string, name?: string): Refused {
  return { kind: 'refused', reason, detail, told: detail, name, remoteIndex: undefined };
}

/** An acceptance, or the verdict that another handshake wins, has no place in message 2 or 3. */
function rejectedBy(reason: RejectReason | 'superseded' | undefined, detail: string): Judgement<never> {
  if (reason === undefined || reason === 'superseded') return refuse('malformed', 'a verdict out of place');
  return { kind: 'rejected', reason, detail };
}
