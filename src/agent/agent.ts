/**
 * The main thread's heart: wires the handshake machine and the router to the forwarding worker and executes what they return. It decides
 * nothing about packets; whatever may take milliseconds (signatures, shortest paths) happens here.
 */
import type { Logger } from 'pino';
import { type Action, Handshaker, keyPairOf, noiseCrypto, type Verified } from '../crypto/handshake/index.js';
import { type NodeCertificate, signRaw, verifyRaw } from '../crypto/identity/index.js';
import type { CertificateFault } from '../crypto/handshake/index.js';
import type { Cipher } from '../io/ports.js';
import { addressTable, destinationsOf } from './destinations.js';
import type { KnownNodes } from './known-nodes.js';
import { asksWhoSends } from '../intercept/access.js';
import type { Refusal } from '../intercept/refusals.js';
import { type Destinations, type ManyQuestion, senderGroup, type SenderQuestion } from '../tun/index.js';
import { userName } from './config/accounts.js';
import { cgroupsOf, type NodeGroups, nodeGroupsOf } from '../intercept/rules.js';
import { TokenBucket } from '../rate-limit/token-bucket.js';
import type { LinkMeasure } from '../overlay/route/measure.js';
import { isSignal } from '../overlay/peering/signals.js';
import { Redundancy } from '../overlay/route/redundancy.js';
import { Router } from '../overlay/route/router.js';
import type { RouterAction, RouterNotice } from '../overlay/route/actions.js';
import type { CloseReason } from '../overlay/wire/frames.js';
import { LANES } from '../overlay/wire/lanes.js';
import type { PeerStatus } from '../control/api.js';
import { parseAddress, prefixContains } from '../crypto/identity/address.js';
import type { Config, Identity } from './config/index.js';
import { dispatch, type Handlers } from './dispatch.js';
import { type Endpoint, endpointHost, endpointKey } from './endpoint.js';
import { type FromWorker, OUTER_DSCP_COPY, type ToWorker } from './messages.js';
import { MeshFormer } from './mesh-former.js';
import { CAPTURE_MARK } from './host-tuning.js';
import { groupMembers } from './node-groups.js';
import { type Peer, PeerBook } from './peers.js';

export interface Clock {
  /** µs of CLOCK_BOOTTIME. */
  now(): number;
  /** ms since 1970. */
  wall(): number;
  /** Calls back `delayMicros` from now, on a later turn. Returns what cancels it. */
  schedule(delayMicros: number, callback: () => void): () => void;
}

export interface AgentParts {
  config: Config;
  identity: Identity;
  clock: Clock;
  log: Logger;
  post: (message: ToWorker, transfer?: ArrayBuffer[]) => void;
  ciphers: Cipher[];
  /** Unpredictable bytes, for keys too. */
  random: (size: number) => Uint8Array;
  /** This run's boot epoch, 32 bits, greater from run to run. */
  epoch: number;
  /** What leads into the device beyond the overlay's prefixes. */
  setRouted: (to: Destinations) => void;
  /** Other nodes that were known before any link; absent where their real addresses aren't the overlay's. */
  known?: Pick<KnownNodes, 'absent'>;
  /** Rules have changed: what was decided for the kernel to do by itself is to be asked again. */
  forgetDirect?: () => void;
  /** The host's addresses that peers may try, without the overlay's. */
  hostAddresses: () => readonly string[];
  /** Whether somebody asks who sends what. */
  setSenders?: (question: SenderQuestion | undefined) => void;
  /** The rules, for what goes to many hosts; absent where not everything is captured. */
  setMany?: (question: ManyQuestion) => void;
}

export const REFUSED_LINE = 'refused to a user of this host';
const SENDERS_UNKNOWN =
  'who sends what is unknown: rules about users, groups and cgroups match nothing, and where access is limited it is refused';

/** µs; so that nothing relies on a timer of days. */
const LONGEST_WAIT = 60_000_000;

const ignore = (): void => undefined;

type EchoListener = (message: Extract<FromWorker, { type: 'echo-reply' | 'echo-error' }>) => void;

