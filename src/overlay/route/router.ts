/**
 * Routing. One `Router` per agent, on the main thread: it takes the time and a neighbour's messages and returns what to send
 * and which tables to forward by. It opens nothing and reads no clock.
 *
 *   router.ts         the protocol: flooding, synchronisation, origination (this file)
 *   messages.ts       its messages; record.ts: the signed record inside one of them
 *   lsdb.ts           what is known: certificates and records by origin
 *   own-links.ts      what this node says of its links, and when a change is news
 *   wanted.ts         what was asked for and has not come
 *   neighbour.ts      what a neighbour may cost
 *   routing-table.ts  database → claims.ts → prefix-table.ts and spf.ts → tables.ts (the worker's snapshot)
 *
 * Beside it, `redundancy.ts` makes sets of links for redundant flows from the graph of the last shortest-path run: `trouble.ts`, `dissemination.ts`,
 * `disjoint.ts`, `reach.ts`.
 *
 * The path of a record:
 *   1. `message` decodes it; a copy of what is held stops here, and an older one is answered with the newer
 *   2. its certificate is looked up; without it the record waits while the sender is asked
 *   3. its signature is verified, then its age and its origin's rate
 *   4. it is installed and sent to every neighbour but the one that it came from
 *   5. if its links changed, a shortest-path run is due
 *
 * What never happens here: an address or a prefix taken from a record; a record installed without its certificate; state
 * per packet or per flow.
 */
import type { RouterAction, RouterCounters, RouterDrop } from './actions.js';
import { readU32, sameBytes } from './bytes.js';
import type { CertificateCheck, Prefix, RouteCertificate, RouterSelf } from './identity.js';
import type { CertificateEntry, RecordEntry } from './lsdb.js';
import { LinkStateDatabase, sameLinks } from './lsdb.js';
import type { ControlMessage, DigestRow, RequestRow } from './messages.js';
import {
  decodeMessage,
  encodeCertificate,
  encodeDigest,
  encodeRecordMessage,
  encodeRequest,
  WANT,
} from './messages.js';
import type { LinkMeasure } from './measure.js';
import { Neighbour } from './neighbour.js';
import { OwnLinks } from './own-links.js';
import type { LinkStateRecord, Version } from './record.js';
import {
  compareVersions,
  decodeRecord,
  encodeRecord,
  nextVersion,
  peekVersion,
  signedBytes,
} from './record.js';
import { RoutingTable } from './routing-table.js';
import type { TableNode } from './tables.js';
import { type Forming, sameForming } from '../peering/forming.js';
import type { MeasuredLinks } from './trouble.js';
import { TokenBucket } from '../../rate-limit/token-bucket.js';
import type { RouterTuning } from './tuning.js';
import { DEFAULT_TUNING } from './tuning.js';
import { Wanted } from './wanted.js';

export interface RouterOptions {
  readonly self: RouterSelf;
  /** Of this run, seconds or any number that grows from run to run; 32 bits. */
  readonly epoch: number;
  /** The overlay's prefixes, from the CA's name constraints. */
  readonly overlay: readonly Prefix[];
  /** `wall`: ms since 1970. */
  readonly verifyCertificate: (der: Uint8Array, wall: number) => CertificateCheck;
  /** Ed25519 over exactly `message`. */
  readonly verifySignature: (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean;
  readonly tuning?: Partial<RouterTuning>;
}

type RecordMessage = Extract<ControlMessage, { type: 'record' }>;
type CertificateMessage = Extract<ControlMessage, { type: 'certificate' }>;

export class Router {
  readonly db: LinkStateDatabase;
  readonly counters: RouterCounters = {
    recordsOriginated: 0,
    recordsInstalled: 0,
    duplicates: 0,
    deferred: 0,
    pathRuns: 0,
    drops: {},
  };
  private readonly self: number;
  private readonly tuning: RouterTuning;
  private readonly links: OwnLinks;
  private readonly wanted: Wanted;
  private readonly table: RoutingTable;
  private readonly neighbours = new Map<number, Neighbour>();
  /** The same, and those whose link went down of late: nobody gets a new budget by coming again. */
  private readonly budgets = new Map<number, Neighbour>();
  /** Latest record of an origin, and from whom, that waits for its certificate. */
  private readonly waiting = new Map<number, { message: RecordMessage; peer: number }>();
  /** Verified records that wait for their origin's rate limit. */
  private readonly deferred = new Map<number, { entry: RecordEntry; peer: number }>();
  /** Certificates of names that others hold, by node id. */
  private readonly rivals = new Map<number, { der: Uint8Array; message: Uint8Array; peer: number }>();
  /** Names that two nodes have: whether it is this node's own, and when that was seen last, µs. */
  private readonly contested = new Map<string, { own: boolean; seen: number }>();
  private readonly originRates = new Map<number, TokenBucket>();
  private readonly ownRate: TokenBucket;
  private version: Version;
  /** Named timers, µs; Infinity where unarmed. */
  private readonly due = {
    originate: Infinity,
    refresh: Infinity,
    paths: Infinity,
    sweep: Infinity,
    deferred: Infinity,
  };
  private lastPathRun = -Infinity;
  private publishedAt = -Infinity;
  private mustPublish = false;
  /** What the record says for a mesh that forms itself. */
  private forming: Forming | undefined;
  /** The next record tells of a link that is gone. */
  private mustWarn = false;
  private stopped = false;
  private actions: RouterAction[] = [];

