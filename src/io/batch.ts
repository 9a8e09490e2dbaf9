/**
 * A batch of packets: one arena of bytes and a table of Int32 columns that says where each packet lies in it and what
 * was decided for it. Native code and TypeScript read and write the same memory; nothing is allocated per packet.
 *
 * Who owns the bytes: whoever called `read()` last, until the next `read()` or `segment()` into the same batch.
 */

/** Columns of the table, in memory order. Column c of packet i is `table[c * capacity + i]`. */
export const COLUMNS = [
  'offset', // bytes into the arena: where the packet (or its outer header) starts
  'length', // bytes
  'source', // index of the packet in the batch that this one was cut from (segment), or of the UDP message (udp read)
  'flags', // PACKET_* bits
  'key', // AEAD key slot for seal and open
  'endpoint', // slot in UdpSocket.endpoints for send
  'trafficClass', // outer DSCP and ECN, 0..255: as received, or to send with
  'status', // written by open: 1 authentic, 0 not; by a raw sender: RAW_…
  'gsoType', // virtio-net gso_type of a TUN read: 0 none, 1 TCPv4, 4 TCPv6, 5 UDP_L4 (the ECN bit 0x80 removed)
  'gsoSize', // bytes of payload per segment
  'headerLength', // bytes of IP and transport headers in front of the payload, for a GSO packet
  'csumStart', // offset of the transport header, where PACKET_PARTIAL is set
] as const;

export type ColumnName = (typeof COLUMNS)[number];

/**
 * The transport checksum holds only the pseudo-header's sum: RFC 1071 sum of addresses, protocol and length, not
 * complemented, as Linux's CHECKSUM_PARTIAL has it.
 */
export const PACKET_PARTIAL = 1;

/** 32-bit words of one endpoint: remote address (4, raw network bytes, IPv4 as ::ffff:a.b.c.d), remote port, local address (4), interface index. */
export const ENDPOINT_WORDS = 10;
export const ENDPOINT_PORT = 4;
export const ENDPOINT_LOCAL = 5;
export const ENDPOINT_INTERFACE = 9;

/** Bytes of the AEAD's header and tag around a sealed record's body. */
export const RECORD_HEADER = 16;
export const RECORD_TAG = 16;

type Columns = { readonly [name in ColumnName]: Int32Array };

export interface PacketBatch extends Columns {
  /** The arena. */
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Most packets this batch can describe. */
  readonly capacity: number;
  readonly table: Int32Array;
  /** Endpoint records of the received UDP messages, ENDPOINT_WORDS each; `source[i]` names the message of packet i. */
  readonly endpoints: Uint32Array;
  /** Packets described now. Set by `read()` and `segment()`. */
  count: number;
}

/**
 * A class with every field named, so that all batches have one hidden class: built from a spread object they had several, and each look at a
 * column, a dozen a packet, went through V8's slowest cache.
 */
class Batch implements PacketBatch {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly table: Int32Array;
  readonly endpoints: Uint32Array;
  count = 0;
  readonly offset: Int32Array;
  readonly length: Int32Array;
  readonly source: Int32Array;
  readonly flags: Int32Array;
  readonly key: Int32Array;
  readonly endpoint: Int32Array;
  readonly trafficClass: Int32Array;
  readonly status: Int32Array;
  readonly gsoType: Int32Array;
  readonly gsoSize: Int32Array;
  readonly headerLength: Int32Array;
  readonly csumStart: Int32Array;

  constructor(
    arenaBytes: number,
    readonly capacity: number,
    messages: number,
  ) {
    const table = new Int32Array(COLUMNS.length * capacity);
    const column = (name: ColumnName) => {
      const c = COLUMNS.indexOf(name);
      return table.subarray(c * capacity, (c + 1) * capacity);
    };
    this.bytes = new Uint8Array(arenaBytes);
    this.view = new DataView(this.bytes.buffer);
    this.table = table;
    this.endpoints = new Uint32Array(ENDPOINT_WORDS * messages);
    this.offset = column('offset');
    this.length = column('length');
    this.source = column('source');
    this.flags = column('flags');
    this.key = column('key');
    this.endpoint = column('endpoint');
    this.trafficClass = column('trafficClass');
    this.status = column('status');
    this.gsoType = column('gsoType');
    this.gsoSize = column('gsoSize');
    this.headerLength = column('headerLength');
    this.csumStart = column('csumStart');
  }
}

/** Makes a batch with an arena of `arenaBytes` for up to `capacity` packets in up to `messages` UDP messages. */
export function createBatch(arenaBytes: number, capacity: number, messages = 1): PacketBatch {
  return new Batch(arenaBytes, capacity, messages);
}
