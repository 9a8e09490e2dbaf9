/**
 * The responder's half: a bounded table of half-open handshakes, oldest first.
 *
 *   1. an init without a trusted network's MAC gets no answer; a known one gets the same response again
 *   2. under load, or where a source has too many half-open, a cookie comes first
 *   3. a response, and an entry that lives for ten seconds
 *   4. the final: the peer is judged, the session established, the verdict sent; a repeated final gets the same verdict
 */
import type { HandshakeState } from '../noise/handshake-state.js';
import { equalBytes } from '../primitives.js';
import type { Accepted, Context } from './context.js';
import { CookieJar } from './cookie.js';
import {
  HEADER_BYTES,
  INIT_COOKIE_MAC,
  INIT_MAC,
  TYPE_RESPONSE,
  TYPE_VERDICT,
  encodeDatagram,
  findNetworkKey,
  viewOf,
} from './datagram.js';
import type { RejectReason } from './failure.js';
import { clearKeys } from './lanes.js';
import { TokenBucket } from '../../rate-limit/token-bucket.js';
import { SourceBuckets } from './limiter.js';
import { encodeVerdict } from './payload.js';
import type { HandshakeLimits, PeerCertificate } from './types.js';

/** µs that an entry lives, and again once its final has come. */
const ENTRY_LIFETIME = 10_000_000;
/** µs that load lasts after the bucket ran empty. */
const LOAD_LASTS = 1_000_000;
/** A repeated message is answered this often. */
const MAX_ANSWERS = 16;
const MAX_SOURCES = 4096;
/** Entries in all, completed ones included, for each that may be half-open. */
const DONE_PER_OPEN = 4;

const DEFAULT_LIMITS: HandshakeLimits = {
  perSecond: 100,
  burst: 200,
  perSourceSecond: 20,
  perSourceBurst: 40,
  pending: 512,
  pendingPerSource: 16,
};

interface Entry {
  readonly index: number;
  /** The initiator's base index. */
  readonly remoteIndex: number;
  /** The init's network MAC: it names all of the init but the cookie. */
  readonly name: string;
  readonly host: string;
  readonly created: number;
  readonly response: Uint8Array;
  expires: number;
  answers: number;
  state: { kind: 'open'; noise: HandshakeState } | { kind: 'done'; final: Uint8Array; verdict: Uint8Array };
  established: boolean;
}

export class Responder<C extends PeerCertificate, E> {
  /** In order of expiry. */
  private readonly entries = new Map<number, Entry>();
  private readonly byName = new Map<string, Entry>();
  /** Half-open ones: all, and by host. */
  private open = 0;
  private readonly pendingOf = new Map<string, number>();
  private readonly limits: HandshakeLimits;
  private readonly bucket: TokenBucket;
  private readonly sources: SourceBuckets;
  private readonly cookies: CookieJar;
  private loadedUntil = -Infinity;

  constructor(
    private readonly context: Context<C, E>,
    /**
     * Whether the handshake of that peer, begun at `created`, is to be accepted: then what to do once its session stands. Undefined: one of ours
     * wins.
     */
    private readonly arbitrate: (
      name: string,
      remoteStatic: Uint8Array,
      from: E,
      created: number,
      now: number,
    ) => (() => void) | undefined,
  ) {
    const limits = (this.limits = { ...DEFAULT_LIMITS, ...context.options.limits });
    this.bucket = new TokenBucket(limits.burst, 1e6 / limits.perSecond, 0);
    this.sources = new SourceBuckets(limits.perSourceSecond, limits.perSourceBurst, MAX_SOURCES);
    this.cookies = new CookieJar(context.options.crypto, context.options.random);
  }

  /** Half-open and just completed handshakes. */
  get size(): number {
    return this.entries.size;
  }

