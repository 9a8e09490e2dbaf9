import type { SessionSet } from '../../crypto/session.js';
import type { Link } from '../link/link.js';

/** A node that we hold sessions with: its link, its endpoint's slot, and what passed. Owned by the forwarding worker. */
export interface Neighbour {
  readonly nodeId: number;
  readonly name: string;
  /** Slot of its endpoint in UdpSocket.endpoints. */
  readonly slot: number;
  readonly sessions: SessionSet<LaneState>;
  readonly link: Link;
  /** The session that authentic records came by last. */
  confirmedSession: number;
  /** Proven both ways, so data may take it. */
  up: boolean;
  packetsSent: number;
  bytesSent: number;
  packetsReceived: number;
  bytesReceived: number;
}
