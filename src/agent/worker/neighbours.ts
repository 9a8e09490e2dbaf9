import { ENDPOINT_PORT, ENDPOINT_WORDS } from '../../io/batch.js';
import type { Aead, Cipher, UdpSocket } from '../../io/ports.js';
import { ReplayWindow } from '../../crypto/replay-window.js';
import { SessionSet } from '../../crypto/session.js';
import type { LaneTable } from '../../overlay/forward/lanes.js';
import type { Neighbour } from '../../overlay/forward/neighbour.js';
import { Link } from '../../overlay/link/link.js';
import { LinkQuality } from '../../overlay/link/quality/link-quality.js';
import type { Counts } from '../../overlay/wire/frames.js';
import { Paths } from '../../overlay/link/paths.js';
import { type Endpoint, endpointKey, writeEndpoint } from '../endpoint.js';
import type { FromWorker, SessionGrant } from '../messages.js';
import { KEY_SLOTS, MAX_NEIGHBOURS } from './sizes.js';
import { SlotPool } from './slot-pool.js';

/** A neighbour with what only the shell needs of it. */
export interface NeighbourEntry extends Neighbour {
  link: Link;
  readonly paths: Paths<Endpoint>;
  /** Records about ways, which tell nothing of the loss on the active one: they don't count. */
  pathsSealed: number;
  pathsArrived: number;
  readonly sessions: SessionSet;
  /** Of its process: another static key is another one, with a link that begins anew. */
  incarnation: string;
  cipher: Cipher;
  /** µs when `up` changed, and when the newest session began. */
  since: number;
  sessionSince: number;
  /** µs; when the timer is wanted. */
  due: number;
  /** Key slots and receiver indexes by session. */
  readonly held: Map<number, { keys: number[]; indexes: number[]; windows: ReplayWindow[] }>;
  /** What came in sessions of this link that are gone. */
  past: Counts;
}

const NOTHING: Counts = { sealed: 0, arrived: 0, gaps: 0 };

/** Everyone that this node holds sessions with: owner of key slots, endpoint slots and receiver indexes. */
export class Neighbours {
  readonly byId = new Map<number, NeighbourEntry>();
  private readonly keys = new SlotPool('key', KEY_SLOTS);
  private readonly slots = new SlotPool('endpoint', MAX_NEIGHBOURS + 1, 1);
  private readonly touched = new Set<NeighbourEntry>();
  /** µs; not after the first neighbour's `due`. */
  private earliest = Infinity;

  constructor(
    private readonly self: number,
    private readonly aead: Aead,
    private readonly udp: UdpSocket,
    private readonly lanes: LaneTable,
    private readonly random: () => number,
    private readonly post: (message: FromWorker) => void,
    /** Its hop is of no use any more. */
    private readonly dropHop: (neighbour: Neighbour) => void,
    /** Bytes of the largest datagram that there is to send. */
    private readonly datagram: number,
  ) {}

  /** Node id of the neighbour at the address and port of record `slot` of `words`, 0 for nobody. For a look now and then. */
  at(words: Uint32Array, slot: number): number {
    const remote = (record: Uint32Array, number: number) => {
      const at = number * ENDPOINT_WORDS;
      return record.subarray(at, at + ENDPOINT_PORT + 1);
    };
    const wanted = remote(words, slot);
    for (const neighbour of this.byId.values()) {
      const its = remote(this.udp.endpoints, neighbour.slot);
      if (its.every((word, i) => word === wanted[i])) return neighbour.nodeId;
    }
    return 0;
  }

  /** Takes a session into use. The first one of a process at the other end brings a new link. */
  install(now: number, grant: SessionGrant): void {
    if (!this.byId.has(grant.peer) && this.byId.size >= MAX_NEIGHBOURS) {
      this.post({ type: 'released', index: grant.index });
      return;
    }
    const neighbour = this.entryOf(now, grant);
    const { index, initiator, cipher } = grant;
    const receive = grant.receive.map((lane) => this.setKey(cipher, lane.key));
    const send = grant.send.map((lane) => this.setKey(cipher, lane.key));
    neighbour.cipher = cipher;
    neighbour.sessionSince = now;
    const windows = grant.receive.map(() => new ReplayWindow());
    neighbour.held.set(index, {
      keys: [...receive, ...send],
      indexes: grant.receive.map((lane) => lane.index),
      windows,
    });
    grant.receive.forEach(({ index: lane }, i) => {
      this.lanes.add(lane, { neighbour, session: index, lane: i, key: receive[i], window: windows[i] });
    });
    const lanes = grant.send.map((lane, i) => ({ index: lane.index, key: send[i] }));
    const evicted = neighbour.sessions.install(now, index, initiator, lanes);
    if (evicted) this.drop(neighbour, evicted.id);
    if (neighbour.confirmedSession === 0 || !neighbour.up) {
      writeEndpoint(this.udp.endpoints, neighbour.slot, grant.endpoint);
      neighbour.paths.use(now, grant.endpoint);
      neighbour.moved = true;
    }
    this.touched.add(neighbour);
  }

  /** The first authentic record of a session: the peer has its keys. */
  confirm(neighbour: Neighbour, session: number): void {
    if (neighbour.sessions.received(session)) this.post({ type: 'confirmed', index: session });
  }

  /** Drops a session by its index, whoever's it is. */
  revoke(index: number): void {
    for (const neighbour of this.byId.values()) if (neighbour.held.has(index)) this.drop(neighbour, index);
  }

