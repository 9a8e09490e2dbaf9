/**
 * The initiator's half: one attempt per peer that is wanted.
 *
 *   1. `connect` makes an attempt and sends an init; it is repeated, byte for byte, to all of the peer's endpoints: the nearest answers first
 *   2. a cookie: the init goes again with the cookie's MAC
 *   3. the response: the peer is judged, the session established, the final sent; it is repeated until the verdict comes
 *   4. the verdict: the attempt is over, or the session is taken back and the attempt waits before it starts anew
 *
 * An attempt ends with an accepted session or with `cancel`, never of itself.
 */
import type { HandshakeState } from '../noise/handshake-state.js';
import { equalBytes } from '../primitives.js';
import type { Accepted, Context, Refused } from './context.js';
import { COOKIE_LIFETIME, openCookie, withCookie } from './cookie.js';
import {
  HEADER_BYTES,
  INIT_PADDING_BYTES,
  TYPE_FINAL,
  TYPE_INIT,
  encodeDatagram,
  encodeInit,
} from './datagram.js';
import { decodePayload, encodeVerdict } from './payload.js';
import type { PeerCertificate, Target } from './types.js';

/** µs between the repetitions of one datagram; the last for all further ones. */
const BACKOFF = [250_000, 500_000, 1_000_000, 2_000_000, 5_000_000];
/** µs of silence after which it is reported, once. */
const NO_ANSWER_AFTER = 3_000_000;
/** µs that one ephemeral key is used for. */
const INIT_LIFETIME = 20_000_000;
/** µs to wait for a verdict. */
const VERDICT_TIMEOUT = 8_000_000;
/** µs that a final is kept for repeated responses. */
const FINAL_LIFETIME = 10_000_000;
/** µs before a new handshake after a refusal: the first, and the most. */
const REFUSED_DELAY = 5_000_000;
const REFUSED_DELAY_MAX = 60_000_000;
/** µs that the winner of a simultaneous opening has to complete. */
const SUPERSEDED_DELAY = 3_000_000;
/** A response is answered this often, however often it is repeated. */
const MAX_ANSWERS = 16;

interface Cookie {
  readonly value: Uint8Array;
  readonly endpoint: string;
  readonly at: number;
}

type State =
  | { readonly kind: 'waiting'; readonly until: number }
  | { readonly kind: 'calling'; readonly call: Call }
  | { readonly kind: 'deciding'; readonly answer: Answer };

interface Attempt<E> {
  readonly key: string;
  target: Target<E>;
  state: State;
  /** How often the init was sent since it last waited. */
  transmissions: number;
  since: number;
  silenceReported: boolean;
  refusals: number;
  cookie: Cookie | undefined;
}

/** A handshake that awaits its response. */
interface Call {
  readonly index: number;
  readonly noise: HandshakeState;
  readonly init: Uint8Array;
  readonly networkKey: Uint8Array;
  readonly started: number;
  nextAt: number;
  cookieResendAt: number;
}

/** A handshake whose response has come. */
interface Answer {
  readonly index: number;
  readonly response: Uint8Array;
  readonly final: Uint8Array;
  readonly expires: number;
  /** Undefined where the final is a refusal: nothing comes back then, and the index is ours to release. */
  readonly session:
    { readonly verdictKey: Uint8Array; readonly name: string; readonly remoteStatic: Uint8Array } | undefined;
  answers: number;
  nextAt: number;
}

type Exchange<E> =
  | { readonly attempt: Attempt<E>; readonly call: Call; readonly answer?: undefined }
  | { readonly attempt: Attempt<E>; readonly answer: Answer; readonly endpoint: E };

/** What an attempt to a peer is doing when that peer's own handshake arrives. */
export interface Rival {
  readonly key: string;
  /** The static key of the peer where its response has come. */
  readonly decidingWith: Uint8Array | undefined;
}

export class Initiator<C extends PeerCertificate, E> {
  private readonly attempts = new Map<string, Attempt<E>>();
  private readonly exchanges = new Map<number, Exchange<E>>();

  constructor(
    private readonly context: Context<C, E>,
    /** Whether a handshake of that peer was accepted since then. */
    private readonly acceptedSince: (remoteStatic: Uint8Array, since: number) => boolean,
    /** Told when the peer has accepted a handshake of ours. */
    private readonly completed: (remoteStatic: Uint8Array, now: number) => void,
  ) {}

