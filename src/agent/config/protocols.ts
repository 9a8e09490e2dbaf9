/** Protocols that a user may call by name. ICMP is both versions' protocol, since a rule may match either family. */
export const PROTOCOLS: Readonly<Record<string, readonly number[]>> = {
  tcp: [6],
  udp: [17],
  icmp: [1, 58],
  sctp: [132],
};

/** The name of each of their numbers. */
export const PROTOCOL_NAMES = new Map(
  Object.entries(PROTOCOLS).flatMap(([name, numbers]) => numbers.map((number) => [number, name])),
);
