import type { Hop } from './hops.js';
import type { LinkQuality } from '../link/quality/link-quality.js';
import type { Link } from '../link/link.js';
import type { PieceJoiner } from '../link/path/piece-joiner.js';

/** The sending side of a neighbour's sessions. */
export interface SealingSessions {
  /** Writes a record header for a lane of the session to seal with; its AEAD key slot, or -1 where there is none. */
  writeHeader(view: DataView, at: number, lane: number): number;
  /** An authentic record of that session arrived; true where that is news. */
  received(session: number): boolean;
}

/** A node that we hold sessions with: its link, its endpoint's slot, and what passed. Owned by the forwarding worker. */
export interface Neighbour {
  readonly nodeId: number;
  readonly name: string;
  /** Slot of its endpoint in UdpSocket.endpoints. */
  readonly slot: number;
  readonly sessions: SealingSessions;
  readonly link: Link;
  /** The ways to it; the endpoint in its slot is the active one. */
  readonly paths: { heard(now: number): void };
  readonly quality: LinkQuality;
  /** What recovers frames between us and it; undefined until there were any. */
  hop: Hop | undefined;
  /** Of what it splits; undefined until there was a piece. */
  joiner: PieceJoiner | undefined;
  /** Proven both ways, so data may take it. */
  up: boolean;
  /** The session that authentic records came by last. */
  confirmedSession: number;
  /** Its endpoint has changed since that was last told. */
  moved: boolean;
  packetsSent: number;
  bytesSent: number;
  packetsReceived: number;
  bytesReceived: number;
}
