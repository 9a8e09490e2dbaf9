/** Handshakers on a virtual network: every datagram takes 10 ms, `filter` decides what becomes of it. Certificates are JSON here. */
import { createHash, createPrivateKey, createPublicKey, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import type { Cipher } from '../../../src/io/ports.js';
import { networkKey } from '../../../src/crypto/handshake/datagram.js';
import { Handshaker } from '../../../src/crypto/handshake/handshaker.js';
import type { Action, HandshakerOptions, Target, Verified } from '../../../src/crypto/handshake/types.js';
import { keyPairOf, noiseCrypto } from '../../../src/crypto/primitives.js';

export interface FakeCertificate {
  readonly name: string;
  readonly publicKey: Uint8Array;
  readonly ca: string;
  readonly notBefore: number;
  readonly notAfter: number;
}

export type TestAction = Action<FakeCertificate, string>;
export type Established = Extract<TestAction, { type: 'established' }>;
export type Failed = Extract<TestAction, { type: 'failed' }>;

export const WALL = Date.UTC(2026, 0, 1);
export const DAY = 86_400_000;
const STEP = 10_000;

const sha = (text: string): Uint8Array => Uint8Array.from(createHash('sha256').update(text).digest());

function ed25519(seed: string): { privateKey: KeyObject; publicKey: Uint8Array } {
  const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), sha(seed)]);
  const privateKey = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
  return { privateKey, publicKey: Uint8Array.from(spki.subarray(12)) };
}

/** Bytes that differ at every call and from seed to seed. */
export function source(seed: string): (bytes: number) => Uint8Array {
  let calls = 0;
  return (bytes) => {
    const out = new Uint8Array(bytes);
    for (let at = 0; at < bytes; at += 32) out.set(sha(`${seed} ${calls++}`).subarray(0, bytes - at), at);
    return out;
  };
}

export interface NodeOptions {
  readonly name: string;
  readonly ca?: string;
  /** Roots it trusts; its own by default. */
  readonly trusts?: readonly string[];
  /** Networks whose MAC it knows; those it trusts by default. */
  readonly networks?: readonly string[];
  readonly notBefore?: number;
  readonly notAfter?: number;
  /** ms that its wall clock is ahead. */
  readonly clockError?: number;
  readonly staticSeed?: string;
  /** Signs with another key than its certificate's. */
  readonly forged?: boolean;
  readonly revoked?: readonly string[];
  readonly ciphers?: readonly Cipher[];
  readonly features?: number;
  readonly lanes?: number;
  readonly limits?: HandshakerOptions<FakeCertificate, string>['limits'];
}

export class TestNode {
  readonly handshaker: Handshaker<FakeCertificate, string>;
  readonly actions: TestAction[] = [];
  readonly indexes = new Set<number>();
  readonly clockError: number;
  readonly staticKey;
  private nextIndex: number;

  constructor(
    readonly address: string,
    readonly options: NodeOptions,
  ) {
    const { name, ca = 'root', trusts = [ca], networks = trusts, lanes = 2 } = options;
    const random = source(`${address} ${name} ${options.staticSeed ?? ''}`);
    const key = ed25519(name);
    const certificate = {
      name,
      ca,
      publicKey: Buffer.from(key.publicKey).toString('hex'),
      notBefore: options.notBefore ?? WALL - DAY,
      notAfter: options.notAfter ?? WALL + DAY,
    };
    this.staticKey = keyPairOf(sha(`static ${options.staticSeed ?? name}`));
    this.clockError = options.clockError ?? 0;
    this.nextIndex = Buffer.from(sha(address)).readUInt32BE(0);
    const signer = options.forged ? ed25519('forger').privateKey : key.privateKey;
    this.handshaker = new Handshaker<FakeCertificate, string>({
      crypto: noiseCrypto,
      staticKey: this.staticKey,
      identity: {
        certificate: Buffer.from(JSON.stringify(certificate)),
        sign: (message) => sign(null, message, signer),
      },
      verify: (der, wall) => verify(der, wall, trusts, options.revoked ?? []),
      networkKeys: networks.map((root) => networkKey(noiseCrypto, Buffer.from(root))),
      random,
      ephemeral: () => keyPairOf(random(32)),
      ciphers: options.ciphers ?? ['chacha20-poly1305'],
      features: options.features ?? 0,
      lanes,
      allocateIndex: () => {
        this.nextIndex = (this.nextIndex + lanes) >>> 0;
        this.indexes.add(this.nextIndex);
        return this.nextIndex;
      },
      releaseIndex: (index) => {
        if (!this.indexes.delete(index)) throw new Error(`index ${index} released twice`);
      },
      endpointKey: (endpoint) => endpoint,
      endpointHost: (endpoint) => endpoint.split(':')[0]!,
      ...(options.limits === undefined ? {} : { limits: options.limits }),
    });
  }