export class Agent {
  readonly peers = new PeerBook();
  readonly router: Router;
  /** The links that redundant flows take. */
  readonly redundancy: Redundancy;
  readonly node: NodeCertificate;
  /** Drops counted on this thread, by reason. */
  readonly drops: Record<string, number> = {};
  private readonly handshaker: Handshaker<NodeCertificate, Endpoint>;
  private readonly indexes = new Set<number>();
  private readonly echoes = new Map<number, EchoListener>();
  private readonly former: MeshFormer;
  private cancelTimer: () => void = () => undefined;
  private routed = '';
  /** The groups of nodes that the worker knows, as JSON. */
  private groups = '{}';
  /** Log lines that a stranger can cause. */
  private readonly complaints: TokenBucket;
  private stopping = false;
  private readonly handlers: Handlers<FromWorker> = {
    datagram: ({ bytes, endpoint }, now) =>
      this.perform(this.handshaker.datagram(now, this.parts.clock.wall(), bytes, endpoint)),
    confirmed: ({ index }, now) => this.perform(this.handshaker.confirmed(now, index)),
    released: ({ index }) => this.indexes.delete(index),
    up: ({ peer, rttMicros }) => this.linkUp(peer, rttMicros),
    down: ({ peer, reason }) => this.linkDown(peer, reason),
    closed: ({ peer, reason }) => this.closed(peer, reason),
    measured: ({ peer, measure }) => this.measured(peer, measure),
    moved: ({ peer, endpoint }) => this.moved(peer, endpoint),
    usage: (message, now) => this.former.usage(now, message),
    message: ({ peer, bytes }) => this.message(peer, bytes),
    'stream-lost': ({ peer }) => this.resynchronise(peer),
    'route-wanted': ({ node }, now) => {
      this.redundancy.want(now, node);
      this.spread();
    },
    rekey: ({ peer, endpoint }) => this.rekey(peer, endpoint),
    'echo-reply': (message) => this.echoes.get(message.reply.id)?.(message),
    'echo-error': (message) => this.echoes.get(message.id)?.(message),
    refused: ({ refusal }) => this.noteRefused(refusal),
    'senders-unknown': ({ message }) => this.parts.log.error({ error: message }, SENDERS_UNKNOWN),
    // Those that ask the worker hear them.
    ready: ignore,
    fatal: ignore,
    report: ignore,
    flows: ignore,
    'flow-set': ignore,
    captured: ignore,
    stopped: ignore,
  };

  constructor(private readonly parts: AgentParts) {
    const { identity, clock, ciphers, epoch, random } = parts;
    this.complaints = new TokenBucket(10, 1_000_000, clock.now());
    this.node = identity.verified.certificate;
    const sign = (message: Uint8Array) => signRaw(identity.key, message);
    this.handshaker = new Handshaker<NodeCertificate, Endpoint>({
      crypto: noiseCrypto,
      staticKey: keyPairOf(random(32)),
      identity: { certificate: this.node.der, sign },
      verify: (der, wall) => this.judge(der, wall),
      networkKeys: identity.trust.networkKeys,
      random,
      ephemeral: () => keyPairOf(random(32)),
      ciphers,
      features: 0,
      lanes: LANES,
      allocateIndex: () => this.allocateIndex(),
      releaseIndex: (index) => this.indexes.delete(index),
      endpointKey,
      endpointHost,
    });
    this.redundancy = new Redundancy(this.node.nodeId);
    this.router = new Router(
      {
        self: { nodeId: this.node.nodeId, certificate: this.node.der, sign },
        epoch,
        overlay: identity.trust.overlayPrefixes,
        verifyCertificate: (der, wall) => identity.trust.verify(der, wall),
        verifySignature: verifyRaw,
      },
      clock.now(),
      clock.wall(),
    );
    this.former = this.createFormer();
  }

  /** Begins to reach for the configured peers. */
  start(): void {
    const { config } = this.parts;
    this.configurePeers(config);
    this.configureData(config);
    this.former.configure(this.now(), config);
    this.performRouting(this.router.timeout(this.now(), this.parts.clock.wall()));
    this.updateRouted();
    this.rearm();
  }

  /** Takes over the parts of a new configuration that need no restart. */
  reconfigure(config: Config): void {
    this.parts.config = config;
    this.configurePeers(config);
    this.configureData(config);
    this.former.configure(this.now(), config);
    this.parts.forgetDirect?.();
    this.rearm();
  }