  /** Throws where this node's own certificate does not verify: the shell checks it first and says why. */
  constructor(
    private readonly options: RouterOptions,
    now: number,
    wall: number,
  ) {
    const { self, epoch, overlay } = options;
    this.self = self.nodeId;
    this.tuning = { ...DEFAULT_TUNING, ...options.tuning };
    this.links = new OwnLinks(this.tuning);
    const { maxNodes, lifetimeSeconds, patienceMicros, ownBurst, ownIntervalMicros } = this.tuning;
    this.db = new LinkStateDatabase({ maxNodes, orphanMicros: lifetimeSeconds * 1e6 });
    this.wanted = new Wanted({ maxOrigins: maxNodes, patienceMicros });
    this.table = new RoutingTable(this.self, overlay);
    this.ownRate = new TokenBucket(ownBurst, ownIntervalMicros, now);
    this.version = { epoch: epoch >>> 0, sequence: 0 };
    const check = options.verifyCertificate(self.certificate, wall);
    if (!check.ok) throw new Error(`own certificate refused: ${check.reason}`);
    if (check.certificate.nodeId !== this.self) throw new Error('own certificate names another node');
    this.db.installCertificate(now, check.certificate, self.certificate);
    this.due.originate = now;
    this.due.sweep = now + this.tuning.sweepMicros;
  }

  /** The epoch in force: the one given, or a later one where the mesh held a newer record of this node. */
  get epoch(): number {
    return this.version.epoch;
  }

  /** Names that two nodes have, and prefixes that two certificates claim: what `causeway status` warns of. */
  get troubles(): readonly string[] {
    const names = [...this.contested].map(([name, { own }]) =>
      own
        ? `another node has this node's name, ${name}, with a certificate of its own; the older certificate counts`
        : `two nodes have the name ${name}; the one with the older certificate counts`,
    );
    return [...names, ...this.table.troubles];
  }

  /** As of the last shortest-path run, ascending by node id, this node included. */
  get nodes(): readonly TableNode[] {
    return this.table.nodes;
  }

  /** What the last shortest-path run went by; undefined before the first. */
  get measuredLinks(): MeasuredLinks | undefined {
    return this.table.links;
  }

  /** A link came up, or its control stream began anew. `rtt` in µs. */
  linkUp(now: number, peer: number, rtt: number): RouterAction[] {
    if (this.stopped) return [];
    this.wanted.forget(now, peer);
    const neighbour = this.budgets.get(peer) ?? new Neighbour(now, this.tuning.maxNodes);
    this.budgets.set(peer, neighbour);
    this.neighbours.set(peer, neighbour);
    this.links.up(now, peer, rtt);
    this.send(peer, encodeCertificate(this.self, this.options.self.certificate));
    for (const bytes of encodeDigest(this.db.digest())) this.send(peer, bytes);
    this.due.originate = Math.min(this.due.originate, this.gathered(now));
    this.schedulePaths(now);
    return this.drain(now);
  }