  init(now: number, wall: number, bytes: Uint8Array, from: E): void {
    const networkKey = findNetworkKey(this.context.options.crypto, this.context.networkKeys, bytes);
    if (networkKey === undefined) return this.context.drop('wrong-network', from);
    const name = Buffer.from(bytes.subarray(INIT_MAC, INIT_COOKIE_MAC)).toString('latin1');
    const known = this.byName.get(name);
    if (known !== undefined) return this.repeatResponse(known, from);
    const host = this.context.options.endpointHost(from);
    if (!this.admit(now, bytes, networkKey, host, from)) return;
    this.respond(now, wall, bytes, name, host, from);
  }

  final(now: number, wall: number, index: number, bytes: Uint8Array, from: E): void {
    const entry = this.entries.get(index);
    if (entry === undefined) return this.context.drop('unknown-index', from);
    if (entry.state.kind === 'done') return this.repeatVerdict(entry, entry.state, bytes, from);
    const { noise } = entry.state;
    const read = noise.readMessage(bytes.subarray(HEADER_BYTES));
    if (!read.ok) return this.context.drop(read.reason === 'weak-key' ? 'weak-key' : 'decrypt', from);
    const remoteStatic = noise.remoteStatic!.slice();
    const judgement = this.context.judge(read.payload, remoteStatic, undefined, false, wall);
    if (judgement.kind === 'rejected') {
      const { reason: peerReason, detail } = judgement;
      this.context.fail({
        initiator: false,
        peer: undefined,
        endpoint: from,
        reason: 'rejected-by-peer',
        peerReason,
        detail,
      });
      noise.clear();
      return this.finish(now, entry, bytes, new Uint8Array(0));
    }
    if (judgement.kind === 'refused') {
      const { reason, detail, told, name: peer } = judgement;
      this.context.fail({ initiator: false, peer, endpoint: from, reason, detail });
      return this.decline(now, entry, noise, bytes, from, reason, told);
    }
    const yieldOurs = this.arbitrate(judgement.peer.name, remoteStatic, from, entry.created, now);
    if (yieldOurs === undefined) {
      this.context.drop('superseded', from);
      return this.decline(now, entry, noise, bytes, from, 'superseded', '');
    }
    this.accept(now, entry, noise, judgement, bytes, from);
    yieldOurs();
  }

  nextTimeout(): number | undefined {
    for (const entry of this.entries.values()) return entry.expires;
    return undefined;
  }

  timeout(now: number): void {
    for (const entry of this.entries.values()) {
      if (entry.expires > now) return;
      this.forget(entry);
    }
  }

  clear(): void {
    for (const entry of this.entries.values()) this.forget(entry);
    this.cookies.clear();
  }

  /** Decides whether an init is worth three key exchanges; sends a cookie where the source must show itself first. */
  private admit(now: number, bytes: Uint8Array, networkKey: Uint8Array, host: string, from: E): boolean {
    const source = this.context.options.endpointKey(from);
    const busy = (this.pendingOf.get(host) ?? 0) >= this.limits.pendingPerSource;
    if (this.cookies.proves(bytes, source, now)) {
      if (!this.sources.take(host, now)) {
        this.context.drop('source-limit', from);
        return false;
      }
      if (busy) this.evict((entry) => entry.host === host && entry.state.kind === 'open');
    } else if (busy || this.loaded(now)) {
      this.context.send(from, this.cookies.reply(bytes, networkKey, source, now));
      this.context.drop('load', from);
      return false;
    }
    if (this.open >= this.limits.pending) this.evict((entry) => entry.state.kind === 'open');
    if (this.entries.size >= DONE_PER_OPEN * this.limits.pending) this.evict(() => true);
    return true;
  }

  private loaded(now: number): boolean {
    if (now < this.loadedUntil) return true;
    if (this.open < this.limits.pending && this.bucket.take(now)) return false;
    this.loadedUntil = now + LOAD_LASTS;
    return true;
  }

