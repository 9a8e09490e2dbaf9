/**
 * The sessions of one link, as its forwarding worker holds them, so that a rekey loses no packet (compare WireGuard's paper, section 6):
 *
 *   - the responder of a handshake seals with the new session at once: the initiator installed it before its last message went out
 *   - the initiator goes on with the old one until the first authentic record of the new shows that the responder has it
 *   - what still arrives in an old session opens until that session ends
 *
 * `writeHeader`, which every packet passes, allocates nothing: it takes a counter and says which key seals. Whoever holds a set owns keys,
 * receive lanes and indexes, and clears them for every session that a call hands out. Times in µs of one steady clock.
 */
import { writeRecordHeader } from '../overlay/wire/record.js';

/** Wire: a session's age at which its end stops sealing and opening. */
export const SESSION_LIFETIME = 180_000_000;
/** Wire: no lane seals more records. */
export const COUNTER_LIMIT = 2 ** 28;
/** A successor is asked for at this age, or counter, by the end that began the handshake; a little later by the other. */
export const REKEY_AFTER = 120_000_000;
export const REKEY_COUNTER = 2 ** 26;
const REKEY_AFTER_RESPONDER = REKEY_AFTER + 10_000_000;
const REKEY_COUNTER_RESPONDER = REKEY_COUNTER + REKEY_COUNTER / 8;
/** A successor that hasn't come is asked for again. */
const ASK_AGAIN_AFTER = 10_000_000;
/** Sessions of one link; the oldest that doesn't seal makes room. */
export const MAX_SESSIONS = 4;

/** One lane, sending. */
export interface SendLane {
  /** The peer's receiver index. */
  readonly index: number;
  /** AEAD key slot. */
  readonly key: number;
}

export class Session {
  private readonly indexes: Float64Array;
  private readonly keys: Int32Array;
  /** Next counter of each lane. */
  private readonly counters: Float64Array;
  /** The peer is known to have it. */
  confirmed: boolean;

  constructor(
    /** Names the session here: the base index of its receive lanes. */
    readonly id: number,
    readonly initiator: boolean,
    lanes: readonly SendLane[],
    /** When it was installed, µs. */
    readonly since: number,
  ) {
    if (lanes.length === 0) throw new RangeError('a session has at least one lane');
    this.indexes = Float64Array.from(lanes, (lane) => lane.index);
    this.keys = Int32Array.from(lanes, (lane) => lane.key);
    this.counters = new Float64Array(lanes.length);
    this.confirmed = !initiator;
  }

  get lanes(): number {
    return this.keys.length;
  }

  /** The furthest of its counters. */
  get used(): number {
    let most = 0;
    for (const counter of this.counters) if (counter > most) most = counter;
    return most;
  }

  /** See SessionSet.writeHeader. */
  writeHeader(view: DataView, at: number, lane: number): number {
    const own = lane < this.keys.length ? lane : this.keys.length - 1;
    const counter = this.counters[own]!;
    if (counter >= COUNTER_LIMIT) return -1;
    this.counters[own] = counter + 1;
    writeRecordHeader(view, at, this.indexes[own]!, counter);
    return this.keys[own]!;
  }
}

export class SessionSet {
  /** Oldest first. */
  private sessions: Session[] = [];
  private sealing: Session | undefined;
  private askedAt = -Infinity;

  /** All that still open, oldest first. */
  get all(): readonly Session[] {
    return this.sessions;
  }

  /** The one that seals now. */
  get current(): Session | undefined {
    return this.sealing;
  }

  /** Takes a session that a handshake established; `id` must not be in the set. Returns the one that had to make room, if any. */
  install(now: number, id: number, initiator: boolean, lanes: readonly SendLane[]): Session | undefined {
    if (this.find(id) !== undefined) throw new RangeError(`session ${id} is installed already`);
    const full = this.sessions.length >= MAX_SESSIONS;
    const evicted = full ? this.sessions.find((old) => old !== this.sealing) : undefined;
    const session = new Session(id, initiator, lanes, now);
    this.sessions = [...this.sessions.filter((old) => old !== evicted), session];
    this.choose();
    return evicted;
  }

  /**
   * Writes the 16-byte header of a sealed record and takes the lane's next counter. Returns the AEAD key slot to seal with, or -1 where no
   * session may seal. A lane that the session doesn't have is carried by its last.
   */
  writeHeader(view: DataView, at: number, lane: number): number {
    return this.sealing === undefined ? -1 : this.sealing.writeHeader(view, at, lane);
  }

  /**
   * An authentic record of that session has arrived, so the peer has it. To be called at least for a session's first one. True where that
   * is news, so that the handshake machine can be told.
   */
  received(id: number): boolean {
    const session = this.find(id);
    if (session === undefined || session.confirmed) return false;
    session.confirmed = true;
    this.choose();
    return true;
  }

  find(id: number): Session | undefined {
    return this.sessions.find((session) => session.id === id);
  }

  /** Takes one out, such as a session that was superseded. */
  remove(id: number): Session | undefined {
    const session = this.find(id);
    if (session !== undefined) this.keep((other) => other !== session);
    return session;
  }

  /** Takes all out. */
  clear(): readonly Session[] {
    const all = this.sessions;
    this.keep(() => false);
    return all;
  }

  /**
   * Takes out the sessions whose lifetime is over. `rekey`: a handshake for a successor should begin now; true once, and again every ten seconds
   * while none has come. The end that did not begin the last handshake asks only when the other has failed to.
   */
  expire(now: number): { removed: readonly Session[]; rekey: boolean } {
    const removed = this.sessions.filter((session) => isOver(session, now));
    const rekey = now >= this.rekeyAt(); // before the last one goes, so that a link long asleep asks too
    if (rekey) this.askedAt = now;
    if (removed.length > 0) this.keep((session) => !isOver(session, now));
    return { removed, rekey };
  }

  /** When to call `expire`, as things stand; Infinity without sessions. */
  nextTimeout(): number {
    const oldest = this.sessions[0];
    return oldest === undefined ? Infinity : Math.min(oldest.since + SESSION_LIFETIME, this.rekeyAt());
  }

  /** When to ask for a successor: by the newest session's age, or at once where its counters are far. */
  private rekeyAt(): number {
    const newest = this.sessions.at(-1);
    if (newest === undefined) return Infinity;
    const { initiator, since } = newest;
    const far = newest.used >= (initiator ? REKEY_COUNTER : REKEY_COUNTER_RESPONDER);
    const due = since + (initiator ? REKEY_AFTER : REKEY_AFTER_RESPONDER);
    return Math.max(far ? since : due, this.askedAt + ASK_AGAIN_AFTER);
  }

  private keep(which: (session: Session) => boolean): void {
    this.sessions = this.sessions.filter(which);
    this.choose();
  }

  /** The newest that the peer is known to have; where there is none, the newest. */
  private choose(): void {
    this.sealing = this.sessions.findLast((session) => session.confirmed) ?? this.sessions.at(-1);
  }
}

function isOver(session: Session, now: number): boolean {
  return now - session.since >= SESSION_LIFETIME;
}