  linkDown(now: number, peer: number): RouterAction[] {
    if (!this.links.down(now, peer)) return [];
    this.neighbours.delete(peer);
    this.wanted.forget(now, peer);
    this.due.originate = now;
    this.mustWarn = true;
    this.schedulePaths(now, 0);
    return this.drain(now);
  }

  /** What is known of a link, smoothed by whoever measured it. Cheap where it is no news. */
  linkMeasured(now: number, peer: number, measure: LinkMeasure): RouterAction[] {
    if (this.links.measured(now, peer, measure)) {
      this.due.originate = now;
      this.schedulePaths(now);
    }
    return this.drain(now);
  }

  /** What this node publishes for a mesh that forms itself; undefined: nothing. */
  publishForming(now: number, forming: Forming | undefined): RouterAction[] {
    if (this.stopped || sameForming(forming, this.forming)) return [];
    this.forming = forming;
    this.mustPublish = true;
    this.due.originate = Math.min(this.due.originate, now + this.tuning.gatherMicros);
    return this.drain(now);
  }

  /** A message of `peer`'s control stream. `wall`: ms since 1970. `bytes` are the router's from then on. */
  message(now: number, wall: number, peer: number, bytes: Uint8Array): RouterAction[] {
    const neighbour = this.neighbours.get(peer);
    const decoded = decodeMessage(bytes);
    if (this.stopped) return [];
    if (neighbour === undefined) this.drop('no-link', peer);
    else if (!decoded.ok) this.drop(decoded.reason, peer);
    else this.dispatch(now, wall, peer, neighbour, decoded.value);
    return this.drain(now);
  }

  /** µs when `timeout` is to be called; Infinity for never. */
  nextTimeout(): number {
    if (this.stopped) return Infinity;
    const { originate, refresh, paths, sweep, deferred } = this.due;
    return Math.min(
      originate,
      refresh,
      paths,
      sweep,
      deferred,
      this.wanted.nextTimeout(),
      this.links.nextTimeout(),
    );
  }

  /** Safe to call early. `wall`: ms since 1970. */
  timeout(now: number, wall: number): RouterAction[] {
    if (this.stopped) return [];
    if (this.due.sweep <= now) this.sweep(now, wall);
    if (this.due.deferred <= now) this.releaseDeferred(now);
    if (this.due.refresh <= now) this.renew(now);
    if (this.links.timeout(now)) this.due.originate = now;
    for (const [peer, rows] of this.wanted.overdue(now)) this.request(peer, rows);
    return this.drain(now);
  }

  /** Says farewell: a last record without links. Nothing comes after it. */
  stop(now: number): RouterAction[] {
    if (this.stopped) return [];
    for (const peer of this.neighbours.keys()) this.links.down(now, peer);
    this.publish(now, this.tuning.farewellSeconds);
    this.stopped = true;
    const actions = this.actions;
    this.actions = [];
    return actions;
  }

  private dispatch(
    now: number,
    wall: number,
    peer: number,
    neighbour: Neighbour,
    message: ControlMessage,
  ): void {
    switch (message.type) {
      case 'certificate':
        return this.onCertificate(now, wall, peer, neighbour, message);
      case 'record':
        return this.onRecord(now, wall, peer, neighbour, message);
      case 'digest':
        return this.onDigest(now, peer, message.rows);
      case 'request':
        return this.onRequest(now, peer, neighbour, message.rows);
      default:
        message satisfies never;
    }
  }