  /** The host's interfaces or addresses have changed (see the message of that name). */
  hostChanged(running: Uint32Array[]): void {
    this.parts.post({ type: 'host-changed', running });
  }

  /** Says farewell to the mesh; the worker sends it before it closes. */
  stop(): void {
    this.stopping = true;
    this.cancelTimer();
    this.performRouting(this.router.stop(this.now()));
    this.handshaker.close();
  }

  /** A message of the forwarding worker. */
  receive(message: FromWorker): void {
    if (this.stopping) return;
    dispatch(this.handlers, message, this.now());
    this.rearm();
  }

  /** At most once a minute for each user and kind. */
  private noteRefused({ user, what, count }: Refusal): void {
    this.parts.log.warn({ user: userName(user), what, count }, REFUSED_LINE);
  }

  /** Hears the answers to the echoes with this identifier, until the returned function is called. */
  listenEchoes(id: number, listener: EchoListener): () => void {
    this.echoes.set(id, listener);
    return () => this.echoes.delete(id);
  }

  private now(): number {
    return this.parts.clock.now();
  }

  /** What the worker is to do with packets. */
  private configureData({ links }: Config): void {
    const { post } = this.parts;
    const { intercept, access, tun } = this.parts.config;
    const asks = asksWhoSends(intercept.rules, access);
    const capture = intercept.mode === 'full' ? CAPTURE_MARK : undefined;
    const cgroups = cgroupsOf(intercept.rules);
    this.parts.setSenders?.(asks ? { mtu: tun.mtu, capture, cgroups } : undefined);
    this.postRules(this.nodeGroups());
    const dscp = links.outerDscp === 'copy' ? OUTER_DSCP_COPY : links.outerDscp;
    post({ type: 'outer-dscp', dscp });
    post({ type: 'split', splits: links.split });
  }

  /** Who is in the groups of nodes that rules name, as far as this node knows. */
  private nodeGroups(): NodeGroups {
    const { rules, inbound = [] } = this.parts.config.intercept;
    return groupMembers(nodeGroupsOf([...rules, ...inbound]), this.router.nodes);
  }

  private postRules(groups: NodeGroups): void {
    const { intercept, services, access, tun } = this.parts.config;
    const { rules, inbound } = intercept;
    this.groups = JSON.stringify(groups);
    this.parts.setMany?.({ rules, self: this.node.nodeId, groups });
    this.parts.post({
      type: 'rules',
      rules,
      ...(inbound && { inbound }),
      defaults: services.default,
      groups,
      access,
      ...(asksWhoSends(rules, access) && { senderGroup: senderGroup(tun.name) }),
    });
  }

  /** Certificates came or went: rules may mean other nodes. */
  private updateGroups(): void {
    const groups = this.nodeGroups();
    if (JSON.stringify(groups) !== this.groups) this.postRules(groups);
  }

  // --- peers ---

  private configurePeers(config: Config): void {
    const { added, dropped } = this.peers.configure(this.now(), config.peers);
    for (const peer of dropped) {
      this.handshaker.cancel({ name: peer.name, endpoints: peer.endpoints });
      this.forget(peer.nodeId);
      this.parts.log.info({ peer: peer.name }, 'peer removed from the configuration');
    }
    for (const peer of added) if (peer.state !== 'connected') this.seek(peer);
  }

  /** Ends a link, and whatever the worker knows of the peer. */
  private forget(nodeId: number, reason?: CloseReason): void {
    const now = this.now();
    this.parts.post({ type: 'forget', peer: nodeId, ...(reason && { reason }) });
    this.performRouting(this.router.linkDown(now, nodeId));
    this.former.linkDown(now, nodeId);
    this.former.forget(nodeId);
  }

  /** Goes for a session with a peer, at its configured endpoints, where it was heard last, and at those that it publishes. */
  private seek(peer: Peer, published: readonly Endpoint[] = []): void {
    const endpoints = [...peer.endpoints];
    for (const endpoint of published)
      if (!endpoints.some((known) => sameEndpoint(known, endpoint))) endpoints.push(endpoint);
    if (peer.configured && peer.endpoint && !endpoints.some((known) => sameEndpoint(known, peer.endpoint!))) {
      endpoints.push(peer.endpoint);
    }
    if (endpoints.length === 0) {
      this.handshaker.cancel({ name: peer.name, endpoints }); // a rekey that was under way
      return;
    }
    this.perform(this.handshaker.connect(this.now(), { name: peer.name, endpoints }));
  }