  /** An attempt in progress keeps its state and takes the new endpoints; where there are more than before, it calls them all at once. */
  connect(now: number, key: string, target: Target<E>): void {
    if (target.endpoints.length === 0) throw new TypeError('a target needs at least one endpoint');
    const existing = this.attempts.get(key);
    if (existing !== undefined) {
      const more = target.endpoints.some((endpoint) => !this.aimsAt(existing, endpoint));
      existing.target = target;
      if (more && existing.state.kind === 'calling') {
        existing.transmissions = 0;
        this.transmit(existing, existing.state.call, now);
      }
      return;
    }
    const attempt: Attempt<E> = {
      key,
      target,
      state: { kind: 'waiting', until: now },
      transmissions: 0,
      since: now,
      silenceReported: false,
      refusals: 0,
      cookie: undefined,
    };
    this.attempts.set(key, attempt);
    this.call(attempt, now);
  }

  has(key: string): boolean {
    return this.attempts.has(key);
  }

  /** Ends an attempt. A session that it established but that the peer has not accepted yet is reported as superseded if `supersede`. */
  cancel(key: string, supersede: boolean): void {
    const attempt = this.attempts.get(key);
    if (attempt === undefined) return;
    if (supersede && attempt.state.kind === 'deciding') {
      this.context.push({ type: 'superseded', index: attempt.state.answer.index });
    }
    this.leave(attempt);
    this.attempts.delete(key);
  }

  /** The attempt that reaches for the same peer: by name, by the key it answered with, or by the endpoint. */
  rivalOf(name: string, remoteStatic: Uint8Array, endpoint: E): Rival | undefined {
    for (const attempt of this.attempts.values()) {
      const session = attempt.state.kind === 'deciding' ? attempt.state.answer.session : undefined;
      const same =
        attempt.target.name === name ||
        session?.name === name ||
        (attempt.target.name === undefined && this.aimsAt(attempt, endpoint));
      const decidingWith = session?.remoteStatic;
      if (same || (decidingWith !== undefined && equalBytes(decidingWith, remoteStatic))) {
        return { key: attempt.key, decidingWith };
      }
    }
    return undefined;
  }

  nextTimeout(): number | undefined {
    let next = Infinity;
    for (const attempt of this.attempts.values()) {
      const { state } = attempt;
      if (state.kind === 'waiting') next = Math.min(next, state.until);
      if (state.kind === 'calling') {
        next = Math.min(next, state.call.nextAt);
        if (!attempt.silenceReported) next = Math.min(next, attempt.since + NO_ANSWER_AFTER);
      }
      if (state.kind === 'deciding') next = Math.min(next, state.answer.nextAt, state.answer.expires);
    }
    for (const { answer } of this.exchanges.values()) {
      if (answer !== undefined) next = Math.min(next, answer.expires);
    }
    return next === Infinity ? undefined : next;
  }

  timeout(now: number): void {
    for (const attempt of this.attempts.values()) {
      const { state } = attempt;
      if (state.kind === 'waiting' && now >= state.until) this.restart(attempt, now);
      if (state.kind === 'calling') this.callTimeout(attempt, state.call, now);
      if (state.kind === 'deciding') this.decisionTimeout(attempt, state.answer, now);
    }
    for (const [index, { answer }] of this.exchanges) {
      if (answer !== undefined && answer.session === undefined && now >= answer.expires) {
        this.exchanges.delete(index);
        this.context.options.releaseIndex(index);
      }
    }
  }

  cookie(now: number, index: number, bytes: Uint8Array, from: E): void {
    const exchange = this.exchanges.get(index);
    if (exchange === undefined || exchange.answer !== undefined) {
      return this.context.drop('unknown-index', from);
    }
    const { attempt, call } = exchange;
    const value = openCookie(this.context.options.crypto, call.networkKey, call.init, bytes);
    if (value === undefined) return this.context.drop('decrypt', from);
    attempt.cookie = { value, endpoint: this.context.options.endpointKey(from), at: now };
    if (now < call.cookieResendAt) return;
    call.cookieResendAt = now + BACKOFF[0]!;
    this.context.send(from, withCookie(this.context.options.crypto, call.init, value));
  }

  response(now: number, wall: number, index: number, bytes: Uint8Array, from: E): void {
    const exchange = this.exchanges.get(index);
    if (exchange === undefined) return this.context.drop('unknown-index', from);
    if (exchange.answer !== undefined) return this.repeatFinal(exchange.answer, bytes, from);
    const { attempt, call } = exchange;
    const read = call.noise.readMessage(bytes.subarray(HEADER_BYTES));
    if (!read.ok) return this.context.drop(read.reason === 'weak-key' ? 'weak-key' : 'decrypt', from);
    const remoteStatic = call.noise.remoteStatic!;
    const judgement = this.context.judge(read.payload, remoteStatic, attempt.target.name, true, wall);
    if (judgement.kind === 'accepted') {
      if (this.acceptedSince(remoteStatic, attempt.since)) {
        this.context.drop('superseded', from);
        return this.cancel(attempt.key, false);
      }
      return this.accept(now, wall, attempt, call, judgement, bytes, from);
    }
    if (judgement.kind === 'refused') return this.refuse(now, attempt, call, judgement, bytes, from);
    const { reason: peerReason, detail } = judgement;
    const peer = attempt.target.name;
    this.context.fail({
      initiator: true,
      peer,
      endpoint: from,
      reason: 'rejected-by-peer',
      peerReason,
      detail,
    });
    this.wait(attempt, now, refusedDelay(attempt));
  }