  private onCertificate(
    now: number,
    wall: number,
    peer: number,
    neighbour: Neighbour,
    { nodeId, der, whole }: CertificateMessage,
  ): void {
    const held = this.db.certificates.get(nodeId);
    if (held !== undefined && sameBytes(held.der, der)) {
      this.counters.duplicates++;
      return this.wanted.satisfy(nodeId, WANT.certificate);
    }
    if (!neighbour.trusted(now)) return this.drop('neighbour-distrusted', peer);
    if (!neighbour.examine(now)) return this.drop('neighbour-flood', peer);
    const check = this.options.verifyCertificate(der, wall);
    if (!check.ok) {
      neighbour.fault(now, 'certificate');
      return this.drop('certificate-refused', peer, check.reason);
    }
    const { certificate } = check;
    if (certificate.nodeId !== nodeId || nodeId === 0) return this.drop('certificate-origin', peer);
    this.wanted.satisfy(nodeId, WANT.certificate);
    if (nodeId === this.self) return this.onOwnCertificate(now, certificate, peer);
    if (held !== undefined && this.isRival(held.certificate, certificate)) {
      this.noteConflict(now, certificate.name, false);
      if (certificate.notBefore > held.certificate.notBefore) {
        this.rivals.set(nodeId, { der, message: whole, peer });
        return this.drop('name-held', peer);
      }
    }
    const verdict = this.db.installCertificate(now, certificate, der);
    if (verdict.startsWith('collision')) {
      const names = [held!.certificate.name, certificate.name];
      const [kept, refused] = verdict === 'collision-refused' ? names : names.reverse();
      this.actions.push({ type: 'notice', notice: { kind: 'id-collision', nodeId, kept, refused } });
    }
    if (verdict === 'full') return this.drop('too-many-nodes', peer);
    if (verdict === 'collision-refused') return this.drop('certificate-collision', peer);
    if (verdict === 'same' || verdict === 'older') return;
    this.table.certificatesChanged();
    this.schedulePaths(now);
    this.flood(whole, peer);
    this.retryWaiting(now, wall, nodeId, neighbour);
  }

  /** Another of the same name, with a key of its own, while the holder is there. */
  private isRival(held: RouteCertificate, other: RouteCertificate): boolean {
    const sameKey = sameBytes(held.publicKey, other.publicKey);
    return held.name === other.name && !sameKey && this.table.reaches(held.nodeId);
  }

  /** Said once for each name, until its holder has left or nothing was heard of the other for long. */
  private noteConflict(now: number, name: string, own: boolean): void {
    const known = this.contested.has(name);
    this.contested.set(name, { own, seen: now });
    if (known) return;
    this.actions.push({ type: 'notice', notice: { kind: 'name-conflict', name, own } });
  }

  /** Whose holder has left, falls to who claimed it too. */
  private releaseNames(now: number, wall: number): void {
    const forgotten = now - this.tuning.lifetimeSeconds * 1e6;
    for (const [name, { seen }] of this.contested) if (seen < forgotten) this.contested.delete(name);
    for (const [nodeId, { message, der, peer }] of this.rivals) {
      if (this.table.reaches(nodeId)) continue;
      this.rivals.delete(nodeId);
      this.contested.delete(this.db.certificates.get(nodeId)?.certificate.name ?? '');
      const neighbour = this.neighbours.get(peer);
      if (neighbour)
        this.onCertificate(now, wall, peer, neighbour, { type: 'certificate', nodeId, der, whole: message });
    }
  }

  private onOwnCertificate(now: number, certificate: RouteCertificate, peer: number): void {
    const own = this.ownCertificate().certificate;
    if (certificate.name !== own.name) {
      const notice = {
        kind: 'id-collision',
        nodeId: this.self,
        kept: own.name,
        refused: certificate.name,
      } as const;
      this.actions.push({ type: 'notice', notice });
      return this.drop('certificate-collision', peer);
    }
    if (!sameBytes(certificate.publicKey, own.publicKey)) return this.noteConflict(now, own.name, true);
    if (certificate.notBefore <= own.notBefore) return;
    this.actions.push({ type: 'notice', notice: { kind: 'own-certificate-superseded' } });
  }

  private onRecord(
    now: number,
    wall: number,
    peer: number,
    neighbour: Neighbour,
    message: RecordMessage,
  ): void {
    const { origin, ...version } = peekVersion(message.record);
    if (origin === this.self) return this.onOwnRecord(now, peer, neighbour, message, version);
    const verdict = this.db.judge(origin, version, message.record);
    if (verdict !== 'changed') {
      if (verdict === 'same') this.counters.duplicates++;
      else this.sendRecord(now, peer, this.db.records.get(origin)!);
      return this.wanted.satisfy(origin, WANT.record);
    }
    const deferred = this.deferred.get(origin);
    if (deferred !== undefined && compareVersions(deferred.entry.record, version) >= 0) return;
    const decoded = decodeRecord(message.record);
    if (!decoded.ok) return this.drop(decoded.reason, peer);
    if (version.epoch > wall / 1000 + this.tuning.aheadSeconds) return this.drop('record-future', peer);
    if (!neighbour.examine(now)) {
      this.wanted.offer(now, { origin, ...version, what: WANT.record }, peer); // and not asked for at once
      return this.drop('neighbour-flood', peer);
    }
    const certificate = this.db.certificates.get(origin);
    if (certificate === undefined || !sameBytes(certificate.hash, decoded.value.certificate)) {
      return this.await(now, peer, decoded.value, message);
    }
    this.takeRecord(now, peer, neighbour, decoded.value, message, certificate);
  }