  private rekey(nodeId: number, endpoint: Endpoint): void {
    const peer = this.peers.get(nodeId);
    // Who only called, and is gone, would be sought for ever.
    if (!peer || (!peer.configured && peer.state !== 'connected')) return;
    const { host, port } = endpoint;
    this.perform(this.handshaker.connect(this.now(), { name: peer.name, endpoints: [{ host, port }] }));
  }

  private linkUp(nodeId: number, rttMicros: number): void {
    const peer = this.peers.get(nodeId);
    if (!peer) return;
    peer.rttMicros = rttMicros;
    this.peers.change(this.now(), peer, 'connected');
    this.parts.log.info({ peer: peer.name, rttMicros }, 'link up');
    this.performRouting(this.router.linkUp(this.now(), nodeId, rttMicros));
    this.former.linkUp(this.now(), nodeId);
  }

  private linkDown(nodeId: number, reason: string): void {
    const peer = this.peers.get(nodeId);
    this.performRouting(this.router.linkDown(this.now(), nodeId));
    this.former.linkDown(this.now(), nodeId);
    if (!peer) return;
    this.parts.log.warn({ peer: peer.name, reason }, 'link down');
    this.peers.change(this.now(), peer, peer.configured ? 'connecting' : 'waiting', `link down: ${reason}`);
    this.seek(peer);
  }

  /** The peer said goodbye: its sessions are worth nothing any more. */
  private closed(nodeId: number, reason: CloseReason): void {
    this.parts.post({ type: 'forget', peer: nodeId });
    this.former.forget(nodeId);
    if (reason === 'unused') this.former.letGo(this.now(), nodeId);
    const peer = this.peers.get(nodeId);
    if (!peer) return;
    const why = reason === 'unused' ? 'the peer let the link go: it carried nothing' : 'the peer stopped';
    this.peers.change(this.now(), peer, peer.configured ? 'connecting' : 'waiting', why);
    this.seek(peer);
  }

  private moved(nodeId: number, endpoint: Endpoint): void {
    const peer = this.peers.get(nodeId);
    if (peer) peer.endpoint = endpoint;
    this.former.moved(nodeId, endpoint);
  }

  private message(nodeId: number, bytes: Uint8Array): void {
    if (isSignal(bytes)) this.former.message(this.now(), nodeId, bytes);
    else this.performRouting(this.router.message(this.now(), this.parts.clock.wall(), nodeId, bytes));
  }

  // --- forming the mesh ---

  private createFormer(): MeshFormer {
    const { parts } = this;
    const { trust } = parts.identity;
    const isOverlay = (host: string): boolean => {
      const address = parseAddress(host);
      return address !== undefined && trust.overlayPrefixes.some((prefix) => prefixContains(prefix, address));
    };
    return new MeshFormer({
      self: this.node.nodeId,
      router: this.router,
      peers: this.peers,
      log: parts.log,
      random: () => new DataView(parts.random(4).slice().buffer).getUint32(0),
      isOverlay,
      hostPlaces: () => {
        const { port } = parts.config.listen;
        const hosts = parts.hostAddresses().filter((host) => !isOverlay(host));
        return hosts.map((host) => ({ host, port }));
      },
      post: parts.post,
      performRouting: (actions) => this.performRouting(actions),
      seek: (name, places) => this.seek(this.peers.seen(this.now(), name), places),
      unseek: (name) => this.unseek(name),
      letGo: (peer) => {
        this.forget(peer.nodeId, 'unused');
        this.peers.change(this.now(), peer, 'waiting', 'let go: it carried nothing');
      },
      drop: (reason) => (this.drops[reason] = (this.drops[reason] ?? 0) + 1),
    });
  }