  remove(neighbour: NeighbourEntry): void {
    for (const session of [...neighbour.held.keys()]) this.drop(neighbour, session);
    this.slots.release(neighbour.slot);
    this.byId.delete(neighbour.nodeId);
    this.touched.delete(neighbour);
    neighbour.up = false;
    this.dropHop(neighbour);
  }

  /** Its link may have something to send. */
  touch(neighbour: Neighbour): void {
    this.touched.add(neighbour as NeighbourEntry);
  }

  takeTouched(): NeighbourEntry[] {
    if (this.touched.size === 0) return [];
    const all = [...this.touched];
    this.touched.clear();
    return all;
  }

  /** What has come of a neighbour's records since its link began. */
  arrivals({ past, held, pathsArrived }: NeighbourEntry): Counts {
    let counts = past;
    for (const { windows } of held.values()) counts = withWindows(counts, windows);
    return { ...counts, arrived: (counts.arrived - pathsArrived) >>> 0 };
  }

  /** Notes when a neighbour wants the timer again: its link, its sessions, or its hop, which is due at `hopDue`. */
  schedule(neighbour: NeighbourEntry, hopDue: number): void {
    neighbour.due = Math.min(
      neighbour.link.nextTimeout(),
      neighbour.sessions.nextTimeout(),
      neighbour.paths.nextTimeout(),
      hopDue,
    );
    if (neighbour.due < this.earliest) this.earliest = neighbour.due;
  }

  /** µs; no neighbour is due before. */
  nextTimeout(): number {
    return this.earliest;
  }

  /** All that are due. Whoever takes them sees to their being scheduled again. */
  takeDue(now: number): NeighbourEntry[] {
    const all: NeighbourEntry[] = [];
    if (now < this.earliest) return all;
    this.earliest = Infinity;
    for (const neighbour of this.byId.values()) {
      if (neighbour.due <= now) all.push(neighbour);
      else if (neighbour.due < this.earliest) this.earliest = neighbour.due;
    }
    return all;
  }

  /** Drops what is too old, and neighbours that nothing is left of; returns whose session wants a successor. */
  expire(now: number): NeighbourEntry[] {
    const wanting: NeighbourEntry[] = [];
    for (const neighbour of this.byId.values()) {
      const { removed, rekey } = neighbour.sessions.expire(now);
      for (const { id } of removed) this.drop(neighbour, id);
      if (rekey) wanting.push(neighbour);
      if (neighbour.held.size === 0 && !neighbour.up) this.remove(neighbour);
    }
    return wanting;
  }

  private entryOf(now: number, { peer, name, incarnation, cipher }: SessionGrant): NeighbourEntry {
    const known = this.byId.get(peer);
    if (known?.incarnation === incarnation) return known;
    if (known) return this.renew(now, known, incarnation);
    const neighbour: NeighbourEntry = {
      nodeId: peer,
      name,
      incarnation,
      cipher,
      slot: this.slots.take(),
      sessions: new SessionSet(),
      link: new Link(this.random, now, this.datagram),
      paths: new Paths<Endpoint>(endpointKey, this.self < peer, now),
      pathsSealed: 0,
      pathsArrived: 0,
      hop: undefined,
      joiner: undefined,
      due: now,
      up: false,
      confirmedSession: 0,
      moved: true,
      since: now,
      sessionSince: now,
      held: new Map(),
      quality: new LinkQuality(now),
      past: NOTHING,
      packetsSent: 0,
      bytesSent: 0,
      packetsReceived: 0,
      bytesReceived: 0,
    };
    this.byId.set(peer, neighbour);
    return neighbour;
  }

  /** Another process at the other end: what the old one knew is gone. */
  private renew(now: number, neighbour: NeighbourEntry, incarnation: string): NeighbourEntry {
    for (const session of [...neighbour.held.keys()]) this.drop(neighbour, session);
    if (neighbour.up) this.post({ type: 'down', peer: neighbour.nodeId, reason: 'restarted' });
    neighbour.up = false;
    neighbour.since = now;
    neighbour.incarnation = incarnation;
    neighbour.link = new Link(this.random, now, this.datagram);
    neighbour.joiner = undefined;
    neighbour.past = NOTHING;
    neighbour.pathsSealed = 0;
    neighbour.pathsArrived = 0;
    this.dropHop(neighbour);
    return neighbour;
  }

  private setKey(cipher: Cipher, key: Uint8Array): number {
    const slot = this.keys.take();
    this.aead.setKey(slot, cipher, key);
    key.fill(0);
    return slot;
  }

  private drop(neighbour: NeighbourEntry, session: number): void {
    const held = neighbour.held.get(session);
    if (!held) return;
    neighbour.past = withWindows(neighbour.past, held.windows);
    neighbour.held.delete(session);
    neighbour.sessions.remove(session);
    for (const index of held.indexes) this.lanes.remove(index);
    for (const key of held.keys) {
      this.aead.clearKey(key);
      this.keys.release(key);
    }
    this.post({ type: 'released', index: session });
  }
}

function withWindows({ sealed, arrived, gaps }: Counts, windows: readonly ReplayWindow[]): Counts {
  for (const { highest, count, overtaken } of windows) {
    sealed += highest + 1;
    arrived += count;
    gaps += overtaken;
  }
  return { sealed: sealed >>> 0, arrived: arrived >>> 0, gaps: gaps >>> 0 };
}