  /** Steps 3 to 5. */
  private takeRecord(
    now: number,
    peer: number,
    neighbour: Neighbour,
    record: LinkStateRecord,
    message: RecordMessage,
    { certificate }: CertificateEntry,
  ): void {
    if (!this.verify(now, peer, neighbour, certificate.publicKey, message)) return;
    this.wanted.satisfy(record.origin, WANT.record);
    const lifetime = Math.min(record.lifetime, this.tuning.lifetimeSeconds) * 1e6;
    const originated = now - message.age * 1000;
    if (originated + lifetime <= now) return this.drop('record-aged', peer);
    const entry = {
      record,
      bytes: message.record,
      signature: message.signature,
      originated,
      expires: originated + lifetime,
    };
    if (this.originRate(now, record.origin).take(now)) return this.install(now, entry, peer, message.whole);
    this.counters.deferred++;
    this.deferred.set(record.origin, { entry, peer });
    this.due.deferred = Math.min(this.due.deferred, this.originRate(now, record.origin).ready(now));
  }

  private verify(
    now: number,
    peer: number,
    neighbour: Neighbour,
    key: Uint8Array,
    message: RecordMessage,
  ): boolean {
    if (!neighbour.trusted(now)) {
      this.drop('neighbour-distrusted', peer);
      return false;
    }
    if (this.options.verifySignature(key, signedBytes(message.record), message.signature)) return true;
    neighbour.fault(now, 'signature');
    this.drop('signature', peer);
    return false;
  }

  /** `message`: the entry as a message, of the age that it has now. */
  private install(now: number, entry: RecordEntry, from: number, message: Uint8Array): void {
    const { origin } = entry.record;
    const wasLinked = this.isLinked(origin);
    const verdict = this.db.installRecord(entry);
    if (verdict !== 'changed' && verdict !== 'refreshed') return;
    this.counters.recordsInstalled++;
    if (wasLinked && this.neighbours.has(origin) && !this.isLinked(origin))
      this.actions.push({ type: 'suspect', peer: origin });
    this.flood(message, from);
    if (verdict === 'changed') this.schedulePaths(now);
  }

  /** Whether a node's record lists its link with this one. */
  private isLinked(origin: number): boolean {
    const links = this.db.records.get(origin)?.record.links;
    return links?.some(({ neighbour }) => neighbour === this.self) === true;
  }

  /**
   * A record of this node comes back. Where it is newer than what this run has made, it is of an earlier run with a later
   * clock, and the next record jumps past it; only one that this node's key signed may cause that.
   */
  private onOwnRecord(
    now: number,
    peer: number,
    neighbour: Neighbour,
    message: RecordMessage,
    version: Version,
  ): void {
    const held = this.db.records.get(this.self);
    this.wanted.satisfy(this.self, WANT.record);
    const order = compareVersions(version, this.version);
    if (order < 0) {
      if (held !== undefined) this.sendRecord(now, peer, held);
      return;
    }
    if (order === 0 && held !== undefined && sameBytes(held.bytes, message.record)) return;
    const decoded = decodeRecord(message.record);
    if (!decoded.ok) return this.drop(decoded.reason, peer);
    if (!sameBytes(decoded.value.certificate, this.ownCertificate().hash))
      return this.drop('name-held', peer);
    if (!this.verify(now, peer, neighbour, this.ownCertificate().certificate.publicKey, message)) return;
    this.version = version;
    this.actions.push({ type: 'notice', notice: { kind: 'epoch-overtaken', epoch: version.epoch } });
    this.renew(now);
  }