  /** An attempt to form a link has come to nothing. */
  private unseek(name: string): void {
    const peer = this.peers.byName(name);
    if (!peer || peer.state === 'connected') return;
    if (!peer.configured) {
      this.forget(peer.nodeId);
      this.handshaker.cancel({ name, endpoints: [] });
      this.peers.change(this.now(), peer, 'waiting', 'a link was tried, without an answer');
    } else if (peer.endpoints.length > 0) this.seek(peer);
    else this.handshaker.cancel({ name, endpoints: [] });
  }

  /** What `causeway peers` shows. */
  peerStatus(): PeerStatus[] {
    return this.former.status(this.now(), this.peers.status(this.now()));
  }

  private measured(nodeId: number, measure: LinkMeasure): void {
    const peer = this.peers.get(nodeId);
    if (peer) peer.rttMicros = measure.rtt;
    this.performRouting(this.router.linkMeasured(this.now(), nodeId, measure));
  }

  private resynchronise(nodeId: number): void {
    const peer = this.peers.get(nodeId);
    if (peer?.state !== 'connected') return;
    this.performRouting(this.router.linkUp(this.now(), nodeId, peer.rttMicros ?? 0));
  }

  // --- handshakes ---

  private judge(der: Uint8Array, wall: number): Verified<NodeCertificate> {
    const verdict = this.parts.identity.trust.verify(der, wall);
    if (verdict.ok) return verdict;
    const { reason, text } = verdict;
    return { ok: false, reason: faultOf(reason), detail: text };
  }

  private allocateIndex(): number {
    for (;;) {
      const bytes = this.parts.random(4);
      const index = (new DataView(bytes.buffer, bytes.byteOffset).getUint32(0) & ~(LANES - 1)) >>> 0;
      if (index === 0 || this.indexes.has(index)) continue; // 0 stands for no session
      this.indexes.add(index);
      return index;
    }
  }

  private perform(actions: readonly Action<NodeCertificate, Endpoint>[]): void {
    for (const action of actions) this.performOne(action);
  }

  private performOne(action: Action<NodeCertificate, Endpoint>): void {
    const { post, log } = this.parts;
    switch (action.type) {
      case 'send':
        post({ type: 'datagram', bytes: action.bytes, endpoint: action.to });
        return;
      case 'established':
        this.established(action);
        return;
      case 'superseded':
        post({ type: 'revoke-session', index: action.index });
        return;
      case 'failed':
        this.failed(action);
        return;
      case 'drop':
        this.drops[`handshake-${action.reason}`] = (this.drops[`handshake-${action.reason}`] ?? 0) + 1;
        if (action.reason === 'wrong-network' && this.complaints.take(this.now())) {
          log.warn(
            { endpoint: endpointKey(action.from) },
            'a stranger called: it belongs to another network (its CA is none that this node trusts)',
          );
        }
        return;
      default:
        action satisfies never;
    }
  }

  private established(action: Extract<Action<NodeCertificate, Endpoint>, { type: 'established' }>): void {
    const { post, log } = this.parts;
    const { peer: certificate, index, endpoint, initiator, cipher } = action;
    if (certificate.nodeId === this.node.nodeId) {
      log.error(
        { endpoint: endpointKey(endpoint) },
        "another agent has a certificate with this node's name; give each node its own",
      );
      this.discard(action);
      return;
    }
    if (!initiator && !this.former.admits(certificate.nodeId)) {
      this.drops['peering-full'] = (this.drops['peering-full'] ?? 0) + 1;
      this.discard(action);
      return;
    }
    const peer = this.peers.seen(this.now(), certificate.name);
    peer.endpoint = endpoint;
    const grant = {
      peer: certificate.nodeId,
      name: certificate.name,
      index,
      endpoint,
      incarnation: Buffer.from(action.remoteStatic).toString('hex'),
      initiator,
      cipher,
      receive: [...action.receive],
      send: [...action.send],
    };
    post({ type: 'session', grant });
    for (const { key } of [...action.receive, ...action.send]) key.fill(0);
    log.debug({ peer: peer.name, endpoint: endpointKey(endpoint), initiator, cipher }, 'session established');
  }

  private discard({
    receive,
    send,
    index,
  }: Extract<Action<NodeCertificate, Endpoint>, { type: 'established' }>): void {
    for (const { key } of [...receive, ...send]) key.fill(0);
    this.indexes.delete(index);
  }