  verdict(now: number, index: number, bytes: Uint8Array, from: E): void {
    const exchange = this.exchanges.get(index);
    const answer = exchange?.answer;
    if (exchange === undefined || answer?.session === undefined) {
      return this.context.drop('unknown-index', from);
    }
    const header = bytes.subarray(0, HEADER_BYTES);
    const { verdictKey, name, remoteStatic } = answer.session;
    const plain = this.context.options.crypto.decrypt(verdictKey, 0, header, bytes.subarray(HEADER_BYTES));
    if (plain === undefined) return this.context.drop('decrypt', from);
    const verdict = decodePayload(plain);
    if (verdict.kind !== 'verdict') return this.context.drop('malformed', from);
    const { attempt } = exchange;
    if (verdict.reason === undefined) {
      this.completed(remoteStatic, now);
      return this.cancel(attempt.key, false);
    }
    if (verdict.reason === 'superseded') {
      this.context.push({ type: 'superseded', index });
      return this.wait(attempt, now, SUPERSEDED_DELAY);
    }
    this.context.fail({
      initiator: true,
      peer: name,
      endpoint: from,
      reason: 'rejected-by-peer',
      peerReason: verdict.reason,
      detail: verdict.detail,
      index,
    });
    this.wait(attempt, now, refusedDelay(attempt));
  }

  /** The first authentic record of the session says as much as the verdict. */
  confirmed(now: number, index: number): void {
    const exchange = this.exchanges.get(index);
    if (exchange?.answer?.session === undefined) return;
    this.completed(exchange.answer.session.remoteStatic, now);
    this.cancel(exchange.attempt.key, false);
  }

  clear(): void {
    for (const key of [...this.attempts.keys()]) this.cancel(key, false);
    for (const index of this.exchanges.keys()) this.context.options.releaseIndex(index); // refusals kept for repetition
    this.exchanges.clear();
  }

  private call(attempt: Attempt<E>, now: number): void {
    const { crypto, allocateIndex } = this.context.options;
    const networkKey = this.context.networkKeys[0]!;
    const index = allocateIndex();
    const noise = this.context.newNoise(true, encodeDatagram(TYPE_INIT, index, new Uint8Array(0)));
    const first = noise.writeMessage(new Uint8Array(INIT_PADDING_BYTES));
    if (!first.ok) throw new Error('an init can always be written'); // no DH, and of a fixed size
    const init = encodeInit(crypto, networkKey, index, first.message);
    const call: Call = { index, noise, init, networkKey, started: now, nextAt: now, cookieResendAt: now };
    this.exchanges.set(index, { attempt, call });
    attempt.state = { kind: 'calling', call };
    this.transmit(attempt, call, now);
  }

  private transmit(attempt: Attempt<E>, call: Call, now: number): void {
    const { crypto, endpointKey } = this.context.options;
    const { cookie } = attempt;
    for (const to of attempt.target.endpoints) {
      const held = cookie?.endpoint === endpointKey(to) && now - cookie.at < COOKIE_LIFETIME;
      this.context.send(to, held ? withCookie(crypto, call.init, cookie.value) : call.init);
    }
    call.nextAt = now + backoff(attempt.transmissions);
    attempt.transmissions += 1;
  }

  private callTimeout(attempt: Attempt<E>, call: Call, now: number): void {
    if (!attempt.silenceReported && now >= attempt.since + NO_ANSWER_AFTER) this.reportSilence(attempt);
    if (now < call.nextAt) return;
    if (now - call.started < INIT_LIFETIME) return this.transmit(attempt, call, now);
    this.leave(attempt);
    this.call(attempt, now);
  }

  private reportSilence(attempt: Attempt<E>): void {
    attempt.silenceReported = true;
    const { name: peer, endpoints } = attempt.target;
    const others = endpoints.slice(1).map((e) => this.context.options.endpointKey(e));
    const detail = others.length === 0 ? '' : `tried ${others.join(', ')} too`;
    this.context.fail({ initiator: true, peer, endpoint: endpoints[0]!, reason: 'no-answer', detail });
  }