  /** Keeps the record until its certificate comes, which its sender has. */
  private await(now: number, peer: number, record: LinkStateRecord, message: RecordMessage): void {
    const { origin, epoch, sequence } = record;
    const before = this.waiting.get(origin);
    if (before !== undefined && compareVersions(peekVersion(before.message.record), record) > 0) return;
    this.waiting.delete(origin);
    if (this.waiting.size >= this.tuning.maxWaiting) {
      const [oldest, { peer: sender }] = this.waiting.entries().next().value!;
      this.waiting.delete(oldest);
      this.drop('no-certificate', sender);
    }
    this.waiting.set(origin, { message, peer });
    this.want(now, peer, [{ origin, epoch, sequence, what: WANT.certificate }]);
  }

  /** Its certificate has come, from `neighbour`. */
  private retryWaiting(now: number, wall: number, origin: number, neighbour: Neighbour): void {
    const waiting = this.waiting.get(origin);
    if (waiting === undefined) return;
    this.waiting.delete(origin);
    this.onRecord(now, wall, waiting.peer, this.neighbours.get(waiting.peer) ?? neighbour, waiting.message);
  }

  /** Asks for what the neighbour has and this node lacks. The neighbour does the same with this node's digest. */
  private onDigest(now: number, peer: number, rows: readonly DigestRow[]): void {
    const lacking = rows.filter((row) => row.origin !== 0 && this.isNewer(row));
    const wants = lacking.map((row) => {
      const certificate = this.db.certificates.get(row.origin);
      const known = certificate !== undefined && readU32(certificate.hash, 0) === row.certificate;
      return { ...row, what: known ? WANT.record : WANT.record | WANT.certificate };
    });
    this.want(now, peer, wants);
  }

  private isNewer(row: DigestRow): boolean {
    const held = row.origin === this.self ? this.version : this.db.records.get(row.origin)?.record;
    return held === undefined || compareVersions(row, held) > 0;
  }

  private want(now: number, peer: number, wants: readonly (RequestRow & Version)[]): void {
    this.request(
      peer,
      wants.filter((want) => this.wanted.offer(now, want, peer)),
    );
  }

  private request(peer: number, rows: readonly RequestRow[]): void {
    if (rows.length === 0) return;
    for (const bytes of encodeRequest(rows)) this.send(peer, bytes);
  }

  private onRequest(now: number, peer: number, neighbour: Neighbour, rows: readonly RequestRow[]): void {
    for (const { origin, what } of rows) {
      if (!neighbour.serve(now)) return this.drop('request-limit', peer);
      const certificate = this.db.certificates.get(origin);
      const record = this.db.records.get(origin);
      if ((what & WANT.certificate) !== 0 && certificate)
        this.send(peer, encodeCertificate(origin, certificate.der));
      if ((what & WANT.record) !== 0 && record) this.sendRecord(now, peer, record);
    }
  }

  /** A record is to be made even if it says nothing new. */
  private renew(now: number): void {
    this.due.refresh = Infinity;
    this.due.originate = now;
    this.mustPublish = true;
  }

  /** Makes a record where the links differ from the last one's, or where `renew` asked for it, as often as the rate allows. */
  private originate(now: number): void {
    this.due.originate = Infinity;
    const held = this.db.records.get(this.self);
    if (!this.mustPublish && held !== undefined && sameLinks(held.record.links, this.links.list())) return;
    // One token is kept for a link that goes: packets are lost, or loop, until others know.
    const least = this.mustWarn ? 1 : Math.min(2, this.tuning.ownBurst);
    if (this.ownRate.has(now, least) && this.ownRate.take(now))
      this.publish(now, this.tuning.lifetimeSeconds);
    else this.due.originate = this.ownRate.ready(now, least);
  }

  /** When good news is told: soon, but the larger the mesh the fewer records are made of it, while all links of a node, or all of a mesh, come up. */
  private gathered(now: number): number {
    const { gatherMicros, gatherPerNodeMicros } = this.tuning;
    const spacing = gatherMicros + gatherPerNodeMicros * this.db.certificates.size;
    return Math.max(now + gatherMicros, this.publishedAt + spacing);
  }

