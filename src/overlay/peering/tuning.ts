/** Limits of a mesh that forms itself. All are tuned; none is fixed by the wire. Times in µs. */
export interface PeeringTuning {
  /** Links of a node, whoever wanted them, from which on it seeks no more of its own accord … */
  readonly enough: number;
  /** … and from which on it forms and takes none either that data asks for. Configured peers are outside both. */
  readonly most: number;
  /** Attempts at once; calls of others may add as many. */
  readonly concurrent: number;
  /** Attempts in a burst, and the time for each further one. */
  readonly attemptBurst: number;
  readonly attemptMicros: number;
  /** Likewise to one address, whichever nodes name it. */
  readonly hostBurst: number;
  readonly hostMicros: number;
  /** Endpoints of one address that one attempt tries, and of all. */
  readonly placesPerHost: number;
  readonly places: number;
  /** How long an attempt lasts: five datagrams to each endpoint. */
  readonly patienceMicros: number;
  /** To a node that needs no opening from inside, it goes alone for so long before the node is called. */
  readonly aloneMicros: number;
  /**
   * Until the next attempt after a failure, doubled with each further one, and at most. The first is longer than a NAT remembers a datagram that
   * came before it was asked for, which spoils the port for the attempt (Linux: 30 s).
   */
  readonly backoffMicros: number;
  readonly backoffMostMicros: number;
  /** With data under way to a node, at most. */
  readonly backoffWantedMicros: number;
  /** A new node is first tried within so long; by the end with the higher id so much later. */
  readonly spreadMicros: number;
  readonly yieldMicros: number;
  /** Data to a node counts as a wish for so long. */
  readonly wishMicros: number;
  /** A link that carried no data for so long is dropped while there are more than enough. */
  readonly unusedMicros: number;
}

const SECOND = 1_000_000;

export const PEERING_TUNING: PeeringTuning = {
  enough: 12,
  most: 24,
  concurrent: 4,
  attemptBurst: 8,
  attemptMicros: SECOND / 2,
  hostBurst: 4,
  hostMicros: 15 * SECOND,
  placesPerHost: 2,
  places: 8,
  patienceMicros: 6 * SECOND,
  aloneMicros: 0.6 * SECOND,
  backoffMicros: 35 * SECOND,
  backoffMostMicros: 3600 * SECOND,
  backoffWantedMicros: 120 * SECOND,
  spreadMicros: 2 * SECOND,
  yieldMicros: 3 * SECOND,
  wishMicros: 30 * SECOND,
  unusedMicros: 600 * SECOND,
};
