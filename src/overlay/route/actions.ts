/** What a `Router` asks of its shell, and what it counts. */
import type { Prefix } from './identity.js';
import type { MessageReject } from './messages.js';
import type { RecordReject } from './record.js';
import type { TablesSnapshot } from './tables.js';

export type RouterDrop =
  | MessageReject
  | RecordReject
  /** From a neighbour whose link isn't up. */
  | 'no-link'
  /** A certificate that did not verify; `detail` says why. */
  | 'certificate-refused'
  /** A certificate of another node than its message says. */
  | 'certificate-origin'
  /** Two names with one node id. */
  | 'certificate-collision'
  /** As many origins as the limit allows are held. */
  | 'too-many-nodes'
  /** A record that its origin's key did not sign. */
  | 'signature'
  /** A record that outlived its lifetime. */
  | 'record-aged'
  /** Evicted while it waited for its certificate. */
  | 'no-certificate'
  /** Not examined: this neighbour sent too much that did not verify. */
  | 'neighbour-distrusted'
  /** Likewise: it sent more than anyone could need to hear. What it was is asked for again later. */
  | 'neighbour-flood'
  /** A record of an epoch, which is seconds since 1970, that is more than a day ahead. */
  | 'record-future'
  /** A newer certificate of a name whose holder, by an older one with another key, is there. */
  | 'name-held'
  /** A neighbour that asks for too much. */
  | 'request-limit';

export type RouterNotice =
  | { readonly kind: 'node-joined'; readonly nodeId: number; readonly name: string }
  | { readonly kind: 'node-left'; readonly nodeId: number; readonly name: string }
  /** Two names have one node id; records and addresses of `refused` are ignored. */
  | {
      readonly kind: 'id-collision';
      readonly nodeId: number;
      readonly kept: string;
      readonly refused: string;
    }
  /** Two certificates claim one prefix; the older counts. */
  | {
      readonly kind: 'prefix-conflict';
      readonly prefix: Prefix;
      readonly winner: string;
      readonly loser: string;
    }
  /** Two nodes with one name are there: the one with the older certificate keeps it until one leaves. `own`: it is this node's. */
  | { readonly kind: 'name-conflict'; readonly name: string; readonly own: boolean }
  /** The mesh held a newer record of this node than this run had made: from now on `epoch` counts, and is to be persisted. */
  | { readonly kind: 'epoch-overtaken'; readonly epoch: number }
  /** The mesh holds a newer certificate of this node than this node has. */
  | { readonly kind: 'own-certificate-superseded' };

export type RouterAction =
  /** For the neighbour's ordered control stream. The bytes may be shared with other sends: read only. */
  | { readonly type: 'send'; readonly peer: number; readonly bytes: Uint8Array }
  /** A neighbour no longer lists its link with this node, which counts as up here: it may be dead one way. */
  | { readonly type: 'suspect'; readonly peer: number }
  /** New forwarding tables, whole. */
  | { readonly type: 'tables'; readonly snapshot: TablesSnapshot }
  | { readonly type: 'drop'; readonly reason: RouterDrop; readonly peer: number; readonly detail?: string }
  | { readonly type: 'notice'; readonly notice: RouterNotice };

/** Counted since the start. */
export interface RouterCounters {
  recordsOriginated: number;
  recordsInstalled: number;
  /** Copies of what was held: the price of flooding. */
  duplicates: number;
  /** Records that waited for their origin's rate limit. */
  deferred: number;
  pathRuns: number;
  readonly drops: Partial<Record<RouterDrop, number>>;
}