  private publish(now: number, lifetime: number): void {
    const version = nextVersion(this.version);
    if (version === undefined) return;
    this.version = version;
    this.publishedAt = now;
    this.mustPublish = this.mustWarn = false;
    const certificate = this.ownCertificate().hash;
    const { forming } = this;
    const links = this.links.list();
    const record = {
      origin: this.self,
      ...version,
      lifetime,
      certificate,
      links,
      ...(forming && { forming }),
    };
    const bytes = encodeRecord(record);
    const signature = this.options.self.sign(signedBytes(bytes));
    this.counters.recordsOriginated++;
    this.due.refresh = now + this.tuning.refreshMicros;
    const entry = { record, bytes, signature, originated: now, expires: Infinity };
    this.install(now, entry, this.self, messageOf(entry, now));
  }

  private releaseDeferred(now: number): void {
    this.due.deferred = Infinity;
    for (const [origin, { entry, peer }] of this.deferred) {
      const rate = this.originRate(now, origin);
      if (rate.take(now)) {
        this.deferred.delete(origin);
        this.install(now, entry, peer, messageOf(entry, now));
      } else {
        this.due.deferred = Math.min(this.due.deferred, rate.ready(now));
      }
    }
  }

  private sweep(now: number, wall: number): void {
    this.due.sweep = now + this.tuning.sweepMicros;
    for (const peer of this.budgets.keys()) if (!this.neighbours.has(peer)) this.budgets.delete(peer);
    this.releaseNames(now, wall);
    const gone = this.db.expire(now, wall, this.self);
    for (const origin of gone) {
      this.originRates.delete(origin);
      this.deferred.delete(origin);
    }
    if (gone.length === 0) return;
    this.table.certificatesChanged();
    this.schedulePaths(now);
  }

  private runPaths(now: number): void {
    this.due.paths = Infinity;
    this.lastPathRun = now;
    this.counters.pathRuns++;
    const { snapshot, notices } = this.table.recompute(this.db, this.links.list());
    for (const notice of notices) this.actions.push({ type: 'notice', notice });
    this.actions.push({ type: 'tables', snapshot });
  }

  /** Soon where it has been quiet; not so often that the runs fill the time. */
  private schedulePaths(now: number, delay = this.tuning.pathDelayMicros): void {
    const { pathHoldMicros, pathHoldPerNodeMicros } = this.tuning;
    const hold = pathHoldMicros + pathHoldPerNodeMicros * this.db.certificates.size;
    this.due.paths = Math.min(this.due.paths, Math.max(now + delay, this.lastPathRun + hold));
  }

  private originRate(now: number, origin: number): TokenBucket {
    let rate = this.originRates.get(origin);
    if (rate === undefined) {
      rate = new TokenBucket(this.tuning.originBurst, this.tuning.originIntervalMicros, now);
      this.originRates.set(origin, rate);
    }
    return rate;
  }

  private ownCertificate(): CertificateEntry {
    return this.db.certificates.get(this.self)!;
  }

  private flood(bytes: Uint8Array, except: number): void {
    for (const peer of this.neighbours.keys()) {
      if (peer !== except) this.send(peer, bytes);
    }
  }

  private sendRecord(now: number, peer: number, entry: RecordEntry): void {
    this.send(peer, messageOf(entry, now));
  }

  private send(peer: number, bytes: Uint8Array): void {
    this.actions.push({ type: 'send', peer, bytes });
  }

  private drop(reason: RouterDrop, peer: number, detail?: string): void {
    this.counters.drops[reason] = (this.counters.drops[reason] ?? 0) + 1;
    this.actions.push({ type: 'drop', reason, peer, ...(detail === undefined ? {} : { detail }) });
  }

  /** Does what is due at once, and hands out what has gathered. */
  private drain(now: number): RouterAction[] {
    if (this.due.originate <= now) this.originate(now);
    if (this.due.paths <= now) this.runPaths(now);
    const actions = this.actions;
    this.actions = [];
    return actions;
  }
}

function messageOf(entry: RecordEntry, now: number): Uint8Array {
  const age = Math.max(0, Math.round((now - entry.originated) / 1000));
  return encodeRecordMessage(age, entry.bytes, entry.signature);
}
