/**
 * All handshakes of an agent: Noise_XX_25519_ChaChaPoly_BLAKE2s with certificates in its encrypted payloads.
 *
 * The agent's main thread gives it what it is asked for, datagrams and time, and carries out the actions that come back, in their
 * order. `initiator.ts` reaches for peers, `responder.ts` answers strangers, `context.ts` judges identities; here the two roles meet:
 * where both ends open at once, the end with the lower static key decides, because it alone knows how far its own handshake is.
 *
 *   - it has heard the response to its own: its own wins, the other gets the verdict "superseded"
 *   - it has not (its datagrams may never arrive): the other's is as good, and its own ends
 *   - the higher end yields whenever a final of the lower end arrives
 *
 * So exactly one session results, and no end waits for a path that works in one direction only. Nothing here opens a socket, reads a clock
 * or throws for what a peer sent.
 */
import { Context } from './context.js';
import { TYPE_COOKIE, TYPE_FINAL, TYPE_INIT, TYPE_RESPONSE, TYPE_VERDICT, classify } from './datagram.js';
import { Initiator } from './initiator.js';
import { Responder } from './responder.js';
import type { Action, HandshakerOptions, Identity, PeerCertificate, Target } from './types.js';

/** µs that a completed handshake is remembered, longer than any half-open one of the other end can live. */
const MEMORY = 30_000_000;
const MAX_REMEMBERED = 4096;

export class Handshaker<C extends PeerCertificate, E> {
  private readonly context: Context<C, E>;
  private readonly initiator: Initiator<C, E>;
  private readonly responder: Responder<C, E>;
  /** When the last handshake that we began, or that the peer began, was accepted; by the peer's static key. */
  private readonly begun = new Memory();
  private readonly accepted = new Memory();

  constructor(options: HandshakerOptions<C, E>) {
    this.context = new Context(options);
    this.initiator = new Initiator(
      this.context,
      (remoteStatic, since) => this.accepted.get(remoteStatic) >= since,
      (remoteStatic, now) => this.begun.set(remoteStatic, now),
    );
    this.responder = new Responder(this.context, (...rival) => this.arbitrate(...rival));
  }

  /**
   * Wants a session with a peer, also where one exists (rekey), and goes on until one is accepted or `cancel`. Where it is wanted already, only
   * the endpoints change. `now` in µs, `wall` in ms.
   */
  connect(now: number, target: Target<E>): Action<C, E>[] {
    this.initiator.connect(now, this.keyOf(target), target);
    return this.context.drain();
  }

  /** No longer wants that peer. A session already established stays the caller's. */
  cancel(target: Target<E>): void {
    this.initiator.cancel(this.keyOf(target), false);
  }

  /** Whether a session with that peer is being sought. */
  seeks(target: Target<E>): boolean {
    return this.initiator.has(this.keyOf(target));
  }

  /** A datagram of types 1, 2, 3, 4 or 6 as it arrived. `bytes` stays the caller's. */
  datagram(now: number, wall: number, bytes: Uint8Array, from: E): Action<C, E>[] {
    const seen = classify(bytes);
    if (!seen.ok) {
      this.context.drop(seen.reason, from);
      return this.context.drain();
    }
    switch (seen.type) {
      case TYPE_INIT:
        this.responder.init(now, wall, bytes, from);
        break;
      case TYPE_RESPONSE:
        this.initiator.response(now, wall, seen.index, bytes, from);
        break;
      case TYPE_FINAL:
        this.responder.final(now, wall, seen.index, bytes, from);
        break;
      case TYPE_COOKIE:
        this.initiator.cookie(now, seen.index, bytes, from);
        break;
      case TYPE_VERDICT:
        this.initiator.verdict(now, seen.index, bytes, from);
        break;
      default:
        seen.type satisfies never;
    }
    return this.context.drain();
  }

  /** The first authentic record of the session with that base index has arrived: the peer has accepted it. Optional; it spares repetitions. */
  confirmed(now: number, index: number): Action<C, E>[] {
    this.initiator.confirmed(now, index);
    return this.context.drain();
  }

  /** When to call `timeout`, µs; undefined where nothing is under way. */
  nextTimeout(): number | undefined {
    const times = [this.initiator.nextTimeout(), this.responder.nextTimeout()].filter((t) => t !== undefined);
    return times.length === 0 ? undefined : Math.min(...times);
  }

  timeout(now: number): Action<C, E>[] {
    this.responder.timeout(now);
    this.initiator.timeout(now);
    this.begun.forget(now - MEMORY);
    this.accepted.forget(now - MEMORY);
    return this.context.drain();
  }

  /** A renewed certificate, for handshakes from now on. */
  setIdentity(identity: Identity): void {
    this.context.setIdentity(identity);
  }

  /** Other trusted roots, for handshakes from now on. */
  setNetworkKeys(networkKeys: readonly Uint8Array[]): void {
    this.context.networkKeys = networkKeys;
  }

  /** Handshakes that others began: half-open, or completed within the last seconds. */
  get pending(): number {
    return this.responder.size;
  }

  /** Ends everything and erases what is secret. */
  close(): void {
    this.initiator.clear();
    this.responder.clear();
  }

  private arbitrate(
    name: string,
    remoteStatic: Uint8Array,
    from: E,
    created: number,
    now: number,
  ): (() => void) | undefined {
    const lower = Buffer.compare(this.context.options.staticKey.publicKey, remoteStatic) < 0;
    if (lower && this.begun.get(remoteStatic) >= created) return undefined;
    const rival = this.initiator.rivalOf(name, remoteStatic, from);
    const heard = rival?.decidingWith !== undefined && Buffer.compare(rival.decidingWith, remoteStatic) === 0;
    if (lower && heard) return undefined;
    this.accepted.set(remoteStatic, now);
    return () => {
      if (rival !== undefined) this.initiator.cancel(rival.key, true);
    };
  }

  private keyOf(target: Target<E>): string {
    return target.name ?? `@${this.context.options.endpointKey(target.endpoints[0]!)}`;
  }
}

/** Times by key, in the order they were set. */
class Memory {
  private readonly times = new Map<string, number>();

  get(key: Uint8Array): number {
    return this.times.get(Buffer.from(key).toString('latin1')) ?? -Infinity;
  }

  set(key: Uint8Array, time: number): void {
    const name = Buffer.from(key).toString('latin1');
    this.times.delete(name);
    this.times.set(name, time);
    if (this.times.size > MAX_REMEMBERED) this.times.delete(this.times.keys().next().value!);
  }

  forget(before: number): void {
    for (const [name, time] of this.times) {
      if (time >= before) return;
      this.times.delete(name);
    }
  }
}