  private respond(now: number, wall: number, init: Uint8Array, name: string, host: string, from: E): void {
    const { allocateIndex, releaseIndex } = this.context.options;
    const noise = this.context.newNoise(false, init);
    const read = noise.readMessage(init.subarray(HEADER_BYTES, INIT_MAC));
    const index = allocateIndex();
    const written = read.ok ? noise.writeMessage(this.context.identityPayload(index, wall)) : read;
    if (!written.ok) {
      noise.clear();
      releaseIndex(index);
      return this.context.drop(written.reason === 'weak-key' ? 'weak-key' : 'malformed', from);
    }
    const remoteIndex = viewOf(init).getUint32(4);
    const response = encodeDatagram(TYPE_RESPONSE, remoteIndex, written.message);
    const entry: Entry = {
      index,
      remoteIndex,
      name,
      host,
      created: now,
      response,
      expires: now + ENTRY_LIFETIME,
      answers: 0,
      state: { kind: 'open', noise },
      established: false,
    };
    this.entries.set(index, entry);
    this.byName.set(name, entry);
    this.countOpen(host, 1);
    this.context.send(from, response);
  }

  private repeatResponse(entry: Entry, from: E): void {
    entry.answers += 1;
    if (entry.state.kind === 'done' || entry.answers > MAX_ANSWERS) {
      return this.context.drop('duplicate', from);
    }
    this.context.send(from, entry.response);
  }

  private repeatVerdict(
    entry: Entry,
    done: { final: Uint8Array; verdict: Uint8Array },
    bytes: Uint8Array,
    from: E,
  ): void {
    entry.answers += 1;
    if (!equalBytes(bytes, done.final) || done.verdict.length === 0 || entry.answers > 2 * MAX_ANSWERS) {
      return this.context.drop('duplicate', from);
    }
    this.context.send(from, done.verdict);
  }

  private accept(
    now: number,
    entry: Entry,
    noise: HandshakeState,
    accepted: Accepted<C>,
    bytes: Uint8Array,
    from: E,
  ): void {
    const key = this.context.establish(noise, accepted, false, entry.index, from);
    entry.established = true;
    this.finish(now, entry, bytes, this.sealVerdict(key, entry.remoteIndex, undefined, ''), from);
  }

  private decline(
    now: number,
    entry: Entry,
    noise: HandshakeState,
    bytes: Uint8Array,
    from: E,
    reason: RejectReason | 'superseded',
    detail: string,
  ): void {
    const keys = this.context.splitKeys(noise, false);
    const verdict = this.sealVerdict(keys.verdict.slice(), entry.remoteIndex, reason, detail);
    clearKeys(keys);
    this.finish(now, entry, bytes, verdict, from);
  }

  /** Clears the key: it seals one verdict only. */
  private sealVerdict(
    key: Uint8Array,
    remoteIndex: number,
    reason: RejectReason | 'superseded' | undefined,
    detail: string,
  ): Uint8Array {
    const header = encodeDatagram(TYPE_VERDICT, remoteIndex, new Uint8Array(0));
    const sealed = this.context.options.crypto.encrypt(key, 0, header, encodeVerdict(reason, detail));
    key.fill(0);
    return encodeDatagram(TYPE_VERDICT, remoteIndex, sealed);
  }

  private finish(now: number, entry: Entry, final: Uint8Array, verdict: Uint8Array, to?: E): void {
    entry.state = { kind: 'done', final: final.slice(), verdict };
    this.countOpen(entry.host, -1);
    entry.answers = 0;
    entry.expires = now + ENTRY_LIFETIME;
    this.entries.delete(entry.index); // and to the end: the table is in order of expiry
    this.entries.set(entry.index, entry);
    if (to !== undefined) this.context.send(to, verdict);
  }

  private evict(which: (entry: Entry) => boolean): void {
    for (const entry of this.entries.values()) {
      if (which(entry)) return this.forget(entry);
    }
  }

  private forget(entry: Entry): void {
    this.entries.delete(entry.index);
    this.byName.delete(entry.name);
    if (entry.state.kind === 'open') {
      entry.state.noise.clear();
      this.countOpen(entry.host, -1);
    }
    if (!entry.established) this.context.options.releaseIndex(entry.index);
  }

  private countOpen(host: string, change: 1 | -1): void {
    const pending = (this.pendingOf.get(host) ?? 0) + change;
    if (pending > 0) this.pendingOf.set(host, pending);
    else this.pendingOf.delete(host);
    this.open += change;
  }
}
