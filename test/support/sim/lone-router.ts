/** One router without a mesh around it, and messages as its neighbours would make them. */
import type { RouterAction } from '../../../src/overlay/route/actions.js';
import { certificateHash } from '../../../src/overlay/route/identity.js';
import type { ControlMessage } from '../../../src/overlay/route/messages.js';
import {
  decodeMessage,
  encodeCertificate,
  encodeRecordMessage,
} from '../../../src/overlay/route/messages.js';
import type { LinkStateRecord } from '../../../src/overlay/route/record.js';
import { encodeRecord, signedBytes } from '../../../src/overlay/route/record.js';
import { Router } from '../../../src/overlay/route/router.js';
import { ForwardingTables } from '../../../src/overlay/route/tables.js';
import { clean, type LinkMeasure } from '../../../src/overlay/route/measure.js';
import type { RouterTuning } from '../../../src/overlay/route/tuning.js';
import { cleanLink } from '../ways.js';
import type { Claims } from './identities.js';
import { cheapIdentities, prefixOf } from './identities.js';

export const identities = cheapIdentities();
export const WALL = Date.UTC(2030, 0, 1);

/** A certificate of node `nodeId`, named n1, n2 … with the address 10.77.0.nodeId unless told otherwise. */
export function certificate(nodeId: number, more: Partial<Claims> = {}): Uint8Array {
  return identities.certificate({
    nodeId,
    name: `n${nodeId}`,
    addresses: [`10.77.0.${nodeId & 255}`],
    ...more,
  });
}

export const certificateMessage = (nodeId: number, more: Partial<Claims> = {}): Uint8Array =>
  encodeCertificate(nodeId, certificate(nodeId, more));

interface RecordOptions extends Partial<LinkStateRecord> {
  /** ms. */
  readonly age?: number;
  /** Who signs instead of the origin. */
  readonly signer?: number;
  readonly extra?: Uint8Array;
}

/** A record of `origin` as a message; `links` as neighbour → rtt in µs. */
export function recordMessage(
  origin: number,
  links: Record<number, number>,
  options: RecordOptions = {},
): Uint8Array {
  const { age = 0, signer = origin, extra, ...fields } = options;
  const list = Object.entries(links).map(([neighbour, rtt]) => cleanLink(Number(neighbour), rtt));
  const record = {
    ...{
      origin,
      epoch: 1,
      sequence: 1,
      lifetime: 3600,
      links: list,
      certificate: certificateHash(certificate(origin)),
    },
    ...fields,
  };
  const bytes = encodeRecord(record, extra);
  return encodeRecordMessage(age, bytes, identities.sign(signer, signedBytes(bytes)));
}

/** Node 1, with its clock in the caller's hand. Keeps the latest tables. */
export class LoneRouter {
  readonly router: Router;
  now = 0;
  tables: ForwardingTables | undefined;

  constructor(tuning: Partial<RouterTuning> = {}, epoch = 1) {
    const { verifyCertificate, verifySignature, sign } = identities;
    this.router = new Router(
      {
        self: { nodeId: 1, certificate: certificate(1), sign: (message) => sign(1, message) },
        epoch,
        overlay: [prefixOf('10.77.0.0/16')],
        ...{ verifyCertificate, verifySignature, tuning },
      },
      0,
      WALL,
    );
  }

  /** Lets time pass, and does what falls due on the way. Returns what that brought forth. */
  pass(micros: number): RouterAction[] {
    const until = this.now + micros;
    const actions: RouterAction[] = [];
    for (let next = this.router.nextTimeout(); next <= until; next = this.router.nextTimeout()) {
      this.now = Math.max(this.now, next);
      actions.push(...this.keep(this.router.timeout(this.now, WALL + this.now / 1000)));
    }
    this.now = until;
    return actions;
  }

  up(peer: number, rtt = 10_000): RouterAction[] {
    return this.keep(this.router.linkUp(this.now, peer, rtt));
  }

  down(peer: number): RouterAction[] {
    return this.keep(this.router.linkDown(this.now, peer));
  }

  measured(peer: number, rtt: number, more: Partial<LinkMeasure> = {}): RouterAction[] {
    return this.keep(this.router.linkMeasured(this.now, peer, { ...clean(rtt), ...more }));
  }

  hear(peer: number, ...messages: Uint8Array[]): RouterAction[] {
    return messages.flatMap((bytes) =>
      this.keep(this.router.message(this.now, WALL + this.now / 1000, peer, bytes)),
    );
  }

  private keep(actions: RouterAction[]): RouterAction[] {
    for (const action of actions) {
      if (action.type === 'tables') this.tables = new ForwardingTables(action.snapshot.buffers);
    }
    return actions;
  }
}

/** What was sent, decoded, each with its receiver. */
export function sent(actions: readonly RouterAction[]): (ControlMessage & { peer: number })[] {
  return actions.flatMap((action) => {
    if (action.type !== 'send') return [];
    const decoded = decodeMessage(action.bytes);
    if (!decoded.ok) throw new Error(`sent what does not decode: ${decoded.reason}`);
    return [{ ...decoded.value, peer: action.peer }];
  });
}

export const drops = (actions: readonly RouterAction[]): string[] =>
  actions.flatMap((action) => (action.type === 'drop' ? [action.reason] : []));

export const notices = (actions: readonly RouterAction[]) =>
  actions.flatMap((action) => (action.type === 'notice' ? [action.notice] : []));