  private decisionTimeout(attempt: Attempt<E>, answer: Answer, now: number): void {
    const exchange = this.exchanges.get(answer.index)!;
    if (exchange.answer === undefined) return;
    const { endpoint } = exchange;
    if (now >= answer.expires) {
      const peer = answer.session!.name;
      const detail = 'it answered the first message and then fell silent';
      const { index } = answer;
      this.context.fail({ initiator: true, peer, endpoint, reason: 'no-answer', detail, index });
      return this.wait(attempt, now, BACKOFF[0]!);
    }
    if (now < answer.nextAt) return;
    this.context.send(endpoint, answer.final);
    answer.answers += 1;
    answer.nextAt = now + backoff(answer.answers);
  }

  private repeatFinal(answer: Answer, bytes: Uint8Array, from: E): void {
    if (!equalBytes(bytes, answer.response) || answer.answers >= MAX_ANSWERS) {
      return this.context.drop('duplicate', from);
    }
    answer.answers += 1;
    this.context.send(from, answer.final);
  }

  private accept(
    now: number,
    wall: number,
    attempt: Attempt<E>,
    call: Call,
    accepted: Accepted<C>,
    bytes: Uint8Array,
    from: E,
  ): void {
    const { index, noise } = call;
    const written = noise.writeMessage(this.context.identityPayload(index, wall));
    if (!written.ok) {
      this.context.drop('weak-key', from);
      return this.wait(attempt, now, REFUSED_DELAY);
    }
    const final = encodeDatagram(TYPE_FINAL, accepted.remoteIndex, written.message);
    const remoteStatic = noise.remoteStatic!.slice();
    const verdictKey = this.context.establish(noise, accepted, true, index, from);
    const answer: Answer = {
      index,
      response: bytes.slice(),
      final,
      expires: now + VERDICT_TIMEOUT,
      session: { verdictKey, name: accepted.peer.name, remoteStatic },
      answers: 0,
      nextAt: now + backoff(0),
    };
    this.exchanges.set(index, { attempt, answer, endpoint: from });
    attempt.state = { kind: 'deciding', answer };
    this.context.send(from, final);
  }

  private refuse(
    now: number,
    attempt: Attempt<E>,
    call: Call,
    refused: Refused,
    bytes: Uint8Array,
    from: E,
  ): void {
    const { reason, detail, name } = refused;
    const peer = attempt.target.name ?? name;
    this.context.fail({ initiator: true, peer, endpoint: from, reason, detail });
    const written =
      refused.remoteIndex === undefined
        ? undefined
        : call.noise.writeMessage(encodeVerdict(reason, refused.told));
    call.noise.clear();
    this.exchanges.delete(call.index);
    if (written?.ok) {
      const final = encodeDatagram(TYPE_FINAL, refused.remoteIndex!, written.message);
      const expires = now + FINAL_LIFETIME;
      const answer: Answer = {
        index: call.index,
        response: bytes.slice(),
        final,
        expires,
        session: undefined,
        answers: 0,
        nextAt: expires,
      };
      this.exchanges.set(call.index, { attempt, answer, endpoint: from });
      this.context.send(from, final);
    } else this.context.options.releaseIndex(call.index);
    attempt.state = { kind: 'waiting', until: now + refusedDelay(attempt) };
  }

  /** Starts anew after a wait: silence is counted from here. */
  private restart(attempt: Attempt<E>, now: number): void {
    attempt.transmissions = 0;
    attempt.since = now;
    attempt.silenceReported = false;
    this.call(attempt, now);
  }

  private wait(attempt: Attempt<E>, now: number, delay: number): void {
    this.leave(attempt);
    attempt.state = { kind: 'waiting', until: now + delay };
  }

  /** Forgets the exchange that the attempt is in. The index of an established session is not ours to release. */
  private leave(attempt: Attempt<E>): void {
    const { state } = attempt;
    if (state.kind === 'calling') {
      state.call.noise.clear();
      this.exchanges.delete(state.call.index);
      this.context.options.releaseIndex(state.call.index);
    }
    if (state.kind === 'deciding') {
      state.answer.session?.verdictKey.fill(0);
      this.exchanges.delete(state.answer.index);
    }
  }

  private aimsAt(attempt: Attempt<E>, endpoint: E): boolean {
    const { endpointKey } = this.context.options;
    return attempt.target.endpoints.some((e) => endpointKey(e) === endpointKey(endpoint));
  }
}

function backoff(round: number): number {
  return BACKOFF[Math.min(round, BACKOFF.length - 1)]!;
}

function refusedDelay(attempt: { refusals: number }): number {
  const delay = Math.min(REFUSED_DELAY * 2 ** attempt.refusals, REFUSED_DELAY_MAX);
  attempt.refusals += 1;
  return delay;
}