  private failed(action: Extract<Action<NodeCertificate, Endpoint>, { type: 'failed' }>): void {
    const { log, post } = this.parts;
    const { reason, peerReason, text, index } = action;
    if (index !== undefined) post({ type: 'revoke-session', index });
    const peer = action.peer === undefined ? undefined : this.peers.byName(action.peer);
    // One of many attempts, which the former accounts for.
    if (peer && !peer.configured && this.former.isTrying(peer.nodeId)) return;
    if (action.initiator || this.complaints.take(this.now())) {
      log.warn({ peer: action.peer, endpoint: endpointKey(action.endpoint), reason, peerReason }, text);
    }
    if (peer && peer.state !== 'connected') this.peers.change(this.now(), peer, 'failed', text);
  }

  // --- routing ---

  private performRouting(actions: readonly RouterAction[]): void {
    for (const action of actions) {
      switch (action.type) {
        case 'send':
          this.parts.post({ type: 'message', peer: action.peer, bytes: action.bytes });
          break;
        case 'suspect':
          this.parts.post({ type: 'suspect', peer: action.peer });
          break;
        case 'tables':
          this.parts.post({ type: 'tables', buffers: action.snapshot.buffers }, action.snapshot.buffers);
          this.updateRouted();
          this.updateRedundancy();
          this.updateGroups();
          break;
        case 'drop':
          this.drops[`routing-${action.reason}`] = (this.drops[`routing-${action.reason}`] ?? 0) + 1;
          break;
        case 'notice':
          this.notice(action.notice);
          break;
        default:
          action satisfies never;
      }
    }
  }

  private notice(notice: RouterNotice): void {
    const { kind, ...detail } = notice;
    const { log } = this.parts;
    if (kind === 'node-joined' || kind === 'node-left') log.info(detail, kind);
    else log.warn(detail, kind);
  }

  private updateRouted(): void {
    const { nodes } = this.router;
    const absent = this.parts.known?.absent(nodes);
    const to = destinationsOf(nodes, this.node.nodeId, this.parts.config.intercept, absent);
    const key = JSON.stringify(to);
    if (key === this.routed) return;
    this.routed = key;
    // Before the host leads them into the device.
    this.parts.post({ type: 'withheld', buffers: addressTable(to.withheld ?? []).buffers() });
    this.parts.setRouted(to);
  }

  private updateRedundancy(): void {
    const { measuredLinks } = this.router;
    if (measuredLinks) this.redundancy.update(this.now(), measuredLinks);
    this.spread();
  }

  /** Hands the worker new source routes, where there are any. */
  private spread(): void {
    const sets = this.redundancy.timeout(this.now());
    if (!sets) return;
    const routes = sets.flatMap(({ nodeId, route }) => (route ? { nodeId, ...route } : []));
    this.parts.post({ type: 'source-routes', routes });
  }

  // --- time ---

  /** One OS timer for handshakes, routing and redundancy; all may be called early. */
  private rearm(): void {
    if (this.stopping) return;
    this.cancelTimer();
    const due = Math.min(
      this.handshaker.nextTimeout() ?? Infinity,
      this.router.nextTimeout(),
      this.former.nextTimeout(),
      this.redundancy.nextTimeout(),
    );
    if (due === Infinity) return;
    const wait = Math.min(Math.max(0, due - this.now()), LONGEST_WAIT);
    this.cancelTimer = this.parts.clock.schedule(wait, () => this.onTimer());
  }

  private onTimer(): void {
    const now = this.now();
    this.perform(this.handshaker.timeout(now));
    if (this.router.nextTimeout() <= now)
      this.performRouting(this.router.timeout(now, this.parts.clock.wall()));
    if (this.former.nextTimeout() <= now) this.former.timeout(now);
    this.spread();
    this.rearm();
  }
}

function sameEndpoint(a: Endpoint, b: Endpoint): boolean {
  return endpointKey(a) === endpointKey(b);
}

/** What the identity's verifier found, in the handshake's words. */
function faultOf(reason: string): CertificateFault {
  return reason === 'unknown-ca' || reason === 'expired' || reason === 'not-yet-valid'
    ? reason
    : 'bad-certificate';
}