  of<T extends TestAction['type']>(type: T): Extract<TestAction, { type: T }>[] {
    return this.actions.filter((action) => action.type === type) as Extract<TestAction, { type: T }>[];
  }

  /** Sessions established and not taken back. */
  sessions(): Established[] {
    const gone = new Set<number | undefined>(
      [...this.of('superseded'), ...this.of('failed')].map((a) => a.index),
    );
    return this.of('established').filter((action) => !gone.has(action.index));
  }

  reasons(): string[] {
    return this.of('failed').map((action) => action.reason);
  }

  drops(): string[] {
    return this.of('drop').map((action) => action.reason);
  }
}

function verify(
  der: Uint8Array,
  wall: number,
  trusts: readonly string[],
  revoked: readonly string[],
): Verified<FakeCertificate> {
  let certificate: FakeCertificate;
  try {
    const json = JSON.parse(Buffer.from(der).toString()) as FakeCertificate & { publicKey: string };
    certificate = { ...json, publicKey: Buffer.from(json.publicKey, 'hex') };
  } catch {
    return { ok: false, reason: 'bad-certificate' };
  }
  if (!trusts.includes(certificate.ca)) return { ok: false, reason: 'unknown-ca', detail: certificate.ca };
  if (wall < certificate.notBefore) return { ok: false, reason: 'not-yet-valid' };
  if (wall > certificate.notAfter) return { ok: false, reason: 'expired' };
  if (revoked.includes(certificate.name)) return { ok: false, reason: 'revoked' };
  return { ok: true, certificate };
}

export interface Flight {
  readonly at: number;
  readonly from: string;
  readonly to: string;
  readonly bytes: Uint8Array;
}

/** The type of a handshake datagram. */
export const typeOf = (flight: Flight): number => flight.bytes[0]! & 15;

export class Network {
  now = 1_000_000;
  readonly nodes = new Map<string, TestNode>();
  readonly log: Flight[] = [];
  private flights: Flight[] = [];

  /** Which copies of a datagram arrive, by their delay in µs; [10000] by default, [] loses it. */
  filter: (flight: Flight, nth: number) => readonly number[] = () => [STEP];

  add(address: string, options: NodeOptions): TestNode {
    const node = new TestNode(address, options);
    this.nodes.set(address, node);
    return node;
  }

  connect(node: TestNode, target: Target<string>): void {
    this.carryOut(node, node.handshaker.connect(this.now, target));
  }

  inject(from: string, to: string, bytes: Uint8Array): void {
    this.flights.push({ at: this.now, from, to, bytes });
  }

  /** Lets time pass, µs. */
  run(span: number): void {
    const end = this.now + span;
    for (let steps = 0; steps < 20_000; steps++) {
      const next = Math.min(...this.flights.map((f) => f.at), ...[...this.nodes.values()].map(nextOf));
      if (next > end) break;
      this.now = Math.max(this.now, next);
      this.deliver();
      for (const node of this.nodes.values()) {
        if (nextOf(node) <= this.now) this.carryOut(node, node.handshaker.timeout(this.now));
      }
    }
    this.now = end;
  }

  private deliver(): void {
    const due = this.flights.filter((flight) => flight.at <= this.now);
    this.flights = this.flights.filter((flight) => flight.at > this.now);
    for (const { from, to, bytes } of due.sort((a, b) => a.at - b.at)) {
      const node = this.nodes.get(to);
      if (node === undefined) continue;
      this.carryOut(node, node.handshaker.datagram(this.now, this.wallOf(node), bytes, from));
    }
  }

  private wallOf(node: TestNode): number {
    return WALL + Math.floor(this.now / 1000) + node.clockError;
  }

  private carryOut(node: TestNode, actions: TestAction[]): void {
    node.actions.push(...actions);
    for (const action of actions) {
      if (action.type === 'superseded') node.indexes.delete(action.index);
      if (action.type === 'failed' && action.index !== undefined) node.indexes.delete(action.index);
      if (action.type !== 'send') continue;
      const flight = { at: this.now, from: node.address, to: action.to, bytes: action.bytes };
      this.log.push(flight);
      const nth = this.log.filter((f) => f.from === flight.from && typeOf(f) === typeOf(flight)).length;
      for (const delay of this.filter(flight, nth)) this.flights.push({ ...flight, at: this.now + delay });
    }
  }
}

const nextOf = (node: TestNode): number => node.handshaker.nextTimeout() ?? Infinity;

/** Two nodes, a and b. */
export function twoNodes(a: Partial<NodeOptions> = {}, b: Partial<NodeOptions> = {}) {
  const network = new Network();
  const nodes = {
    network,
    a: network.add('10.0.0.1:1', { name: 'a', ...a }),
    b: network.add('10.0.0.2:1', { name: 'b', ...b }),
  };
  return {
    ...nodes,
    toA: { name: 'a', endpoints: [nodes.a.address] },
    toB: { name: 'b', endpoints: [nodes.b.address] },
  };
}
